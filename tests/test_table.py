"""One table, the same in Markdown, in the terminal and on a page."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from rich.console import Console

from privfed.report import page
from privfed.table import Marked, Table, for_terminal, markdown

TABLE = Table(
    ("arm", "what", "n"),
    [("a|b", "[bold]x[/bold]", Marked("1", "meant")), ("<i>c</i>", "y", "20")],
    words=2,
)


def printed(table: Table, width: int = 80) -> str:
    text = io.StringIO()
    Console(file=text, width=width).print(for_terminal(table))
    return text.getvalue()


def html(table: Table) -> str:
    templates = FileSystemLoader(Path(page.__file__).parent)
    parts: Any = Environment(loader=templates, autoescape=True).get_template("parts.html.j2").module
    return str(parts.cells(table))


def test_markdown_escapes_what_would_end_a_cell() -> None:
    assert markdown(TABLE).splitlines() == [
        "| arm | what | n |",
        "| --- | --- | ---: |",
        r"| a\|b | [bold]x[/bold] | 1 |",
        "| <i>c</i> | y | 20 |",
    ]


def test_the_terminal_shows_markup_as_text_and_numbers_to_the_right() -> None:
    text = printed(TABLE)
    assert "[bold]x[/bold]" in text
    assert re.search(r"│ +1 │\n.*│ 20 │", text)


def test_a_row_of_one_cell_is_a_heading_that_does_not_fold() -> None:
    table = Table(("arm", "n"), [("overlapping",), ("a", "1" * 30), ("disjoint",), ("a", "2")])
    text = printed(table, width=34)
    assert "overlapping" in text
    assert text.count("├") == 1  # of the second, from the rows before it


def test_the_page_escapes_cells_and_names_what_stands_out() -> None:
    found = html(TABLE)
    assert '<th scope="row" class="word">a|b</th>' in found
    assert "&lt;i&gt;c&lt;/i&gt;" in found
    assert '<td class="meant">1</td>' in found
    assert found.count('class="word"') == 2 + 2 * 2
