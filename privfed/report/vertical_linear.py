"""What the page of a vertical training says of a linear model."""

from __future__ import annotations

from typing import Any

from privfed.report import words
from privfed.report.pictures import Key, Picture, picture
from privfed.report.vertical_pictures import MOST_BARS, named_bars
from privfed.report.vertical_words import never_seen, scores_opened, seen_table, signed
from privfed.table import Table
from privfed.vertical.linear.results import LinearResults, SideOfLinear

TEMPLATE = "vertical_linear.html.j2"


def parts(results: LinearResults) -> dict[str, Any]:
    """Return what the template shows besides."""
    return {
        "coefficients": coefficient_bars(results),
        "coefficient_key": coefficient_key(results),
        "coefficient_table": _coefficients(results),
        "speaks_for": _speaks_for(results),
        "carriers": _carriers(results),
        "shortened": _shortened(results),
        "seen": seen_table(seen(results)),
        "never_seen": never_seen(
            results,
            rows=f"any row of them; partial scores, residuals or gradients of {results.host.name}",
            labels="scores, residuals or gradients",
            owns="the coefficients that you know",
        ),
        "references": "All models have the same L2; pooled is what a company that had both "
        "tables would get",
        "says_why": "docs/vertical.md",
    }


def _shortened(results: LinearResults) -> str:
    """Return whose training rows were shortened to the plan's bound, as far as it is known."""
    known = [
        f"{words.percent(side.clipped_share)} of {side.name}"
        for side in (results.guest, results.host)
        if side.clipped_share is not None
    ]
    return ", ".join(known)


def _coefficients(results: LinearResults) -> Table | None:
    rows = [
        (name, side.name, signed(value, 4))
        for side in (results.guest, results.host)
        for name, value in coefficients_of(side)
    ]
    return Table(("Feature", "Of", "Coefficient"), rows, 2) if rows else None


def coefficient_bars(results: LinearResults) -> Picture | None:
    """Draw the largest coefficients of those that are known; None where none is."""
    known = sorted(
        (
            (value, name, colour)
            for side, colour in ((results.guest, "guest"), (results.host, "host"))
            for name, value in coefficients_of(side)
        ),
        key=lambda each: -abs(each[0]),
    )[:MOST_BARS]
    if not known:
        return None
    said = " ".join(f"{name}: {signed(value, 2)}." for value, name, _ in known)
    heading = "Coefficients"
    if len(known) == MOST_BARS:
        heading = f"The {MOST_BARS} largest coefficients"
    return picture(
        "fig-coefficients", heading, heading, said,
        lambda palette: named_bars(known, palette, lambda value: signed(value, 2)),
    )  # fmt: skip


def coefficients_of(side: SideOfLinear) -> list[tuple[str, float]]:
    """Return one side's features with their coefficients, those that are known."""
    if side.names is None or side.coefficients is None:
        return []
    return list(zip(side.names, side.coefficients, strict=True))


def coefficient_key(results: LinearResults) -> tuple[Key, ...]:
    """Return which colour is whose, of the sides whose coefficients are known."""
    sides = ((results.guest, "guest"), (results.host, "host"))
    return tuple(Key(side.name, colour) for side, colour in sides if side.coefficients is not None)


def _speaks_for(results: LinearResults) -> str:
    """Return what a coefficient above 0 speaks for; "" where the label's classes are not known."""
    if not results.classes:
        return ""
    label = f"{results.label} = " if results.label else ""
    return f"Above 0 it speaks for {label}{results.classes[-1]}, below 0 against it."


def seen(results: LinearResults) -> list[tuple[str, str, str]]:
    """Return each message, who gets it, and what the receiver learns of it."""
    guest, host = results.guest.name, results.host.name
    rows = f"{results.common_rows:,}"
    found = [
        ("intersection", "both", f"which of its own rows the other has, too: {rows}"),
        ("plan", "both", "number of columns of each side, rows, terms: all of it is public"),
        ("encrypted weights, sines and residuals", "the other",
         "nothing: it has not the key"),
        ("masked answers", "who has the key",
         "nothing: uniform numbers, up to the distance that the plan bounds"),
        ("garbled circuits and their transfers", "both",
         "nothing but what is opened on purpose, below"),
    ]  # fmt: skip
    if results.coefficients_opened == "each to its owner":
        found.append(
            ("coefficients, at the end", "each its own",
             f"its own columns’ coefficients, rounded. {host} learns how its columns go with a "
             f"label that it does not have; {guest}’s own depend on {host}’s columns, too")
        )  # fmt: skip
    else:
        found.append(("coefficients", "nobody", "nothing: they stay shared between both"))
    found.append(scores_opened(results))
    return found


def _carriers(results: LinearResults) -> str:
    """Return which side carries the score."""
    if results.host_share is None:
        return ""
    theirs = round(100 * results.host_share)
    return (
        f"Of the variance of the training rows’ scores, {results.host.name}’s columns carry "
        f"{theirs} % and {results.guest.name}’s {100 - theirs} %: each part’s covariance with the "
        "whole. Beyond 0 and 100 % the two go against each other."
    )
