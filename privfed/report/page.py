"""The frame of a self-contained page, whose own policy forbids it to fetch anything."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from privfed.errors import ConfigError
from privfed.report.palette import DARK, LIGHT, css_variables
from psi.storage import whole_file

_HERE = Path(__file__).parent
_MOST_PICKED = 16  # lines of one panel that a pointer can highlight

# The page's only script. The policy below allows its hash and no other.
_SCRIPT = """
const button = document.getElementById("theme"), root = document.documentElement;
const dark = () => root.dataset.theme ? root.dataset.theme === "dark"
  : matchMedia("(prefers-color-scheme: dark)").matches;
button.hidden = false;
const folds = document.getElementsByTagName("details");
addEventListener("beforeprint", () => { for (const fold of folds) fold.open = true; });
button.addEventListener("click", () => {
  root.dataset.theme = dark() ? "light" : "dark";
  button.setAttribute("aria-pressed", String(dark()));
});
"""


@dataclass(frozen=True)
class KeyFigure:
    """A number at the top of a page, what it is, and what to compare it with."""

    value: str
    label: str
    note: str


def render(template: str, **values: Any) -> str:
    """Fill in a template of this room; it may use `style`, `script` and `policy`, too."""
    return _environment().get_template(template).render(
        style=Markup(_style()),  # noqa: S704 - our own file and colours
        script=Markup(_SCRIPT),  # noqa: S704 - our own constant
        policy=_policy(),
        **values,
    )  # fmt: skip


def part(template: str, values: Mapping[str, Any]) -> Markup:
    """Fill in a template that is a piece of a page."""
    filled = _environment().get_template(template).render(values)
    return Markup(filled.strip())  # noqa: S704 - the template has escaped what it shows


def write(page: str, path: Path, *, mode: int = 0o644) -> Path:
    """Write a page, so that a reader sees the old file or the new one.

    Args:
        page: The whole page.
        path: The file, in an existing folder.
        mode: Who may read it, usually a web server, too. If a file is replaced, nobody may read
            the new one who could not read the old one.

    Returns:
        The file's path.

    Raises:
        ConfigError: The file cannot be written.
    """
    with whole_file(path, replace=True, mode=mode, refusal=ConfigError) as file:
        file.write(page.encode(errors="replace"))
    return path


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
    """Return the style that dims other lines while one entry of a key is pointed at."""
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
