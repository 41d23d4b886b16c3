"""From 128 base transfers: correlated transfers, and some hundred elements of the vector OLE.

Both sides get rows q and (u, t) with q = t + u·D, where u is a random bit of the receiver and D the
sender's secret: correlated transfers. 128 of them, weighted by powers of x, make an element
a = (the bits as a field element) with c = a·D + b. This is SoftSpokenOT over fields of 2^4 (Roy
2022, ePrint 2022/192, Figures 5 to 8):

- Four transfers give the receiver a tree of 16 seeds, and the sender all of them but one, whose
  number is four bits of D (Goldreich, Goldwasser and Micali 1986). There are 32 trees.
- A tree's streams r_x add up to u_j, and those whose number has a bit to a column of t. The sender
  numbers them from the one that it lacks, and gets the column of q = t + (bit of D)·u_j.
- All trees are to have the u of the first: the receiver sends the differences.

The check is that of Figure 8, with GHASH under two independent keys as the universal hash. The
receiver sends the hash of u and of every column of t; for each column the sender compares. Cheating
trees and differences come down to this: for each tree j and each value v that the sender's four
bits may have, the receiver fixes what the sender computes, and passes where that has the hash which
it claims. Two values of one tree that pass have the same u and t behind them, but for collisions of
the hash. So whoever passes knows a u and t with which the relation holds, and has learnt of D that
its parts lie in the sets that pass: it passes with the probability of that, so ℓ bits of D are
learnt with probability 2^-ℓ. Keys are a hash of all that is sent before: a collision that serves
(of 2^14 differences of two values' columns, so 2^27 pairs, with polynomials of degree n + 1 under
both keys) is one with probability 2^27 · ((n + 1) · 2^-128)^2 for each try, below 2^-190.
"""

import hashlib
import hmac
import math
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from psi.errors import DecodeError, KeyConfirmationError
from psi.kernels import blocks as kernels
from psi.vole.hashing import LinearHash

__all__ = ["TRANSFERS", "BaseReceiver", "BaseSender", "BaseSizes"]

TRANSFERS = 128
_FIELD_BITS = 4  # 2 takes twice the bytes, 8 eight times the streams: docs/psi-vole.md
_TREES = TRANSFERS // _FIELD_BITS
_LEAVES = 1 << _FIELD_BITS
_TILE = 512  # blocks of all streams of a tree fit the processor's second cache
_HASHES = 2  # and as many blocks of bits that are used for nothing else hide those of u
_SUMS_BYTES = _TREES * _FIELD_BITS * 2 * 16
_CHECK_BYTES = _HASHES * (1 + TRANSFERS) * 16

Blocks = NDArray[np.uint64]


@dataclass(frozen=True)
class BaseSizes:
    """How much is drawn.

    Attributes:
        transfers: Correlated transfers.
        elements: Elements of the vector OLE.
    """

    transfers: int
    elements: int

    @property
    def transfer_blocks(self) -> int:
        """How many times 128 rows the transfers take."""
        return -(-self.transfers // 128)

    @property
    def blocks(self) -> int:
        """The length of a column in blocks of 128 bits."""
        return self.transfer_blocks + self.elements + _HASHES

    @property
    def message_bytes(self) -> int:
        """The length of what the receiver sends."""
        return _SUMS_BYTES + 16 * (_TREES - 1) * self.blocks + _CHECK_BYTES


class BaseReceiver:
    """The side with bits and elements of its own.

    Attributes:
        message: What the sender gets.
        bits: The bits u of the transfers, shape (transfers,).
        rows: Their rows t, shape (transfers, 2).
        elements: The elements a, shape (elements, 2).
        products: Their c, shape (elements, 2).
    """

    def __init__(
        self, seeds: tuple[Sequence[bytes], Sequence[bytes]], sizes: BaseSizes, session: bytes
    ) -> None:
        """Draw everything.

        Args:
            seeds: Those of choice 0 and those of choice 1 of 128 transfers, 16 bytes each.
            sizes: How much is drawn.
            session: The session's identity.
        """
        leaves, sums = _grown(_as_blocks([secrets.token_bytes(16 * _TREES)]))
        pads = np.stack([_as_blocks(one).reshape(_TREES, _FIELD_BITS, 2) for one in seeds], axis=2)
        columns = np.empty((_TREES, _FIELD_BITS, sizes.blocks, 2), np.uint64)
        totals = np.empty((_TREES, sizes.blocks, 2), np.uint64)
        for tree in range(_TREES):
            columns[tree], totals[tree] = _folded(leaves[tree], sizes.blocks)
        content = (sums ^ pads).tobytes() + (totals[1:] ^ totals[0]).tobytes()
        flat, own = columns.reshape(TRANSFERS, sizes.blocks, 2), totals[0]
        self.message = (
            content + _hashed(session, content, np.concatenate([own[None], flat])).tobytes()
        )
        bits = np.unpackbits(own[: sizes.transfer_blocks].view(np.uint8), bitorder="little")
        self.bits = bits[: sizes.transfers]
        self.elements = own[sizes.transfer_blocks : sizes.blocks - _HASHES].copy()
        self.rows, self.products = _results(flat, sizes)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.bits)} transfers, {len(self.elements)} elements)"


