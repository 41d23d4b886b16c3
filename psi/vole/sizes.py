"""How large a chunk of the vector OLE is; both sides derive it from how many elements they need."""

from dataclasses import dataclass
from typing import Self

from psi.errors import ConfigError

__all__ = [
    "FEWEST_TREES",
    "LEAST_DEPTH",
    "MOST_DEPTH",
    "MOST_OUTPUTS",
    "SPARE_TREES",
    "VoleSizes",
]

SPARE_TREES = 8  # a sender that tampers learns r bits of the noise's places with probability 2^-r
FEWEST_TREES = 384 + SPARE_TREES  # docs/psi-vole.md has the bits that each attack needs
LEAST_DEPTH = 3  # safe below, too; but with depth 1 there are no more outputs than trees
MOST_DEPTH = 10
MOST_OUTPUTS = FEWEST_TREES << MOST_DEPTH - 1
_OUTPUTS_A_TREE = 512  # what a tree costs beside its leaves, in outputs


@dataclass(frozen=True)
class VoleSizes:
    """The sizes of one chunk.

    Attributes:
        trees: How many trees there are, and so elements that are not zero in the noise.
        depth: The depth of each.
    """

    trees: int
    depth: int

    def __post_init__(self) -> None:
        """Refuse sizes for which the code's security was not computed.

        Raises:
            ConfigError: There are too few trees, or their depth is none of those allowed.
        """
        if self.trees < FEWEST_TREES or not LEAST_DEPTH <= self.depth <= MOST_DEPTH:
            raise ConfigError(
                f"a chunk takes {FEWEST_TREES} trees or more, "
                f"of depth {LEAST_DEPTH} to {MOST_DEPTH}"
            )

    @classmethod
    def of(cls, count: int) -> Self:
        """Return the cheapest sizes that give so many elements.

        Raises:
            ConfigError: They are too many for a chunk.
        """
        if count > MOST_OUTPUTS:
            raise ConfigError(f"a chunk gives at most {MOST_OUTPUTS} elements")
        sizes = [
            cls(max(FEWEST_TREES, -(-count >> depth - 1)), depth)
            for depth in range(LEAST_DEPTH, MOST_DEPTH + 1)
        ]
        return min(sizes, key=lambda one: one.outputs + _OUTPUTS_A_TREE * one.trees)

    @property
    def leaves(self) -> int:
        """How many leaves all trees have, which is the length of the noise."""
        return self.trees << self.depth

    @property
    def outputs(self) -> int:
        """How many elements a chunk gives: half as many as leaves."""
        return self.trees << self.depth - 1
