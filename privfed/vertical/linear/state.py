"""Shares at the end of an iteration: what a session that broke off goes on with.

Of both sides one may be an iteration ahead, so the last two are kept. Keys and masks are not: the
next session draws its own.
"""

from typing import Annotated

import msgspec
import numpy as np

from privfed.errors import ConfigError
from privfed.he.ring import PLAIN_MODULUS
from privfed.vertical.linear.capacity import MOST_SESSIONS
from privfed.vertical.linear.plan import VerticalPlan
from privfed.vertical.linear.shares import Residues
from privfed.vertical.roles import MARK_BYTES
from psi.errors import StateError

__all__ = ["TrainingState"]

_NUMBER_BYTES = 4
_KEPT = 2
_Share = Annotated[int, msgspec.Meta(ge=0, lt=PLAIN_MODULUS)]


class TrainingState(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One side's shares of the coefficients after its last two iterations; secret.

    Attributes:
        fingerprint: The plan's.
        sessions: How many sessions there were before the one that goes on.
        iterations: Which iterations the shares precede, ascending.
        marks: For each, the session that made them: shares of two sessions do not fit together.
        shares: For each of these, one share a coefficient.
    """

    fingerprint: bytes
    sessions: int
    iterations: tuple[int, ...]
    marks: tuple[bytes, ...]
    shares: tuple[tuple[_Share, ...], ...]

    @classmethod
    def begun(cls, plan: VerticalPlan, mark: bytes = bytes(MARK_BYTES)) -> "TrainingState":
        """Return the state before any iteration: every coefficient is 0.

        Args:
            plan: What both sides agreed on.
            mark: What both call this order of rows: sides that begin with two do not go on.
        """
        return cls(plan.fingerprint(), 1, (0,), (mark,), ((0,) * plan.lanes,))

    def __repr__(self) -> str:
        return f"TrainingState(iterations={self.iterations})"

    def check(self, plan: VerticalPlan) -> None:
        """Check that a session of this plan can go on.

        Raises:
            ConfigError: The state is of another plan, or went on too often.
        """
        if self.fingerprint != plan.fingerprint():
            raise ConfigError("the state is of another plan: train from the beginning")
        ascending = list(self.iterations) == sorted(set(self.iterations))
        known = all(0 <= each <= plan.iterations for each in self.iterations)
        counts = {len(self.iterations), len(self.marks), len(self.shares)}
        sizes = {len(each) for each in self.marks}, {len(each) for each in self.shares}
        if (
            not (ascending and known and self.sessions >= 1)
            or counts not in ({1}, {_KEPT})
            or sizes != ({MARK_BYTES}, {plan.lanes})
        ):
            raise ConfigError("the state is damaged: train from the beginning")
        if self.sessions > MOST_SESSIONS:
            raise ConfigError(
                f"this training broke off {MOST_SESSIONS} times; its answers hide no more: train "
                "from the beginning"
            )

    def resumed(self) -> "TrainingState":
        """Return the state for another session."""
        return msgspec.structs.replace(self, sessions=self.sessions + 1)

    def to_bytes(self) -> bytes:
        """Return what the other side must know of it: iterations and their sessions."""
        each = b"".join(map(_offer, self.iterations, self.marks))
        return each.rjust(self.size_bytes(), b"\xff")

    @staticmethod
    def size_bytes() -> int:
        """Return the length of that."""
        return _KEPT * (_NUMBER_BYTES + MARK_BYTES)

    def common(self, theirs: bytes | memoryview, end: int) -> tuple[int, Residues]:
        """Return the last iteration that both sides can go on from, and the shares there.

        Args:
            theirs: What `to_bytes` returned at the other side.
            end: The plan's iterations: where both have done all, the last one is done again, as
                a session has its result from its end alone.

        Raises:
            StateError: There is none.
        """
        size = _NUMBER_BYTES + MARK_BYTES
        offers = {bytes(theirs[start : start + size]) for start in range(0, len(theirs), size)}
        kept = zip(self.iterations, self.marks, self.shares, strict=True)
        for iteration, mark, shares in reversed(list(kept)):
            if iteration < end and _offer(iteration, mark) in offers:
                return iteration, np.array(shares, np.uint64)
        raise StateError(
            "the two sides stopped at different iterations, or in different trainings: train from "
            "the beginning"
        )

    def followed(self, iteration: int, mark: bytes, shares: Residues) -> "TrainingState":
        """Return the state after another iteration, of a session."""
        kept = self.iterations.index(iteration - 1)
        return msgspec.structs.replace(
            self,
            iterations=(iteration - 1, iteration),
            marks=(self.marks[kept], mark),
            shares=(self.shares[kept], tuple(shares.tolist())),
        )


def _offer(iteration: int, mark: bytes) -> bytes:
    return iteration.to_bytes(_NUMBER_BYTES, "big") + mark