class BaseSender:
    """The side with the secret D.

    Attributes:
        delta: D, shape (1, 2): it is drawn with the transfers' choices.
        rows: The rows q of the transfers, shape (transfers, 2).
        products: The elements b, shape (elements, 2).
    """

    def __init__(
        self,
        seeds: Sequence[bytes],
        choices: NDArray[np.uint8],
        sizes: BaseSizes,
        session: bytes,
        message: bytes | memoryview,
    ) -> None:
        """Take what the receiver sent.

        Args:
            seeds: Those that were chosen in 128 transfers, 16 bytes each.
            choices: The choices, shape (128,).
            sizes: How much is drawn.
            session: The session's identity.
            message: What the receiver sent, trusted or not.

        Raises:
            DecodeError: It has another length than `BaseSizes.message_bytes`.
            KeyConfirmationError: It does not pass the check.
        """
        if len(message) != sizes.message_bytes:
            raise DecodeError("the base of another number of elements")
        secret = 1 - choices.reshape(_TREES, _FIELD_BITS)[:, ::-1]  # by bit, not by level
        sums, rest = _cut(message, (_TREES, _FIELD_BITS, 2, 2))
        differences, claimed = _cut(rest, (_TREES - 1, sizes.blocks, 2))
        own = _as_blocks(seeds).reshape(_TREES, _FIELD_BITS, 2)
        chosen = choices.reshape(_TREES, _FIELD_BITS, 1) == 1
        away = np.where(chosen, sums[:, :, 1], sums[:, :, 0]) ^ own
        leaves = _grown_but_one(away, secret)
        columns = np.empty((_TREES, _FIELD_BITS, sizes.blocks, 2), np.uint64)
        for tree in range(_TREES):
            columns[tree] = _folded(leaves[tree], sizes.blocks, first=1)[0]
        masks = _masks(secret)
        columns[1:] ^= differences[:, None] & masks[1:, :, None]
        flat = columns.reshape(TRANSFERS, sizes.blocks, 2)
        hashes = _cut(claimed, (1 + TRANSFERS, _HASHES, 2))[0]
        content = memoryview(message)[: len(message) - _CHECK_BYTES]
        expected = hashes[1:] ^ (hashes[0] & masks.reshape(TRANSFERS, 1, 1))
        if not hmac.compare_digest(_hashed(session, content, flat).tobytes(), expected.tobytes()):
            raise KeyConfirmationError(
                "the other side's base does not fit this side's choices: it does not hold this "
                "session's key, or cheats; start again, and with another peer if it happens often"
            )
        self.delta = np.packbits(secret, bitorder="little").view(np.uint64).reshape(1, 2)
        self.rows, self.products = _results(flat, sizes)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.rows)} transfers, {len(self.products)} elements)"


def _as_blocks(parts: Sequence[bytes]) -> Blocks:
    return np.frombuffer(b"".join(parts), np.uint64).reshape(-1, 2)


def _cut(data: bytes | memoryview, shape: tuple[int, ...]) -> tuple[Blocks, memoryview]:
    """Return the words at the beginning of some bytes in a shape, and the bytes after them."""
    view, length = memoryview(data), 8 * math.prod(shape)
    return np.frombuffer(view[:length], np.uint64).reshape(shape), view[length:]


def _masks(bits: NDArray[np.uint8]) -> Blocks:
    """Return words of as many bits one as a bit says: all or none; shape (…, 1)."""
    return (np.uint64(0) - bits.astype(np.uint64))[..., None]


def _grown(roots: Blocks) -> tuple[Blocks, Blocks]:
    """Return the leaves of trees, shape (trees, 16, 2), and what is on each side of each level."""
    nodes, sums = roots[:, None], []
    for _ in range(_FIELD_BITS):
        children = _children(nodes)
        sums.append(np.bitwise_xor.reduce(children, axis=1))
        nodes = children.reshape(len(roots), -1, 2)
    return nodes, np.stack(sums, axis=1)


def _children(nodes: Blocks) -> Blocks:
    """Return both children of nodes, shape (trees, n, 2): shape (trees, n, 2 sides, 2)."""
    pairs = np.stack([nodes, nodes ^ np.array([1, 0], np.uint64)], axis=2)
    return kernels.hash_blocks(pairs.reshape(-1, 2)).reshape(pairs.shape)


