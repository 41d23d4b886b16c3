"""What rounds of several plans on the same units cost together."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence

from privfed.dp.accounting import common_grid, compose, step_tail
from privfed.dp.batches import likely_rows
from privfed.dp.composition import Composition
from privfed.dp.envelope import Part, dominating
from privfed.dp.losses import COARSE, FINE, Losses, release_losses
from privfed.dp.plan import PrivacyPlan

Spent = tuple[PrivacyPlan, int]
"""A plan and how many of its rounds, ≥ 1."""

_COMBINATIONS = 64  # of kinds of units, that are composed one by one

_dominating = functools.lru_cache(maxsize=64)(dominating)


def spent_epsilon(spent: Sequence[Spent], delta: float) -> float:
    """Return ε at `delta` of all those rounds, against insiders."""
    spent = [each for each in spent if each[0].round_kinds]  # the others show nothing
    if not spent:
        return 0.0
    if len(spent) == 1 and spent[0][0].delta == delta:
        return spent[0][0].spent(spent[0][1])
    gap = _gap(spent)
    delta *= math.exp(-gap)
    if all(len(plan.round_kinds) == 1 for plan, _ in spent):
        return 2 * gap + _epsilon(_bounds(spent, delta), delta)
    found = _epsilon(_bounds(spent, delta), delta)
    if combinations := _combinations(spent):
        found = min(found, max(_epsilon(compose(parts, delta), delta) for parts in combinations))
    return 2 * gap + found


def fits(spent: Sequence[Spent], epsilon: float, delta: float) -> bool:
    """Return whether all those rounds surely keep to (`epsilon`, `delta`)."""
    spent = [each for each in spent if each[0].round_kinds]
    if not spent or (len(spent) == 1 and spent[0][0].delta == delta):
        return spent_epsilon(spent, delta) <= epsilon
    gap = _gap(spent)
    epsilon, delta = epsilon - 2 * gap, delta * math.exp(-gap)

    def keeps(both: Sequence[Composition]) -> bool:
        return all(each.delta(epsilon) <= delta for each in both)

    if epsilon < 0:
        return False
    if keeps(_bounds(spent, delta)):
        return True
    combinations = _combinations(spent) if any(len(p.round_kinds) > 1 for p, _ in spent) else []
    return bool(combinations) and all(keeps(compose(parts, delta)) for parts in combinations)


def _gap(spent: Sequence[Spent]) -> float:
    return math.fsum(plan.gap(rounds) for plan, rounds in spent)


def _epsilon(both: Sequence[Composition], delta: float) -> float:
    return max(each.epsilon(delta) for each in both)


def _bounds(spent: Sequence[Spent], delta: float) -> tuple[Composition, Composition]:
    """Compose one distribution a plan, which dominates all kinds of its units."""
    likely = [max(plan.round_kinds, key=_cost) for plan, _ in spent]
    everything = [
        (sigma, cases, count * rounds)
        for kind, (_, rounds) in zip(likely, spent, strict=True)
        for sigma, cases, count in kind
    ]
    # One distribution for several kinds is looser than a coarse grid makes it.
    cells = FINE if all(len(plan.round_kinds) == 1 for plan, _ in spent) else COARSE
    grid, tail = common_grid(everything, delta, cells), step_tail(delta)
    parts: list[tuple[Losses, int]] = []
    for plan, rounds in spent:
        if len(plan.round_kinds) > 1:
            parts.append((_dominating(plan.round_kinds, grid, tail), rounds))
        else:
            parts += [
                (release_losses(sigma, cases, grid, tail), count * rounds)
                for sigma, cases, count in plan.round_kinds[0]
            ]
    return (
        Composition([(each.removed, count) for each, count in parts]),
        Composition([(each.added, count) for each, count in parts]),
    )


def _cost(kind: tuple[Part, ...]) -> float:
    return sum(count * likely_rows(cases) / sigma**2 for sigma, cases, count in kind)


def _combinations(spent: Sequence[Spent]) -> list[list[Part]]:
    """Return what a unit of each combination of kinds takes part in; nothing if they are many."""
    if math.prod(len(plan.round_kinds) for plan, _ in spent) > _COMBINATIONS:
        return []
    return [
        [
            (sigma, cases, count * rounds)
            for kind, (_, rounds) in zip(kinds, spent, strict=True)
            for sigma, cases, count in kind
        ]
        for kinds in itertools.product(*(plan.round_kinds for plan, _ in spent))
    ]
