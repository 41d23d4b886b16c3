"""The picture that opens a report: what learning together has over what stands beside it.

Every row is a difference on the same test rows with its 95 % interval, as a verdict goes by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from privfed.experiment.measures import MeasureName
from privfed.report import gains
from privfed.report.charts import Palette, panel
from privfed.report.level import levels
from privfed.report.pictures import Key, Picture, picture
from privfed.report.view import View
from privfed.report.words import gap_range, in_points, split_meaning

KEY = (
    Key("sure: its 95 % interval holds no zero", "federated", "dot"),
    Key("may be chance", "quiet", "dot"),
)
_MOST_OWN = 6  # parties with a row of their own
_HEAD, _NAME, _BAR, _GAP = 19.0, 17.0, 13.0, 10.0
_TEXT_SHARE = 0.34


@dataclass(frozen=True)
class Row:
    """One difference: over what it is, how much, and its 95 % interval where that is known."""

    beside: str
    difference: float
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class Block:
    """The differences of one split, under its name and meaning."""

    heading: str
    rows: tuple[Row, ...]


def blocks(view: View) -> list[Block]:
    """Return what the picture shows: split by split, and on each party's own rows in the first."""
    found = []
    for split in view.splits:
        rows = [*_over_all(view, split), *_unseen(view, split)]
        if split == view.main_split:
            rows += _own(view, split)
        if rows:
            heading = f"{split.capitalize()}: {split_meaning(split)}"
            found.append(Block(heading, tuple(rows)))
    return found


def _over_all(view: View, split: str) -> list[Row]:
    result = gains.gain(view, split)
    if result is None:
        return []
    best = "best party alone" if len(view.lines(split, "alone")) > 1 else result.other.label
    return [Row(f"over {best}", result.comparison.difference, result.interval)]


def _unseen(view: View, split: str) -> list[Row]:
    line = view.federated(split)
    found = gains.beside_usual(view, split, line, "unseen") if line else None
    if found is None:
        return []
    return [Row(f"over {levels(view).short}, unseen rows", found[0].difference, found[1])]


def _own(view: View, split: str) -> list[Row]:
    found = gains.own_gains(view, split)
    if len(found) > _MOST_OWN:
        return []
    return [
        Row(f"over {each.other.label}, its own rows", each.comparison.difference, each.interval)
        for each in found
    ]


def opening_picture(view: View) -> Picture | None:
    """Draw the differences; None where results compare nothing."""
    shown, measure = blocks(view), view.measure
    if not shown or measure is None:
        return None
    title = f"What learning together has over …, {_unit(measure)}"
    return difference_picture("fig-opening", title, shown, measure)


def difference_picture(
    name: str, title: str, shown: Sequence[Block], measure: MeasureName
) -> Picture:
    """Draw differences as dots, each with its interval as a line.

    Args:
        name: The picture's id.
        title: What it shows.
        shown: At least one row.
        measure: What they are differences of.

    Returns:
        The picture, with all numbers in its description.
    """
    words = " ".join(
        f"{block.heading}: "
        + "; ".join(f"{row.beside}: {_numbers(measure, row)}" for row in block.rows)
        + "."
        for block in shown
    )
    return picture(name, title, title, words, lambda palette: _chart(shown, measure, palette))


def _unit(measure: MeasureName) -> str:
    return f"points of {measure}" if in_points(measure) else measure


def _chart(shown: Sequence[Block], measure: MeasureName, palette: Palette) -> Figure:
    y = 0.0
    words: list[tuple[float, str, str]] = []
    placed: list[tuple[float, Row]] = []
    for block in shown:
        words.append((y + _HEAD - 5, block.heading, "muted"))
        y += _HEAD
        for row in block.rows:
            words.append((y + _NAME - 4, row.beside, "ink"))
            placed.append((y + _NAME + _BAR / 2, row))
            y += _NAME + _BAR
        y += _GAP
    bottom, height = 20.0, y - _GAP
    figure, axes = panel(height + bottom, left=2, bottom=bottom, right=2, top=0)
    low, high = _range([row for _, row in placed])
    axes.set_xlim(low, low + (high - low) / (1 - _TEXT_SHARE))
    axes.set_ylim(height, 0)
    axes.grid(axis="x", color=palette["rule"], lw=0.8)
    axes.set_axisbelow(True)
    axes.axvline(0, color=palette["ink"], lw=1.2, zorder=1)
    for at, text, colour in words:
        axes.text(
            low, at, text, color=palette[colour], fontsize=11 if colour == "ink" else 10, zorder=4,
            bbox={"facecolor": palette["paper"], "edgecolor": "none", "pad": 1.5},
        )  # fmt: skip
    for at, row in placed:
        colour = palette["federated" if _is_sure(row) else "quiet"]
        ends = row.interval or (row.difference, row.difference)
        axes.plot(ends, [at] * 2, color=colour, lw=2.4, solid_capstyle="butt", zorder=2)
        axes.plot(
            [row.difference], [at], "o", ms=8, mfc=colour, mec=palette["paper"], mew=1.2, zorder=3
        )
        axes.text(
            high + 0.035 * (high - low), at, _numbers(measure, row),
            color=palette["ink"], fontsize=10.5, va="center_baseline",
        )  # fmt: skip
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.yaxis.set_major_locator(NullLocator())
    ticks = MaxNLocator(4, steps=[1, 2, 5, 10]).tick_values(low, high)
    axes.xaxis.set_major_locator(FixedLocator([x for x in ticks if low <= x <= high]))
    factor = 100 if in_points(measure) else 1
    axes.xaxis.set_major_formatter(FuncFormatter(lambda level, _: _signed(factor * level)))
    axes.tick_params(axis="x", length=0, colors=palette["muted"], labelsize=10, pad=4)
    return figure


def _range(rows: Sequence[Row]) -> tuple[float, float]:
    """Return the ends of the axis: all intervals, and zero."""
    ends = [0.0, *(bound for row in rows for bound in (*(row.interval or ()), row.difference))]
    room = (max(ends) - min(ends) or 1.0) * 0.04
    return min(ends) - room, max(ends) + room


def _is_sure(row: Row) -> bool:
    return row.interval is not None and gains.verdict_of(row.interval) != "none"


def _numbers(measure: MeasureName, row: Row) -> str:
    if row.interval is not None:
        return gap_range(measure, row.interval)
    size = _signed((100 if in_points(measure) else 1) * row.difference)
    return f"{size}, no interval"


def _signed(value: float) -> str:
    text = f"{value:+.4g}".replace("-", "−")
    return "0" if float(f"{value:.4g}") == 0 else text
