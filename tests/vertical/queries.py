"""Both sides of a query in one process, made of coefficients that nobody had to train."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privfed.he.ring import PLAIN_MODULUS
from privfed.vertical.linear.circuits import fresh_shares
from privfed.vertical.linear.plan import Coefficients, VerticalPlan
from privfed.vertical.linear.projections import Integers, Opening, opened
from privfed.vertical.linear.query import GuestQuery, HostQuery, query_numbers
from privfed.vertical.linear.rows import integer_rows
from privfed.vertical.linear.shares import Residues, negative, plus, residues
from privfed.vertical.roles import Family, Opened, Role

Floats = NDArray[np.float64]
ROLES: tuple[Role, Role] = ("guest", "host")
MODEL = bytes(range(32))


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A model, rows of both sides, and what is asked of them."""

    plan: VerticalPlan
    integers: Integers  # of the coefficients, in units of 2^drop, the guest's first
    numbers: tuple[Residues, Residues]
    blocks: tuple[Floats, Floats]
    opened: Opened = "score"

    @classmethod
    def made(
        cls,
        family: Family = "logistic",
        coefficients: Coefficients = "own",
        *,
        rows: int = 5,
        columns: tuple[int, int] = (3, 4),
        opened: Opened = "score",
        seed: int = 0,
    ) -> Asked:
        """Coefficients at the edge of the ball, and rows that are often at their longest."""
        guest, host = columns
        plan = VerticalPlan(
            family=family,
            rows=200,
            guest_columns=guest + 1,
            host_columns=host,
            guest_names=guest,
            host_names=host,
            iterations=2,
            coefficients=coefficients,
        )
        drawn = np.random.default_rng(seed)
        vector = drawn.standard_normal(plan.lanes)
        # As long in each part as makes a score the farthest.
        for part, norm in zip(_parts(plan), (plan.guest_norm, plan.host_norm), strict=True):
            vector[part] *= norm / np.linalg.norm(vector[part])
        vector *= 0.999 * plan.ball / np.linalg.norm(vector)
        units = vector * plan.coefficient_scale / 2.0**plan.drop
        along = np.where(np.arange(rows) % 3 == 0, 9, np.where(np.arange(rows) % 3 == 1, -9, 0))
        blocks = []
        for part in _parts(plan):
            block = drawn.standard_normal((rows, len(vector[part])))
            blocks.append(
                0.5 * block + along[:, None] * vector[part] / np.linalg.norm(vector[part])
            )
        integers, numbers = _held(plan, units)
        return cls(
            plan=plan,
            integers=integers,
            numbers=numbers,
            blocks=(blocks[0], blocks[1]),
            opened=opened,
        )

    def sides(self, **guest: Any) -> tuple[GuestQuery, HostQuery]:
        """Both sides; the guest's may be of something else."""
        other = replace(self, **guest)
        return (
            GuestQuery(other.plan, MODEL, other.numbers[0], other.blocks[0], other.opened),
            HostQuery(self.plan, MODEL, self.numbers[1], self.blocks[1], self.opened),
        )

    @property
    def plain(self) -> Integers:
        """The scores as integers, in units of 2^drop."""
        whole = np.hstack(
            [
                integer_rows(self.plan, role, block)
                for role, block in zip(ROLES, self.blocks, strict=True)
            ]
        )
        scores: Integers = whole.astype(np.int64) @ self.integers
        return scores

    @property
    def opening(self) -> Opening:
        """What opens."""
        plan, rows = self.plan, len(self.blocks[0])
        bits = PLAIN_MODULUS.bit_length() - plan.drop
        if self.opened == "class":
            return Opening(PLAIN_MODULUS, rows, bits, threshold=0)
        return Opening(PLAIN_MODULUS, rows, bits, drop=plan.score_drop, bits=plan.score_bits)

    @property
    def expected(self) -> Floats:
        """What the guest gets."""
        unit = 1.0 if self.opened == "class" else self.plan.score_unit
        return opened(self.opening, self.plain).astype(np.float64) * unit


def talk(
    guest: GuestQuery,
    host: HostQuery,
    altered: Callable[[int, bytes], bytes] = lambda number, message: message,
) -> list[bytes]:
    """Hold the conversation; every message may be altered on its way. Messages alternate."""
    sent = []
    message: bytes | None = guest.start()
    assert host.start() is None
    while message is not None:
        sent.append(message)
        side = host if len(sent) % 2 else guest
        assert len(message) == side.longest_message
        message = side.receive(altered(len(sent) - 1, message))
    return sent


def _parts(plan: VerticalPlan) -> tuple[slice, slice]:
    return slice(0, plan.guest_columns), slice(plan.guest_columns, plan.lanes)


def _held(plan: VerticalPlan, units: Floats) -> tuple[Integers, tuple[Residues, Residues]]:
    if plan.coefficients == "own":
        found = np.rint(units / 2.0**plan.rounding).astype(np.int64)
        guest, host = (
            query_numbers(plan, opened=found[part], shares=None) for part in _parts(plan)
        )
        return found << plan.rounding, (guest, host)
    whole = np.rint(units).astype(np.int64)
    mine = fresh_shares(PLAIN_MODULUS, plan.lanes)
    theirs = plus(residues(whole << plan.drop), negative(mine))
    guest, host = (query_numbers(plan, opened=None, shares=each) for each in (mine, theirs))
    return whole, (guest, host)
