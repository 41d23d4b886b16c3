"""New rows of two companies, scored with the halves that they kept: common rows, then a query."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from privfed.errors import ConfigError
from privfed.vertical.answered import ANSWERED_FILE, Answered
from privfed.vertical.halves import Half
from privfed.vertical.queries import AnsweringQuery, AskingQuery
from privfed.vertical.unfinished import UNFINISHED_FILE, check_finished
from psi.network import Progress, Terms
from psi.sessions import PairChoice, TableSession

if TYPE_CHECKING:
    from psi.network import Connection

__all__ = ["ScoredRows", "ScoringTerms", "score_rows"]

_Hex32 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]


class ScoringTerms(Terms, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What both companies must have alike to score rows.

    Attributes:
        model: Names the model of both halves.
        guest: Whether the label holder listens or connects.
        stage: Which conversation it is.
    """

    model: _Hex32
    guest: Literal["listens", "connects"]
    stage: Literal["align", "score"]


@dataclass(frozen=True)
class ScoredRows:
    """What the guest gets.

    Attributes:
        rows: Row numbers of its table, ascending.
        values: For each its score, in the label's own terms, or its class, 0 or 1.
    """

    rows: NDArray[np.intp] = field(repr=False)
    values: NDArray[np.float64] = field(repr=False)


def score_rows(
    half: Half,
    frame: pd.DataFrame,
    connection: Connection,
    *,
    guest_listens: bool,
    folder: Path,
    duplicates: Literal["error", "first"] = "error",
    charge: Callable[[int, int], None] | None = None,
    progress: Progress | None = None,
) -> ScoredRows | None:
    """Score the rows that both companies bring.

    Args:
        half: This company's.
        frame: Its new rows, text cells.
        connection: To the other company.
        guest_listens: Whether the guest is the side that listens.
        folder: Where the half lies; the host counts there what it answers.
        duplicates: What to do with an ID that repeats.
        charge: Counts what the other side asks of the intersection (`psi.ledger`).
        progress: Called with a stage, how much is done, and of how much.

    Returns:
        What the guest gets; None at the host.

    Raises:
        ConfigError: The table lacks a column, no row is common, or the training is not known to be
            done.
        BudgetExceededError: The host may not answer so many rows.
        PSIError: The other side is gone, or sent what is not acceptable.
    """
    check_finished(folder / UNFINISHED_FILE)
    missing = [name for name in half.id_columns if name not in frame.columns]
    if missing:
        raise ConfigError(f"the table has no column {', '.join(map(repr, missing))}: its ID")

    def terms(stage: Literal["align", "score"]) -> ScoringTerms:
        listens: Literal["listens", "connects"] = "listens" if guest_listens else "connects"
        return ScoringTerms(model=half.model, guest=listens, stage=stage)

    session = TableSession.prepare(
        frame,
        PairChoice(side="join" if half.role == "guest" else "serve", duplicates=duplicates),
        on=list(half.id_columns),
        normalise=half.normalise,
        progress=progress,
    )
    if charge is not None:
        session.party.charge_with(charge)
    connection.converse(session.party, terms("align"))
    rows = session.rows()
    if not len(rows):
        raise ConfigError("no row is common to both tables: compare how IDs are written")
    query = half.query(frame.iloc[rows].reset_index(drop=True), progress=progress)
    if isinstance(query, AnsweringQuery):
        answered = Answered(folder / ANSWERED_FILE, half.model, half.predictions)
        query.charge_with(answered.charge)
    connection.converse(query, terms("score"))
    if not isinstance(query, AskingQuery):
        return None
    order = np.argsort(rows)
    values = query.scores[order]
    if half.answers == "score":
        values = half.scale.scores(values, half.family)
    return ScoredRows(rows[order], values)
