"""What the report draws: each function chooses the numbers for one chart and puts them in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure

from privfed.report.charts import (
    Bar,
    Group,
    Palette,
    bar_chart,
    curve_chart,
)
from privfed.report.gains import best_alone, level_on_all
from privfed.report.level import figures, levels
from privfed.report.palette import SENTINEL
from privfed.report.paper import PAPER
from privfed.report.svg import drawing, inline
from privfed.report.view import Curve, Line, View
from privfed.report.words import count, in_units, percent, present


@dataclass(frozen=True)
class Key:
    """One entry of a picture's key."""

    label: str
    colour: str
    kind: str = "bar"  # bar, hollow, line or mark
    dash: str = ""  # of a line, in SVG's notation
    number: int | None = None  # of the series that pointing at the entry highlights


@dataclass(frozen=True)
class Picture:
    """A chart for the page, under its heading."""

    heading: str
    svg: Markup


def picture(
    name: str, heading: str, title: str, description: str, draw: Callable[[Palette], Figure]
) -> Picture:
    """Draw a picture; `heading` stands above it, where its section says the rest of `title`."""
    with drawing():
        return Picture(heading, inline(draw(SENTINEL), name, title, description))


def groups_in_words(groups: Sequence[Group]) -> str:
    """Return the words beside each bar, for those who cannot see it."""
    return " ".join(f"{g.label}: {', '.join(bar.text for bar in g.bars)}." for g in groups)


# The paper's Figure 9

_PAPER_PARTIES = ("guest", "host")  # rows of `PAPER`, by the party's number
INTERVAL = Key("95 % interval", "ink", "line")
PAPER_KEY = (
    Key("this run, in the arm’s colour", "federated"),
    Key("the paper", "quiet", "hollow"),
    INTERVAL,
)


def paper_lines(view: View, split: str) -> list[tuple[str, Line]]:
    """Return the arms that the paper has too, each with the name of its row in `PAPER`."""
    found: list[tuple[str, Line | None]] = [
        (_PAPER_PARTIES[line.party], line)
        for line in view.lines(split, "alone")
        if line.party is not None and line.party < len(_PAPER_PARTIES)
    ]
    found.append(("federated", view.federated(split)))
    found += [("overall", line) for line in view.lines(split, "pooled")[:1]]
    return [(name, line) for name, line in found if line is not None]


def paper_groups(view: View, split: str) -> list[Group]:
    """Return the bars of test accuracies, ours above the paper's."""
    groups = []
    for name, line in paper_lines(view, split):
        summary, theirs = view.summary(split, line), PAPER[name].test_accuracy
        ours = Bar(
            ((summary.test_accuracy_mean, line.colour),),
            percent(summary.test_accuracy_mean),
            summary.test_accuracy_ci95,
        )
        groups.append(
            Group(PAPER[name].table.capitalize(), (
                ours, Bar(((theirs, "quiet"),), f"{percent(theirs)} paper", hollow=True)
            ))
        )  # fmt: skip
    return groups


def paper_bars(view: View, split: str) -> Picture:
    """Draw the paper's Figure 9 beside this run."""
    groups = paper_groups(view, split)
    heading = "Test accuracy, this run and the paper’s Figure 9"
    return _accuracy_bars("fig-paper", heading, heading, groups)


# Seen and unseen rows


def seen_key(view: View) -> tuple[Key, ...]:
    """Return what `seen_bars` draws."""
    interval = "" if view.is_of_numbers else ", with 95 % interval"
    return (
        Key("rows that the arm trained on", "quiet"),
        Key(f"rows that nobody trained on{interval}", "accent"),
        Key(f"{levels(view).usual} on those", "ink", "mark"),
    )


