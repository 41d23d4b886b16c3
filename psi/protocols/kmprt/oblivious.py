"""The oblivious programmable function between the leader and each member.

Programming is that of Kolesnikov, Matania, Pinkas, Rosulek and Trieu 2017 (KMPRT, ePrint 2017/799)
with an oblivious key-value store in place of a garbled Bloom filter, as in Nevo, Trieu and Yanai
2021 (ePrint 2021/1221): a member sends a store in which each of its items has the function's value
plus what is programmed. The function is that of Rosulek and Trieu 2021 (ePrint 2021/1159, section
4) with a store in place of their polynomial:

    leader     for each item x a scalar a and a string m that is mapped to a·G;
               a store D in which x has m + pad(x)
    member     a scalar b, and B = b·G;  the function at y is  H(y, b·map(D(y) + pad(y)))
    leader     the function at x is  H(x, a·B)

The strings are uniform, so D says nothing of the items that it is for, and is the same for all
members. The pads are of a random oracle, where the paper has an ideal permutation, which it needs
against a leader that cheats. If the leader follows the protocol, they make map(D(y) + pad(y)) a
random element, of unknown logarithm, for each y that it does not have. Under the decisional
Diffie-Hellman assumption it then cannot tell the function at y from noise.
"""

import functools
import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from psi import kernels
from psi.group.agreement import MESSAGE_BYTES
from psi.group.ristretto255 import Points
from psi.keyvalue import StoreKeys, StoreSizes
from psi.keyvalue.hashing import BLOCK_BYTES
from psi.protocols.elements import rows_of

__all__ = ["ObliviousHashes"]

Bytes = NDArray[np.uint8]


class ObliviousHashes:
    """The hashes of one session, keyed by its identity, so that all parties have the same."""

    def __init__(self, identity: bytes) -> None:
        """Take the session's identity, 32 bytes that nobody knows before the hellos."""
        self._identity = identity

    def digests(self, items: Sequence[bytes]) -> Bytes:
        """Return what stands for items below, after what stands for an element that all know.

        Returns:
            Shape (1 + n, 16).
        """
        known = np.frombuffer(self._key(b"confirmation")[:BLOCK_BYTES], np.uint8)
        return np.vstack([known, kernels.digest_items(items, self._key(b"items"))])

    def store(self, party: int, keys: int, digests: Bytes) -> StoreKeys:
        """Return the places of some digests in a party's store, which is for so many keys."""
        return StoreKeys(digests, self._key(b"store of %d" % party), StoreSizes.of(keys))

    def pads(self, digests: Bytes) -> Bytes:
        """Return what is added to the leader's strings, shape (n, 32)."""
        return self._hashed(b"pads", digests, MESSAGE_BYTES)

    def masks(self, member: int, digests: Bytes, elements: Points, width: int) -> Bytes:
        """Return the function's values, given a·b·G of each item: shape (n, width)."""
        inputs = np.hstack([digests, elements])
        return self._hashed(b"function of %d" % member, inputs, width)

    def _key(self, name: bytes) -> bytes:
        return hashlib.sha256(b"psi kmprt " + name + b", " + self._identity).digest()

    def _hashed(self, name: bytes, inputs: Bytes, width: int) -> Bytes:
        hashed = functools.partial(hashlib.blake2b, digest_size=width, key=self._key(name))
        rows = rows_of(inputs.tobytes(), inputs.shape[1])
        outputs = b"".join([hashed(row).digest() for row in rows])
        return np.frombuffer(outputs, np.uint8).reshape(len(inputs), width)
