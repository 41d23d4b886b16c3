"""The top of the page: its title, one sentence on what was run, and the few figures to remember."""

from __future__ import annotations

from dataclasses import dataclass

from privfed.report import gains
from privfed.report.view import View
from privfed.report.words import count, duration, listing, percent, present, size


@dataclass(frozen=True)
class KeyFigure:
    """A number, what it is, and what to hold it against."""

    value: str
    label: str
    note: str


def title(view: View) -> str:
    """What the report is about."""
    name = {
        "dresses": "Dress recommendation",
        "breast-cancer": "Breast cancer",
        "digits": "Handwritten digits",
    }.get(view.dataset, view.dataset)
    return f"{name}: what federated learning gains"


def subtitle(view: View) -> str:
    """What was run, in a sentence."""
    if view.main_split is None:
        return "No arm has finished yet."
    arms = list(dict.fromkeys(x.label for split in view.splits for x in view.lines(split)))
    rounds = max((run.rounds for run in view.results.runs), default=0)
    splits = f"the {listing(view.splits)} split{'s' if len(view.splits) > 1 else ''}"
    return (
        f"{count(len(arms), 'way')} of learning compared on {splits} of the same data, "
        f"{count(len(view.seeds), 'seed')}, up to {count(rounds, 'round')}."
    )


def key_figures(view: View) -> list[KeyFigure]:
    """At most four figures; only those that the results hold."""
    split = view.main_split
    if split is None:
        return []
    found = [*_accuracy(view, split), *_exactness(view)]
    for line in view.lines(split, "encrypted")[:1]:
        spent = view.summary(split, line).encryption_seconds_per_round
        if present(spent):
            up = size(view.summary(split, line).upload_bytes_per_round)
            found.append(KeyFigure(duration(spent), "added by encryption a round", f"{up} up"))
    return found


def _accuracy(view: View, split: str) -> list[KeyFigure]:
    line, alone = view.federated(split), view.best_alone(split)
    shown = line or alone
    if shown is None:
        return []
    s = view.summary(split, shown)
    note = "test accuracy"
    if line is not None and alone is not None:
        note = f"best party alone {percent(view.summary(split, alone).test_accuracy_mean)}"
    found = [
        KeyFigure(
            percent(s.test_accuracy_mean),
            f"{'federated' if line else shown.label}, {split} split",
            note,
        )
    ]
    if present(s.unseen_accuracy):
        majority = f"majority class {percent(s.unseen_majority)}"
        found.append(
            KeyFigure(percent(s.unseen_accuracy), "on rows that nobody trained on", majority)
        )
    return found


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
    """A percentage that says 100 only of all of them."""
    return "100\u00a0%" if part == whole else percent(min(part / whole, 0.999))
