"""A small set against a large one: the large side's tags are sent once and used often.

The large side holds a key k and the tags F(k, y) of its items (`TagSet`); the small side gets the
tags F(k, x) of its own by the verifiable oblivious function of `psi.group.oprf` and compares
(Jarecki and Liu 2010; Resende and Aranha 2018 for the structure). Only the small side learns which
of its items match. Work and bytes of a request depend on the small set only; the tags come with the
first request and are kept.

    Receiver, the small side                Sender, the large side
    RECEIVER_HELLO                      →
                                        ←   SENDER_HELLO
    POINTS   digest of the tags it has, →
       e·G, r·H(item) shuffled
                                        ←   ANSWER  MAC, public key k·G, proof, k·C,
                                                k times each point, digest of the tags [, tags]
    FINISH   MAC                        →
                                        ←   CLOSE  MAC

H is fixed, so that tags stay valid; every item is blinded by an r of its own. C belongs to the
session; e·k·G keys the MACs. The proof ties every answer to the public key, by which the small side
recognises the key in later requests, and C to the session. RFC 9497 names who proves the function
against sides that cheat (Jarecki, Kiayias and Krawczyk 2014, ePrint 2014/650): one-more gap
Diffie-Hellman in the random oracle model. The large side chooses C no more than the small side
does, and of k·e·G only a MAC is sent: so the small side gets as many items evaluated as it
announces.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Never

import numpy as np

from psi.errors import (
    ConfigError,
    DecodeError,
    KeyConfirmationError,
    RepeatedElementError,
)
from psi.group.blinds import Blinds
from psi.group.oprf import (
    MAX_BATCH,
    PROOF_BYTES,
    hash_inputs,
    outputs,
    prove,
    public_key,
    verify,
)
from psi.group.ristretto255 import (
    FAST_FROM,
    POINT_BYTES,
    Points,
    Scalar,
    hash_to_group,
    multiply,
    multiply_base,
    points_from_bytes,
)
from psi.protocols.conversation import Progress
from psi.protocols.elements import TAG_BYTES, ascending, rows_of, shared
from psi.protocols.messages import FRAME_BYTES, MessageType
from psi.protocols.parameters import MAX_PEER_ITEMS, SessionParameters
from psi.protocols.party import MAC_BYTES, Party, expect_shape, random_order

__all__ = ["MAX_REQUEST", "TagSet", "UnbalancedReceiver", "UnbalancedSender"]

MAX_REQUEST = MAX_BATCH - 1  # C is in the proof, too

_DIGEST_BYTES = 32
_ANSWER_START = MAC_BYTES + POINT_BYTES + PROOF_BYTES
_BATCH = FAST_FROM  # enough for the group's compiled code


@dataclass(frozen=True)
class TagSet:
    """A large set, ready for requests: its tags under its own key.

    Every set of tags has its own key: if two versions of a set had one key, their difference would
    show which items were added and removed.

    Attributes:
        key: The secret key; hidden from repr.
        tags: The tags, TAG_BYTES each, in ascending order.
        key_format: How rows became items, as in `SessionParameters`.
    """

    key: Scalar = field(repr=False)
    tags: bytes = field(repr=False)
    key_format: str = ""

    @classmethod
    def of(
        cls, items: Sequence[bytes], *, key_format: str = "", progress: Progress | None = None
    ) -> "TagSet":
        """Return the tags of a set, under a fresh key.

        Args:
            items: The set: distinct byte strings.
            key_format: How rows became items, as in `SessionParameters`.
            progress: Called with a stage, the items done and their number.

        Raises:
            ConfigError: Items repeat.
        """
        if len(set(items)) != len(items):
            raise ConfigError("items repeat: pass each one once")
        key = Scalar.random()
        found: list[bytes] = []
        for start in range(0, len(items), _BATCH):
            if progress is not None:
                progress("computing tags", start, len(items))
            batch = items[start : start + _BATCH]
            elements = multiply(key, hash_inputs(batch))
            found += (one[:TAG_BYTES] for one in outputs(batch, elements))
        return cls(key, b"".join(sorted(found)), key_format)

    @cached_property
    def public_key(self) -> Points:
        """The key's public half, which commits to it."""
        return public_key(self.key)

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of the tags."""
        return hashlib.sha256(self.tags).digest()

    def __len__(self) -> int:
        return len(self.tags) // TAG_BYTES

    def __repr__(self) -> str:
        return f"TagSet({len(self)} items)"

    def __reduce__(self) -> Never:
        raise TypeError("a set of tags holds its secret key and is not pickled")


class _UnbalancedParty(Party):
    """What both roles do: agree on who gets the result, and on the session's key."""

    protocol = "oprf-unbalanced"

    def _key_from(self, own: Scalar, theirs: Points) -> None:
        common = multiply(own, theirs).tobytes()
        content = b"psi unbalanced key, " + self._identity + common
        self._mac_key = hashlib.sha256(content).digest()

    def _confirmation(self) -> Points:
        return hash_to_group([b""], b"psi-unbalanced-v1-confirmation-" + self._identity)

    @staticmethod
    def _for_receiver(parameters: SessionParameters | None) -> SessionParameters:
        parameters = parameters or SessionParameters(output="receiver")
        if parameters.output != "receiver":
            raise ConfigError('only the small side learns the result: choose output="receiver"')
        return parameters


