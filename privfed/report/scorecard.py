"""A scorecard as one self-contained scorecard.html."""

from __future__ import annotations

from pathlib import Path

from privfed.report import page, words
from privfed.report.charts import Bar, Group, bar_chart
from privfed.report.page import KeyFigure
from privfed.report.pictures import Key, Picture, groups_in_words, picture
from privfed.report.vertical_pictures import named_bars
from privfed.report.vertical_words import signed
from privfed.rounding import as_given, at_most
from privfed.table import Table
from privfed.vertical.scorecards.results import Scorecard, ScorecardColumn

SCORECARD_PAGE = "scorecard.html"
_MOST_COLUMNS, _MOST_DRAWN = 24, 6  # in the picture of IV, and with their bins

_WHOSE = {
    "host": "the label holder, who added the noise and learnt nothing",
    "guest": "the company with the columns, which added the noise and learnt nothing",
}
_TRUST = (
    "Both companies are trusted to follow the protocol (semi-honest): one to add the noise, the "
    "other to count nothing but bins of its columns, or to encrypt nothing but labels."
)
_EDGES = (
    "The noise is for the counts in these bins. Where bins begin and end follows from the host's "
    "own rows, and is no part of the ε."
)


def render_scorecard(card: Scorecard) -> str:
    """Draw a scorecard's page; the same scorecard gives the same text."""
    drawn = card.columns[:_MOST_DRAWN]
    return page.render(
        "scorecard.html.j2",
        card=card,
        verdict=scorecard_verdict(card),
        statement=card.statement,
        whose=_WHOSE[card.role],
        trust=_TRUST if card.role == "host" else f"{_TRUST} {_EDGES}",
        tiles=_tiles(card),
        values=_value_bars(card),
        values_key=(Key("columns that say nothing stay below, 95 of 100", "ink", "mark"),),
        bins=[each for place in enumerate(drawn) if (each := _bin_bars(*place)) is not None],
        columns=_columns(card),
        tables=[(column, _bins(column)) for column in card.columns],
        stages=_stages(card),
        words=words,
    )


def write_scorecard(card: Scorecard, directory: Path) -> Path:
    """Write scorecard.html, which only its owner may read, into an existing folder.

    Returns:
        The file's path.

    Raises:
        ConfigError: The file cannot be written.
    """
    return page.write(render_scorecard(card), directory / SCORECARD_PAGE, mode=0o600)


def scorecard_verdict(card: Scorecard) -> str:
    """Return in a sentence which columns say something, with what the counts cost."""
    telling = [column for column in card.columns if column.says_something]
    first = ", ".join(f"{each.name} (IV {words.decimal(each.iv)})" for each in telling[:3])
    more = f" and {len(telling) - 3} more" if len(telling) > 3 else ""
    said = (
        f"{len(telling)} of {words.count(len(card.columns), 'column')} say more of the label than "
        f"noise and chance would: {first}{more}."
        if telling
        else f"None of {words.count(len(card.columns), 'column')} says more of the label than "
        "noise and chance would."
    )
    return f"{said} The counts cost {card.statement}."


def _tiles(card: Scorecard) -> list[KeyFigure]:
    telling = sum(column.says_something for column in card.columns)
    cost = card.privacy
    about = "" if card.role == "guest" else "about "
    return [
        KeyFigure(f"{card.common_rows:,}", "common rows", f"{about}{card.events:,} are events"),
        KeyFigure(f"{telling} of {len(card.columns)}", "columns above noise and chance", "at 95 %"),
        KeyFigure(
            f"ε = {at_most(cost.epsilon)}",
            f"δ = {as_given(cost.delta)}, {cost.adjacency}: {cost.privacy_unit}",
            f"sampling: {cost.sampling}",
        ),
        KeyFigure(f"±{card.deviation:.1f}", "rows: one deviation of each count's noise", ""),
    ]


def _value_bars(card: Scorecard) -> Picture:
    groups = [
        Group(
            _short(column.name),
            (Bar(((column.iv, "host" if column.says_something else "quiet"),),
                 words.decimal(column.iv)),),
            max(column.of_nothing - column.by_noise, 0.0),
        )
        for column in card.columns[:_MOST_COLUMNS]
    ]  # fmt: skip
    limit = max([bar.length for group in groups for bar in group.bars], default=0.0)
    limit = max(limit, *(group.mark or 0.0 for group in groups), 1e-3)
    heading = "Information value"
    if len(card.columns) > _MOST_COLUMNS:
        heading = f"Information value, the {_MOST_COLUMNS} largest"
    return picture(
        "fig-iv", heading, heading, groups_in_words(groups),
        lambda palette: bar_chart(groups, palette, limit, percent=False, text_share=0.14),
    )  # fmt: skip


def _bin_bars(number: int, column: ScorecardColumn) -> Picture | None:
    known = [(each.woe, each.text, "guest") for each in column.bins if each.woe is not None]
    if not known:
        return None
    said = " ".join(f"{text}: {signed(woe, 2)}." for woe, text, _ in known)
    return picture(
        f"fig-woe-{number}", _short(column.name), f"WOE of {column.name}", said,
        lambda palette: named_bars(known, palette, lambda woe: signed(woe, 2)),
    )  # fmt: skip


def _columns(card: Scorecard) -> Table:
    rows = [
        (
            column.name,
            "yes" if column.says_something else "no",
            words.decimal(column.iv),
            words.decimal(column.measured),
            signed(column.by_noise, 3),
            words.decimal(column.of_nothing),
        )
        for column in card.columns
    ]
    head = ("Column", "Above noise", "IV", "With noise", "Noise adds", "Nothing shows up to")
    return Table(head, rows, 2)


def _bins(column: ScorecardColumn) -> Table:
    rows = [
        (
            each.text,
            f"{each.events:,}",
            f"{each.others:,}",
            *(words.MISSING if one is None else signed(one, 2)
              for one in (each.woe, each.low, each.high)),
        )
        for each in column.bins
    ]  # fmt: skip
    return Table(("Bin", "Events", "Others", "WOE", "Low", "High"), rows, 1)


def _stages(card: Scorecard) -> Table:
    rows = [
        (
            each.name,
            words.duration(each.wall_seconds),
            words.duration(
                each.host_cpu_seconds if card.role == "host" else each.guest_cpu_seconds
            ),
            words.size(each.guest_bytes),
            words.size(each.host_bytes),
        )
        for each in card.stages
    ]
    return Table(("", "Time", "CPU here", "Sent by guest", "Sent by host"), rows)


def _short(name: str) -> str:
    return name if len(name) <= 40 else f"{name[:39]}…"
