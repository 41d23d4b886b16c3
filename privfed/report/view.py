"""A results file as the report reads it: the role of each arm, their order and colours."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from privfed.data.dataset import DataKind
from privfed.data.understood import UnderstoodColumn
from privfed.errors import ConfigError
from privfed.experiment.arms import Aggregation, Arm, stands_for_federated
from privfed.experiment.measures import NUMBER_MEASURES, MeasureName
from privfed.experiment.provenance import DataOrigin
from privfed.experiment.results import Comparison, Results, RowSet, Run, Summary
from privfed.records import PrivacyCost
from privfed.rounding import as_given
from psi.storage import json_as

_SPLITS = ("overlapping", "disjoint", "deduplicated")  # their order in the report
Role = Literal["alone", "pooled", "float", "reference", "encrypted", "private", "released"]
ROLES: tuple[Role, ...] = get_args(Role)
_RELEASED = "released"  # a private arm that averages no updates; shown where privacy is shown
_PLAIN: Mapping[Aggregation, Role] = {
    "float": "float", "reference": "reference", "packed": "encrypted",
}  # fmt: skip
_AGAIN = "run the benchmark again"
_PARTIES = ("guest", "host")  # colours of the first two
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
    role: Role
    party: int | None  # that trains by itself
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
        prefix: Begins the ids of their pictures, where a page shows two results.

    Raises:
        ConfigError: A run or a summary names an arm that the results do not describe, has an ε
            though its arm is not private, or has no ε though it is; an arm is described twice; or
            the provenance's data are of no known kind, or do not say whether the program drew them.
    """

    def __init__(self, results: Results, prefix: str = "") -> None:
        self.results, self.prefix = results, prefix
        self._data = _described(results.provenance)
        self._arms = {arm.name: arm for arm in results.arms}
        if len(self._arms) < len(results.arms):
            raise ConfigError(f"the results describe an arm twice; {_AGAIN}")
        records: list[Run | Summary] = [*results.runs, *results.summaries]
        for record in records:
            self._check(record)

    def _check(self, record: Run | Summary) -> None:
        arm = self._arms.get(record.arm)
        if arm is None:
            raise ConfigError(
                f"the results hold arm {record.arm!r}, which their list of arms does not "
                f"describe; {_AGAIN}"
            )
        if arm.private and record.epsilon is None:
            raise ConfigError(f"arm {arm.name!r} is private and its run has no epsilon; {_AGAIN}")
        if record.epsilon is not None and not arm.private:
            raise ConfigError(f"arm {arm.name!r} is not private and has an epsilon; {_AGAIN}")

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
        order = list(self._arms)
        keys = dict.fromkeys((s.arm, s.epsilon) for s in self.results.summaries)
        paint = _Paint()
        return [
            self._line(arm, epsilon, paint)
            for arm, epsilon in sorted(keys, key=lambda key: (order.index(key[0]), key[1] or 0.0))
        ]

    def _line(self, name: str, epsilon: float | None, paint: _Paint) -> Line:
        arm = self._arms[name]
        label = arm.label
        if epsilon is not None:
            label = f"{label}, ε\u00a0=\u00a0{as_given(epsilon)}"
        role = _role(arm)
        colour, dash = paint.next(role, arm.party)
        return Line(name, epsilon, label, role, arm.party, colour, dash)

    def lines(self, split: str, *roles: Role) -> list[Line]:
        """Return the arms that a split has a summary of, in the results' order.

        Args:
            split: The split.
            *roles: Only arms of these roles; without any, all but "released", if there are others.
        """
        found = [x for x in self._all_lines if (split, x.arm, x.epsilon) in self._summaries]
        if roles:
            return [line for line in found if line.role in roles]
        return [line for line in found if line.role != _RELEASED] or found

    def arm(self, name: str) -> Arm:
        """Return an arm by its name."""
        return self._arms[name]

    def label(self, arm: str) -> str:
        """Return an arm's name for people, without an ε."""
        return self._arms[arm].label

    @cached_property
    def _summaries(self) -> Mapping[tuple[str, str, float | None], Summary]:
        return {(s.split, s.arm, s.epsilon): s for s in self.results.summaries}

    def summary(self, split: str, line: Line) -> Summary:
        """Return one arm over all seeds."""
        return self._summaries[split, line.arm, line.epsilon]

    def runs(self, split: str, line: Line) -> list[Run]:
        """Return one arm seed by seed, in the order of the seeds."""
        chosen = [
            run
            for run in self.results.runs
            if (run.split, run.arm, run.epsilon) == (split, line.arm, line.epsilon)
        ]
        return sorted(chosen, key=lambda run: run.seed)

    def federated(self, split: str) -> Line | None:
        """Return the arm that stands for federated learning: the reference, or the nearest."""
        lines = {line.arm: line for line in self.lines(split, "reference", "encrypted", "float")}
        arm = stands_for_federated([self._arms[name] for name in lines])
        return None if arm is None else lines[arm.name]

    @property
    def party_count(self) -> int | None:
        """How many parties there are; None in older files."""
        return len(self.results.parties.names) if self.results.parties else None

    @property
    def measure(self) -> MeasureName | None:
        """What verdicts go by; None in older files, which hold no paired figures."""
        return next(iter(self.results.measures), None)

    @property
    def is_of_numbers(self) -> bool:
        """Whether the label is a number, and not a class."""
        return self.measure in NUMBER_MEASURES

    @property
    def label_name(self) -> str:
        """What the label's column is called; "label" where that is not recorded."""
        return next((each.name for each in self.columns if each.role == "label"), "label")

    @cached_property
    def _comparisons(self) -> Mapping[tuple[Any, ...], Comparison]:
        return {
            (c.split, c.rows, c.measure, c.arm, c.epsilon, c.beside, c.beside_epsilon): c
            for c in self.results.comparisons
        }

    def comparison(
        self,
        split: str,
        rows: RowSet,
        line: Line,
        beside: Line | str,
        measure: MeasureName | None = None,
    ) -> Comparison | None:
        """Return the paired figures of an arm and another, or of what else stands beside it.

        Args:
            split: The split.
            rows: On which rows.
            line: The arm.
            beside: The other arm, or the name of what is no arm, such as "majority".
            measure: By which measure; without one that of the verdicts.
        """
        other = (beside, None) if isinstance(beside, str) else (beside.arm, beside.epsilon)
        key = (split, rows, measure or self.measure, line.arm, line.epsilon, *other)
        return self._comparisons.get(key)

    def on_same_rows(self, split: str, one: Line, other: Line) -> bool:
        """Return whether two arms were tested on the same rows in every seed that both have."""
        ours, theirs = (
            {run.seed: run.test_rows_sha256 for run in self.runs(split, line)}
            for line in (one, other)
        )
        both = ours.keys() & theirs.keys()
        return bool(both) and all(
            ours[seed] is not None and ours[seed] == theirs[seed] for seed in both
        )

    def costs(self, split: str, line: Line) -> list[PrivacyCost]:
        """Return what an arm's seeds spent, the most first: a promise has to hold for all."""
        known = [
            run.privacy
            for run in self.runs(split, line)
            if run.privacy is not None and math.isfinite(run.privacy.epsilon)
        ]
        return sorted(known, key=lambda cost: -cost.epsilon)

    def curve(self, split: str, line: Line, quantity: str) -> Curve | None:
        """Return a quantity of the history by round, thinned to at most 160 points.

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

    @property
    def kind(self) -> DataKind | None:
        """What the data are; None where that is not recorded."""
        return self._data.kind if self._data else None

    @property
    def columns(self) -> Sequence[UnderstoodColumn]:
        """How each column was understood; empty where that is not recorded."""
        return (self._data and self._data.columns) or ()

    @property
    def dataset(self) -> str:
        """The data set's name, such as "dresses", for people."""
        return (self._data and self._data.dataset) or "unnamed data"

    @property
    def data_in_words(self) -> str:
        """The data set, where it comes from and how it was encoded, for people."""
        if self._data is None:
            return self.dataset
        source, encoding = self._data.source, self._data.encoding
        return (
            self.dataset
            + (f", {source}" if source else "")
            + (f", as {encoding}" if encoding else "")
        )

    @property
    def is_dresses(self) -> bool:
        """Whether the paper's comparison applies."""
        return self.kind == "dresses"

    @property
    def is_surrogate(self) -> bool:
        """Whether the data were drawn by the program."""
        return self._data is not None and self._data.is_surrogate

    @property
    def id_name(self) -> str:
        """What a row's identifier is called."""
        return "Dress_ID" if self.is_dresses else "ID"


class _Paint:
    """Chooses a different colour and dash for each arm of one report."""

    def __init__(self) -> None:
        self._count: dict[str, int] = {}

    def next(self, role: Role, party: int | None) -> tuple[str, tuple[float, ...]]:
        nth = self._count.get(role, 0)
        self._count[role] = nth + 1
        if role in ("private", _RELEASED):
            return f"private-{nth % 4 + 1}", _PRIVATE_DASHES[nth % 4]
        if party is not None and party < len(_PARTIES):
            return _PARTIES[party], ()
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


def _role(arm: Arm) -> Role:
    if arm.private:
        averages = arm.trains == "all" and arm.privacy == "local-dp-sgd"
        return "private" if averages else "released"
    if arm.trains != "all":
        return "pooled" if arm.trains == "pooled" else "alone"
    return _PLAIN[arm.aggregation]


def _described(provenance: Mapping[str, Any]) -> DataOrigin | None:
    """Return what the provenance says of the data, if it does."""
    data = provenance.get("data", {})
    if data == {}:
        return None
    try:
        return json_as(data, DataOrigin, "provenance.data")
    except ValueError as error:
        raise ConfigError(f"{error}; {_AGAIN}") from None
