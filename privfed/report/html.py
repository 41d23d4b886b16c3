"""One self-contained report.html."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from privfed.experiment.results import Results
from privfed.report import cost, gains, page, paper, pictures, privacy, tables, words
from privfed.report.findings import findings
from privfed.report.headline import key_figures, subtitle, title
from privfed.report.view import ROLES, View

AUDIT_PAGE = "audit.html"  # what an audit leaves beside the report


def render_html(results: Results, *, audit: bool = False) -> str:
    """Draw a report.

    Args:
        results: What `load_results` or an experiment gives.
        audit: Whether an audit's page lies beside it, to link to.

    Returns:
        One HTML page with everything in it. The same results give the same text.

    Raises:
        ConfigError: The results hold an arm that they do not describe.
    """
    view = View(results)
    return page.render(
        "report.html.j2",
        audit=audit,
        view=view,
        title=title(view),
        subtitle=subtitle(view),
        key_figures=key_figures(view),
        findings=findings(results),
        splits=view.splits,
        main=view.main_split,
        paper=_paper(view),
        pictures=pictures,
        privacy=privacy,
        cost=cost,
        other_rows=gains.other_rows,
        roles=ROLES,
        tables=tables,
        words=words,
        sees=_who_sees(view),
        provenance=results.provenance,
    )


def write_report(results: Results, directory: Path) -> Path:
    """Write report.html, so that a reader sees the old file or the new one.

    Args:
        results: What to draw.
        directory: An existing folder.

    Returns:
        The file's path.

    Raises:
        ConfigError: The file cannot be written, or as `render_html`.
    """
    path = directory / "report.html"
    return page.write(render_html(results, audit=(directory / AUDIT_PAGE).is_file()), path)


def _paper(view: View) -> Mapping[str, Any] | None:
    """Return what the paper's section needs; None where data or arms are not the paper's."""
    split = view.main_split
    if not view.is_dresses or split is None or not pictures.paper_lines(view, split):
        return None
    line = pictures.paper_lines(view, split)[0][1]
    rounds = max((run.rounds for run in view.runs(split, line)), default=0)
    return {"citation": paper.CITATION, "split": split, "rounds": rounds, "theirs": paper.ROUNDS}


def _who_sees(view: View) -> list[tuple[str, str]]:
    """Return each arm that ran, with the sentence on who could see what."""
    ran = dict.fromkeys(summary.arm for summary in view.results.summaries)
    return [(a.label, a.who_sees) for a in view.results.arms if a.name in ran]
