"""What rounds of several plans on the same units cost together."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from privfed.dp.accounting import common_grid, compose, step_tail
from privfed.dp.batches import likely_rows
from privfed.dp.composition import Composition
from privfed.dp.envelope import Part, dominating
from privfed.dp.losses import COARSE, FINE, Losses, pair_losses, release_losses
from privfed.dp.plan import PrivacyPlan
from privfed.dp.tuning import Payable, TunedPlan

Spent = tuple[Payable, int]
"""A plan, or a tuning, and how many of its rounds, ≥ 1."""

_TUNED_GRID = 2.0**-12  # where tunings are alone
_FEW = 4  # plans
_COMBINATIONS = 64  # of kinds of units, that are composed one by one


def spent_epsilon(spent: Sequence[Spent], delta: float) -> float:
    """Return ε at `delta` of all those rounds, against insiders."""
    spent = _shown(spent)
    if not spent:
        return 0.0
    if len(spent) == 1 and spent[0][0].delta == delta:
        return spent[0][0].spent(spent[0][1])
    plans, tuned = _apart(spent)
    gap = _gap(plans)
    delta *= math.exp(-gap)
    found = _epsilon(_bounds(plans, tuned, delta), delta)
    if combinations := _combinations(plans, tuned):
        found = min(found, max(_epsilon(compose(parts, delta), delta) for parts in combinations))
    return 2 * gap + found


def fits(spent: Sequence[Spent], epsilon: float, delta: float) -> bool:
    """Return whether all those rounds surely keep to (`epsilon`, `delta`)."""
    spent = _shown(spent)
    if not spent or (len(spent) == 1 and spent[0][0].delta == delta):
        return spent_epsilon(spent, delta) <= epsilon
    plans, tuned = _apart(spent)
    gap = _gap(plans)
    epsilon, delta = epsilon - 2 * gap, delta * math.exp(-gap)

    def keeps(both: Sequence[Composition]) -> bool:
        return all(each.keeps(epsilon, delta) for each in both)

    if epsilon < 0:
        return False
    if keeps(_bounds(plans, tuned, delta)):
        return True
    combinations = _combinations(plans, tuned)
    return bool(combinations) and all(keeps(compose(parts, delta)) for parts in combinations)


class Deltas:
    """A bound on δ as a function of ε, of rounds of plans.

    Args:
        spent: At least one round that shows a row.
        least: About the least δ that counts.
    """

    def __init__(self, spent: Sequence[tuple[PrivacyPlan, int]], least: float) -> None:
        plans, _ = _apart(_shown(spent))
        self._gap = _gap(plans)
        self._both = _bounds(plans, [], least)

    def __call__(self, epsilon: float) -> float:
        """Return the bound."""
        wanted = epsilon - 2 * self._gap
        if wanted < 0:
            return 1.0
        return math.exp(self._gap) * max(each.delta(wanted) for each in self._both)


def _shown(spent: Sequence[Spent]) -> list[Spent]:
    """Leave out what shows no row of anybody."""
    return [each for each in spent if isinstance(each[0], TunedPlan) or each[0].round_kinds]


def _apart(spent: Sequence[Spent]) -> tuple[list[tuple[PrivacyPlan, int]], list[TunedPlan]]:
    plans = [(plan, rounds) for plan, rounds in spent if isinstance(plan, PrivacyPlan)]
    return plans, [plan for plan, _ in spent if isinstance(plan, TunedPlan)]


def _gap(plans: Sequence[tuple[PrivacyPlan, int]]) -> float:
    return math.fsum(plan.gap(rounds) for plan, rounds in plans)


def _epsilon(both: Sequence[Composition], delta: float) -> float:
    return max(each.epsilon(delta) for each in both)


def _bounds(
    spent: Sequence[tuple[PrivacyPlan, int]], tuned: Sequence[TunedPlan], delta: float
) -> tuple[Composition, Composition]:
    """Compose one distribution a plan, which dominates all kinds of its units."""
    likely = [max(plan.round_kinds, key=_cost) for plan, _ in spent]
    everything = [
        (sigma, cases, count * rounds)
        for kind, (_, rounds) in zip(likely, spent, strict=True)
        for sigma, cases, count in kind
    ]
    # One distribution for several kinds, and a tuning's, is looser than a coarse grid makes it;
    # and many plans on a fine one would cost time.
    one_kind = all(len(plan.round_kinds) == 1 for plan, _ in spent)
    fine = one_kind and not tuned and len(spent) <= _FEW
    cells = FINE if fine else COARSE
    tail = step_tail(delta)
    grid = common_grid(everything, delta, cells) if everything else _TUNED_GRID
    parts: list[tuple[Losses, int]] = []
    for plan, rounds in spent:
        if len(plan.round_kinds) > 1:
            parts.append((dominating(plan.round_kinds, grid, tail), rounds))
        else:
            parts += [
                (release_losses(sigma, cases, grid, tail), count * rounds)
                for sigma, cases, count in plan.round_kinds[0]
            ]
    parts += [(pair_losses(each.epsilon, each.delta, grid), 1) for each in tuned]
    return (
        Composition([(each.removed, count) for each, count in parts]),
        Composition([(each.added, count) for each, count in parts]),
    )


def _cost(kind: tuple[Part, ...]) -> float:
    return sum(count * likely_rows(cases) / sigma**2 for sigma, cases, count in kind)


def _combinations(
    spent: Sequence[tuple[PrivacyPlan, int]], tuned: Sequence[TunedPlan]
) -> list[list[Part]]:
    """Return what a unit of each combination of kinds takes part in.

    Nothing where they are many, where there is but one, or where a tuning has no kinds.
    """
    if tuned or not 1 < math.prod(len(plan.round_kinds) for plan, _ in spent) <= _COMBINATIONS:
        return []
    return [
        [
            (sigma, cases, count * rounds)
            for kind, (_, rounds) in zip(kinds, spent, strict=True)
            for sigma, cases, count in kind
        ]
        for kinds in itertools.product(*(plan.round_kinds for plan, _ in spent))
    ]
