"""Watches one run round by round and makes a `Run` from it."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from privfed.data.labels import unscaled
from privfed.dp import PrivacyPlan
from privfed.experiment.arms import Arm
from privfed.experiment.measures import measurement
from privfed.experiment.results import EXCHANGE, NumberFigures, Run
from privfed.records import privacy_cost
from privfed.training import Arrays, Evaluation, Exchange, evaluate, get_arrays, weights_sha256
from privfed.training.evaluate import scores_of
from privfed.training.losses import mean_squared
from privfed.training.model import AnyLoss, Loss


@dataclass(frozen=True, eq=False)
class TestRows:
    """An arm's test rows: features (n, d), targets (n,), and two masks (n,) where IDs exist.

    `sha256`: a hash of which rows they are; arms with equal hashes can be compared.
    `seen`: the arm trained on the row's ID. `unseen`: no party did, and the ID is not a repeat.
    """

    __test__ = False  # no test class, in spite of its name

    features: Tensor
    labels: Tensor
    sha256: str
    seen: NDArray[np.bool_] | None
    unseen: NDArray[np.bool_] | None


Rows = tuple[Tensor, Tensor]
_UNKNOWN = float("nan")  # an accuracy where the label is a number


class _Judge(Protocol):
    """Says how good a model is on an arm's own training and test rows."""

    def of_round(self, model: nn.Module) -> dict[str, float | None]:
        """Return a round's entries of the history."""

    def of_run(self) -> Mapping[str, Any]:
        """Return the fields of a `Run` that say how good the last round's model is."""


class _Classes:
    def __init__(self, train: Rows, test: TestRows, loss: Loss) -> None:
        self._train, self._test, self._loss = train, test, loss
        self._last: Evaluation

    def of_round(self, model: nn.Module) -> dict[str, float | None]:
        trained = evaluate(model, *self._train, self._loss)
        self._last = last = evaluate(model, self._test.features, self._test.labels, self._loss)
        return {
            "train_loss": trained.loss,
            "train_accuracy": trained.accuracy,
            "test_loss": last.loss,
            "test_accuracy": last.accuracy,
            "test_auc": last.auc,
        }

    def of_run(self) -> Mapping[str, Any]:
        labels = self._test.labels.numpy()
        right = self._last.predicted == labels
        majority = np.bincount(self._train[1].numpy()).argmax()
        seen = _rows(self._test.seen, right)
        unseen = _rows(self._test.unseen, right)
        return {
            "test_accuracy": self._last.accuracy,
            "test_auc": self._last.auc,
            "seen_accuracy": float(seen.mean()) if len(seen) else None,
            "seen_n": len(seen),
            "unseen_accuracy": float(unseen.mean()) if len(unseen) else None,
            "unseen_n": len(unseen),
            "unseen_correct": int(unseen.sum()),
            "unseen_majority_correct": int(_rows(self._test.unseen, labels == majority).sum()),
            "majority_accuracy": float(np.mean(labels == majority)),
        }


class _Numbers:
    def __init__(self, train: Rows, test: TestRows, between: tuple[float, float]) -> None:
        self._train, self._test, self._between = train, test, between
        self._said: NDArray[np.float64]

    def of_round(self, model: nn.Module) -> dict[str, float | None]:
        found: dict[str, float | None] = {}
        for name, features, targets in (
            ("train", *self._train),
            ("test", self._test.features, self._test.labels),
        ):
            scores = scores_of(model, features)
            found[f"{name}_loss"] = float(mean_squared(scores, targets))
            self._said = unscaled(scores[:, 0].numpy(), self._between)
            found[f"{name}_r2"] = _r2(unscaled(targets.numpy(), self._between), self._said)
        return found

    def of_run(self) -> Mapping[str, Any]:
        truth = unscaled(self._test.labels.numpy(), self._between)
        mean = float(unscaled(self._train[1].numpy(), self._between).mean())
        off, mean_off = np.abs(self._said - truth), np.abs(mean - truth)
        seen, unseen = (_rows(mask, off) for mask in (self._test.seen, self._test.unseen))
        return {
            "test_accuracy": _UNKNOWN,
            "test_auc": None,
            "seen_accuracy": None,
            "seen_n": len(seen),
            "unseen_accuracy": None,
            "unseen_n": len(unseen),
            "unseen_correct": 0,
            "unseen_majority_correct": 0,
            "majority_accuracy": _UNKNOWN,
            "number": NumberFigures(
                test_r2=_r2(truth, self._said),
                test_mae=float(off.mean()),
                mean_r2=_r2(truth, np.full(len(truth), mean)),
                mean_mae=float(mean_off.mean()),
                seen_mae=_mean(seen),
                unseen_mae=_mean(unseen),
                unseen_mean_mae=_mean(_rows(self._test.unseen, mean_off)),
            ),
        }


