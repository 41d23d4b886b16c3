"""Two benchmarks side by side: what was asked differently, and what came out differently.

Runs with the same split, arm, ε and seed are paired where their test rows are the same, by hash.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from rich import table as rich_table

from privfed.errors import ConfigError
from privfed.experiment.intervals import mean_interval
from privfed.experiment.measures import MeasureName
from privfed.experiment.results import Results, Run
from privfed.report import page
from privfed.report.differences import KEY, Block, Row, difference_picture
from privfed.report.gains import verdict_of
from privfed.report.level import levels
from privfed.report.privacy import terms_in_words
from privfed.report.view import ROLES, Line, View
from privfed.report.words import MISSING, count, gap_range, listing, measured, present
from privfed.table import Table, for_terminal

_APART = ("created_utc",)  # always different, and no setting
_LONGEST = 60  # letters of a setting


@dataclass(frozen=True)
class ArmPair:
    """An arm in both results.

    Attributes:
        split: The split.
        line: The arm in the first.
        first: Its measure there on its own test rows, mean over seeds.
        second: The same in the second.
        difference: Second minus first, over the seeds that were tested on the same rows; over all
            where none were.
        interval: Its 95 % interval, for all pairs at once; None unless three seeds or more were
            tested on the same rows.
        seeds: How many seeds were tested on the same rows.
        equal_weights: In how many of these the weights are equal, bit for bit.
    """

    split: str
    line: Line
    first: float
    second: float
    difference: float
    interval: tuple[float, float] | None
    seeds: int
    equal_weights: int


@dataclass(frozen=True)
class TwoResults:
    """Two results side by side.

    Attributes:
        names: What the two are called.
        measure: What they are compared by: AUC or R² if both are judged by it, else accuracy.
        settings: What differs of their origin: name, first, second.
        pairs: What both ran.
        alone: What only one ran: its place, 0 or 1, and its arm on a split.
        terms: What the ε of both mean nothing without; empty where none is shown.
    """

    names: tuple[str, str]
    measure: MeasureName
    settings: list[tuple[str, str, str]]
    pairs: list[ArmPair]
    alone: list[tuple[int, str]]
    terms: str

    @property
    def splits(self) -> list[str]:
        """The splits that both have."""
        return list(dict.fromkeys(pair.split for pair in self.pairs))


def two_results(first: Results, second: Results, names: tuple[str, str]) -> TwoResults:
    """Put two results side by side.

    Args:
        first: One.
        second: The other.
        names: What they are called.

    Returns:
        What differs.

    Raises:
        ConfigError: They have no arm in common, or are of different data.
    """
    views = View(first), View(second)
    if views[0].kind != views[1].kind or views[0].dataset != views[1].dataset:
        raise ConfigError(
            f"{names[0]} is of {views[0].dataset} and {names[1]} of {views[1].dataset}: accuracies "
            "of different data say nothing of each other"
        )
    if views[0].is_of_numbers != views[1].is_of_numbers:
        raise ConfigError(
            f"the label of {names[0 if views[0].is_of_numbers else 1]} is a number and that of the "
            "other is classes: give two with the same kind of label"
        )
    every: list[dict[tuple[str, str, float | None], Line]] = [
        {
            (split, line.arm, line.epsilon): line
            for split in view.splits
            for line in view.lines(split, *ROLES)
        }
        for view in views
    ]
    common = [key for key in every[0] if key in every[1]]
    if not common:
        raise ConfigError(f"{names[0]} and {names[1]} have no arm in common: nothing to compare")
    by = {view.measure for view in views}
    measure: MeasureName = "AUC" if by == {"AUC"} else levels(views[0]).measure
    return TwoResults(
        names,
        measure,
        _settings(first.provenance, second.provenance),
        [
            _pair(views, key[0], (every[0][key], every[1][key]), measure, of=len(common))
            for key in common
        ],
        [
            (place, f"{every[place][key].label}, {key[0]} split")
            for place in (0, 1)
            for key in every[place]
            if key not in every[1 - place]
        ],
        _terms(views),
    )


def _terms(views: tuple[View, View]) -> str:
    costs = [run.privacy for view in views for run in view.results.runs if run.privacy is not None]
    return f"ε is of the worst-placed unit: {terms_in_words(costs)}." if costs else ""


def _pair(
    views: tuple[View, View],
    split: str,
    lines: tuple[Line, Line],
    measure: MeasureName,
    *,
    of: int,
) -> ArmPair:
    one, other = (
        {run.seed: run for run in view.runs(split, line)}
        for view, line in zip(views, lines, strict=True)
    )
    first, second = ([_value(run, measure) for run in runs.values()] for runs in (one, other))
    same = [
        (one[seed], other[seed])
        for seed in one
        if seed in other
        and one[seed].test_rows_sha256 is not None
        and one[seed].test_rows_sha256 == other[seed].test_rows_sha256
    ]
    apart = [_value(b, measure) - _value(a, measure) for a, b in same]
    return ArmPair(
        split,
        lines[0],
        fmean(first),
        fmean(second),
        fmean(apart) if apart else fmean(second) - fmean(first),
        _interval(apart, of),
        len(same),
        sum(a.weights_sha256 == b.weights_sha256 for a, b in same),
    )


def _value(run: Run, measure: MeasureName) -> float:
    if measure == "R²":
        value = None if run.number is None else run.number.test_r2
    else:
        value = run.test_auc if measure == "AUC" else run.test_accuracy
    return math.nan if value is None else value


def _interval(differences: list[float], of: int) -> tuple[float, float] | None:
    if len(differences) < 3 or not all(map(present, differences)):
        return None
    return mean_interval(differences, of=of)


def _settings(*origins: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return the leaves of two origins that differ."""
    flat = [dict(_leaves(origin)) for origin in origins]
    return [
        (name, flat[0].get(name, MISSING), flat[1].get(name, MISSING))
        for name in dict.fromkeys([*flat[0], *flat[1]])
        if flat[0].get(name) != flat[1].get(name) and name not in _APART
    ]


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _leaves(each, f"{name}.{key}" if name else str(key))
    else:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        yield name, text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def pair_table(two: TwoResults) -> Table:
    """Return what both ran, a row for each arm on a split."""
    rows = [
        (
            pair.split,
            pair.line.label,
            measured(two.measure, pair.first),
            measured(two.measure, pair.second),
            gap_range(two.measure, pair.interval) if pair.interval else MISSING,
            str(pair.seeds),
            str(pair.equal_weights),
        )
        for pair in two.pairs
    ]
    head = (
        "Split", "Arm", two.names[0], two.names[1], "Difference, 95 %", "Seeds on the same rows",
        "Equal weights",
    )  # fmt: skip
    return Table(head, rows, words=2)


