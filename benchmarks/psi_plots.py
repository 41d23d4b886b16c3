"""Processor time and bytes of an intersection against the size of the sets, beside the peers."""

from pathlib import Path
from typing import Any

__all__ = ["draw"]

# Tool: colour (told apart by colour-blind readers too), marker, line.
_DRAWN = {
    "psi-vole": ("#0072B2", "o", "-"),
    "psi-ecdh": ("#56B4E9", "s", "-"),
    "spu-rr22": ("#009E73", "^", "--"),
    "spu-kkrt": ("#D55E00", "v", "--"),
    "spu-ecdh": ("#E69F00", "D", "--"),
    "openmined-psi": ("0.35", "x", "--"),
}
_PANELS = (
    ("cpu_seconds_per_party", "processor seconds a party, from CSV to row numbers"),
    ("bytes_per_item", "bytes in both directions, an ID of one side"),
)


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw the rows of `benchmarks.psi`: log against log, one line a tool."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4.6), layout="constrained")
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
        panel.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        panel.grid(color="0.92")
        panel.set_axisbelow(True)
        panel.spines[["top", "right"]].set_visible(False)
    axes[1].set_yticks([30, 100, 300, 1000, 3000])
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(_DRAWN), frameon=False)
    figure.savefig(path, dpi=110)
