"""Poisson batches, cut to a public size where they are longer: what is drawn, and what it costs.

A row's place in a batch is taken whether the row is zeroed out or not, so that batches do not
depend on the data. Of a batch with too many heads a uniformly random part stays. What a unit can
gain from that is told by how many rows of others stay, and no more: docs/accounting.md derives the
cases and their chances, in which each number is an upper bound.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from privfed.dp.randomness import NoiseSource

Chances = tuple[float, ...]
"""Of 0, 1 … rows of a unit in a release."""
Cases = tuple[tuple[float, Chances], ...]
"""Cases that may as well be public: how likely each is, and the chances in it."""
BatchCap = tuple[int, int]
"""A party's rows, and the most of them in one batch."""

_NOTHING: Cases = ((1.0, (1.0,)),)
_ROUNDING = 1e-9  # of weights and chances, far more than their computation errs
_MOST_CASES = 16


def poisson_batch(
    randomness: NoiseSource, rate: float, rows: int, most: int | None = None
) -> NDArray[np.bool_]:
    """Toss a coin for each row; of more heads than `most` keep so many, uniformly at random."""
    batch = randomness.coins(rate, rows)
    if most is None or most >= rows:
        return batch
    (heads,) = batch.nonzero()
    if len(heads) <= most:
        return batch
    batch = np.zeros(rows, np.bool_)
    while True:
        words = randomness.words(len(heads))
        if len(np.unique(words)) == len(words):  # all orders are equally likely
            batch[heads[np.argsort(words)[:most]]] = True
            return batch


@functools.lru_cache(maxsize=256)
def unit_cases(rows: int, rate: float, cap: BatchCap | None = None) -> Cases:
    """Return the cases of a unit with up to so many rows at a party."""
    whole = tuple(map(float, _binomial(rows, rate)))
    if cap is None or rows == 0 or cap[1] >= min(cap[0], _far(cap[0], rate)):
        return ((1.0, whole),)
    count, most = cap
    tables = [_table(own, count - own, rate, most) for own in range(1, min(rows, count) + 1)]
    # A unit with fewer rows is no unit with more, of which some are zero: each case is as likely,
    # and has as many rows, as with any number of them.
    ordinary = max(weight for weight, _ in tables)
    found = [(ordinary, whole)] if ordinary > 0 else []
    for short in range(rows + 1):
        likely = [table[short] for _, table in tables if short < len(table)]
        likely = [row for row in likely if row.sum() > 0]
        if likely:
            weight = max(float(row.sum()) for row in likely)
            found.append((weight, _worst([tuple(row / row.sum()) for row in likely])))
    return tuple((weight * (1 + _ROUNDING), chances) for weight, chances in found)


def together(parties: Sequence[Cases]) -> Cases:
    """Return the cases of one sum over parties that draw independently."""
    found = parties[0]
    for other in parties[1:]:
        if other == _NOTHING:  # of many parties a unit is at few
            found = _pooled(list(found))
            continue
        found = _pooled(
            [
                (one * another, tuple(map(float, np.convolve(mine, theirs))))
                for (one, mine), (another, theirs) in itertools.product(found, other)
            ]
        )
    return found


def covers(one: Cases, other: Cases) -> bool:
    """Return whether each case of `one` is as likely as that of `other`, with as many rows."""
    return len(one) == len(other) and all(
        weight >= less and _is_worse(more, fewer)
        for (weight, more), (less, fewer) in zip(one, other, strict=True)
    )


def likely_rows(cases: Cases) -> float:
    """Return the mean square of the rows that are expected in a case: what a release costs."""
    return math.fsum(
        weight * math.fsum(rows * chance for rows, chance in enumerate(chances)) ** 2
        for weight, chances in cases
    )


