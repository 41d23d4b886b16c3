"""What a company takes down of its training, round by round; it survives the process."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from privfed.errors import ConfigError, DecodeError
from privfed.partner.plan import Plan
from privfed.partner.results import (
    OverlapCounts,
    OwnFile,
    RoundRecord,
    TrainingResults,
    how_trained,
)
from privfed.records import made_with, privacy_cost
from privfed.training import get_arrays, weights_sha256
from privfed.training.evaluate import class_log_probabilities
from privfed.training.model import Loss
from psi.storage import json_bytes, json_read, read_whole, write_whole

if TYPE_CHECKING:  # it brings gRPC
    from privfed.partner.trainer import FinishedRound

HISTORY_FILE = "history.jsonl"
SHARE = 0.05
"""The most that evaluating takes, of the time of training."""

_FORMAT: Literal["privfed training history 1"] = "privfed training history 1"
_MOST_BYTES = 1 << 30
_LARGEST = 1e15  # a loss; a larger one is written as none, as is what is no number

Rows = tuple[Tensor, Tensor]
"""Features (n, d) and labels (n,) with n ≥ 1, encoded as the plan says."""


class _Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file's first line."""

    format: Literal["privfed training history 1"]
    plan: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]


@dataclass(frozen=True, eq=False)
class _Judgement:
    """A model on rows: mean loss, if it is a number, and which rows it has right."""

    loss: float | None
    right: NDArray[np.bool_]

    @property
    def accuracy(self) -> float:
        return float(self.right.mean())


