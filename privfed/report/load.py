"""Reads a results.json back, strictly: what the schema does not know is refused, not guessed."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from pathlib import Path
from typing import Any, NoReturn

from privfed.errors import ConfigError
from privfed.experiment.results import HISTORY, SCHEMA_VERSION, Range, Results
from privfed.report.older import OLDEST, upgraded
from privfed.report.view import View

MAX_BYTES = 256_000_000  # ten times the full benchmark; measured before anything is parsed

_LARGEST = 1e15  # no count, byte, second or loss here is larger
_PLAIN = Range(0.0, _LARGEST)

_AGAIN = "write it again with `privfed benchmark`"


def load_results(path: Path) -> Results:
    """Read what `Results.write` wrote.

    Args:
        path: A results.json, or the folder that holds one.

    Returns:
        The results. A null where the schema has a plain number is a number that was not finite
        when it was written, and comes back as NaN.

    Raises:
        ConfigError: If there is no such file, it is not JSON, of another schema version, or holds
            a field too few, too many, of the wrong kind or out of range, which the message names.
    """
    path = path / "results.json" if path.is_dir() else path
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(f"{path} is larger than {MAX_BYTES} bytes: not a results file")
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(
            f"{path} does not exist; give the folder that `privfed benchmark` wrote"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    try:
        document = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not valid JSON ({error}); {_AGAIN}") from error
    try:
        return results_from(document)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def results_from(document: Any) -> Results:
    """Build `Results` from parsed JSON.

    Args:
        document: What `json.loads` gave.

    Returns:
        The results, as `load_results` describes them.

    Raises:
        ConfigError: As `load_results`.
    """
    if not isinstance(document, dict) or "schema_version" not in document:
        raise ConfigError(f"this is not a results file: it has no schema_version; {_AGAIN}")
    version = document["schema_version"]
    if type(version) is int and OLDEST <= version < SCHEMA_VERSION:
        document, version = upgraded(document, version), SCHEMA_VERSION
    if type(version) is not int or version != SCHEMA_VERSION:
        raise ConfigError(
            f"schema version {version!r} is not {SCHEMA_VERSION}, that of this privfed; {_AGAIN}"
        )
    results = typing.cast(Results, _read(Results, document, "results"))
    for number, run in enumerate(results.runs):
        _check_history(run.history, f"runs[{number}].history")
    View(results)  # refuses an arm that is not described
    return results


def _read(kind: Any, value: Any, where: str, limits: Range = _PLAIN) -> Any:
    """`value` as the annotation `kind` wants it, or a ConfigError that names `where`."""
    if kind is Any:
        return value
    if kind is float:
        if value is None:
            return float("nan")
        if type(value) in (int, float):
            return float(_in_range(value, where, limits))
        _wrong(where, "a number", value)
    if kind is int:
        if type(value) is not int:  # a bool is none
            _wrong(where, "a whole number", value)
        return _in_range(value, where, limits)
    if kind is str:
        if type(value) is not str:
            _wrong(where, "a string", value)
        return value
    if dataclasses.is_dataclass(kind):
        return _read_dataclass(kind, value, where)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return _read(arguments[0], value, where, arguments[1])
    if origin in (types.UnionType, typing.Union):  # X | None is the only union of the schema
        inner = next(a for a in arguments if a is not type(None))
        return None if value is None else _read(inner, value, where)
    if origin is typing.Literal:
        if not isinstance(value, str) or value not in arguments:
            _wrong(where, f"one of {', '.join(arguments)}", value)
        return value
    if origin is dict:
        if isinstance(value, dict):
            return {key: _read(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
        _wrong(where, "an object", value)
    if not isinstance(value, list):
        _wrong(where, "a list", value)
    fixed = origin is tuple and arguments[-1] is not Ellipsis
    if fixed and len(value) != len(arguments):
        _wrong(where, f"a list of {len(arguments)}", value)
    items = (_read(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    return tuple(items) if origin is tuple else list(items)


def _read_dataclass(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        _wrong(where, "an object", value)
    hints = typing.get_type_hints(kind, include_extras=True)
    if missing := hints.keys() - value.keys():
        raise ConfigError(f"{where} lacks {', '.join(sorted(missing))}; {_AGAIN}")
    if unknown := value.keys() - hints.keys():
        raise ConfigError(f"{where} has unknown fields: {', '.join(sorted(unknown))}; {_AGAIN}")
    fields = {name: _read(hint, value[name], f"{where}.{name}") for name, hint in hints.items()}
    try:
        return kind(**fields)
    except ConfigError as error:  # the fields are right, and contradict each other
        raise ConfigError(f"{where}: {error}") from None


def _check_history(history: dict[str, list[Any]], where: str) -> None:
    for name, column in history.items():
        for number, entry in enumerate(column):
            if entry is not None:
                _read(HISTORY.get(name, float), entry, f"{where}.{name}[{number}]")


def _in_range(value: int | float, where: str, limits: Range) -> int | float:
    """The value, if its field can have it: what is drawn may rely on it."""
    least, most = max(limits.least, -_LARGEST), min(limits.most, _LARGEST)
    if not least <= value <= most:
        _wrong(where, f"between {least:g} and {most:g}", value)
    return value


def _wrong(where: str, wanted: str, value: Any) -> NoReturn:
    shown = json.dumps(value)
    shown = shown if len(shown) <= 40 else f"{shown[:37]}..."
    raise ConfigError(f"{where} should be {wanted}, not {shown}; {_AGAIN}")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")
