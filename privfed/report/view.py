"""A results file as the report reads it: which arms play which part, in which order and colour."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from privfed.errors import ConfigError
from privfed.experiment.results import ArmDescription, PrivacyCost, Results, Run, Summary
from privfed.rounding import as_given

_SPLITS = ("overlapping", "disjoint", "deduplicated")  # the order in which their story is told
ROLES = ("alone", "pooled", "float", "reference", "encrypted", "private", "released")
_RELEASED = "released"  # a private arm that averages no updates; shown where privacy is the matter
_EXTRA = ("extra-1", "extra-2", "extra-3", "extra-4")
_PRIVATE_DASHES: tuple[tuple[float, ...], ...] = ((), (5, 1.5), (2.5, 1.2), (1, 1))
_MOST_POINTS = 160  # of a drawn curve: more than the screen resolves, and a small file

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Line:
    """One arm, at one ε where it is private, as every picture and table shows it."""

    arm: str
    epsilon: float | None  # asked
    label: str
    role: str  # one of ROLES
    colour: str  # a name of privfed.report.palette
    dash: tuple[float, ...]  # lengths on and off, in units of the line's width; () is solid


@dataclass(frozen=True)
class Curve:
    """One quantity by round: the mean over seeds, and the lowest and highest seed."""

    line: Line
    rounds: Floats
    mean: Floats
    low: Floats
    high: Floats


class View:
    """Look-ups on one `Results`.

    Args:
        results: The results to read.

    Raises:
        ConfigError: If a run or a summary names an arm that the results do not describe.
    """

    def __init__(self, results: Results) -> None:
        self.results = results
        self._descriptions: dict[str, ArmDescription] = {}
        for description in results.arms:
            self._descriptions.setdefault(description.arm, description)
        for arm in [run.arm for run in results.runs] + [s.arm for s in results.summaries]:
            if arm not in self._descriptions:
                raise ConfigError(
                    f"the results hold arm {arm!r}, which their list of arms does not "
                    "describe; run the benchmark again"
                )

    @cached_property
    def splits(self) -> list[str]:
        """The splits that have a finished arm: overlapping, disjoint, deduplicated, others."""
        found = list(dict.fromkeys(summary.split for summary in self.results.summaries))
        known = [split for split in _SPLITS if split in found]
        return known + [split for split in found if split not in known]

    @property
    def main_split(self) -> str | None:
        """The split that the report tells first; None without a finished arm."""
        return self.splits[0] if self.splits else None

    @cached_property
    def _all_lines(self) -> list[Line]:
        order = list(self._descriptions)
        keys = dict.fromkeys((s.arm, s.epsilon) for s in self.results.summaries)
        paint = _Paint()
        return [
            self._line(arm, epsilon, paint)
            for arm, epsilon in sorted(keys, key=lambda key: (order.index(key[0]), key[1] or 0.0))
        ]

    def _line(self, arm: str, epsilon: float | None, paint: _Paint) -> Line:
        description = self._descriptions[arm]
        label = description.label
        if epsilon is not None and "ε" not in label:
            label = f"{label}, ε\u00a0=\u00a0{as_given(epsilon)}"
        role = _role(description, epsilon)
        colour, dash = paint.next(role, arm)
        return Line(arm, epsilon, label, role, colour, dash)

    def lines(self, split: str, *roles: str) -> list[Line]:
        """The arms that a split has a summary of, in the results' order.

        Args:
            split: The split.
            *roles: Only arms of these roles; without any, all but "released", if there are others.
        """
        found = [x for x in self._all_lines if (split, x.arm, x.epsilon) in self._summaries]
        if roles:
            return [line for line in found if line.role in roles]
        return [line for line in found if line.role != _RELEASED] or found

    def label(self, arm: str) -> str:
        """An arm's name for people, without an ε."""
        return self._descriptions[arm].label

    @cached_property
    def _summaries(self) -> Mapping[tuple[str, str, float | None], Summary]:
        return {(s.split, s.arm, s.epsilon): s for s in self.results.summaries}

    def summary(self, split: str, line: Line) -> Summary:
        """One arm over all seeds."""
        return self._summaries[split, line.arm, line.epsilon]

    def runs(self, split: str, line: Line) -> list[Run]:
        """One arm seed by seed, in the order of the seeds."""
        chosen = [
            run
            for run in self.results.runs
            if (run.split, run.arm, run.epsilon) == (split, line.arm, line.epsilon)
        ]
        return sorted(chosen, key=lambda run: run.seed)

    def federated(self, split: str) -> Line | None:
        """The arm that stands for federated learning: the reference, or the nearest to it."""
        for role in ("reference", "encrypted", "float"):
            if lines := self.lines(split, role):
                return lines[0]
        return None

    def best_alone(self, split: str) -> Line | None:
        """The party that does best by itself."""
        lines = [
            line
            for line in self.lines(split, "alone")
            if math.isfinite(self.summary(split, line).test_accuracy_mean)
        ]
        return max(
            lines, key=lambda line: self.summary(split, line).test_accuracy_mean, default=None
        )

    def on_same_rows(self, split: str, one: Line, other: Line) -> bool:
        """Whether two arms were tested on the same rows in every seed that both have."""
        ours, theirs = (
            {run.seed: run.test_rows_sha256 for run in self.runs(split, line)}
            for line in (one, other)
        )
        both = ours.keys() & theirs.keys()
        return bool(both) and all(
            ours[seed] is not None and ours[seed] == theirs[seed] for seed in both
        )

    def costs(self, split: str, line: Line) -> list[PrivacyCost]:
        """What an arm's seeds spent, the dearest first: a promise has to hold for all of them."""
        known = [
            run.privacy
            for run in self.runs(split, line)
            if run.privacy is not None and math.isfinite(run.privacy.epsilon)
        ]
        return sorted(known, key=lambda cost: -cost.epsilon)

    def curve(self, split: str, line: Line, quantity: str) -> Curve | None:
        """A quantity of the history by round, thinned to at most 160 points.

        Args:
            split: The split.
            line: The arm.
            quantity: A key of `Run.history` that holds numbers.

        Returns:
            The curve, over the rounds that every seed has; None where nothing was recorded.
        """
        rows = [run.history.get(quantity) or [] for run in self.runs(split, line)]
        length = min((len(row) for row in rows), default=0)
        if length == 0:
            return None
        table = np.ma.masked_invalid(
            np.array([[np.nan if v is None else v for v in row[:length]] for row in rows], float)
        )
        if table.mask.all():
            return None
        kept = np.unique(np.linspace(0, length - 1, min(length, _MOST_POINTS)).round().astype(int))
        table = table[:, kept]
        mean, low, high = (
            np.asarray(bound.filled(np.nan), float)
            for bound in (table.mean(axis=0), table.min(axis=0), table.max(axis=0))
        )
        return Curve(line, (kept + 1).astype(float), mean, low, high)

    @property
    def seeds(self) -> list[int]:
        """The seeds of the finished runs."""
        return sorted({run.seed for run in self.results.runs})

    def fact(self, *names: str) -> Any:
        """The first of these keys in the provenance that has a plain value, however deep."""
        return next(
            (
                value
                for name in names
                for key, value in _walk(self.results.provenance)
                if key == name and value is not None and not isinstance(value, Mapping)
            ),
            None,
        )

    @property
    def dataset(self) -> str:
        """The data set's name, such as "dresses"."""
        return str(self.fact("dataset") or "unnamed data")

    @property
    def is_dresses(self) -> bool:
        """Whether the paper's comparison applies."""
        return self.dataset.startswith("dress")

    @property
    def is_surrogate(self) -> bool:
        """Whether the data were drawn by the program; unlabelled data that say so count."""
        flag = self.fact("is_surrogate")
        if flag is None:
            return "surrogate" in str(self.fact("source", "data_source") or "").lower()
        return bool(flag)

    @property
    def id_name(self) -> str:
        """What a row's identifier is called."""
        return "Dress_ID" if self.is_dresses else "ID"


