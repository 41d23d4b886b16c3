"""The parts of a report, in order: each is a row here and a template beside it.

A template is filled in with `view`, `main` and `splits`, the modules of this package that draw and
word things, and what its row's function returns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from privfed.report import cost, gains, page, paper, parties, pictures, privacy, tables, words
from privfed.report.findings import findings
from privfed.report.understood import understood_values
from privfed.report.view import ROLES, View

__all__ = ["SECTIONS", "RenderedSection", "Section", "rendered"]


@dataclass(frozen=True)
class Section:
    """A part of the report.

    Attributes:
        name: The name of its template, and its anchor in the page.
        link: Its entry in the navigation.
        values: Returns what its template takes besides; None where there is nothing to show.
    """

    name: str
    link: str
    values: Callable[[View], Mapping[str, Any] | None]


@dataclass(frozen=True)
class RenderedSection:
    """A section of one page: its anchor, its link and its content."""

    name: str
    link: str
    body: Markup


def rendered(view: View) -> list[RenderedSection]:
    """Return the parts that have something to show of these results."""
    common = {
        "view": view,
        "main": view.main_split,
        "splits": view.splits,
        "roles": ROLES,
        "other_rows": gains.other_rows,
        "cost": cost,
        "parties": parties,
        "pictures": pictures,
        "privacy": privacy,
        "tables": tables,
        "words": words,
    }
    parts = []
    for section in SECTIONS:
        values = section.values(view)
        if values is not None:
            body = page.part(f"sections/{section.name}.html.j2", {**common, **values})
            parts.append(RenderedSection(section.name, section.link, body))
    return parts


def _findings(view: View) -> Mapping[str, Any]:
    elsewhere = ("privacy", "claim", "pooled")  # in parts of their own, and on the first screen
    return {"findings": [each for each in findings(view.results) if each.name not in elsewhere]}


def _paper(view: View) -> Mapping[str, Any] | None:
    """Return what the paper's part needs; None where data or arms are not the paper's."""
    split = view.main_split
    if not view.is_dresses or split is None or not pictures.paper_lines(view, split):
        return None
    line = pictures.paper_lines(view, split)[0][1]
    rounds = max((run.rounds for run in view.runs(split, line)), default=0)
    named = {"citation": paper.CITATION, "split": split, "rounds": rounds, "theirs": paper.ROUNDS}
    said = [each for each in findings(view.results) if each.name == "claim"]
    return {"paper": named, "said": said}


def _of_runs(view: View) -> Mapping[str, Any] | None:
    return None if view.main_split is None else {}


def _splits(view: View) -> Mapping[str, Any] | None:
    said = parties.parties_in_words(view.results)
    return {"said": said} if len(view.splits) > 1 or (said and view.splits) else None


def _figures(view: View) -> Mapping[str, Any] | None:
    if view.main_split is None:
        return None
    has_paper = view.is_dresses and bool(pictures.paper_lines(view, view.main_split))
    return {"paper_lines": has_paper, "private_views": privacy.views(view)}


def _privacy(view: View) -> Mapping[str, Any] | None:
    shown = privacy.views(view)
    said = [each for each in findings(view.results) if each.name == "privacy"]
    return {"views": shown, "said": said} if shown else None


def _cost(view: View) -> Mapping[str, Any] | None:
    split = view.main_split
    if split is None:
        return None
    traffic, time = cost.traffic_bars(view, split), cost.phase_bars(view, split)
    return {"traffic": traffic, "time": time} if traffic or time else None


def _sees(view: View) -> Mapping[str, Any] | None:
    """Return each arm that ran, with the sentence on who could see what."""
    ran = {summary.arm for summary in view.results.summaries}
    seen = [(arm.label, arm.who_sees) for arm in view.results.arms if arm.name in ran]
    return None if view.main_split is None else {"sees": seen}


def _provenance(view: View) -> Mapping[str, Any]:
    origin = dict(view.results.provenance)
    if isinstance(origin.get("data"), dict):  # its columns have a part of their own
        origin["data"] = {k: v for k, v in origin["data"].items() if k != "columns"}
    return {"provenance": origin}


SECTIONS: Sequence[Section] = (
    Section("understood", "Columns", understood_values),
    Section("findings", "Findings", _findings),
    Section("splits", "Splits", _splits),
    Section("seen", "Seen and unseen", _of_runs),
    Section("privacy", "Privacy", _privacy),
    Section("cost", "Cost", _cost),
    Section("figures", "All figures", _figures),
    Section("sees", "Who sees what", _sees),
    Section("paper", "The paper", _paper),
    Section("curves", "Learning", _of_runs),
    Section("provenance", "Provenance", _provenance),
)
