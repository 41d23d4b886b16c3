"""What every protocol's two state machines have in common: settings, hellos, confirmations.

A session begins with both hellos. They carry each side's fingerprint of the settings, its set's
size and a nonce. All of it, with protocol, version and roles and, over a network, both sides'
certificates, is hashed into the session's identity, from which a protocol takes its domain
separation: nothing of one session is valid in another. Later messages carry a MAC over the whole
transcript, under a key that only the two ends of the session can compute. So a peer with another
key, setting or view of the session causes an error, never an empty intersection.
"""

import hmac
import secrets
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from psi.errors import ConfigError, DecodeError, KeyConfirmationError, SizeLimitError
from psi.protocols.conversation import PEER, Dialogue, Progress, SetConversation
from psi.protocols.messages import FRAME_BYTES, MAC_BYTES, Message, MessageType, Transcript
from psi.protocols.noise import EXACT, NOTHING, SessionCost
from psi.protocols.parameters import FINGERPRINT_BYTES, MAX_PEER_ITEMS, SessionParameters

__all__ = ["MAC_BYTES", "Party", "expect_shape", "random_order", "tag_bytes"]

_NONCE_BYTES = 32
_FALSE_MATCH_BITS = 40
_COUNT = np.dtype(">u4")
# What hostile counts can make of a match: each pair of rows is a line of the result. Few own rows
# may have any number of pairs up to the first, more of them the second each, all of them the third.
_FREE_PAIRS, _PAIRS_A_ROW, _MAX_PAIRS = 1 << 22, 1 << 10, 1 << 27


