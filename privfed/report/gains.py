"""What arms have over one another on the same rows, and how sure that is.

Every verdict here goes by the paired figures of results.json (`comparisons`) and by the first of
their measures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from privfed.experiment.arms import NUMBER_REFERENCES, REFERENCES
from privfed.experiment.intervals import Spread
from privfed.experiment.results import Comparison, RowSet
from privfed.report.level import levels
from privfed.report.view import Line, Role, View
from privfed.report.words import listing, present

Verdict = Literal["gain", "loss", "none"]


@dataclass(frozen=True)
class Difference:
    """One arm's measure minus another's on the same rows, and its 95 % interval."""

    line: Line
    other: Line
    comparison: Comparison
    interval: tuple[float, float]

    @property
    def verdict(self) -> Verdict:
        """What the interval says: "gain", "loss", or "none" where it holds zero."""
        return verdict_of(self.interval)


def verdict_of(interval: tuple[float, float]) -> Verdict:
    """Return what the interval of a difference says."""
    low, high = interval
    return "gain" if low > 0 else "loss" if high < 0 else "none"


def gain(view: View, split: str) -> Difference | None:
    """Compare federated learning with the best party alone, whichever that is.

    Args:
        view: The results.
        split: The split.

    Returns:
        The difference to the party that did best here, with an interval for that to the party that
        is best (see `least`); None where not all parties that trained alone are compared.
    """
    federated, alone = view.federated(split), view.lines(split, "alone")
    if federated is None:
        return None
    found = [difference(view, split, federated, line) for line in alone]
    return least([each for each in found if each is not None]) if all(found) else None


def difference(
    view: View, split: str, line: Line, other: Line, rows: RowSet = "all", *, of: int = 1
) -> Difference | None:
    """Compare two arms.

    Args:
        view: The results.
        split: The split.
        line: The arm whose value comes first.
        other: The arm whose value is subtracted.
        rows: On which rows.
        of: How many such intervals are to hold at once.

    Returns:
        The comparison; None where the results have none of the two.
    """
    found = view.comparison(split, rows, line, other)
    return None if found is None else Difference(line, other, found, bounds(found, of=of))


def least(differences: Sequence[Difference]) -> Difference | None:
    """Return the least of some differences, with an interval for the one that is least in truth.

    Which is least was seen on the same rows, so its own interval would not do. All of them are
    above what all lower ends are above: that takes no correction (Berger, Technometrics 24, 1982,
    295-300). One of them is below what some upper end is below: for that the upper ends hold all
    at once (Bonferroni).

    Args:
        differences: Each with an interval of its own.

    Returns:
        The least; None of none.
    """
    if not differences:
        return None
    jointly = [bounds(each.comparison, of=len(differences)) for each in differences]
    smallest = min(differences, key=lambda each: each.comparison.difference)
    interval = min(each.interval[0] for each in differences), min(high for _, high in jointly)
    return Difference(smallest.line, smallest.other, smallest.comparison, interval)


def bounds(comparison: Comparison, *, of: int = 1) -> tuple[float, float]:
    """Return the 95 % interval of a comparison, of several that are to hold at once.

    Args:
        comparison: What was compared.
        of: How many are to hold.
    """
    spread = Spread(
        comparison.standard_error,
        comparison.degrees_of_freedom,
        comparison.seed_standard_error,
        comparison.seeds,
    )
    return spread.bounds(comparison.difference, of=of)


def own_gains(view: View, split: str) -> list[Difference]:
    """Compare federated learning with each party alone on that party's own test rows.

    Args:
        view: The results.
        split: The split.

    Returns:
        One a party that trained alone; their intervals hold all at once.
    """
    federated, alone = view.federated(split), view.lines(split, "alone")
    if federated is None:
        return []
    found = [difference(view, split, federated, x, "own", of=len(alone)) for x in alone]
    return [each for each in found if each is not None]


def beside_usual(
    view: View, split: str, line: Line, rows: RowSet = "all"
) -> tuple[Comparison, tuple[float, float]] | None:
    """Compare an arm with always naming the commonest class, or the mean, of all training rows.

    Args:
        view: The results.
        split: The split.
        line: The arm.
        rows: On which rows.

    Returns:
        The comparison and its 95 % interval; None where the results have none.
    """
    found = view.comparison(split, rows, line, levels(view).beside)
    return None if found is None else (found, bounds(found))


def beside_references(view: View, split: str, line: Line) -> list[Comparison]:
    """Return an arm's comparisons with scikit-learn's models on the same rows.

    Args:
        view: The results.
        split: The split.
        line: The arm.
    """
    names = NUMBER_REFERENCES if view.is_of_numbers else REFERENCES
    found = [view.comparison(split, "all", line, name) for name in names]
    return [each for each in found if each is not None]


def on_other_rows(view: View, split: str, line: Line) -> bool:
    """Return whether an arm's own test rows are known to be others than federated learning's.

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
        A sentence to stand beside their figures; None where all are of the same ones.
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
    if view.measure is None:
        return f"Tested on other rows than “{beside.label}”, and so not compared: {listed}."
    return (
        f"These figures are of other test rows than those of “{beside.label}”: {listed}. What is "
        "said of differences is of the same rows."
    )


def best_alone(view: View, split: str) -> Line | None:
    """Return the party that does best by itself, on the rows of all where that is known.

    Args:
        view: The results.
        split: The split.
    """
    found = [(level_on_all(view, split, line)[0], line) for line in view.lines(split, "alone")]
    known = [(level, line) for level, line in found if present(level)]
    return max(known, key=lambda each: each[0])[1] if known else None


def level_on_all(view: View, split: str, line: Line) -> tuple[float, bool]:
    """Return an arm's accuracy, or R², on the test rows of all parties, mean over seeds.

    Args:
        view: The results.
        split: The split.
        line: The arm.

    Returns:
        The level, and whether it is of those rows: in older files a party's is of its own.
    """
    by = levels(view)
    own = by.of(view.summary(split, line))
    if not on_other_rows(view, split, line):
        return own, True
    found = view.comparison(split, "all", line, by.beside, by.measure)
    return (own, False) if found is None else (found.value, True)


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
