"""The top of the page: its title, one sentence on what was run, and the few figures to remember."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean

from privfed.data.dataset import DataKind
from privfed.experiment.intervals import mean_interval
from privfed.report import gains
from privfed.report.cost import encryption
from privfed.report.view import View
from privfed.report.words import count, duration, listing, percent, percent_range, present


@dataclass(frozen=True)
class KeyFigure:
    """A number, what it is, and what to compare it with."""

    value: str
    label: str
    note: str


def title(view: View) -> str:
    """Return what the report is about."""
    names: dict[DataKind | None, str] = {
        "dresses": "Dress recommendation",
        "breast-cancer": "Breast cancer",
        "digits": "Handwritten digits",
    }
    return f"{names.get(view.kind, view.dataset)}: learning together, measured"


def subtitle(view: View) -> str:
    """Return what was run, in a sentence."""
    if view.main_split is None:
        return "No arm has finished yet."
    arms = {(x.arm, x.epsilon) for split in view.splits for x in view.lines(split)}
    rounds = max((run.rounds for run in view.results.runs), default=0)
    splits = f"the {listing(view.splits)} split{'s' if len(view.splits) > 1 else ''}"
    return (
        f"{count(len(arms), 'way')} of learning compared on {splits} of the same data, "
        f"{count(len(view.seeds), 'seed')}, up to {count(rounds, 'round')}."
    )


def key_figures(view: View) -> list[KeyFigure]:
    """Return at most four figures; only those that the results hold."""
    split = view.main_split
    if split is None:
        return []
    found = [*_accuracy(view, split), *_exactness(view)]
    spent = encryption(view, split)
    if spent is not None and spent.clear is not None and fmean(spent.added) > 0:
        found.append(
            KeyFigure(
                duration(fmean(spent.added)),
                "added by encryption a round",
                _times(mean_interval(spent.added)),
            )
        )
    return found


def _accuracy(view: View, split: str) -> list[KeyFigure]:
    line, alone = view.federated(split), view.best_alone(split)
    shown = line or alone
    if shown is None:
        return []
    s = view.summary(split, shown)
    name = "federated" if line else shown.label
    found = [
        KeyFigure(
            percent(s.test_accuracy_mean),
            f"test accuracy, {name}, {split} split",
            f"95 %: {percent_range(gains.accuracy_interval(view, split, shown))}; always the "
            f"majority class {percent(s.majority_accuracy)}",
        )
    ]
    if present(s.unseen_accuracy):
        found.append(
            KeyFigure(
                percent(s.unseen_accuracy),
                f"on rows that nobody trained on, {name}",
                f"95 %: {percent_range(s.unseen_ci95)}; always the majority class "
                f"{percent(s.unseen_majority)}",
            )
        )
    return found


def _times(interval: tuple[float, float] | None) -> str:
    if interval is None:
        return "one run, so no interval"
    low, high = interval
    return f"95 %: {duration(max(low, 0.0))} to {duration(high)}"


def _exactness(view: View) -> list[KeyFigure]:
    return [
        KeyFigure(
            _share(match.equal_rounds, match.rounds),
            "of rounds equal bit for bit, encrypted and in the clear",
            f"{match.equal_rounds:,} of {count(match.rounds, 'round')}",
        )
        for match in gains.matches(view)[:1]
        if match.rounds
    ]


def _share(part: int, whole: int) -> str:
    """Return a percentage that is 100 only if it is all of them."""
    return "100\u00a0%" if part == whole else percent(min(part / whole, 0.999))