def in_words(two: TwoResults) -> str:
    """Say in a sentence or two what differs, and how sure that is."""
    sure = [p for p in two.pairs if p.interval and verdict_of(p.interval) != "none"]
    equal = [p for p in two.pairs if p.seeds and p.equal_weights == p.seeds]
    known = sum(pair.interval is not None for pair in two.pairs)
    said = f"{count(len(two.pairs), 'arm')} ran in both. "
    if len(equal) == len(two.pairs):
        return said + "All their weights are equal, bit for bit."
    if not known:
        said += (
            "No difference has an interval: that takes three seeds or more with the same test rows."
        )
    elif sure:
        said += (
            f"{len(sure)} of {count(known, 'difference')} {'is' if len(sure) == 1 else 'are'} sure "
            "(95\u00a0%, all at once): "
            f"{listing([f'{p.line.label}, {p.split}' for p in sure])}."
        )
    else:
        said += f"None of {count(known, 'difference')} can be told from chance."
    if equal and len(equal) < len(two.pairs):
        said += f" Weights are equal, bit for bit, in {len(equal)}."
    return said


def terminal_two(two: TwoResults) -> rich_table.Table:
    """Return what both ran as a table for the terminal."""
    rows: list[tuple[str, ...]] = []
    for split in two.splits:
        rows.append((split,))
        rows += [
            (
                pair.line.label,
                measured(two.measure, pair.first),
                measured(two.measure, pair.second),
                gap_range(two.measure, pair.interval) if pair.interval else MISSING,
            )
            for pair in two.pairs
            if pair.split == split
        ]
    return for_terminal(
        Table(("arm", *two.names, "difference, 95 %"), rows),
        title=f"{two.names[0]} and {two.names[1]}, {two.measure}",
        caption=f"second minus first; intervals hold all at once. {two.terms}".strip(),
    )


def write_two(two: TwoResults, path: Path) -> Path:
    """Write both side by side as one page.

    Args:
        two: What to draw.
        path: The page.

    Returns:
        Its path.

    Raises:
        ConfigError: It cannot be written.
    """
    blocks = [
        Block(
            f"{split.capitalize()} split",
            tuple(
                Row(pair.line.label, pair.difference, pair.interval)
                for pair in two.pairs
                if pair.split == split and present(pair.difference)
            ),
        )
        for split in two.splits
    ]
    shown = [block for block in blocks if block.rows]
    title = f"{two.names[1]} minus {two.names[0]}, {two.measure}"
    drawn = difference_picture("fig-two", title, shown, two.measure) if shown else None
    text = page.render(
        "two.html.j2",
        two=two,
        said=in_words(two),
        picture=drawn,
        picture_key=KEY,
        settings=Table(("What", *two.names), two.settings, words=3),
        pairs=pair_table(two),
    )
    return page.write(text, path)
