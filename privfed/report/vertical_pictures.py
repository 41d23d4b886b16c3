"""The pictures of a vertical training's page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from privfed.report.charts import Bar, Group, Palette, _bare, bar_chart, panel
from privfed.report.pictures import INTERVAL, Key, Picture, groups_in_words, picture
from privfed.report.vertical_words import INTERVAL_OF_95, interval_of, signed
from privfed.report.words import decimal, duration, present, size
from privfed.vertical.results import Stage, VerticalResults

MOST_BARS = 16
_ROW, _NAME, _DOT = 38.0, 10.0, 26.0
_COLOURS = {"alone": "guest", "together": "federated", "pooled": "overall"}
_WHO = {"alone": "{} alone", "together": "together", "pooled": "pooled, in the clear"}

GAIN_KEY = (INTERVAL, Key("no gain", "ink", "mark"))


@dataclass(frozen=True)
class Dot:
    """A number on an axis under its name, with an interval or none."""

    label: str
    value: float
    colour: str
    text: str
    interval: tuple[float, float] | None = None


def measure_dots(results: VerticalResults) -> Picture | None:
    """Draw the first measure of all models; None where none is known."""
    if not results.measures:
        return None
    first = results.measures[0]
    dots = [
        Dot(_named(results, model), value, colour, decimal(value))
        for model, colour in _COLOURS.items()
        if present(value := getattr(first, model))
    ]
    if not dots:
        return None
    heading = f"{first.name} on held-out rows"
    return picture(
        "fig-measure", heading, heading, _dots_in_words(dots),
        lambda palette: dot_chart(dots, palette, zero=False),
    )  # fmt: skip


def gain_dots(results: VerticalResults) -> Picture | None:
    """Draw what each model has over the label holder alone, with its interval."""
    if not results.gains:
        return None
    dots = []
    for gain in results.gains:
        text = f"{signed(gain.value)} ({interval_of(gain).removeprefix(INTERVAL_OF_95)})"
        interval = (gain.low, gain.high)
        label = _named(results, gain.of)
        dots.append(Dot(label, gain.value, _COLOURS[gain.of], text, interval))
    heading = f"Gain over {results.guest.name} alone, {results.measures[0].name}"
    return picture(
        "fig-gain", heading, heading, _dots_in_words(dots),
        lambda palette: dot_chart(dots, palette, zero=True),
    )  # fmt: skip


def dot_chart(dots: Sequence[Dot], palette: Palette, *, zero: bool) -> Figure:
    """Draw dots on one axis, each under its name, with its number at the right of the name.

    Args:
        dots: From top to bottom; at least one.
        palette: Colour names to colours.
        zero: Whether 0 is on the axis, with a line across.

    Returns:
        The figure.
    """
    figure, axes = panel(_ROW * len(dots) + 24, left=8, bottom=24, right=8, top=0)
    axes.set_ylim(_ROW * len(dots), 0)
    ends = [end for dot in dots for end in (dot.interval or ()) + (dot.value,)] + [0.0] * zero
    room = max(max(ends) - min(ends), 1e-3) * 0.12
    axes.set_xlim(min(ends) - room, max(ends) + room)
    axes.grid(axis="x", color=palette["rule"], lw=0.8)
    axes.set_axisbelow(True)
    for nth, dot in enumerate(dots):
        top, y = _ROW * nth, _ROW * nth + _DOT
        for x, text, side in ((0.0, dot.label, "left"), (1.0, dot.text, "right")):
            axes.text(
                x, top + _NAME, text, transform=axes.get_yaxis_transform(), ha=side,
                color=palette["ink"], fontsize=11, va="center_baseline",
            )  # fmt: skip
        if zero:
            axes.plot([0, 0], [y - 6, y + 6], color=palette["ink"], lw=1.2, ls=(0, (2, 1.5)))
        if dot.interval is not None:
            axes.plot(dot.interval, [y, y], color=palette["ink"], lw=1.6, solid_capstyle="butt")
        colour = palette[dot.colour]
        axes.plot([dot.value], [y], "o", ms=8, mfc=colour, mec=palette["paper"], mew=1.2)
    _bare(axes)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.tick_params(axis="x", length=0, colors=palette["muted"], labelsize=10, pad=5)
    return figure


def named_bars(
    bars: Sequence[tuple[float, str, str]], palette: Palette, show: Callable[[float], str]
) -> Figure:
    """Draw bars to both sides of 0, each beside its name.

    Args:
        bars: Each a value, a name and a colour, from top to bottom; at least one.
        palette: Colour names to colours.
        show: Writes a value.

    Returns:
        The figure.
    """
    row, text, number = 18.0, 0.42, 0.12
    figure, axes = panel(row * len(bars) + 4, left=2, bottom=2, right=2, top=2)
    reach = max(abs(value) for value, _, _ in bars) or 1.0
    least = min(0.0, *(value for value, _, _ in bars), 0.0)
    most = max(0.0, *(value for value, _, _ in bars), 0.0)
    least, most = least - 0.02 * reach, most + 0.02 * reach
    width = (most - least) / (1 - text - number)
    axes.set_xlim(least - text * width, most + number * width)
    axes.set_ylim(row * len(bars), 0)
    axes.plot([0, 0], [0, row * len(bars)], color=palette["rule"], lw=1)
    for nth, (value, name, colour) in enumerate(bars):
        y = row * (nth + 0.5)
        axes.barh(y, value, row - 6, color=palette[colour], linewidth=0)
        axes.text(
            least - text * width, y, _short(name), color=palette["ink"], fontsize=10.5,
            va="center_baseline",
        )  # fmt: skip
        axes.text(
            most + number * width, y, show(value), color=palette["ink"], fontsize=10.5,
            va="center_baseline", ha="right",
        )  # fmt: skip
    _bare(axes)
    axes.xaxis.set_visible(False)
    return figure


def _short(name: str) -> str:
    return name if len(name) <= 26 else f"{name[:25]}…"


def cost_bars(results: VerticalResults) -> Picture | None:
    """Draw processor time by stage; None where fewer than two are known."""
    return _stage_bars(results, "CPU", "fig-cpu", _cpu, duration)


def byte_bars(results: VerticalResults) -> Picture | None:
    """Draw bytes by stage; None where fewer than two are known."""
    return _stage_bars(results, "Bytes sent", "fig-bytes", _bytes, size)


def cost_key(results: VerticalResults) -> tuple[Key, ...]:
    """Return which colour is whose."""
    return Key(results.guest.name, "guest"), Key(results.host.name, "host")


def _cpu(stage: Stage) -> tuple[float | None, float | None]:
    return stage.guest_cpu_seconds, stage.host_cpu_seconds


def _bytes(stage: Stage) -> tuple[float | None, float | None]:
    return stage.guest_bytes, stage.host_bytes


def _stage_bars(
    results: VerticalResults,
    heading: str,
    name: str,
    of: Callable[[Stage], tuple[float | None, float | None]],
    show: Callable[[float], str],
) -> Picture | None:
    groups = []
    for stage in results.stages:
        parts = tuple(
            (float(value), colour)
            for value, colour in zip(of(stage), ("guest", "host"), strict=True)
            if value
        )
        if parts:
            groups.append(Group(stage.name, (Bar(parts, show(sum(v for v, _ in parts))),)))
    if len(groups) < 2:  # the table says as much
        return None
    limit = max(bar.length for group in groups for bar in group.bars)
    return picture(
        name, heading, f"{heading} by stage", groups_in_words(groups),
        lambda palette: bar_chart(groups, palette, limit, percent=False, text_share=0.2),
    )  # fmt: skip


def _named(results: VerticalResults, model: str) -> str:
    return _WHO[model].format(results.guest.name)


def _dots_in_words(dots: Sequence[Dot]) -> str:
    return " ".join(f"{dot.label}: {dot.text}." for dot in dots)
