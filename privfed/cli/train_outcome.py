"""What one company has of a training in the end: the model, results.json and report.html."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from privfed.errors import ConfigError
from privfed.experiment.model_file import SavedModel, save_model
from privfed.partner.history import TrainingHistory
from privfed.partner.results import OverlapCounts, OwnFile, TrainingResults
from privfed.partner.rows import leave_out
from privfed.records import RESULTS_FILE
from privfed.report.training import write_training
from privfed.training import get_arrays
from psi.storage import check_folder

if TYPE_CHECKING:
    from torch import nn

    from privfed.data import Dataset
    from privfed.partner.company import Company
    from privfed.partner.overlap import FoundOverlap
    from privfed.partner.trainer import OnFinished

MODEL = "model.npz"


def check_out(out: Path, plan: str) -> None:
    """Make the folder, before hours of training; one with another training's model is refused.

    Raises:
        ConfigError: It cannot be written, or holds what would be lost.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--out {out} cannot be made ({error.strerror}): give another") from None
    check_folder(out, f"--out {out}")
    if not any((out / name).exists() for name in (MODEL, RESULTS_FILE)):
        return
    try:
        same = TrainingResults.load(out / RESULTS_FILE).plan == plan
    except ConfigError:
        same = False
    if not same:
        raise ConfigError(f"--out {out} holds another training or its model: give another folder")


@dataclass
class TrainingOutcome:
    """What is taken down while a company trains, and written afterwards.

    Attributes:
        company: Trains; its folder keeps the history.
        place: Its place in the plan.
        out: Where all is written.
        table: Its training rows' file.
        rows: What is in it.
        test_table: Its test rows' file, if it has one.
        test: What is in it.
    """

    company: Company
    place: int
    out: Path
    table: Path
    rows: Dataset
    test_table: Path | None
    test: Dataset | None
    _history: TrainingHistory | None = field(default=None, init=False)
    _found: FoundOverlap | None = field(default=None, init=False)

    def start(self, left: Dataset, found: FoundOverlap | None) -> OnFinished:
        """Return what takes down each round.

        Args:
            left: The rows that are trained on; those with a NaN in them are not.
            found: The overlap, if it was looked for.
        """
        self._found, self._history = found, self._taking_down(left)
        return self._history.on_round

    def write(self, model: nn.Module, statement: list[str]) -> list[str]:
        """Write all of it.

        Args:
            model: With the last weights.
            statement: What was said of privacy before the first row was touched.

        Returns:
            Lines for a screen.
        """
        plan, rows = self.company.plan, self.rows
        about = f"{plan.job}: {len(plan.parties)} parties, {plan.rounds} rounds"
        saved = SavedModel(
            get_arrays(model), rows.encoder, rows.class_names, about, plan.model, plan.loss
        )
        path = self.out / MODEL
        save_model(path, saved)
        results = self._results(model, statement, path)
        results.write(self.out)
        report = write_training(results, self.out)
        return [f"weights  {results.weights_sha256}", str(path), str(report)]

    def _results(self, model: nn.Module, statement: list[str], path: Path) -> TrainingResults:
        history = self._history or self._not_met()  # which finds the overlap, too
        found, overlap, seen = self._found, None, None
        if found is not None:
            taken, seen = found.taken_out, found.seen
            overlap = OverlapCounts(found.counts, None if taken is None else int(taken.sum()))
        return history.finish(
            model,
            place=self.place,
            statement=statement,
            rounds_paid=self.company.rounds_paid,
            files=self._files(path),
            overlap=overlap,
            seen=seen,
            unseen=None if seen is None else ~seen,
        )

    def _not_met(self) -> TrainingHistory:
        """Take what an earlier process left: it had finished, and nobody came again."""
        found = self._found = self.company.overlap_file(self.rows, self.test).load()
        taken, private = None if found is None else found.taken_out, self.company.plan.private
        return self._taking_down(leave_out(self.rows, taken, private=private is not None))

    def _taking_down(self, left: Dataset) -> TrainingHistory:
        sound = np.isfinite(left.features).all(axis=1)
        train = torch.from_numpy(left.features[sound]), torch.from_numpy(left.labels[sound])
        test = None
        if self.test is not None:
            test = torch.from_numpy(self.test.features), torch.from_numpy(self.test.labels)
        return TrainingHistory(self.company.home, self.company.plan, train, test)

    def _files(self, model: Path) -> list[OwnFile]:
        files = [OwnFile("training rows", self.table.name, self.rows.sha256)]
        if self.test is not None and self.test_table is not None:
            files.append(OwnFile("test rows", self.test_table.name, self.test.sha256))
        digest = hashlib.sha256(model.read_bytes()).hexdigest()
        return [*files, OwnFile("model", model.name, digest)]
