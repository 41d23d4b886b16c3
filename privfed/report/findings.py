"""What the numbers say, in plain words: every sentence here depends on the data."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean

from privfed.experiment.results import Results
from privfed.report import gains
from privfed.report.claim import claim
from privfed.report.cost import encryption, plaintext_bytes
from privfed.report.privacy import PRIVATE, arms, asked
from privfed.report.view import Line, View
from privfed.report.words import (
    count,
    duration,
    given,
    listing,
    percent,
    percent_range,
    points,
    present,
    size,
    span,
    split_names,
)
from privfed.rounding import outwards


@dataclass(frozen=True)
class Finding:
    """One thing that the numbers say."""

    name: str  # what it is about: gain, pooled, unseen, splits, exact, cost, privacy or claim
    headline: str
    text: str


def findings(results: Results) -> list[Finding]:
    """Put results into words.

    Args:
        results: What `load_results` or an experiment gives.

    Returns:
        The findings, the most important first; only those that the results support.

    Raises:
        ConfigError: The results hold an arm that they do not describe.
    """
    view = View(results)
    split = view.main_split
    if split is None:
        return [Finding("gain", "No arm has finished yet.", "Run the benchmark to its end.")]
    found = [
        _gain(view, split),
        _pooled(view, split),
        _unseen(view, split),
        _other_splits(view, split),
        _claim(view),
        *_exact(view),
        _cost(view, split),
        _privacy(view, split),
    ]
    return [finding for finding in found if finding is not None]


def _gain(view: View, split: str) -> Finding | None:
    result = gains.gain(view, split)
    if result is None:
        return _not_compared(view, split)
    alone = result.other.label
    headline = {
        "gain": f"learning together gains {points(result.difference)} over {alone}.",
        "loss": f"learning together costs {points(result.difference)} beside {alone}.",
        "none": f"a gain of {points(result.difference)} cannot be told from chance."
        if result.difference > 0
        else "learning together gains nothing that shows.",
    }[result.verdict]
    others = len(view.lines(split, "alone")) > 1
    return Finding(
        "gain",
        f"On the {split} split, {headline}",
        f"Federated learning gets {percent(result.accuracy)} of its test rows right; {alone}"
        f"{', the best of the parties by themselves,' if others else ''} "
        f"{percent(result.other_accuracy)} of the same rows. {_sureness(result)}",
    )


def _not_compared(view: View, split: str) -> Finding | None:
    line, alone = view.federated(split), view.lines(split, "alone")
    if line is None or not alone:
        return None
    each = [f"{x.label} on {_tested(view, split, x)}" for x in (line, *alone)]
    why = (
        "the arms were tested on different rows"
        if any(gains.on_other_rows(view, split, x) for x in alone)
        else "which rows the arms were tested on is not recorded"
    )
    return Finding(
        "gain",
        f"What learning together gives is not compared: {why}.",
        f"On the {split} split {listing(each)}. On different rows a difference of accuracies is "
        "one of rows as much as of learning.",
    )


def _tested(view: View, split: str, line: Line) -> str:
    return f"{span([run.test_rows for run in view.runs(split, line)])} test rows"


def _sureness(result: gains.Difference) -> str:
    interval = f"a 95 % interval of {_signed(result.interval)}"
    if result.seeds < gains.FEW_SEEDS:
        seeds = count(result.seeds, "seed")
        return f"The difference has {interval}; with {seeds} it counts test rows only."
    return f"Over {result.seeds} seeds the difference has {interval}."


def _signed(interval: tuple[float, float]) -> str:
    low, high = (
        (text if text.startswith("-") else f"+{text}").replace("-", "−")
        for text in outwards(interval, 1, percent=True)
    )
    return f"{low} to {high} points"


def _unseen(view: View, split: str) -> Finding | None:
    line = view.federated(split)
    verdict = gains.unseen_verdict(view, split, line) if line else None
    if line is None or verdict is None:
        return None
    summary = view.summary(split, line)
    headline = {
        "above": "better than",
        "around": "not surely better than",
        "below": "worse than",
    }[verdict]
    headline = (
        f"On rows that nobody trained on, federated learning is {headline} always naming the "
        "majority."
    )
    text = (
        f"On the {split} split {percent(summary.unseen_accuracy)} of the "
        f"{count(summary.unseen_n, 'test row')} whose {view.id_name} no party had in training are "
        f"right (95 % interval {percent_range(summary.unseen_ci95)}); the majority class would be "
        f"right on {percent(summary.unseen_majority)} of them"
    )
    text += "; the difference may be chance." if verdict == "around" else "."
    if present(summary.seen_accuracy):
        text += (
            f" On the {count(summary.seen_n, 'test row')} that it had in training, "
            f"{percent(summary.seen_accuracy)}."
        )
    return Finding("unseen", headline, text)


def _other_splits(view: View, main: str) -> Finding | None:
    others = [r for split in view.splits if split != main and (r := gains.gain(view, split))]
    if not others:
        return None
    by_verdict = {
        verdict: [r.split for r in others if r.verdict == verdict]
        for verdict in ("gain", "none", "loss")
    }
    phrases = {"gain": "a gain", "none": "no gain that can be told from chance", "loss": "a loss"}
    parts = [
        f"{phrases[verdict]} on the {split_names(splits)}"
        for verdict, splits in by_verdict.items()
        if splits
    ]
    sentences = [
        f"{r.split.capitalize()}: federated {percent(r.accuracy)}, "
        f"{r.other.label} {percent(r.other_accuracy)}, difference {_signed(r.interval)} (95 %)."
        for r in others
    ]
    return Finding("splits", f"Elsewhere: {listing(parts)}.", " ".join(sentences))


def _exact(view: View) -> list[Finding]:
    found = []
    for match in gains.matches(view):
        rounds = f"{match.equal_rounds:,} of {count(match.rounds, 'round')}"
        runs = f"{match.equal_runs} of {count(match.runs, 'run')}"
        if match.equal_runs == match.runs and match.equal_rounds == match.rounds:
            headline = "Encryption changes nothing: the weights are equal, bit for bit."
            text = (
                f"“{match.encrypted.label}” has the weights of the same integers added in the "
                f"clear after {rounds}, and at the end of {runs}."
            )
        else:
            headline = "The encrypted sum is not the sum in the clear: something is broken."
            text = (
                f"“{match.encrypted.label}” should have the weights of the same integers added in "
                f"the clear, bit for bit, and has them after {rounds} only; {runs} are equal "
                "throughout. Trust none of its figures until this is explained."
            )
        found.append(Finding("exact", headline, text))
    return found


def _pooled(view: View, split: str) -> Finding | None:
    line, pooled = view.federated(split), view.lines(split, "pooled")
    result = gains.difference(view, split, line, pooled[0]) if line and pooled else None
    if result is None:
        return None
    distance = points(result.difference)
    headline = {
        "gain": f"Federated learning ends {distance} above training on all rows in one place.",
        "loss": f"Federated learning ends {distance} short of training on all rows in one place.",
        "none": "Federated learning and training on all rows in one place cannot be told apart.",
    }[result.verdict]
    return Finding(
        "pooled",
        headline,
        f"On the {split} split, {percent(result.accuracy)} against "
        f"{percent(result.other_accuracy)} on the same test rows. {_sureness(result)}",
    )


def _cost(view: View, split: str) -> Finding | None:
    spent = encryption(view, split)
    if spent is None:
        return None
    seconds = duration(spent.seconds)
    if spent.clear is None:
        headline = f"Encrypting, adding and decrypting take {seconds} a round."
        text = "What encryption adds is not said: no arm in the clear ran beside it. A round’s"
    else:
        added = fmean(spent.added)
        headline = (
            f"Encryption adds {duration(added)} a round."
            if added > 0
            else "Encryption adds no time that shows."
        )
        text = (
            f"From the updates to their mean, work ahead included, it takes {seconds} a round, and "
            f"{duration(max(spent.seconds - added, 0.0))} in the clear ({spent.clear.label}). "
            "A round’s"
        )
    up = view.summary(split, spent.line).upload_bytes_per_round
    text += f" updates are {size(up)} up, all parties together"
    plain = plaintext_bytes(view, split)
    if plain:
        text += f", {up / plain:.2f} times the float32 in the clear"
    return Finding("cost", headline, f"{text}.")


def _privacy(view: View, split: str) -> Finding | None:
    every = [x for x in view.lines(split, *PRIVATE) if present(_mean(view, split, x))]
    if not every:
        return None
    averaging = [line for line in every if line.role == "private"]
    plain = view.federated(split)
    costs = [gains.difference(view, split, plain, line) for line in every] if plain else []
    compared = [result for result in costs if result is not None]
    if not any(_beats_majority(view, split, line) for line in every):
        headline = (
            "With differential privacy, no model here is surely better than the majority class."
        )
    elif not compared:
        headline = (
            "What differential privacy costs is not said: no arm without it is known to have been "
            "tested on the same rows."
        )
    else:
        least = min(compared, key=lambda result: result.difference)
        name = least.other.label
        headline = {
            "gain": f"Differential privacy costs at least {points(least.difference)}: {name}.",
            "none": f"What differential privacy costs cannot be told from chance: {name}.",
            "loss": f"With differential privacy, {name} is {points(least.difference)} better than "
            "federated learning without.",
        }[least.verdict]
    shown = averaging or every
    best = max(shown, key=lambda line: _mean(view, split, line))
    names = [asked(line) if averaging else line.label for line in shown]
    means = [percent(_mean(view, split, line)) for line in shown]
    each = listing([f"{name}: {mean}" for name, mean in zip(names, means, strict=True)])
    majority = view.summary(split, best).majority_accuracy
    text = f"On the {split} split, {each}; majority class {percent(majority)}"
    if plain is not None and view.on_same_rows(split, plain, best):
        text += f"; federated without privacy {percent(_mean(view, split, plain))}"
    text += ". "
    if compared:
        least = min(compared, key=lambda result: result.difference)
        text += f"{least.line.label} minus {least.other.label}: {_sureness(least)} "
    text += (_beside(view, split, best) if averaging else "") + _promise(view, split, best)
    return Finding("privacy", headline, text)


def _beats_majority(view: View, split: str, line: Line) -> bool:
    """Return whether an arm is surely better than the majority class on its own test rows."""
    interval = gains.accuracy_interval(view, split, line)
    majority = view.summary(split, line).majority_accuracy
    return interval is None or not present(majority) or interval[0] > majority


def _beside(view: View, split: str, best: Line) -> str:
    """Compare with the arms that release gradients or train alone, at the largest ε asked."""
    last = [lines[-1] for lines in arms(view, split).values() if lines[-1].role == "released"]
    shown = [x for x in last if present(_mean(view, split, x))]
    if not shown:
        return ""
    apart = " (not known to be on the same rows, so not compared)"
    each = [
        f"{view.label(x.arm)} {percent(_mean(view, split, x))}"
        f"{'' if view.on_same_rows(split, x, best) else apart}"
        for x in shown
    ]
    return f"Beside it at {asked(shown[0])}: {'; '.join(each)}. "


def _mean(view: View, split: str, line: Line) -> float:
    return view.summary(split, line).test_accuracy_mean


def _claim(view: View) -> Finding | None:
    said = claim(view)
    return None if said is None else Finding("claim", *said)


def _promise(view: View, split: str, line: Line) -> str:
    costs = view.costs(split, line)
    if not costs:
        return "What ε was spent is not recorded."
    cost = costs[0]
    rounds = count(max(run.rounds for run in view.runs(split, line)), "round")
    return (
        f"They train {rounds}. ε is that of the worst-placed unit ({cost.privacy_unit}) at "
        f"δ\u00a0=\u00a0{given(cost.delta)}; {cost.adjacency}; {cost.sampling}; "
        f"{cost.accountant}."
    )
