"""The guest's side of one tree, grown a level at a time from gradients that it alone knows.

In a node with rows S, G and H the sums of their gradients and hessians, the guest asks about the
residuals r = g - (G / H) h, which add up to 0. A split's score is |sum of r over its left rows|
times its weight (`Splits.subsets`). The residuals of a node are scaled to use the whole range, and
rounded so that the sum of any of them stays exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from privfed.errors import CapacityError, ConfigError
from privfed.vertical.trees.grown import GuestTree, Owner
from privfed.vertical.trees.splits import Splits
from privfed.vertical.trees.subsets import Subsets

__all__ = ["GrowingTree", "LevelQuestion", "TreeSettings"]

_MOST_DEPTH = 7
_ROUNDING = 1e-9  # residuals that are a smaller share of gradients are errors of doubles

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class TreeSettings:
    """How trees are grown.

    Attributes:
        depth: How many splits are on the way to a leaf, 1 to 7.
        learning_rate: What a leaf's value is multiplied by.
        l2: What is added to a leaf's hessian: lambda.
        least_rows: How many training rows each side of a split has at least. A host's split is
            known to have fewer only once it is made: such a side takes the value of its node.
        most_step: The largest value of a leaf before the learning rate; None for any.

    Raises:
        ConfigError: On construction, a setting is out of range.
    """

    depth: int = 4
    learning_rate: float = 0.3
    l2: float = 1.0
    least_rows: int = 10
    most_step: float | None = None

    def __post_init__(self) -> None:
        step = self.most_step is None or 0 < self.most_step < np.inf
        rates = 0 < self.learning_rate <= 1 and 0 <= self.l2 < np.inf
        if not (1 <= self.depth <= _MOST_DEPTH and rates and self.least_rows >= 1 and step):
            raise ConfigError(
                f"depth {self.depth}, learning rate {self.learning_rate}, l2 {self.l2}, "
                f"{self.least_rows} rows at least: give a depth of 1 to {_MOST_DEPTH}, a rate "
                "above 0 and up to 1, an l2 of 0 or more and 1 row or more"
            )


@dataclass(frozen=True, eq=False, repr=False)
class LevelQuestion:
    """What the guest asks at a level.

    Attributes:
        vectors: Shape (nodes, rows): each node's rounded residuals, 0 for rows of others. All are 0
            in a node that is not split.
        best: Shape (nodes,): the score of the guest's own best split; the largest possible in a
            node that is not split, which the host then cannot win.
    """

    vectors: Integers
    best: Integers


@dataclass(frozen=True, eq=False, repr=False)
class _Totals:
    """What a level's training rows come to, (nodes,) each."""

    gradients: Floats
    hessians: Floats
    rows: Integers


