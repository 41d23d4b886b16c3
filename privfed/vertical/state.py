"""Shares at the end of an iteration: what a session that broke off goes on with.

Of both sides one may be an iteration ahead, so the last two are kept. Keys and masks are not: the
next session draws its own.
"""

from collections.abc import Sequence
from typing import Annotated

import msgspec
import numpy as np

from privfed.errors import ConfigError
from privfed.he.ring import PLAIN_MODULUS
from privfed.vertical.plan import VerticalPlan
from privfed.vertical.shares import Residues
from psi.errors import StateError

__all__ = ["MOST_SESSIONS", "TrainingState"]

MOST_SESSIONS = 8  # each may repeat an iteration's answers, which the plan's flood counts
_Share = Annotated[int, msgspec.Meta(ge=0, lt=PLAIN_MODULUS)]


class TrainingState(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One side's shares of the coefficients after its last two iterations; secret.

    Attributes:
        fingerprint: The plan's.
        sessions: How many sessions there were before the one that goes on.
        iterations: Which iterations the shares precede, ascending.
        shares: For each of these, one share a coefficient.
    """

    fingerprint: bytes
    sessions: int
    iterations: tuple[int, ...]
    shares: tuple[tuple[_Share, ...], ...]

    @classmethod
    def begun(cls, plan: VerticalPlan) -> "TrainingState":
        """Return the state before any iteration: every coefficient is 0."""
        return cls(plan.fingerprint(), 1, (0,), ((0,) * plan.lanes,))

    def __repr__(self) -> str:
        return f"TrainingState(iterations={self.iterations})"

    def check(self, plan: VerticalPlan) -> None:
        """Check that a session of this plan can go on.

        Raises:
            ConfigError: The state is of another plan, or went on too often.
        """
        if self.fingerprint != plan.fingerprint() or not self.iterations:
            raise ConfigError("the state is of another plan: train from the beginning")
        if any(len(each) != plan.lanes for each in self.shares):
            raise ConfigError("the state is of other columns: train from the beginning")
        if self.sessions > MOST_SESSIONS:
            raise ConfigError(
                f"this training broke off {MOST_SESSIONS} times; its answers hide no more: train "
                "from the beginning"
            )

    def resumed(self) -> "TrainingState":
        """Return the state for another session."""
        return TrainingState(self.fingerprint, self.sessions + 1, self.iterations, self.shares)

    def common(self, theirs: Sequence[int]) -> tuple[int, Residues]:
        """Return the last iteration that both sides can go on from, and the shares there.

        Raises:
            StateError: There is none.
        """
        both = sorted(set(self.iterations) & set(theirs))
        if not both:
            raise StateError(
                "the two sides stopped at different iterations: train from the beginning"
            )
        return both[-1], np.array(self.shares[self.iterations.index(both[-1])], np.uint64)

    def followed(self, iteration: int, shares: Residues) -> "TrainingState":
        """Return the state after another iteration."""
        before = iteration - 1
        kept = [
            (each, own)
            for each, own in zip(self.iterations, self.shares, strict=True)
            if each == before
        ]
        kept.append((iteration, tuple(shares.tolist())))
        return TrainingState(
            self.fingerprint,
            self.sessions,
            tuple(each for each, _ in kept),
            tuple(own for _, own in kept),
        )
