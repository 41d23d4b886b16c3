"""PSI by vector OLE: two state machines, bytes in, bytes out, no I/O.

The receiver makes an oblivious key-value store P in which each of its items x has a random value
H(x), and sends A + P for A, C = A·D + B of a vector OLE (`psi.vole`). The sender computes from it
K = B + (A + P)·D = C + P·D, and for an item x of its own K(x) + D·H(x), where K(x) is what the
entries of x in K add up to. The receiver computes C(x), which is the same if x is in its store;
for any other item it would need D. A hash of that value is the item's tag and its receipt. This is
the protocol of Rindal and Schoppmann 2021 (ePrint 2021/266, Figures 4 and 5) in the malicious form,
with the store and sizes of Raghuraman and Rindal 2022 (ePrint 2022/320).

    Receiver                                Sender
    RECEIVER_HELLO  settings, nonce, n,
                    key of the transfers →
                                        ←   SENDER_HELLO  settings, nonce, n, the choices
    VOLE_BASE  the store's seed, base   →
                                        ←   VOLE_NOISE  trees, commitment to the coin
    VOLE_CHECK  check                   →
                                        ←   VOLE_TAGS  MAC
    VOLE_TABLE  MAC, coin, A + P        →
                                        ←   VOLE_TAGS  MAC, the coin, a tag an item, shuffled
    FINISH  MAC [, matches, receipts [, counts]] →
                                        ←   CLOSE  MAC [, counts]

A hash cuts large sets into buckets, each a session of its own in all but the transfers, so that
memory does not grow with what is sent: VOLE_TABLE carries the check of the next bucket as well,
VOLE_TAGS the trees of the one after. The MAC of VOLE_TAGS is under a key that only a sender has
whose trees were right, so no table leaves before its chunk has passed the check.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray

from psi import kernels
from psi.errors import ProtocolError, SizeLimitError
from psi.group.ristretto255 import POINT_BYTES
from psi.protocols.elements import TAG_BYTES
from psi.protocols.messages import FRAME_BYTES
from psi.protocols.party import MAC_BYTES, Party
from psi.protocols.transfers import TransferLabels
from psi.protocols.vole.buckets import Buckets
from psi.protocols.vole.hashing import COIN_BYTES, SessionHashes
from psi.protocols.vole.layout import MOST_ITEMS, SessionSizes
from psi.vole import CHECK_BYTES, TRANSFERS

__all__ = ["CHOICE_PAIRS_BYTES", "ENTRY_BYTES", "LABELS", "NAME", "SEED_BYTES", "VoleParty"]

NAME = "vole"
LABELS = TransferLabels(b"psi-vole-v1-random-point-", b"psi-vole-v1-transfer-", b"psi vole seed, ")
CHOICE_PAIRS_BYTES = 2 * TRANSFERS * POINT_BYTES
SEED_BYTES = _DIGEST_BYTES = 16
ENTRY_BYTES = 16

Bytes = NDArray[np.uint8]
Blocks = NDArray[np.uint64]
Rows = NDArray[np.intp]


class VoleParty(Party):
    """What both roles know: sizes, hashes, buckets, and how the session's keys are made."""

    protocol = NAME
    _buckets: Buckets | None = None
    _vole_session = b""
    _bucket = 0  # whose tags, or whose table, come next

    def _forget(self) -> None:
        super()._forget()
        if self._buckets is not None:
            self._buckets.close()
            self._buckets = None

    def _take_hello(self, data: bytes) -> None:
        # The transfers are bound to what both know when the sender chooses: the receiver's hello.
        if self.speaks_first:
            self._vole_session = self._transcript.digest
        super()._take_hello(data)
        if max(len(self._items), self._peer_items()) > MOST_ITEMS:
            raise SizeLimitError(f"vole takes at most {MOST_ITEMS} items a side: choose ecdh")
        if not self.speaks_first:
            self._vole_session = self._transcript.digest

    def _lay_out(self) -> None:
        """Derive all that both sides can derive once both hellos are in."""
        self._hashes = SessionHashes(self._identity)
        sizes = len(self._items), self._peer_items()
        self._layout = SessionSizes.of(*(sizes if self.speaks_first else sizes[::-1]))
        self._store, self._plan = self._layout.store, self._layout.plan
        if max(sizes) >= kernels.FAST_FROM and kernels.fast_available():
            kernels.load()  # small things come first, which would not by themselves

    @property
    def longest_message(self) -> int:
        """What the other side's next message can measure at most, in bytes."""
        if self._n_peer is None:
            return super().longest_message
        sent = self._layout.tags
        return FRAME_BYTES + max(
            SEED_BYTES + self._plan.base.message_bytes,
            MAC_BYTES + self._table_bytes(0) + CHECK_BYTES,
            MAC_BYTES + self._tags_bytes(0, 0) + self._noise_bytes(0),
            MAC_BYTES + -(-sent // 8) + 32 * min(len(self._items), self._n_peer),
        )

    # -- lengths ------------------------------------------------------------------------------

    def _due(self, bucket: int) -> bool:
        return 0 <= bucket < self._layout.buckets

    def _noise_bytes(self, bucket: int) -> int:
        return self._plan.noise_bytes + COIN_BYTES if self._due(bucket) else 0

    def _check_bytes(self, bucket: int) -> int:
        return CHECK_BYTES if self._due(bucket) else 0

    def _table_bytes(self, bucket: int) -> int:
        """Return the length of a bucket's coin and table."""
        return COIN_BYTES + ENTRY_BYTES * self._store.slots if self._due(bucket) else 0

    def _tags_bytes(self, bucket: int, part: int) -> int:
        """Return the length of a part of a bucket's tags, the first of which has the coin."""
        coin = 0 if part else COIN_BYTES
        return coin + TAG_BYTES * self._layout.tags_in(part) if self._due(bucket) else 0

    # -- buckets ------------------------------------------------------------------------------

    def _take_bucket(self, bucket: int, room: int) -> tuple[Rows, Bytes]:
        """Return the numbers and digests of the items in a bucket.

        Raises:
            ProtocolError: It has no room for its items, with probability below 2^-45.
        """
        batches = self._hashes.digests(self._items)
        if self._layout.buckets == 1:
            digests = np.concatenate([np.empty((0, _DIGEST_BYTES), np.uint8), *batches])
            return np.arange(len(digests)), digests
        if self._buckets is None:
            self._buckets = Buckets(batches, len(self._items), self._layout.buckets)
            if self._buckets.sizes.max() > room:
                raise ProtocolError("the IDs fit no bucket of this session: start again")
        return self._buckets.take(bucket)

    def _tell(self, stage: str, bucket: int) -> None:
        total = len(self._items)
        self._progress(stage, total * bucket // self._layout.buckets, total)

    def _confirm_with(self, proof: bytes) -> None:
        """Key the MACs by what only the two sides know once a check has passed at both."""
        secret = b"psi vole MACs, " + self._identity + self._mac_key + proof
        self._mac_key = hashlib.sha256(secret).digest()
