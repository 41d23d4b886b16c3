"""The picture of benchmarks.privacy_accuracy: accuracy against ε, one line per arm.

Run: python -m benchmarks.privacy_plots RESULTS.json FILE.png
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot

from privfed.report.palette import LIGHT

DRAWN = {
    "central-noise": ("overall", "s", "--"),
    "noise-shares": ("federated", "o", "-"),
    "local-noise": ("host", "^", "-"),
    "local-dpsgd-fedavg": ("private-3", "D", "-"),
    "single-party": ("guest", "v", "-"),
}


def draw(rows: Sequence[dict[str, Any]], dataset: str, path: Path) -> None:
    """Draw every arm's accuracy with its interval; what has no ε is a line across."""
    figure, axis = pyplot.subplots(figsize=(8, 5), layout="constrained")
    figure.set_facecolor("white")
    for plain in (row for row in rows if row["epsilon"] is None):
        axis.axhline(
            plain["accuracy_mean"], color=LIGHT["quiet"], linewidth=1, linestyle=":",
            label=plain["label"],
        )  # fmt: skip
    for arm, (name, mark, dashes) in DRAWN.items():
        points = sorted((row for row in rows if row["arm"] == arm), key=lambda row: row["epsilon"])
        epsilons = [row["epsilon"] for row in points]
        means = [row["accuracy_mean"] for row in points]
        lows, highs = zip(
            *(row["accuracy_ci95"] or 2 * [row["accuracy_mean"]] for row in points), strict=True
        )
        colour = LIGHT[name]
        axis.plot(
            epsilons, means, color=colour, linewidth=1.6, linestyle=dashes, marker=mark,
            markersize=5, label=points[0]["label"],
        )  # fmt: skip
        axis.fill_between(epsilons, lows, highs, color=colour, alpha=0.15, linewidth=0)
    axis.set_xscale("log", base=2)
    axis.set_xticks(epsilons, [f"{each:g}" for each in epsilons])
    axis.set_xlabel(f"ε at δ = {points[0]['delta']:g} ({points[0]['adjacency']}), the same for all")
    axis.set_ylabel("test accuracy, with 95 % intervals")
    lowest = min(row["accuracy_mean"] for row in rows)
    axis.set_ylim(max(0.0, lowest - 0.05), min(1.0, axis.get_ylim()[1]))
    axis.grid(alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, fontsize=9)
    seeds = len(points[0]["seeds"])
    axis.set_title(
        f"{dataset}: {points[0]['parties']} parties, every arm tuned at every ε, {seeds} seeds",
        fontsize=11,
        loc="left",
    )
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("picture", type=Path)
    given = parser.parse_args()
    results = json.loads(given.results.read_text(encoding="utf-8"))
    draw(results["rows"], results["settings"]["dataset"], given.picture)


if __name__ == "__main__":
    main()