class TrainingHistory:
    """The rounds of one training at one company, each appended to a file when it is finished.

    The model is evaluated after the first round that a process sees and after the last one of the
    plan; in between whenever all evaluations of the process, and one more like the last, take at
    most `SHARE` of the time that its training took. So others hardly wait for it.

    Args:
        folder: An existing folder of this training alone; the file there has mode 0600.
        plan: What is trained.
        train: This company's training rows.
        test: Its test rows, if it has any.
        clock: Seconds.

    Raises:
        ConfigError: The file cannot be read or written.
        DecodeError: It is damaged, or of another plan.
    """

    def __init__(
        self,
        folder: Path,
        plan: Plan,
        train: Rows,
        test: Rows | None = None,
        *,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._path, self._plan, self._clock = folder / HISTORY_FILE, plan, clock
        self._train, self._test = train, test
        self._trained = self._evaluated = 0.0
        self._last: float | None = None  # seconds of the last evaluation
        self._rounds: list[RoundRecord] = []
        self._read()

    @property
    def rounds(self) -> tuple[RoundRecord, ...]:
        """The rounds that are known, in their order."""
        return tuple(self._rounds)

    def on_round(self, finished: FinishedRound) -> None:
        """Take down a round; what was known of it, and of later ones, is forgotten.

        Raises:
            ConfigError: The file cannot be written.
        """
        self._trained += finished.train_seconds
        record = RoundRecord(
            number=finished.rounds,
            train_seconds=finished.train_seconds,
            exchange_seconds=finished.exchange_seconds,
            upload_bytes=finished.upload_bytes,
        )
        if self._is_due(finished.rounds):
            began = self._clock()
            record = self._evaluation(record, finished.model)
            self._last = self._clock() - began
            self._evaluated += self._last
        self._keep(record)

    def finish(
        self,
        model: nn.Module,
        *,
        place: int,
        statement: Sequence[str] = (),
        rounds_paid: int | None = None,
        files: Sequence[OwnFile] = (),
        overlap: OverlapCounts | None = None,
        seen: NDArray[np.bool_] | None = None,
        unseen: NDArray[np.bool_] | None = None,
    ) -> TrainingResults:
        """Return what the company keeps of the training.

        Args:
            model: With the final weights.
            place: This company's in the plan.
            statement: Lines about privacy, as they were printed before the first row was touched.
            rounds_paid: Rounds that its budget has paid for this plan, those that got lost, too.
            files: Its files.
            overlap: What it learnt of shared IDs.
            seen: (n,) which test rows' IDs some party trained on; None: not known.
            unseen: (n,) which ones nobody trained on; None: not known.

        Raises:
            ConfigError: The history cannot be written.
        """
        plan, rounds = self._plan, self._plan.rounds
        last = self._rounds[-1] if self._rounds else None
        if last is None or last.number < rounds or last.train_accuracy is None:
            known = last if last is not None and last.number == rounds else None
            self._keep(self._evaluation(known or RoundRecord(number=rounds), model))
        right = np.zeros(0, bool)
        if self._test is not None:
            right = _judged(model, self._test, plan.loss).right
        seen_right, unseen_right = (
            right[:0] if mask is None else right[mask] for mask in (seen, unseen)
        )
        private, prints = plan.private, [each.fingerprint for each in plan.parties]
        runs = plan.server.fingerprint
        return TrainingResults(
            job=plan.job,
            plan=plan.fingerprint.hex(),
            party=place,
            parties=tuple(each.name for each in plan.parties),
            server=plan.server.name,
            server_party=prints.index(runs) if runs in prints else None,
            model=plan.model,
            loss=plan.loss,
            rounds=rounds,
            adversary=plan.adversary,
            weighted=plan.weighted,
            method=how_trained(private),
            statement=tuple(statement),
            privacy=None if private is None else privacy_cost(private),
            rounds_paid=rounds_paid,
            files=tuple(files),
            train_rows=len(self._train[1]),
            test_rows=None if self._test is None else len(self._test[1]),
            majority_share=_majority_share((self._test or self._train)[1]),
            overlap=overlap,
            history=self.rounds,
            seen_accuracy=float(seen_right.mean()) if len(seen_right) else None,
            seen_n=len(seen_right),
            unseen_accuracy=float(unseen_right.mean()) if len(unseen_right) else None,
            unseen_n=len(unseen_right),
            weights_sha256=weights_sha256(get_arrays(model)),
            provenance=made_with(),
        )

    def _is_due(self, number: int) -> bool:
        if self._last is None or number == self._plan.rounds:
            return True
        return self._evaluated + self._last <= SHARE * self._trained

    def _evaluation(self, record: RoundRecord, model: nn.Module) -> RoundRecord:
        trained = _judged(model, self._train, self._plan.loss)
        found = {"train_loss": trained.loss, "train_accuracy": trained.accuracy}
        if self._test is not None:
            tested = _judged(model, self._test, self._plan.loss)
            found |= {"test_loss": tested.loss, "test_accuracy": tested.accuracy}
        return msgspec.structs.replace(record, **found)

    # -- the file --------------------------------------------------------------------------------

    def _read(self) -> None:
        """Read what earlier processes wrote; a last line that a kill cut is dropped."""
        head = json_bytes(_Head(_FORMAT, self._plan.fingerprint.hex()))
        lines = (read_whole(self._path, most=_MOST_BYTES, refusal=ConfigError) or b"").split(b"\n")
        cut = lines.pop()
        if not lines:
            write_whole(self._path, head + b"\n", refusal=ConfigError)
            return
        try:
            if json_bytes(json_read(lines[0], _Head)) != head:
                raise ValueError
            for line in lines[1:]:
                self._add(json_read(line, RoundRecord))
        except ValueError:
            raise DecodeError(
                f"{self._path} is damaged or of another plan: remove it, and only the report lacks "
                "the rounds so far"
            ) from None
        if cut:
            write_whole(self._path, b"\n".join([*lines, b""]), refusal=ConfigError)

    def _keep(self, record: RoundRecord) -> None:
        self._add(record)
        try:
            flags = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW
            with os.fdopen(os.open(self._path, flags), "ab") as file:
                file.write(json_bytes(record) + b"\n")
        except OSError as error:
            raise ConfigError(f"cannot write {self._path}: {error.strerror}") from None

    def _add(self, record: RoundRecord) -> None:
        while self._rounds and self._rounds[-1].number >= record.number:
            self._rounds.pop()
        self._rounds.append(record)


def _majority_share(labels: Tensor) -> float:
    return float(torch.bincount(labels).max()) / len(labels)


def _judged(model: nn.Module, rows: Rows, loss: Loss) -> _Judgement:
    features, labels = rows
    log_p = class_log_probabilities(model, features, loss)
    mean = float(functional.nll_loss(log_p, labels))
    return _Judgement(
        mean if 0 <= mean <= _LARGEST else None, (log_p.argmax(dim=1) == labels).numpy()
    )
