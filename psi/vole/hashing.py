"""A universal hash of blocks, linear over GF(2^128): GHASH (NIST SP 800-38D, 6.4) from OpenSSL.

The hash of blocks w_1 ... w_n at a point h is w_1·h^(n+1) + ... + w_n·h^2. Two different inputs of
n blocks have the same hash at a random point with probability at most (n + 1) · 2^-128, as a
polynomial has no more zeros than its degree. It is linear: multiples and sums of inputs have
multiples and sums as hashes, which is what the checks of this room compare.

AES-GCM of no plaintext gives GHASH of its additional data, plus what does not depend on them.
It counts bits from the other end of each byte than `psi.kernels.blocks`, so they are turned.
"""

import numpy as np
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from numpy.typing import NDArray

from psi.kernels import reverse_bits

__all__ = ["LinearHash"]

Blocks = NDArray[np.uint64]

_NONCE = bytes(12)


class LinearHash:
    """The hash at one point, for inputs of one length."""

    def __init__(self, key: bytes, blocks: int) -> None:
        """Choose the point.

        Args:
            key: 16 bytes that nobody could choose the inputs for.
            blocks: How many blocks the inputs have.
        """
        self._gcm = AESGCM(key)
        self._blocks = blocks
        self._constant = self._tag(np.zeros((blocks, 2), np.uint64))

    def of(self, blocks: Blocks) -> Blocks:
        """Return the hash of blocks, shape (n, 2), as one block: shape (1, 2)."""
        return self.of_each(blocks[None])

    def of_each(self, columns: Blocks) -> Blocks:
        """Return the hash of each column of blocks, shape (columns, n, 2): shape (columns, 2)."""
        assert columns.shape[1:] == (self._blocks, 2)  # noqa: S101 - lengths are the plan's
        tags = np.concatenate([self._tag(column) for column in reverse_bits(columns)])
        return reverse_bits(tags ^ self._constant)

    def _tag(self, blocks: Blocks) -> Blocks:
        tag = self._gcm.encrypt(_NONCE, b"", np.ascontiguousarray(blocks).data.cast("B"))
        return np.frombuffer(tag, np.uint64).reshape(1, 2)
