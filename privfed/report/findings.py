"""What the numbers say, in plain words: every sentence here depends on the data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from privfed.experiment.results import Results, Summary
from privfed.report import gains
from privfed.report.claim import claim
from privfed.report.cost import encryption, plaintext_bytes
from privfed.report.level import figures, levels
from privfed.report.private_findings import private_findings
from privfed.report.view import Line, View
from privfed.report.words import (
    count,
    duration,
    gap,
    gap_range,
    in_units,
    listing,
    measured,
    percent,
    percent_range,
    present,
    size,
    span,
    split_names,
)

_MOST_NAMED = 4  # parties, each with its figures


@dataclass(frozen=True)
class Finding:
    """One thing that the numbers say."""

    # What it is about: gain, own, pooled, reference, unseen, splits, exact, cost, privacy, claim.
    name: str
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
        _own(view, split),
        _pooled(view, split),
        _references(view, split),
        _unseen(view, split),
        _other_splits(view, split),
        _claim(view),
        *_exact(view),
        _cost(view, split),
        *(Finding("privacy", *each) for each in private_findings(view)),
    ]
    return [finding for finding in found if finding is not None]


def _gain(view: View, split: str) -> Finding | None:
    result = gains.gain(view, split)
    if result is None:
        return _not_compared(view, split)
    compared, alone = result.comparison, result.other.label
    size = gap(compared.measure, compared.difference)
    headline = {
        "gain": f"learning together gains {size} over {alone}.",
        "loss": f"learning together costs {size} beside {alone}.",
        "none": f"a gain of {size} cannot be told from chance."
        if compared.difference > 0
        else "learning together gains nothing that shows.",
    }[result.verdict]
    parties = len(view.lines(split, "alone"))
    best, whom = "", ""
    if parties > 1:
        best = ", the best party alone,"
        whom = f" to whichever of the {parties} parties alone is best"
    return Finding(
        "gain",
        f"On the {split} split, {headline}",
        f"{_values(view, result, f'{alone}{best}')} {_sureness(result, whom)} {_judged(view)}",
    )


def _not_compared(view: View, split: str) -> Finding | None:
    line, alone = view.federated(split), view.lines(split, "alone")
    if line is None or not alone:
        return None
    each = [f"{x.label} on {_tested(view, split, x)}" for x in (line, *alone)]
    why = (
        "the test rows do not allow it"
        if view.measure
        else "these results do not say what each arm made of the same rows"
    )
    return Finding(
        "gain",
        f"What learning together gives is not compared: {why}.",
        f"On the {split} split {listing(each)}. On different rows a difference is one of rows as "
        "much as of learning.",
    )


def _tested(view: View, split: str, line: Line) -> str:
    return f"{span([run.test_rows for run in view.runs(split, line)])} test rows"


def _values(view: View, result: gains.Difference, other: str) -> str:
    """Return both values on the same rows; of numbers their MAE besides."""
    c = result.comparison
    ours, theirs = measured(c.measure, c.value), measured(c.measure, c.beside_value)
    rows = f"the same {count(c.test_rows, 'test row')}"
    if c.measure == "accuracy":
        return f"Of {rows} {result.line.label} gets {ours} right, {other} {theirs}."
    name = "R² " if c.measure == "R²" else ""
    said = f"On {rows} {result.line.label} has {name}{ours}, {other} {theirs}"
    off = view.comparison(c.split, c.rows, result.line, result.other, "MAE")
    if off is None:
        return f"{said}."
    off_by = f"{in_units(off.value)} and {in_units(off.beside_value)}"
    return f"{said}; they are off by {off_by} on average (MAE, in units of {view.label_name})."


def _sureness(result: gains.Difference, whom: str = "") -> str:
    seeds = count(result.comparison.seeds, "seed")
    if result.comparison.seed_standard_error is None:
        seeds += ": test rows only"
    interval = gap_range(result.comparison.measure, result.interval)
    return f"Difference{whom}: {interval} (95\u00a0%, {seeds})."


def _judged(view: View) -> str:
    """Name the measure of the verdicts, what it is, and why it is that one."""
    return {
        "accuracy": "Judged by accuracy, as the classes are even.",
        "AUC": "Judged by AUC, as the classes are uneven: how often a row of a class is ranked "
        "above one of another (0.5: guessing).",
    }.get(
        view.results.measures[0],
        "Judged by R², as the label is a number: the share of its variance on test rows that is "
        "told (1: all; 0: as much as by the mean of these rows).",
    )


def _own(view: View, split: str) -> Finding | None:
    found = gains.own_gains(view, split)
    if not found:
        return None
    verbs = {"gain": ("gains", "gain"), "loss": ("loses", "lose")}
    parts = []
    for verdict in ("gain", "loss", "none"):
        if names := [x.other.arm for x in found if x.verdict == verdict]:
            verb = verbs.get(verdict, verbs["gain"])[len(names) > 1]
            told = " nothing that can be told" if verdict == "none" else ""
            parts.append(f"{listing(names)} {verb}{told}")
    sentences = [
        f"{x.other.arm}: {measured(x.comparison.measure, x.comparison.value)} together, "
        f"{measured(x.comparison.measure, x.comparison.beside_value)} alone, "
        f"{gap_range(x.comparison.measure, x.interval)}."
        for x in (found if len(found) <= _MOST_NAMED else _ends(found))
    ]
    jointly = " (95\u00a0%, all at once)" if len(found) > 1 else " (95\u00a0%)"
    return Finding(
        "own",
        f"On each party’s own test rows, {listing(parts)} by learning together.",
        f"{view.measure}{jointly}: {' '.join(sentences)}",
    )


def _ends(found: Sequence[gains.Difference]) -> list[gains.Difference]:
    """Return those with the least and the greatest difference; all are among all figures."""
    by_size = sorted(found, key=lambda each: each.comparison.difference)
    return [by_size[0], by_size[-1]]


def _references(view: View, split: str) -> Finding | None:
    line = view.federated(split)
    found = gains.beside_references(view, split, line) if line else []
    if line is None or not found:
        return None
    words = {"gain": "above", "loss": "below", "none": "not to be told from"}
    bounded = [(each, gains.bounds(each, of=len(found))) for each in found]
    places = [f"{words[gains.verdict_of(bounds)]} {each.beside}" for each, bounds in bounded]
    sentences = [
        f"{each.beside} {measured(each.measure, each.beside_value)}, difference "
        f"{gap_range(each.measure, bounds)}."
        for each, bounds in bounded
    ]
    return Finding(
        "reference",
        f"Federated learning is {listing(places)} of scikit-learn on all rows in one place.",
        f"On the {split} split, by {view.measure} on the same test rows: {line.label} "
        f"{measured(found[0].measure, found[0].value)}. {' '.join(sentences)} The 95 % intervals "
        "hold for both at once.",
    )


def _unseen(view: View, split: str) -> Finding | None:
    line = view.federated(split)
    found = gains.beside_usual(view, split, line, "unseen") if line else None
    if line is None or found is None:
        return None
    summary, (compared, interval) = view.summary(split, line), found
    by = levels(view)
    verdict = gains.verdict_of(interval)
    headline = {
        "gain": "better than",
        "none": "not surely better than",
        "loss": "worse than",
    }[verdict]
    headline = (
        f"On rows that nobody trained on, federated learning is {headline} "
        f"{'always saying the mean' if view.is_of_numbers else 'always naming the majority'}."
    )
    shown = gap_range(compared.measure, interval)
    chance = ", which may be chance." if verdict == "none" else "."
    if view.is_of_numbers:
        text = (
            f"On {count(compared.test_rows, 'such row')} it has R² {by.shown(compared.value)}, "
            f"the mean of all training labels {by.shown(compared.beside_value)}; difference "
            f"{shown}{chance}{_off_by(view, summary)}"
        )
        return Finding("unseen", headline, text)
    text = (
        f"Of {count(summary.unseen_n, 'such row')} {percent(summary.unseen_accuracy)} are right "
        f"(95\u00a0%: {percent_range(summary.unseen_ci95)}), by the majority class "
        f"{percent(summary.unseen_majority)}; difference of {compared.measure} {shown}{chance}"
    )
    if present(summary.seen_accuracy):
        text += f" Of rows seen in training: {percent(summary.seen_accuracy)}."
    return Finding("unseen", headline, text)


def _off_by(view: View, summary: Summary) -> str:
    """Say how far off a label that is a number is told on average, on rows unseen and seen."""
    found = figures(summary)
    if not present(found.unseen_mae):
        return ""
    said = (
        f" It is off by {in_units(found.unseen_mae)} on average, the mean by "
        f"{in_units(found.unseen_mean_mae)} (MAE, in units of {view.label_name})."
    )
    if present(found.seen_mae):
        said += f" On rows seen in training: {in_units(found.seen_mae)}."
    return said


def _other_splits(view: View, main: str) -> Finding | None:
    others = {
        split: result
        for split in view.splits
        if split != main and (result := gains.gain(view, split))
    }
    if not others:
        return None
    by_verdict = {
        verdict: [split for split, r in others.items() if r.verdict == verdict]
        for verdict in ("gain", "none", "loss")
    }
    phrases = {"gain": "a gain", "none": "no gain that can be told from chance", "loss": "a loss"}
    parts = [
        f"{phrases[verdict]} on the {split_names(splits)}"
        for verdict, splits in by_verdict.items()
        if splits
    ]
    sentences = [
        f"{split.capitalize()}: {measured(r.comparison.measure, r.comparison.value)} beside "
        f"{measured(r.comparison.measure, r.comparison.beside_value)} of {r.other.label}, "
        f"{gap_range(r.comparison.measure, r.interval)} (95\u00a0%)."
        for split, r in others.items()
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
                f"As where the same integers are added in the clear: after {rounds}, at the end "
                f"of {runs}."
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
    distance = gap(result.comparison.measure, result.comparison.difference)
    headline = {
        "gain": f"Federated learning ends {distance} above training on all rows in one place.",
        "loss": f"Federated learning ends {distance} short of training on all rows in one place.",
        "none": "Federated learning and training on all rows in one place cannot be told apart.",
    }[result.verdict]
    c = result.comparison
    text = (
        f"On all test rows {result.line.label} {measured(c.measure, c.value)}, "
        f"{result.other.label} {measured(c.measure, c.beside_value)}. {_sureness(result)}"
    )
    return Finding("pooled", headline, text)


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
            f"From updates to mean: {seconds} a round, in the clear "
            f"{duration(max(spent.seconds - added, 0.0))}. A round’s"
        )
    up = view.summary(split, spent.line).upload_bytes_per_round
    text += f" updates are {size(up)} up, all parties together"
    plain = plaintext_bytes(view, split)
    if plain:
        text += f", {up / plain:.2f} times float32 in the clear"
    return Finding("cost", headline, f"{text}.")


def _claim(view: View) -> Finding | None:
    said = claim(view)
    return None if said is None else Finding("claim", *said)
