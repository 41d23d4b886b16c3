"""From items to what `vole` computes with: digests, places in a store, values, and outputs.

An item is digested to 128 bits under a key of the session. The first bits are the number of its
bucket; AES under further keys turns a digest into its places in the store and into its value.
"""

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from psi import kernels
from psi.kernels import blocks
from psi.kernels.beside import beside
from psi.keyvalue import StoreKeys, StoreSizes

__all__ = ["COIN_BYTES", "SessionHashes", "as_blocks", "as_bytes", "part_of_each"]

COIN_BYTES = 32

Bytes = NDArray[np.uint8]
Blocks = NDArray[np.uint64]


class SessionHashes:
    """The hashes of one session, keyed by its identity, so that both sides have the same."""

    def __init__(self, identity: bytes) -> None:
        """Take the session's identity, 32 bytes that nobody knows before the hellos."""
        self._identity = identity

    def digests(self, items: Sequence[bytes]) -> Iterator[Bytes]:
        """Yield the digests of all items in order, some at a time: shape (any, 16)."""
        return kernels.digest_batches(items, self._key(b"items"))

    def store(self, seed: bytes, bucket: int, digests: Bytes, sizes: StoreSizes) -> StoreKeys:
        """Return the places of some digests in the store of a bucket."""
        return StoreKeys(digests, self._key(b"store", seed, _number(bucket)), sizes)

    def values(self, digests: Bytes) -> Blocks:
        """Return the value that the receiver's store has for each digest, shape (n, 2)."""
        return blocks.encrypt(self._key(b"values")[:16], as_blocks(digests))

    def commitment(self, bucket: int, coin: bytes) -> bytes:
        """Return what commits the sender to its half of a bucket's coin."""
        return self._key(b"coin", _number(bucket), coin)

    def outputs(
        self, bucket: int, coins: tuple[bytes, bytes], values: Blocks, digests: Bytes
    ) -> Bytes:
        """Return the tag and the receipt of items: shape (n, 32).

        Args:
            bucket: The number of their bucket.
            coins: The receiver's coin and the sender's.
            values: The oblivious function's value of each, shape (n, 2).
            digests: Shape (n, 16).
        """
        inputs = as_bytes(beside(as_blocks(digests), values).reshape(-1, 4))
        return kernels.hash_rows(inputs, self._key(b"outputs", _number(bucket), *coins))

    def _key(self, name: bytes, *parts: bytes) -> bytes:
        digest = hashlib.sha256(b"psi vole " + name + b", " + self._identity)
        for part in parts:  # of fixed lengths
            digest.update(part)
        return digest.digest()


def as_blocks(rows: Bytes) -> Blocks:
    """Return rows of 16 bytes as blocks."""
    return np.ascontiguousarray(rows).view(np.uint64)


def as_bytes(rows: Blocks) -> Bytes:
    """Return rows of blocks as rows of bytes."""
    return np.ascontiguousarray(rows).view(np.uint8)


def part_of_each(rows: Bytes, start: int, width: int) -> NDArray[np.void]:
    """Return some bytes of each row as one value, which numpy moves at once: shape (n,)."""
    rest = rows.shape[1] - start - width
    whole = np.dtype([("before", f"V{start}"), ("part", f"V{width}"), ("after", f"V{rest}")])
    parts: NDArray[np.void] = rows.view(whole)["part"][:, 0]
    return parts


def _number(bucket: int) -> bytes:
    return bucket.to_bytes(4, "big")
