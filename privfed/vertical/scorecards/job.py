"""One company's scorecard over a connection: common rows, bins at the host, noisy counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from privfed.dp import PrivacyPlan
from privfed.errors import ConfigError
from privfed.records import privacy_cost
from privfed.vertical.company import CompanyTable
from privfed.vertical.encoding import cleaned_features
from privfed.vertical.outcome import stages_of
from privfed.vertical.results import UsedTable
from privfed.vertical.scorecards.counting import CountingGuest, CountingHost
from privfed.vertical.scorecards.plan import ScorecardPlan
from privfed.vertical.scorecards.results import Scorecard, columns_of
from privfed.vertical.scorecards.spent import ScorecardsSpent
from privfed.vertical.scorecards.terms import ScorecardChoice
from privfed.vertical.scorecards.texts import ColumnTexts, texts_of
from privfed.vertical.talk import Talk, common_rows
from privfed.vertical.trees.bins import Binning
from psi.network import Progress

if TYPE_CHECKING:
    from psi.network import Connection

__all__ = ["CountedColumns", "ScorecardJob", "make_scorecard", "with_columns"]

Rows = NDArray[np.intp]
_STAGES = {"align": "finding common rows", "count": "counting"}


@dataclass(frozen=True, kw_only=True)
class ScorecardJob:
    """What a company brings.

    Attributes:
        table: Its table.
        name: What it is called.
        file: Where the table comes from.
        choice: What both chose.
        spent: Where is counted what scorecards of this table cost; for who adds noise.
        epsilon_in_all: What all of them may cost; None: as much as one.
        source: What the tables are, of a pair that ships with privfed.
        charge: Counts what the other side asks of the intersection.
        max_peer_items: The largest set the other side may bring.
    """

    table: CompanyTable
    name: str
    file: UsedTable
    choice: ScorecardChoice
    spent: Path
    epsilon_in_all: float | None = None
    source: str = ""
    charge: Callable[[int, int], None] | None = None
    max_peer_items: int | None = None


@dataclass(frozen=True, kw_only=True)
class CountedColumns:
    """What a company has when a scorecard is made.

    Attributes:
        plan: What was counted, with its noise.
        scorecard: The receiver's; None at the other company.
        spent: What scorecards of its table cost together; None at the receiver.
    """

    plan: ScorecardPlan
    scorecard: Scorecard | None = field(repr=False)
    spent: PrivacyPlan | None


def make_scorecard(
    job: ScorecardJob,
    connection: Connection,
    *,
    guest_listens: bool,
    progress: Progress | None = None,
) -> CountedColumns:
    """Find the common rows, and count.

    Args:
        job: What this company brings.
        connection: To the other one.
        guest_listens: Whether the guest is the side that listens.
        progress: Called with a stage, how much is done, and of how much.

    Returns:
        The scorecard at its receiver, and what it cost at the other company.

    Raises:
        ConfigError: The table has no classes or no columns, or too few rows are common.
        CapacityError: So many rows, or such noise, do not fit.
        BudgetExceededError: Scorecards of this table may not cost so much.
        PSIError: The other side is gone, or sent what is not acceptable.
    """
    table, choice = job.table, job.choice
    labels, classes = check_job(job)
    terms = partial(choice.terms, guest_listens=guest_listens)
    talk = Talk(connection=connection, terms=terms)
    talk.enter("align")
    rows = common_rows(table, talk, job.charge, job.max_peer_items, progress)
    spending = _Spending(ScorecardsSpent(job.spent, job.epsilon_in_all))
    talk.enter("count")
    side: CountingGuest | CountingHost
    texts: tuple[ColumnTexts, ...]
    if table.role == "guest":
        own = labels[rows].astype(np.int64)
        side = CountingGuest(choice, own, charge=spending)
        talk.hold(side)
        texts, all_events = side.texts, int(own.sum())
    else:
        binning, codes, values = binned(table, rows, choice)
        named = choice.least_rows if choice.names else 0  # the host may know all of its own
        texts, all_events = texts_of(binning.columns, values, named), None
        side = CountingHost(choice, codes, texts, charge=spending)
        talk.hold(side)
    plan = side.plan
    if table.role != choice.receiver:
        return CountedColumns(plan=plan, scorecard=None, spent=spending.total)
    columns, all_events = columns_of(plan, side.events, side.others, texts, all_events)
    scorecard = Scorecard(
        role=table.role,
        company=job.name,
        common_rows=plan.rows,
        events=all_events,
        classes=classes,
        privacy=privacy_cost(plan.privacy),
        deviation=plan.deviation,
        columns=columns,
        source=job.source,
        stages=stages_of(talk.costs, table.role, _STAGES),
        files=(job.file,),
    )
    return CountedColumns(plan=plan, scorecard=scorecard, spent=None)


def check_job(job: ScorecardJob) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Check what can be before the other company is asked.

    Returns:
        All labels of the table, and what the classes are called; nothing at the host.

    Raises:
        ConfigError: The table has no classes or no columns.
        BudgetExceededError: Scorecards of this table may not cost so much.
    """
    table, choice = job.table, job.choice
    if table.role == "host":
        _ = table.described
    labels, classes = table.labels("logistic")
    if table.role != choice.receiver:
        # How many columns there are changes the cost of little noise alone, and then to less.
        nearly = ScorecardPlan(choice, max(len(table.frame), 1), 64)
        ScorecardsSpent(job.spent, job.epsilon_in_all).check(nearly.privacy)
    return labels, classes


def binned(
    table: CompanyTable, rows: Rows, choice: ScorecardChoice
) -> tuple[Binning, NDArray[np.uint8], NDArray[np.float64]]:
    """Return the bins of a host's common rows, their codes (columns, rows), and cleaned values."""
    frame = table.features.iloc[rows].reset_index(drop=True)
    binning = Binning.fit(
        frame, schema=table.described, bins=choice.bins, least_rows=choice.least_rows
    )
    return binning, binning.codes(frame), cleaned_features(frame, table.described).values


def with_columns(table: CompanyTable, names: list[str]) -> CompanyTable:
    """Return a host's table with some of its columns alone; with all of them where none is named.

    Raises:
        ConfigError: It has no such column.
    """
    if not names:
        return table
    features = [str(name) for name in table.features.columns]
    for name in names:
        if name not in features:
            raise ConfigError(
                f"the table has no column {name!r} to count: its columns are "
                f"{', '.join(map(repr, features))}"
            )
    kept = [*table.id_columns, *(name for name in features if name in names)]
    schema = table.schema
    if schema is not None:
        wanted = {schema.normal(name) for name in names}
        schema = replace(
            schema,
            columns=tuple(each for each in schema.columns if schema.normal(each.name) in wanted),
        )
    return replace(table, frame=table.frame[kept], schema=schema)


class _Spending:
    """Counts in the file, and keeps what all cost together."""

    def __init__(self, spent: ScorecardsSpent) -> None:
        self._spent = spent
        self.total: PrivacyPlan | None = None

    def __call__(self, privacy: PrivacyPlan) -> None:
        self.total = self._spent.charge(privacy)
