"""What the receiver keeps of a scorecard: scorecard.json, in its own folder and for nobody else."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from privfed.records import (
    Bound,
    Count,
    KnownNumber,
    OwnResults,
    PrivacyCost,
    ResultsPart,
    made_with,
)
from privfed.rounding import as_given, at_most
from privfed.vertical.results import Stage, UsedTable
from privfed.vertical.roles import Role
from privfed.vertical.scorecards.plan import ScorecardPlan
from privfed.vertical.scorecards.texts import LACKING, ColumnTexts
from privfed.vertical.scorecards.values import NoisyColumn

__all__ = ["SCORECARD_FILE", "Scorecard", "ScorecardBin", "ScorecardColumn", "columns_of"]

SCORECARD_FILE = "scorecard.json"

Counts = NDArray[np.int64]
_Whole = Annotated[int, msgspec.Meta(ge=-(10**15), le=10**15)]


class ScorecardBin(ResultsPart, frozen=True, kw_only=True):
    """One bin; null: its rows are too few to be told from none under this noise.

    Attributes:
        text: Which values are in it.
        events: Its rows whose label counts as 1, with noise.
        others: Its other rows: with noise of their own at the guest, at the host its rows less the
            events.
        woe: The weight of evidence.
        low: The lower end of its 95 % interval, by the noise alone.
        high: The upper end.
    """

    text: str
    events: _Whole
    others: _Whole
    woe: Bound | None
    low: Bound | None
    high: Bound | None


class ScorecardColumn(ResultsPart, frozen=True, kw_only=True):
    """One column.

    Attributes:
        name: What it is called.
        iv: The information value, without what noise adds.
        measured: The same with it.
        by_noise: What noise adds, estimated.
        of_nothing: What 95 of 100 columns that say nothing stay below, by noise and by chance.
        bins: Its bins, that of missing values last.
    """

    name: str
    iv: KnownNumber
    measured: Bound
    by_noise: Bound
    of_nothing: Bound
    bins: tuple[ScorecardBin, ...]

    @property
    def says_something(self) -> bool:
        """Whether its IV is above that of columns which say nothing."""
        return self.measured > self.of_nothing


class Scorecard(OwnResults, frozen=True, kw_only=True):
    """The whole file. `provenance`: versions, and when it was made."""

    WHAT: ClassVar[str] = "a scorecard"
    FILE: ClassVar[str] = SCORECARD_FILE

    format: Literal["privfed vertical scorecard 1"] = "privfed vertical scorecard 1"
    role: Role  # who has it: the receiver
    company: str
    common_rows: Count
    events: _Whole  # of all rows: exact at the guest, from noisy counts at the host
    classes: tuple[str, ...] = ()  # the one that is an event last; the host does not know
    privacy: PrivacyCost
    deviation: KnownNumber  # of the noise of each count
    columns: tuple[ScorecardColumn, ...]  # by their information value, the largest first
    source: str = ""  # of a pair that ships with privfed
    stages: tuple[Stage, ...]
    files: tuple[UsedTable, ...]
    provenance: dict[str, Any] = msgspec.field(default_factory=made_with)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.columns:
            raise ValueError("a scorecard has columns")

    @property
    def statement(self) -> str:
        """What the counts cost whose rows they are of, with all that an ε needs."""
        cost = self.privacy
        return (
            f"ε = {at_most(cost.epsilon)}, δ = {as_given(cost.delta)} ({cost.adjacency}: "
            f"{cost.privacy_unit}; sampling: {cost.sampling}; {cost.accountant})"
        )


def columns_of(
    plan: ScorecardPlan,
    events: Counts,
    others: Counts,
    texts: tuple[ColumnTexts, ...],
    all_events: int | None,
) -> tuple[tuple[ScorecardColumn, ...], int]:
    """Turn noisy counts into columns.

    Args:
        plan: What was counted.
        events: Shape (columns, bins), that of missing values last.
        others: The same; at the host they are its own rows less the events.
        texts: What they are called.
        all_events: In all rows; None: the host takes the mean of what its columns say.

    Returns:
        The columns, by information value, and the events in all.
    """
    host = plan.choice.receiver == "host"
    if all_events is None:
        said = round(float(events.sum(axis=1).mean()))  # each column has every row once
        all_events = min(max(said, 1), plan.rows - 1)
    rng = np.random.default_rng(0)
    found = []
    for own, rest, text in zip(events, others, texts, strict=True):
        column = NoisyColumn(
            events=own.astype(np.float64),
            others=rest.astype(np.float64),
            all_events=all_events,
            all_others=plan.rows - all_events,
            deviation=plan.deviation,
            rows=(own + rest).astype(np.float64) if host else None,
        )
        evidence = column.evidence(rng)
        # Beyond those that have a name a column has no bins; the host knows which have no row.
        names = [*text.bins, *[""] * (plan.choice.bins - len(text.bins)), LACKING]
        shown = [
            ScorecardBin(
                text=name,
                events=int(own[number]),
                others=int(rest[number]),
                woe=_or_none(evidence.woe[number]),
                low=_or_none(evidence.low[number]),
                high=_or_none(evidence.high[number]),
            )
            for number, name in enumerate(names)
            if name and (evidence.told[number] or not host)
        ]
        found.append(
            ScorecardColumn(
                name=text.name,
                iv=evidence.iv,
                measured=evidence.measured,
                by_noise=evidence.by_noise,
                of_nothing=evidence.of_nothing,
                bins=tuple(shown),
            )
        )
    return tuple(sorted(found, key=lambda column: -column.iv)), all_events


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
