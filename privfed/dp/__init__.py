"""Differential privacy: what noise costs, how much is needed, and where it is drawn from."""

from privfed.dp.accounting import Placement, calibrate_noise_multiplier, dp_sgd_epsilon
from privfed.dp.budget import PrivacyBudget
from privfed.dp.calibration import calibrate
from privfed.dp.discrete import discrete_gaussian
from privfed.dp.domination import dominating_variance, domination_gap
from privfed.dp.plan import Noise, PrivacyPlan
from privfed.dp.randomness import SecretRandomness, SeededRandomness
from privfed.dp.runs import FixedRuns, RandomRuns
from privfed.dp.shares import NoiseShares
from privfed.dp.tuning import TunedPlan, calibrate_tuning
from privfed.dp.units import UnitPlacements, placements_from_ids

__all__ = [
    "FixedRuns",
    "Noise",
    "NoiseShares",
    "Placement",
    "PrivacyBudget",
    "PrivacyPlan",
    "RandomRuns",
    "SecretRandomness",
    "SeededRandomness",
    "TunedPlan",
    "UnitPlacements",
    "calibrate",
    "calibrate_noise_multiplier",
    "calibrate_tuning",
    "discrete_gaussian",
    "dominating_variance",
    "domination_gap",
    "dp_sgd_epsilon",
    "placements_from_ids",
]
