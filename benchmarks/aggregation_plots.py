"""Pictures of aggregation: each role's whole work and bytes beside peers, and how both grow."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

from benchmarks.aggregation_figures import FIXED_CLIENTS, FIXED_SIZE, NAMES, named

mpl.use("Agg")

from matplotlib import pyplot
from matplotlib.ticker import LogLocator, NullFormatter

Row = Mapping[str, Any]
# Told apart by colour-blind readers too.
_ROLES = {"client": "#0072B2", "server": "#E69F00", "holder": "#009E73", "opener": "#56B4E9"}


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
    """Draw each role's work and bytes, a panel each: above as updates grow, below as clients do."""
    sweeps = (
        ("params", "clients", FIXED_CLIENTS, f"values in an update, {FIXED_CLIENTS} clients"),
        ("clients", "params", FIXED_SIZE, f"clients, {FIXED_SIZE:,} values"),
    )
    figure, axes = pyplot.subplots(2, len(_PANELS), figsize=(15, 7), layout="constrained")
    for line, (along, fixed, size, label) in zip(axes, sweeps, strict=True):
        swept = [row for row in rows if row[fixed] == size]
        for axis, (title, drawn) in zip(line, _PANELS, strict=True):
            for field, kinds in drawn:
                for kind in kinds:
                    name, colour, style = _LINES[kind]
                    if field.startswith("opener"):
                        name, style = "one who opens", ":"
                    points = [(row[along], _value(row, field)) for row in swept if _of(row) == kind]
                    axis.plot(*zip(*points, strict=True), style, color=colour, label=name,
                              marker="o", ms=3, lw=1.3)  # fmt: skip
            axis.set(xscale="log", yscale="log", xlabel=label)
            axis.set_title(title, fontsize=9, loc="left")
            axis.yaxis.set_major_locator(LogLocator(subs=(1, 3)))
            axis.yaxis.set_minor_formatter(NullFormatter())
            axis.yaxis.set_major_formatter("{x:g}")
            axis.grid(alpha=0.3)
            axis.spines[["top", "right"]].set_visible(False)
    axes[0][2].legend(fontsize=8, frameon=False)
    figure.savefig(path, dpi=100)
    pyplot.close(figure)


_LINES = {  # told apart by colour-blind readers too
    "seeds": ("privfed, seeds", "#0072B2", "-"),
    "summed": ("privfed, summed", "#E69F00", "-"),
    "opener": ("privfed, opener", "#009E73", "-"),
    "bfv": ("TenSEAL BFV", "0.45", "--"),
}
_Drawn = tuple[tuple[str, Sequence[str]], ...]  # fields, and whose lines have them
_PANELS: tuple[tuple[str, _Drawn], ...] = (
    ("client, processor s a round", (("client_cpu_seconds", [*_LINES]),)),
    ("server, processor s", (("server_cpu_seconds", [*_LINES]),)),
    (
        "holder, processor s",
        (("holder_cpu_seconds", [*_LINES]), ("opener_cpu_seconds", ["opener"])),
    ),
    (
        "bytes down, as a multiple of float32's",
        (("download_bytes", [*_LINES]), ("opener_download_bytes", ["opener"])),
    ),
)


def _of(row: Row) -> str:
    """Return the line that a row belongs to."""
    return str(row["download_mode"] if row["scheme"] == "packed" else row["scheme"])


def _value(row: Row, field: str) -> float:
    return float(row[field]) / (4 * row["params"] if field.endswith("_bytes") else 1)
