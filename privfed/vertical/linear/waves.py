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
from privfed.vertical.linear.plan import VerticalPlan
from privfed.vertical.linear.shares import Residues, residues

__all__ = ["constants", "guest_waves", "host_waves"]

Floats = NDArray[np.float64]


def guest_waves(plan: VerticalPlan, iteration: int, shares: Residues) -> Iterator[Residues]:
    """Yield for each block of rows the messages (2K, N): sines and cosines, by harmonic."""
    scales = _scales(plan, iteration)
    for block, turns in _turns(plan, shares):
        rows = []
        for turn, scale in zip(turns, scales, strict=True):
            rows += [np.rint(scale[block] * part) for part in (turn.imag, turn.real)]
        yield _slots(rows)


def host_waves(plan: VerticalPlan, iteration: int, shares: Residues) -> Iterator[Residues]:
    """Yield for each block the polynomials mod t (2K, N) by which those messages are multiplied."""
    scale, weight = plan.residual_scale(iteration), _penalty_weight(plan, iteration)
    link, identity = plan.link, plan.identity
    sines, cosines = (
        _of_rows(plan, iteration, scale * data, scale * weight * penalty)
        for data, penalty in ((link.sines, identity.sines), (link.cosines, identity.cosines))
    )
    scales = _scales(plan, iteration)
    for block, turns in _turns(plan, shares):
        rows = []
        for turn, sine, cosine, guests in zip(turns, sines, cosines, scales, strict=True):
            s, c = sine[block] / guests[block], cosine[block] / guests[block]
            rows.append(np.rint(s * turn.real - c * turn.imag))
            rows.append(np.rint(s * turn.imag + c * turn.real))
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


def _scales(plan: VerticalPlan, iteration: int) -> list[Floats]:
    """Return for each harmonic the guest's scale in each row."""
    units, weight = plan.residual_scale(iteration), _penalty_weight(plan, iteration)
    return _of_rows(plan, iteration, plan.link.scales(units), plan.identity.scales(units * weight))


def _of_rows(plan: VerticalPlan, iteration: int, data: Floats, penalty: Floats) -> list[Floats]:
    """Return for each harmonic one number a row: that of data's rows, then of the penalty's."""
    counts = [plan.batch_size(iteration), plan.penalty_rows]
    return [np.repeat(pair, counts) for pair in zip(data, penalty, strict=True)]


def _penalty_weight(plan: VerticalPlan, iteration: int) -> float:
    return plan.penalty_weight(plan.batch_size(iteration))


def _slots(rows: list[Floats]) -> Residues:
    values = np.zeros((len(rows), DEGREE), np.uint64)
    for into, row in zip(values, rows, strict=True):
        into[: len(row)] = residues(row.astype(np.int64))
    return to_slots(values)
