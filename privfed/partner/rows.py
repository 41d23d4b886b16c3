"""A party's own table, encoded as the plan says."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from privfed.data import Dataset, NumericColumn, Schema
from privfed.data.dataset import DataKind, assemble
from privfed.data.files import read_text_table
from privfed.errors import ConfigError
from privfed.partner.plan import Plan
from privfed.training.builders import DRESS


def load_rows(
    path: Path,
    plan: Plan,
    place: int,
    label: str | None = None,
    ids: str | None = None,
    *,
    test: bool = False,
) -> Dataset:
    """Return the rows of a table; it stays untouched.

    Args:
        path: CSV, XLSX or Parquet.
        plan: How columns are understood.
        place: This party's.
        label: The label column's name in this table; None: as in the plan.
        ids: The ID column's name in this table; None: as in the plan.
        test: Whether they are not trained on; then the plan does not bound their number.

    Raises:
        ConfigError: The file cannot be read, columns do not fit, or there are more rows than the
            plan bounds, or others than its noise is made for.
    """
    table = read_text_table(path)
    encoder = plan.encoder_of_rows()
    kind: DataKind = "dresses" if plan.model == DRESS else "table"
    try:
        rows = assemble(
            _called_as_agreed(table.frame, encoder.schema, label, ids),
            encoder,
            kind=kind,
            name=Path(path).stem,
            source=f"own table, {Path(path).name}",
            sha256=table.sha256,
            classes=plan.labels,
            class_names=plan.classes,
            where="the table",
        )
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    private = plan.private
    if test:
        return rows
    if private is not None and len(rows) != private.rows[place]:
        raise ConfigError(
            f"{path} has {len(rows)} rows and the plan's noise is made for {private.rows[place]}, "
            "which all parties know: bring those, or make a plan anew"
        )
    if len(rows) > plan.most_rows:
        raise ConfigError(
            f"{path} has {len(rows)} rows and the plan allows {plan.most_rows}: agree on a plan "
            "with more"
        )
    return rows


def _called_as_agreed(
    frame: pd.DataFrame, schema: Schema, label: str | None, ids: str | None
) -> pd.DataFrame:
    """Return a table whose label and ID have the plan's names."""
    for name, given, agreed in (
        ("label", label, schema.label_column),
        ("id_column", ids, schema.id_column),
    ):
        if given is None or given == agreed:
            continue
        if given not in frame.columns:
            raise ConfigError(
                f"there is no column {given!r}: give `{name}` one of {', '.join(frame.columns)}"
            )
        if agreed is None:
            raise ConfigError(f"the plan has no ID column: remove {given!r} from the table")
        if agreed in frame.columns:
            raise ConfigError(
                f"`{name}` {given}: there is a column {agreed}, too, as the plan calls it: leave "
                f"that out, or remove the column {agreed}"
            )
        frame = frame.rename(columns={given: agreed})
    return frame


def remarks(rows: Dataset) -> list[str]:
    """Say what a table holds that the plan's columns do not; cells are counted, and not shown."""
    unknown = Counter[tuple[str, str]]()
    for change in rows.cleaning.unknown if rows.cleaning else ():
        column = next(each for each in rows.encoder.columns if each.name == change.column)
        taken = "in none of the plan's categories: taken as other"
        if isinstance(column, NumericColumn):
            low, high = map(column.notation.written, (column.low, column.high))
            taken = f"outside {low} to {high}: taken as the nearest of these"
            if change.meaning == "missing":
                taken = "without a number: taken as missing"
        unknown[column.name, taken] += change.rows
    said = [
        f"{name}: {cells} {'cell' if cells == 1 else 'cells'} {taken}"
        for (name, taken), cells in unknown.items()
    ]
    if len(rows.class_names) > (classes := len(np.unique(rows.labels))):
        said.append(f"rows of {classes} of {len(rows.class_names)} classes")
    return said


def leave_out(rows: Dataset, taken_out: NDArray[np.bool_] | None, *, private: bool) -> Dataset:
    """Return rows of which some are not trained on.

    Args:
        rows: A party's training rows.
        taken_out: (n,) those that another party trains on; None: none.
        private: Whether the rows' number is public, in a `PrivacyPlan`. Then all stay, and those
            taken out are NaN: a row whose gradient is not finite adds exactly nothing. A model that
            turns NaN into numbers would still train on their labels, with the same ε.

    Raises:
        ConfigError: The mask is of other rows, or leaves none where it may be known.
    """
    if taken_out is None:
        return rows
    if taken_out.shape != (len(rows),):
        raise ConfigError(f"{len(rows)} rows have an overlap of {taken_out.shape[0]}")
    if taken_out.all() and not private:  # that it stops would tell others of its rows
        raise ConfigError("other parties train on all of these rows: nothing is left to train on")
    if private:
        # Their places stay, too: which rows a coin draws does not depend on the overlap.
        features = np.where(taken_out[:, None], np.float32(np.nan), rows.features)
        return replace(rows, features=features)
    stays = ~taken_out
    ids = None if rows.ids is None else rows.ids[stays]
    return replace(rows, ids=ids, features=rows.features[stays], labels=rows.labels[stays])
