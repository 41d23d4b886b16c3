"""The kinds of chart that the report draws, on plain numbers; pictures.py chooses the numbers.

A panel is 380 units wide, so that its 11-unit text can be read on a telephone, and on a desk with a
second panel beside it. Colours come from the palette that is passed in: placeholders for the page,
real ones for a PNG.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import (
    FixedFormatter,
    FixedLocator,
    FuncFormatter,
    MaxNLocator,
    NullLocator,
    PercentFormatter,
)

from privfed.report.view import Curve
from privfed.report.words import present

WIDTH = 380.0
_INCH = 72.0

Palette = Mapping[str, str]


@dataclass(frozen=True)
class Bar:
    """One bar, or several stacked end to end, with its words to the right of the axis."""

    parts: tuple[tuple[float, str], ...]  # length and colour name; several parts are stacked
    text: str
    interval: tuple[float, float] | None = None
    hollow: bool = False

    @property
    def length(self) -> float:
        """Where the bar ends."""
        return sum(length for length, _ in self.parts)


@dataclass(frozen=True)
class Group:
    """Bars under one name; `mark` is a dashed stroke across them, such as the majority class."""

    label: str
    bars: tuple[Bar, ...]
    mark: float | None = None


@dataclass(frozen=True)
class Spend:
    """One private arm: an accuracy, and the ε of the worst-placed unit and of a single row."""

    label: str
    epsilon: float
    epsilon_single_row: float | None
    accuracy: float
    interval: tuple[float, float] | None
    colour: str


def bar_chart(
    groups: Sequence[Group],
    palette: Palette,
    limit: float,
    *,
    percent: bool,
    text_share: float,
    heading: tuple[str, str] | None = None,
    to_one: bool = False,
) -> Figure:
    """Draw horizontal bars, each group's name above them.

    Args:
        groups: From top to bottom; at least one.
        palette: Colour names to colours.
        limit: The greatest value of the axis, above 0.
        percent: Whether the axis is a fraction shown as a percentage.
        text_share: Share of the width kept for the words, in (0, 1).
        heading: A title and a line under it, where the picture stands alone.
        to_one: Whether the axis is one from 0 to 1, which is labelled as such.

    Returns:
        The figure.
    """
    bar, name, gap = 13.0, 18.0, 13.0
    tops: list[float] = []
    y = 0.0
    for group in groups:
        tops.append(y)
        y += name + bar * len(group.bars) + gap
    axis = 20.0 if percent or to_one else 4.0
    top = 46.0 if heading else 0.0
    figure, axes = panel(y - gap + axis + top, left=2, bottom=axis, right=2, top=top)
    for words, (points, down, colour) in zip(
        heading or (), ((13, 12, "ink"), (10, 28, "muted")), strict=False
    ):
        figure.text(
            2 / WIDTH,
            1 - down / (y - gap + axis + top),
            words,
            color=palette[colour],
            fontsize=points,
        )
    axes.set_ylim(y - gap, 0)
    axes.set_xlim(0, limit / (1 - text_share))
    for above, group in zip(tops, groups, strict=True):
        axes.text(0, above + name - 6, group.label, color=palette["ink"], fontsize=11)
        rows = [(above + name + bar * (nth + 0.5), item) for nth, item in enumerate(group.bars)]
        for y_bar, item in rows:
            _bar(axes, item, y_bar, bar - 3, palette)
            axes.text(
                limit * 1.035, y_bar, item.text, color=palette["ink"], va="center_baseline",
                fontsize=10.5,
            )  # fmt: skip
        if present(group.mark):
            ends = [above + name, above + name + bar * len(rows)]
            _stroke(axes, [group.mark] * 2, ends, palette, dashes=(0, (2, 1.5)))
        for y_bar, item in rows:  # over the mark, so that intervals stay visible
            if item.interval is not None and all(map(present, item.interval)):
                ends = [min(max(bound, 0.0), limit) for bound in item.interval]
                _stroke(axes, ends, [y_bar] * 2, palette, dashes="solid")
    _bare(axes)
    if percent or to_one:
        axes.xaxis.set_major_locator(FixedLocator([0, 0.25, 0.5, 0.75, 1]))
        plain = FuncFormatter(lambda level, _: f"{level:g}")
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0) if percent else plain)
        axes.tick_params(axis="x", length=0, colors=palette["muted"], labelsize=10, pad=5)
        axes.get_xticklabels()[0].set_horizontalalignment("left")  # else it is cut at the edge
        axes.grid(axis="x", color=palette["rule"], lw=0.8)
        axes.set_axisbelow(True)
    else:
        axes.xaxis.set_major_locator(NullLocator())
    return figure


def _bar(axes: Axes, item: Bar, y: float, height: float, palette: Palette) -> None:
    start = 0.0
    for length, colour in item.parts:
        if not present(length):
            continue
        fill, edge = palette["paper" if item.hollow else colour], palette[colour]
        axes.barh(
            y, length, height - item.hollow, start,
            facecolor=fill, edgecolor=edge, linewidth=1.2 if item.hollow else 0,
        )  # fmt: skip
        start += length


def _stroke(
    axes: Axes,
    x: list[float],
    y: list[float],
    palette: Palette,
    *,
    dashes: str | tuple[int, tuple[float, float]],
) -> None:
    """Draw a dark line with a light edge, so that it shows on a bar and beside it."""
    axes.plot(x, y, color=palette["paper"], lw=3.4, solid_capstyle="butt")
    axes.plot(x, y, color=palette["ink"], lw=1.4, ls=dashes, solid_capstyle="butt")


def curve_chart(
    curves: Sequence[tuple[int, Curve]],
    palette: Palette,
    *,
    percent: bool,
    band: bool,
    floor: float | None = None,
) -> Figure:
    """Draw quantities by round.

    Args:
        curves: Each with the number of its entry in the key, which its elements carry as class
            `series-<number>`.
        palette: Colour names to colours.
        percent: Whether the quantity is a fraction shown as a percentage.
        band: Whether to shade from the lowest to the highest seed.
        floor: Where the vertical axis of an R² begins; None: below all that is shown, or at 0.

    Returns:
        The figure.
    """
    figure, axes = panel(236, left=40, bottom=32, right=8, top=8)
    for number, curve in curves:
        colour, gid = palette[curve.line.colour], f"series-{number}"
        if band:
            axes.fill_between(
                curve.rounds, curve.low, curve.high, color=colour, alpha=0.1, lw=0, gid=gid
            )
        width = 2.2 if curve.line.role == "reference" else 1.5
        style = (0, curve.line.dash) if curve.line.dash else "solid"
        marker = "o" if len(curve.rounds) == 1 else None
        axes.plot(
            curve.rounds, curve.mean, color=colour, lw=width, ls=style, gid=gid,
            marker=marker, ms=4, dash_capstyle="butt",
        )  # fmt: skip
    _bare(axes)
    axes.margins(x=0.01)
    axes.grid(axis="y", color=palette["rule"], lw=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, colors=palette["muted"], labelsize=10, pad=5)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    if percent:
        _percents(axes)
    elif floor is not None:
        axes.set_ylim(floor, min(axes.get_ylim()[1], 1.03))
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    elif 0 <= min(np.nanmin(curve.low) for _, curve in curves) < axes.get_ylim()[1] / 2:
        axes.set_ylim(bottom=0)
    axes.set_xlabel("round", color=palette["muted"], fontsize=10, labelpad=3)
    return figure


def epsilon_chart(
    spends: Sequence[Spend],
    references: Sequence[tuple[str, float, str]],
    palette: Palette,
    limits: tuple[float, float],
    *,
    percent: bool = True,
) -> Figure:
    """Draw accuracy, or R², against ε, on a logarithmic axis.

    Args:
        spends: The private arms; at least one, every ε above 0.
        references: At most two levels to draw across: words, accuracy, colour name.
        palette: Colour names to colours.
        limits: Limits of the accuracies shown, so that neighbouring charts share them.
        percent: Whether they are fractions shown as percentages.

    Returns:
        The figure: a dot at the ε of the worst-placed unit, a ring at the ε of a single row.
    """
    figure, axes = panel(270, left=40, bottom=36, right=8, top=10)
    axes.set_xscale("log")
    for spend in spends:
        _spend(axes, spend, palette)
    epsilons = [e for s in spends for e in (s.epsilon, s.epsilon_single_row) if e is not None]
    low, high = min(epsilons) / 1.3, max(epsilons) * 1.4
    # The levels' words are to the left of every dot: no line crosses them.
    axes.set_xlim(_left_of(low, high, 0.75), high)
    axes.set_ylim(*limits)
    _levels(axes, references, palette)
    _against_epsilon(axes, palette, low, high, "ε spent", percent=percent)
    return figure


@dataclass(frozen=True)
class Trade:
    """One private arm: accuracies and their intervals by ε asked."""

    epsilons: Sequence[float]
    accuracies: Sequence[float]
    intervals: Sequence[tuple[float, float] | None]
    colour: str
    dash: tuple[float, ...]


def trade_chart(
    trades: Sequence[Trade],
    references: Sequence[tuple[str, float, str]],
    palette: Palette,
    *,
    percent: bool = True,
) -> Figure:
    """Draw the accuracy, or R², of several private arms against the ε asked, a logarithmic axis.

    Args:
        trades: One for each arm; every ε above 0.
        references: Levels to draw across: words, accuracy, colour name.
        palette: Colour names to colours.
        percent: Whether they are fractions shown as percentages.

    Returns:
        The figure: a line for each arm with vertical intervals, moved a little apart.
    """
    figure, axes = panel(270, left=40, bottom=36, right=8, top=10)
    axes.set_xscale("log")
    for nth, trade in enumerate(trades):
        x = [epsilon * 1.025 ** (nth - (len(trades) - 1) / 2) for epsilon in trade.epsilons]
        colour = palette[trade.colour]
        style = (0, trade.dash) if trade.dash else "solid"
        axes.plot(x, trade.accuracies, color=colour, lw=1.8, ls=style, marker="o", ms=5)
        for at, interval in zip(x, trade.intervals, strict=True):
            if interval is not None:
                axes.plot([at] * 2, interval, color=colour, lw=1.2)
    epsilons = [epsilon for trade in trades for epsilon in trade.epsilons]
    low, high = min(epsilons) / 1.3, max(epsilons) * 1.3
    axes.set_xlim(_left_of(low, high, 0.55), high)
    # Student's t on two seeds may reach past 0 and 1, where no accuracy is.
    bounds = [b for trade in trades for pair in trade.intervals for b in pair or ()]
    shown = [*bounds, *(a for trade in trades for a in trade.accuracies)]
    shown += [level for _, level, _ in references]
    top = min(1.03, max(shown) + 0.05)
    axes.set_ylim(max(0.0, min(shown) - 0.05) if percent else _floor(trades, shown), top)
    _levels(axes, references, palette)
    _against_epsilon(axes, palette, low, high, "ε asked", percent=percent)
    return figure


def _floor(trades: Sequence[Trade], shown: Sequence[float]) -> float:
    """Return where an axis of R² begins: under all dots; an interval may go on below."""
    dots = min(level for trade in trades for level in trade.accuracies)
    return max(min(shown), dots - 0.3 * (1 - dots)) - 0.05


def _left_of(low: float, high: float, share: float) -> float:
    """Return where a logarithmic axis begins so that words have a share of it before `low`."""
    before = low / math.pow(high / low, share)
    return max(before, min(low, 1e-300))  # above 0 for any low


def _levels(axes: Axes, references: Sequence[tuple[str, float, str]], palette: Palette) -> None:
    """Draw lines across, with their words at the left, where no dot stands."""
    for nth, (words, level, colour_name) in enumerate(sorted(references, key=lambda r: -r[1])):
        axes.axhline(level, color=palette[colour_name], lw=1.4, ls=(0, (4, 2)), zorder=1)
        axes.annotate(
            words, (0, level), xycoords=("axes fraction", "data"),
            xytext=(0, 5 if nth == 0 else -13), textcoords="offset points",
            color=palette["muted"], fontsize=10,
        )  # fmt: skip


def _against_epsilon(
    axes: Axes, palette: Palette, low: float, high: float, words: str, *, percent: bool
) -> None:
    _bare(axes)
    axes.grid(axis="y", color=palette["rule"], lw=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, colors=palette["muted"], labelsize=10, pad=5)
    if percent:
        _percents(axes)
    else:
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        axes.yaxis.set_major_formatter(FuncFormatter(_plain))
    ticks = _log_ticks(low, high)
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(FixedFormatter([f"{tick:g}" for tick in ticks]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel(words, color=palette["muted"], fontsize=10, labelpad=4, x=0.72)


def _plain(level: float, _: float) -> str:
    return f"{level:.4g}".replace("-", "−")


def _percents(axes: Axes) -> None:
    """Label a vertical axis of fractions with enough digits: 55.5 % is not 56 %."""
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda level, _: f"{100 * level:.4g}%"))


def _spend(axes: Axes, spend: Spend, palette: Palette) -> None:
    colour, level = palette[spend.colour], spend.accuracy
    if spend.interval is not None:
        axes.plot([spend.epsilon] * 2, spend.interval, color=colour, lw=1.6)
    if spend.epsilon_single_row is not None:
        ends = [spend.epsilon_single_row, spend.epsilon]
        axes.plot(ends, [level] * 2, color=colour, lw=1.2, ls=(0, (1, 1.5)))
        axes.plot(ends[:1], [level], "o", ms=7, mfc=palette["paper"], mec=colour, mew=1.6)
    axes.plot([spend.epsilon], [level], "o", ms=8, mfc=colour, mec=colour)


def _log_ticks(low: float, high: float) -> list[float]:
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if high / low < 200 else (1,)
    return [s * 10.0**e for e in exponents for s in steps if low <= s * 10.0**e <= high]


def panel(
    height: float, *, left: float, bottom: float, right: float, top: float
) -> tuple[Figure, Axes]:
    """Return a figure of WIDTH by `height` units with one set of axes inside the given margins."""
    figure = Figure(figsize=(WIDTH / _INCH, height / _INCH), dpi=_INCH)
    axes = figure.add_axes(
        (
            left / WIDTH,
            bottom / height,
            1 - (left + right) / WIDTH,
            1 - (bottom + top) / height,
        )
    )
    axes.patch.set_visible(False)
    return figure, axes


def _bare(axes: Axes) -> None:
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.yaxis.set_major_locator(NullLocator())
