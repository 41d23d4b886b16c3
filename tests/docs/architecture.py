"""Draws docs/architecture.svg from what the rooms import: `python -m tests.docs.architecture`."""

import io
import tomllib
from typing import Any, TypeAlias

import grimp
import matplotlib as mpl
import networkx as nx
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from tests.places import DOCS, ROOT

__all__ = ["PICTURE", "draw", "floors", "rooms"]

PICTURE = DOCS / "architecture.svg"

_PACKAGES = {"privfed": "#2f5d8a", "psi": "#8a4b2f"}
_SHADE = "#dbe8f4"  # of what the upper package takes from the lower
_LENT = "privfed takes psi's public rooms alone"
# Many import them: no arrows.
_UNDER_ALL = (
    "privfed.defaults", "privfed.errors", "psi.defaults", "psi.errors", "psi.storage",
)  # fmt: skip
_WIDTH, _HEIGHT, _BESIDE, _BELOW = 1.25, 0.38, 1.6, 0.82  # of a box, and from one to the next
_MARGIN = 0.25

Place: TypeAlias = tuple[float, float]


def rooms() -> "nx.DiGraph[str]":
    """Return who imports whom: an edge for each pair of rooms, files and folders alike."""
    imports = grimp.build_graph(*_PACKAGES)
    graph: nx.DiGraph[str] = nx.DiGraph()
    for module in imports.modules:
        for imported in imports.find_modules_directly_imported_by(module):
            ends = [".".join(name.split(".")[:2]) for name in (module, imported)]
            # A package's own face gathers its exports, `__main__` is a door: not rooms.
            if ends[0] != ends[1] and all("." in end and "__" not in end for end in ends):
                graph.add_edge(*ends)
    return graph


def floors() -> dict[str, list[list[str]]]:
    """Return the floors of each package from the top, as its first import contract has them."""
    layered = [one["layers"] for one in _contracts() if one["type"] == "layers"]
    found = dict[str, list[list[str]]]()
    for layers in layered:
        rows = [[room.strip() for room in layer.split("|")] for layer in layers]
        found.setdefault(rows[0][0].partition(".")[0], rows)
    return found


def public() -> set[str]:
    """Return the rooms of the lower package that the upper one may import from, by contract."""
    [contract] = [one for one in _contracts() if one["name"] == _LENT]
    closed = set(contract["forbidden_modules"])  # of some rooms all but their faces
    return {room for row in floors()["psi"] for room in row} - closed


def draw() -> str:
    """Return the picture as SVG, the same for the same imports and contracts."""
    shown = rooms()
    shown.remove_nodes_from(_UNDER_ALL)
    # An arrow that a chain of others implies would only be in the way.
    arrows: nx.DiGraph[str] = nx.transitive_reduction(shown)
    # Where the packages meet, a shade says enough: arrows would cross the whole picture.
    arrows.remove_edges_from([ends for ends in arrows.edges if len(set(map(_package, ends))) > 1])
    lent = public()
    places = _placed()
    across, up = zip(*places.values(), strict=True)
    left, right = min(across) - _MARGIN, max(across) + _WIDTH + _MARGIN
    bottom, top = min(up) - _MARGIN, max(up) + _HEIGHT + 2.5 * _MARGIN
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "privfed", "font.size": 11}):
        figure = Figure(figsize=(right - left, top - bottom), facecolor="white")
        axes = figure.add_axes((0, 0, 1, 1), xlim=(left, right), ylim=(bottom, top))
        axes.set_axis_off()
        for upper, lower in sorted(arrows.edges):
            axes.add_patch(_arrow(places[upper], places[lower], _colour(upper)))
        for room, (x, y) in sorted(places.items()):
            colour = _colour(room)
            fill = _SHADE if room in lent else "white"
            corners = "round,pad=0,rounding_size=0.08"
            axes.add_patch(
                FancyBboxPatch((x, y), _WIDTH, _HEIGHT, boxstyle=corners, fc=fill, ec=colour)
            )
            middle = x + _WIDTH / 2, y + _HEIGHT / 2
            name = room.partition(".")[2]
            axes.text(*middle, name, ha="center", va="center_baseline", color=colour)
        for package, colour in _PACKAGES.items():
            x, y = places[f"{package}.cli"]
            above = x + _WIDTH / 2, y + _HEIGHT + _MARGIN / 2
            axes.text(*above, package, ha="center", color=colour, weight="bold", fontsize=14)
        written = io.StringIO()
        figure.savefig(written, format="svg", metadata={"Date": None, "Creator": None})
    return "\n".join(line.rstrip() for line in written.getvalue().splitlines()) + "\n"


def _contracts() -> list[dict[str, Any]]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts: list[dict[str, Any]] = settings["tool"]["importlinter"]["contracts"]
    return contracts


def _placed() -> dict[str, Place]:
    """The lower left corner of each room's box."""
    places: dict[str, Place] = {}
    start = 0.0
    for rows in floors().values():
        widest = max(map(len, rows))
        for height, row in enumerate(reversed(rows)):
            indent = start + (widest - len(row)) * _BESIDE / 2
            for number, room in enumerate(row):
                places[room] = (indent + number * _BESIDE, height * _BELOW)
        start += widest * _BESIDE + 0.2
    return places


def _arrow(upper: Place, lower: Place, colour: str) -> FancyArrowPatch:
    """From the edge of one box to the edge of the other that faces it."""
    to_right = lower[0] - upper[0]
    # Off the middle towards where it goes, so that arrows of one box part.
    lean = max(-0.4, min(0.4, to_right / 6)) * _WIDTH
    start = (upper[0] + _WIDTH / 2 + lean, upper[1])
    end = (lower[0] + _WIDTH / 2 - lean, lower[1] + _HEIGHT)
    # Past the rooms between: around them on the outside.
    bend = 0.0 if upper[1] - lower[1] < 1.5 * _BELOW else -0.15 * np.sign(to_right)
    return FancyArrowPatch(
        start, end, arrowstyle="-|>", connectionstyle=f"arc3,rad={bend}", mutation_scale=9,
        shrinkA=0, shrinkB=0, lw=0.9, color=colour, alpha=0.6,
    )  # fmt: skip


def _package(room: str) -> str:
    return room.partition(".")[0]


def _colour(room: str) -> str:
    return _PACKAGES[_package(room)]


if __name__ == "__main__":
    PICTURE.write_text(draw())
