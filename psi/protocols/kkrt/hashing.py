"""From items to what `kkrt` computes with: digests, bins and code words.

An item is digested to 128 bits under a key of the session. The first bits are the number of its
bucket; AES under further keys of the session turns a digest into its bins and its code word.
"""

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from psi import kernels
from psi.kernels.portable import scaled
from psi.keyvalue.hashing import aes_blocks
from psi.protocols.kkrt.layout import HASHES

__all__ = ["SessionHashes"]

Bytes = NDArray[np.uint8]


class SessionHashes:
    """The hashes of one session, keyed by its identity, so that both sides have the same."""

    def __init__(self, identity: bytes) -> None:
        """Derive the keys, which both sides know and neither can predict before the hellos."""
        stream = hashlib.shake_256(b"psi kkrt keys, " + identity).digest(32 + 32 + 6 * 16 + 16)
        self._item_key, self._row_key, aes, self._confirmation = (
            stream[:32],
            stream[32:64],
            stream[64:160],
            stream[160:],
        )
        keys = [aes[start : start + 16] for start in range(0, len(aes), 16)]
        self._code_keys, self._bin_keys = keys[:4], keys[4:]

    def digests(self, items: Sequence[bytes]) -> Iterator[Bytes]:
        """Yield the digests of all items in order, some at a time: shape (any, 16)."""
        return kernels.digest_batches(items, self._item_key)

    def row_key(self, bucket: int) -> bytes:
        """Return the key of the tags in a bucket, as bin numbers repeat from bucket to bucket."""
        return hashlib.sha256(self._row_key + bucket.to_bytes(4, "big")).digest()

    def bins(self, digests: Bytes, n_bins: int) -> NDArray[np.uint32]:
        """Return the three bins of each digest, one in each third of the bins: shape (n, 3)."""
        third = n_bins // HASHES
        words = aes_blocks(self._bin_keys, digests).view("<u8")[:, :HASHES]
        starts = third * np.arange(HASHES, dtype=np.uint64)
        return (scaled(words, third) + starts).astype(np.uint32)

    def codes(self, digests: Bytes) -> Bytes:
        """Return the code word of each digest: shape (n, 64)."""
        return aes_blocks(self._code_keys, digests)

    def confirmation_code(self) -> Bytes:
        """Return the code word of an element that both sides know: shape (1, 64)."""
        return self.codes(np.frombuffer(self._confirmation, np.uint8).reshape(1, -1))
