"""Where results come from: versions, data, machine, and the command, if one asked."""

from __future__ import annotations

import dataclasses
import os
import platform
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from privfed.data import Dataset
from privfed.data.dataset import DataKind
from privfed.data.understood import UnderstoodColumn, understood
from privfed.experiment.settings import Settings
from privfed.records import Count, made_with


class DataOrigin(msgspec.Struct, frozen=True, kw_only=True):
    """What `provenance` says of the data, and what of it a report reads."""

    kind: DataKind | None = None  # None in older files, where it is not known
    dataset: str | None = None
    source: str | None = None
    is_surrogate: bool
    sha256: str | None = None
    rows: Count | None = None
    distinct_ids: Count | None = None
    encoding: str | None = None
    cleaning: dict[str, Any] | None = None
    columns: list[UnderstoodColumn] | None = None  # None in older files


def provenance(settings: Settings, dataset: Dataset, command: str | None = None) -> dict[str, Any]:
    """Return a benchmark's origin, as results.json keeps it, without person, host or folder.

    Args:
        settings: What was asked.
        dataset: The rows.
        command: The command that asked, without folders; None where a program asked. Its own
            arguments are not recorded.
    """
    return origin(dataset, command) | {
        "seeds": list(range(settings.seeds)),
        "settings": dataclasses.asdict(settings),
    }


def origin(dataset: Dataset, command: str | None = None) -> dict[str, Any]:
    """Describe the program, the machine and the data of any measurement, as `provenance`."""
    return made_with() | {
        "command": command,
        "machine": {
            "system": platform.system(),  # not its release, which may name who built it
            "architecture": platform.machine(),
            "processor": _processor(),
            "cores": len(os.sched_getaffinity(0)),
        },
        "data": msgspec.to_builtins(
            DataOrigin(
                kind=dataset.kind,
                dataset=dataset.name,
                source=dataset.source,
                is_surrogate=dataset.is_surrogate,
                sha256=dataset.sha256,
                rows=len(dataset),
                distinct_ids=None if dataset.ids is None else len(np.unique(dataset.ids)),
                encoding=dataset.encoder.encoding,
                cleaning=_cleaning(dataset),
                columns=understood(dataset.readings, dataset.encoder.encoding),
            )
        ),
    }


def _cleaning(dataset: Dataset) -> dict[str, Any] | None:
    """Return what cleaning changed; of a user's own cells only how many, for others see it."""
    if dataset.cleaning is None:
        return None
    plain = dataset.cleaning.to_dict()
    if dataset.kind == "table":
        del plain["changes"]
    return plain


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"
