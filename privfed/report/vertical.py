"""A vertical training as one self-contained report.html."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from privfed.errors import ConfigError
from privfed.report import (
    page,
    vertical_linear,
    vertical_pictures,
    vertical_trees,
    vertical_words,
    words,
)
from privfed.report.page import KeyFigure
from privfed.report.training import REPORT_PAGE
from privfed.table import Table
from privfed.vertical.linear.results import LinearResults
from privfed.vertical.results import SideOfModel, Stage, VerticalResults
from privfed.vertical.trees.results import TreesResults

_TESTS_OF = {
    "AUC": "how often a row of the one class scores above one of the other",
    "accuracy": "rows whose class is right",
    "mean AUC": "the same of each class against the rest, on average",
    "R²": "of the variance explained",
    "D²": "of the deviance explained",
    "MAE": "mean absolute error",
}


def render_vertical(results: VerticalResults) -> str:
    """Draw a vertical training's page; the same results give the same text."""
    template, own = _own_parts(results)
    return page.render(
        template,
        **own,
        results=results,
        title=vertical_words.who_trained(results),
        verdict=vertical_words.verdict(results),
        plainly=vertical_words.in_plain_words(results),
        security=vertical_words.SECURITY,
        how_sure=vertical_words.how_sure(results),
        tiles=_tiles(results),
        sides=_sides(results),
        left_out=list(filter(None, map(_left_out, (results.guest, results.host)))),
        measure=vertical_pictures.measure_dots(results),
        gain=vertical_pictures.gain_dots(results),
        gain_key=vertical_pictures.GAIN_KEY,
        measures=_measures(results),
        costs=[
            each
            for each in (vertical_pictures.cost_bars(results), vertical_pictures.byte_bars(results))
            if each is not None
        ],
        cost_key=vertical_pictures.cost_key(results),
        stages=_stages(results),
        files=_files(results),
        fingerprint=":".join(results.plan[at : at + 2] for at in range(0, 64, 2)),
        words=words,
    )


def write_vertical(results: VerticalResults, directory: Path) -> Path:
    """Write report.html, which only its owner may read, into an existing folder.

    Returns:
        The file's path.

    Raises:
        ConfigError: The file cannot be written.
    """
    return page.write(render_vertical(results), directory / REPORT_PAGE, mode=0o600)


def _own_parts(results: VerticalResults) -> tuple[str, dict[str, Any]]:
    """Return a model's template, and what it shows besides.

    Raises:
        ConfigError: There is no page for such a model.
    """
    if isinstance(results, LinearResults):
        return vertical_linear.TEMPLATE, vertical_linear.parts(results)
    if isinstance(results, TreesResults):
        return vertical_trees.TEMPLATE, vertical_trees.parts(results)
    raise ConfigError(f"there is no page for {results.format}")


def _tiles(results: VerticalResults) -> list[KeyFigure]:
    found = []
    if results.measures:
        first, gain = results.measures[0], vertical_words.gain_of(results)
        alone = f"{results.guest.name} alone: {words.decimal(first.alone)}"
        found.append(KeyFigure(words.decimal(first.together), f"{first.name}, together", alone))
        if gain is not None:
            found.append(
                KeyFigure(
                    vertical_words.signed(gain.value),
                    f"over {results.guest.name} alone",
                    vertical_words.interval_of(gain),
                )
            )
    found.append(
        KeyFigure(
            f"{results.common_rows:,}",
            "common rows",
            f"{results.train_rows:,} to train, {results.test_rows:,} to test",
        )
    )
    sent = [b for s in results.stages for b in (s.guest_bytes, s.host_bytes) if b is not None]
    seconds = [s.wall_seconds for s in results.stages if s.wall_seconds is not None]
    if seconds:
        note = f"{words.size(sum(sent))} sent" if sent else ""
        found.append(KeyFigure(words.duration(sum(seconds)), "in all", note))
    return found


def _sides(results: VerticalResults) -> Table:
    rows = []
    for side, what in (
        (results.guest, f"the label{f' {results.label}' if results.label else ''}, and columns"),
        (results.host, "further columns"),
    ):
        rows.append((side.name, what, _count(side.table_rows), _count(side.columns)))
    return Table(("", "Has", "Rows", "Features"), rows, 2)


def _measures(results: VerticalResults) -> Table | None:
    if not results.measures:
        return None
    rows = [
        (
            f"{each.name}: {_TESTS_OF[each.name]}",
            *map(words.decimal, (each.alone, each.together, each.pooled)),
        )
        for each in results.measures
    ]
    head = ("On held-out rows", f"{results.guest.name} alone", "Together", "Pooled")
    return Table(head, rows)


def _stages(results: VerticalResults) -> Table:
    guest, host = results.guest.name, results.host.name

    def row(name: str, stage: Stage) -> tuple[str, ...]:
        times = (stage.wall_seconds, stage.guest_cpu_seconds, stage.host_cpu_seconds)
        sizes = (stage.guest_bytes, stage.host_bytes)
        return (name, *map(words.duration, times), *map(words.size, sizes))

    rows = [row(stage.name, stage) for stage in results.stages]
    if len(rows) > 1:
        rows.append(row("in all", _total(results)))
    head = ("", "Time", f"CPU, {guest}", f"CPU, {host}", f"Sent by {guest}", f"Sent by {host}")
    return Table(head, rows)


def _total(results: VerticalResults) -> Stage:
    """Add up what is known; null where no stage knows it."""
    fields = {}
    for name in Stage.__struct_fields__[1:]:
        known = [value for s in results.stages if (value := getattr(s, name)) is not None]
        fields[name] = sum(known) if known else None
    return Stage(name="in all", **fields)


def _files(results: VerticalResults) -> Table | None:
    files = [(each.name, each.sha256 or words.MISSING) for each in results.files]
    return Table(("Name", "SHA-256"), files, 2) if files else None


def _count(number: int | None) -> str:
    return words.MISSING if number is None else f"{number:,}"


def _left_out(side: SideOfModel) -> str:
    """Return which features a side left out, in a sentence; "" where none."""
    if not side.left_out:
        return ""
    return f"{side.name} left out what too few rows have: {words.listing(side.left_out)}."
