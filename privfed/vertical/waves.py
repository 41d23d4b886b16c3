"""A function of a shared score, from sines and cosines of both sides' shares.

With G and H the angles of the guest's and the host's share, and h an odd harmonic,

    s sin(h(G+H)) + c cos(h(G+H)) = sin hG (s cos hH - c sin hH) + cos hG (s sin hH + c cos hH):

the guest encrypts sin hG and cos hG, the host multiplies, slot by slot. Both round to integers; the
scale of what comes out is the residual's S. Rows of data have the link, rows of the penalty the
score itself, times n * penalty / entry^2, so that their gradient is n times the penalty's.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from privfed.he.ring import DEGREE, PLAIN_MODULUS, to_slots
from privfed.vertical.plan import VerticalPlan
from privfed.vertical.series import Series
from privfed.vertical.shares import Residues, residues

__all__ = ["constants", "guest_waves", "host_waves"]

Floats = NDArray[np.float64]


def guest_waves(plan: VerticalPlan, iteration: int, shares: Residues) -> Iterator[Residues]:
    """Yield for each block of rows the messages (2K, N): sines and cosines, by harmonic."""
    scales = _scales(plan, iteration)
    for block, turns in _turns(plan, shares):
        scale = scales[block]
        rows = [part for turn in turns for part in (turn.imag, turn.real)]
        yield _slots([np.rint(scale * row) for row in rows])


def host_waves(plan: VerticalPlan, iteration: int, shares: Residues) -> Iterator[Residues]:
    """Yield for each block the polynomials mod t (2K, N) by which those messages are multiplied."""
    scales = _scales(plan, iteration)
    scale = plan.residual_scale(iteration)
    size = plan.batch_size(iteration)
    of_penalty = np.arange(size + plan.penalty_rows) >= size
    weight = _penalty_weight(plan, iteration)
    link, identity = plan.link, plan.identity
    for block, turns in _turns(plan, shares):
        each = scale / scales[block]
        counted = of_penalty[block]
        rows = []
        for k, turn in enumerate(turns):
            sine = np.where(counted, weight * identity.sines[k], link.sines[k]) * each
            cosine = np.where(counted, weight * identity.cosines[k], link.cosines[k]) * each
            rows.append(np.rint(sine * turn.real - cosine * turn.imag))
            rows.append(np.rint(sine * turn.imag + cosine * turn.real))
        yield _slots(rows)


def constants(plan: VerticalPlan, iteration: int, labels: Floats) -> Residues:
    """Return what the guest adds to its share of residuals: the link's constant less the labels."""
    size = plan.batch_size(iteration)
    whole = np.zeros(size + plan.penalty_rows)
    whole[:size] = plan.link.constant - labels
    return residues(np.rint(plan.residual_scale(iteration) * whole).astype(np.int64))


def _turns(
    plan: VerticalPlan, shares: Residues
) -> Iterator[tuple[slice, Iterator[NDArray[np.complex128]]]]:
    """Yield blocks of rows, and the numbers exp(i h angle) of their harmonics in turn."""
    for start in range(0, len(shares), DEGREE):
        block = slice(start, min(start + DEGREE, len(shares)))
        yield block, _harmonics(shares[block], plan.harmonics)


def _harmonics(shares: Residues, count: int) -> Iterator[NDArray[np.complex128]]:
    turn = np.exp(2j * np.pi / PLAIN_MODULUS * shares.astype(np.float64))
    twice = turn * turn
    for _ in range(count):
        yield turn
        turn = turn * twice


def _scales(plan: VerticalPlan, iteration: int) -> Floats:
    """Return the guest's scale in each row: it and the host's coefficients are as large."""
    size, scale = plan.batch_size(iteration), plan.residual_scale(iteration)
    scales = np.full(size + plan.penalty_rows, _balanced(scale, plan.link, 1.0))
    if plan.penalty:
        scales[size:] = _balanced(scale, plan.identity, _penalty_weight(plan, iteration))
    return scales


def _balanced(scale: float, series: Series, weight: float) -> float:
    return float(np.sqrt(scale * weight * series.largest))


def _penalty_weight(plan: VerticalPlan, iteration: int) -> float:
    return plan.penalty_weight(plan.batch_size(iteration))


def _slots(rows: list[Floats]) -> Residues:
    values = np.zeros((len(rows), DEGREE), np.uint64)
    for into, row in zip(values, rows, strict=True):
        into[: len(row)] = residues(row.astype(np.int64))
    return to_slots(values)