def tag_bytes(n_receiver: int, n_sender: int) -> int:
    """Return a tag's length: any two different items share a tag with probability at most 2^-40.

    There are n_receiver · n_sender pairs (and one element per side that confirms the key), so a
    tag has at least 40 + log2 of their number bits.
    """
    pair_bits = ((n_receiver + 1) * (n_sender + 1)).bit_length()
    return -(-(_FALSE_MATCH_BITS + pair_bits) // 8)


def expect_shape(message: Message, count: int, length_bytes: int) -> None:
    """Refuse, before it is parsed, a message of another count or length than the hellos imply."""
    if message.count != count:
        raise DecodeError(f"the message announces {message.count} elements instead of {count}")
    if len(message.body) != length_bytes:
        raise DecodeError(f"the message has {len(message.body)} bytes instead of {length_bytes}")


def random_order(count: int) -> NDArray[np.intp]:
    """Return a fresh random permutation from the operating system's generator, shape (count,)."""
    # Equal 64-bit sort keys are too rare to bias the order noticeably.
    drawn = np.frombuffer(secrets.token_bytes(8 * count), np.uint64)
    return np.argsort(drawn, kind="stable")


class Party(SetConversation[bytes, bytes | None], Dialogue):
    """One of two sides: sends a hello, and confirms by a key that only the two can compute."""

    _own_hello: ClassVar[MessageType]
    _peer_hello: ClassVar[MessageType]
    _announcement_bytes: ClassVar[int] = 0  # what a protocol adds to this side's hello
    _peer_announcement_bytes: ClassVar[int] = 0  # and to the other's

    def __init__(
        self,
        items: Sequence[bytes],
        parameters: SessionParameters | None = None,
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
            max_peer_items: The most items that the other side may be able to test.
            progress: Called with a stage, the items done and their number while it works.

        Raises:
            ConfigError: Items repeat, or counts are not those of the items.
        """
        super().__init__(
            items,
            parameters or SessionParameters(),
            max_peer_items=max_peer_items,
            progress=progress,
        )
        if (counts is not None) != self._parameters.multiplicities:
            raise ConfigError("counts go with multiplicities: give both or neither")
        if counts is not None and (np.shape(counts) != (len(items),) or np.any(counts < 1)):
            raise ConfigError("counts are positive, one an item")
        self._counts = counts
        self._n_peer: int | None = None
        self._transcript = Transcript(self.protocol)
        self._mac_key = b""
        if not self.speaks_first:
            self._expect = self._on_hello

    @property
    def longest_message(self) -> int:
        """What the other side's next message can measure at most, in bytes."""
        if self._n_peer is None:
            return FRAME_BYTES + self._peer_hello_bytes
        # A point for each of its items, a tag and a count for each of ours, generously rounded up.
        return FRAME_BYTES + MAC_BYTES + 32 * (self._n_peer + 1) + 32 * (len(self._items) + 1)

    @property
    def cost(self) -> SessionCost:
        """What the session costs each ID of this side, if both follow the protocol."""
        return NOTHING if self.speaks_first and not self._both else EXACT

    def between(self, peer: int, own: str, theirs: str) -> None:
        """Bind the session to the receiver's and the sender's certificates, in this order."""
        self._require_new()
        receiver, sender = (own, theirs) if self.speaks_first else (theirs, own)
        self._transcript.bind(receiver, sender)

    def _forget(self) -> None:
        self._mac_key = b""

    # -- hellos -------------------------------------------------------------------------------

    def _begin(self) -> bytes:
        self._expect = self._on_hello
        return self._hello()

    def _hello(self) -> bytes:
        body = self._parameters.fingerprint() + secrets.token_bytes(_NONCE_BYTES)
        body += self._announcement()
        return self._transcript.seal(self._own_hello, self._own_size(), body)

    @property
    def _peer_hello_bytes(self) -> int:
        return FINGERPRINT_BYTES + _NONCE_BYTES + self._peer_announcement_bytes

    def _announcement(self) -> bytes:
        """Return what this protocol adds to the hello."""
        return b""

    def _take_announcement(self, content: bytes) -> None:
        """Take what the other side added, once its settings and size are known."""

    def _own_size(self) -> int:
        return len(self._items)

    def _on_hello(self, data: bytes) -> bytes | None:
        self._take_hello(data)
        self._charge(PEER, self.tested_by(PEER, self._peer_items()))
        hello = None if self.speaks_first else self._hello()
        self._identity = self._transcript.begin_session()
        return self._after_hellos() or hello

    def _after_hellos(self) -> bytes | None:
        """Set what to expect next; the side that speaks first returns its next message."""
        raise NotImplementedError

    def _peer_items(self) -> int:
        assert self._n_peer is not None  # noqa: S101 - the hellos came before
        return self._n_peer

    def _take_hello(self, data: bytes) -> None:
        hello = self._transcript.open(self._peer_hello, data)
        expect_shape(hello, hello.count, self._peer_hello_bytes)
        self._check_hello("the other side", hello.body[:FINGERPRINT_BYTES], hello.count)
        self._n_peer = hello.count
        self._tag_bytes = tag_bytes(len(self._items), hello.count)
        self._take_announcement(bytes(hello.body[FINGERPRINT_BYTES + _NONCE_BYTES :]))

    # -- confirmations ------------------------------------------------------------------------

    def _confirmed(self, kind: MessageType, count: int, *content: bytes | memoryview) -> bytes:
        return self._transcript.confirm(
            kind, count, lambda digest: self._mac(self._own_hello, digest), *content
        )

    def _check(self, message: Message) -> None:
        expected = self._mac(self._peer_hello, message.digest)
        if not hmac.compare_digest(expected, message.body[:MAC_BYTES]):
            raise KeyConfirmationError("the other side does not hold this session's key")

    def _mac(self, role: MessageType, digest: bytes) -> bytes:
        return hmac.digest(self._mac_key, bytes([role]) + digest, "sha256")

    # -- the end ------------------------------------------------------------------------------

    @property
    def _announced(self) -> int:
        """The number of matches, if both sides may know it."""
        return len(self._found) if self._both and self._found is not None else 0

    def _on_close(self, data: bytes) -> None:
        close = self._transcript.open(MessageType.CLOSE, data)
        count = self._announced
        expect_shape(close, count, MAC_BYTES + self._counts_length(count))
        self._check(close)
        self._take_counts(close.body[MAC_BYTES:])
        self._end()

    # -- how often a match occurs -------------------------------------------------------------

    def _counts_length(self, matches: int) -> int:
        return _COUNT.itemsize * matches if self._parameters.multiplicities else 0

    def _own_counts(self) -> bytes:
        """Return how often this side has each match; nothing without `multiplicities`."""
        if self._counts is None or self._found is None:
            return b""
        return self._counts[self._found].astype(_COUNT).tobytes()

    def _take_counts(self, data: memoryview) -> None:
        if self._counts is None or self._found is None:
            return
        peer = np.frombuffer(data, _COUNT).astype(np.intp)
        if np.any(peer < 1):
            raise DecodeError("the other side says that it has a match zero times")
        own = self._counts[self._found].astype(float)  # hostile counts would overflow integers
        most = min(_FREE_PAIRS + _PAIRS_A_ROW * own.sum(), _MAX_PAIRS)
        if np.dot(own, peer.astype(float)) > most:
            raise SizeLimitError(
                f"repeated IDs make more than {most:.0f} pairs of rows, which is the most for "
                f"{own.sum():.0f} rows of this side that match: drop duplicates first"
            )
        self._peer_counts = peer