class UnbalancedReceiver(_UnbalancedParty):
    """The small side: speaks first, learns which of its items the large side has."""

    speaks_first = True
    _own_hello, _peer_hello = MessageType.RECEIVER_HELLO, MessageType.SENDER_HELLO
    _exchange: Scalar | None = None
    _blinds: Blinds | None = None

    def __init__(
        self,
        items: Sequence[bytes],
        parameters: SessionParameters | None = None,
        *,
        tags: bytes = b"",
        keep: Callable[[bytes], None] | None = None,
        key: str | None = None,
        max_peer_items: int = MAX_PEER_ITEMS,
        progress: Progress | None = None,
    ) -> None:
        """Prepare one request.

        Args:
            items: The small set: distinct byte strings, at most MAX_REQUEST.
            parameters: What both sides must choose alike; the output is "receiver".
            tags: The tags that the large side sent with an earlier answer, if any; they are not
                sent again while they are valid.
            keep: Called with the tags as soon as they are known to be the large side's, to keep
                them for the next request; an exception of it ends the session.
            key: The large side's public key in hexadecimal, if it is known; no other is accepted.
            max_peer_items: The most items that the other side may be able to test.
            progress: Called with a stage, the items done and their number while it works.

        Raises:
            ConfigError: Items repeat or are too many, or the output is not "receiver".
        """
        parameters = self._for_receiver(parameters)
        if len(items) > MAX_REQUEST:
            raise ConfigError(f"a request has at most {MAX_REQUEST} items: ask in several")
        super().__init__(items, parameters, max_peer_items=max_peer_items, progress=progress)
        self._keep = keep
        self._wanted_key = key.lower() if key is not None else None
        self._tags = tags
        self._public_key = ""

    @property
    def public_key(self) -> str:
        """The key that the large side proved to use, in hexadecimal.

        Raises:
            StateError: The session is not done.
        """
        self._require_done()
        return self._public_key

    @property
    def longest_message(self) -> int:
        """As of every party: points for our items, tags for the other side's."""
        if self._n_peer is None:
            return super().longest_message
        own = _ANSWER_START + POINT_BYTES * (len(self._items) + 1)
        return FRAME_BYTES + own + _DIGEST_BYTES + TAG_BYTES * self._n_peer

    def _forget(self) -> None:
        super()._forget()
        self._exchange = self._blinds = None

    def _after_hellos(self) -> bytes:
        self._exchange, self._blinds = Scalar.random(), Blinds(len(self._items))
        self._order = random_order(len(self._items))
        self._progress("blinding own IDs", 0, len(self._items))
        own = hash_inputs(self._items[index] for index in self._order)
        self._sent = self._blinds.put_on(own)
        self._expect = self._on_answer
        parts = [hashlib.sha256(self._tags).digest(), multiply_base([self._exchange]).tobytes()]
        return self._transcript.seal(
            MessageType.POINTS, len(self._items), *parts, self._sent.tobytes()
        )

    def _on_answer(self, data: bytes) -> bytes:
        answer = self._transcript.open(MessageType.ANSWER, data)
        points_end = _ANSWER_START + POINT_BYTES * (len(self._items) + 1)
        tags_start = points_end + _DIGEST_BYTES
        if len(answer.body) < tags_start:
            raise DecodeError("the answer is too short for the points that were sent")
        if len(answer.body) != tags_start:  # the tags here are not valid any more: others follow
            self._tags = bytes(answer.body[tags_start:])
        expect_shape(answer, self._peer_items(), len(answer.body))
        if len(self._tags) != TAG_BYTES * answer.count:
            raise DecodeError("the answer has more or fewer tags than announced")
        public = points_from_bytes(answer.body[MAC_BYTES : MAC_BYTES + POINT_BYTES])
        evaluated = points_from_bytes(answer.body[_ANSWER_START:points_end])
        self._public_key = public.tobytes().hex()
        if self._wanted_key not in (None, self._public_key):
            raise KeyConfirmationError(
                f"the other side uses the key {self._public_key} instead of {self._wanted_key}: "
                "ask it whether it has a new one"
            )
        proof = bytes(answer.body[MAC_BYTES + POINT_BYTES : _ANSWER_START])
        verify(public, np.vstack([self._confirmation(), self._sent]), evaluated, proof)
        assert self._blinds is not None  # noqa: S101 - _after_hellos was called before
        assert self._exchange is not None  # noqa: S101
        elements = self._blinds.take_off(evaluated[1:])
        self._key_from(self._exchange, public)
        self._exchange = self._blinds = None
        self._check(answer)
        if hashlib.sha256(self._tags).digest() != answer.body[points_end:tags_start]:
            raise DecodeError("the tags are not those that the other side announces")
        self._compare(elements)
        self._expect = self._on_close
        return self._confirmed(MessageType.FINISH, 0, b"")

    def _compare(self, elements: Points) -> None:
        tags = ascending(self._tags)
        if self._keep is not None:
            self._keep(self._tags)
        own = outputs((self._items[index] for index in self._order), elements)
        self._found = self._order[shared(own, tags)]