def seen_bars(view: View, split: str) -> Picture:
    """Draw accuracy, or MAE, on test rows that were trained on and on others, arm by arm."""
    if view.is_of_numbers:
        return _seen_numbers(view, split)
    groups = []
    for line in view.lines(split):
        summary = view.summary(split, line)
        bars = (
            _share(summary.seen_accuracy, summary.seen_n, "quiet", None),
            _share(summary.unseen_accuracy, summary.unseen_n, "accent", summary.unseen_ci95),
        )
        groups.append(Group(line.label, bars, summary.unseen_majority))
    title = f"Accuracy on seen and unseen test rows, {split} split"
    return _accuracy_bars(f"fig-seen-{slug(view, split)}", on_split(split), title, groups)


def _seen_numbers(view: View, split: str) -> Picture:
    """Draw how far off an arm is on average, in the label's units."""
    groups, longest = [], 0.0
    for line in view.lines(split):
        s = view.summary(split, line)
        n = figures(s)
        off = ((n.seen_mae, s.seen_n, "quiet"), (n.unseen_mae, s.unseen_n, "accent"))
        usual = n.unseen_mean_mae
        bars = tuple(
            Bar(((mean, colour),), f"{in_units(mean)} on {count(rows, 'row')}")
            if present(mean)
            else Bar(((0.0, colour),), "no such rows")
            for mean, rows, colour in off
        )
        groups.append(Group(line.label, bars, usual))
        longest = max(longest, usual or 0.0, *(bar.length for bar in bars))
    title = f"Mean absolute error on seen and unseen test rows, {split} split"
    return picture(
        f"fig-seen-{slug(view, split)}",
        f"{on_split(split)}: MAE, in units of {view.label_name}",
        title,
        groups_in_words(groups),
        lambda palette: bar_chart(groups, palette, longest or 1.0, percent=False, text_share=0.3),
    )


def _share(
    accuracy: float | None, rows: int, colour: str, interval: tuple[float, float] | None
) -> Bar:
    if not present(accuracy):
        return Bar(((0.0, colour),), "no such rows")
    text = f"{percent(accuracy)} of {count(rows, 'row')}"
    return Bar(((accuracy, colour),), text, interval)


# The splits side by side


def split_key(view: View) -> tuple[Key, ...]:
    """Return what `split_bars` draws."""
    majority = Key("majority class on those", "ink", "mark")
    return (
        Key("party alone, the highest", "guest"),
        Key("federated", "federated"),
        Key("pooled", "overall"),
        Key("federated, rows nobody trained on", "federated", "hollow"),
        *([] if view.is_of_numbers else [majority]),
        INTERVAL,
    )


def split_groups(view: View) -> list[Group]:
    """Return each split's bars: best party alone, federated, pooled, federated on unseen rows."""
    groups, by = [], levels(view)
    for split in view.splits:
        bars, mark = [], None
        chosen = [best_alone(view, split), view.federated(split), *view.lines(split, "pooled")[:1]]
        for line, colour in zip(chosen, ("guest", "federated", "overall"), strict=False):
            if line is None:
                continue
            summary = view.summary(split, line)
            mean, of_all = level_on_all(view, split, line)
            what = _short(line) if of_all else f"{line.arm}, other rows"
            own = mean == by.of(summary)
            interval = by.interval(summary) if own else None
            bars.append(Bar(((mean, colour),), f"{by.shown(mean)} {what}", interval))
            unseen_r2 = view.comparison(split, "unseen", line, by.beside, "R²")
            if line is view.federated(split) and unseen_r2 is not None:
                text = f"{by.shown(unseen_r2.value)} unseen"
                bars.append(Bar(((unseen_r2.value, "federated"),), text, hollow=True))
            if line is view.federated(split) and summary.unseen_accuracy is not None:
                unseen = (
                    ((summary.unseen_accuracy, "federated"),),
                    f"{percent(summary.unseen_accuracy)} unseen",
                    summary.unseen_ci95,
                )
                bars.append(Bar(*unseen, hollow=True))
                mark = summary.unseen_majority
        if bars:
            groups.append(Group(split.capitalize(), tuple(bars), mark))
    return groups


def _short(line: Line) -> str:
    if line.role == "alone":
        return f"{line.arm} alone"
    return "pooled" if line.role == "pooled" else "federated"


