"""What the columns of a table are, in a TOML file: written from readings, changed by hand."""

from __future__ import annotations

import datetime
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec

from privfed.data.labels import LARGEST
from privfed.data.notation import Decimal, Notation, NumberKind
from privfed.data.schema import (
    MISSING_CODE,
    CategoricalColumn,
    Column,
    NumericColumn,
    Schema,
    shown,
)
from privfed.data.understanding import ColumnReading, Role
from privfed.errors import ConfigError
from psi.storage import json_as

__all__ = ["SchemaFile", "schema_text"]

_MOST_BYTES = 1 << 24
_EPOCH = datetime.date(1970, 1, 1)
_CHOICES: Mapping[str, Sequence[str]] = {
    "role": get_args(Role),
    "kind": (*get_args(NumberKind), "categories"),
    "decimal": get_args(Decimal),
}
_KEYS: Mapping[str, frozenset[str]] = {  # beside role and kind
    "number": frozenset({"decimal", "unit", "range", "missing"}),
    "date": frozenset({"date", "range", "missing"}),
    "yes-no": frozenset({"missing"}),
    "categories": frozenset({"categories", "missing"}),
}
_OF_LABELS = frozenset({"role", "kind", "categories", "decimal", "unit", "range"})
_HEAD = """\
# How the columns of {source} are understood. Change what is wrong; then this file is the schema.
# Whoever learns with you may see it: columns, categories and ranges count as public.
#
# role        feature (learn from it), label, id, or ignore
# kind        number, date, yes-no, or categories; of a label categories (its classes) or number
# decimal     the decimal mark of a number: "." or ","
# unit        the currency sign or "%" that numbers bear
# date        how dates are written, such as "%d.%m.%Y"
# range       the least and the greatest value; what lies outside counts as the nearest of these
# categories  all of them; any other value counts as "other". Of a label: its classes in order
# missing     words for "no value", beside an empty cell, null, nan, na, n/a and ?
"""


_Bound = float | datetime.date


