"""One table, written three ways: Markdown and the terminal here, HTML by report/parts.html.j2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from rich import table as rich_table
from rich.text import Text

_STYLES: Mapping[str, str] = {"holds": "green", "fails": "bold red", "meant": "bold"}


class Marked(str):
    """A cell that stands out, by a word for why: "meant", "hit", "holds" or "fails"."""

    __slots__ = ("kind",)
    kind: str

    def __new__(cls, text: str, kind: str) -> Self:
        """Mark a cell's text."""
        cell = super().__new__(cls, text)
        cell.kind = kind
        return cell


@dataclass(frozen=True)
class Table:
    """Cells as text.

    Attributes:
        head: What the columns are called.
        rows: Their cells; a row of a single one is a heading of those under it.
        words: How many of the first columns hold words; the others hold numbers.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: int = 1


def markdown(table: Table) -> str:
    """Return the table as lines of Markdown, without a final line break."""
    numbers = len(table.head) - table.words
    rule = [*["---"] * table.words, *["---:"] * numbers]
    rows = [[cell.replace("|", r"\|") for cell in row] for row in (table.head, *table.rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (rows[0], rule, *rows[1:]))


def for_terminal(
    table: Table, *, title: str | None = None, caption: str | None = None, header: bool = True
) -> rich_table.Table:
    """Return the table for `rich.console.Console.print`; long cells fold.

    Args:
        table: The table.
        title: What to print over it.
        caption: What to print under it.
        header: Whether the columns' names are shown.
    """
    shown = rich_table.Table(
        title=title and Text(title, "table.title"),
        caption=caption and Text(caption, "table.caption"),
        title_justify="left",
        caption_justify="left",
        show_header=header,
    )
    headings = [row[0] for row in table.rows if len(row) == 1]
    for number, name in enumerate(table.head):
        shown.add_column(
            Text(name),
            justify="left" if number < table.words else "right",
            overflow="fold",
            min_width=None if number else max(map(len, headings), default=None),
        )
    for row in table.rows:
        if len(row) == 1 < len(table.head):
            shown.add_section()
            shown.add_row(Text(row[0], "bold"))
        else:
            shown.add_row(*map(_cell, row))
    return shown


def _cell(cell: str) -> Text:
    return Text(cell, _STYLES.get(cell.kind, "") if isinstance(cell, Marked) else "")