def split_bars(view: View) -> Picture:
    """Draw the splits side by side."""
    groups = split_groups(view)
    if not view.is_of_numbers:
        heading = "Test accuracy, split by split"
        return _accuracy_bars("fig-splits", heading, heading, groups, text_share=0.4)
    heading = "R² on test rows, split by split"
    return picture(
        "fig-splits",
        heading,
        heading,
        groups_in_words(groups),
        lambda palette: bar_chart(groups, palette, 1.0, percent=False, to_one=True, text_share=0.4),
    )


def _accuracy_bars(
    name: str, heading: str, title: str, groups: Sequence[Group], text_share: float = 0.3
) -> Picture:
    return picture(
        name,
        heading,
        title,
        groups_in_words(groups),
        lambda palette: bar_chart(groups, palette, 1.0, percent=True, text_share=text_share),
    )


# Learning curves

_QUANTITIES = (
    ("train_loss", "Training loss", False),
    ("test_loss", "Test loss", False),
    ("train_accuracy", "Training accuracy", True),
    ("test_accuracy", "Test accuracy", True),
    ("train_r2", "Training R²", False),
    ("test_r2", "Test R²", False),
)


@dataclass(frozen=True)
class CurveSheet:
    """Four panels whose arms ran for comparable numbers of rounds, and their key."""

    pictures: tuple[Picture, ...]
    key: tuple[Key, ...]
    seeds: int


def curve_sheets(view: View, split: str) -> list[CurveSheet]:
    """Draw the learning curves of a split, arms of few rounds apart from those of many."""
    lines = view.lines(split)
    rounds = {
        line: max((run.rounds for run in view.runs(split, line)), default=0) for line in lines
    }
    most = max(rounds.values(), default=0)
    # A curve with a quarter of the rounds or fewer would end near the left edge.
    sheets = [
        [x for x in lines if rounds[x] * 4 > most],
        [x for x in lines if rounds[x] * 4 <= most],
    ]
    return [
        sheet
        for nth, members in enumerate(sheets)
        if members and (sheet := _curve_sheet(view, split, nth, members)).pictures
    ]


def _curve_sheet(view: View, split: str, nth: int, lines: Sequence[Line]) -> CurveSheet:
    pictures = []
    for quantity, heading, fraction in _QUANTITIES:
        curves = [
            (number, curve)
            for number, line in enumerate(lines)
            if (curve := view.curve(split, line, quantity)) is not None
        ]
        if not curves:
            continue
        floor, shown = None, heading
        if quantity.endswith("_r2") and min(np.nanmin(c.low) for _, c in curves) < -1:
            floor, shown = -1.0, f"{heading}, from −1 up"
        name = f"fig-{quantity.replace('_', '-')}-{slug(view, split)}-{nth}"
        title = f"{shown}, {split} split"
        pictures.append(_curves(name, shown, title, curves, fraction, floor))
    key = tuple(
        Key(line.label, line.colour, "line", " ".join(f"{1.8 * d:g}" for d in line.dash), number)
        for number, line in enumerate(lines)
    )
    seeds = max(len(view.runs(split, line)) for line in lines)
    return CurveSheet(tuple(pictures), key, seeds)


def _curves(
    name: str,
    heading: str,
    title: str,
    curves: Sequence[tuple[int, Curve]],
    fraction: bool,
    floor: float | None,
) -> Picture:
    show = percent if fraction else "{:.3f}".format
    words = " ".join(
        f"{c.line.label}: {show(c.mean[0])} to {show(c.mean[-1])} over "
        f"{count(int(c.rounds[-1]), 'round')}."
        for _, c in curves
    )
    return picture(
        name,
        heading,
        f"{title}, by round",
        words,
        lambda palette: curve_chart(curves, palette, percent=fraction, band=True, floor=floor),
    )


def on_split(split: str) -> str:
    """Name a split in a heading."""
    return f"{split.capitalize()} split"


def slug(view: View, split: str) -> str:
    """Name a split in an id."""
    return f"{view.prefix}s{view.splits.index(split)}"  # a split's name may hold what an id may not
