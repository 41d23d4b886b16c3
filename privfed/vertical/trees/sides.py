"""Which side each row takes: the guest reads one bit a row, that of the row's node, of the host.

In each node that the host won it knows the side of every row, and the guest knows the node of each
row. So each row is a transfer of 1 of m bits, made of log2(m) transfers of 1 of 2 (Naor and Pinkas,
"Oblivious transfer and polynomial evaluation", STOC 1999): for each binary digit b of the node,
a pair of pads, of which the guest gets that of the digit. The bit of node j is masked by

    bit j of pad_0^(j_0)  ^  bit j of pad_1^(j_1)  ^ ...,   where j_b are the digits of j,

where the paper has a pseudorandom function of j. Each bit of a pad masks one node's side only, and
for every node but the chosen one the guest lacks a pad, so these sides stay masked, and so do all
sums of them. At the root, m = 1, every row is in the node: its bits go as they are.

This is for sides that follow the protocol, as the transfers are. A guest that chooses other nodes
than its rows are in still reads one bit a row.

    request: that of log2(m) n transfers, the lowest digit of all rows first
    masked: n rows of m bits, packed
"""

from typing import NamedTuple, Never

import numpy as np
from numpy.typing import NDArray

from privfed.errors import ConfigError, DecodeError, ReplayError
from privfed.garbled import TransferReceiver, TransferSender
from privfed.garbled.extension import request_bytes
from privfed.garbled.hashing import BLOCK_BYTES, Blocks

__all__ = ["MOST_NODES", "SidesLengths", "SidesReceiver", "SidesSender"]

MOST_NODES = 8 * BLOCK_BYTES
"""How many nodes a level has at most: as many as a pad has bits."""


class SidesLengths(NamedTuple):
    """The lengths of a level's two messages.

    Attributes:
        request: `SidesReceiver.request`.
        masked: `SidesSender.masked`.
    """

    request: int
    masked: int

    @classmethod
    def of(cls, rows: int, nodes: int) -> "SidesLengths":
        """Return the lengths for so many rows and nodes."""
        return cls(request_bytes(_digits(nodes) * rows), -(-rows * nodes // 8))


class _Sides:
    def __init__(self, rows: int) -> None:
        self._rows = rows

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._rows} rows)"

    def __reduce__(self) -> Never:
        raise TypeError("the nodes and sides of rows are secret and are not pickled")


class SidesReceiver(_Sides):
    """The guest, which reads the side of each row in its node."""

    def __init__(self, transfers: TransferReceiver, rows: int) -> None:
        """Take the session's transfers; those of its circuits go the other way."""
        super().__init__(rows)
        self._transfers = transfers
        self._asked: tuple[int, NDArray[np.int64], NDArray[np.bool_]] | None = None

    def request(self, node_of_row: NDArray[np.int64], nodes: int) -> bytes:
        """Return what `SidesSender.masked` takes.

        Args:
            node_of_row: The node that each row is in, below `nodes`.
            nodes: How many nodes the level has.

        Raises:
            ConfigError: There are too many nodes, or the nodes are not those of the rows.
        """
        digits = _digits(nodes)
        if node_of_row.shape != (self._rows,) or np.any(node_of_row // nodes):
            raise ConfigError(f"each of {self._rows} rows is in one of {nodes} nodes")
        choices = (node_of_row >> np.arange(digits)[:, None]) & 1
        request, pads = self._transfers.request(choices.astype(np.uint8).ravel())
        keys = np.bitwise_xor.reduce(pads.reshape(digits, self._rows, 2), axis=0)
        own = _bit(keys.view(np.uint8), node_of_row + MOST_NODES * np.arange(self._rows))
        self._asked = nodes, node_of_row + nodes * np.arange(self._rows), own
        return request

    def read(self, masked: bytes | memoryview) -> NDArray[np.bool_]:
        """Return the side of each row in its node.

        Args:
            masked: What `SidesSender.masked` returned at the other side for the last request.

        Raises:
            DecodeError: It has another length.
            ReplayError: It was read before, or nothing was asked for.
        """
        if self._asked is None:
            raise ReplayError("sides are read once, after they were asked for")
        nodes, places, own = self._asked
        if len(masked) != SidesLengths.of(self._rows, nodes).masked:
            raise DecodeError("the sides of another number of rows or nodes")
        self._asked = None
        return _bit(np.frombuffer(masked, np.uint8), places) ^ own


class SidesSender(_Sides):
    """The host, which knows the side of every row in the nodes that it won."""

    def __init__(self, transfers: TransferSender, rows: int) -> None:
        """Take the session's transfers; those of its circuits go the other way."""
        super().__init__(rows)
        self._transfers = transfers

    def masked(self, request: bytes | memoryview, sides: NDArray[np.bool_]) -> bytes:
        """Return the masked sides of all rows.

        Args:
            request: What `SidesReceiver.request` returned at the other side.
            sides: The side of each row in each node, shape (nodes, rows); any where the guest won.

        Raises:
            ConfigError: There are too many nodes, or sides of another number of rows.
            DecodeError: The request has another length.
            ReplayError: The request is not the next one.
        """
        nodes, rows = sides.shape
        digits = _digits(nodes)
        if rows != self._rows:
            raise ConfigError(f"there is a side for each of {self._rows} rows")
        keys = np.zeros((rows, 2), np.uint64)
        pads = self._transfers.pads(request, digits * rows)
        zeros, ones = (each.reshape(digits, rows, 2) for each in pads)
        for digit, zero, one in zip(_digits_of_nodes(digits), zeros, ones, strict=True):
            keys ^= zero ^ ((zero ^ one) & digit)
        bits = np.unpackbits(keys.view(np.uint8), axis=1, count=nodes, bitorder="little")
        return np.packbits(bits ^ sides.T, bitorder="little").tobytes()


def _digits(nodes: int) -> int:
    """Return how many binary digits the numbers of nodes have."""
    if not 1 <= nodes <= MOST_NODES:
        raise ConfigError(f"a level has 1 to {MOST_NODES} nodes, not {nodes}")
    return (nodes - 1).bit_length()


def _digits_of_nodes(digits: int) -> Blocks:
    """Return a block for each digit, the lowest first: its bit j is that digit of j."""
    numbers = np.arange(MOST_NODES) >> np.arange(digits)[:, None] & 1
    return np.packbits(numbers.astype(np.uint8), axis=1, bitorder="little").view(np.uint64)


def _bit(packed: NDArray[np.uint8], places: NDArray[np.int64]) -> NDArray[np.bool_]:
    found: NDArray[np.uint8] = packed.ravel()[places >> 3] >> (places & 7) & 1
    return found.astype(np.bool_)
