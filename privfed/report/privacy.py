"""What the report says of privacy: accuracy against ε, arm by arm, and the terms of every ε."""

from __future__ import annotations

from collections.abc import Sequence

from privfed.data.tables import SCHEMA_IS_PUBLIC
from privfed.records import PrivacyCost
from privfed.report.charts import Spend, Trade, epsilon_chart, trade_chart
from privfed.report.gains import level_on_all
from privfed.report.level import levels
from privfed.report.pictures import Key, Picture, on_split, picture, slug
from privfed.report.view import Line, Role, View
from privfed.report.words import MISSING, compact, given, present, upper
from privfed.rounding import as_given
from privfed.table import Table

PRIVATE: tuple[Role, ...] = ("private", "released")


def views(view: View) -> list[View]:
    """Return what private arms are shown of: the data beside, that can be learnt, then these."""
    beside = view.results.beside
    every = [*([View(beside, "beside-")] if beside is not None else []), view]
    return [x for x in every if x.main_split is not None and x.lines(x.main_split, *PRIVATE)]


EPSILON_KEY = (
    Key("ε of the worst-placed unit", "private-2", "dot"),
    Key("ε of a unit with one row at one party", "private-2", "ring"),
)


def epsilon_pictures(view: View) -> list[Picture]:
    """Draw accuracy or R² against ε, split by split where a private arm's cost is known."""
    drawn = [
        (split, spends, _references(view, split))
        for split in view.splits
        if (spends := _spends(view, split))
    ]
    shown = [
        value
        for _, spends, references in drawn
        for value in (
            *(level for _, level, _ in references),
            *(bound for s in spends for bound in (s.accuracy, *(s.interval or ()))),
        )
    ]
    if not shown:
        return []
    least = min(shown) - 0.05
    limits = least if view.is_of_numbers else max(0.0, least), min(1.05, max(shown) + 0.06)
    return [_epsilon(view, *parts, limits) for parts in drawn]


def main_picture(view: View) -> tuple[Picture, tuple[Key, ...]] | None:
    """Return the picture that tells most, with its key: arm beside arm, or one arm by ε."""
    split = view.main_split
    if split is not None and (trades := trade_pictures(view)):
        return trades[0], trade_key(view, split)
    drawn = epsilon_pictures(view)
    return (drawn[0], EPSILON_KEY) if drawn else None


def other_pictures(view: View, *, has_main: bool) -> list[tuple[Picture, tuple[Key, ...]]]:
    """Return all pictures of privacy, each with its key, but for the main one if that is shown."""
    split = view.main_split or ""
    every = [
        *((each, trade_key(view, split)) for each in trade_pictures(view)),
        *((each, EPSILON_KEY) for each in epsilon_pictures(view)),
    ]
    return every[has_main:]


def _epsilon(
    view: View,
    split: str,
    spends: Sequence[Spend],
    references: Sequence[tuple[str, float, str]],
    limits: tuple[float, float],
) -> Picture:
    by = levels(view)
    words = [f"{s.label}: {by.shown(s.accuracy)} ({by.shown_range(s.interval)})." for s in spends]
    words += [f"{text}." for text, _, _ in references]
    return picture(
        f"fig-epsilon-{slug(view, split)}",
        on_split(split),
        f"Test {by.measure} against ε, {split} split",
        " ".join(words),
        lambda palette: epsilon_chart(
            spends, references, palette, limits, percent=not view.is_of_numbers
        ),
    )


def _spends(view: View, split: str) -> list[Spend]:
    spends, by = [], levels(view)
    for line in view.lines(split, "private"):
        summary, costs = view.summary(split, line), view.costs(split, line)
        if not costs or not present(by.of(summary)) or not costs[0].epsilon > 0:
            continue
        single = costs[0].epsilon_single_row
        spends.append(
            Spend(
                line.label,
                costs[0].epsilon,
                single if present(single) and single > 0 else None,
                by.of(summary),
                by.interval(summary),
                line.colour,
            )
        )
    return spends


def _references(view: View, split: str) -> list[tuple[str, float, str]]:
    found, by = [], levels(view)
    if (plain := view.federated(split)) is not None:
        level = by.of(view.summary(split, plain))
        found.append((f"without privacy, {by.shown(level)}", level, plain.colour))
    usual = by.of_usual(view.summary(split, view.lines(split, *PRIVATE)[0]))
    found.append((f"{by.short}, {by.shown(usual)}", usual, "quiet"))
    return [reference for reference in found if present(reference[1])]


# Arm beside arm


def arms(view: View, split: str) -> dict[str, list[Line]]:
    """Return the private arms of a split by name, each with its lines by rising ε."""
    found: dict[str, list[Line]] = {}
    for line in view.lines(split, *PRIVATE):
        found.setdefault(line.arm, []).append(line)
    return found


def trade_pictures(view: View) -> list[Picture]:
    """Draw the private arms' levels against the ε asked, for splits with more than one arm."""
    return [_trade(view, split) for split in view.splits if len(arms(view, split)) > 1]


