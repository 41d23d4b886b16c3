"""Parties of stated sizes, or unequal by a stated law: which of a table's IDs each party gets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from privfed.errors import ConfigError
from privfed.rounding import as_given

SkewKind = Literal["labels", "quantities"]
Counts = NDArray[np.int64]

_CONCENTRATIONS = (1e-3, 1e6)  # beyond, shares are 0 and 1, or equal, to double precision
_TOLERANCE = 1e-9  # to which shares may miss 1 by rounding


@dataclass(frozen=True)
class Dealing:
    """How large dealt parties are and how they differ; without anything, the split's own sizes.

    Shares are drawn from a Dirichlet distribution with all its parameters equal to the
    concentration (quantities), or with the concentration times the table's own shares of the
    classes, for each party (labels: Hsu, Qi and Brown 2019, arXiv 1909.06335). The larger the
    concentration, the more alike the parties.

    Attributes:
        sizes: Rows of each party, or each party's share of all rows; what is left over is dealt to
            nobody.
        skew: What differs between the parties: "labels", the shares of the classes, in parties of
            `sizes` or of equal ones; "quantities", the numbers of rows.
        concentration: The distribution's, above 0.

    Raises:
        ConfigError: A value is out of range, or two exclude each other.
    """

    sizes: tuple[float, ...] | None = None
    skew: SkewKind | None = None
    concentration: float | None = None

    def __post_init__(self) -> None:
        if self.sizes is not None:
            _check_sizes(self.sizes)
        if (self.skew is None) != (self.concentration is None):
            raise ConfigError("a `skew` has a concentration: give both, as labels=0.5")
        if self.skew is not None and self.skew not in get_args(SkewKind):
            raise ConfigError(f"unknown `skew` {self.skew!r}: use labels or quantities")
        if self.concentration is not None:
            low, high = _CONCENTRATIONS
            if not low <= self.concentration <= high:
                raise ConfigError(
                    f"the concentration of a `skew` lies between {low:g} and {high:g}, "
                    f"not {as_given(self.concentration)}"
                )
        if self.sizes is not None and self.skew == "quantities":
            raise ConfigError(
                "`sizes` says how many rows each party has, and a `skew` of quantities would draw "
                "them: give one of the two"
            )

    @property
    def is_plain(self) -> bool:
        """Whether nothing is asked."""
        return self.sizes is None and self.skew is None


def _check_sizes(sizes: Sequence[float]) -> None:
    if not all(math.isfinite(size) and size > 0 for size in sizes):
        raise ConfigError("`sizes` are numbers above 0: rows, as 100,200,50, or shares, as .5,.3")
    if all(float(size).is_integer() for size in sizes):
        return
    if max(sizes) >= 1:
        raise ConfigError(
            "`sizes` are rows, as 100,200,50, or shares below 1, as .5,.3,.2: not both"
        )
    if math.fsum(sizes) > 1 + _TOLERANCE:
        raise ConfigError(
            f"`sizes` are shares that add up to {as_given(math.fsum(sizes))}: at most 1 can be "
            "dealt"
        )


def deal(
    units: NDArray[np.intp],
    labels: NDArray[np.int64],
    parties: int,
    dealing: Dealing,
    drawn: np.random.Generator,
) -> list[NDArray[np.intp]]:
    """Deal rows out to parties; rows of one unit, such as an ID, stay together.

    With units of one row each party has as many rows as it is to have; else as near as whole units
    allow. A unit counts to the class of its first row.

    Args:
        units: The unit of each row, from 0 up.
        labels: The class of each row.
        parties: How many.
        dealing: What is asked.
        drawn: What draws.

    Returns:
        Each party's rows, ascending.

    Raises:
        ConfigError: There are fewer rows than asked for.
    """
    weights = np.bincount(units)
    firsts = np.unique(units, return_index=True)[1]
    strata = labels[firsts] if dealing.skew == "labels" else np.zeros(len(firsts), np.int64)
    wanted = _wanted(len(units), parties, dealing, drawn)
    held = np.bincount(strata, weights).astype(np.int64)
    plan = wanted[:, None]
    if dealing.concentration is not None and dealing.skew == "labels":
        plan = _by_class(wanted, held, dealing.concentration, drawn)
    owner = np.full(len(weights), parties)  # so far nobody
    for stratum, planned in enumerate(plan.T):
        members = drawn.permutation(np.flatnonzero(strata == stratum))
        middles = np.cumsum(weights[members]) - weights[members] / 2
        owner[members] = np.searchsorted(np.cumsum(planned), middles)
    return [np.flatnonzero(owner[units] == party) for party in range(parties)]


def _wanted(rows: int, parties: int, dealing: Dealing, drawn: np.random.Generator) -> Counts:
    """Return how many rows each party is to have."""
    if dealing.sizes is None:
        shares = np.full(parties, 1 / parties)
        if dealing.concentration is not None and dealing.skew == "quantities":
            shares = drawn.dirichlet(np.full(parties, dealing.concentration))
        return _apportioned(rows, shares)
    sizes = np.array(dealing.sizes, float)
    if sizes.max() < 1:
        spare = max(0.0, 1 - math.fsum(dealing.sizes))
        return _apportioned(rows, np.append(sizes, spare))[:-1]
    if sizes.sum() > rows:
        raise ConfigError(
            f"`sizes` asks for {sizes.sum():.0f} rows and the table has {rows}: ask for fewer"
        )
    return sizes.astype(np.int64)


def _apportioned(total: int, shares: NDArray[np.float64]) -> Counts:
    """Return whole numbers in these proportions that add up: largest remainders are rounded up."""
    exact = total * shares / shares.sum()
    counts: Counts = np.floor(exact).astype(np.int64)
    upwards = np.argsort(counts - exact, kind="stable")
    counts[upwards[: total - counts.sum()]] += 1
    return counts


def _by_class(
    wanted: Counts, held: Counts, concentration: float, drawn: np.random.Generator
) -> Counts:
    """Return how many rows (parties, classes) each party gets of each class.

    Party after party, in a drawn order, has its own shares of the classes. Of a class that runs out
    it gets what is left, and draws shares of the others for the rest: some components of a
    Dirichlet vector, scaled to 1, have the Dirichlet distribution of their own parameters.
    """
    plan = np.zeros((len(wanted), len(held)), np.int64)
    left = held.copy()
    for party in drawn.permutation(len(wanted)):
        while missing := wanted[party] - plan[party].sum():
            there = np.flatnonzero(left)
            shares = drawn.dirichlet(concentration * held[there] / held.sum())
            taken = np.minimum(_apportioned(missing, shares), left[there])
            plan[party, there] += taken
            left[there] -= taken
    return plan
