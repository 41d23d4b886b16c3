"""What results.json says of the parties: who they are, what was asked of them, what they hold."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privfed.data import Dataset, PartyRows
from privfed.experiment.results import HeldRows, PartiesRecord
from privfed.experiment.settings import Settings


def record_parties(
    settings: Settings,
    dataset: Dataset,
    splits: Iterable[tuple[str, int, Sequence[PartyRows]]],
) -> PartiesRecord:
    """Return the record of all splits: each one's name, its seed and its parties."""

    def counts(rows: NDArray[np.intp]) -> tuple[int, ...]:
        if dataset.number is not None:
            return ()
        found = np.bincount(dataset.labels[rows], minlength=len(dataset.class_names))
        return tuple(map(int, found))

    def mean(rows: NDArray[np.intp]) -> float | None:
        return None if dataset.number is None else float(dataset.labels[rows].mean())

    return PartiesRecord(
        names=settings.party_names,
        class_names=tuple(map(str, dataset.class_names)),
        sizes=settings.dealing.sizes,
        skew=settings.dealing.skew,
        concentration=settings.dealing.concentration,
        held=[
            HeldRows(split, seed, p.name, len(p.train), len(p.test), counts(p.rows), mean(p.rows))
            for split, seed, parties in splits
            for p in parties
        ],
    )


def parties_key(settings: Settings, dataset: Dataset) -> list[Any]:
    """Return what a run depends on beside the split's name and seed."""
    dealing, owners = settings.dealing, dataset.owners
    return [
        list(settings.party_names),
        [dealing.sizes, dealing.skew, dealing.concentration],
        None if owners is None else hashlib.sha256(owners.parties.tobytes()).hexdigest(),
    ]
