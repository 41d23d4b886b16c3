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
    gap,
    gap_range,
    given,
    listing,
    measured,
    percent,
    percent_range,
    present,
    size,
    span,
    split_names,
)


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
        _privacy(view, split),
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
        best = ", the best of the parties by themselves,"
        whom = f" to whichever of the {parties} parties alone is best"
    return Finding(
        "gain",
        f"On the {split} split, {headline}",
        f"{_values(result, f'{alone}{best}')} {_sureness(result, whom)} {_judged(view)}",
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
        f"On the {split} split {listing(each)}. On different rows a difference of accuracies is "
        "one of rows as much as of learning.",
    )


def _tested(view: View, split: str, line: Line) -> str:
    return f"{span([run.test_rows for run in view.runs(split, line)])} test rows"


def _values(result: gains.Difference, other: str) -> str:
    """Return both values on the same rows."""
    c = result.comparison
    ours, theirs = measured(c.measure, c.value), measured(c.measure, c.beside_value)
    rows = f"the same {count(c.test_rows, 'test row')}"
    if c.measure == "accuracy":
        return f"Of {rows} {result.line.label} gets {ours} right, {other} {theirs}."
    return f"On {rows} {result.line.label} has {ours} of {c.measure}, {other} {theirs}."


def _sureness(result: gains.Difference, whom: str = "") -> str:
    interval = f"a 95 % interval of {gap_range(result.comparison.measure, result.interval)}"
    seeds = count(result.comparison.seeds, "seed")
    if result.comparison.seed_standard_error is None:
        return f"The difference{whom} has {interval}; with {seeds} it counts test rows only."
    return f"Over {seeds} the difference{whom} has {interval}."


