"""From 16-byte digests of keys to the rows of a store: three slots and 40 dense bits each.

AES under keys that all know spreads a digest, modelled as an ideal cipher. Positions are
floor(word · size / 2^64), within 2^-32 of uniform; the bounds of `psi.keyvalue.bounds` take them as
uniform.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from psi import kernels
from psi.kernels import blocks
from psi.kernels.beside import beside
from psi.keyvalue.sizes import DENSE_BITS, StoreSizes

__all__ = ["BLOCK_BYTES", "aes_blocks", "store_rows"]

BLOCK_BYTES = 16


def aes_blocks(keys: Sequence[bytes], digests: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return AES of each block under each key, side by side: shape (n, 16 · len(keys))."""
    given = np.ascontiguousarray(digests).view(np.uint64)
    encrypted = beside(*(blocks.encrypt(key, given) for key in keys))
    return encrypted.view(np.uint8).reshape(len(digests), len(keys) * BLOCK_BYTES)


def store_rows(
    digests: NDArray[np.uint8], key: bytes, sizes: StoreSizes
) -> tuple[NDArray[np.uint32], NDArray[np.uint64]]:
    """Return where keys lie in a store.

    Args:
        digests: Distinct pseudorandom strings: shape (n, 16).
        key: 32 bytes that both sides know, and that nobody could choose keys for.
        sizes: The sizes of the store.

    Returns:
        The slots of each key in increasing order, one in each third of its bin: shape (n, 3); and
        its dense bits, shape (n,).
    """
    words = aes_blocks([key[:16], key[16:]], digests).view("<u8").astype(np.uint64, copy=False)
    return kernels.store_places(words, sizes.bins, sizes.third, DENSE_BITS)