def _binomial(rows: int, rate: float) -> NDArray[np.float64]:
    """Return the chances of 0 … rows heads; any number of rows, in few microseconds."""
    from scipy import special

    drawn = np.arange(rows + 1)
    ways = special.gammaln(rows + 1) - special.gammaln(drawn + 1) - special.gammaln(drawn[::-1] + 1)
    found: NDArray[np.float64] = np.exp(
        ways + special.xlogy(drawn, rate) + special.xlog1py(rows - drawn, -rate)
    )
    return found


def _far(rows: int, rate: float) -> int:
    """Return a number of heads that is exceeded with a chance below 1e-265 (Bernstein)."""
    mean = rows * rate
    return math.ceil(mean + 50 * math.sqrt(mean * (1 - rate)) + 1200)


def _table(
    own: int, others: int, rate: float, most: int
) -> tuple[float, list[NDArray[np.float64]]]:
    """Return the chance that fewer than most - own others come, and a table of the other cases.

    Row s of the table is for the case that most - s rows of others stay: the chances of it and of
    0, 1 … rows of the unit.
    """
    from scipy import stats

    law, drawn = stats.binom(others, rate), _binomial(own, rate)
    table = [np.zeros(own + 1) for _ in range(min(own, most) + 1)]
    for short, row in enumerate(table):  # nothing is cut
        row[: short + 1] = law.pmf(most - short) * drawn[: short + 1]
    first, last = max(0, most - own + 1), min(others, _far(others, rate))
    count = np.arange(first, last + 1)
    chances = law.pmf(count)
    for heads in range(own + 1):  # of which `short` stay, by a hypergeometric law
        start = max(0, most - heads + 1 - first)
        # All in units of the batch, so that products neither overflow nor vanish.
        total = (count[start:] + heads) / most
        weights = drawn[heads] * chances[start:]
        for place in range(heads):
            weights = weights / (total - place / most)
        for short in range(heads, -1, -1):
            if short < len(table):
                ways = math.comb(heads, short) * math.prod(1 - i / most for i in range(short))
                table[short][short] += ways * float(weights.sum())
            weights = weights * np.maximum(total - 1 - (heads - short) / most, 0.0)
    return float(law.cdf(most - own - 1)), table


def _tails(chances: Chances, size: int) -> NDArray[np.float64]:
    """Return the chances of at least 1, 2 … rows; zeros at the far end are exact."""
    padded = np.pad(np.asarray(chances), (0, size - len(chances)))
    found: NDArray[np.float64] = np.cumsum(padded[:0:-1])[::-1]
    return found


def _is_worse(one: Chances, other: Chances) -> bool:
    size = max(len(one), len(other))
    return bool(np.all(_tails(one, size) >= _tails(other, size)))


def _worst(several: Sequence[Chances]) -> Chances:
    """Return chances under which any number of rows, or more, is as likely as in each."""
    size = max(map(len, several))
    tails = np.max([_tails(chances, size) for chances in several], axis=0) * (1 + _ROUNDING)
    falling = np.concatenate([[1.0], np.minimum(tails, 1.0), [0.0]])
    return tuple(map(float, -np.diff(falling)))


def _pooled(cases: list[tuple[float, Chances]]) -> Cases:
    """Make one case of equal ones, and of the least likely ones where there are too many."""
    if len(cases) == 1:
        return tuple(cases)
    alike: dict[Chances, list[tuple[float, Chances]]] = {}
    for weight, chances in cases:
        alike.setdefault(tuple(round(chance, 12) for chance in chances), []).append(
            (weight, chances)
        )
    found = sorted(map(_one, alike.values()), reverse=True)
    if len(found) > _MOST_CASES:
        found[_MOST_CASES - 1 :] = [_one(found[_MOST_CASES - 1 :])]
    return tuple(found)


def _one(cases: Sequence[tuple[float, Chances]]) -> tuple[float, Chances]:
    if len(cases) == 1:
        return cases[0]
    return math.fsum(weight for weight, _ in cases), _worst([chances for _, chances in cases])
