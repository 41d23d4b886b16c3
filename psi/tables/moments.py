"""Dates and times as text: an instant has one text, whatever its type and unit.

The text is ISO 8601 as `datetime.isoformat` writes it, with further digits, in threes, if a finer
unit needs them. A midnight without a time zone is a date; a time with one is written in UTC.
"""

import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["arrow_moments", "moment_text", "moment_texts", "polars_moments"]

_NOT_A_TIME = int(np.iinfo(np.int64).min)  # how 64 bits hold "no time"
_UTC = "+00:00"


def moment_text(value: datetime.date | np.datetime64) -> str | None:
    """Return the text of a date or time, also pandas' and numpy's; None for "no time" (NaT).

    Raises:
        OverflowError: In UTC it is outside the years 1 to 9999.
    """
    if isinstance(value, np.datetime64):
        return None if np.isnat(value) else _written(str(np.datetime_as_string(value)))
    if not isinstance(value, datetime.datetime):
        return value.isoformat()
    if value.utcoffset() is None:
        return _written(value.isoformat())
    return _written(value.astimezone(datetime.UTC).isoformat().removesuffix(_UTC), _UTC)


def arrow_moments(column: Any) -> list[str | None]:
    """Return the texts of an Arrow column of timestamps; Python's own type would lose digits."""
    numbers = column.cast("int64").fill_null(_NOT_A_TIME).to_numpy(zero_copy_only=False)
    zone = _UTC if column.type.tz is not None else ""
    return moment_texts(numbers.view(f"datetime64[{column.type.unit}]"), zone)


def polars_moments(column: Any) -> list[str | None]:
    """Return the texts of a polars column of times; Python's own type would lose digits."""
    numbers = column.to_physical().fill_null(_NOT_A_TIME).to_numpy()
    zone = _UTC if column.dtype.time_zone is not None else ""
    return moment_texts(numbers.view(f"datetime64[{column.dtype.time_unit}]"), zone)


def moment_texts(values: NDArray[np.datetime64], zone: str = "") -> list[str | None]:
    """Return the texts of an array of times of any unit; `zone` is appended to each."""
    texts = np.datetime_as_string(values).tolist()
    return [None if text == "NaT" else _written(text, zone) for text in texts]


def _written(text: str, zone: str = "") -> str:
    """Return the one text for an instant, from ISO 8601 in any unit."""
    date, _, time = text.partition("T")
    date += "-01" * (2 - date[1:].count("-"))  # a year or a month means its first day
    clock, _, fraction = time.partition(".")
    clock = clock or "00"
    clock += ":00" * (2 - clock.count(":"))
    fraction = fraction.rstrip("0")
    if fraction:
        clock += "." + fraction.ljust(max(6, -(-len(fraction) // 3) * 3), "0")
    return date if clock == "00:00:00" and not zone else f"{date}T{clock}{zone}"
