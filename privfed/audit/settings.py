"""How much work an audit is."""

from __future__ import annotations

from dataclasses import dataclass

from privfed.audit.faults import FAULTS
from privfed.errors import ConfigError


@dataclass(frozen=True)
class AuditSettings:
    """How much work an audit is.

    Attributes:
        quick: Whether this is the short audit; only written down.
        seed: Seed of noise and coins in simulation; None draws them from the operating system.
        parties: Parties of the canary runs, ≥ 2.
        target_epsilon: The ε of the canary runs' plan.
        attacked_rows: Rows that the onlookers attack, a multiple of 64 at most the table's.
        shadow_models: Models that LiRA trains.
        epochs: Epochs of LiRA's plain training.
        steps: Steps of LiRA's private training.
        member_epsilons: The ε of each of LiRA's private trainings.
        canaries: Canaries of the run that gives the lower bound.
        small_canaries: Canaries of each of the many smaller runs.
        rounds: Rounds of a canary run, ≥ 5.
        runs: Runs of each planted fault, and of the sound product.
        most_rows: Rows of a larger data set that are drawn for the audit.
    """

    quick: bool = False
    seed: int | None = None
    parties: int = 4
    target_epsilon: float = 1.0
    attacked_rows: int = 64
    shadow_models: int = 80
    epochs: int = 150
    steps: int = 300
    member_epsilons: tuple[float, ...] = (8.0, 1.0)
    canaries: int = 5000
    small_canaries: int = 1000
    rounds: int = 8
    runs: int = 20
    most_rows: int = 1000

    def __post_init__(self) -> None:
        least = {"parties": 2, "shadow_models": 8, "rounds": 5, "runs": 1, "attacked_rows": 1}
        for name, value in least.items():
            if getattr(self, name) < value:
                raise ConfigError(f"an audit needs {name} of at least {value}")

    @classmethod
    def short(cls, seed: int | None = None) -> AuditSettings:
        """Return the settings of a quick audit: fewer and shorter shadow models, nothing else."""
        return cls(quick=True, seed=seed, shadow_models=32, epochs=60, steps=120)

    @property
    def work(self) -> int:
        """Units of work that `Advance` will have been told of at the end."""
        private = len(self.member_epsilons) * self.shadow_models
        planted = self.runs * (len(FAULTS) + 1)
        return 4 + self.shadow_models + private + (len(FAULTS) + 3) + planted
