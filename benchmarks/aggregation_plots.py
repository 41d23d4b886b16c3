"""Pictures of aggregation: each role's whole work and bytes beside peers, and how both grow."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

from benchmarks.aggregation_figures import FIXED_CLIENTS, FIXED_SIZE, MODES, NAMES, named

mpl.use("Agg")

from matplotlib import pyplot

Row = Mapping[str, Any]
# Told apart by colour-blind readers too.
_ROLES = {"client": "#0072B2", "server": "#E69F00", "holder": "#009E73", "opener": "#56B4E9"}
_MODES = {"seeds": "-", "summed": "--", "opener": ":"}


def draw(rows: Sequence[Row], path: Path) -> None:
    """Draw what each role of a round spends, and bytes up and down, scheme by scheme."""
    found = named(rows)
    shown = [(name, found[key]) for key, name in NAMES.items() if key[0] != "floor"]
    places = list(range(len(shown)))[::-1]
    figure, (work, size) = pyplot.subplots(
        1, 2, figsize=(11, 6), layout="constrained", sharey=True, width_ratios=(3, 2)
    )
    for step, (role, colour) in enumerate(_ROLES.items()):
        for place, (_, row) in zip(places, shown, strict=True):
            seconds = row[f"{role}_cpu_seconds"]
            if seconds is not None:
                label = role if not work.get_legend_handles_labels()[1].count(role) else None
                _bar(work, place + 0.3 - 0.2 * step, 1000 * seconds, colour, label, 0.2)
    for step, (way, colour) in enumerate((("upload", "#0072B2"), ("download", "#009E73"))):
        for place, (_, row) in zip(places, shown, strict=True):
            label = way if place == places[0] else None
            share = row[f"{way}_bytes"] / (4 * row["params"])
            _bar(size, place + 0.15 - 0.3 * step, share, colour, label, 0.3)
    work.set_yticks(places, [name for name, _ in shown])
    first = shown[0][1]
    work.set_title(
        f"processor ms a round, ahead and online; {first['params']:,} values, "
        f"{first['clients']} clients",
        fontsize=9,
    )
    size.set_title("bytes of one client, as a multiple of float32's", fontsize=9)
    for axis in (work, size):
        axis.set_xscale("log")
        axis.margins(x=0.15)
        axis.grid(axis="x", alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(fontsize=8, loc="lower right", frameon=False)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def _bar(
    axis: Any, place: float, value: float, colour: str, label: str | None, thickness: float
) -> None:
    axis.barh(place, value, thickness, color=colour, label=label)
    number = f"{value:,.2f}" if value < 1 else f"{value:,.1f}" if value < 100 else f"{value:,.0f}"
    axis.annotate(
        number, (value, place), (2, 0), textcoords="offset points", fontsize=6, va="center"
    )


def draw_scale(rows: Sequence[Row], path: Path) -> None:
    """Draw each role's seconds and bytes down, against values and against clients."""
    figure, axes = pyplot.subplots(2, 2, figsize=(11, 8), layout="constrained")
    sweeps = (
        ("params", [row for row in rows if row["clients"] == FIXED_CLIENTS],
         f"values in an update, {FIXED_CLIENTS} clients"),
        ("clients", [row for row in rows if row["params"] == FIXED_SIZE],
         f"clients, {FIXED_SIZE:,} values"),
    )  # fmt: skip
    for (work, size), (along, swept, label) in zip(axes.T, sweeps, strict=True):
        for mode in MODES:
            ours = [r for r in swept if r["scheme"] == "packed" and r["download_mode"] == mode]
            for role, colour in _ROLES.items():
                points = [(r[along], r[f"{role}_cpu_seconds"]) for r in ours]
                points = [(x, y) for x, y in points if y is not None]
                if points:
                    name = f"{role}, {mode}"
                    work.plot(*zip(*points, strict=True), _MODES[mode], color=colour, label=name,
                              marker="o", ms=3, lw=1.2)  # fmt: skip
            for way, colour, what in (
                ("upload", "0.5", "up"),
                ("download", "#009E73", "down"),
                ("opener_download", "#56B4E9", "down at an opener"),
            ):
                points = [(r[along], r[f"{way}_bytes"]) for r in ours]
                points = [(x, y / (4 * r["params"])) for (x, y), r in zip(points, ours, strict=True)
                          if y is not None]  # fmt: skip
                if points:
                    size.plot(*zip(*points, strict=True), _MODES[mode], color=colour,
                              label=f"{what}, {mode}", marker="o", ms=3, lw=1.2)  # fmt: skip
        for axis in (work, size):
            axis.set(xscale="log", yscale="log", xlabel=label)
            axis.grid(alpha=0.3)
            axis.spines[["top", "right"]].set_visible(False)
    axes[0][0].set_ylabel("processor seconds a round, ahead and online")
    axes[1][0].set_ylabel("bytes of one party, as a multiple of float32's")
    for axis in axes[:, 1]:
        axis.legend(fontsize=7, frameon=False, ncols=2)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
