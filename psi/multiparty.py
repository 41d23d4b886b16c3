"""The intersection of three and more sets, and of no fewer: KMPRT with zero sharing.

Kolesnikov, Matania, Pinkas, Rosulek and Trieu 2017 (Practical multi-party private set
intersection from symmetric-key techniques, ePrint 2017/799), the augmented semi-honest protocol
with unconditional zero sharing. Each pair of parties shares a key; party i's share of x is the
XOR of the pseudorandom functions of x under its keys, so that all shares of one x make zero. Each
member sends the leader an oblivious function, programmed to give its share on its own items and
noise elsewhere. The leader, party 0, evaluates all of them on its items: what comes to zero with
its own share is in every set. The oblivious function is Diffie-Hellman in ristretto255, the
programming a garbled Bloom filter. State machines in rounds, bytes in, bytes out:

    all to all              MULTI_HELLO  settings, nonce, public key, n
    leader to members       MULTI_POINTS  MAC, a·C, a·H(items) shuffled
    members to members      MULTI_CONFIRM  MAC
    members to leader       MULTI_TABLE  MAC, k·a·C, k·a·H(items), tag of k·C, salt, table
    leader to members       MULTI_FINISH  MAC

What colluders learn. Members alone, any number of them: only the sizes of the sets. The leader with
any members: which of the leader's items *all* parties outside of the collusion have, as if the
colluders had all put in the leader's set; never what a part of those outside has. So with the
leader every party learns from a collusion of all the others what two-party intersection reveals.
All parties follow the protocol; decisional Diffie-Hellman, H a random oracle.
"""

import functools
import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Never, TypeAlias

import numpy as np
from numpy.typing import NDArray

from psi.ecdh import rows_of
from psi.errors import (
    ConfigError,
    DecodeError,
    KeyConfirmationError,
    ParameterMismatchError,
    RepeatedElementError,
    SizeLimitError,
    StateError,
)
from psi.groups import (
    POINT_BYTES,
    Points,
    Scalar,
    hash_to_group,
    multiply,
    multiply_base,
    points_from_bytes,
)
from psi.messages import FRAME_BYTES, Message, MessageType, Transcript
from psi.padding import PaddedItems
from psi.programmable import SALT_BYTES, entries, look_up, program
from psi.session import MAC_BYTES, MAX_PEER_ITEMS, Parameters, expect_shape, random_order

__all__ = ["Leader", "Member"]

Values: TypeAlias = NDArray[np.uint8]
Round: TypeAlias = dict[int, bytes]

_NONCE_BYTES = 32
_HELLO_BYTES = 32 + _NONCE_BYTES + POINT_BYTES
_LEADER = 0
_MOST_PARTIES = 256


