"""The noise of one chunk: a vector with one random element in each block, times D, shared.

For each block of 2^depth places the sender has a tree's leaves v; the receiver has all of them but
one, and w there with w = v + β·D, where β is a random element of its own (Wolverine, Weng et al.
2020, ePrint 2020/925, Figure 7). So w = e·D + v, for e with a β in each block.

Check, for all blocks at once: both hash their leaves by a linear hash at a point that nobody knew
before the trees were sent. The receiver sends the hash x of e, hidden by one more element; then
both can compute one value, the sender from v, D and x. The receiver goes on only if the sender
shows that it has this value, by a MAC under it.
A sender that sends wrong trees is caught unless all that its change does to what the receiver
computes cancels out, as where a transfer's bit lets the receiver not use what was changed: it
passes with probability 1/2 for each bit of a path that it learns, and the session ends for good at
the first failure.
"""

import copy
import functools
import hashlib
import secrets
from typing import Self

import numpy as np
from numpy.typing import NDArray

from psi.errors import DecodeError
from psi.kernels import blocks as kernels
from psi.kernels.beside import added_up
from psi.vole.hashing import LinearHash
from psi.vole.trees import grow, regrow, sums_shape

__all__ = ["CHECK_BYTES", "NoiseReceiver", "NoiseSender", "noise_bytes"]

CHECK_BYTES = 16

Blocks = NDArray[np.uint64]


def noise_bytes(trees: int, depth: int) -> int:
    """Return the length of what the sender sends for a chunk."""
    return 8 * int(np.prod(sums_shape(trees, depth))) + 16 * trees


class NoiseSender:
    """The side with D.

    Attributes:
        message: What the receiver gets.
        leaves: v, shape (trees · 2^depth, 2).
    """

    def __init__(self, delta: Blocks, rows: Blocks, products: Blocks, label: bytes) -> None:
        """Draw the trees.

        Args:
            delta: D, shape (1, 2).
            rows: The transfers' rows, shape (depth, trees, 2).
            products: b of one element a tree, and of one more: shape (trees + 1, 2).
            label: What names this chunk in this session.
        """
        trees = rows.shape[1]
        roots = np.frombuffer(secrets.token_bytes(16 * trees), np.uint64).reshape(-1, 2)
        leaves, sums = grow(delta, rows, roots, _pad_key(label))
        totals = added_up(leaves) ^ products[:trees]
        self.message: bytes = sums.tobytes() + totals.tobytes()
        self.leaves = leaves.reshape(-1, 2)
        self._hash = _hash_for(label, self.message, len(self.leaves))
        self._delta, self._mask = delta, products[trees:]

    def proof(self, check: bytes | memoryview) -> bytes:
        """Return what only this side and an honest receiver know, given what that one sent."""
        if len(check) != CHECK_BYTES:
            raise DecodeError(f"a check has {CHECK_BYTES} bytes")
        claimed = kernels.multiply(self._delta, np.frombuffer(check, np.uint64).reshape(1, 2))
        return (self.leaves_hash ^ self._mask ^ claimed).tobytes()

    def without_leaves(self) -> Self:
        """Return what the proof takes; the leaves fill megabytes."""
        kept = copy.copy(self)
        kept.leaves_hash, kept.leaves = self.leaves_hash, np.empty((0, 2), np.uint64)
        return kept

    @functools.cached_property
    def leaves_hash(self) -> Blocks:
        """The hash of all leaves at the check's point, shape (1, 2)."""
        return self._hash.of(self.leaves)


class NoiseReceiver:
    """The side with the noise.

    Attributes:
        noise: e, shape (trees · 2^depth, 2).
        leaves: w, shape (trees · 2^depth, 2).
        check: What the sender gets.
        proof: What the sender must show that it knows.
    """

    def __init__(
        self,
        bits: NDArray[np.uint8],
        rows: Blocks,
        elements: Blocks,
        products: Blocks,
        label: bytes,
        message: bytes | memoryview,
    ) -> None:
        """Take the trees.

        Args:
            bits: The transfers' bits, shape (depth, trees).
            rows: The transfers' rows, shape (depth, trees, 2).
            elements: a of one element a tree, and of one more: shape (trees + 1, 2).
            products: c of these.
            label: What names this chunk in this session.
            message: What the sender sent, trusted or not.

        Raises:
            DecodeError: It has another length than `noise_bytes`.
        """
        depth, trees = bits.shape
        if len(message) != noise_bytes(trees, depth):
            raise DecodeError("the noise is of another size")
        words = np.frombuffer(message, np.uint64)
        sums, totals = words[: -2 * trees], words[-2 * trees :].reshape(trees, 2)
        leaves, places = regrow(sums.reshape(sums_shape(trees, depth)), bits, rows, _pad_key(label))
        noise = np.zeros_like(leaves)
        numbers = np.arange(trees)
        noise[numbers, places] = elements[:trees]
        leaves[numbers, places] = added_up(leaves) ^ totals ^ products[:trees]
        self.noise, self.leaves = noise.reshape(-1, 2), leaves.reshape(-1, 2)
        hashed = _hash_for(label, message, len(self.leaves))
        self.check = (hashed.of(self.noise) ^ elements[trees:]).tobytes()
        self.proof = (hashed.of(self.leaves) ^ products[trees:]).tobytes()


def _pad_key(label: bytes) -> bytes:
    return hashlib.sha256(b"psi vole pads, " + label).digest()


def _hash_for(label: bytes, message: bytes | memoryview, blocks: int) -> LinearHash:
    key = hashlib.sha256(b"psi vole noise check, " + label)
    key.update(message)
    return LinearHash(key.digest()[:16], blocks)
