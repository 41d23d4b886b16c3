"""Who the parties are and what they hold, where that is not the paper's split of one table."""

from __future__ import annotations

from collections.abc import Sequence

from privfed.experiment.results import HeldRows, PartiesRecord, Results
from privfed.report.words import MISSING, in_units, listing, percent, span
from privfed.rounding import as_given
from privfed.table import Table

_MOST_CLASSES = 6  # with a column of their own


def parties_in_words(results: Results) -> str | None:
    """Return who the parties are; None where a split of the paper's alone says it."""
    parties = results.parties
    if parties is None or not parties.names:
        return None
    number = f"{len(parties.names)}\u00a0parties"
    if any(held.split == "as-given" for held in parties.held):
        return (
            f"As given: the {number} and their rows are the table’s own, and a seed draws only "
            "which of them train and which test, all rows of an ID the same."
        )
    if parties.sizes is None and parties.skew is None:
        return None
    sizes = "" if parties.sizes is None else f" of {_sizes(parties.sizes)}"
    said = f"Dealt out: a seed deals the table’s rows to {number}{sizes}, an ID to one of them."
    if parties.skew is None or parties.concentration is None:
        return said
    what = {
        "labels": "Each has its own shares of the classes",
        "quantities": "Each has its own number of rows",
    }[parties.skew]
    return (
        f"{said} {what}, drawn from a Dirichlet distribution of concentration "
        f"{as_given(parties.concentration)}: the smaller, the less alike they are."
    )


def _sizes(sizes: Sequence[float]) -> str:
    if max(sizes) < 1:
        return f"{listing([percent(size) for size in sizes])} of the rows"
    return f"{listing([f'{size:,.0f}' for size in sizes])} rows"


def parties_table(parties: PartiesRecord) -> Table:
    """Return what each party holds: its rows and their labels, ranges over splits and seeds."""
    numbers = not parties.class_names
    classes = parties.class_names if len(parties.class_names) <= _MOST_CLASSES else ()
    rows = []
    for name in parties.names:
        held = [each for each in parties.held if each.party == name]
        cells = [name, span([h.train_rows for h in held]), span([h.test_rows for h in held])]
        cells += [_share(held, place) for place in range(len(classes))]
        rows.append((*cells, _mean(held) if numbers else _commonest(parties, held)))
    last = "Mean of the label" if numbers else "Commonest class"
    head = ("Party", "Rows to train on", "Rows to test on", *classes, last)
    return Table(head, tuple(rows))


def _share(held: Sequence[HeldRows], place: int) -> str:
    """Return a class's share of a party's rows, its least and greatest over the seeds."""
    shares = sorted(h.classes[place] / sum(h.classes) for h in held if any(h.classes))
    if not shares:
        return MISSING
    low, high = percent(shares[0]), percent(shares[-1])
    return low if low == high else f"{low} to {high}"


def _mean(held: Sequence[HeldRows]) -> str:
    """Return the mean of a party's labels, the least and the greatest over the seeds."""
    means = sorted(h.label_mean for h in held if h.label_mean is not None)
    if not means:
        return MISSING
    low, high = in_units(means[0]), in_units(means[-1])
    return low if low == high else f"{low} to {high}"


def _commonest(parties: PartiesRecord, held: Sequence[HeldRows]) -> str:
    places = [h.classes.index(max(h.classes)) for h in held if any(h.classes)]
    return ", ".join(parties.class_names[place] for place in dict.fromkeys(places)) or MISSING
