"""The hash of garbled gates and of extended transfers: TMMO of ePrint 2019/074.

    H(x, i) = pi(pi(x) ^ i) ^ pi(x),  pi = AES-128 under a key that is no secret.

Tweakable circular correlation robust, which half gates need (Guo, Katz, Wang, Yu, section 7.4), if
pi is an ideal permutation. What is hashed under one key loses security with its amount: so each
circuit has a key of its own, drawn when it is garbled, and so has each session's extension.
"""

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

__all__ = ["BLOCK_BYTES", "Blocks", "TweakableHash", "key_stream"]

BLOCK_BYTES = 16
Blocks = NDArray[np.uint64]
"""Blocks of 16 bytes, shape (n, 2)."""


class TweakableHash:
    """H under one key."""

    def __init__(self, key: bytes) -> None:
        """Take the 16 bytes of the key."""
        self._permutation = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305

    def __call__(self, blocks: Blocks, tweaks: NDArray[np.uint64]) -> Blocks:
        """Return the hash of each block.

        Args:
            blocks: Shape (n, 2).
            tweaks: Shape (n,): a number for each block.
        """
        once = self._permuted(blocks)
        tweaked = once.copy()
        tweaked[:, 0] ^= tweaks
        return self._permuted(tweaked) ^ once

    def _permuted(self, blocks: Blocks) -> Blocks:
        data = self._permutation.update(blocks.tobytes())
        return np.frombuffer(data, np.uint64).reshape(-1, 2)


def key_stream(seed: bytes, blocks: int) -> Blocks:
    """Return so many pseudorandom blocks of a seed that is used for nothing else: AES-CTR."""
    stream = Cipher(algorithms.AES(seed), modes.CTR(bytes(BLOCK_BYTES))).encryptor()
    return np.frombuffer(stream.update(bytes(BLOCK_BYTES * blocks)), np.uint64).reshape(-1, 2)
