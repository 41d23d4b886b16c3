"""Processor time, bytes and the time on a line of an intersection, beside the peers."""

from pathlib import Path
from typing import Any

__all__ = ["draw", "draw_lines"]

# Tool: colour (told apart by colour-blind readers too), marker, line.
_DRAWN = {
    "psi-vole": ("#0072B2", "o", "-"),
    "psi-ecdh": ("#56B4E9", "s", "-"),
    "spu-rr22": ("#009E73", "^", "--"),
    "spu-kkrt": ("#D55E00", "v", "--"),
    "spu-ecdh": ("#E69F00", "D", "--"),
    "openmined-psi": ("0.35", "x", "--"),
}
_SPEEDS = [10 ** (1 + step / 10) for step in range(31)]  # Mbit/s, to 10 Gbit/s
_PANELS = (
    ("cpu_seconds_per_party", "processor seconds a party, from CSV to row numbers"),
    ("bytes_per_item", "bytes in both directions, an ID of one side"),
)


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw the rows of `benchmarks.psi`: log against log, one line a tool."""
    figure, axes = _panels(2)
    for panel, (key, label) in zip(axes, _PANELS, strict=True):
        for tool, (colour, marker, line) in _DRAWN.items():
            own = sorted((row["log2_size"], row[key]) for row in rows if row["tool"] == tool)
            if own:
                ids = [2**size for size, _ in own]
                values = [value for _, value in own]
                panel.plot(ids, values, line, color=colour, marker=marker, label=tool, ms=5, lw=1.6)
        sizes = sorted({row["log2_size"] for row in rows})
        panel.set_xscale("log", base=2)
        panel.set_yscale("log")
        panel.set_xticks([2**size for size in sizes], [f"$2^{{{size}}}$" for size in sizes])
        panel.minorticks_off()
        panel.set_xlabel("IDs a side")
        panel.set_title(label, fontsize=10, loc="left")
        _finish(panel)
    axes[1].set_yticks([30, 100, 300, 1000, 3000])
    _save(figure, axes, path)


def draw_lines(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw how long the two largest sizes that several tools have take over lines of any speed.

    That is the wall time on loopback, where bytes take next to none, and what the line takes for
    the bytes; round trips come on top of it.
    """
    shared = sorted(
        size
        for size in {row["log2_size"] for row in rows}
        if len({row["tool"] for row in rows if row["log2_size"] == size}) > 1
    )[-2:]
    figure, axes = _panels(len(shared))
    for panel, size in zip(axes, shared, strict=True):
        for tool, (colour, _, line) in _DRAWN.items():
            for row in rows:
                if (row["tool"], row["log2_size"]) == (tool, size):
                    bits = 8 * row["bytes_per_item"] * 2**size
                    seconds = [row["wall_seconds"] + bits / (1e6 * speed) for speed in _SPEEDS]
                    panel.plot(_SPEEDS, seconds, line, color=colour, label=tool, lw=1.6)
        panel.set_xscale("log")
        panel.set_yscale("log")
        panel.set_xticks([10, 100, 1000, 10_000], ["10", "100", "1,000", "10,000"])
        panel.minorticks_off()
        panel.set_xlabel("line, Mbit/s")
        panel.set_title(f"seconds for $2^{{{size}}}$ IDs a side", fontsize=10, loc="left")
        _finish(panel)
    _save(figure, axes, path)


def _panels(count: int) -> tuple[Any, Any]:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(
        1, count, figsize=(5.5 * count, 4.6), layout="constrained", squeeze=False
    )
    return figure, axes[0]


def _finish(panel: Any) -> None:
    panel.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    panel.grid(color="0.92")
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)


def _save(figure: Any, axes: Any, path: Path) -> None:
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    figure.savefig(path, dpi=110)