def _grown_but_one(sums: Blocks, secret: NDArray[np.uint8]) -> Blocks:
    """Return the leaves of trees, the one that is missing first and 0.

    Args:
        sums: What is on the side of each level that is away from it: shape (trees, 4, 2).
        secret: The bits of its number, the lowest first: shape (trees, 4).

    Returns:
        Shape (trees, 16, 2): leaf y is that whose number differs from the missing one's by y.
    """
    trees = len(sums)
    nodes, place = np.zeros((trees, 1, 2), np.uint64), np.zeros((trees, 1), np.intp)
    for level in range(_FIELD_BITS):
        bit = secret[:, _FIELD_BITS - 1 - level, None].astype(np.intp)
        at, sides = np.arange(nodes.shape[1]), np.arange(2)
        gone = (at == place)[:, :, None, None]
        away = gone & (sides != bit[:, :, None])[..., None]
        children = np.where(gone, np.uint64(0), _children(nodes))
        found = np.bitwise_xor.reduce(children, axis=1)
        found = np.where(bit[..., None] == 1, found[:, :1], found[:, 1:])[:, 0] ^ sums[:, level]
        children |= np.where(away, found[:, None, None], np.uint64(0))
        nodes, place = children.reshape(trees, -1, 2), 2 * place + bit
    for number in range(_FIELD_BITS):  # no address depends on the secret
        halves = nodes.reshape(trees, -1, 2, 1 << number, 2)
        swap = (halves[:, :, 0] ^ halves[:, :, 1]) & _masks(secret[:, number, None, None])
        nodes = (halves ^ swap[:, :, None]).reshape(trees, -1, 2)
    return nodes


def _folded(seeds: Blocks, blocks: int, first: int = 0) -> tuple[Blocks, Blocks]:
    """Return what the streams of seeds with each bit in their number add up to, and what all do.

    Args:
        seeds: Shape (16, 2).
        blocks: The length of a stream: the hashes of the seed plus 0, 1, 2 and so on.
        first: The number of the first seed that counts.

    Returns:
        Shape (4, blocks, 2), the lowest bit first; and shape (blocks, 2).
    """
    columns, totals = (
        np.empty((_FIELD_BITS, blocks, 2), np.uint64),
        np.empty((blocks, 2), np.uint64),
    )
    inputs = np.empty((_LEAVES, _TILE, 2), np.uint64)
    inputs[..., 1] = seeds[:, 1:]
    for start in range(0, blocks, _TILE):
        np.bitwise_xor(
            seeds[:, :1], np.arange(start, start + _TILE, dtype=np.uint64), out=inputs[..., 0]
        )
        streams = kernels.hash_blocks(inputs.reshape(-1, 2)).reshape(inputs.shape)
        streams[:first] = 0
        here = slice(start, min(start + _TILE, blocks))
        streams = streams[:, : here.stop - start]
        for bit in range(_FIELD_BITS):
            odd = streams[1::2]
            columns[bit, here] = np.bitwise_xor.reduce(odd, axis=0)
            streams = streams[::2] ^ odd
        totals[here] = streams[0]
    return columns, totals


def _hashed(session: bytes, content: bytes | memoryview, columns: Blocks) -> Blocks:
    """Return both hashes of each column: shape (columns, 2, 2)."""
    digest = hashlib.shake_256(b"psi vole base check, " + session)
    digest.update(content)
    drawn = digest.digest(16 * _HASHES)
    keys = [drawn[start : start + 16] for start in range(0, len(drawn), 16)]
    hashes = [LinearHash(key, columns.shape[1]).of_each(columns) for key in keys]
    return np.stack(hashes, axis=1)


def _results(columns: Blocks, sizes: BaseSizes) -> tuple[Blocks, Blocks]:
    """Return the rows of the transfers, and the weighted sums of rows that belong to elements."""
    head = np.ascontiguousarray(columns[:, : sizes.transfer_blocks]).view(np.uint8)
    bits = np.unpackbits(head.reshape(TRANSFERS, -1), axis=1, bitorder="little")
    rows = np.packbits(np.ascontiguousarray(bits.T), axis=1, bitorder="little").view(np.uint64)
    # A block of column b is the sum over rows i of x^i times bit b: times x^b, and summed over b.
    weighted = columns[:, sizes.transfer_blocks : sizes.blocks - _HASHES]
    total = weighted[-1].copy()
    for column in weighted[-2::-1]:
        total = _times_x(total) ^ column
    return rows[: sizes.transfers], total


def _times_x(blocks: Blocks) -> Blocks:
    one, top = np.uint64(1), np.uint64(63)
    carried = blocks >> top
    doubled = blocks << one
    doubled[:, 1] |= carried[:, 0]
    doubled[:, 0] ^= carried[:, 1] * np.uint64(0x87)
    return doubled
