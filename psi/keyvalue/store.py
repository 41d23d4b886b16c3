"""Make a table in which each key has its value, and look keys up in any table."""

import secrets

import numpy as np
from numpy.typing import NDArray

from psi import kernels
from psi.errors import ConfigError, ProtocolError
from psi.keyvalue.core import solve_core
from psi.keyvalue.hashing import store_rows
from psi.keyvalue.sizes import DENSE_BITS, StoreSizes

__all__ = ["StoreKeys"]

Bytes = NDArray[np.uint8]


class StoreKeys:
    """Keys as rows of a store: those that it is made for, or others that are looked up.

    Attributes:
        places: The three slots of each key, shape (n, 3).
        dense: The 40 bits that say which of the last entries belong to each key, shape (n,).
    """

    def __init__(self, digests: Bytes, key: bytes, sizes: StoreSizes) -> None:
        """Find the keys' places.

        Args:
            digests: What stands for the keys: distinct pseudorandom strings, shape (n, 16).
            key: 32 bytes that both sides know. They must not be known to whoever chooses the keys
                before these are fixed.
            sizes: `StoreSizes.of` the number of keys that the store is made for.
        """
        self._sizes = sizes
        self.places, self.dense = store_rows(digests, key, sizes)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.dense)} keys, {self._sizes})"

    def encode(self, values: Bytes, *, masked: bool = False) -> Bytes:
        """Return a table in which each key has its value, and which is random otherwise.

        Rows are peeled: one that has a slot alone is set aside, as the slot can be chosen to suit
        it at the end. What stays is solved by elimination, in which dense bits come last. Free
        entries are drawn from the operating system's generator; so if the values are uniform,
        all tables are equally likely.

        Args:
            values: Shape (n, width): bit vectors, of numbers or of elements of GF(2^128).
            masked: Whether nobody sees the table without random entries added to all of it: then
                free ones are 0.

        Returns:
            Shape (sizes.slots, width).

        Raises:
            ConfigError: There is not one value for each key.
            ProtocolError: The keys' rows depend on each other: with probability below 2^-44
                (`psi.keyvalue.bounds`). Nothing is drawn again, as that would tell of the keys.
        """
        if len(values) != len(self.dense):
            raise ConfigError("a store takes one value for each key")
        width = values.shape[1]
        if masked:
            table = np.zeros((self._sizes.slots, width), np.uint8)
        else:
            drawn = secrets.token_bytes(self._sizes.slots * width)
            table = np.frombuffer(drawn, np.uint8).reshape(-1, width).copy()
        peeled = kernels.peel(self.places, self._sizes.sparse)
        core = np.flatnonzero(peeled[2] < 0)
        if len(core) and not solve_core(table, self.places[core], self.dense[core], values[core]):
            raise ProtocolError("the IDs fit no store of this session: start again")
        sums = _dense_sums(table)
        kernels.fill_slots(table, self.places, self.dense, values, peeled, sums)
        return table

    def decode(self, table: Bytes) -> Bytes:
        """Return the value of each key, in a table that was made for these keys or for others.

        Args:
            table: Shape (sizes.slots, width).

        Returns:
            Shape (n, width).

        Raises:
            ConfigError: The table has another size.
        """
        if len(table) != self._sizes.slots:
            raise ConfigError("the table is none of a store of this size")
        return kernels.look_up(table, self.places, self.dense, _dense_sums(table))


def _dense_sums(table: Bytes) -> Bytes:
    """Return the sums of the last entries, eight at a time, by the bits of what belongs to them."""
    entries = table[-DENSE_BITS:].reshape(DENSE_BITS // 8, 8, -1)
    sums = np.zeros((len(entries), 256, table.shape[1]), np.uint8)
    for bit in range(8):
        sums[:, 1 << bit : 2 << bit] = sums[:, : 1 << bit] ^ entries[:, bit : bit + 1]
    return sums
