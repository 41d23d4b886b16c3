"""What every protocol's two state machines have in common: settings, hellos, confirmations.

A session begins with both hellos. They carry each side's fingerprint of the settings, its set's
size and a nonce, and all of it (with protocol, version and roles) is hashed into the session's
identity, from which a protocol takes its domain separation: nothing of one session means anything
in another. Later messages are confirmed by a MAC under a key that only the two ends of the
session can compute, over the whole transcript. So a peer with another key, setting or view of
the session is an error, never an empty intersection.
"""

import hashlib
import hmac
import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import ClassVar, Literal, Never, TypeAlias

import numpy as np
from numpy.typing import NDArray

from psi.errors import (
    ConfigError,
    DecodeError,
    KeyConfirmationError,
    ParameterMismatchError,
    SizeLimitError,
    StateError,
)
from psi.protocols.messages import FRAME_BYTES, Message, MessageType, Transcript
from psi.protocols.padding import PaddedItems
from psi.texts import TextKeys

__all__ = [
    "MAC_BYTES",
    "MAX_PEER_ITEMS",
    "Parameters",
    "Party",
    "Progress",
    "expect_shape",
    "random_order",
    "tag_bytes",
]

MAX_PEER_ITEMS = 1 << 24
MAC_BYTES = 32

Progress: TypeAlias = Callable[[str, int, int], None]

_FINGERPRINT_BYTES = 32
_NONCE_BYTES = 32
_FALSE_MATCH_BITS = 40
_COUNT = np.dtype(">u4")
_MAX_PAIRS = 1 << 27  # what hostile counts may make this side allocate: 2 GiB of row numbers


@dataclass(frozen=True)
class Parameters:
    """What both sides must choose alike; its fingerprint is compared before anything is sent.

    Attributes:
        output: Who gets the result: "both", or only the "receiver".
        key_format: How rows become items (columns, normalisation), in words of the caller's
            choosing; compared as text.
        multiplicities: Whether both sides tell how often each matched item occurs.
    """

    output: Literal["both", "receiver"] = "both"
    key_format: str = ""
    multiplicities: bool = False

    def __post_init__(self) -> None:
        if self.output not in ("both", "receiver"):
            raise ConfigError('output is "both" or "receiver"')
        if self.multiplicities and self.output != "both":
            raise ConfigError('multiplicities need the result on both sides: output="both"')

    def fingerprint(self) -> bytes:
        """32 bytes that are equal exactly if all settings are."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).digest()


def tag_bytes(n_receiver: int, n_sender: int) -> int:
    """Length of a tag such that some pair of different items collides with at most 2^-40.

    There are n_receiver · n_sender pairs (one element more a side, which confirms the key), so a
    tag has at least 40 + log2 of their number bits.
    """
    pair_bits = ((n_receiver + 1) * (n_sender + 1)).bit_length()
    return -(-(_FALSE_MATCH_BITS + pair_bits) // 8)


def expect_shape(message: Message, count: int, length_bytes: int) -> None:
    """Refuse a message of another count or length than the hellos imply, before parsing it."""
    if message.count != count:
        raise DecodeError(f"the message announces {message.count} elements instead of {count}")
    if len(message.body) != length_bytes:
        raise DecodeError(f"the message has {len(message.body)} bytes instead of {length_bytes}")


def random_order(count: int) -> NDArray[np.intp]:
    """A fresh random permutation from the operating system's generator, shape (count,)."""
    # Ties among 64-bit sort keys are too rare to bias the order noticeably.
    drawn = np.frombuffer(secrets.token_bytes(8 * count), np.uint64)
    return np.argsort(drawn, kind="stable")


