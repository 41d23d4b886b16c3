"""Earlier versions of results.json, converted to today's.

Up to version 3 an arm's kinds were sentences for people. All sentences that were ever written are
listed here; any other is refused, as nothing is guessed from prose.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NoReturn

from privfed.data.dataset import DataKind
from privfed.errors import ConfigError
from privfed.experiment.arms import Privacy, Trains

OLDEST = 2

_TRAINS: Mapping[str, tuple[Trains, int | None]] = {
    "all": ("all", None),
    "all, rows pooled": ("pooled", None),
    "guest": ("party", 0),
    "host": ("party", 1),
}
_NUMBERED = re.compile(r"party-([1-9][0-9]{0,8})")  # from 3 on

_STEPS = "all parties' clipped gradients each step, "
_PRIVACY: Mapping[str, Privacy] = {
    "none": "none",
    "local DP-SGD at each party": "local-dp-sgd",
    "local DP-SGD without dropout at each party": "local-dp-sgd",
    f"{_STEPS}every party adds all of the noise": "local",
    f"{_STEPS}every party adds a share of the noise": "shares",
    f"{_STEPS}a trusted server adds the noise": "central",
}

# A source, up to the first comma; then came the name of a file.
_KINDS: Mapping[str, DataKind] = {
    "embedded surrogate (not real data)": "dresses",
    "OpenML data set 23381": "dresses",
    "UCI Dresses_Attribute_Sales": "dresses",
    "scikit-learn load_digits (UCI Optical Recognition of Handwritten Digits": "digits",
    "scikit-learn load_breast_cancer (UCI Breast Cancer Wisconsin (Diagnostic))": "breast-cancer",
    "own table": "table",
}


def upgraded(document: dict[str, Any], version: int) -> dict[str, Any]:
    """Return an earlier version's parsed JSON as today's.

    What is not of the expected shape is left unchanged: today's reader will name it.

    Args:
        document: What `json.loads` gave.
        version: Its own, `OLDEST` at least and before today's.

    Returns:
        A document of the version after the last one that this module knows.

    Raises:
        ConfigError: An arm says who trains, or what is private, in words that privfed never wrote.
    """
    if version == 2:
        document = _from_2(document)
    if version <= 3:
        document = _from_3(document)
    if version <= 4:
        document = _from_4(document)
    return document | {"schema_version": 6}  # later only numbers as labels came, in new fields


def _from_2(document: dict[str, Any]) -> dict[str, Any]:
    """Return version 2 as 3: the rows that arms were tested on are unknown; folders are left out.

    Its command may have been that of any program, so it is not shown; the settings are.
    """
    later = dict(document)
    if isinstance(document.get("runs"), list):
        later["runs"] = [
            {"test_rows_sha256": None} | run if isinstance(run, dict) else run
            for run in document["runs"]
        ]
    if isinstance(document.get("provenance"), dict):
        provenance = later["provenance"] = document["provenance"] | {"command": None}
        data = provenance.get("data")
        if isinstance(data, dict) and isinstance(data.get("source"), str):
            source = re.sub(r"(, ).*/", r"\1", data["source"], count=1)
            provenance["data"] = data | {"source": source}
    return later


def _from_3(document: dict[str, Any]) -> dict[str, Any]:
    """Return version 3 as 4: the kinds of arms and of data were sentences."""
    later = document | {"schema_version": 4}
    if isinstance(document.get("arms"), list):
        later["arms"] = [
            _arm(arm, f"results.arms[{number}]") if isinstance(arm, dict) else arm
            for number, arm in enumerate(document["arms"])
        ]
    provenance = document.get("provenance")
    if isinstance(provenance, dict) and isinstance(provenance.get("data"), dict):
        data = provenance["data"]
        source = str(data.get("source")).partition(", ")[0]
        later["provenance"] = provenance | {"data": data | {"kind": _KINDS.get(source)}}
    return later


def _from_4(document: dict[str, Any]) -> dict[str, Any]:
    """Return version 4 as 5: no arm was compared with another row by row."""
    return document | {"schema_version": 5, "measures": [], "comparisons": []}


def _arm(arm: dict[str, Any], where: str) -> dict[str, Any]:
    later = dict(arm)
    if "arm" in later:
        later["name"] = later.pop("arm")
    if "parties" in later:
        later["trains"], later["party"] = _trains(later.pop("parties"), f"{where}.parties")
    if "privacy" in later:
        privacy = later["privacy"]
        if not isinstance(privacy, str) or privacy not in _PRIVACY:
            _unknown(f"{where}.privacy", privacy)
        later["privacy"] = _PRIVACY[privacy]
    return later


def _trains(parties: Any, where: str) -> tuple[Trains, int | None]:
    if isinstance(parties, str):
        if parties in _TRAINS:
            return _TRAINS[parties]
        if (numbered := _NUMBERED.fullmatch(parties)) and int(numbered[1]) > 2:
            return "party", int(numbered[1]) - 1
    _unknown(where, parties)


def _unknown(where: str, value: Any) -> NoReturn:
    raise ConfigError(
        f"{where} is {str(value)[:40]!r}, which no earlier privfed wrote; write it again with "
        "`run_benchmark`"
    )
