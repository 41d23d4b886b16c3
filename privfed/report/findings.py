"""What the numbers say, in plain words: every sentence here depends on the data it speaks of."""

from __future__ import annotations

from dataclasses import dataclass

from privfed.experiment.results import Results
from privfed.report import gains
from privfed.report.cost import plaintext_bytes
from privfed.report.paper import GUEST_ROWS, HOST_ROWS, PAPER, PUBLIC_ROWS
from privfed.report.privacy import PRIVATE, arms
from privfed.report.view import Line, View
from privfed.report.words import (
    compact,
    count,
    duration,
    listing,
    percent,
    percent_range,
    points,
    present,
    size,
)


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
        The findings, the most important first; only those that the results can speak of.

    Raises:
        ConfigError: If the results hold an arm that they do not describe.
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
        return None
    alone = result.alone.label
    headline = {
        "gain": f"learning together gains {points(result.difference)}.",
        "loss": f"learning together costs {points(result.difference)}.",
        "none": f"a gain of {points(result.difference)} cannot be told from chance."
        if result.difference > 0
        else "learning together gains nothing.",
    }[result.verdict]
    return Finding(
        "gain",
        f"On the {split} split, {headline}",
        f"Federated learning gets {percent(result.federated_accuracy)} of its test rows right; the "
        f"best party by itself ({alone}) {percent(result.alone_accuracy)}. {_sureness(result)}",
    )


def _sureness(result: gains.Gain) -> str:
    interval = f"a 95 % interval of {_signed(result.interval)}"
    if result.seeds < gains.FEW_SEEDS:
        seeds = count(result.seeds, "seed")
        return f"The difference has {interval}; with {seeds} it counts test rows only."
    return f"Over {result.seeds} seeds the difference has {interval}."


