"""How people write numbers: 1200.5, $1,050, 1.050,00 €, 5 %, 17.03.2025, yes and no."""

from __future__ import annotations

import math
import re
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Literal, get_args

from privfed.errors import ConfigError

NumberKind = Literal["number", "date", "yes-no"]
Decimal = Literal[".", ","]

WORDS = {"no": 0.0, "yes": 1.0, "false": 0.0, "true": 1.0, "n": 0.0, "y": 1.0, "f": 0.0, "t": 1.0}
DATES = (
    *("%Y-%m-%d", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y/%m/%d"),
    *("%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y"),
)
_DIRECTIVES = frozenset("YmdHMS")
_CURRENCIES = frozenset(
    {
        *("AUD", "BRL", "CAD", "CHF", "CNY", "CZK", "DKK", "EUR", "GBP", "HUF", "INR", "JPY"),
        *("KRW", "MXN", "NOK", "NZD", "PLN", "SEK", "TRY", "USD", "ZAR", "Fr.", "Kč", "kr", "zł"),
    }
)
# Digits, in threes or not, and a fraction; a group of threes does not begin with 0.
_GROUPED: dict[Decimal, re.Pattern[str]] = {
    ".": re.compile(r"(\d+|[1-9]\d{0,2}([ ,'’])\d{3}(?:\2\d{3})*)(\.\d+)?"),
    ",": re.compile(r"(\d+|[1-9]\d{0,2}([ .'’])\d{3}(?:\2\d{3})*)(,\d+)?"),
}
_AMOUNT = re.compile(r"[-+(]*([^\d\s.,'’+()-]*\.?)\s*[-+]?\d[\d.,'’ ]*?\s*([^\d\s.,'’+()-]*\.?)\)?")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = 86_400.0


def parse_number(text: str) -> float:
    """Read a finite number as programs write it; NaN where the text is no number."""
    try:
        number = float(text)
    except ValueError:
        return math.nan
    return number if math.isfinite(number) and "_" not in text else math.nan


def unit_of(text: str) -> str:
    """Return the currency or percent sign of an amount; "" where it has none."""
    found = _AMOUNT.fullmatch(_plain(text))
    signs = [sign for sign in found.groups() if sign] if found else []
    return signs[0] if len(signs) == 1 and _is_unit(signs[0]) else ""


def _is_unit(sign: str) -> bool:
    currency = sign in _CURRENCIES or (len(sign) == 1 and unicodedata.category(sign) == "Sc")
    return currency or sign == "%"


@dataclass(frozen=True)
class Notation:
    """How the numbers of one column are written; part of its public description.

    Attributes:
        kind: "number"; "date", which counts as days since 1970; "yes-no", which counts as 1 or 0.
        decimal: The decimal mark of a number, "." or ",". The other one, blanks and apostrophes may
            part its digits in threes.
        unit: The currency or percent sign that a number may bear, such as "€". Beside amounts
            without "%" none with it is read, and the other way about.
        date: The form of a date, of %Y, %m, %d, %H, %M and %S.

    Raises:
        ConfigError: On construction, there is no such notation.
    """

    kind: NumberKind = "number"
    decimal: Decimal = "."
    unit: str = ""
    date: str = ""

    def __post_init__(self) -> None:
        for name, value, known in (
            ("kind", self.kind, get_args(NumberKind)),
            ("decimal mark", self.decimal, get_args(Decimal)),
        ):
            if value not in known:
                raise ConfigError(f"{value!r} is no {name}: take one of {', '.join(known)}")
        if self.unit and not _is_unit(self.unit):
            raise ConfigError(
                f"{self.unit!r} is no unit that can be read: take a currency sign or %, or none"
            )
        directives = re.findall("%(.)", self.date)
        whole = {"Y", "m", "d"} <= set(directives) <= _DIRECTIVES
        if (self.kind == "date") != bool(self.date) or (self.date and not whole):
            raise ConfigError(
                f"{self.date!r} is no form of a date: write one such as %d.%m.%Y, of %Y, %m, %d, "
                "%H, %M and %S"
            )
        if len(set(directives)) < len(directives):
            raise ConfigError(f"{self.date!r} names a part of a date twice: name each once")

    def read(self, text: str) -> float:
        """Return a cell's number; NaN where it is none in this notation."""
        if self.kind == "yes-no":
            return WORDS.get(_plain(text).casefold(), math.nan)
        if self.kind == "date":
            return self._day(text)
        as_programs_do = not self.unit and (self.decimal == "." or "." not in text)
        number = parse_number(text) if as_programs_do else math.nan
        return self._amount(_plain(text)) if math.isnan(number) else number

    def written(self, number: float) -> str:
        """Return a number of this column in words; a date as 2025-03-17."""
        if self.kind == "yes-no":
            return "yes" if number == 1 else "no" if number == 0 else f"{number:g}"
        if self.kind == "date":
            moment = _EPOCH + timedelta(days=number)
            return moment.date().isoformat() if number % 1 == 0 else moment.isoformat(" ")[:19]
        return f"{number:.10g}"

    @property
    def words(self) -> str:
        """How it is not what programs write; "" if it is."""
        if self.kind == "date":
            return f"dates as {self.date}, counted in days"
        parts = ["decimal comma"] * (self.decimal == ",") + [f"in {self.unit}"] * bool(self.unit)
        return ", ".join(parts)

    def _day(self, text: str) -> float:
        if len(text) > self._longest:
            return math.nan
        try:
            moment = datetime.strptime(text, self.date)
        except ValueError:
            return math.nan
        return (moment.replace(tzinfo=UTC) - _EPOCH).total_seconds() / _DAY

    @cached_property
    def _longest(self) -> int:
        """The most characters of a date: what is longer need not be parsed."""
        return len(self.date.replace("%Y", "YYYY"))

    def _amount(self, bare: str) -> float:
        negative = bare.startswith("(") and bare.endswith(")")  # as accounts write what is owed
        bare = bare[1:-1].strip() if negative else bare
        if self.unit:
            if self.unit == "%" and "%" not in bare:
                return math.nan
            signed = bare[:1] in ("-", "+")
            before, bare = (bare[0], bare[1:].strip()) if signed else ("", bare)
            trimmed = bare.removeprefix(self.unit)
            bare = before + (bare.removesuffix(self.unit) if trimmed == bare else trimmed).strip()
        negative, bare = negative ^ bare.startswith("-"), bare.removeprefix("-").removeprefix("+")
        found = _GROUPED[self.decimal].fullmatch(bare)
        if found is None:
            return math.nan
        number = float(re.sub(r"\D", "", found[1]) + (found[3] or "").replace(",", "."))
        return math.nan if math.isinf(number) else -number if negative else number


PLAIN = Notation()  # as programs write numbers


def _plain(text: str) -> str:
    """Return a text with each kind of blank and minus as the usual one."""
    return unicodedata.normalize("NFKC", text).replace("\u2212", "-").strip()