class _ColumnFields(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One table of the file."""

    role: Role = "feature"
    kind: Literal["number", "date", "yes-no", "categories"] | None = None
    decimal: Decimal = "."
    unit: str = ""
    date: str = ""
    range: tuple[_Bound, _Bound] | None = None
    categories: tuple[str, ...] | None = None
    missing: tuple[str, ...] = ()


class _FileFields(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    columns: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class SchemaFile:
    """What a schema file says.

    Attributes:
        where: What to call it in a message.
        roles: What each column is for, in the file's order.
        columns: Its features.
        classes: The label's classes in order; empty where the file does not say them.
        number: What number the label is; None where it is classes.
    """

    where: str
    roles: Mapping[str, Role]
    columns: Mapping[str, Column]
    classes: tuple[str, ...] = ()
    number: NumericColumn | None = None

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> SchemaFile:
        """Return what a file says.

        Raises:
            ConfigError: It cannot be read, is no TOML, has an unknown key or a wrong value, or
                leaves a choice open; the message names the key.
        """
        where = Path(path).name
        try:
            with Path(path).open("rb") as file:
                content = file.read(_MOST_BYTES + 1)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "no path of a file"
            raise ConfigError(
                f"the schema file {shown(path)} cannot be read ({reason}): write one with "
                "`inspect_table`, and give its path as `schema`"
            ) from None
        if len(content) > _MOST_BYTES:
            raise ConfigError(f"{where} has more than {_MOST_BYTES} bytes: it is no schema file")
        try:
            columns = json_as(tomllib.loads(content.decode()), _FileFields, where).columns
            fields = {name: _fields(f"{where}, [columns.{_key(name)}]", plain)
                      for name, plain in columns.items()}  # fmt: skip
        except ConfigError:
            raise
        except (ValueError, RecursionError) as error:
            said = str(error).removeprefix(f"{where}: ")
            raise ConfigError(f"{where}: {said}: write it anew with `inspect_table`") from None
        roles = {name: each.role for name, each in fields.items()}
        for role in ("label", "id"):
            named = [name for name, each in roles.items() if each == role]
            if len(named) > 1:
                raise ConfigError(
                    f"{where} gives the role {role} to {' and '.join(map(shown, named))}: give it "
                    "to one"
                )
        features = {
            name: _column(f"{where}, [columns.{_key(name)}]", name, each)
            for name, each in fields.items()
            if each.role == "feature"
        }
        classes, number = next(
            (
                _label(f"{where}, [columns.{_key(name)}]", name, each)
                for name, each in fields.items()
                if each.role == "label"
            ),
            ((), None),
        )
        return cls(where, roles, features, classes, number)

    def name_of(self, role: Role) -> str | None:
        """Return the column of a role; None where there is none."""
        return next((name for name, each in self.roles.items() if each == role), None)

    def without(self, name: str | None) -> SchemaFile:
        """Return what the file says of the other columns."""
        roles = {each: role for each, role in self.roles.items() if each != name}
        return replace(
            self, roles=roles, columns={n: c for n, c in self.columns.items() if n in roles}
        )

    def require_classes(self, purpose: str) -> None:
        """Refuse a label that is a number, for a purpose that takes classes alone.

        Args:
            purpose: What takes them; the error message begins with it.

        Raises:
            ConfigError: The label is a number.
        """
        if self.number is not None:
            raise ConfigError(
                f"{purpose} takes classes, and {self.where} says that the label "
                f"{shown(self.number.name)} is a number: make a few classes of its values"
            )

    def check(
        self, headers: Sequence[str], table: str, *, label: str | None, id_column: str | None
    ) -> None:
        """Check that the file describes each column of a table, and no other.

        Raises:
            ConfigError: It does not, or names another label or ID than is given.
        """
        for name in headers:
            if name not in self.roles:
                raise ConfigError(
                    f"{self.where} does not describe column {shown(name)} of {table}: add "
                    f'[columns.{_key(name)}], with role = "ignore" to leave it out'
                )
        for name in self.roles:
            if name not in headers:
                raise ConfigError(
                    f"{self.where} describes a column {shown(name)}, which {table} has not: "
                    "take it out"
                )
        roles: tuple[tuple[str, Role, str | None], ...] = (
            ("label", "label", label), ("id_column", "id", id_column),
        )  # fmt: skip
        for option, role, given in roles:
            if given is not None and given != self.name_of(role):
                raise ConfigError(
                    f"{self.where} does not give column {shown(given)} the role {role}: change it "
                    f"there, or leave `{option}` out"
                )

    def schema(self) -> Schema:
        """Return the public description of the columns, in the file's order.

        Raises:
            ConfigError: No column is a feature.
        """
        if not self.columns:
            raise ConfigError(f"{self.where} has no column with the role feature: add one")
        return Schema(
            tuple(self.columns.values()),
            id_column=self.name_of("id"),
            label_column=self.name_of("label"),
            ignored=tuple(name for name, role in self.roles.items() if role == "ignore"),
        )


def schema_text(readings: Iterable[ColumnReading], source: str) -> str:
    """Return the schema file that says what readings say; what they ask is to be filled in.

    Args:
        readings: The readings of all columns of a table.
        source: What to call the table in the file's first line.
    """
    parts = [_HEAD.format(source=_printable(source))]
    for reading in readings:
        lines = [f"[columns.{_key(reading.name)}]", *_lines(reading)]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _lines(reading: ColumnReading) -> Iterator[str]:
    """Yield the keys of a column; where something has to be chosen, each choice as a comment."""
    if not reading.options:
        if said := reading.question or reading.done:
            yield f"# {_printable(said)}"
        yield f"role = {_text(reading.role)}"
        if reading.classes:
            yield f"categories = {_list(reading.classes)}"
        if (column := reading.column or reading.number) is not None:
            yield from _column_lines(column)
        return
    yield f"# {_printable(reading.question)}"
    if reading.role == "label":
        yield 'role = "label"'
    yield "# To choose, take the # away from the lines of one:"
    for number, option in enumerate(reading.options):
        if number:
            yield "# or"
        lines = [f"role = {_text(option)}"] if isinstance(option, str) else _column_lines(option)
        yield from (f"#{line}" for line in lines)
        if isinstance(option, NumericColumn) and reading.odd:
            odd = dict.fromkeys(cell for cell, _ in reading.first_odd)
            yield f"#missing = {_list(odd)}"


def _column_lines(column: Column) -> Iterator[str]:
    """Yield the keys that describe a feature, each on one line."""
    if isinstance(column, CategoricalColumn):
        yield 'kind = "categories"'
        yield from f"categories = {_list(column.categories)}".splitlines()
        return
    notation = column.notation
    yield f"kind = {_text(notation.kind)}"
    if notation.kind == "number":
        yield f"decimal = {_text(notation.decimal)}"
        if notation.unit:
            yield f"unit = {_text(notation.unit)}"
        yield f"range = [{_number(column.low)}, {_number(column.high)}]"
    elif notation.kind == "date":
        yield f"date = {_text(notation.date)}"
        yield f"range = [{_day(column.low)}, {_day(column.high, up=True)}]"


def _fields(where: str, plain: dict[str, Any]) -> _ColumnFields:
    """Return one table of the file.

    Raises:
        ConfigError: A key is unknown, has no such value, or does not belong to the role.
    """
    for key, value in plain.items():
        if key not in _ColumnFields.__struct_fields__:
            raise ConfigError(
                f"{where} has the unknown key {shown(key)}: known are "
                f"{', '.join(_ColumnFields.__struct_fields__)}"
            )
        choices = _CHOICES.get(key)
        if choices is not None and value not in choices:
            raise ConfigError(
                f"{where}: {key} = {shown(value)} is none of {', '.join(map(_text, choices))}"
            )
    try:
        found = json_as(plain, _ColumnFields, "")
    except ValueError as error:
        raise ConfigError(f"{where}: {str(error).lstrip('.: ')}") from None
    known = {"feature": set(plain), "label": _OF_LABELS}.get(found.role, {"role"})
    if extra := sorted(plain.keys() - known):
        raise ConfigError(
            f"{where}: {extra[0]} does not belong to the role {found.role}: take it out"
        )
    return found


def _label(
    where: str, name: str, fields: _ColumnFields
) -> tuple[tuple[str, ...], NumericColumn | None]:
    """Return a label's classes, empty where they are not said, or what number it is.

    Raises:
        ConfigError: It is of another kind, or a key does not belong to it.
    """
    if fields.kind is None or fields.kind == "categories":
        if extra := sorted(_given(fields) - {"categories"}):
            raise ConfigError(
                f"{where}: {extra[0]} does not belong to a label of classes: take it out, or say "
                'kind = "number"'
            )
        return fields.categories or (), None
    if fields.kind != "number":
        raise ConfigError(
            f"{where}: a label's kind is categories or number, not {fields.kind}: make a few "
            "classes of its values"
        )
    number = _column(where, name, fields)
    if not isinstance(number, NumericColumn) or not -LARGEST <= number.low < number.high <= LARGEST:
        raise ConfigError(
            f"{where}: a label's range is two different numbers between ±{LARGEST:g}: say the "
            "least and the greatest value"
        )
    return (), number


def _given(fields: _ColumnFields) -> set[str]:
    usual = _ColumnFields()
    names = ("decimal", "unit", "date", "range", "categories", "missing")
    return {name for name in names if getattr(fields, name) != getattr(usual, name)}


def _column(where: str, name: str, fields: _ColumnFields) -> Column:
    """Return a feature.

    Raises:
        ConfigError: A key is absent, or does not belong to its kind.
    """
    kind = fields.kind
    if kind is None:
        kinds = ", ".join(map(_text, _CHOICES["kind"]))
        raise ConfigError(
            f"{where} is a feature and has no kind: choose what the comment there asks, or say "
            f"one of {kinds}"
        )
    if extra := sorted(_given(fields) - _KEYS[kind]):
        raise ConfigError(f"{where}: {extra[0]} does not belong to the kind {kind}: take it out")
    if kind == "categories":
        return _categories(where, name, fields)
    if kind == "yes-no":
        low, high = 0.0, 1.0
    elif fields.range is None:
        raise ConfigError(f"{where} has no range: say the least and the greatest value")
    else:
        low, high = (_bound(where, kind, each) for each in fields.range)
    try:
        notation = Notation(kind, fields.decimal, fields.unit, fields.date)
        return NumericColumn(name, low, high, notation=notation, missing_words=fields.missing)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


def _categories(where: str, name: str, fields: _ColumnFields) -> CategoricalColumn:
    categories = fields.categories
    if not categories:
        raise ConfigError(f"{where} has no categories: list all of them")
    if twice := sorted({each for each in categories if categories.count(each) > 1}):
        raise ConfigError(f"{where} has the category {shown(twice[0])} twice: name each once")
    both = sorted(set(categories) & set(fields.missing))
    if both:
        raise ConfigError(f"{where} has {shown(both[0])} as a category and as missing: choose")
    return CategoricalColumn(
        name, categories, {word.strip(): MISSING_CODE for word in fields.missing}
    )


def _bound(where: str, kind: str, value: _Bound) -> float:
    if isinstance(value, datetime.date) != (kind == "date"):
        like = "dates such as 2025-03-17" if kind == "date" else "numbers"
        raise ConfigError(f"{where}: the range of a {kind} is two {like}, without quotation marks")
    return float((value - _EPOCH).days) if isinstance(value, datetime.date) else value


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _text(name)


def _text(value: str) -> str:
    """Write a text as TOML does, on one line."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + re.sub(r"[\x00-\x1f\x7f]", lambda at: f"\\u{ord(at[0]):04x}", escaped) + '"'


def _list(values: Iterable[str]) -> str:
    """Write texts, several a line where they are many."""
    words = [_text(value) for value in values]
    if sum(map(len, words)) <= 80:
        return f"[{', '.join(words)}]"
    lines = [", ".join(words[start : start + 6]) for start in range(0, len(words), 6)]
    return "[\n  " + ",\n  ".join(lines) + ",\n]"


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)


def _day(value: float, *, up: bool = False) -> str:
    return (_EPOCH + datetime.timedelta(days=int(-(-value // 1) if up else value // 1))).isoformat()


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() else " " for each in text)
