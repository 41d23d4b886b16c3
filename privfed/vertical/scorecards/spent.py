"""What scorecards of one table have spent, in a file beside it, across runs.

A scorecard counts before its noisy counts are sent, and stays counted whatever becomes of the
session. A damaged file lets nothing be counted; one that its owner takes away, or that lies beside
another copy of the table, is not noticed.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated

import msgspec

from privfed.dp import PrivacyPlan
from privfed.errors import BudgetExceededError, ConfigError
from privfed.rounding import as_given, at_most
from privfed.vertical.scorecards.plan import combined_privacy
from psi.storage import Record, json_bytes, json_read

__all__ = ["ScorecardsSpent"]

_Multiplier = Annotated[float, msgspec.Meta(gt=0, le=1e9)]


class _Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file: each scorecard's noise over its sensitivity."""

    unit: str
    noise_multipliers: tuple[_Multiplier, ...]
    sha256: str = ""
    format: str = "privfed vertical scorecards spent 1"

    @property
    def digest(self) -> str:
        """SHA-256 of the others: a changed digit would forget what was spent."""
        unsigned = msgspec.structs.replace(self, sha256="")
        return hashlib.sha256(json_bytes(unsigned)).hexdigest()


class ScorecardsSpent:
    """The count of one table's unit."""

    def __init__(self, path: Path, epsilon_in_all: float | None = None) -> None:
        """Take a file.

        Args:
            path: Where the count is kept; there may be none yet.
            epsilon_in_all: What all scorecards may cost a unit; None: what one does, so that a
                second one is refused.
        """
        self._path, self._most = path, epsilon_in_all

    def check(self, plan: PrivacyPlan) -> None:
        """Check that a scorecard fits; nothing is counted.

        Raises:
            BudgetExceededError: It does not fit.
            ConfigError: The file is damaged, or counts another unit.
        """
        if not self._path.exists():  # nothing is made yet, not even its folder
            self._fitting(plan, [])
            return
        with Record(self._path, refusal=ConfigError) as record:
            self._fitting(plan, self._read(record, plan))

    def charge(self, plan: PrivacyPlan) -> PrivacyPlan:
        """Count a scorecard.

        Returns:
            What all of them, this one included, cost together.

        Raises:
            BudgetExceededError: It does not fit; nothing is counted.
            ConfigError: The file is damaged, counts another unit, or cannot be written.
        """
        with Record(self._path, refusal=ConfigError) as record:
            before = self._read(record, plan)
            total = self._fitting(plan, before)
            kept = _Kept(plan.privacy_unit, (*before, plan.noise_multiplier))
            record.write(json_bytes(msgspec.structs.replace(kept, sha256=kept.digest)).decode())
        return total

    def _fitting(self, plan: PrivacyPlan, before: list[float]) -> PrivacyPlan:
        total = combined_privacy(plan, before)
        most = (plan.target_epsilon or plan.epsilon) if self._most is None else self._most
        # One alone keeps to what was chosen; adding it up again may round.
        if (total if before else plan).epsilon > most:
            raise BudgetExceededError(
                f"{self._path} counts {len(before)} earlier scorecard"
                f"{'' if len(before) == 1 else 's'} of this table: with this one they cost "
                f"ε = {at_most(total.epsilon)} at δ = {as_given(plan.delta)} "
                f"({plan.adjacency}: {plan.privacy_unit}; sampling: {plan.sampling}), where "
                f"{as_given(most)} is allowed: keep to the earlier one, or allow more by "
                "`epsilon_in_all`"
            )
        return total

    def _read(self, record: Record, plan: PrivacyPlan) -> list[float]:
        text = record.read()
        if text is None:
            return []
        try:
            kept = json_read(text, _Kept)
        except ValueError:
            kept = _Kept("", ())
        if kept.sha256 != kept.digest:
            raise ConfigError(
                f"{self._path} is damaged, which counts what scorecards of this table spent: "
                "restore it from a copy; a new one would forget that"
            )
        if kept.unit != plan.privacy_unit:
            raise ConfigError(f"{self._path} counts {kept.unit}: name another file for this count")
        return list(kept.noise_multipliers)