class GrowingTree:
    """A tree that grows: `question` and `answered` take turns until it is `done`."""

    def __init__(
        self,
        settings: TreeSettings,
        splits: Splits,
        subsets: Subsets,
        gradients: Floats,
        hessians: Floats,
        *,
        most: int,
        weight: int,
        generator: np.random.Generator,
    ) -> None:
        """Begin with all rows in the root.

        Args:
            settings: How it grows.
            splits: The guest's.
            subsets: What `Splits.subsets` says of them and all rows.
            gradients: Shape (rows,).
            hessians: Shape (rows,); 0 for rows that do not train: they only get their sides.
            most: The largest score, either way, that shares can hold.
            weight: The largest weight of a split of either side.
            generator: For rounding; it protects nobody.

        Raises:
            ConfigError: No row has a positive hessian, or derivatives are not finite.
        """
        trains = hessians > 0
        if not (np.isfinite(gradients).all() and np.isfinite(hessians).all() and trains.any()):
            raise ConfigError("there is no row to grow a tree from, or scores are not finite")
        self._settings, self._splits, self._subsets = settings, splits, subsets
        self._gradients, self._hessians = np.where(trains, gradients, 0.0), hessians
        self._trains = trains
        self._most, self._weight, self._generator = most, weight, generator
        self._level = 0
        self._nodes = np.zeros(len(gradients), dtype=np.int64)
        self._totals = self._valued = self._sums(1)
        self._alive = np.ones(1, dtype=np.bool_)
        self._choice = np.full(1, -1)
        self._owners: list[Owner] = []
        self._chosen: list[int] = []
        self._gains: list[float] = []

    @property
    def done(self) -> bool:
        """Whether all levels are there."""
        return self._level == self._settings.depth

    @property
    def node_of_row(self) -> Integers:
        """The node of each row among those of its level, (rows,); once done its leaf."""
        return self._nodes

    def question(self) -> LevelQuestion:
        """Return what to ask about this level's nodes.

        Raises:
            CapacityError: Shares cannot hold so many rows.
        """
        totals, nodes = self._totals, self._nodes
        count, rows = len(totals.rows), np.arange(len(nodes))
        self._alive &= totals.rows >= 2 * self._settings.least_rows
        ratio = totals.gradients / np.where(self._alive, totals.hessians, 1)
        residuals = self._gradients - ratio[nodes] * self._hessians
        sizes = (np.bincount(nodes, np.abs(x), count) for x in (residuals, self._gradients))
        self._alive &= next(sizes) > _ROUNDING * next(sizes)
        parted = np.zeros((count, len(nodes)))
        parted[nodes, rows] = np.where(self._alive[nodes], residuals, 0)
        vectors = rounded(parted, totals.rows, self._most // self._weight, self._generator)
        self._alive &= vectors.any(axis=1)
        vectors[~self._alive] = 0
        scores = self._own_scores(vectors)
        self._choice = scores.argmax(axis=1)
        best = scores[np.arange(count), self._choice]
        self._choice[(best <= 0) | ~self._alive] = -1
        return LevelQuestion(vectors, np.where(self._alive, np.maximum(best, 0), self._most))

    def answered(self, won: NDArray[np.bool_], sides: NDArray[np.bool_]) -> None:
        """Split this level's nodes.

        Args:
            won: Shape (nodes,): whether the host's best split is better than the guest's.
            sides: Shape (rows,): whether the host's split sends a row left, where it won the row's
                node.
        """
        won = won & self._alive
        left = np.where(won[self._nodes], sides, True)
        for node in np.flatnonzero(~won & (self._choice >= 0)).tolist():
            own = self._nodes == node
            left[own] = self._splits.left(self._subsets.codes, int(self._choice[node]))[own]
        split = won | (self._choice >= 0)
        self._owners += [
            "host" if host else "guest" if own else "none"
            for host, own in zip(won.tolist(), split.tolist(), strict=True)
        ]
        self._chosen += np.where(won, -1, self._choice).tolist()
        self._nodes = 2 * self._nodes + ~left
        self._level += 1
        before, self._totals = self._totals, self._sums(2 * len(won))
        gained = self._quality(self._totals).reshape(-1, 2).sum(axis=1) - self._quality(before)
        self._gains += np.where(split, gained / 2, 0.0).tolist()
        few = self._totals.rows < self._settings.least_rows
        self._valued = _Totals(
            *(
                np.where(few, np.repeat(older, 2), newer)
                for older, newer in (
                    (self._valued.gradients, self._totals.gradients),
                    (self._valued.hessians, self._totals.hessians),
                    (self._valued.rows, self._totals.rows),
                )
            )
        )
        self._alive = np.repeat(split, 2)

    @property
    def tree(self) -> GuestTree:
        """What the guest has of the tree, once it is done."""
        valued, settings = self._valued, self._settings
        values = -valued.gradients / (valued.hessians + settings.l2)
        if settings.most_step is not None:
            values = np.clip(values, -settings.most_step, settings.most_step)
        leaves = tuple((values * settings.learning_rate).tolist())
        return GuestTree(tuple(self._owners), tuple(self._chosen), leaves, tuple(self._gains))

    def _sums(self, count: int) -> _Totals:
        nodes = self._nodes
        return _Totals(
            np.bincount(nodes, self._gradients, count).astype(np.float64),
            np.bincount(nodes, self._hessians, count).astype(np.float64),
            np.bincount(nodes[self._trains], minlength=count),
        )

    def _quality(self, totals: _Totals) -> Floats:
        """Return twice what a leaf's best value takes from the loss (Chen and Guestrin, eq. 6)."""
        weight = totals.hessians + self._settings.l2
        return np.where(weight > 0, totals.gradients**2 / np.where(weight > 0, weight, 1), 0)

    def _own_scores(self, vectors: Integers) -> Integers:
        """Return the guest's scores, (nodes, splits); -1 where a side has too few rows."""
        count = len(vectors)
        here = np.zeros(vectors.shape, dtype=np.int64)
        here[self._nodes, np.arange(len(self._nodes))] = self._trains
        inside = self._subsets.sums(here) // self._subsets.weight
        fewer = np.minimum(inside, self._totals.rows[:, None] - inside)
        enough = fewer >= self._settings.least_rows
        return np.where(enough, np.abs(self._subsets.sums(vectors)), -1).reshape(count, -1)


def rounded(
    residuals: Floats, rows: Integers, most: int, generator: np.random.Generator
) -> Integers:
    """Scale each node's residuals to the largest integers whose sum over any rows is held.

    Each is rounded up or down at random, up as often as it is above the lower one. Their running
    sum is what is rounded, so that a node's integers add up as its residuals do: to 0.

    Args:
        residuals: Shape (nodes, rows): those of a node add up to 0.
        rows: Shape (nodes,): how many of them are not 0, at most.
        most: The largest sum of positive ones, and of negative ones.
        generator: For rounding.

    Returns:
        Integers, (nodes, rows).

    Raises:
        CapacityError: There are more rows than `most` allows.
    """
    if (rows >= most // 2).any():
        raise CapacityError(
            f"a node of {rows.max()} rows, and sums up to {most}: plan for as many rows"
        )
    up = np.maximum(residuals, 0).sum(axis=1)
    largest = np.maximum(up, up - residuals.sum(axis=1))
    # Rounding adds less than one to each; one more for the sums' own rounding.
    scale = (most - rows - 1) / np.where(largest > 0, largest, 1)
    running = np.cumsum(residuals * np.where(largest > 0, scale, 0)[:, None], axis=1)
    running += generator.random((len(residuals), 1))
    floors = np.floor(running).astype(np.int64)
    return np.diff(floors, axis=1, prepend=0)
