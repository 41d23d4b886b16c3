"""One distribution for a round of which units of several kinds lose differently.

Nothing says which kind a unit is in another plan, so that the worst kind of all plans together need
not be the worst of each: all combinations would have to be composed. Instead the pointwise largest
of the kinds' curves δ(ε), on a grid, with dots connected, is the curve of one distribution. It
dominates each kind, and so it does when composed with anything (docs/accounting.md).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np

from privfed.dp.batches import Cases
from privfed.dp.composition import Composition
from privfed.dp.losses import Floats, Loss, Losses, release_losses

Part = tuple[float, Cases, int]
"""Releases of one kind: σ over the clip norm, the chances of each number of rows, and how many."""

_ROUNDING = 2.0**-40


@functools.lru_cache(maxsize=64)
def dominating(kinds: tuple[tuple[Part, ...], ...], grid: float, tail: float) -> Losses:
    """Return the losses of a round that each kind loses at most.

    Args:
        kinds: What a unit of each kind takes part in, in one round.
        grid: As in `step_losses`.
        tail: As in `step_losses`.
    """
    steps = [
        [(release_losses(sigma, cases, grid, tail), count) for sigma, cases, count in kind]
        for kind in kinds
    ]
    return Losses(
        _largest([[(each.removed, count) for each, count in kind] for kind in steps], tail),
        _largest([[(each.added, count) for each, count in kind] for kind in steps], tail),
    )


def _largest(kinds: Sequence[Sequence[tuple[Loss, int]]], tail: float) -> Loss:
    curves = [_curve(parts, tail) for parts in kinds]
    grid = kinds[0][0][0].grid
    first = min(first for first, _ in curves)
    last = max(first + len(deltas) for first, deltas in curves)
    largest = np.zeros(last - first)
    for begin, deltas in curves:
        # Below its dots a curve is under the chord to (e^ε, δ) = (0, 1), above them it falls.
        below = 1 - (1 - deltas[0]) * np.exp((np.arange(first, begin) - begin) * grid)
        above = np.full(last - begin - len(deltas), deltas[-1])
        largest = np.maximum(largest, np.concatenate([below, deltas, above]))
    masses = _kinks(largest, grid)
    drift = max(math.fsum(count * loss.drift for loss, count in parts) for parts in kinds)
    return Loss(grid, first, masses, float(largest[-1]), drift)


def _curve(parts: Sequence[tuple[Loss, int]], tail: float) -> tuple[int, Floats]:
    """Return upper bounds of a kind's δ on the grid, and the index of the first."""
    if len(parts) == 1 and parts[0][1] == 1:
        from scipy import signal  # half a second, which one kind of unit does not wait for

        loss = parts[0][0]
        # δ at a dot from that at the next one, and the mass above: all terms positive.
        above = np.append(np.cumsum(loss.masses[:0:-1])[::-1], 0.0)
        falls = signal.lfilter([1.0], [1.0, -math.exp(-loss.grid)], above[::-1])[::-1]
        return loss.first, np.minimum(loss.infinite - math.expm1(-loss.grid) * falls, 1.0)
    return Composition(parts).deltas(tail)


def _kinks(deltas: Floats, grid: float) -> Floats:
    """Return the masses whose curve is that through the dots (e^ε, δ), or just above it."""
    with np.errstate(divide="ignore"):
        slopes = np.log(np.maximum(-np.diff(deltas), 0.0) / math.expm1(grid))
    # Logarithms of the slopes themselves, which fall where the curve is convex; the largest of all
    # slopes from there on makes it so where rounding did not.
    index = np.arange(len(slopes)) * grid
    convex = np.maximum.accumulate((slopes - index)[::-1])[::-1]
    scaled = np.append(np.exp(convex + index), 0.0)  # slopes times the e^ε of their left end
    whole = max(float(scaled[0]), 1 - float(deltas[0]))  # from (0, 1) to the first dot
    before = np.append(whole, math.exp(grid) * scaled[:-1])
    found: Floats = np.maximum(before - scaled, 0.0) + _ROUNDING * before
    return found
