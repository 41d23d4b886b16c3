"""From items to what `kkrt` computes with: digests, bins and code words, and how many of each.

An item is digested to 128 bits under a key of the session; AES under further keys of the session
turns a digest into its bins and its code word. docs/psi-kkrt.md derives the sizes.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from psi import kernels

__all__ = ["HASHES", "ROW_BYTES", "SessionHashes", "bins_for", "tag_bytes"]

HASHES = 3
ROW_BYTES = 64
_DIGEST_BYTES = 16
_BINS_AN_ITEM = (27, 20)  # 1.35
_FEWEST_BINS = 4098
_FALSE_MATCH_BITS = 42

Bytes = NDArray[np.uint8]


def bins_for(n_items: int) -> int:
    """How many bins n items need to fit with probability at least 1 - 2^-43; divisible by 3."""
    numerator, denominator = _BINS_AN_ITEM
    return max(_FEWEST_BINS, HASHES * -(-n_items * numerator // (HASHES * denominator)))


def tag_bytes(n_receiver: int, n_sender: int) -> int:
    """Length of a tag such that two different items share one with probability at most 2^-42.

    Each of the receiver's items is compared with one tag of each of the sender's.
    """
    pair_bits = (n_receiver * n_sender).bit_length()
    return -(-(_FALSE_MATCH_BITS + pair_bits) // 8)


class SessionHashes:
    """The hashes of one session, keyed by its identity, so that both sides have the same."""

    def __init__(self, identity: bytes) -> None:
        """Derive the keys: public to both sides, unpredictable to either before the hellos."""
        stream = hashlib.shake_256(b"psi kkrt keys, " + identity).digest(32 + 32 + 6 * 16 + 16)
        self._item_key, self.row_key, aes, self._confirmation = (
            stream[:32],
            stream[32:64],
            stream[64:160],
            stream[160:],
        )
        keys = [aes[start : start + 16] for start in range(0, len(aes), 16)]
        self._code_keys, self._bin_keys = keys[:4], keys[4:]

    def digests(self, items: Sequence[bytes]) -> Bytes:
        """Shape (n, 16)."""
        return kernels.digest_items(items, self._item_key)

    def bins(self, digests: Bytes, n_bins: int) -> NDArray[np.uint32]:
        """The three bins of each digest, one in each third of the bins: shape (n, 3)."""
        third = n_bins // HASHES
        words = _aes(self._bin_keys, digests).view("<u8")[:, :HASHES]
        # floor(word · third / 2^64) in 64 bits.
        high, low = words >> np.uint64(32), words & np.uint64(0xFFFFFFFF)
        size = np.uint64(third)
        within = (high * size + (low * size >> np.uint64(32))) >> np.uint64(32)
        return (within + size * np.arange(HASHES, dtype=np.uint64)).astype(np.uint32)

    def codes(self, digests: Bytes) -> Bytes:
        """The code word of each digest: shape (n, 64)."""
        return _aes(self._code_keys, digests)

    def confirmation_code(self) -> Bytes:
        """The code word of an element that both sides know: shape (1, 64)."""
        return self.codes(np.frombuffer(self._confirmation, np.uint8).reshape(1, -1))


def _aes(keys: list[bytes], blocks: Bytes) -> Bytes:
    """Each block under each key, side by side: shape (n, 16 · len(keys))."""
    data = np.ascontiguousarray(blocks).data.cast("B") if len(blocks) else b""
    out = np.empty((len(blocks), len(keys), _DIGEST_BYTES), np.uint8)
    for number, key in enumerate(keys):
        # ECB of single blocks is AES itself, which is what is wanted here.
        cipher = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305
        encrypted = np.frombuffer(cipher.update(data), np.uint8)
        out[:, number] = encrypted.reshape(-1, _DIGEST_BYTES)
    return out.reshape(len(blocks), len(keys) * _DIGEST_BYTES)
