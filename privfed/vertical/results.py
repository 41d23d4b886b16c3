"""What a company keeps of a vertical training: results.json, in its own folder and for nobody else.

A company knows its own half: what the other alone knows is null here. Where one run plays both, all
is known. No score, label or row is in it; the measures and the company's coefficients are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, get_args

import msgspec
import numpy as np
from numpy.typing import NDArray

from privfed.records import (
    Bound,
    Count,
    KnownNumber,
    OwnResults,
    ResultsPart,
)
from privfed.vertical.measures import RESAMPLES, measure, measured_gain, measures_of
from privfed.vertical.roles import Family

_SHA256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
_Sha256OrNone = _SHA256 | None

Who = Literal["guest", "host", "both"]
"""Who wrote the file: the label holder, the other, or one run that played both."""

Compared = Literal["together", "pooled"]


class SideOfModel(ResultsPart, frozen=True, kw_only=True):
    """What is known of one side; null: the other company alone knows it."""

    name: str  # such as "bank"
    columns: Count | None = None  # features that the model has of this side
    table_rows: Count | None = None
    names: tuple[str, ...] | None = None  # of its features
    left_out: tuple[str, ...] = ()  # features that too few rows have


class Measured(ResultsPart, frozen=True):
    """One measure on the held-out rows; null: it cannot be computed here."""

    name: str
    alone: Bound | None  # the label holder's own columns, in the clear
    together: Bound | None  # the model that both trained without showing columns
    pooled: Bound | None  # both tables in the clear, which no company has


class Gain(ResultsPart, frozen=True):
    """What a model has over the label holder alone by the first measure, on the same rows."""

    of: Compared
    value: Bound
    low: Bound  # of the 95 % interval
    high: Bound
    resamples: Count


class Stage(ResultsPart, frozen=True, kw_only=True):
    """A part of the job, and what it cost; null: the other company alone knows it."""

    name: str
    wall_seconds: KnownNumber | None = None
    guest_cpu_seconds: KnownNumber | None = None
    host_cpu_seconds: KnownNumber | None = None
    guest_bytes: Count | None = None  # that the guest sent
    host_bytes: Count | None = None


class UsedTable(ResultsPart, frozen=True):
    """A table of this company, or one that was made up; its folder is not said."""

    name: str
    sha256: _Sha256OrNone


class VerticalResults(OwnResults, frozen=True, kw_only=True):
    """What the file has of every model. `provenance`: versions, and when it was made."""

    WHAT: ClassVar[str] = "vertical training"

    format: str
    role: Who
    plan: _SHA256  # its fingerprint
    family: Family
    label: str | None  # the column; the host does not know it
    classes: tuple[str, ...] = ()  # of two, the one that counts as 1 last
    source: str = ""  # of a pair that ships with privfed
    guest: SideOfModel
    host: SideOfModel
    common_rows: Count
    train_rows: Count
    test_rows: Count
    terms: tuple[tuple[str, str], ...]  # of the plan, in words and figures
    scores_opened: Literal["classes", "rounded scores"]  # of the test rows, to the guest
    measures: tuple[Measured, ...]  # the first is the one that gains are told by
    gains: tuple[Gain, ...]
    unknown: str = ""  # why measures, the pooled model or the other half are not here
    stages: tuple[Stage, ...]
    files: tuple[UsedTable, ...]
    provenance: dict[str, Any]

    def __post_init__(self) -> None:
        super().__post_init__()
        for side in (self.guest, self.host):
            if side.names is not None and len(side.names) != side.columns:
                raise ValueError("a side has one name a column")
        if self.train_rows + self.test_rows > self.common_rows:
            raise ValueError("more rows are used than are common")
        if len({gain.of for gain in self.gains}) != len(self.gains):
            raise ValueError("a model gains once")
        if self.gains and not self.measures:
            raise ValueError("a gain is of the first measure")


def compare(
    family: Family,
    labels: NDArray[np.float64],
    alone: NDArray[np.float64],
    together: NDArray[np.float64],
    pooled: NDArray[np.float64] | None = None,
    *,
    classes_only: bool = False,
) -> tuple[tuple[Measured, ...], tuple[Gain, ...]]:
    """Measure three models on the same held-out rows.

    Args:
        family: What the label is.
        labels: (n,); of K > 2 classes their numbers.
        alone: (n,) scores by the label holder's columns; of K > 2 classes (n, K).
        together: Those by the model that both trained, as they were opened.
        pooled: Those by both tables in the clear; None: nobody has both.
        classes_only: Whether `together` says classes only.

    Returns:
        The family's measures, and by the first of them what each model gains over `alone`.

    Raises:
        ConfigError: Labels and scores differ in number.
    """
    scores: Mapping[str, NDArray[np.float64] | None]
    scores = {"alone": alone, "together": together, "pooled": pooled}
    outputs = alone[0].size if len(alone) else 1
    names = measures_of(family, classes_only=classes_only, outputs=outputs)
    measures = tuple(
        Measured(
            name,
            *(None if s is None else measure(name, labels, s, family) for s in scores.values()),
        )
        for name in names
    )
    gains = []
    for of in get_args(Compared):
        if (theirs := scores[of]) is not None:
            gain = measured_gain(names[0], labels, theirs, alone, family)
            if gain is not None:
                gains.append(Gain(of, gain.value, gain.low, gain.high, RESAMPLES))
    return measures, tuple(gains)
