"""How the columns of the data were understood, in a sentence or two and a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from privfed.data.understood import HEAD, WORDS, UnderstoodColumn, rows_of
from privfed.report.view import View
from privfed.report.words import count, listing
from privfed.table import Table

_MOST_ROWS = 24  # of a table that is not folded


def understood_values(view: View) -> Mapping[str, Any] | None:
    """Return what the part on columns shows; None where results do not say."""
    columns = view.columns
    if not columns:
        return None
    return {
        "said": _said(columns),
        "table": Table(HEAD, rows_of(columns), words=WORDS),
        "folded": view.kind != "table" or len(columns) > _MOST_ROWS,
    }


def _said(columns: Sequence[UnderstoodColumn]) -> str:
    kinds = Counter(each.kind for each in columns if each.role == "feature")
    parts = [f"{number} {_ADJECTIVES.get(kind, kind)}" for kind, number in kinds.items()]
    missing, odd = sum(each.missing for each in columns), sum(each.odd for each in columns)
    without = f"{count(missing, 'cell')} {'is' if missing == 1 else 'are'} empty"
    if odd:
        without += f"; {count(odd, 'odd cell')} {'is' if odd == 1 else 'are'} taken as missing"
    said = f"{count(kinds.total(), 'column')} to learn from: {listing(parts)}. {without}."
    left_out = [each.name for each in columns if each.role == "ignore"]
    return said + (f" Left out: {listing(left_out)}." if left_out else "")


_ADJECTIVES = {
    "number": "numeric",
    "date": "of dates",
    "yes-no": "of yes or no",
    "categories": "categorical",
}
