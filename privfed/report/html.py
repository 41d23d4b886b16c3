"""One self-contained report.html, whose own policy forbids it to fetch anything."""

from __future__ import annotations

import base64
import hashlib
import os
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from privfed.errors import ConfigError
from privfed.experiment.results import Results
from privfed.report import cost, paper, pictures, privacy, tables, words
from privfed.report.findings import findings
from privfed.report.headline import key_figures, subtitle, title
from privfed.report.palette import DARK, LIGHT, css_variables
from privfed.report.view import View

_HERE = Path(__file__).parent
_MOST_PICKED = 16  # lines of one panel that pointing can pick out

# The page's only script. The policy below allows its hash and no other.
_SCRIPT = """
const button = document.getElementById("theme"), root = document.documentElement;
const dark = () => root.dataset.theme ? root.dataset.theme === "dark"
  : matchMedia("(prefers-color-scheme: dark)").matches;
button.hidden = false;
button.addEventListener("click", () => {
  root.dataset.theme = dark() ? "light" : "dark";
  button.setAttribute("aria-pressed", String(dark()));
});
"""


def render_html(results: Results) -> str:
    """Draw a report.

    Args:
        results: What `load_results` or an experiment gives.

    Returns:
        One HTML page with everything in it. The same results give the same text.

    Raises:
        ConfigError: If the results hold an arm that they do not describe.
    """
    view = View(results)
    return _environment().get_template("report.html.j2").render(
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
        tables=tables,
        words=words,
        sees=_who_sees(view),
        provenance=results.provenance,
        style=Markup(_style()),  # noqa: S704 - our own file and colours
        script=Markup(_SCRIPT),  # noqa: S704 - our own constant
        policy=_policy(),
    )  # fmt: skip


def write_report(results: Results, directory: Path) -> Path:
    """Write report.html, so that a reader sees the old file or the new one.

    Args:
        results: What to draw.
        directory: An existing folder.

    Returns:
        The file's path.

    Raises:
        ConfigError: If the file cannot be written, or as `render_html`.
    """
    page = render_html(results)
    path = directory / "report.html"
    try:
        handle, partial = tempfile.mkstemp(dir=directory, prefix=".report-", suffix=".partial")
        try:
            with os.fdopen(handle, "w", encoding="utf-8", errors="replace") as file:
                file.write(page)
            Path(partial).chmod(0o644)  # mkstemp's 0600 would hide it from a web server
            Path(partial).replace(path)
        except BaseException:
            Path(partial).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written ({error.strerror}); choose another folder"
        ) from error
    return path


def _paper(view: View) -> Mapping[str, Any] | None:
    """What the paper's section needs; None where the data or the arms are not the paper's."""
    split = view.main_split
    if not view.is_dresses or split is None or not pictures.paper_lines(view, split):
        return None
    line = pictures.paper_lines(view, split)[0][1]
    rounds = max((run.rounds for run in view.runs(split, line)), default=0)
    return {"citation": paper.CITATION, "split": split, "rounds": rounds, "theirs": paper.ROUNDS}


def _who_sees(view: View) -> list[tuple[str, str]]:
    """Each arm that ran, with the sentence on who could see what."""
    ran = dict.fromkeys(summary.arm for summary in view.results.summaries)
    return [(a.label, a.who_sees) for a in view.results.arms if a.arm in ran]


def _policy() -> str:
    digest = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
    # Inline style attributes carry the pictures' colours; nothing else may load or run.
    return (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _style() -> str:
    light, dark = css_variables(LIGHT), css_variables(DARK)
    return (
        f":root{{color-scheme:light;{light}}}"
        f"@media (prefers-color-scheme:dark){{:root:not([data-theme=light])"
        f"{{color-scheme:dark;{dark}}}}}"
        f":root[data-theme=dark]{{color-scheme:dark;{dark}}}"
        f"@media print{{:root,:root:not([data-theme=light]),:root[data-theme=dark]"
        f"{{color-scheme:light;{light}}}}}\n"
        + (_HERE / "style.css").read_text(encoding="utf-8")
        + "".join(_pick_out(number) for number in range(_MOST_PICKED))
    )


def _pick_out(number: int) -> str:
    """Pointing at one entry of a key dims the lines of the others."""
    return (
        f".sheet:has(.pick-{number}:is(:hover,:focus-visible)) "
        f"[class^=series-]:not(.series-{number}){{opacity:.1}}"
    )


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
