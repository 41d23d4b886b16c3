"""What collaborating on trees is compared with: trees in the clear, alone or on both tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privfed.vertical.trees.growing import TreeSettings
from privfed.vertical.trees.objective import Objective
from privfed.vertical.trees.splits import Codes
from privfed.vertical.trees.subsets import MISSING

__all__ = ["ClearTrees", "first_best"]

Floats = NDArray[np.float64]

_MOST_BINS = 255  # of scikit-learn


@dataclass(frozen=True, kw_only=True)
class ClearTrees:
    """Trees by scikit-learn's HistGradientBoosting, as both companies' are: of one depth and so on.

    It has the same bins, so that it differs in how splits are scored, rounded and hidden alone; and
    in categories without an order, of which it may send any set left.

    Attributes:
        settings: How trees grow.
        objective: What is learned, of the rows that train and those held back.
        rounds: How many rounds there are at most.
        held_back: Shape (rows,): rows that do not train but tell when to stop; None for none.
        patience: After how many rounds without a smaller loss of theirs it is done.
    """

    settings: TreeSettings
    objective: Objective
    rounds: int
    held_back: NDArray[np.bool_] | None = field(default=None, repr=False)
    patience: int = 1

    def scores(self, codes: Codes, new: Codes, ordered: Sequence[bool]) -> Floats:
        """Return what trees say of new rows, once fitted: (rows, outputs).

        Args:
            codes: The rows that train and those held back, (columns, rows).
            new: Other rows.
            ordered: Whether each column's codes have an order.
        """
        held = self.held_back
        trains = self.objective.weights > 0
        if held is not None:
            trains = trains & ~held
        fits = [
            self._fitted(codes[:, trains], trains, output, ordered)
            for output in range(self.objective.outputs)
        ]
        kept = self.rounds
        if held is not None:
            objective = self.objective
            own = replace(objective, labels=objective.labels[held], weights=objective.weights[held])
            stages = zip(*(fit.stages(codes[:, held]) for fit in fits), strict=True)
            losses = [own.loss(np.stack(stage, axis=1), own.weights) for stage in stages]
            kept = first_best(losses, self.patience)
        return np.stack([list(fit.stages(new))[kept - 1] for fit in fits], axis=1)

    def _fitted(
        self, codes: Codes, trains: NDArray[np.bool_], output: int, ordered: Sequence[bool]
    ) -> _Fit:
        # Importing it takes a second.
        from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

        settings, family = self.settings, self.objective.family
        labels = self.objective.labels[trains, output]
        if (labels == labels[0]).all():  # a class that no row that trains is of
            return _Fit(None, float(self.objective.base[output]), self.rounds, family)
        chosen: dict[str, Any] = {
            "learning_rate": settings.learning_rate,
            "max_iter": self.rounds,
            "max_depth": settings.depth,
            "max_leaf_nodes": None,
            "min_samples_leaf": settings.least_rows,
            "l2_regularization": settings.l2,
            "max_bins": _MOST_BINS,
            "categorical_features": [not each for each in ordered],
            "early_stopping": False,
            "random_state": 0,
        }
        model = (
            HistGradientBoostingClassifier(**chosen)
            if family == "logistic"
            else HistGradientBoostingRegressor(
                loss="poisson" if family == "poisson" else "squared_error", **chosen
            )
        )
        model.fit(_numbers(codes), labels, sample_weight=self.objective.weights[trains])
        return _Fit(model, 0.0, self.rounds, family)


def first_best(losses: Sequence[float], patience: int) -> int:
    """Return how many rounds are kept by who stops after some without a smaller loss."""
    best = 0
    for place, loss in enumerate(losses):
        if loss < losses[best]:
            best = place
        if place - best >= patience:
            break
    return best + 1


@dataclass(frozen=True)
class _Fit:
    model: Any
    constant: float
    rounds: int
    family: str

    def stages(self, codes: Codes) -> Iterator[Floats]:
        """Yield the rows' scores after each round."""
        if self.model is None:
            for _ in range(self.rounds):
                yield np.full(codes.shape[1], self.constant)
        elif self.family == "logistic":
            for found in self.model.staged_decision_function(_numbers(codes)):
                yield found.reshape(-1)
        else:
            for found in self.model.staged_predict(_numbers(codes)):
                yield np.log(found) if self.family == "poisson" else found


def _numbers(codes: Codes) -> Floats:
    """Return the codes as scikit-learn takes them, (rows, columns)."""
    return np.where(codes == MISSING, np.nan, codes).T
