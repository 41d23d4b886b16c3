"""Watches one run round by round and makes a `Run` from it."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from privfed.dp import PrivacyPlan
from privfed.experiment.arms import Arm
from privfed.experiment.results import EXCHANGE, Run
from privfed.training import Arrays, Evaluation, Exchange, evaluate, get_arrays, weights_sha256
from privfed.training.model import Loss
from privfed.training.records import privacy_cost


@dataclass(frozen=True, eq=False)
class TestRows:
    """An arm's test rows: features (n, d), labels (n,), and two masks (n,) where IDs exist.

    `sha256`: a hash of which rows they are; arms with equal hashes can be compared.
    `seen`: the arm trained on the row's ID. `unseen`: no party did, and the ID is not a repeat.
    """

    __test__ = False  # no test class, in spite of its name

    features: Tensor
    labels: Tensor
    sha256: str
    seen: NDArray[np.bool_] | None
    unseen: NDArray[np.bool_] | None


class Recorder:
    """Evaluates the model after each round on the arm's own training and test rows."""

    def __init__(
        self,
        train: Sequence[tuple[Tensor, Tensor]],
        test: TestRows,
        advance: Callable[[int], None],
        loss: Loss = "sigmoid",
    ) -> None:
        features, labels = zip(*train, strict=True)
        self.train_rows = torch.cat(features), torch.cat(labels)
        self._test, self._advance, self._loss = test, advance, loss
        self._history: dict[str, list[Any]] = defaultdict(list)
        self._last: Evaluation | None = None
        self._start = time.perf_counter()

    def on_round(
        self, round_id: int, model: nn.Module, train_seconds: float, exchange: Exchange | None
    ) -> None:
        """Record one round."""
        start = time.perf_counter()
        trained = evaluate(model, *self.train_rows, self._loss)
        self._last = evaluate(model, self._test.features, self._test.labels, self._loss)
        seconds = {"train": train_seconds, **(exchange.seconds if exchange else {})}
        seconds["evaluate"] = time.perf_counter() - start
        row = {
            "train_loss": trained.loss,
            "train_accuracy": trained.accuracy,
            "test_loss": self._last.loss,
            "test_accuracy": self._last.accuracy,
            "test_auc": self._last.auc,
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
        if self._last is None:
            raise RuntimeError("no round was recorded")
        history = self._history
        labels = self._test.labels.numpy()
        right = self._last.predicted == labels
        majority = np.bincount(self.train_rows[1].numpy()).argmax()
        seen = _rows(self._test.seen, right)
        unseen = _rows(self._test.unseen, right)
        phases = {
            name.removeprefix("seconds_"): float(np.sum(values))
            for name, values in history.items()
            if name.startswith("seconds_")
        }
        rounds = len(history["test_loss"])
        spent = sum(phases.get(phase, 0.0) for phase in EXCHANGE) if arm.encrypted else 0.0
        return Run(
            arm=arm.name,
            split=split,
            seed=seed,
            epsilon=epsilon,
            rounds=rounds,
            train_rows=len(self.train_rows[1]),
            test_rows=len(labels),
            test_rows_sha256=self._test.sha256,
            train_loss_first=history["train_loss"][0],
            train_loss_last=history["train_loss"][-1],
            train_accuracy_first=history["train_accuracy"][0],
            train_accuracy_last=history["train_accuracy"][-1],
            test_loss_last=self._last.loss,
            test_accuracy=self._last.accuracy,
            test_auc=self._last.auc,
            seen_accuracy=float(seen.mean()) if len(seen) else None,
            seen_n=len(seen),
            unseen_accuracy=float(unseen.mean()) if len(unseen) else None,
            unseen_n=len(unseen),
            unseen_correct=int(unseen.sum()),
            unseen_majority_correct=int(_rows(self._test.unseen, labels == majority).sum()),
            majority_accuracy=float(np.mean(labels == majority)),
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


def _rows(mask: NDArray[np.bool_] | None, right: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return right[mask] if mask is not None else right[:0]
