"""What choosing the best of several private trainings costs, as one thing that a budget pays for.

A run is a training with all of its releases and the release of its score. `privfed.dp.runs` has
the numbers of runs; docs/accounting.md says what is proved, and who must see nothing of the runs.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from privfed.dp.accounting import ADJACENCY, check_delta, least_noise
from privfed.dp.plan import PrivacyPlan
from privfed.dp.runs import DRAW_ERROR, RandomRuns, Runs, runs_from_dict, runs_to_dict
from privfed.errors import ConfigError, PrivacyWarning
from privfed.rounding import as_given, at_most

if TYPE_CHECKING:  # which pays for what is here
    from privfed.dp.budget import PrivacyBudget

_LEAST_DELTA = 1e-60  # with random runs, so that drawing their number costs no digit of it
_DRAWING = 1e-6  # of δ, that it is given


@dataclass(frozen=True, kw_only=True)
class TunedPlan:
    """The best of several runs of one plan: one charge, (ε, δ), for all of them.

    Attributes:
        plan: What one run releases, and how often.
        runs: How many runs there are. Of a random number nothing may be seen but the best run's
            model and score: no other run, no curve, not how many there were, nor how long it took.
        score: What a run's score releases: a plan of its own for the same units. None: the score
            is a function of the run's releases and of public data.
        delta: The δ of the whole.
        trusted_parties: Whether several parties, who see every run, are trusted with them. With a
            random number of runs this must be said, as nothing protects a party from the others.

    Raises:
        ConfigError: The plans protect different units, a number is out of range, or several parties
            would see runs that nobody may see.
    """

    plan: PrivacyPlan
    runs: Runs
    score: PrivacyPlan | None
    delta: float
    trusted_parties: bool = False

    def __post_init__(self) -> None:
        check_delta(self.delta)
        units = {each.privacy_unit for each in self._released}
        if len(units) > 1:
            raise ConfigError(f"the plan and its score protect {sorted(units)}: use one unit")
        if isinstance(self.runs, RandomRuns):
            if self.delta < _LEAST_DELTA:
                raise ConfigError(f"random runs have a delta from {_LEAST_DELTA:g} up")
            if self._several and not self.trusted_parties:
                raise ConfigError(
                    "parties see every run, and a random number of runs hides none from them: use "
                    "FixedRuns, or say trusted_parties=True if they need no protection from "
                    "each other"
                )

    @property
    def _released(self) -> tuple[PrivacyPlan, ...]:
        return (self.plan,) if self.score is None else (self.plan, self.score)

    @property
    def _several(self) -> bool:
        return any(each.parties > 1 for each in self._released)

    @property
    def rounds(self) -> int:
        """A budget pays for all in one: 1."""
        return 1

    @property
    def privacy_unit(self) -> str:
        """What is protected, in words."""
        return self.plan.privacy_unit

    @property
    def adjacency(self) -> str:
        """Which data sets are neighbours."""
        return ADJACENCY

    @property
    def sampling(self) -> str:
        """How rows come into a step."""
        return "; ".join(dict.fromkeys(each.sampling for each in self._released))

    @property
    def accountant(self) -> str:
        """What computed ε."""
        if isinstance(self.runs, RandomRuns):
            return (
                "Rényi divergences by quadrature, Papernot and Steinke's theorem, "
                f"{self.plan.accountant}"
            )
        return self.plan.accountant

    @cached_property
    def epsilon(self) -> float:
        """What the worst-placed unit spends in all runs together."""
        if isinstance(self.runs, RandomRuns):
            return self._epsilon_of_the_best(self.runs)
        from privfed.dp.spending import spent_epsilon

        return spent_epsilon(self._composed(self.runs.count), self.delta)

    @cached_property
    def epsilon_once(self) -> float:
        """What one run and its score spend."""
        from privfed.dp.spending import spent_epsilon

        return spent_epsilon(self._composed(1), self.delta)

    def _composed(self, count: int) -> list[tuple[PrivacyPlan, int]]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PrivacyWarning)  # the plans themselves have said it
            several = [
                dataclasses.replace(each, rounds=count * each.rounds, target_epsilon=None)
                for each in self._released
            ]
        return [(each, each.rounds) for each in several]

    def _epsilon_of_the_best(self, runs: RandomRuns) -> float:
        from privfed.dp.renyi import ORDERS, divergences, shifted
        from privfed.dp.spending import Deltas

        once = np.zeros(len(ORDERS))
        for each in self._released:
            found = each.rounds * divergences(each.round_kinds)
            once += shifted(found, each.gap(each.rounds))
        best = runs.divergences(once, Deltas(self._composed(1), self.delta))
        # Canonne, Kamath, Steinke (arXiv 2004.00010), proposition 12.
        delta = self.delta * (1 - _DRAWING)
        least = best + np.log1p(-1 / ORDERS) - (math.log(delta) + np.log(ORDERS)) / (ORDERS - 1)
        epsilon = max(0.0, float(np.min(least)) + 1e-12)
        drawing = DRAW_ERROR * (1 + math.exp(min(epsilon, 700.0)))
        return epsilon if drawing <= _DRAWING * self.delta else math.inf

    def budget_of_a_run(self) -> PrivacyBudget:
        """Return a budget, in memory, that allows one run and its score, and nothing else."""
        from privfed.dp.budget import PrivacyBudget

        granted = self.epsilon_once * (1 + 1e-6) + 1e-9  # composed in another order
        plans = [self.plan] if self.score is None else [self.plan, self.score]
        return PrivacyBudget(granted, self.delta, privacy_unit=self.privacy_unit, plans=plans)

    def spent(self, rounds: int) -> float:
        """Return ε at `delta` after no tuning or one."""
        return self.epsilon if rounds else 0.0

    @cached_property
    def fingerprint(self) -> str:
        """Hash of every setting: equal for two tunings if and only if their settings are."""
        text = json.dumps(self.to_dict(), sort_keys=True)
        return hashlib.sha256(b"privfed/1/tuned plan\x00" + text.encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain values; `from_dict` is the way back."""
        return {
            "plan": self.plan.to_dict(),
            "runs": runs_to_dict(self.runs),
            "score": None if self.score is None else self.score.to_dict(),
            "delta": self.delta,
            "trusted_parties": self.trusted_parties,
        }

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> TunedPlan:
        """Return the tuning that `to_dict` described, through JSON or not.

        Raises:
            ConfigError: The settings are no tuning's.
        """
        try:
            read = {"plan": PrivacyPlan.from_dict(settings["plan"])}
            if settings["score"] is not None:
                read["score"] = PrivacyPlan.from_dict(settings["score"])
            return cls(**(settings | read | {"runs": runs_from_dict(settings["runs"])}))
        except (TypeError, KeyError, AttributeError):
            raise ConfigError("these are not the settings of a tuned plan") from None

    def statement(self) -> str:
        """Return in one line what is promised, with all that an ε needs to mean something."""
        who = f"who sees all of {self.runs}"
        if isinstance(self.runs, RandomRuns):
            who = f"who sees the best of {self.runs} and nothing else of them"
            if self._several:
                who += ", which the parties, who see all, are trusted with"
        score = "public or read off the releases" if self.score is None else "private and paid"
        return (
            f"ε = {at_most(self.epsilon)} for {who}, δ = {as_given(self.delta)} "
            f"({self.adjacency}: {self.privacy_unit}; sampling: {self.sampling}; scores: {score}; "
            f"{self.accountant})"
        )