def _signed(interval: tuple[float, float]) -> str:
    low, high = (f"{bound * 100:+.1f}".replace("-", "−") for bound in interval)
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
    headline = f"On rows that nobody trained on, it is {headline} always naming the majority."
    text = (
        f"On the {split} split {percent(summary.unseen_accuracy)} of the "
        f"{count(summary.unseen_n, 'test row')} whose {view.id_name} no party had in training are "
        f"right (95 % interval {percent_range(summary.unseen_ci95)}); the majority class would be "
        f"right on {percent(summary.unseen_majority)} of them"
    )
    text += "; so few rows do not tell the two apart." if verdict == "around" else "."
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
        f"{phrases[verdict]} on the {_splits(splits)}"
        for verdict, splits in by_verdict.items()
        if splits
    ]
    sentences = [
        f"{r.split.capitalize()}: federated {percent(r.federated_accuracy)}, "
        f"{r.alone.label} {percent(r.alone_accuracy)}, difference {_signed(r.interval)} (95 %)."
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
    if line is None or not pooled:
        return None
    ours = view.summary(split, line).test_accuracy_mean
    theirs = view.summary(split, pooled[0]).test_accuracy_mean
    if not (present(ours) and present(theirs)):
        return None
    gap = theirs - ours
    side = (
        f"{points(gap)} {'short of' if gap > 0 else 'above'}" if abs(gap) >= 0.005 else "level with"
    )
    return Finding(
        "pooled",
        f"Federated learning ends {side} training on all rows in one place.",
        f"On the {split} split, {percent(ours)} against {percent(theirs)} on the same test rows.",
    )


def _cost(view: View, split: str) -> Finding | None:
    encrypted = view.lines(split, "encrypted")
    if not encrypted:
        return None
    summary = view.summary(split, encrypted[0])
    if not present(summary.encryption_seconds_per_round):
        return None
    text = f"A round’s updates are {size(summary.upload_bytes_per_round)} up, all parties together"
    plain = plaintext_bytes(view, split)
    if plain:
        text += f", {summary.upload_bytes_per_round / plain:.2f} times the float32 in the clear"
    spent = duration(summary.encryption_seconds_per_round)
    return Finding("cost", f"Encryption adds {spent} a round.", f"{text}.")


def _privacy(view: View, split: str) -> Finding | None:
    averaging = view.lines(split, "private")
    lines = averaging or view.lines(split, *PRIVATE)
    private = [x for x in lines if present(view.summary(split, x).test_accuracy_mean)]
    if not private:
        return None
    best = max(private, key=lambda line: view.summary(split, line).test_accuracy_mean)
    summary = view.summary(split, best)
    accuracy, majority = summary.test_accuracy_mean, summary.majority_accuracy
    low = summary.test_accuracy_ci95[0] if summary.test_accuracy_ci95 else None
    plain = view.federated(split)
    reference = view.summary(split, plain).test_accuracy_mean if plain else None
    if present(majority) and (accuracy <= majority or (low is not None and low <= majority)):
        headline = (
            "With differential privacy, no model here is surely better than the majority class."
        )
    elif present(reference) and reference - accuracy >= 0.005:
        headline = f"Differential privacy costs at least {points(reference - accuracy)}."
    else:
        headline = "Differential privacy costs no accuracy that shows here."
    names = [_asked(x) if averaging else x.label for x in private]
    means = [percent(_mean(view, split, x)) for x in private]
    each = listing([f"{name}: {mean}" for name, mean in zip(names, means, strict=True)])
    text = f"On the {split} split, {each}; majority class {percent(majority)}"
    if reference is not None:
        text += f"; federated without privacy {percent(reference)}"
    text += ". " + (_beside(view, split) if averaging else "") + _promise(view, split, best)
    return Finding("privacy", headline, text)


def _beside(view: View, split: str) -> str:
    """The arms that release gradients or train alone, at the largest ε that was asked."""
    last = [lines[-1] for lines in arms(view, split).values() if lines[-1].role == "released"]
    shown = [x for x in last if present(_mean(view, split, x))]
    if not shown:
        return ""
    each = [f"{view.label(x.arm)} {percent(_mean(view, split, x))}" for x in shown]
    return f"Beside it at {_asked(shown[0])}: {'; '.join(each)}. "


def _asked(line: Line) -> str:
    return f"ε\u00a0=\u00a0{line.epsilon:g}" if line.epsilon is not None else line.label


def _mean(view: View, split: str, line: Line) -> float:
    return view.summary(split, line).test_accuracy_mean


def _promise(view: View, split: str, line: Line) -> str:
    costs = view.costs(split, line)
    if not costs:
        return "What ε was spent is not recorded."
    cost = costs[0]
    rounds = count(max(run.rounds for run in view.runs(split, line)), "round")
    return (
        f"They train {rounds}. ε is that of the worst-placed unit ({cost.privacy_unit}) at "
        f"δ\u00a0=\u00a0{compact(cost.delta)}; {cost.adjacency}; {cost.sampling}; "
        f"{cost.accountant}."
    )


def _claim(view: View) -> Finding | None:
    """What this means for the paper, always as a hypothesis: nobody here has seen its file."""
    if not view.is_dresses:
        return None
    overlapping = gains.gain(view, "overlapping") if "overlapping" in view.splits else None
    if overlapping is None:
        return Finding(
            "claim",
            "This run cannot speak of the paper’s claim.",
            "It takes the overlapping split with the parties alone and federated learning.",
        )
    paper = PAPER["federated"].test_accuracy - PAPER["host"].test_accuracy
    if overlapping.verdict != "gain":
        return Finding(
            "claim",
            "The paper’s pattern does not show here, so this run says nothing about its cause.",
            f"The paper reports a gain of {points(paper)} over its better party after 500 rounds; "
            f"this run trained {_rounds(view, overlapping.federated)}.",
        )
    for_memory, against = _evidence(view, overlapping)
    surrogate = (
        " These are surrogate dresses: they show the mechanism, and nothing about real ones."
        if view.is_surrogate
        else ""
    )
    private = (
        f"The paper’s file is private and was not looked at. Its {GUEST_ROWS} + {HOST_ROWS} rows "
        f"are what two draws from the {PUBLIC_ROWS} public ones with "
        f"{GUEST_ROWS + HOST_ROWS - PUBLIC_ROWS} in common would give, "
    )
    if for_memory and not against:
        return Finding(
            "claim",
            "A hypothesis: the paper’s gain may be memory of rows that both parties hold.",
            f"Here the gain comes with shared rows: {', and '.join(for_memory)}. {private}"
            "and a test row of one party is then a training row of the other. If so, its gain of "
            f"{points(paper)} would not carry over to new dresses. Private set intersection on "
            f"{view.id_name} before training would tell.{surrogate}",
        )
    if against and not for_memory:
        return Finding(
            "claim",
            "The gain here is not only memory of shared rows.",
            f"There is a gain with shared rows; {listing(against)}. {private}"
            "but this run gives no reason to put the paper’s gain down to that; it stays a "
            f"question to that file.{surrogate}",
        )
    if against:
        return Finding(
            "claim",
            "The evidence on the paper’s claim is mixed.",
            f"That its gain is memory of shared rows is a hypothesis. For it: "
            f"{listing(for_memory)}. Against it: {listing(against)}. {private}"
            f"which only that file could confirm.{surrogate}",
        )
    return Finding(
        "claim",
        "A gain with shared rows; whether it is memory, this run cannot tell.",
        "It takes more seeds, the disjoint or deduplicated split, or more test rows that nobody "
        "trained on." + surrogate,
    )


def _evidence(view: View, overlapping: gains.Gain) -> tuple[list[str], list[str]]:
    """What speaks for the gain being memory of shared rows, and what speaks against it.

    Few rows or seeds tell nothing from chance, and that is no evidence. So what speaks for memory
    has to lie surely below what the overlapping split shows.
    """
    for_memory, against = [], []
    unseen = view.summary("overlapping", overlapping.federated).unseen_ci95
    verdict = gains.unseen_verdict(view, "overlapping", overlapping.federated)
    if verdict == "above":
        against.append("unseen rows are told better than by the majority class")
    elif verdict and unseen and unseen[1] < overlapping.federated_accuracy:
        for_memory.append("unseen rows are not surely told better than by the majority class")
    others = [
        result
        for split in ("disjoint", "deduplicated")
        if split in view.splits and (result := gains.gain(view, split)) is not None
    ]
    if gaining := [r.split for r in others if r.verdict == "gain"]:
        against.append(f"there is a gain on the {_splits(gaining)} too")
    if gone := [
        r.split for r in others if r.verdict != "gain" and r.interval[1] < overlapping.difference
    ]:
        for_memory.append(f"the gain is gone on the {_splits(gone)}")
    return for_memory, against


def _splits(names: list[str]) -> str:
    return f"{listing(names)} split{'s' if len(names) > 1 else ''}"


def _rounds(view: View, line: Line) -> str:
    return count(max(run.rounds for run in view.runs("overlapping", line)), "round")