class Party:
    """One side of a session: takes messages in turn, fails for good, forgets its secrets."""

    protocol: str
    speaks_first: ClassVar[bool]
    _own_hello: ClassVar[MessageType]
    _peer_hello: ClassVar[MessageType]

    def __init__(
        self,
        items: Sequence[bytes],
        parameters: Parameters | None = None,
        *,
        counts: NDArray[np.intp] | None = None,
        max_peer_items: int = MAX_PEER_ITEMS,
        progress: Progress | None = None,
    ) -> None:
        """Prepare one session.

        Args:
            items: This side's set: distinct byte strings, padded or not.
            parameters: What both sides must choose alike.
            counts: Shape (len(items),): how often each occurs; given with `multiplicities`.
            max_peer_items: The largest set the other side may bring.
            progress: Called with a stage, the items done and their number while it works.

        Raises:
            ConfigError: Items repeat, or counts are not those of the items.
        """
        # Whoever made TextKeys knows that they are distinct, and a set of millions takes gigabytes.
        if not isinstance(items, TextKeys) and len(set(items)) != len(items):
            raise ConfigError("items repeat: pass each one once")
        self._parameters = parameters or Parameters()
        if (counts is not None) != self._parameters.multiplicities:
            raise ConfigError("counts go with multiplicities: give both or neither")
        if counts is not None and (np.shape(counts) != (len(items),) or np.any(counts < 1)):
            raise ConfigError("counts are positive, one an item")
        self._items = items
        self._counts = counts
        self._max_peer_items = max_peer_items
        self._progress = progress or (lambda stage, done, total: None)
        self._n_peer: int | None = None
        self._transcript = Transcript(self.protocol)
        self._identity = b""
        self._mac_key = b""
        self._found: NDArray[np.intp] | None = None
        self._peer_counts: NDArray[np.intp] | None = None
        self._charge: Callable[[int], None] = lambda items: None
        self._started = False
        self._expect: Callable[[bytes], bytes | None] | None = None
        if not self.speaks_first:
            self._expect = self._on_hello
        self._done = False

    def charge_with(self, charge: Callable[[int], None]) -> None:
        """Have the other side's items counted before anything but sizes is said (`psi.ledger`).

        Args:
            charge: Called once with the size of the other side's set; what it raises ends the
                session.
        """
        self._charge = charge

    def start(self) -> bytes | None:
        """The session's first message, if this side speaks first.

        Raises:
            StateError: The session was started before.
        """
        if not self.speaks_first:
            return None
        if self._started:
            raise StateError("this session was started before: start a new one")
        self._started = True
        self._expect = self._on_hello
        return self._hello()

    @property
    def done(self) -> bool:
        """Whether the session ended well."""
        return self._done

    @property
    def matches(self) -> NDArray[np.intp]:
        """Indices into this side's items that the other side has too.

        Both sides list them in the same order, which depends only on the session's key.

        Raises:
            StateError: The session is not done, or the settings give this side no result.
        """
        self._require_done()
        if self._found is None:
            raise StateError("the settings give the result to the receiver only")
        return self._found

    @property
    def peer_counts(self) -> NDArray[np.intp] | None:
        """How often the other side has each of `matches`; None without `multiplicities`.

        Raises:
            StateError: The session is not done.
        """
        self._require_done()
        return self._peer_counts

    @property
    def longest_message(self) -> int:
        """What the other side's next message can measure at most, in bytes."""
        if self._n_peer is None:
            return FRAME_BYTES + _FINGERPRINT_BYTES + _NONCE_BYTES
        # A point for each of its items, a tag and a count for each of ours, each one rounded up.
        return FRAME_BYTES + MAC_BYTES + 32 * (self._n_peer + 1) + 32 * (len(self._items) + 1)

    def receive(self, message: bytes) -> bytes | None:
        """Take the other side's next message; returns the answer to send, or None at the end.

        Raises:
            ProtocolError: The message is not acceptable. The session is over: its secrets are
                gone and it answers nothing any more.
        """
        expect, self._expect = self._expect, None
        if expect is None:
            raise StateError("this session takes no message now: start a new one")
        try:
            return expect(message)
        except BaseException:
            self._forget()
            raise

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self._items)} items)"

    def __reduce__(self) -> Never:
        raise TypeError("a session holds secrets and is not pickled")

    def _require_done(self) -> None:
        if not self._done:
            raise StateError("the session is not done: there is no result")

    def _end(self) -> None:
        own = self._items.own if isinstance(self._items, PaddedItems) else len(self._items)
        if self._found is not None and np.any(self._found >= own):
            raise DecodeError("the other side claims to have dummies of this side")
        self._forget()
        self._done = True

    def _forget(self) -> None:
        """Drop every secret of the session."""
        self._mac_key = b""

    # -- hellos -------------------------------------------------------------------------------

    def _hello(self) -> bytes:
        body = self._parameters.fingerprint() + secrets.token_bytes(_NONCE_BYTES)
        return self._transcript.seal(self._own_hello, self._own_size(), body)

    def _own_size(self) -> int:
        return len(self._items)

    def _on_hello(self, data: bytes) -> bytes | None:
        self._take_hello(data)
        self._charge(self._peer_items())
        hello = None if self.speaks_first else self._hello()
        self._identity = self._transcript.begin_session()
        return self._after_hellos() or hello

    def _after_hellos(self) -> bytes | None:
        """Set what to expect next; the side that speaks first returns its next message."""
        raise NotImplementedError

    def _peer_items(self) -> int:
        assert self._n_peer is not None  # noqa: S101 - the hellos went before
        return self._n_peer

    def _take_hello(self, data: bytes) -> None:
        hello = self._transcript.open(self._peer_hello, data)
        own = self._parameters.fingerprint()
        expect_shape(hello, hello.count, _FINGERPRINT_BYTES + _NONCE_BYTES)
        if hello.body[:_FINGERPRINT_BYTES] != own:
            raise ParameterMismatchError(
                f"the other side chose other settings than this side's {self._parameters}: "
                "agree on output, columns and normalisation and start again"
            )
        if hello.count > self._max_peer_items:
            raise SizeLimitError(
                f"the other side brings {hello.count} items, this side allows "
                f"{self._max_peer_items}: raise max_peer_items if that is expected"
            )
        self._n_peer = hello.count
        self._tag_bytes = tag_bytes(len(self._items), hello.count)

    # -- confirmations ------------------------------------------------------------------------

    def _confirmed(self, kind: MessageType, count: int, content: bytes | memoryview) -> bytes:
        mac = self._mac(self._own_hello, self._transcript.digest, count, content)
        return self._transcript.seal(kind, count, mac, content)

    def _check(self, before: bytes, message: Message) -> None:
        content = message.body[MAC_BYTES:]
        expected = self._mac(self._peer_hello, before, message.count, content)
        if not hmac.compare_digest(expected, message.body[:MAC_BYTES]):
            raise KeyConfirmationError("the other side does not hold this session's key")

    def _mac(
        self, role: MessageType, before: bytes, count: int, content: bytes | memoryview
    ) -> bytes:
        mac = hmac.new(self._mac_key, bytes([role]) + before, hashlib.sha256)
        mac.update(count.to_bytes(8, "big"))
        mac.update(content)
        return mac.digest()

    # -- the end ------------------------------------------------------------------------------

    @property
    def _both(self) -> bool:
        return self._parameters.output == "both"

    @property
    def _announced(self) -> int:
        """The number of matches, where both sides may know it."""
        return len(self._found) if self._both and self._found is not None else 0

    def _on_close(self, data: bytes) -> None:
        before = self._transcript.digest
        close = self._transcript.open(MessageType.CLOSE, data)
        count = self._announced
        expect_shape(close, count, MAC_BYTES + self._counts_length(count))
        self._check(before, close)
        self._take_counts(close.body[MAC_BYTES:])
        self._end()

    # -- how often a match occurs -------------------------------------------------------------

    def _counts_length(self, matches: int) -> int:
        return _COUNT.itemsize * matches if self._parameters.multiplicities else 0

    def _own_counts(self) -> bytes:
        """How often this side has each match; nothing without `multiplicities`."""
        if self._counts is None or self._found is None:
            return b""
        return self._counts[self._found].astype(_COUNT).tobytes()

    def _take_counts(self, data: memoryview) -> None:
        if self._counts is None or self._found is None:
            return
        peer = np.frombuffer(data, _COUNT).astype(np.intp)
        if np.any(peer < 1):
            raise DecodeError("the other side says that it has a match zero times")
        # In floating point, because hostile counts overflow integers.
        if np.dot(self._counts[self._found].astype(float), peer.astype(float)) > _MAX_PAIRS:
            raise SizeLimitError(
                f"repeated IDs make more than {_MAX_PAIRS} pairs of rows: drop duplicates first"
            )
        self._peer_counts = peer
