"""What has been spent of a granted (ε, δ), kept on disk. A round is paid for before it runs."""

from __future__ import annotations

import hashlib
import json
import math
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import msgspec

from privfed.dp.accounting import ADJACENCY
from privfed.dp.tuning import Payable, read_payable
from privfed.errors import BudgetExceededError, ConfigError, ReplayError
from privfed.rounding import as_given, at_most
from psi.storage import Process, Record, json_read

if TYPE_CHECKING:  # it brings SciPy
    from privfed.dp.spending import Spent

_VERSION: Literal[2] = 2
_ADJACENCIES = {1: (ADJACENCY, "add or remove one unit"), 2: (ADJACENCY,)}  # one, renamed


class _Paid(msgspec.Struct, frozen=True):
    plan: dict[str, Any]
    rounds: Annotated[int, msgspec.Meta(ge=0)]


class _Kept(msgspec.Struct, frozen=True):
    """The file."""

    version: Literal[1, 2]  # 1 had no digest
    epsilon: float
    delta: float
    privacy_unit: str
    adjacency: str
    spent: list[_Paid]
    sha256: str = ""

    @property
    def digest(self) -> str:
        """SHA-256 of all but itself: a changed number would forget what is spent."""
        if self.version == 1:
            return ""
        text = json.dumps(msgspec.to_builtins(msgspec.structs.replace(self, sha256="")))
        return hashlib.sha256(text.encode()).hexdigest()


