"""What the values of one column look like: a notation of numbers, an identifier, codes."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from privfed.data.notation import DATES, PLAIN, Decimal, Notation, parse_number, unit_of
from privfed.data.schema import shown

NEARLY_ALL = 0.95  # of the values differ: then they are an ID's
_FEWEST_IDS = 20  # values; of fewer it cannot be said
_FEW_NUMBERS = 10  # different ones, which may be codes
_SAMPLE = 500  # of a column's commonest values: what reads none of them is not its notation
_MOST_UNITS = 3
_DECIMALS: tuple[Decimal, ...] = (".", ",")
_CODE_WORDS = frozenset({"zip", "zipcode", "postcode", "postal", "plz", "code", "codes"})
_CODE = re.compile(r"0\d+")
_THREES = re.compile(r"[-+]?[1-9]\d{0,2}\.\d{3}")
_EMAIL = re.compile(r"[^\s@]+@[^\s@]+\.[^\s@]+")
_UUID = re.compile(r"\{?[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}\}?", re.IGNORECASE)
# Such as 1200, 12,5 and 1 200.50: digits, in threes or not, and a fraction.
_WRITTEN_NUMBER = re.compile(r"(\d+|\d{1,3}([ .,'’]\d{3})+)([.,]\d+)?")


class Doubt(NamedTuple):
    """What a column of numbers may be besides: of another notation, or of categories (None)."""

    clause: str
    rival: Notation | None


def notations(values: Counter[str]) -> list[Notation]:
    """Return the notation that reads most cells, and then each that reads as many otherwise.

    Args:
        values: How many cells say what; none that says "missing".

    Returns:
        Nothing where no cell is a number in any notation.
    """
    if all(not math.isnan(parse_number(value)) for value in values):
        return [PLAIN] if values else []
    read = _readings(values)
    counts = {each: _total(values, of.__contains__) for each, of in read.items()}
    most = max(counts.values(), default=0)
    found = [each for each, count in counts.items() if count == most]
    if not found:
        return []
    best, *others = found
    if best == PLAIN and not any(math.isnan(parse_number(value)) for value in read[best]):
        return [best]  # as programs write them
    rivals = [each for each in others if read[each] != read[best]]
    if len(rivals) == 1 and best.unit not in ("", "%"):
        # An amount of money has no three decimals: thousands it is, where one reads all as more.
        for one, other in ((best, rivals[0]), (rivals[0], best)):
            if all(abs(read[one].get(v, 0)) >= abs(x) for v, x in read[other].items()):
                return [one]
    return [best, *rivals]


def _readings(values: Counter[str]) -> dict[Notation, dict[str, float]]:
    """Return by notation what it reads; nothing of one that reads none of the commonest values."""
    sample = [value for value, _ in values.most_common(_SAMPLE)]
    units = Counter(unit for value in sample if (unit := unit_of(value)))
    candidates = [
        Notation(kind="yes-no"),
        *(
            Notation(decimal=decimal, unit=unit)
            for unit in ("", *(unit for unit, _ in units.most_common(_MOST_UNITS)))
            for decimal in _DECIMALS
        ),
        *(Notation(kind="date", date=date) for date in DATES),
    ]
    likely = [
        each for each in candidates if not all(math.isnan(each.read(value)) for value in sample)
    ]
    return {
        each: {value: x for value in values if not math.isnan(x := each.read(value))}
        for each in likely
    }


def holds_numbers(values: Counter[str], read: dict[str, float]) -> bool:
    """Return whether most cells, or most of the different values, are numbers somehow written.

    Args:
        values: How many cells say what.
        read: Those that the best notation reads.
    """
    total = cells = values.total()
    texts = len(values)  # these and the cells may still be numbers
    for value, count in values.items():
        if value not in read and not _is_like_a_number(value):
            cells, texts = cells - count, texts - 1
            if 2 * cells <= total and 2 * texts <= len(values):
                return False
    return bool(values)


def _is_like_a_number(text: str) -> bool:
    """Return whether a text is a number in any notation, unlike 10-20 and 3XL."""
    if text.isascii() and text[:1].isalpha():
        return False
    bare = unicodedata.normalize("NFKC", text)
    around = {mark for mark in bare if unicodedata.category(mark) in ("Sc", "Sm", "Zs")}
    bare = bare.strip("".join(around) + "%?*()-")
    return not math.isnan(parse_number(text)) or _WRITTEN_NUMBER.fullmatch(bare) is not None


def doubt(name: str, found: list[Notation], read: dict[str, float]) -> Doubt | None:
    """Return what may be meant otherwise by a column of numbers; None where there is no doubt.

    Args:
        name: The column's name.
        found: What `notations` returned.
        read: What the first of them reads.
    """
    best, *rivals = found
    if rivals:
        rival = rivals[0]
        text = next(v for v in read if rival.read(v) != read[v])
        if math.isnan(other := rival.read(text)):
            return Doubt("its cells are in two notations, each as often", rival)
        return Doubt(
            f"{shown(text)} may be {best.written(read[text])} or {rival.written(other)}", rival
        )
    if best != PLAIN:
        return None
    if all(value.isdecimal() for value in read):
        code = next(filter(_CODE.fullmatch, read), None)
        if code is not None:
            return Doubt(f"{shown(code)} may be a code, and no number", None)
        words = re.split(r"[^a-z]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", name).casefold())
        if _CODE_WORDS & set(words):
            return Doubt("its whole numbers may be codes, by its name", None)
    marked = [value for value in read if "." in value]
    if 3 <= len(marked) < len(read) and all(map(_THREES.fullmatch, marked)):
        rival, text = Notation(decimal=","), marked[0]
        return Doubt(f"{shown(text)} may be {read[text]:g} or {rival.read(text):g}", rival)
    return None


def remark(best: Notation, values: Counter[str], read: dict[str, float]) -> str:
    """Say what else numbers may be, where that is not worth a question; "" for nothing."""
    if best.kind != "number":
        return ""
    dotted = [value for value in read if "." in value]
    if best == PLAIN and dotted and all(map(_THREES.fullmatch, dotted)):
        return "decimal point, though each has three decimals"
    whole = all(number % 1 == 0 for number in read.values())
    if whole and 2 < len(read) <= _FEW_NUMBERS < values.total() / 2:
        return "few different numbers: if they are codes, they are categories"
    return ""


def identifier(values: Counter[str]) -> str:
    """Return what kind of identifier texts are; "" if they are none."""
    if values.total() < _FEWEST_IDS:
        return ""
    for what, pattern in (("e-mail addresses", _EMAIL), ("UUIDs", _UUID)):
        if _nearly_all(values, pattern.fullmatch):
            return what
    return "texts that nearly all differ" if differ(values) else ""


def differ(values: Counter[str]) -> bool:
    """Return whether nearly all values differ, as those of an ID do."""
    return values.total() >= _FEWEST_IDS and len(values) >= NEARLY_ALL * values.total()


def _nearly_all(values: Counter[str], counted: Callable[[str], object]) -> bool:
    """Return whether nearly all cells have a value that is counted."""
    total = values.total()
    most = total - NEARLY_ALL * total
    without = 0
    for value, n in values.items():
        without += 0 if counted(value) else n
        if without > most:
            return False
    return True


def _total(values: Counter[str], counted: Callable[[str], object]) -> int:
    """Count the cells whose value is counted."""
    return sum(n for value, n in values.items() if counted(value))
