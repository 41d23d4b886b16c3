"""Scores of rows as inner products over the leaves of all trees, shared mod 2^T.

For each leaf that a row's own columns of the guest allow, the guest has its value, else 0; the host
has 1 for each leaf that its own columns allow. In each tree both allow exactly one, so the inner
product of the two is the row's score. A ciphertext holds the values of several rows, W leaves each:

    ciphertext:         sum_j sum_k a_j[k] x^(j*W + k)          j < N/W rows, k < W leaves
    plaintext of row j: sum_k b_j[k] x^(N-1 - j*W - k)
    answer of row j:    coefficient N-1 of their product

What lies at other coefficients is not sent. Rows of more than N leaves take several ciphertexts.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from privfed.errors import ConfigError, DecodeError
from privfed.he.ring import (
    Answers,
    Ciphertexts,
    Plaintexts,
    Products,
    PublicKey,
    Ring,
    RingKey,
    floods,
    uniform_plain,
)
from privfed.vertical.trees.hiding import (
    DISTANCE,
    TREES_DEGREE,
    TREES_PRIMES,
    flood_bits,
    kept_primes,
    trees_ring,
)

__all__ = ["LeavesAnswerer", "LeavesLayout", "LeavesReader"]

Residues = NDArray[np.uint64]
Integers = NDArray[np.int64]

_POSITIONS = np.array([TREES_DEGREE - 1])


@dataclass(frozen=True)
class LeavesLayout:
    """How scores of rows are laid out and hidden.

    Attributes:
        leaves: How many a row has, of all trees.
        plain_bits: T: scores lie between -2^(T-1) and 2^(T-1).
        answered: How many numbers the whole plan may ever answer.

    Raises:
        CapacityError: On construction, the flood that hides so many answers does not fit.
    """

    leaves: int
    plain_bits: int
    answered: int

    def __post_init__(self) -> None:
        _ = self.flood_bits  # which makes the check

    @property
    def ring(self) -> Ring:
        """Where the ciphertexts lie."""
        return trees_ring(self.plain_bits)

    @property
    def width(self) -> int:
        """W."""
        return min(TREES_DEGREE, 1 << (self.leaves - 1).bit_length())

    @property
    def pieces(self) -> int:
        """How many ciphertexts a row takes, alone or with others."""
        return -(-self.leaves // self.width)

    @property
    def rows_each(self) -> int:
        """How many rows a ciphertext holds."""
        return TREES_DEGREE // self.width

    @cached_property
    def flood_bits(self) -> int:
        """How wide each of the flood's summands is."""
        noise = floods.drawn_noise(self.leaves, self.answered, DISTANCE / 2, ring=self.ring)
        least = floods.smooth_flood_bits(noise, self.answered, DISTANCE / 2)
        return flood_bits(least, self.leaves, self.plain_bits)

    def groups(self, rows: int) -> int:
        """Return how many groups of rows share ciphertexts."""
        return -(-rows // self.rows_each)

    def ciphertexts_bytes(self, rows: int) -> int:
        """Return the length of so many rows' encrypted values."""
        return self.groups(rows) * self.group_bytes

    @property
    def group_bytes(self) -> int:
        """The length of what one group sends."""
        return Ciphertexts.size_bytes(self.pieces, len(TREES_PRIMES), ring=self.ring)

    def answers_bytes(self, rows: int) -> int:
        """Return the length of the answers to them."""
        return Answers.size_bytes(
            rows, kept_primes(self.plain_bits), len(_POSITIONS), ring=self.ring
        )


class LeavesReader:
    """Who has the values, and a fresh key; it reads masked scores.

    Attributes:
        public: What the other side answers with.
    """

    def __init__(self, layout: LeavesLayout) -> None:
        """Draw a key."""
        self._layout = layout
        self._key = RingKey.generate(layout.ring)
        self.public = self._key.public.to_bytes()

    def __repr__(self) -> str:
        return "LeavesReader(...)"

    def encrypted(self, values: Integers) -> bytes:
        """Return the values of rows (rows, leaves) for the other side.

        Raises:
            ConfigError: A row has not a value a leaf, or its scores could wrap.
        """
        layout = self._layout
        if values.ndim != 2 or values.shape[1] != layout.leaves:
            raise ConfigError(f"a row has {layout.leaves} values, one a leaf")
        half = 1 << (layout.plain_bits - 1)
        if values.size and (values.max() >= half or values.min() < -half):
            raise ConfigError("a leaf's value does not fit a score: train with a smaller rate")
        groups, each, pieces = layout.groups(len(values)), layout.rows_each, layout.pieces
        padded = np.zeros((groups * each, pieces * layout.width), np.int64)
        padded[: len(values), : layout.leaves] = values
        # Of several pieces there is one row each; of one piece, several rows.
        messages = (padded & (2 * half - 1)).astype(np.uint64).reshape(groups, pieces, TREES_DEGREE)
        return b"".join(
            self._key.encrypt(group, len(TREES_PRIMES)).to_bytes() for group in messages
        )

    def opened(self, answers: bytes | memoryview, rows: int) -> Residues:
        """Return this side's shares (rows,), residues mod t.

        Raises:
            DecodeError: These are no answers about so many rows.
        """
        taken = Answers.from_bytes(
            answers,
            rows,
            primes=len(TREES_PRIMES),
            kept_primes=kept_primes(self._layout.plain_bits),
            positions=_POSITIONS,
            ring=self._layout.ring,
        )
        return self._key.decrypt(taken)[:, 0]


class LeavesAnswerer:
    """Who knows which leaves its columns allow; it adds up without seeing, and keeps a share."""

    def __init__(self, layout: LeavesLayout, public: bytes | memoryview) -> None:
        """Take the other side's key.

        Raises:
            DecodeError: This is none.
        """
        self._layout = layout
        self._public = PublicKey.from_bytes(public, ring=layout.ring)

    def __repr__(self) -> str:
        return "LeavesAnswerer(...)"

    def answered(
        self, ciphertexts: bytes | memoryview, allowed: NDArray[np.bool_]
    ) -> tuple[bytes, Residues]:
        """Return the answers about rows, and this side's shares (rows,) mod t.

        Args:
            ciphertexts: What the other side encrypted.
            allowed: Shape (rows, leaves): which leaves a row can reach.

        Raises:
            DecodeError: These are no ciphertexts of so many rows.
        """
        layout, rows = self._layout, len(allowed)
        if len(ciphertexts) != layout.ciphertexts_bytes(rows):
            raise DecodeError(f"{len(ciphertexts)} bytes are no ciphertexts of {rows} rows")
        each, size = layout.rows_each, layout.group_bytes
        masks = uniform_plain(rows, len(_POSITIONS), ring=layout.ring)
        found = []
        for group in range(layout.groups(rows)):
            own = slice(group * each, min(rows, (group + 1) * each))
            sent = Ciphertexts.from_bytes(
                ciphertexts[group * size : (group + 1) * size],
                layout.pieces,
                len(TREES_PRIMES),
                ring=layout.ring,
            )
            answers = self._public.answer(
                Products(self._plaintexts(allowed[own]), sent),
                masks[own],
                layout.flood_bits,
                kept_primes=kept_primes(layout.plain_bits),
                positions=_POSITIONS,
                summands=floods.SUMMANDS,
            )
            found.append(answers.to_bytes())
        return b"".join(found), -masks[:, 0] & np.uint64((1 << layout.plain_bits) - 1)

    def _plaintexts(self, allowed: NDArray[np.bool_]) -> Plaintexts:
        layout = self._layout
        padded = np.zeros((len(allowed), layout.pieces * layout.width), np.int64)
        padded[:, : layout.leaves] = allowed
        laid = np.zeros((len(allowed), layout.pieces, TREES_DEGREE), np.int64)
        for row, entries in enumerate(padded.reshape(len(allowed), layout.pieces, layout.width)):
            end = TREES_DEGREE - row * layout.width
            laid[row, :, end - layout.width : end] = entries[:, ::-1]
        return Plaintexts.encode(laid, len(TREES_PRIMES), ring=layout.ring)