class _Multi:
    """What leader and members do: greet, agree on keys, share zero."""

    def __init__(
        self,
        items: Sequence[bytes],
        parameters: Parameters | None = None,
        *,
        number: int,
        parties: int,
        max_peer_items: int = MAX_PEER_ITEMS,
    ) -> None:
        """Prepare one session."""
        parameters = parameters or Parameters(output="receiver")
        if parameters.output != "receiver":
            raise ConfigError('only the leader learns the result: choose output="receiver"')
        if not 3 <= parties <= _MOST_PARTIES:
            raise ConfigError(f"3 to {_MOST_PARTIES} parties; for two take Receiver and Sender")
        if not 0 <= number < parties:
            raise ConfigError(f"parties are numbered from 0 (the leader) to {parties - 1}")
        if len(set(items)) != len(items):
            raise ConfigError("items repeat: pass each one once")
        self._items = items
        self._parameters = parameters
        self._number = number
        self._others = [other for other in range(parties) if other != number]
        self._max_peer_items = max_peer_items
        self._sending = {
            other: Transcript(f"kmprt, {parties} parties, {number} to {other}")
            for other in self._others
        }
        self._receiving = {
            other: Transcript(f"kmprt, {parties} parties, {other} to {number}")
            for other in self._others
        }
        self._sizes = {number: len(items)}
        self._secret: Scalar | None = Scalar.random()
        self._body = parameters.fingerprint() + secrets.token_bytes(_NONCE_BYTES)
        self._body += multiply_base([self._secret]).tobytes()
        self._keys: dict[int, bytes] = {}
        self._identity = b""
        self._width = 0
        self._next: Callable[[Mapping[int, bytes]], Round] | None = None
        self._started = self._done = False

    def start(self) -> Round:
        """The first round: a message for each other party, by its number.

        Raises:
            StateError: The session was started before.
        """
        if self._started:
            raise StateError("this session was started before: start a new one")
        self._started = True
        self._next = self._on_hellos
        return {
            other: self._sending[other].seal(MessageType.MULTI_HELLO, len(self._items), self._body)
            for other in self._others
        }

    def receive(self, messages: Mapping[int, bytes]) -> Round:
        """Take a round of messages.

        Args:
            messages: Each of the round's messages by the number of its authenticated sender.

        Returns:
            The messages of the next round by recipient; none for who has nothing to say.

        Raises:
            ProtocolError: A message is not acceptable, or missing. The session is over: its
                secrets are gone and it answers nothing any more.
        """
        step, self._next = self._next, None
        if step is None:
            raise StateError("this session takes no messages now: start a new one")
        try:
            return step(messages)
        except BaseException:
            self._forget()
            raise

    @property
    def done(self) -> bool:
        """Whether the session ended well."""
        return self._done

    @property
    def expects(self) -> list[int]:
        """The numbers of those whose messages make the next round."""
        return list(self._others)

    def longest_message(self, sender: int) -> int:
        """What the next message of a party can measure at most, in bytes."""
        if not self._sizes.keys() >= {sender}:
            return FRAME_BYTES + _HELLO_BYTES
        points = POINT_BYTES * (self._sizes[_LEADER] + 3)
        table = self._width * (entries(self._sizes[sender]) + 1) + SALT_BYTES
        return FRAME_BYTES + MAC_BYTES + points + (table if self._number == _LEADER else 0)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self._items)} items, party {self._number})"

    def __reduce__(self) -> Never:
        raise TypeError("a session holds secrets and is not pickled")

    def _forget(self) -> None:
        self._secret = None
        self._keys = {}

    def _expect_from(self, messages: Mapping[int, bytes], senders: list[int]) -> None:
        if sorted(messages) != senders:
            raise StateError(f"this round takes one message each of the parties {senders}")

    def _on_hellos(self, messages: Mapping[int, bytes]) -> Round:
        self._expect_from(messages, self._others)
        bodies = {self._number: self._body}
        for other, data in messages.items():
            hello = self._receiving[other].open(MessageType.MULTI_HELLO, data)
            expect_shape(hello, hello.count, _HELLO_BYTES)
            bodies[other] = bytes(hello.body)
            if bodies[other][:32] != self._body[:32]:
                raise ParameterMismatchError(f"party {other} chose other settings: agree on them")
            if hello.count > self._max_peer_items:
                raise SizeLimitError(
                    f"party {other} brings {hello.count} items, this side allows "
                    f"{self._max_peer_items}: raise max_peer_items if that is expected"
                )
            self._sizes[other] = hello.count
        if len({body[32:64] for body in bodies.values()}) != len(bodies):
            raise RepeatedElementError("two parties sent the same nonce")
        if len({body[64:] for body in bodies.values()}) != len(bodies):
            raise RepeatedElementError("two parties sent the same public key")
        content = b"".join(
            bodies[party] + self._sizes[party].to_bytes(8, "big") for party in sorted(bodies)
        )
        self._identity = hashlib.sha256(b"psi kmprt session, " + content).digest()
        assert self._secret is not None  # noqa: S101 - drawn when the session was prepared
        for other in self._others:
            shared = multiply(self._secret, points_from_bytes(bodies[other][64:])).tobytes()
            pair = bytes([min(other, self._number), max(other, self._number)])
            self._keys[other] = hashlib.sha512(
                b"psi kmprt keys, " + self._identity + pair + shared
            ).digest()
            self._sending[other].begin_session()
            self._receiving[other].begin_session()
        self._secret = None
        # A value is zero by chance with at most 2^-40 over all of the leader's items.
        self._width = -(-(40 + self._sizes[_LEADER].bit_length()) // 8)
        return self._after_hellos()

    def _after_hellos(self) -> Round:
        raise NotImplementedError

    def _confirmed(self, other: int, kind: MessageType, content: bytes = b"") -> bytes:
        transcript = self._sending[other]
        mac = self._mac(other, self._number, transcript.digest, content)
        return transcript.seal(kind, len(self._items), mac, content)

    def _take(self, other: int, kind: MessageType, data: bytes, length: int) -> memoryview:
        before = self._receiving[other].digest
        message: Message = self._receiving[other].open(kind, data)
        expect_shape(message, self._sizes[other], MAC_BYTES + length)
        content = message.body[MAC_BYTES:]
        expected = self._mac(other, other, before, content)
        if not hmac.compare_digest(expected, message.body[:MAC_BYTES]):
            raise KeyConfirmationError(f"party {other} does not hold the key or saw other hellos")
        return content

    def _mac(self, other: int, sender: int, before: bytes, content: bytes | memoryview) -> bytes:
        mac = hmac.new(self._keys[other][:32], bytes([sender]) + before, hashlib.sha256)
        mac.update(content)
        return mac.digest()

    def _shares(self) -> Values:
        """This party's share of each of its items: shape (n, width)."""
        shares = np.zeros((len(self._items), self._width), np.uint8)
        for key in self._keys.values():
            share = functools.partial(hashlib.blake2b, digest_size=self._width, key=key[32:])
            drawn = b"".join(share(item).digest() for item in self._items)
            shares ^= np.frombuffer(drawn, np.uint8).reshape(shares.shape)
        return shares

    def _hashed(self, items: Sequence[bytes]) -> Points:
        """C, then the items, as group elements of this session."""
        confirmation = hash_to_group([b""], b"psi-kmprt-v1-confirmation-" + self._identity)
        own = hash_to_group(items, b"psi-kmprt-v1-HashToGroup-" + self._identity)
        return np.vstack([confirmation, own])

    def _masks(self, member: int, elements: Points) -> Values:
        """The oblivious function's results from k·C and k·H(item): shape (n + 1, width)."""
        name = b"psi kmprt mask, " + bytes([member]) + self._identity
        mask = functools.partial(
            hashlib.blake2b, digest_size=self._width, key=hashlib.sha256(name).digest()
        )
        drawn = b"".join(mask(row).digest() for row in rows_of(elements.data, POINT_BYTES))
        return np.frombuffer(drawn, np.uint8).reshape(-1, self._width)


class Leader(_Multi):
    """Party 0: learns which of its items every party has."""

    def __init__(
        self,
        items: Sequence[bytes],
        parameters: Parameters | None = None,
        *,
        parties: int,
        max_peer_items: int = MAX_PEER_ITEMS,
    ) -> None:
        """Prepare one session.

        Args:
            items: The leader's set: distinct byte strings, padded or not.
            parameters: What all parties must choose alike; the output is "receiver".
            parties: How many take part, the leader included: 3 to 256.
            max_peer_items: The largest set that a member may bring.

        Raises:
            ConfigError: Items repeat, or a setting is out of range.
        """
        super().__init__(
            items, parameters, number=_LEADER, parties=parties, max_peer_items=max_peer_items
        )
        self._blind: Scalar | None = None
        self._found: NDArray[np.intp] | None = None

    @property
    def matches(self) -> NDArray[np.intp]:
        """Indices, ascending, into the leader's items that every party has.

        Raises:
            StateError: The session is not done.
        """
        if self._found is None or not self._done:
            raise StateError("the session is not done: there is no result")
        return self._found

    def _forget(self) -> None:
        super()._forget()
        self._blind = None

    def _after_hellos(self) -> Round:
        self._blind = Scalar.random()
        self._order = random_order(len(self._items))
        shuffled = [self._items[index] for index in self._order]
        self._sent = multiply(self._blind, self._hashed(shuffled))
        self._next = self._on_tables
        return {
            other: self._confirmed(other, MessageType.MULTI_POINTS, self._sent.tobytes())
            for other in self._others
        }

    def _on_tables(self, messages: Mapping[int, bytes]) -> Round:
        self._expect_from(messages, self._others)
        total = self._shares()[self._order]
        shuffled = [self._items[index] for index in self._order]
        for other, data in messages.items():
            size = entries(self._sizes[other])
            points_end = POINT_BYTES * len(self._sent)
            length = points_end + self._width + SALT_BYTES + self._width * size
            content = self._take(other, MessageType.MULTI_TABLE, data, length)
            masks = self._masks(other, self._unblinded(content[:points_end]))
            salt_start = points_end + self._width
            if masks[0].tobytes() != content[points_end:salt_start]:
                raise KeyConfirmationError(f"party {other} answered with another key")
            salt = bytes(content[salt_start : salt_start + SALT_BYTES])
            table = np.frombuffer(content[salt_start + SALT_BYTES :], np.uint8)
            table = table.reshape(size, self._width)
            total ^= masks[1:] ^ look_up(salt, table, shuffled, self._sizes[other])
        found = np.sort(self._order[~total.any(axis=1)])
        own = self._items.own if isinstance(self._items, PaddedItems) else len(self._items)
        if np.any(found >= own):
            raise DecodeError("the other parties claim to have dummies of this side")
        self._found = found
        answer = {other: self._confirmed(other, MessageType.MULTI_FINISH) for other in self._others}
        self._done = True
        self._forget()
        return answer

    def _unblinded(self, data: memoryview) -> Points:
        received = set(rows_of(data, POINT_BYTES))
        if len(received) != len(self._sent):
            raise RepeatedElementError("a party sent the same point twice")
        if not received.isdisjoint(rows_of(self._sent.data, POINT_BYTES)):
            raise RepeatedElementError("a party sent one of our own points back")
        assert self._blind is not None  # noqa: S101 - _after_hellos drew it
        return multiply(self._blind.inverse(), points_from_bytes(data))


class Member(_Multi):
    """Any other party: learns the sizes of the sets and nothing else."""

    def __init__(
        self,
        items: Sequence[bytes],
        parameters: Parameters | None = None,
        *,
        number: int,
        parties: int,
        max_peer_items: int = MAX_PEER_ITEMS,
    ) -> None:
        """Prepare one session; arguments and errors as for `Leader`.

        Args:
            items: The member's set.
            parameters: What all parties must choose alike.
            number: The member's number, from 1.
            parties: How many take part.
            max_peer_items: The largest set that another party may bring.
        """
        if number == _LEADER:
            raise ConfigError("party 0 is the leader; members are numbered from 1")
        super().__init__(
            items, parameters, number=number, parties=parties, max_peer_items=max_peer_items
        )
        self._members = [other for other in self._others if other != _LEADER]

    @property
    def expects(self) -> list[int]:
        """The numbers of those whose messages make the next round."""
        return [_LEADER] if self._next == self._on_finish else list(self._others)

    def _after_hellos(self) -> Round:
        self._next = self._on_points
        return {other: self._confirmed(other, MessageType.MULTI_CONFIRM) for other in self._members}

    def _on_points(self, messages: Mapping[int, bytes]) -> Round:
        self._expect_from(messages, self._others)
        # Shares under keys or hellos that differ would make an empty intersection.
        for other in self._members:
            self._take(other, MessageType.MULTI_CONFIRM, messages[other], 0)
        length = POINT_BYTES * (self._sizes[_LEADER] + 1)
        points = self._take(_LEADER, MessageType.MULTI_POINTS, messages[_LEADER], length)
        if len(set(rows_of(points, POINT_BYTES))) != self._sizes[_LEADER] + 1:
            raise RepeatedElementError("the leader sent the same point twice")
        key = Scalar.random()
        evaluated = multiply(key, points_from_bytes(points))
        masks = self._masks(self._number, multiply(key, self._hashed(self._items)))
        salt, table = program(self._items, masks[1:] ^ self._shares())
        content = b"".join([evaluated.tobytes(), masks[0].tobytes(), salt, table.tobytes()])
        self._next = self._on_finish
        return {_LEADER: self._confirmed(_LEADER, MessageType.MULTI_TABLE, content)}

    def _on_finish(self, messages: Mapping[int, bytes]) -> Round:
        self._expect_from(messages, [_LEADER])
        self._take(_LEADER, MessageType.MULTI_FINISH, messages[_LEADER], 0)
        self._done = True
        self._forget()
        return {}
