"""`Dress Sales`: cumulative sales of the same dresses on 23 dates, in the same row order."""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import date, timedelta

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from privfed.data.cleaning import Change, CleaningReport, clean_ids
from privfed.data.files import frame_sha256, read_text_table
from privfed.data.schema import fold, shown
from privfed.errors import ConfigError

_EXCEL_EPOCH = date(1899, 12, 30)
_SPELLED_DATE = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})")  # day first, as UCI writes it
_ISO_DATE = re.compile(r"(\d{4})-(\d{2})-(\d{2})( 00:00:00)?")
_EXCEL_DATE = re.compile(r"[3-5]\d{4}")
_COUNT = re.compile(r"(\d{1,15})(\.0)?")


@dataclass(frozen=True, eq=False)
class SalesTable:
    """Clean cumulative sales. Its repr shows no row.

    Attributes:
        ids: (n,) Dress_IDs, in the order of the attribute table; they repeat as there.
        dates: The d dates, ascending.
        cumulative: (n, d) float64 pieces sold up to each date, NaN where the file has no number.
            Some fall from one date to the next (returns); they are kept as they are.
        cleaning: What was changed, header and cells.
        sha256: Hash of the bytes read, or of the canonical CSV of the surrogate.
    """

    ids: NDArray[np.str_] = field(repr=False)
    dates: tuple[date, ...]
    cumulative: NDArray[np.float64] = field(repr=False)
    cleaning: CleaningReport = field(repr=False)
    sha256: str


def read_sales(path: str | os.PathLike[str]) -> SalesTable:
    """Return UCI's `Dress Sales`, read as CSV or XLSX.

    Args:
        path: The file.

    Raises:
        ConfigError: The file cannot be read, has no Dress_ID, or a header is no date.
    """
    table = read_text_table(path)
    return parse_sales(table.frame, sha256=table.sha256, where=str(path))


def parse_sales(
    raw: pd.DataFrame, *, sha256: str | None = None, where: str = "the table"
) -> SalesTable:
    """Return a raw sales table, such as the surrogate's, cleaned.

    A cell that is not a whole number (empty, `Orders`, `Removed`) becomes NaN. In a date cell of a
    spreadsheet, day and month may be exchanged. Of both readings that are later than the date
    before, the earlier one is taken. If no reading is later, the date gets the year of the date
    before (one is `8/10/2010`). What was changed is reported.

    Args:
        raw: Text cells; Dress_ID first, then one column a date; nameless empty columns are left
            out.
        sha256: Hash of the bytes read; None takes that of the table's canonical CSV.
        where: What to call the table in a message.

    Raises:
        ConfigError: There is no Dress_ID, or a header is no date.
    """
    if sha256 is None:
        sha256 = frame_sha256(raw)
    header = [str(name) for name in raw.columns]
    if not header or fold(header[0]) != "dressid":
        raise ConfigError(f"{where} does not begin with Dress_ID: give UCI's “Dress Sales” file")
    cells = raw.to_numpy(dtype=str)
    named = [i for i in range(1, len(header)) if header[i] or (cells[:, i] != "").any()]
    dates = _dates([header[i] for i in named], where)
    counts = np.full((len(raw), len(named)), np.nan)
    changes: list[Change] = []
    for column, i in enumerate(named):
        for text, rows in Counter(cells[:, i].tolist()).items():
            number = _COUNT.fullmatch(text)
            if number:
                counts[cells[:, i] == text, column] = int(number[1])
            elif text:
                day = dates[column].isoformat()
                changes.append(Change(day, str(text), "missing", None, rows, known=False))
    missing = np.isnan(counts).sum(axis=0)
    return SalesTable(
        ids=clean_ids(cells[:, 0].tolist(), header[0]),
        dates=dates,
        cumulative=counts,
        cleaning=CleaningReport(
            rows=len(raw),
            renamed_columns={header[i]: d.isoformat() for i, d in zip(named, dates, strict=True)},
            missing={d.isoformat(): int(m) for d, m in zip(dates, missing, strict=True) if m},
            changes=tuple(changes),
        ),
        sha256=sha256,
    )


def _dates(headers: list[str], where: str) -> tuple[date, ...]:
    """Read the headers as ascending dates: each the earliest reading after the one before."""
    dates: list[date] = []
    for header in headers:
        readings = [day for day in _readings(header) if day]
        later = [day for day in readings if not dates or day > dates[-1]]
        if not later:
            same_year = [_at(dates[-1].year, day.month, day.day) for day in readings]
            later = [day for day in same_year if day and day > dates[-1]]
        if not later:
            raise ConfigError(
                f"{where} has the column {shown(header)}, which is no date after the one before: "
                "head each column of sales with its date, such as 29/8/2013, in order"
            )
        dates.append(min(later) if dates else later[0])  # the first is read as written
    if not dates:
        raise ConfigError(f"{where} has no column of sales beside Dress_ID")
    return tuple(dates)


def _readings(header: str) -> list[date | None]:
    """List what a header can mean, the likeliest first."""
    if found := _SPELLED_DATE.fullmatch(header):
        day, month, year = map(int, found.groups())
        return [_at(year, month, day)]
    if found := _ISO_DATE.fullmatch(header):
        year, month, day = map(int, found.groups()[:3])
    elif _EXCEL_DATE.fullmatch(header):
        serial = _EXCEL_EPOCH + timedelta(days=int(header))
        year, month, day = serial.year, serial.month, serial.day
    else:
        return []
    return [_at(year, month, day), _at(year, day, month)]


def _at(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None
