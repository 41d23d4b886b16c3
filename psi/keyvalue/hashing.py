"""From 16-byte digests of keys to the rows of a store: three slots and 40 dense bits each.

AES under keys that all know spreads a digest, modelled as an ideal cipher. Positions are
floor(word · size / 2^64), within 2^-32 of uniform; the bounds of `psi.keyvalue.bounds` take them as
uniform.
"""

from collections.abc import Sequence

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from psi.keyvalue.sizes import DENSE_BITS, StoreSizes

__all__ = ["BLOCK_BYTES", "aes_blocks", "scaled", "store_rows"]

BLOCK_BYTES = 16


def aes_blocks(keys: Sequence[bytes], blocks: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return AES of each block under each key, side by side: shape (n, 16 · len(keys))."""
    data = np.ascontiguousarray(blocks).data.cast("B") if len(blocks) else b""
    out = np.empty((len(blocks), len(keys), BLOCK_BYTES), np.uint8)
    for number, key in enumerate(keys):
        # ECB of single blocks is AES itself, which is wanted here.
        cipher = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305
        encrypted = np.frombuffer(cipher.update(data), np.uint8)
        out[:, number] = encrypted.reshape(-1, BLOCK_BYTES)
    return out.reshape(len(blocks), len(keys) * BLOCK_BYTES)


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
    # 24 bits are enough for a number of bins that is a power of two.
    bins = (words[:, 3] >> np.uint64(DENSE_BITS)) * np.uint64(sizes.bins)
    thirds = 3 * (bins >> np.uint64(64 - DENSE_BITS))[:, None] + np.arange(3, dtype=np.uint64)
    places = np.uint64(sizes.third) * thirds + scaled(words[:, :3], sizes.third)
    dense = words[:, 3] & np.uint64((1 << DENSE_BITS) - 1)
    return places.astype(np.uint32), dense


def scaled(words: NDArray[np.uint64], size: int) -> NDArray[np.uint64]:
    """Return floor(word · size / 2^64), computed in 64 bits; the size is below 2^32."""
    high, low = words >> np.uint64(32), words & np.uint64(0xFFFFFFFF)
    factor = np.uint64(size)
    result: NDArray[np.uint64] = (high * factor + (low * factor >> np.uint64(32))) >> np.uint64(32)
    return result
