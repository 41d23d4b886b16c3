"""A company's own training with others as one self-contained report.html."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import numpy as np

from privfed.partner.results import RoundRecord, TrainingResults
from privfed.report import page, training_words, words
from privfed.report.charts import Bar, Group, bar_chart, curve_chart
from privfed.report.page import KeyFigure
from privfed.report.pictures import Key, Picture, groups_in_words, picture
from privfed.report.view import Curve, Line
from privfed.rounding import as_given, at_most
from privfed.table import Table

REPORT_PAGE = "report.html"

_MOST_POINTS = 160  # of a curve
_MANY = 20  # rounds: of fewer the slow ones say nothing
_DASH = (4.0, 2.0)
_OWN = Line("train", None, "own training rows", "alone", 0, "guest", ())
_TEST = Line("test", None, "own test rows", "alone", 1, "host", _DASH)

CURVE_KEY = (
    Key(_OWN.label, _OWN.colour, "line"),
    Key(_TEST.label, _TEST.colour, "line", " ".join(f"{1.8 * d:g}" for d in _DASH)),
)
TIME_KEY = (Key("training on own rows", "guest"), Key("exchange, with all waiting", "federated"))


def render_training(results: TrainingResults) -> str:
    """Draw a training's page; the same results give the same text."""
    return page.render(
        "training.html.j2",
        results=results,
        title=training_words.trained_with(results),
        deck=training_words.nobody_saw(results),
        tiles=_tiles(results),
        curves=_curves(results),
        curve_key=CURVE_KEY[: 1 if results.test_rows is None else 2],
        time=_time_bars(results.history),
        time_key=TIME_KEY,
        times=_times(results.history),
        overlap=_overlap(results),
        sees=training_words.onlookers(results),
        files=_files(results),
        fingerprint=":".join(results.plan[at : at + 2] for at in range(0, 64, 2)),
        words=words,
    )


def write_training(results: TrainingResults, directory: Path) -> Path:
    """Write report.html, which only its owner may read, into an existing folder.

    Returns:
        The file's path.

    Raises:
        ConfigError: The file cannot be written.
    """
    return page.write(render_training(results), directory / REPORT_PAGE, mode=0o600)


def _tiles(results: TrainingResults) -> list[KeyFigure]:
    last, cost = results.history[-1] if results.history else RoundRecord(number=0), results.privacy
    always = f"always the commonest class: {words.percent(results.majority_share)}"
    trained = f"{always}; own training rows: {words.percent(last.train_accuracy)}"
    found = [
        KeyFigure(words.percent(last.test_accuracy), "of own test rows right", trained)
        if results.test_rows is not None
        else KeyFigure(words.percent(last.train_accuracy), "of own training rows right", always)
    ]
    if cost is None:
        found.append(KeyFigure("no ε", "differential privacy", "the model may tell of rows"))
    else:
        against = ", but the server" if results.method == "central noise" else ", insiders too"
        found.append(
            KeyFigure(
                f"ε = {at_most(cost.epsilon)}",
                f"for whoever sees the model{against}",
                f"δ = {as_given(cost.delta)}; {cost.privacy_unit}",
            )
        )
    exchange = _known(results.history, lambda each: each.exchange_seconds)
    found.append(
        KeyFigure(
            f"{results.rounds:,}", "round" if results.rounds == 1 else "rounds",
            f"exchange {words.duration(median(exchange))} in the median" if exchange else "",
        )
    )  # fmt: skip
    if sent := _known(results.history, lambda each: each.upload_bytes):
        found.append(KeyFigure(words.size(median(sent)), "sent up in a round", "by this company"))
    return found


def _curves(results: TrainingResults) -> list[Picture]:
    """Draw accuracy and loss after the rounds that were evaluated."""
    pictures = []
    for quantity, heading, fraction in (("accuracy", "Accuracy", True), ("loss", "Loss", False)):
        curves = [
            (number, curve)
            for number, line in enumerate((_OWN, _TEST))
            if (curve := _curve(results.history, line, f"{line.arm}_{quantity}")) is not None
        ]
        if curves:
            pictures.append(_curve_picture(quantity, heading, curves, fraction))
    return pictures


def _curve(history: Sequence[RoundRecord], line: Line, quantity: str) -> Curve | None:
    known = [
        (float(each.number), value)
        for each in history
        if words.present(value := getattr(each, quantity))
    ]
    if not known:
        return None
    kept = np.unique(np.linspace(0, len(known) - 1, min(len(known), _MOST_POINTS)).round())
    rounds, values = np.array(known)[kept.astype(int)].T
    return Curve(line, rounds, values, values, values)


def _curve_picture(
    quantity: str, heading: str, curves: Sequence[tuple[int, Curve]], fraction: bool
) -> Picture:
    show = words.percent if fraction else words.decimal
    said = " ".join(
        f"{c.line.label}: {show(c.mean[0])} to {show(c.mean[-1])}, rounds {c.rounds[0]:.0f} to "
        f"{c.rounds[-1]:.0f}."
        for _, c in curves
    )
    return picture(
        f"fig-{quantity}", heading, f"{heading} by round", said,
        lambda palette: curve_chart(curves, palette, percent=fraction, band=False),
    )  # fmt: skip


def _time_bars(history: Sequence[RoundRecord]) -> Picture | None:
    """Draw where the time of a round goes; None where few rounds' times are known."""
    known = sorted(
        (
            (each.train_seconds, each.exchange_seconds)
            for each in history
            if each.train_seconds and each.exchange_seconds
        ),
        key=sum,
    )
    if len(known) < _MANY:
        return None
    groups = []
    for label, seconds in (
        ("The median round", known[len(known) // 2]),
        ("One in twenty takes longer than", known[len(known) * 19 // 20]),
    ):
        parts = tuple(zip(seconds, (key.colour for key in TIME_KEY), strict=True))
        groups.append(Group(label, (Bar(parts, words.duration(sum(seconds))),)))
    limit = max(bar.length for group in groups for bar in group.bars)
    heading = "Time of a round"
    return picture(
        "fig-time", heading, heading, groups_in_words(groups),
        lambda palette: bar_chart(groups, palette, limit, percent=False, text_share=0.2),
    )  # fmt: skip


def _times(history: Sequence[RoundRecord]) -> Table:
    rows = []
    for name, value in (
        (TIME_KEY[0].label, lambda each: each.train_seconds),
        (TIME_KEY[1].label, lambda each: each.exchange_seconds),
    ):
        seconds = _known(history, value)
        shown = (median(seconds), max(seconds), sum(seconds)) if seconds else (None, None, None)
        rows.append((name.capitalize(), *map(words.duration, shown)))
    return Table(("", "Median", "Longest", "In all"), rows)


def _known(
    history: Sequence[RoundRecord], value: Callable[[RoundRecord], float | None]
) -> list[float]:
    """Return what is known and not 0, which stands for a round that was only caught up with."""
    return [found for each in history if (found := value(each))]


def _overlap(results: TrainingResults) -> Table | None:
    if results.overlap is None:
        return None
    rows = [
        (name, f"{shared:,}")
        for place, (name, shared) in enumerate(
            zip(results.parties, results.overlap.shared_ids, strict=True)
        )
        if place != results.party
    ]
    return Table(("With", "IDs that both train on"), rows)


def _files(results: TrainingResults) -> Table:
    files = [(each.what.capitalize(), each.name, each.sha256) for each in results.files]
    return Table(("", "Name", "SHA-256"), files, 3)
