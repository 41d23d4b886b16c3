"""Reads a results.json back, strictly: what the schema does not know is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from privfed.errors import ConfigError
from privfed.experiment.results import HISTORY, SCHEMA_VERSION, Results
from privfed.records import KnownNumber
from privfed.report.older import OLDEST, upgraded
from privfed.report.view import View
from psi.storage import json_as, json_read

MAX_BYTES = 256_000_000  # ten times the full benchmark; checked before anything is parsed

_HEAD_BYTES = 200
_AGAIN = "write it again with `run_benchmark`"


def is_training(path: Path) -> bool:
    """Return whether a file holds what `privfed.partner` keeps of a training, in any version."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError:  # `load_results` says why
        return False
    return re.match(rb'\s*\{\s*"format":\s*"privfed training results ', head) is not None


def load_results(path: Path) -> Results:
    """Return the results that `Results.write` wrote.

    Args:
        path: A results.json, or the folder that holds one.

    Returns:
        The results. A null where the schema has a plain number is a number that was not finite
        when it was written, and comes back as NaN.

    Raises:
        ConfigError: There is no such file, it is not JSON or of another schema version, or a field
            is missing, unknown, of the wrong kind or out of range; the message names it.
    """
    path = path / "results.json" if path.is_dir() else path
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(f"{path} is larger than {MAX_BYTES} bytes: not a results file")
        data = path.read_bytes()
    except FileNotFoundError:
        raise ConfigError(
            f"{path} does not exist; give the folder that `run_benchmark` or a training wrote"
        ) from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    try:
        document = json_read(data, object)
    except ValueError as error:
        raise ConfigError(f"{path} is not valid JSON ({error}); {_AGAIN}") from error
    try:
        return results_from(document)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def results_from(document: Any) -> Results:
    """Return the `Results` in parsed JSON.

    Args:
        document: What a JSON reader gave.

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
    results: Results = _converted(document, Results, "results")
    _check(results, "results")
    if results.beside is not None:
        _check(results.beside, "results.beside")
    return results


def _check(results: Results, where: str) -> None:
    for number, run in enumerate(results.runs):
        for name, column in run.history.items():
            kind = HISTORY.get(name, list[KnownNumber | None])
            _converted(column, kind, f"{where}.runs[{number}].history.{name}")
    View(results)  # refuses an arm that is not described


def _converted(value: Any, kind: Any, where: str) -> Any:
    try:
        return json_as(value, kind, where)
    except ValueError as error:
        raise ConfigError(f"{error}; {_AGAIN}") from None