def _judged(view: View) -> str:
    """Name the measure of the verdicts, and why it is that one."""
    first, *others = view.results.measures
    beside = f"; beside it {listing(others)} are among all figures"
    if first == "accuracy":
        return f"Judged by accuracy, as the classes are even{beside}."
    if first == "AUC":
        return f"Judged by AUC, as the classes are uneven{beside}."
    return f"Judged by {first}, as the label is a number{beside}."


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
        f"{measured(x.comparison.measure, x.comparison.beside_value)} alone, difference "
        f"{gap_range(x.comparison.measure, x.interval)}."
        for x in found
    ]
    jointly = "; the 95 % intervals hold for all parties at once" if len(found) > 1 else " (95 %)"
    return Finding(
        "own",
        f"On each party’s own test rows, {listing(parts)} by learning together.",
        f"On the {split} split, by {view.measure}{jointly}. {' '.join(sentences)}",
    )


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
    found = gains.beside_majority(view, split, line, "unseen") if line else None
    if line is None or found is None:
        return None
    summary, (compared, interval) = view.summary(split, line), found
    verdict = gains.verdict_of(interval)
    headline = {
        "gain": "better than",
        "none": "not surely better than",
        "loss": "worse than",
    }[verdict]
    headline = (
        f"On rows that nobody trained on, federated learning is {headline} always naming the "
        "majority."
    )
    text = (
        f"On the {split} split {percent(summary.unseen_accuracy)} of the "
        f"{count(summary.unseen_n, 'test row')} whose {view.id_name} no party had in training are "
        f"right (95 % interval {percent_range(summary.unseen_ci95)}); the majority class would be "
        f"right on {percent(summary.unseen_majority)} of them. "
    )
    if compared.measure != "accuracy":
        text += (
            f"Judged by {compared.measure} it has {measured(compared.measure, compared.value)}, "
            f"and the majority class {measured(compared.measure, compared.beside_value)}. "
        )
    text += f"The difference has a 95 % interval of {gap_range(compared.measure, interval)}"
    text += "; it may be chance." if verdict == "none" else "."
    if present(summary.seen_accuracy):
        text += (
            f" On the {count(summary.seen_n, 'test row')} that it had in training, "
            f"{percent(summary.seen_accuracy)}."
        )
    return Finding("unseen", headline, text)


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
        f"{split.capitalize()}: {r.line.label} {measured(r.comparison.measure, r.comparison.value)}"
        f", {r.other.label} {measured(r.comparison.measure, r.comparison.beside_value)}, "
        f"difference {gap_range(r.comparison.measure, r.interval)} (95 %)."
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
    distance = gap(result.comparison.measure, result.comparison.difference)
    headline = {
        "gain": f"Federated learning ends {distance} above training on all rows in one place.",
        "loss": f"Federated learning ends {distance} short of training on all rows in one place.",
        "none": "Federated learning and training on all rows in one place cannot be told apart.",
    }[result.verdict]
    text = f"On the {split} split. {_values(result, result.other.label)} {_sureness(result)}"
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
    every = [x for x in view.lines(split, *PRIVATE) if present(_level(view, split, x))]
    if not every:
        return None
    averaging = [line for line in every if line.role == "private"]
    plain = view.federated(split)
    costs = [gains.difference(view, split, plain, line) for line in every] if plain else []
    dearest = gains.least([result for result in costs if result is not None])
    if not any(_may_beat_majority(view, split, line) for line in every):
        headline = (
            "With differential privacy, no model here is surely better than the majority class."
        )
    elif dearest is None:
        headline = (
            "What differential privacy costs is not said: no arm without it is known to have been "
            "tested on the same rows."
        )
    else:
        name, size = dearest.other.label, gap(dearest.comparison.measure, _size(dearest))
        headline = {
            "gain": f"Differential privacy costs {size} where it costs least: {name}.",
            "none": f"What differential privacy costs cannot be told from chance: {name}.",
            "loss": f"With differential privacy, {name} is {size} better than federated learning "
            "without.",
        }[dearest.verdict]
    shown = averaging or every
    best = max(shown, key=lambda line: _level(view, split, line))
    names = [asked(line) if averaging else line.label for line in shown]
    levels = [_shown_level(view, split, line) for line in shown]
    each = listing([f"{name}: {level}" for name, level in zip(names, levels, strict=True)])
    text = f"On the {split} split, by {view.measure or 'accuracy'}, {each}; majority class "
    text += _majority_level(view, split, best)
    if plain is not None and dearest is not None:
        text += f"; federated without privacy {_shown_level(view, split, plain)}"
    text += ". "
    if dearest is not None:
        several = sum(result is not None for result in costs)
        whom = f" to whichever of the {several} private arms is best" if several > 1 else ""
        text += f"{dearest.line.label} minus {dearest.other.label}: {_sureness(dearest, whom)} "
    text += (_beside(view, split, best) if averaging else "") + _promise(view, split, best)
    return Finding("privacy", headline, text)


def _size(result: gains.Difference) -> float:
    return result.comparison.difference


def _may_beat_majority(view: View, split: str, line: Line) -> bool:
    """Return whether an arm is surely better than the majority class, or that is not known."""
    found = gains.beside_majority(view, split, line)
    return found is None or gains.verdict_of(found[1]) == "gain"


def _beside(view: View, split: str, best: Line) -> str:
    """Compare with the arms that release gradients or train alone, at the largest ε asked."""
    last = [lines[-1] for lines in arms(view, split).values() if lines[-1].role == "released"]
    shown = [x for x in last if present(_level(view, split, x))]
    if not shown:
        return ""
    # Without paired figures a level is of the arm's own test rows.
    apart = " (not known to be on the same rows, so not compared)"
    each = [
        f"{view.label(x.arm)} {_shown_level(view, split, x)}"
        f"{'' if view.measure or view.on_same_rows(split, x, best) else apart}"
        for x in shown
    ]
    return f"Beside it at {asked(shown[0])}: {'; '.join(each)}. "


def _level(view: View, split: str, line: Line) -> float:
    """Return an arm's measure on the rows of all; in an older file its own test accuracy."""
    found = gains.beside_majority(view, split, line)
    return view.summary(split, line).test_accuracy_mean if found is None else found[0].value


def _shown_level(view: View, split: str, line: Line) -> str:
    return measured(view.measure or "accuracy", _level(view, split, line))


def _majority_level(view: View, split: str, line: Line) -> str:
    found = gains.beside_majority(view, split, line)
    if found is None:
        return percent(view.summary(split, line).majority_accuracy)
    return measured(found[0].measure, found[0].beside_value)


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
