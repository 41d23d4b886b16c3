"""Comparisons of arms that were tested on the same rows, and how sure they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from privfed.experiment.intervals import (
    mean_interval,
    newcombe_interval,
    shares_interval,
    wilson_interval,
)
from privfed.experiment.results import Run
from privfed.report.view import Line, Role, View
from privfed.report.words import listing, present

FEW_SEEDS = 3  # fewer do not show how training varies


@dataclass(frozen=True)
class Difference:
    """One arm's test accuracy minus another's, on the same rows; accuracies are fractions."""

    split: str
    line: Line
    other: Line
    accuracy: float
    other_accuracy: float
    difference: float
    interval: tuple[float, float]  # 95 %
    seeds: int

    @property
    def verdict(self) -> str:
        """What the interval says: "gain", "loss", or "none" where it holds zero."""
        low, high = self.interval
        return "gain" if low > 0 else "loss" if high < 0 else "none"


def gain(view: View, split: str) -> Difference | None:
    """Compare federated learning with the best party alone.

    The best party is chosen by its mean, which makes a gain harder to claim, not easier.

    Args:
        view: The results.
        split: The split.

    Returns:
        The comparison; None where either side is missing, or a party was tested on other rows.
    """
    federated, alone = view.federated(split), view.best_alone(split)
    if federated is None or alone is None:
        return None
    if not all(view.on_same_rows(split, federated, x) for x in view.lines(split, "alone")):
        return None  # also which party is best can be said only on the same rows
    return difference(view, split, federated, alone)


def difference(view: View, split: str, line: Line, other: Line) -> Difference | None:
    """Compare two arms, seed by seed.

    From three seeds on the interval is Student's t on the seeds' differences. With fewer it is the
    normal approximation to the difference of two proportions over all test rows, which says
    nothing of how training varies.

    Args:
        view: The results.
        split: The split.
        line: The arm whose accuracy comes first.
        other: The arm whose accuracy is subtracted.

    Returns:
        The comparison; None where the two were not tested on the same rows.
    """
    if not view.on_same_rows(split, line, other):
        return None
    ours, theirs = (
        {run.seed: run for run in view.runs(split, each) if present(run.test_accuracy)}
        for each in (line, other)
    )
    pairs = [(run, theirs[seed]) for seed, run in ours.items() if seed in theirs]
    if not pairs:
        return None
    differences = [a.test_accuracy - b.test_accuracy for a, b in pairs]
    mean = math.fsum(differences) / len(pairs)
    interval = mean_interval(differences) if len(pairs) >= FEW_SEEDS else None
    if interval is None:
        sides = zip(*pairs, strict=True)
        interval = shares_interval(mean, [_pooled(side) for side in sides])
    return Difference(
        split,
        line,
        other,
        math.fsum(a.test_accuracy for a, _ in pairs) / len(pairs),
        math.fsum(b.test_accuracy for _, b in pairs) / len(pairs),
        mean,
        interval,
        len(pairs),
    )


def on_other_rows(view: View, split: str, line: Line) -> bool:
    """Return whether an arm is known to have been tested on other rows than federated learning.

    An older file does not say which rows they were, only how many.

    Args:
        view: The results.
        split: The split.
        line: The arm.
    """
    reference = view.federated(split) or view.lines(split)[0]
    if view.on_same_rows(split, reference, line):
        return False
    ours, theirs = view.runs(split, reference), view.runs(split, line)
    unknown = any(run.test_rows_sha256 is None for run in (*ours, *theirs))
    counts = [{run.test_rows for run in runs} for runs in (ours, theirs)]
    return bool(ours and theirs) and (not unknown or counts[0] != counts[1])


def other_rows(view: View, *roles: Role) -> str | None:
    """Say which arms were tested on other rows than federated learning (else the first arm).

    Args:
        view: The results.
        *roles: The roles of the arms that are shown, as `View.lines` takes them.

    Returns:
        A sentence to stand beside their figures; None where all were tested on the same ones.
    """
    names = [
        line.label
        for split in view.splits
        for line in view.lines(split, *roles)
        if on_other_rows(view, split, line)
    ]
    if not names:
        return None
    split = view.splits[0]
    beside = view.federated(split) or view.lines(split)[0]
    listed = listing(list(dict.fromkeys(names)))
    return f"Tested on other rows than “{beside.label}”, and so not compared: {listed}."


def accuracy_interval(view: View, split: str, line: Line) -> tuple[float, float] | None:
    """Return the 95 % interval of an arm's test accuracy.

    Over seeds it is Student's t; with one seed Wilson's on its test rows, which knows nothing of
    how training varies.

    Args:
        view: The results.
        split: The split.
        line: The arm.

    Returns:
        The interval; None where the accuracy is not known.
    """
    summary = view.summary(split, line)
    runs = [run for run in view.runs(split, line) if present(run.test_accuracy)]
    if summary.test_accuracy_ci95 is not None or not runs:
        return summary.test_accuracy_ci95
    rows = sum(run.test_rows for run in runs)
    right = sum(run.test_accuracy * run.test_rows for run in runs)
    return wilson_interval(round(right), rows)


def _pooled(runs: Sequence[Run]) -> tuple[float, int]:
    """Return the share of all test rows that were right, and the number of test rows."""
    rows = max(sum(run.test_rows for run in runs), 1)
    return sum(run.test_accuracy * run.test_rows for run in runs) / rows, rows


def unseen_verdict(view: View, split: str, line: Line) -> str | None:
    """Return where an arm stands on unseen rows: "above", "below" or "around" the majority class.

    How often the majority class is right on a few rows is chance, too. So it counts whether the
    interval of the difference holds zero. It is Newcombe's, 95 %, as if the two were counted on
    different rows.

    Args:
        view: The results.
        split: The split.
        line: The arm.

    Returns:
        The verdict; None where no row was unseen.
    """
    summary = view.summary(split, line)
    ours, theirs = summary.unseen_accuracy, summary.unseen_majority
    if ours is None or theirs is None or not (present(ours) and present(theirs)):
        return None
    n = summary.unseen_n
    low, high = newcombe_interval(ours, n, theirs, n)
    return "above" if low > 0 else "below" if high < 0 else "around"


@dataclass(frozen=True)
class Match:
    """How often an encrypted arm's weights equal those of the same integers in the clear."""

    encrypted: Line
    runs: int
    equal_runs: int  # runs in which every round and the final weights are equal
    rounds: int
    equal_rounds: int