def trade_key(view: View, split: str) -> tuple[Key, ...]:
    """Return the arms' colours in `trade_pictures`."""
    return tuple(
        Key(view.label(arm), colour, "line", dash)
        for arm, (colour, dash) in zip(arms(view, split), _STYLES, strict=False)
    )


_STYLES = (
    ("private-3", ""),
    ("guest", "3.6 2.7"),
    ("host", ""),
    ("federated", ""),
    ("quiet", "9 2.7"),
)


def _trade(view: View, split: str) -> Picture:
    trades, words, by = [], list[str](), levels(view)
    for (arm, lines), (colour, dash) in zip(arms(view, split).items(), _STYLES, strict=False):
        shown = [x for x in lines if present(by.of(view.summary(split, x)))]
        summaries = [view.summary(split, line) for line in shown]
        trades.append(
            Trade(
                [line.epsilon or 0.0 for line in shown],
                [level_on_all(view, split, line)[0] for line in shown],
                [by.interval(s) for s in summaries],
                colour,
                tuple(float(x) / 1.8 for x in dash.split()),
            )
        )
        at = [f"{asked(x)} {by.shown(by.of(s))}" for x, s in zip(shown, summaries, strict=True)]
        words.append(f"{view.label(arm)}: {', '.join(at)}.")
    references = _references(view, split)
    words += [f"{text}." for text, _, _ in references]
    return picture(
        f"fig-trade-{slug(view, split)}",
        on_split(split),
        f"Test {by.measure} of the private arms, {split} split",
        " ".join(words),
        lambda palette: trade_chart(trades, references, palette, percent=not view.is_of_numbers),
    )


def trade_table(view: View, split: str) -> Table:
    """Return the test accuracy, or R², of each private arm, one column for each ε."""
    columns = sorted({x.epsilon for x in view.lines(split, *PRIVATE) if x.epsilon is not None})
    rows = []
    for arm, lines in arms(view, split).items():
        cells = {line.epsilon: _level(view, split, line) for line in lines}
        rows.append((view.label(arm), *(cells.get(epsilon, MISSING) for epsilon in columns)))
    return Table(("Arm", *(f"ε = {as_given(epsilon)}" for epsilon in columns)), tuple(rows))


def _level(view: View, split: str, line: Line) -> str:
    summary, by = view.summary(split, line), levels(view)
    interval = by.shown_range(by.interval(summary))
    mean = by.shown(by.of(summary))
    return mean if interval == MISSING else f"{mean} ({interval})"


def asked(line: Line) -> str:
    """Return the ε that an arm was asked to keep, or its name where none was asked."""
    return line.label if line.epsilon is None else f"ε\u00a0=\u00a0{as_given(line.epsilon)}"


# Terms


def terms_in_words(costs: Sequence[PrivacyCost]) -> str:
    """Return what an ε means nothing without: δ, unit, adjacency and sampling."""
    each = [
        [f"δ\u00a0=\u00a0{given(c.delta)}" for c in costs],
        [c.privacy_unit for c in costs],
        [c.adjacency for c in costs],
        [c.sampling for c in costs],
    ]
    return "; ".join(" or ".join(dict.fromkeys(words)) for words in each)


def privacy_table(view: View, split: str) -> Table:
    """Return what each private arm spent and on what terms; of several seeds, the most."""
    rows = []
    for line in view.lines(split, *PRIVATE):
        costs = view.costs(split, line)
        if not costs:
            continue
        c = costs[0]
        rows.append(
            (
                view.label(line.arm),
                given(c.target_epsilon),
                upper(c.epsilon),
                upper(c.epsilon_outsider),
                upper(c.epsilon_single_row),
                given(c.delta),
                compact(c.noise_multiplier),
                compact(c.l2_clip_norm),
                _each(c.sampling_rate),
                _each(c.steps),
            )
        )
    head = (
        "Arm", "ε asked", "ε, worst-placed", "ε, outsider", "ε, single row", "δ",
        "Noise multiplier", "Clip norm", "Sampling rate", "Steps",
    )  # fmt: skip
    return Table(head, tuple(rows))


def privacy_terms(view: View, split: str) -> list[tuple[str, str]]:
    """Return the terms of every ε of a split: unit, adjacency, sampling, accountant, δ; limits."""
    costs = [c for line in view.lines(split, *PRIVATE) for c in view.costs(split, line)]
    fields = (
        ("Privacy unit", [c.privacy_unit for c in costs]),
        ("Adjacency", [c.adjacency for c in costs]),
        ("Sampling", [c.sampling for c in costs]),
        ("Accountant", [c.accountant.partition(" of the Gaussian")[0] for c in costs]),
        ("δ", [given(c.delta) for c in costs]),
    )
    return [(name, "; ".join(dict.fromkeys(values))) for name, values in fields if values]


def outside(view: View) -> list[str]:
    """Return what no ε of these results counts."""
    return [f"{SCHEMA_IS_PUBLIC}."] if view.kind == "table" else []


def _each(values: Sequence[float]) -> str:
    """Return one number for each party, or one for all where they are equal."""
    shown = list(dict.fromkeys(compact(value) for value in values))
    return shown[0] if len(shown) == 1 else ", ".join(compact(value) for value in values)