class _Paint:
    """Gives each arm of one report a colour and a dash of its own."""

    def __init__(self) -> None:
        self._count: dict[str, int] = {}

    def next(self, role: str, arm: str) -> tuple[str, tuple[float, ...]]:
        nth = self._count.get(role, 0)
        self._count[role] = nth + 1
        if role in ("private", _RELEASED):
            return f"private-{nth % 4 + 1}", _PRIVATE_DASHES[nth % 4]
        if role == "alone" and arm in ("guest", "host"):
            return arm, ()
        named: dict[str, tuple[str, tuple[float, ...]]] = {
            "pooled": ("overall", (6, 1.5)),
            "float": ("float", (1, 1.2)),
            "reference": ("federated", ()),
            "encrypted": ("encrypted", (2.5, 2)),
        }
        if nth == 0 and role in named:
            return named[role]
        extra = self._count.get("extra", 0)
        self._count["extra"] = extra + 1
        return _EXTRA[extra % len(_EXTRA)], ()


def _role(description: ArmDescription, epsilon: float | None) -> str:
    if epsilon is not None or description.privacy != "none":
        averages = description.aggregation != "none" and "DP-SGD" in description.privacy
        return "private" if averages else _RELEASED
    if description.aggregation == "none" and description.parties.startswith("all"):
        return "pooled"
    plain = {"none": "alone", "float": "float", "reference": "reference"}
    return plain.get(description.aggregation, "encrypted")


def _walk(tree: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every key and value, the upper level before the lower."""
    yield from tree.items()
    for value in tree.values():
        for branch in value if isinstance(value, Sequence) else (value,):
            if isinstance(branch, Mapping):
                yield from _walk(branch)