def matches(view: View) -> list[Match]:
    """Compare each encrypted arm with the reference by the SHA-256 of its weights.

    Args:
        view: The results.

    Returns:
        One match for each encrypted arm, over all splits and seeds; none where no pair was run.
    """
    found: dict[str, Match] = {}
    for split in view.splits:
        for reference in view.lines(split, "reference")[:1]:
            clear = {run.seed: run for run in view.runs(split, reference)}
            for line in view.lines(split, "encrypted"):
                total = found.get(line.arm, Match(line, 0, 0, 0, 0))
                for run in view.runs(split, line):
                    if run.seed not in clear:
                        continue
                    ours = run.history.get("weights_sha256") or [run.weights_sha256]
                    theirs = clear[run.seed].history.get("weights_sha256") or [
                        clear[run.seed].weights_sha256
                    ]
                    rounds = max(len(ours), len(theirs))
                    equal = sum(a == b for a, b in zip(ours, theirs, strict=False))
                    last = run.weights_sha256 == clear[run.seed].weights_sha256
                    total = Match(
                        line,
                        total.runs + 1,
                        total.equal_runs + (last and equal == rounds),
                        total.rounds + rounds,
                        total.equal_rounds + equal,
                    )
                if total.runs:
                    found[line.arm] = total
    return list(found.values())