class PrivacyBudget:
    """One party's, or one federation's, budget over every training on the same units.

    A context manager; once it is closed, another process may open it.

    Rounds of different plans compose by their privacy loss distributions, each for the rows of its
    worst-placed units. A round counts before it runs, so that one that dies half-way is paid for.

    Args:
        epsilon: What may be spent in all, against insiders.
        delta: The δ of that.
        privacy_unit: What is protected; every plan must protect the same.
        path: File that keeps the budget across restarts; created where it does not exist, locked
            while in use. None keeps it in memory, for simulation.
        plans: Which alone may spend from it; None: all that fit.

    Raises:
        ConfigError: A number is out of range, or the file is no such budget or in use.
    """

    def __init__(
        self,
        epsilon: float,
        delta: float,
        *,
        privacy_unit: str,
        path: Path | None = None,
        plans: Sequence[Payable] | None = None,
    ) -> None:
        if not (epsilon > 0 and math.isfinite(epsilon)) or not 0 < delta < 1:
            raise ConfigError("a budget needs an epsilon above 0 and a delta between 0 and 1")
        self.epsilon, self.delta, self.privacy_unit = epsilon, delta, privacy_unit
        self._only = None if plans is None else {plan.fingerprint for plan in plans}
        self._process, self._one = Process(), threading.RLock()
        self._spent: dict[str, Spent] = {}
        self._affordable: dict[str, int] = {}
        self._file = Record(path, refusal=ConfigError)
        try:
            self._read()
        except BaseException:
            self._file.close()  # a traceback that somebody keeps must not hold the lock
            raise

    def __repr__(self) -> str:
        return f"PrivacyBudget(epsilon={self.epsilon}, delta={self.delta}, {self.privacy_unit!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *problem: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the file; nothing can be spent any more."""
        with self._one:
            self._file.close()

    @property
    def spent_epsilon(self) -> float:
        """ε at `delta` of all rounds so far, against insiders."""
        with self._one:
            return self._epsilon(self._together())

    def statement(self) -> str:
        """Return in one line what is spent, with all that an ε needs to mean something."""
        with self._one:  # ε and sampling of the same rounds
            ways = {way for plan, _ in self._spent.values() for way in plan.sampling.split("; ")}
            sampling = "; ".join(sorted(ways))
            spent = self.spent_epsilon
        return (
            f"spent ε = {at_most(spent)} of {as_given(self.epsilon)} at δ = "
            f"{as_given(self.delta)} ({ADJACENCY}: {self.privacy_unit}; "
            f"sampling: {sampling or 'no round yet'})"
        )

    def rounds_spent(self, plan: Payable) -> int:
        """Return how many rounds of a plan are paid for, in this process or an earlier one."""
        spent = self._spent.get(plan.fingerprint)
        return spent[1] if spent else 0

    def rounds_left(self, plan: Payable) -> int:
        """Return how many further rounds of a plan its own number and this budget allow.

        Raises:
            ConfigError: The plan protects another unit.
        """
        self._check_unit(plan)
        return self._affordable_rounds(plan) - self.rounds_spent(plan)

    def spend_round(self, plan: Payable) -> int:
        """Pay for the next round of a plan, or for a whole tuning; it is on disk on return.

        Returns:
            The round's number, from 1.

        Raises:
            BudgetExceededError: The round would exceed the budget, or the plan's rounds are done;
                nothing is spent.
            ConfigError: The plan protects another unit, the budget was closed, or its file cannot
                be written.
            ReplayError: This is a fork: both processes would spend the same rounds.
        """
        if not self._process.is_this:
            raise ReplayError("this budget belongs to the process it was forked from")
        with self._one:
            if self._file.closed:
                raise ConfigError("this budget was closed: open it again")
            return self._spend(plan)

    def _spend(self, plan: Payable) -> int:
        self._check_unit(plan)
        name, done = plan.fingerprint, self.rounds_spent(plan)
        if done >= plan.rounds:
            raise BudgetExceededError(f"the plan's {plan.rounds} rounds are spent: make a new plan")
        if not self._spent.keys() - {name}:
            self._affordable_rounds(plan)  # one search for all its rounds
        # Of several plans each round leaves less for the others: ask for this round only.
        fitting = self._affordable.get(name)
        if not (self._fits(plan, done + 1) if fitting is None else done < fitting):
            wanted = self._epsilon(self._together(plan, done + 1))
            raise BudgetExceededError(
                f"round {done + 1} would spend epsilon={at_most(wanted)} of "
                f"{as_given(self.epsilon)} (delta={as_given(self.delta)}, {self.privacy_unit}): "
                "stop here, or get a larger budget agreed"
            )
        self._spent[name] = (plan, done + 1)
        self._affordable = {each: most for each, most in self._affordable.items() if each == name}
        self._write()
        return done + 1

    def _check_unit(self, plan: Payable) -> None:
        if plan.privacy_unit != self.privacy_unit:
            raise ConfigError(
                f"the budget protects {self.privacy_unit!r} and the plan {plan.privacy_unit!r}: "
                "use one unit, or a budget for each"
            )
        if self._only is not None and plan.fingerprint not in self._only:
            raise BudgetExceededError(
                "this budget is for other plans: what it pays for was accounted with their noise "
                "and sampling; use those"
            )

    def _affordable_rounds(self, plan: Payable) -> int:
        """Find the most rounds of the plan that fit beside what the others have spent."""
        name = plan.fingerprint
        if name not in self._affordable:
            low, high = self.rounds_spent(plan), plan.rounds
            if self._fits(plan, high):
                low = high
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if self._fits(plan, middle) else (low, middle)
            self._affordable[name] = low
        return self._affordable[name]

    def _fits(self, plan: Payable, rounds: int) -> bool:
        from privfed.dp.spending import fits

        return fits(self._together(plan, rounds), self.epsilon, self.delta)

    def _epsilon(self, spent: list[Spent]) -> float:
        from privfed.dp.spending import spent_epsilon

        return spent_epsilon(spent, self.delta)

    def _together(self, plan: Payable | None = None, rounds: int = 0) -> list[Spent]:
        """Return all that is spent, with the rounds of one plan replaced."""
        instead = {} if plan is None else {plan.fingerprint: (plan, rounds)}
        return [each for each in (self._spent | instead).values() if each[1] > 0]

    def _read(self) -> None:
        text = self._file.read()
        if text is None:
            self._write()
            return
        try:
            kept = json_read(text, _Kept)
            if kept.sha256 != kept.digest or kept.adjacency not in _ADJACENCIES[kept.version]:
                raise ValueError
            spent = [(read_payable(each.plan), each.rounds) for each in kept.spent]
            found = {plan.fingerprint: (plan, rounds) for plan, rounds in spent}
            if len(found) < len(spent) or any(rounds > plan.rounds for plan, rounds in spent):
                raise ValueError
            if {plan.privacy_unit for plan, _ in spent} - {kept.privacy_unit}:
                raise ValueError
        except ValueError:
            raise ConfigError(
                f"{self._file} is no privacy budget: restore it from a copy; a new one would "
                "forget what is spent"
            ) from None
        granted = (kept.epsilon, kept.delta, kept.privacy_unit)
        if granted != (self.epsilon, self.delta, self.privacy_unit):
            raise ConfigError(
                f"{self._file} grants epsilon={granted[0]} at delta={granted[1]} for "
                f"{granted[2]!r}: ask for the same"
            )
        self._spent = found

    def _write(self) -> None:
        spent = [_Paid(plan.to_dict(), rounds) for plan, rounds in self._spent.values()]
        kept = _Kept(_VERSION, self.epsilon, self.delta, self.privacy_unit, ADJACENCY, spent)
        kept = msgspec.structs.replace(kept, sha256=kept.digest)
        self._file.write(json.dumps(msgspec.to_builtins(kept), indent=1))
