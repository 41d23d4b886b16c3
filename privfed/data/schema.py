"""What a table's columns mean: the code table (the paper's Figure 5), public ranges, header names.

A `Schema` is public: every party and the server know it before anyone trains. Nothing in it is
fitted on one party's rows. Codes of a text column run

    0                missing
    1 … k            its categories, in order
    k + 1            other: a value the table does not know
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from privfed.data.notation import PLAIN, Notation
from privfed.errors import ConfigError

MISSING_CODE = 0
MISSING_WORDS = frozenset({"", "null", "nan", "na", "n/a", "?"})


def fold(text: str) -> str:
    """Reduce a spelling to what is compared: Unicode NFKC without case, spaces, `_` and `-`."""
    if text.isascii() and text.isalnum():
        return text.lower()  # the same, and quick: tables have a million such cells
    return re.sub(r"[\s_\-]+", "", unicodedata.normalize("NFKC", text).casefold())


def shown(text: object) -> str:
    """Quote untrusted text for a message: one line, at most about 40 characters."""
    quoted = repr(str(text))
    return quoted if len(quoted) <= 42 else quoted[:38] + "…'"


def named(headers: Sequence[str]) -> str:
    """Quote a table's headers for a message, without the rest of many."""
    return ", ".join(map(shown, headers[:12])) + (" …" if len(headers) > 12 else "")


@dataclass(frozen=True)
class CategoricalColumn:
    """A text column with its part of the code table.

    Attributes:
        name: The header.
        categories: The categories in code order; the first has code 1.
        spellings: Further spellings and their codes, in the schema's normal form. A category's
            own name is always a spelling of it.
        ordinal: Whether the codes have an order (Low < High); else they are alphabetical.
    """

    name: str
    categories: tuple[str, ...]
    spellings: Mapping[str, int] = field(default_factory=dict)
    ordinal: bool = False

    def __post_init__(self) -> None:
        codes = range(self.num_codes)
        if not all(isinstance(code, int) and code in codes for code in self.spellings.values()):
            raise ConfigError(
                f"column {shown(self.name)} maps a spelling to a code that it does not have: "
                f"its codes are 0 to {self.other_code}"
            )

    @property
    def other_code(self) -> int:
        """The code of a value that the table does not know."""
        return len(self.categories) + 1

    @property
    def num_codes(self) -> int:
        """Codes in all: missing, each category, other."""
        return len(self.categories) + 2

    def meaning(self, code: int) -> str:
        """Return in words what a code stands for."""
        if code == MISSING_CODE:
            return "missing"
        return "other" if code == self.other_code else self.categories[code - 1]


@dataclass(frozen=True)
class NumericColumn:
    """A numeric column with its public range.

    Attributes:
        name: The header.
        low: The least value; what is below is clipped to it.
        high: The greatest value; what is above is clipped to it.
        optional: Whether a cell may be empty.
        missing_as: The number by which the source itself says "missing" (the dresses' Rating: 0).
        raw_codes: Whether the `codes` encoding keeps the number as written instead of scaling it.
        notation: How its numbers are written.
        missing_words: What says "missing" in this column, beside what does so in each.
    """

    name: str
    low: float
    high: float
    optional: bool = True
    missing_as: float | None = None
    raw_codes: bool = False
    notation: Notation = PLAIN
    missing_words: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        finite = math.isfinite(self.high - self.low) and math.isfinite(self.missing_as or 0.0)
        if not finite or self.low > self.high:
            raise ConfigError(
                f"column {shown(self.name)} has the range {self.low} to {self.high}: "
                "give a finite least and greatest value"
            )

    def is_missing(self, text: str) -> bool:
        """Return whether a cell says that there is no number."""
        return (bare := fold(text)) in MISSING_WORDS or bare in map(fold, self.missing_words)


Column = CategoricalColumn | NumericColumn


