"""The private arms on data that can be learnt, beside data on which none could show its price.

Dresses are hardly told better than by their commonest class, so that arms with privacy and without
end alike. What privacy costs is seen on digits, dealt to ten parties. There a model with few
weights serves best: noise has as many coordinates.
"""

from __future__ import annotations

from privfed import defaults
from privfed.data.dataset import DataKind
from privfed.experiment.settings import PrivateModel, Settings

BESIDE: DataKind = "digits"
_ARMS = ("federated", "local-noise", "noise-shares", "central-noise")


def usual_private_model(kind: DataKind) -> PrivateModel:
    """Return what the private arms train on such data, unless another is asked for."""
    return "linear" if kind in ("digits", "breast-cancer") else defaults.PRIVATE_MODEL


def settings_beside(settings: Settings) -> Settings:
    """Return what runs on the data that can be learnt: the same ε, δ and seeds; rounds of one step.

    Args:
        settings: What was asked of the benchmark beside which it runs.
    """
    return Settings(
        splits=("disjoint",),
        parties=defaults.PARTIES_BESIDE,
        arms=_ARMS,
        rounds=settings.private_steps,
        private_rounds=settings.private_rounds,
        private_steps=settings.private_steps,
        seeds=settings.seeds,
        epsilons=settings.epsilons,
        delta=settings.delta,
        expected_batch_size=defaults.EXPECTED_BATCH_BESIDE,
        private_model=usual_private_model(BESIDE),
        centred=settings.centred,
    )
