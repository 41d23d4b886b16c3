"""What learning together costs: bytes and seconds per round, in words and in pictures."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean

from privfed.experiment.results import EXCHANGE, Run
from privfed.report.charts import Bar, Group, bar_chart
from privfed.report.palette import PHASES
from privfed.report.pictures import Key, Picture, groups_in_words, picture
from privfed.report.view import Line, View
from privfed.report.words import duration, present, size

TRAFFIC_KEY = (
    Key("up, all parties", "guest"),
    Key("down, all parties", "quiet"),
    Key("float32 in the clear; “×” is times that", "ink", "mark"),
)


def plaintext_bytes(view: View, split: str) -> float | None:
    """Return the bytes per round of all parties' updates as float32, if an arm sent them so."""
    for line in view.lines(split, "float"):
        return view.summary(split, line).upload_bytes_per_round
    return None


@dataclass(frozen=True)
class Encryption:
    """Seconds per round from an update to the mean, under encryption and in the clear."""

    line: Line
    seconds: float
    clear: Line | None  # None: no arm in the clear ran
    added: tuple[float, ...]  # for each seed, what encryption takes beyond the clear arm


def encryption(view: View, split: str) -> Encryption | None:
    """Return what encryption costs in a round of a split; None where no arm was encrypted."""
    for line in view.lines(split, "encrypted")[:1]:
        seconds = view.summary(split, line).encryption_seconds_per_round
        if not present(seconds):
            return None
        clear = next(iter(view.lines(split, "float", "reference")), None)
        beside = {run.seed: _exchange(run) for run in view.runs(split, clear)} if clear else {}
        added = tuple(
            _exchange(run) - beside[run.seed]
            for run in view.runs(split, line)
            if run.seed in beside
        )
        return Encryption(line, seconds, clear if added else None, added)
    return None


def _exchange(run: Run) -> float:
    """Return the seconds per round that are neither training nor evaluation."""
    spent = sum(_finite(run.seconds.get(phase)) for phase in EXCHANGE)
    return spent / max(run.rounds, 1)


def traffic_bars(view: View, split: str) -> Picture | None:
    """Draw bytes per round, arm by arm; None where no arm sends anything."""
    plain = plaintext_bytes(view, split)
    groups = []
    for line in view.lines(split):
        summary = view.summary(split, line)
        up, down = summary.upload_bytes_per_round, summary.download_bytes_per_round
        if not present(up) or up <= 0:
            continue
        ratio = f", {up / plain:.2f} ×" if plain and line.role != "float" else ""
        bars = [Bar(((up, "guest"),), f"{size(up)} up{ratio}")]
        if present(down):
            bars.append(Bar(((down, "quiet"),), f"{size(down)} down"))
        groups.append(Group(line.label, tuple(bars), plain))
    if not groups:
        return None
    limit = max(bar.length for group in groups for bar in group.bars)
    return picture(
        "fig-bytes",
        "Bytes a round",
        f"Bytes a round, {split} split",
        groups_in_words(groups),
        lambda palette: bar_chart(groups, palette, limit, percent=False, text_share=0.34),
    )


def phase_colours(view: View, split: str) -> dict[str, str]:
    """Return the phases that took any time in a split, each with its colour."""
    names = {
        name
        for line in view.lines(split)
        for run in view.runs(split, line)
        for name, seconds in run.seconds.items()
        if present(seconds) and seconds > 0
    }
    known = [name for name in PHASES if name in names]
    others = sorted(names - PHASES.keys())
    return {name: PHASES[name] for name in known} | {
        name: f"extra-{nth % 4 + 1}" for nth, name in enumerate(others)
    }


def phase_bars(view: View, split: str) -> Picture | None:
    """Draw seconds per round by phase, stacked, arm by arm; None where no time was recorded."""
    colours = phase_colours(view, split)
    groups = []
    for line in view.lines(split):
        runs = [run for run in view.runs(split, line) if run.rounds > 0]
        if not runs:
            continue
        parts = tuple(
            (fmean(_finite(run.seconds.get(name)) / run.rounds for run in runs), colour)
            for name, colour in colours.items()
        )
        total = sum(length for length, _ in parts)
        wall = view.summary(split, line).wall_seconds_mean
        text = f"{duration(total)}, {duration(wall)} in all"
        groups.append(Group(line.label, (Bar(parts, text),)))
    limit = max((bar.length for group in groups for bar in group.bars), default=0.0)
    if limit <= 0:
        return None
    return picture(
        "fig-time",
        "Time a round, by phase",
        f"Time a round by phase, {split} split",
        groups_in_words(groups),
        lambda palette: bar_chart(groups, palette, limit, percent=False, text_share=0.4),
    )


def _finite(value: float | None) -> float:
    return value if present(value) else 0.0
