"""One self-contained report.html."""

from __future__ import annotations

from pathlib import Path

from privfed.experiment.results import Results
from privfed.report import page
from privfed.report.differences import KEY, opening_picture
from privfed.report.opening import answers, title, what_ran
from privfed.report.sections import rendered
from privfed.report.view import View

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
        ran=what_ran(view),
        answers=answers(view),
        picture=opening_picture(view),
        picture_key=KEY,
        sections=rendered(view),
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
