"""What the page of a vertical training says of boosted trees."""

from __future__ import annotations

from typing import Any

import numpy as np

from privfed.report import vertical_trees_words as own_words
from privfed.report import words
from privfed.report.charts import Bar, Group, bar_chart, curve_chart
from privfed.report.pictures import Key, Picture, groups_in_words, picture
from privfed.report.vertical_pictures import MOST_BARS, named_bars
from privfed.report.vertical_words import seen_table
from privfed.report.view import Curve, Line
from privfed.table import Table
from privfed.vertical.trees.results import SideOfTrees, TreesResults

TEMPLATE = "vertical_trees.html.j2"

_SIDES = ("guest", "host")
_HELD_BACK = Line("loss", None, "rows held back", "alone", 0, "guest", ())


def parts(results: TreesResults) -> dict[str, Any]:
    """Return what the template shows besides."""
    pictures = (_gain_of_sides(results), _columns(results))
    return {
        "carried": [each for each in pictures if each is not None],
        "carried_key": tuple(Key(getattr(results, one).name, one) for one in _SIDES),
        "carriers": own_words.carriers(results),
        "column_table": _column_table(results),
        "losses": _losses(results),
        "stopped": own_words.stopped(results),
        "bits": own_words.bits(results),
        "bits_table": _bits_table(results),
        "audit": _audit(results),
        "audit_of": f"{results.host.name}’s columns: shares of how much each varies over the "
        "training rows",
        "audit_words": own_words.audit_words(results),
        "own_terms": own_words.terms(results),
        "seen": seen_table(own_words.seen(results)),
        "never_seen": own_words.unseen(results),
        "references": own_words.references(results),
        "says_why": "docs/vertical-trees.md",
    }


def _gain_of_sides(results: TreesResults) -> Picture | None:
    """Draw which side's splits make the loss smaller; None where it is not known."""
    groups = [
        Group(side.name, (Bar(((side.gain_share, one),), words.percent(side.gain_share)),))
        for one in _SIDES
        if (side := _side(results, one)).gain_share is not None
    ]
    if not groups:
        return None
    heading = "Gain of both sides’ splits"
    return picture(
        "fig-sides", heading, heading, groups_in_words(groups),
        lambda palette: bar_chart(groups, palette, 1.0, percent=True, text_share=0.2),
    )  # fmt: skip


def _columns(results: TreesResults) -> Picture | None:
    """Draw the columns that count most: by gain, or at the host by nodes that they won."""
    known = [
        (share, name, one)
        for one in _SIDES
        for name, share in zip(*_gains(_side(results, one)), strict=True)
    ]
    heading, show = "Gain by column", words.percent
    if not known:
        won = results.host.nodes_won or ()
        known = [
            (float(nodes), name, "host")
            for name, nodes in zip(results.host.names or (), won, strict=False)
        ]
        heading, show = "Nodes won by column", "{:,.0f}".format
    shown = sorted((each for each in known if each[0] > 0), key=lambda each: -each[0])
    if not shown:
        return None
    shown = shown[:MOST_BARS]
    said = " ".join(f"{name}: {show(value)}." for value, name, _ in shown)
    return picture(
        "fig-columns", heading, heading, said, lambda palette: named_bars(shown, palette, show)
    )


def _losses(results: TreesResults) -> Picture | None:
    """Draw the loss on the rows held back; None without any."""
    if not results.losses:
        return None
    losses = np.array(results.losses)
    curve = Curve(_HELD_BACK, np.arange(1.0, len(losses) + 1), losses, losses, losses)
    heading = "Loss on the rows held back"
    said = (
        f"{words.decimal(losses[0])} after the first round, {words.decimal(losses.min())} at the "
        f"least, {words.decimal(losses[-1])} after round {len(losses)}."
    )
    return picture(
        "fig-losses", heading, f"{heading}, by round", said,
        lambda palette: curve_chart([(0, curve)], palette, percent=False, band=False),
    )  # fmt: skip


def _column_table(results: TreesResults) -> Table | None:
    rows = []
    for one in _SIDES:
        side = _side(results, one)
        if side.names is None or (side.gain_shares is None and side.nodes_won is None):
            continue
        gains = side.gain_shares or (None,) * len(side.names)
        nodes = side.nodes_won or (None,) * len(side.names)
        rows += [
            (name, side.name, words.percent(gain), words.MISSING if won is None else f"{won:,}")
            for name, gain, won in zip(side.names, gains, nodes, strict=True)
        ]
    return Table(("Column", "Of", "Gain", "Nodes won"), rows, 2) if rows else None


def _audit(results: TreesResults) -> Table | None:
    if not results.audit:
        return None
    rows = [
        (
            each.name,
            *map(words.percent, (each.collected, each.at_most, each.by_scores)),
            *(f"{number:,}" for number in (each.nodes, each.thresholds, each.ranges)),
        )
        for each in sorted(results.audit, key=own_words.told, reverse=True)
    ]
    head = ("Column", "Read", "At most", "By scores", "Nodes won", "Splits", "Ranges")
    return Table(head, rows)


def _bits_table(results: TreesResults) -> Table:
    sides = "Sides read" if results.sides_exact else "Sides read, at most"
    rows = [
        tuple(f"{number:,}" for number in (place, tree.asked, tree.won, tree.sides))
        for place, tree in enumerate(results.bits, 1)
    ]
    totals = (results.nodes_told, sum(tree.won for tree in results.bits), results.sides_read)
    rows.append(("in all", *(f"{number:,}" for number in totals)))
    return Table(("Tree", "Nodes asked", f"Won by {results.host.name}", sides), rows)


def _side(results: TreesResults, one: str) -> SideOfTrees:
    return results.guest if one == "guest" else results.host


def _gains(side: SideOfTrees) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """Return a side's columns and their shares of the gain, where both are known."""
    if side.names is None or side.gain_shares is None:
        return (), ()
    return side.names, side.gain_shares
