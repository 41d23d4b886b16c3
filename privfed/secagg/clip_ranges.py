"""The ranges of arrays that have one of their own, as patterns of names or as names."""

import difflib
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from privfed.errors import ConfigError
from privfed.secagg.layout import Layout

Ranges = tuple[tuple[str, float], ...]
"""(name, range) of arrays, in the layout's order."""

LEAST, MOST = 1e-20, 1e20  # the grid of 32 bits is well inside float32


def is_range(value: float) -> bool:
    """Return whether values may have this range."""
    return LEAST <= value <= MOST


def resolved(given: Any, layout: Layout, default: float) -> Ranges:
    """Return the ranges of just those arrays whose range is not the default.

    Whatever patterns led to them, equal ranges are equal, and are taken as `given` again.

    Args:
        given: Ranges by name, or by pattern as in `fnmatch` ("*.bias"), or pairs of both. A name
            goes before patterns, and of these the first one that matches.
        layout: The arrays.
        default: The range of all others.

    Raises:
        ConfigError: Something in it is no range, or no array has such a name.
    """
    asked = _pairs(given)
    names = [name for name, _ in layout.entries]
    known = set(names)
    exact = {key: value for key, value in asked if key in known}
    patterns = [(key, value) for key, value in asked if key not in exact]
    for pattern, _ in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ConfigError(_unmatched(pattern, layout))
    found = []
    for name in names:
        fitting = (value for pattern, value in patterns if fnmatchcase(name, pattern))
        value = exact[name] if name in exact else next(fitting, default)
        if value != default:
            found.append((name, value))
    return tuple(found)


def _pairs(given: Any) -> list[tuple[str, float]]:
    """Return (name or pattern, range) pairs, each once."""
    if isinstance(given, Mapping):
        given = given.items()
    pairs: list[tuple[str, float]] = []
    try:
        if isinstance(given, str | bytes) or not isinstance(given, Iterable):
            raise TypeError
        for key, value in given:
            if not isinstance(key, str) or isinstance(value, str | bytes | bool):
                raise TypeError
            pairs.append((key, float(value)))
    except (TypeError, ValueError, OverflowError):
        raise ConfigError(
            "clip_ranges is ranges by the arrays' names or patterns of them, such as "
            "{'*.running_var': 1000.0}"
        ) from None
    for key, value in pairs:
        if not is_range(value):
            raise ConfigError(f"the range of {key!r:.60} must be 1e-20 to 1e20, not {value}")
    if len({key for key, _ in pairs}) != len(pairs):
        raise ConfigError("a name or pattern is in clip_ranges twice")
    return pairs


def _unmatched(pattern: str, layout: Layout) -> str:
    """Say that no array has such a name, and which ones are like it."""
    if any(fnmatchcase(name, pattern) for name in layout.skipped):
        return f"{pattern!r} in clip_ranges: such arrays hold integers and do not travel"
    names = [name for name, _ in layout.entries]
    close = difflib.get_close_matches(pattern, names, n=3, cutoff=0.4) or names[:3]
    return f"no array is called {pattern!r:.80} as in clip_ranges; there are {', '.join(close)}"