Payable = PrivacyPlan | TunedPlan
"""What a budget pays for."""


def read_payable(settings: dict[str, Any]) -> Payable:
    """Return the plan or the tuning that `to_dict` described.

    Raises:
        ConfigError: The settings are neither's.
    """
    kind = TunedPlan if "runs" in settings else PrivacyPlan
    return kind.from_dict(settings)


def calibrate_tuning(
    target_epsilon: float,
    plan: PrivacyPlan,
    *,
    runs: Runs,
    score: PrivacyPlan | None,
    delta: float | None = None,
    trusted_parties: bool = False,
) -> TunedPlan:
    """Return the tuning with about the least noise in a run that keeps all to `target_epsilon`.

    Args:
        target_epsilon: Asked ε > 0 of the whole tuning.
        plan: What one run releases; its noise multiplier is replaced.
        runs: As in `TunedPlan`.
        score: As in `TunedPlan`; it stays as it is.
        delta: The δ of the whole; None: the plan's.
        trusted_parties: As in `TunedPlan`.

    Raises:
        ConfigError: A value outside its range, or an ε that no noise reaches: the score alone may
            cost more.
    """
    if not target_epsilon > 0 or not math.isfinite(target_epsilon):
        raise ConfigError(f"epsilon must be a positive number, not {target_epsilon}")

    def tuned(noise_multiplier: float) -> TunedPlan:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PrivacyWarning)
            one = dataclasses.replace(plan, noise_multiplier=noise_multiplier, target_epsilon=None)
        return TunedPlan(
            plan=one,
            runs=runs,
            score=score,
            delta=plan.delta if delta is None else delta,
            trusted_parties=trusted_parties,
        )

    found = least_noise(
        lambda noise: tuned(noise).epsilon, target_epsilon, 2 * plan.noise_multiplier
    )
    return tuned(found)
