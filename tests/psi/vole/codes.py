"""The code of a vector OLE in Python's integers, small, and without what makes it safe if wanted.

Its draws are those of a seeded generator: what is tried here is the code, not the kernel.
"""

import itertools
import random
from dataclasses import dataclass

from tests.psi.plain import product

SEGMENTS = 21
BELOW = 12  # segments whose rows no factor multiplies


def inverses(numbers: list[int]) -> list[int]:
    """Of all at once: that of the product of all, and from it each (Montgomery)."""
    through = [1]
    for number in numbers:
        through.append(product(through[-1], number))
    left = through[-1]
    for _ in range(126):
        left = product(product(left, left), through[-1])  # to the power of 2^127 - 1
    left = product(left, left)
    found = []
    for number, before in zip(reversed(numbers), reversed(through[:-1]), strict=True):
        found.append(product(left, before))
        left = product(left, number)
    return found[::-1]


def span(numbers: list[int]) -> int:
    """The rank of numbers as vectors of bits."""
    pivots: dict[int, int] = {}
    for number in numbers:
        while number:
            if (top := number.bit_length()) not in pivots:
                pivots[top] = number
                break
            number ^= pivots[top]
    return len(pivots)


def vanishing(rows: list[int]) -> list[list[int]]:
    """A basis of the sets of rows, vectors of bits, that add up to zero."""
    width = max(map(int.bit_length, rows))
    pivots: dict[int, int] = {}
    found = []
    for number, row in enumerate(rows):
        left = row | 1 << width + number
        while low := left & (1 << width) - 1:
            if (top := low.bit_length()) not in pivots:
                pivots[top] = left
                break
            left ^= pivots[top]
        else:
            found.append([i for i in range(len(rows)) if left >> width + i & 1])
    return found


@dataclass(frozen=True)
class Code:
    """A code for so many blocks of so many leaves."""

    blocks: int
    block_leaves: int
    taps: list[int]
    diagonal: list[int]
    indices: list[list[int]]
    factors: list[int]

    @classmethod
    def drawn(
        cls, draw: random.Random, blocks: int, block_leaves: int, *, scaled: bool, factored: bool
    ) -> "Code":
        """Without `scaled` D is one, without `factored` F is."""
        rows = blocks * block_leaves // 2
        starts = [segment * rows // SEGMENTS for segment in range(SEGMENTS + 1)]
        segments = list(itertools.pairwise(starts))
        ones = [1] * rows
        taps = [draw.getrandbits(24) for _ in range(rows)]
        indices = [[draw.randrange(*segment) for segment in segments] for _ in range(rows)]
        diagonal = [draw.randrange(1, 1 << 128) for _ in range(rows)] if scaled else ones
        factors = [draw.randrange(1, 1 << 128) for _ in range(rows)] if factored else ones
        return cls(blocks, block_leaves, taps, diagonal, indices, factors)

    @property
    def rows(self) -> int:
        return self.blocks * self.block_leaves // 2

    def convolved(self, leaves: list[int]) -> list[int]:
        """A times leaves."""
        mixed: list[int] = []
        for i, leaf in enumerate(leaves):
            backs = [25, *(k for k in range(1, 25) if self.taps[i] >> k - 1 & 1)]
            for back in backs:
                leaf ^= mixed[i - back] if i >= back else 0
            mixed.append(leaf)
        return mixed

    def encode(self, leaves: list[int]) -> list[int]:
        """All leaves in, half as many elements out."""
        mixed = self.convolved(leaves[self.rows :])
        mixed = [product(a, b) if b else 0 for a, b in zip(self.diagonal, mixed, strict=True)]
        out = leaves[: self.rows]
        for i, columns in enumerate(self.indices):
            for column in columns[:BELOW]:
                out[i] ^= mixed[column]
            above = 0
            for column in columns[BELOW:]:
                above ^= mixed[column]
            out[i] ^= product(self.factors[i], above)
        return out

    def noise(self, draw: random.Random, *, free: int = 0) -> list[int]:
        """Regular noise; in its first block, the second half's first leaves are zero, if wanted."""
        leaves = [0] * (self.blocks * self.block_leaves)
        for block in range(self.blocks):
            first = free if 2 * block == self.blocks else 0
            place = draw.randrange(first, self.block_leaves)
            leaves[block * self.block_leaves + place] = draw.randrange(1, 1 << 128)
        return leaves

    def word(self, chosen: dict[int, int]) -> list[int]:
        """The word v·H, from the entries of v that are not zero, by the code's transpose."""
        sums = [0] * self.rows
        for i, value in chosen.items():
            for column in self.indices[i][:BELOW]:
                sums[column] ^= value
            raised = product(value, self.factors[i])
            for column in self.indices[i][BELOW:]:
                sums[column] ^= raised
        word = [product(d, s) if s else 0 for d, s in zip(self.diagonal, sums, strict=True)]
        for i in reversed(range(self.rows)):
            for back in [25, *(k for k in range(1, 25) if self.taps[i] >> k - 1 & 1)]:
                if i >= back:
                    word[i - back] ^= word[i]
        return [chosen.get(i, 0) for i in range(self.rows)] + word