class UnbalancedSender(_UnbalancedParty):
    """The large side: answers one request from its tags; it learns only the announced size."""

    speaks_first = False
    _own_hello, _peer_hello = MessageType.SENDER_HELLO, MessageType.RECEIVER_HELLO

    def __init__(
        self,
        tags: TagSet,
        *,
        count: Callable[[int], None],
        check: Callable[[int], None] | None = None,
        parameters: SessionParameters | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Prepare to answer one request; `psi.TagStore.answering` counts it in the store.

        Args:
            tags: The tags of the large set.
            count: Called with the size of the request before it is answered, to count what this
                peer has asked in all; an exception of it ends the session.
            check: Called with the announced size, to refuse early what `count` would refuse.
            parameters: What both sides must choose alike; the output is "receiver", the key
                format the tags'.
            progress: Called with a stage, the items done and their number while it works.

        Raises:
            ConfigError: The settings are not those of the tags.
        """
        default = SessionParameters(output="receiver", key_format=tags.key_format)
        parameters = self._for_receiver(parameters or default)
        if parameters.key_format != tags.key_format:
            raise ConfigError("the store was made of items in another key format")
        super().__init__([], parameters, max_peer_items=MAX_REQUEST, progress=progress)
        self._tags = tags
        self._check_size = check or (lambda items: None)
        self._count = count

    def __repr__(self) -> str:
        return f"UnbalancedSender({self._tags!r})"

    def _own_size(self) -> int:
        return len(self._tags)

    def _after_hellos(self) -> None:
        self._check_size(self._peer_items())
        self._expect = self._on_points

    def _on_points(self, data: bytes) -> bytes:
        message = self._transcript.open(MessageType.POINTS, data)
        points_length = POINT_BYTES * (self._peer_items() + 1)
        expect_shape(message, self._peer_items(), _DIGEST_BYTES + points_length)
        content = message.body[_DIGEST_BYTES:]
        if len(set(rows_of(content, POINT_BYTES))) != self._peer_items() + 1:
            raise RepeatedElementError("the other side sent the same point twice")
        blinded = points_from_bytes(content)
        self._progress("evaluating", 0, self._peer_items())
        key, public = self._tags.key, self._tags.public_key
        asked = np.vstack([self._confirmation(), blinded[1:]])
        evaluated = multiply(key, asked)
        self._count(self._peer_items())
        proof = prove(key, asked, evaluated)
        self._key_from(key, blinded[:1])
        digest = self._tags.digest
        tags = b"" if digest == message.body[:_DIGEST_BYTES] else self._tags.tags
        parts = [public.tobytes(), proof, evaluated.tobytes(), digest, tags]
        self._expect = self._on_finish
        return self._confirmed(MessageType.ANSWER, len(self._tags), b"".join(parts))

    def _on_finish(self, data: bytes) -> bytes:
        finish = self._transcript.open(MessageType.FINISH, data)
        expect_shape(finish, 0, MAC_BYTES)
        self._check(finish)
        close = self._confirmed(MessageType.CLOSE, 0, b"")
        self._end()
        return close
