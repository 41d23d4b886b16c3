"""Numbers for readers: one place for digits, units and the dash of a missing value."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeGuard

from privfed.experiment.measures import MeasureName
from privfed.rounding import as_given, at_most, outwards

MISSING = "–"
_NBSP = "\u00a0"


def present(value: float | None) -> TypeGuard[float]:
    """Return whether this is a finite number; results hold None for what was not measured."""
    return value is not None and math.isfinite(value)


def percent(value: float | None) -> str:
    """Return a fraction in [0, 1] as a percentage with one decimal."""
    return f"{value * 100:.1f}{_NBSP}%" if present(value) else MISSING


def percent_range(interval: Sequence[float] | None) -> str:
    """Return an interval of fractions as percentages, rounded outwards."""
    if interval is None or not all(present(bound) for bound in interval):
        return MISSING
    low, high = outwards(interval, 1, percent=True)
    return f"{low} to {high}{_NBSP}%"


def given(value: float | None) -> str:
    """Return a number that was asked for, such as a target ε or a δ, as it was asked."""
    return as_given(value) if present(value) else MISSING


def upper(value: float | None) -> str:
    """Return an upper bound such as a spent ε, never rounded down."""
    return at_most(value) if present(value) else MISSING


def points(difference: float) -> str:
    """Return the size of a difference of two fractions in percentage points, without its sign."""
    text = f"{abs(difference) * 100:.1f}"
    return f"{text}{_NBSP}point{'' if text == '1.0' else 's'}"


def measured(measure: MeasureName, value: float | None) -> str:
    """Return a measure's value: accuracies as percentages, MAE in the label's units."""
    if measure == "MAE":
        return in_units(value)
    return percent(value) if in_points(measure) else decimal(value).replace("-", "−")


def in_units(value: float | None) -> str:
    """Return a number of a label's own units with four significant digits or all before the point.

    The sizes of labels are anything; a number of a million is more easily read than its power.
    """
    if not present(value):
        return MISSING
    places = 3 - math.floor(math.log10(abs(value))) if value else 0
    text = f"{value:,.{min(max(places, 0), 12)}f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text).replace("-", "−")


def gap(measure: MeasureName, difference: float) -> str:
    """Return the size of a difference of two values of a measure, without its sign."""
    if measure == "accuracy":
        return points(difference)
    name = f"of{_NBSP}{measure}"
    shown = points(difference) if in_points(measure) else decimal(abs(difference))
    return f"{shown} {name}"


def gap_range(measure: MeasureName, interval: Sequence[float]) -> str:
    """Return an interval of such a difference with signs, rounded outwards."""
    share = in_points(measure)
    low, high = (
        (text if text.startswith("-") else f"+{text}").replace("-", "−")
        for text in outwards(interval, 1 if share else 3, percent=share)
    )
    return f"{low} to {high}{' points' if share else ''}"


def in_points(measure: MeasureName) -> bool:
    """Return whether a measure is a share of rows, whose differences are percentage points."""
    return measure in ("accuracy", "balanced accuracy")


def decimal(value: float | None, digits: int = 3) -> str:
    """Return a plain number with a fixed count of decimals."""
    return f"{value:.{digits}f}" if present(value) else MISSING


def compact(value: float | None) -> str:
    """Return a number with up to four significant digits, no bound."""
    if not present(value):
        return MISSING
    if value != 0 and abs(value) < 1e-3:
        mantissa, exponent = f"{value:.2e}".split("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    return f"{value:.4g}"


def size(count: float | None) -> str:
    """Return bytes in decimal units: 1 kB is 1000 bytes."""
    if not present(count):
        return MISSING
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            scaled = count / factor
            return f"{scaled:.{0 if scaled >= 100 else 1}f}{_NBSP}{unit}"
    return f"{count:.0f}{_NBSP}B"


def duration(seconds: float | None) -> str:
    """Return a time in the unit in which it is easiest to read."""
    if not present(seconds):
        return MISSING
    if seconds == 0:
        return f"0{_NBSP}s"
    if seconds < 1:
        digits = 0 if seconds >= 0.1 else 1 if seconds >= 0.001 else 2
        return f"{seconds * 1e3:.{digits}f}{_NBSP}ms"
    if seconds < 120:
        return f"{seconds:.1f}{_NBSP}s"
    if seconds < 120 * 60:
        return f"{seconds / 60:.1f}{_NBSP}min"
    return f"{seconds / 3600:.1f}{_NBSP}h"


def count(number: int, noun: str) -> str:
    """Return a count with its noun: "1 seed", "5 seeds"."""
    return f"{number:,}{_NBSP}{noun if number == 1 else noun + 's'}"


def listing(items: Sequence[str]) -> str:
    """Return a list in words: "a, b and c"."""
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} and {items[-1]}"


def span(values: Sequence[int]) -> str:
    """Return the range of some counts: "346 to 351", or "351" if all are equal; a dash for none."""
    if not values:
        return MISSING
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low} to {high}"


def split_names(names: Sequence[str]) -> str:
    """Return splits in words: "disjoint and deduplicated splits"."""
    return f"{listing(names)} split{'s' if len(names) > 1 else ''}"


_MEANINGS = {
    "overlapping": "most rows are at both parties",
    "disjoint": "no ID is at two parties",
    "deduplicated": "host gave up the IDs that guest has",
    "as-given": "rows are where the table says",
}


def split_meaning(split: str) -> str:
    """Return in a few words where rows lie in a split; an unknown one has its name alone."""
    return _MEANINGS.get(split, "as it is named")