class Recorder:
    """Evaluates the model after each round on the arm's own training and test rows.

    Args:
        train: Each member's training rows, features and targets.
        test: The arm's test rows.
        advance: Called after each round.
        loss: What the model's scores mean.
        between: The public range of a label that is a number.
    """

    def __init__(
        self,
        train: Sequence[Rows],
        test: TestRows,
        advance: Callable[[int], None],
        loss: AnyLoss = "sigmoid",
        between: tuple[float, float] | None = None,
    ) -> None:
        features, labels = zip(*train, strict=True)
        self.train_rows = torch.cat(features), torch.cat(labels)
        self._test, self._advance = test, advance
        self._judge: _Judge
        if loss == "squared":
            self._judge = _Numbers(self.train_rows, test, between or (-1.0, 1.0))
        else:
            self._judge = _Classes(self.train_rows, test, loss)
        self._history: dict[str, list[Any]] = defaultdict(list)
        self._start = time.perf_counter()

    def on_round(
        self, round_id: int, model: nn.Module, train_seconds: float, exchange: Exchange | None
    ) -> None:
        """Record one round."""
        start = time.perf_counter()
        judged = self._judge.of_round(model)
        seconds = {"train": train_seconds, **(exchange.seconds if exchange else {})}
        seconds["evaluate"] = time.perf_counter() - start
        row = {
            **judged,
            "upload_bytes": exchange.upload_bytes if exchange else 0,
            "download_bytes": exchange.download_bytes if exchange else 0,
            "weights_sha256": weights_sha256(get_arrays(model)),
            **{f"seconds_{phase}": value for phase, value in seconds.items()},
        }
        for name, value in row.items():
            self._history[name].append(value)
        self._advance(1)

    def finish(
        self,
        arm: Arm,
        split: str,
        seed: int,
        epsilon: float | None,
        plan: PrivacyPlan | None,
        arrays: Arrays,
        model: str,
    ) -> Run:
        """Make the run's record; at least one round must have been recorded."""
        history = self._history
        if not history:
            raise RuntimeError("no round was recorded")
        phases = {
            name.removeprefix("seconds_"): float(np.sum(values))
            for name, values in history.items()
            if name.startswith("seconds_")
        }
        rounds = len(history["test_loss"])
        spent = sum(phases.get(phase, 0.0) for phase in EXCHANGE) if arm.encrypted else 0.0
        accuracies = history.get("train_accuracy", [_UNKNOWN])
        return Run(
            arm=arm.name,
            split=split,
            seed=seed,
            epsilon=epsilon,
            rounds=rounds,
            train_rows=len(self.train_rows[1]),
            test_rows=len(self._test.labels),
            test_rows_sha256=self._test.sha256,
            train_loss_first=history["train_loss"][0],
            train_loss_last=history["train_loss"][-1],
            train_accuracy_first=accuracies[0],
            train_accuracy_last=accuracies[-1],
            test_loss_last=history["test_loss"][-1],
            **self._judge.of_run(),
            weights_sha256=weights_sha256(arrays),
            upload_bytes_per_round=float(np.mean(history["upload_bytes"])),
            download_bytes_per_round=float(np.mean(history["download_bytes"])),
            encryption_seconds_per_round=spent / rounds,
            wall_seconds=time.perf_counter() - self._start,
            seconds=phases,
            history=dict(history),
            privacy=privacy_cost(plan) if plan is not None else None,
            model=model,
        )


def _r2(truth: NDArray[np.float64], said: NDArray[np.float64]) -> float | None:
    found = measurement("R²", truth, said)
    return None if found is None else found.value


def _mean(values: NDArray[Any]) -> float | None:
    return float(values.mean()) if len(values) else None


def _rows(mask: NDArray[np.bool_] | None, values: NDArray[Any]) -> NDArray[Any]:
    return values[mask] if mask is not None else values[:0]
