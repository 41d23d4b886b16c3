"""What a run says of the paper that the dress benchmark follows."""

from __future__ import annotations

from privfed.report import gains
from privfed.report.paper import GUEST_ROWS, HOST_ROWS, PAPER, PUBLIC_ROWS
from privfed.report.view import Line, View
from privfed.report.words import count, listing, points, split_names


def claim(view: View) -> tuple[str, str] | None:
    """Say what this means for the paper; always a hypothesis, as its file is private.

    Args:
        view: The results.

    Returns:
        A headline and a text; None where the data are not the paper's.
    """
    if not view.is_dresses:
        return None
    overlapping = gains.gain(view, "overlapping") if "overlapping" in view.splits else None
    if overlapping is None:
        return (
            "This run cannot speak of the paper’s claim.",
            "It takes the overlapping split with the parties alone and federated learning, all "
            "tested on the same rows.",
        )
    paper = PAPER["federated"].test_accuracy - PAPER["host"].test_accuracy
    if overlapping.verdict != "gain":
        return (
            "The paper’s pattern does not show here, so this run says nothing about its cause.",
            f"The paper reports a gain of {points(paper)} over its better party after 500 rounds; "
            f"this run trained {_rounds(view, overlapping.line)}.",
        )
    for_memory, against = _evidence(view, overlapping)
    surrogate = (
        " These are surrogate dresses: they show the mechanism, and nothing about real ones."
        if view.is_surrogate
        else ""
    )
    private = (
        f"The paper’s file is private and was not looked at; its {GUEST_ROWS} + {HOST_ROWS} rows "
        f"are as two draws from the {PUBLIC_ROWS} public ones with "
        f"{GUEST_ROWS + HOST_ROWS - PUBLIC_ROWS} in common would give, "
    )
    if for_memory and not against:
        return (
            "A hypothesis: the paper’s gain may be memory of rows that both parties hold.",
            f"Here the gain comes with shared rows: {', and '.join(for_memory)}. {private}"
            "and a test row of one party is then a training row of the other. If so, its gain of "
            f"{points(paper)} would not carry over to new dresses. Private set intersection on "
            f"{view.id_name} before training would tell.{surrogate}",
        )
    if against and not for_memory:
        return (
            "The gain here is not only memory of shared rows.",
            f"There is a gain with shared rows; {listing(against)}. {private}"
            "but this run gives no reason to put the paper’s gain down to that; it stays a "
            f"question to that file.{surrogate}",
        )
    if against:
        return (
            "The evidence on the paper’s claim is mixed.",
            f"That its gain is memory of shared rows is a hypothesis. For it: "
            f"{listing(for_memory)}. Against it: {listing(against)}. {private}"
            f"which only that file could confirm.{surrogate}",
        )
    return (
        "A gain with shared rows; whether it is memory, this run cannot tell.",
        "It takes more seeds, the disjoint or deduplicated split, or more test rows that nobody "
        "trained on." + surrogate,
    )


def _evidence(view: View, overlapping: gains.Difference) -> tuple[list[str], list[str]]:
    """Return what speaks for the gain being memory of shared rows, and what speaks against it.

    With few rows or seeds nothing can be told from chance, and that is no evidence. So what speaks
    for memory has to be surely below what the overlapping split shows.
    """
    for_memory, against = [], []
    every = gains.beside_usual(view, "overlapping", overlapping.line)
    unseen = gains.beside_usual(view, "overlapping", overlapping.line, "unseen")
    if unseen and gains.verdict_of(unseen[1]) == "gain":
        against.append("unseen rows are told better than by the majority class")
    elif unseen and every and unseen[1][1] < every[0].difference:
        for_memory.append("unseen rows are not surely told better than by the majority class")
    others = [
        result
        for split in ("disjoint", "deduplicated")
        if split in view.splits and (result := gains.gain(view, split)) is not None
    ]
    if gaining := [r.comparison.split for r in others if r.verdict == "gain"]:
        against.append(f"there is a gain on the {split_names(gaining)} too")
    if gone := [
        r.comparison.split
        for r in others
        if r.verdict != "gain" and r.interval[1] < overlapping.comparison.difference
    ]:
        for_memory.append(f"the gain is gone on the {split_names(gone)}")
    return for_memory, against


def _rounds(view: View, line: Line) -> str:
    return count(max(run.rounds for run in view.runs("overlapping", line)), "round")
