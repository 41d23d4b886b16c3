"""The guest's rounds of trees: scores, early stopping."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from privfed.errors import ConfigError
from privfed.vertical.trees.growing import GrowingTree, TreeSettings
from privfed.vertical.trees.grown import GuestTree
from privfed.vertical.trees.objective import Objective
from privfed.vertical.trees.splits import Codes, Splits

__all__ = ["Boosting"]

_POISSON_STEP = 0.7  # as of xgboost: a mean changes by a factor of two a tree at most

Floats = NDArray[np.float64]


class Boosting:
    """The guest's side of training: `tree` and `grown` take turns until it is `done`.

    Attributes:
        trees: Those grown so far; of several outputs by turns.
        losses: The loss of the rows held back after each round, if there are any.
    """

    def __init__(
        self,
        settings: TreeSettings,
        objective: Objective,
        splits: Splits,
        codes: Codes,
        *,
        rounds: int,
        most: int,
        weight: int,
        generator: np.random.Generator,
        held_back: NDArray[np.bool_] | None = None,
        patience: int = 10,
    ) -> None:
        """Begin with scores that are the same for all rows.

        Args:
            settings: How trees grow.
            objective: What is learned.
            splits: The guest's.
            codes: The guest's, (columns, rows).
            rounds: How many rounds there are at most, of one tree an output.
            most: As of `GrowingTree`.
            weight: As of `GrowingTree`.
            generator: As of `GrowingTree`.
            held_back: Shape (rows,): rows that do not train but tell when to stop, which the guest
                alone knows; None for none.
            patience: After how many rounds without a smaller loss of theirs it is done.

        Raises:
            ConfigError: All rows or none are held back, or a setting is out of range.
        """
        if rounds < 1 or patience < 1:
            raise ConfigError(f"{rounds} rounds and a patience of {patience}: give 1 or more")
        held = np.zeros(codes.shape[1], np.bool_) if held_back is None else held_back
        self._held = objective.weights * held
        if held_back is not None and not self._held.any():
            raise ConfigError("no row with a weight is held back: hold back some, or none at all")
        self._training = replace(objective, weights=objective.weights * ~held)
        if objective.family == "poisson" and settings.most_step is None:
            settings = replace(settings, most_step=_POISSON_STEP)
        self._settings, self._splits, self._codes = settings, splits, codes
        self._rounds, self._patience = rounds, patience
        self._most, self._weight, self._generator = most, weight, generator
        self._scores = np.tile(self._training.base, (codes.shape[1], 1))
        self._subsets = splits.subsets(codes)
        self.trees: list[GuestTree] = []
        self.losses: list[float] = []

    def go_on(self, trees: Sequence[GuestTree], scores: Floats, losses: Sequence[float]) -> None:
        """Take up what was grown before.

        Args:
            trees: What `trees` was.
            scores: Shape (rows, outputs): what `scores` was.
            losses: What `losses` was, or became after one more tree.

        Raises:
            ConfigError: Scores are not those of the rows.
        """
        if scores.shape != self._scores.shape or not np.isfinite(scores).all():
            raise ConfigError("the scores that were kept are of other rows: train anew")
        self.trees, self._scores = list(trees), scores.copy()
        self.losses = list(losses[: len(trees) // self._training.outputs])

    @property
    def base(self) -> Floats:
        """The score before the first tree, (outputs,)."""
        return self._training.base

    @property
    def done(self) -> bool:
        """Whether all rounds are over, or the rows held back tell to stop."""
        rounds = len(self.trees) // self._training.outputs
        stale = bool(self.losses) and rounds - self.best_rounds >= self._patience
        return not self._output and (rounds >= self._rounds or stale)

    @property
    def best_rounds(self) -> int:
        """How many first rounds to keep: all, or those with the smallest loss held back."""
        if not self.losses:
            return len(self.trees) // self._training.outputs
        return 1 + int(np.argmin(self.losses))

    @property
    def best_trees(self) -> list[GuestTree]:
        """The trees of the rounds to keep."""
        return self.trees[: self.best_rounds * self._training.outputs]

    @property
    def scores(self) -> Floats:
        """Each row's scores by all trees so far, (rows, outputs); also of rows held back."""
        return self._scores

    def tree(self) -> GrowingTree:
        """Return the next tree, to be grown."""
        output = self._output
        gradients, hessians = self._training.gradients(self._scores[:, output], output)
        return GrowingTree(
            self._settings,
            self._splits,
            self._subsets,
            gradients,
            hessians,
            most=self._most,
            weight=self._weight,
            generator=self._generator,
        )

    def grown(self, tree: GrowingTree) -> None:
        """Add a tree that `tree` returned, and that is done.

        Raises:
            ConfigError: It is not done.
        """
        if not tree.done:
            raise ConfigError("the tree is still growing: answer all its levels first")
        output = self._output
        self.trees.append(tree.tree)
        self._scores[:, output] += np.array(self.trees[-1].leaves)[tree.node_of_row]
        if not self._output and self._held.any():
            self.losses.append(self._training.loss(self._scores, self._held))

    @property
    def _output(self) -> int:
        return len(self.trees) % self._training.outputs
