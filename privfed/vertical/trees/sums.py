"""Sums of one side's encrypted vectors over the other's subsets, shared mod 2^T.

A vector's coefficients ascend and a subset's descend, so a product of polynomials holds many sums
(Cheetah, ePrint 2022/207, section 3):

    ciphertext c:     sum_j v[c*w + j] x^j                                    j < w, the width
    plaintext (r, c): sum_i sum_j M[r*N/w + i, c*w + j] x^(i*w + w-1-j)        i < N/w
    answer r:         sum over c; coefficient i*w + w-1 is the sum over subset r*N/w + i

How answers are hidden, `privfed.vertical.trees.hiding` says.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import isqrt

import numpy as np
from numpy.typing import NDArray

from privfed.errors import ConfigError
from privfed.he.ring import (
    Answers,
    Ciphertexts,
    Plaintexts,
    Products,
    PublicKey,
    Ring,
    RingKey,
    bounds,
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
from privfed.vertical.trees.subsets import Subsets

__all__ = ["SumsAnswerer", "SumsLayout", "SumsReader"]

Residues = NDArray[np.uint64]

_LEAST_BITS, _MOST_BITS = 8, 40  # of t
_PIECE_BYTES = 1 << 23  # of plaintexts that are made at once, and stay in the last cache


@dataclass(frozen=True)
class SumsLayout:
    """How sums over subsets are laid out and hidden.

    Attributes:
        subsets: How many sums a vector has.
        rows: Its numbers.
        weight: The largest of the subsets.
        plain_bits: T: a vector's positive numbers, times the weight, sum to less than 2^(T-1), and
            its negative ones to more than -2^(T-1).
        answered: How many sums the whole plan may ever answer.
        disjoint: So many subsets after another share no row, as a column's bins do.

    Raises:
        ConfigError: A number is none that can be.
        CapacityError: The flood that hides so many answers does not fit the ring.
    """

    subsets: int
    rows: int
    weight: int
    plain_bits: int
    answered: int
    disjoint: int = 1

    def __post_init__(self) -> None:
        least = min(self.subsets, self.rows, self.weight, self.answered, self.disjoint)
        if least < 1:
            raise ConfigError("subsets, rows, weight and answers are 1 or more")
        if not _LEAST_BITS <= self.plain_bits <= _MOST_BITS:
            raise ConfigError(f"t has {_LEAST_BITS} to {_MOST_BITS} bits, not {self.plain_bits}")
        _ = self.flood_bits  # which makes the check

    @property
    def ring(self) -> Ring:
        """Where the ciphertexts lie."""
        return trees_ring(self.plain_bits)

    @cached_property
    def width(self) -> int:
        """How many rows a ciphertext holds: what sends the fewest bytes."""
        widths = [1 << power for power in range(TREES_DEGREE.bit_length())]
        return min(widths, key=self._bytes)

    @property
    def ciphertexts(self) -> int:
        """How many ciphertexts hold a vector."""
        return -(-self.rows // self.width)

    @property
    def subsets_each(self) -> int:
        """How many subsets an answer has."""
        return TREES_DEGREE // self.width

    @property
    def answers(self) -> int:
        """How many answers a vector gets."""
        return -(-self.subsets // self.subsets_each)

    @cached_property
    def positions(self) -> NDArray[np.int64]:
        """The coefficients of an answer that hold a sum; the last answer uses the first ones."""
        most = min(self.subsets, self.subsets_each)
        return np.arange(most, dtype=np.int64) * self.width + self.width - 1

    @property
    def kept_primes(self) -> int:
        """How many primes an answer has when it travels."""
        return kept_primes(self.plain_bits)

    @property
    def answer_squares(self) -> int:
        """The most that an answer's squared entries sum to, if all have the largest weight."""
        each = self.subsets_each
        together = 1 if self.disjoint % each == 0 else (each - 1) // self.disjoint + 2
        return min(each, together) * self.rows * self.weight**2

    @property
    def row_sum(self) -> int:
        """The most that an answer's entries sum to."""
        squares = self.answer_squares  # at least what entries of 1 or more sum to
        return min(squares, isqrt(self.subsets_each * self.rows * squares) + 1)

    @property
    def noise(self) -> int:
        """What noise exceeds in no answer, if errors are drawn as they ought to be."""
        squares, answered = self.answer_squares, self._coefficients
        return floods.drawn_noise(squares, answered, DISTANCE / 2, ring=self.ring)

    @cached_property
    def least_flood_bits(self) -> int:
        """How wide each of the flood's summands must be."""
        return floods.smooth_flood_bits(self.noise, self._coefficients, DISTANCE / 2)

    @cached_property
    def flood_bits(self) -> int:
        """How wide each is."""
        return flood_bits(self.least_flood_bits, self.row_sum, self.plain_bits)

    @property
    def chosen_distance(self) -> Fraction:
        """What all answers are within if a reader chooses its messages, and errors up to 21."""
        worst = bounds.answer_noise(self.row_sum, ring=self.ring)
        return floods.smooth_distance(worst, self.flood_bits, self._coefficients)

    def ciphertexts_bytes(self, vectors: int) -> int:
        """Return the length of so many encrypted vectors."""
        return Ciphertexts.size_bytes(vectors * self.ciphertexts, len(TREES_PRIMES), ring=self.ring)

    def answers_bytes(self, vectors: int) -> int:
        """Return the length of the answers to them."""
        places = len(self.positions)
        return Answers.size_bytes(vectors * self.answers, self.kept_primes, places, ring=self.ring)

    @property
    def half(self) -> int:
        """t/2: sums are below it in size."""
        return 1 << (self.plain_bits - 1)

    def sums_of(self, opened: Residues, vectors: int) -> Residues:
        """Return the sums (vectors, subsets) from the answers' coefficients at `positions`."""
        return opened.reshape(vectors, -1)[:, : self.subsets]

    @property
    def _coefficients(self) -> int:
        """How many coefficients are ever answered: the last answer of a vector is sent whole."""
        return -(-self.answered // self.subsets) * self.answers * len(self.positions)

    def _bytes(self, width: int) -> int:
        each = TREES_DEGREE // width
        answers, ciphertexts = -(-self.subsets // each), -(-self.rows // width)
        places, ring = min(self.subsets, each), self.ring
        asked = Ciphertexts.size_bytes(ciphertexts, len(TREES_PRIMES), ring=ring)
        return asked + Answers.size_bytes(answers, self.kept_primes, places, ring=ring)


class SumsReader:
    """Who has the vectors, and a fresh key; it reads masked sums.

    Attributes:
        public: What the other side answers with.
    """

    def __init__(self, plain_bits: int) -> None:
        """Draw a key for layouts of such a t."""
        self._key = RingKey.generate(trees_ring(plain_bits))
        self.public = self._key.public.to_bytes()

    def __repr__(self) -> str:
        return "SumsReader(...)"

    def encrypted(self, layout: SumsLayout, vectors: NDArray[np.int64]) -> bytes:
        """Return vectors (vectors, rows) for the other side.

        Raises:
            ConfigError: One has not a number a row, or its sums could wrap, or t is another one.
        """
        if layout.ring != self._key.ring:
            raise ConfigError("the layout's t is not this key's")
        if vectors.ndim != 2 or vectors.shape[1] != layout.rows:
            raise ConfigError(f"a vector has {layout.rows} numbers, one a row")
        for signed in (vectors, -vectors):
            if layout.weight * int(np.maximum(signed, 0).sum(axis=1).max(initial=0)) >= layout.half:
                raise ConfigError("a vector's sum can wrap: scale it down")
        padded = np.zeros((len(vectors), layout.ciphertexts * layout.width), np.int64)
        padded[:, : layout.rows] = vectors
        messages = np.zeros((len(vectors) * layout.ciphertexts, TREES_DEGREE), np.uint64)
        residues = (padded & (2 * layout.half - 1)).astype(np.uint64)
        messages[:, : layout.width] = residues.reshape(-1, layout.width)
        return self._key.encrypt(messages, len(TREES_PRIMES)).to_bytes()

    def opened(self, layout: SumsLayout, answers: bytes | memoryview, vectors: int) -> Residues:
        """Return this side's shares (vectors, subsets), residues mod t.

        Raises:
            DecodeError: These are no answers to so many vectors.
        """
        taken = Answers.from_bytes(
            answers,
            vectors * layout.answers,
            primes=len(TREES_PRIMES),
            kept_primes=layout.kept_primes,
            positions=layout.positions,
            ring=layout.ring,
        )
        return layout.sums_of(self._key.decrypt(taken), vectors)


class SumsAnswerer:
    """Who has the subsets: it sums without seeing, and keeps a share.

    Subsets are transformed once and kept, up to `cache_bytes`; the others are made anew each time.
    """

    def __init__(
        self, layout: SumsLayout, public: bytes | memoryview, subsets: Subsets, *, cache_bytes: int
    ) -> None:
        """Take the other side's key, and transform what is kept.

        Raises:
            ConfigError: The subsets are not those of the layout.
            DecodeError: This is no key.
        """
        if (len(subsets), subsets.rows) != (layout.subsets, layout.rows):
            raise ConfigError(f"{layout.subsets} subsets of {layout.rows} rows were planned")
        starts = np.arange(0, len(subsets), layout.subsets_each)
        most = np.add.reduceat(subsets.squares, starts).max()
        if most > layout.answer_squares or subsets.weight.max() > layout.weight:
            raise ConfigError("a subset has more rows, or more weight, than was planned")
        self._layout, self._subsets = layout, subsets
        self._public = PublicKey.from_bytes(public, ring=layout.ring)
        one = layout.ciphertexts * len(TREES_PRIMES) * TREES_DEGREE * 8
        kept = min(layout.answers, cache_bytes // one)
        self._kept = self._made(0, self._memory(kept))
        self._anew = self._memory(min(layout.answers - kept, max(1, _PIECE_BYTES // one)))

    def __repr__(self) -> str:
        return "SumsAnswerer(...)"

    def answered(
        self, ciphertexts: bytes | memoryview, vectors: int, *, masked: bool = True
    ) -> tuple[bytes, Residues]:
        """Return answers to so many vectors, and this side's shares (vectors, subsets) mod t.

        Args:
            ciphertexts: What the other side encrypted.
            vectors: How many it was to encrypt.
            masked: Whether the other side reads a share, and not the sums.

        Raises:
            DecodeError: These are no ciphertexts of so many vectors.
        """
        layout = self._layout
        sent = Ciphertexts.from_bytes(
            ciphertexts, vectors * layout.ciphertexts, len(TREES_PRIMES), ring=layout.ring
        )
        places = len(layout.positions)
        shape = (vectors * layout.answers, places)
        masks = uniform_plain(*shape, ring=layout.ring) if masked else np.zeros(shape, np.uint64)
        masks = masks.reshape(vectors, layout.answers, places)
        size = layout.answers_bytes(1) // layout.answers
        bodies = np.empty((vectors, layout.answers, size), np.uint8)
        for start, plaintexts in self._pieces():
            rows = slice(start, start + len(plaintexts.values))
            answers = self._public.answer(
                Products(plaintexts, sent),
                masks[:, rows].reshape(-1, places),
                layout.flood_bits,
                kept_primes=layout.kept_primes,
                positions=layout.positions,
                summands=floods.SUMMANDS,
            )
            bodies[:, rows] = answers.body.reshape(vectors, -1, size)
        return bodies.tobytes(), layout.sums_of(-masks & np.uint64(2 * layout.half - 1), vectors)

    def _pieces(self) -> Iterator[tuple[int, Plaintexts]]:
        """Yield plaintexts of some answers, and which one is their first."""
        kept, answers = len(self._kept.values), self._layout.answers
        if kept:
            yield 0, self._kept
        for start in range(kept, answers, len(self._anew) or 1):
            yield start, self._made(start, self._anew[: answers - start])

    def _memory(self, answers: int) -> NDArray[np.float64]:
        return np.empty((answers, self._layout.ciphertexts, len(TREES_PRIMES), TREES_DEGREE))

    def _made(self, start: int, memory: NDArray[np.float64]) -> Plaintexts:
        self._subsets.lay(start, self._layout.width, memory)
        return Plaintexts.transformed(memory, ring=self._layout.ring)
