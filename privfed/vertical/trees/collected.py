"""What the guest collects of the host's columns while trees grow, counted.

In each node that the host won, the guest reads which side each row of that node takes: a bit a row.
Nothing else of the host's columns opens, but that the host won.
"""

from typing import Annotated

import msgspec

__all__ = ["CollectedBits"]

_Count = Annotated[int, msgspec.Meta(ge=0)]


class CollectedBits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the guest collected, a number a tree.

    Attributes:
        nodes: How many nodes the host won.
        rows: How many rows were in them, and so how many sides the guest read. The guest alone
            knows: the host has the most that it can be, all rows of each level that it won in.
        asked: How many nodes were asked about, whoever won them: a bit each.
    """

    nodes: tuple[_Count, ...] = ()
    rows: tuple[_Count, ...] = ()
    asked: tuple[_Count, ...] = ()

    def followed(self, nodes: int, rows: int, asked: int) -> "CollectedBits":
        """Return the count after another tree."""
        return CollectedBits((*self.nodes, nodes), (*self.rows, rows), (*self.asked, asked))

    def until(self, trees: int) -> "CollectedBits":
        """Return the count of the first trees."""
        return CollectedBits(self.nodes[:trees], self.rows[:trees], self.asked[:trees])

    @property
    def bits(self) -> int:
        """How many bits it is in all."""
        return sum(self.rows) + sum(self.asked)
