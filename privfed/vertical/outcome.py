"""From a trained half to results: what one company knows, or what one run that played both does."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from privfed.records import made_with
from privfed.vertical.results import (
    Gain,
    Measured,
    Stage,
    UsedTable,
    VerticalResults,
    Who,
    compare,
)
from privfed.vertical.roles import Family, Opened, Role
from privfed.vertical.talk import StepCost

__all__ = ["KnownHalf", "ModelScores", "stages_of"]

Floats = NDArray[np.float64]

_STEPS = {
    "align": "finding common rows",
    "shapes": "encoding and plan",
    "train": "training",
    "predict": "scoring held-out rows",
}


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ModelScores:
    """Scores of held-out rows by three models; None: they cannot be had here.

    Attributes:
        alone: By the guest's own columns.
        together: As they opened.
        pooled: By both tables in the clear.
    """

    alone: Floats | None = None
    together: Floats | None = None
    pooled: Floats | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class KnownHalf(ABC):
    """What a company knows when training is done, whatever the model. Its repr shows no number.

    Attributes:
        role: Whose it is.
        name: What the company is called.
        fingerprint: The plan's.
        family: What the label is.
        opened: What of a held-out row the guest gets.
        labels: The guest's, of all common rows.
        classes: What its labels 0, 1 and so on are called.
        tests: How many first rows are held out.
        joint: The guest's scores of held-out rows, as they opened.
        train_rows: How many rows train.
        table_rows: How many its table has.
        costs: What each step cost.
        label: The guest's label column.
        file: Its table.
    """

    role: Role
    name: str
    fingerprint: bytes = field(repr=False)
    family: Family
    opened: Opened
    labels: Floats = field(repr=False)
    classes: tuple[str, ...]
    tests: int
    joint: Floats | None = field(repr=False)
    train_rows: int
    table_rows: int
    costs: Sequence[StepCost]
    label: str | None
    file: UsedTable

    @abstractmethod
    def results(self, *, other: str, source: str = "") -> VerticalResults:
        """Return what this company of two writes.

        Args:
            other: What the other company is called.
            source: Where an embedded pair comes from.
        """

    @abstractmethod
    def results_with(self, host: Self, *, source: str = "") -> VerticalResults:
        """Return what a run that played both companies writes: the pooled reference, too.

        Args:
            host: What the host knows; this is the guest's.
            source: Where an embedded pair comes from.
        """

    def _fields(
        self,
        host: KnownHalf | None,
        scores: ModelScores,
        *,
        source: str,
        classes_only: bool,
    ) -> dict[str, Any]:
        """Return what results of every model have; `host` is None where its part is not known."""
        who: Who = self.role if host is None else "both"
        measures: tuple[Measured, ...] = ()
        gains: tuple[Gain, ...] = ()
        if scores.alone is not None and scores.together is not None:
            measures, gains = compare(
                self.family,
                self.labels[: self.tests],
                scores.alone,
                scores.together,
                scores.pooled,
                classes_only=classes_only,
            )
        unknown = {
            "guest": "a model on both tables in the clear is not here: nobody holds both",
            "host": "how good the model is, the label holder alone can measure",
            "both": "",
        }
        return {
            "role": who,
            "plan": self.fingerprint.hex(),
            "family": self.family,
            "label": self.label,
            "classes": self.classes,
            "source": source,
            "common_rows": self.train_rows + self.tests,
            "train_rows": self.train_rows,
            "test_rows": self.tests,
            "scores_opened": "classes" if self.opened == "class" else "rounded scores",
            "measures": measures,
            "gains": gains,
            "unknown": unknown[who],
            "stages": _stages(self) if host is None else _merged(self, host),
            "files": (self.file,) if host is None else (self.file, host.file),
            "provenance": made_with(),
        }


def stages_of(costs: Sequence[StepCost], role: Role, names: Mapping[str, str]) -> tuple[Stage, ...]:
    """Return what each step cost, as one side knows it.

    Args:
        costs: What its steps cost.
        role: Whose they are.
        names: What steps are called.
    """
    stages = []
    for cost in costs:
        sent, received = cost.bytes_sent, cost.bytes_received
        guest, host = (sent, received) if role == "guest" else (received, sent)
        stages.append(
            Stage(
                name=names[cost.step],
                wall_seconds=cost.wall_seconds,
                guest_cpu_seconds=cost.cpu_seconds if role == "guest" else None,
                host_cpu_seconds=cost.cpu_seconds if role == "host" else None,
                guest_bytes=guest,
                host_bytes=host,
            )
        )
    return tuple(stages)


def _stages(known: KnownHalf) -> tuple[Stage, ...]:
    return stages_of(known.costs, known.role, _STEPS)


def _merged(guest: KnownHalf, host: KnownHalf) -> tuple[Stage, ...]:
    return tuple(
        Stage(
            name=one.name,
            wall_seconds=one.wall_seconds,
            guest_cpu_seconds=one.guest_cpu_seconds,
            host_cpu_seconds=two.host_cpu_seconds,
            guest_bytes=one.guest_bytes,
            host_bytes=two.host_bytes,
        )
        for one, two in zip(_stages(guest), _stages(host), strict=True)
    )
