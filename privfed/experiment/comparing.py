"""Arms on the same rows: every party's test rows, paired row by row and over all seeds.

Each arm's models are asked about all test rows, those of a party that trained alone, too. Here the
experiment judges itself, so rows with one ID are known as such, as when it dealt them out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privfed.experiment.arms import MAJORITY, MEAN, Arm, stands_for_federated
from privfed.experiment.intervals import PairedRows, paired_spread
from privfed.experiment.measures import NUMBER_MEASURES, MeasureName, measurement
from privfed.experiment.results import Comparison, RowSet

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Entrant:
    """An arm at one ε, or another way to answer that stands beside the arms."""

    name: str
    epsilon: float | None = None


@dataclass(frozen=True, eq=False)
class RowAnswers:
    """What all say of one seed's test rows, those of all parties one after the other.

    Attributes:
        truth: (n,) the labels.
        units: (n,) which rows belong together, over all seeds.
        party: (n,) whose test row it is.
        unseen: (n,) rows that nobody trained on, each ID once; None where there are no IDs.
        outputs: By who answers, what `measures.measurement` takes.
    """

    truth: NDArray[Any]
    units: NDArray[Any]
    party: NDArray[np.int64]
    unseen: Mask | None
    outputs: Mapping[Entrant, NDArray[Any]]


def compare(
    split: str, arms: Sequence[Arm], names: Sequence[MeasureName], seeds: Sequence[RowAnswers]
) -> list[Comparison]:
    """Compare a split's arms with each other and with the majority class, or of numbers the mean.

    The one that stands for federated learning is compared with every other on all rows, and with
    each party alone on that party's own rows, too; every one with the majority class, on all rows
    and on those that nobody trained on.

    Args:
        split: The split.
        arms: Its arms.
        names: The measures.
        seeds: One a seed.

    Returns:
        A comparison for each measure that the rows allow.
    """
    entrants = list(dict.fromkeys(each for answers in seeds for each in answers.outputs))
    by_name = {arm.name: arm for arm in arms}
    federated = stands_for_federated([by_name[e.name] for e in entrants if e.name in by_name])
    majority = Entrant(usual_answer(names))
    found: list[Comparison | None] = []
    for name in names:
        for entrant in entrants:
            if entrant != majority:
                for rows in ("all", "unseen"):
                    found.append(_compared(split, name, entrant, majority, rows, seeds))
            if federated is None or entrant in (majority, Entrant(federated.name)):
                continue
            ours = Entrant(federated.name)
            found.append(_compared(split, name, ours, entrant, "all", seeds))
            arm = by_name.get(entrant.name)
            if arm is not None and arm.trains == "party" and not arm.private:
                found.append(_compared(split, name, ours, entrant, "own", seeds, arm.party))
    return [each for each in found if each is not None]


def usual_answer(names: Sequence[MeasureName]) -> str:
    """Return what answers without a look at a row: the mean where labels are numbers."""
    return MEAN if set(names) & set(NUMBER_MEASURES) else MAJORITY


def _compared(
    split: str,
    name: MeasureName,
    entrant: Entrant,
    beside: Entrant,
    rows: RowSet,
    seeds: Sequence[RowAnswers],
    party: int | None = None,
) -> Comparison | None:
    values, pairs = [], []
    for answers in seeds:
        if not {entrant, beside} <= answers.outputs.keys():
            continue
        kept = _chosen(answers, rows, party)
        truth = answers.truth[kept]
        one, other = (
            measurement(name, truth, answers.outputs[each][kept]) for each in (entrant, beside)
        )
        if one is not None and other is not None:
            values.append((one.value, other.value))
            difference, influence = one.value - other.value, one.influence - other.influence
            pairs.append(PairedRows(difference, influence, answers.units[kept]))
    if not pairs:
        return None
    spread = paired_spread(pairs)
    value, other_value = (float(np.mean(each)) for each in zip(*values, strict=True))
    difference = float(np.mean([pair.difference for pair in pairs]))
    return Comparison(
        split=split,
        rows=rows,
        measure=name,
        arm=entrant.name,
        epsilon=entrant.epsilon,
        beside=beside.name,
        beside_epsilon=beside.epsilon,
        value=value,
        beside_value=other_value,
        difference=difference,
        ci95=spread.bounds(difference),
        standard_error=spread.standard_error,
        degrees_of_freedom=spread.degrees,
        seed_standard_error=spread.seed_error,
        seeds=len(pairs),
        test_rows=sum(len(pair.units) for pair in pairs),
        units=len(np.unique(np.concatenate([pair.units for pair in pairs]))),
    )


def _chosen(answers: RowAnswers, rows: RowSet, party: int | None) -> Mask:
    every: Mask = np.ones(len(answers.truth), dtype=np.bool_)
    if rows == "own":
        every &= answers.party == party
    elif rows == "unseen":
        every &= answers.unseen if answers.unseen is not None else False
    return every