@dataclass(frozen=True)
class Schema:
    """The columns of one kind of table.

    Attributes:
        columns: The feature columns, in the order in which they become features.
        id_column: The header of the row's ID; None where rows have none.
        label_column: The header of the label; None where rows have none.
        folded: Whether headers and spellings are compared folded (see `fold`). A user's own table
            is compared as written, since there "A-" and "A" may be two things.
        aliases: Further header spellings: alias to column name.
        ignored: Columns that a table may have and that are no features.
    """

    columns: tuple[Column, ...]
    id_column: str | None = None
    label_column: str | None = None
    folded: bool = False
    aliases: Mapping[str, str] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()

    def normal(self, text: str) -> str:
        """Return the form of a spelling or a header in which this schema compares it."""
        return fold(text) if self.folded else text.strip()

    @cached_property
    def _codes(self) -> dict[str, dict[str, int]]:
        """Each text column's spellings, in normal form, and their codes."""
        tables = {}
        for column in self.columns:
            if isinstance(column, CategoricalColumn):
                own = {self.normal(name): i for i, name in enumerate(column.categories, start=1)}
                tables[column.name] = {"other": column.other_code} | dict(column.spellings) | own
        return tables

    def code(self, column: CategoricalColumn, text: str) -> tuple[int, bool]:
        """Look a spelling up.

        Args:
            column: A text column of this schema.
            text: The cell as written.

        Returns:
            The code, and whether the table knows the spelling (an unknown one has the code of
            "other").
        """
        key = self.normal(text)
        known = self._codes[column.name].get(key)
        if known is not None:
            return known, True
        if fold(key) in MISSING_WORDS:
            return MISSING_CODE, True
        return column.other_code, False

    def code_table(self) -> list[tuple[str, int, str, tuple[str, ...]]]:
        """Return the code table: (column, code, meaning, further spellings), text columns only."""
        rows = []
        for column in self.columns:
            if not isinstance(column, CategoricalColumn):
                continue
            further: dict[int, list[str]] = {}
            for spelling, code in column.spellings.items():
                further.setdefault(code, []).append(spelling)
            rows += [
                (column.name, code, column.meaning(code), tuple(sorted(further.get(code, ()))))
                for code in range(column.num_codes)
            ]
        return rows

    def match_headers(self, headers: Sequence[str], *, label: bool, where: str) -> dict[str, str]:
        """Match a file's headers to this schema's columns.

        Args:
            headers: The headers as written.
            label: Whether the label column must be there.
            where: What to call the table in a message.

        Returns:
            Header as written to column name, for every header.

        Raises:
            ConfigError: A header is unknown, two mean the same column, or a column is absent.
        """
        features = [column.name for column in self.columns]
        extra = [name for name in (self.id_column, self.label_column) if name is not None]
        names = {self.normal(name): name for name in [*features, *extra, *self.ignored]}
        names |= {self.normal(alias): name for alias, name in self.aliases.items()}
        matched: dict[str, str] = {}
        found: set[str] = set()
        unknown = []
        for header in headers:
            name = names.get(self.normal(header))
            if name is None:
                unknown.append(header)
            elif name in found:
                raise ConfigError(f"{where} has the column {name} twice: remove one of them")
            else:
                matched[header] = name
                found.add(name)
        needed = [*features, self.label_column] if label and self.label_column else features
        absent = [name for name in needed if name not in found]
        if absent == [self.label_column]:
            raise ConfigError(
                f"{where} has no label column {self.label_column}: training needs the outcome of "
                "each row (name it as `label`, if it is called otherwise); to judge rows without "
                "one, use `predict`"
            )
        if absent:
            raise ConfigError(
                f"{where} has no column {_listed(absent)}; it must have {_listed(needed)}"
                + (f" (it has {_listed(list(headers))})" if headers else "")
            )
        if unknown:
            no_id = self.id_column is not None and self.id_column not in found
            raise ConfigError(
                f"{where} has the unknown column {_listed(unknown)}: remove it"
                f"{', or name it as `id_column`, if it is the ID' if no_id else ''}; "
                f"known are {_listed([*extra, *features])}"
            )
        return matched


def _listed(names: Iterable[str | None], limit: int = 16) -> str:
    """Join names for a message, without the rest of a long list."""
    parts = [str(name) if str(name).isprintable() else shown(name) for name in names]
    parts = [part if len(part) <= 40 else shown(part) for part in parts]
    more = f" and {len(parts) - limit} more" if len(parts) > limit else ""
    return ", ".join(parts[:limit]) + more
