"""The first screen of a report: its title, and what one gains, what it costs, what is protected."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean

from privfed.data.dataset import DataKind
from privfed.report import gains
from privfed.report.cost import encryption, plaintext_bytes
from privfed.report.level import levels
from privfed.report.privacy import PRIVATE, terms_in_words
from privfed.report.view import Line, View
from privfed.report.words import (
    count,
    duration,
    gap,
    gap_range,
    listing,
    split_meaning,
    split_names,
)
from privfed.rounding import as_given

_NAMES: dict[DataKind | None, str] = {
    "dresses": "Dress recommendation",
    "breast-cancer": "Breast cancer",
    "digits": "Handwritten digits",
}
_PREFERRED_EPSILON = 1.0


@dataclass(frozen=True)
class Told:
    """A question that a reader comes with, and the sentence that answers it."""

    question: str
    text: str


def title(view: View) -> str:
    """Return what the report is about."""
    return f"{_NAMES.get(view.kind, view.dataset)}: learning together, measured"


def what_ran(view: View) -> str:
    """Return what was run, in a few words."""
    if view.main_split is None:
        return "No arm has finished yet."
    lines = {(x.arm, x.epsilon) for split in view.splits for x in view.lines(split)}
    rounds = max((run.rounds for run in view.results.runs), default=0)
    return (
        f"{count(len(lines), 'way')} of learning, {split_names(view.splits)}, "
        f"{count(len(view.seeds), 'seed')}, up to {count(rounds, 'round')}."
    )


def answers(view: View) -> list[Told]:
    """Return the three answers; none before an arm has finished."""
    split = view.main_split
    if split is None:
        return []
    return [
        Told("What you gain", _gain(view, split)),
        Told("What it costs", _cost(view, split)),
        Told("What is protected", _protected(view, split)),
    ]


def _gain(view: View, split: str) -> str:
    result = gains.gain(view, split)
    if result is None:
        return _without_gain(view, split)
    measure = result.comparison.measure
    whom = "the best party alone" if len(view.lines(split, "alone")) > 1 else result.other.label
    sure = {
        "gain": f"Learning together gains {gap(measure, result.comparison.difference)} over {whom}",
        "loss": f"Learning together costs {gap(measure, result.comparison.difference)} beside "
        f"{whom}",
        "none": f"Learning together gains nothing over {whom} that can be told from chance",
    }[result.verdict]
    several = len(view.splits) > 1
    where = f" where {split_meaning(split)}" if several else ""
    said = f"{sure}{where} (95\u00a0%: {gap_range(measure, result.interval)})"
    if several and (elsewhere := _elsewhere(view, split, result.verdict)):
        said += f"; {elsewhere}"
    return f"{said}{_carried(view, split)}."


def _elsewhere(view: View, main: str, verdict: gains.Verdict) -> str:
    found = {split: gains.gain(view, split) for split in view.splits if split != main}
    told = [split for split, each in found.items() if each]
    if told and all(each.verdict == verdict for each in found.values() if each):
        return f"{'nor' if verdict == 'none' else 'so'} does it on the {split_names(told)}"
    by = {
        verdict: [split for split, each in found.items() if each and each.verdict == verdict]
        for verdict in ("gain", "loss", "none")
    }
    words = {"gain": "a gain", "loss": "a loss", "none": "nothing that can be told from chance"}
    return listing(
        [
            f"{words[verdict]} on the {split_names(splits)}"
            for verdict, splits in by.items()
            if splits
        ]
    )


def _carried(view: View, split: str) -> str:
    """Say whether the gain is one on rows that nobody trained on."""
    line = view.federated(split)
    found = gains.beside_usual(view, split, line, "unseen") if line else None
    if found is None:
        return ""
    words = {"gain": "better than", "none": "not surely better than", "loss": "worse than"}
    return (
        f". On rows that nobody trained on it is {words[gains.verdict_of(found[1])]} "
        f"{levels(view).always}"
    )


def _without_gain(view: View, split: str) -> str:
    line, alone = view.federated(split), view.lines(split, "alone")
    if line is not None and alone:
        return (
            "What learning together gives is not said: these results do not hold what all arms "
            "made of the same test rows."
        )
    missing = "no party trained alone" if line is not None else "nothing was averaged"
    return f"That is not measured here: {missing}."


def _cost(view: View, split: str) -> str:
    spent = encryption(view, split)
    if spent is None:
        return "Nothing was encrypted here, so nothing is said of what that costs."
    exact = {(m.equal_rounds, m.equal_runs) == (m.rounds, m.runs) for m in gains.matches(view)}
    if exact == {True}:
        parts = ["changes no bit of the model"]
    elif exact:
        parts = ["should change no bit of the model and does: something is broken"]
    else:
        parts = []
    if spent.clear is None:
        parts.append(f"takes {duration(spent.seconds)} a round")
    elif (added := fmean(spent.added)) > 0:
        parts.append(f"adds {duration(added)} a round")
    else:
        parts.append("adds no time that shows")
    if plain := plaintext_bytes(view, split):
        up = view.summary(split, spent.line).upload_bytes_per_round
        parts.append(f"sends {up / plain:.2f} times the bytes of float32 in the clear")
    return f"Encryption {listing(parts)}. {_beside_pooled(view, split)}".strip()


def _beside_pooled(view: View, split: str) -> str:
    line, pooled = view.federated(split), view.lines(split, "pooled")
    result = gains.difference(view, split, line, pooled[0]) if line and pooled else None
    if result is None:
        return ""
    size = gap(result.comparison.measure, result.comparison.difference)
    return {
        "gain": f"Beside all rows in one place, learning together gains {size}.",
        "loss": f"Beside all rows in one place, learning together loses {size}.",
        "none": "Beside all rows in one place it loses nothing that can be told from chance.",
    }[result.verdict]


def _protected(view: View, split: str) -> str:
    encrypted = view.lines(split, "encrypted")
    said = (
        "The server adds updates that it cannot read; the parties see the mean"
        f"{', and of two each can work out the other’s update' if view.party_count == 2 else ''}. "
        if encrypted
        else ""
    )
    shown = View(view.results.beside) if view.results.beside is not None else view
    return said + (_bounded(shown, beside=shown is not view) or _unbounded(view))


def _unbounded(view: View) -> str:
    if any(view.lines(split, *PRIVATE) for split in view.splits):
        return "What ε was spent is not recorded."
    return "What the model tells of a row is not bounded: no arm had differential privacy."


def _bounded(view: View, *, beside: bool) -> str:
    """Say what ε bounds, and what that costs where it costs least among arms that share noise."""
    split = view.main_split
    line = None if split is None else _chosen(view, split)
    if split is None or line is None:
        return ""
    costs = view.costs(split, line)
    if not costs or line.epsilon is None:
        return ""
    plain = view.federated(split)
    result = gains.difference(view, split, plain, line) if plain else None
    where = f" on {view.dataset}, {view.party_count}\u00a0parties" if beside else ""
    if result is None:
        price = "what that costs is not said"
    else:
        size = gap(result.comparison.measure, result.comparison.difference)
        price = {
            "gain": f"that costs {size}",
            "none": "what that costs cannot be told from chance",
            "loss": f"that gains {size}",
        }[result.verdict]
    name = view.label(line.arm)
    return (
        f"ε\u00a0=\u00a0{as_given(line.epsilon)} ({terms_in_words(costs)}) bounds what anybody "
        f"learns of one unit; {price}{where} ({name})."
    )


def _chosen(view: View, split: str) -> Line | None:
    """Return the private arm to speak of: noise shares before others, at ε = 1 or the nearest."""
    lines = view.lines(split, *PRIVATE)
    shared = [line for line in lines if view.arm(line.arm).noise == "shares"]
    return min(
        shared or lines,
        key=lambda line: abs(math.log((line.epsilon or math.inf) / _PREFERRED_EPSILON)),
        default=None,
    )
