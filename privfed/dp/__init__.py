"""Differential privacy: what noise costs, how much is needed, where its randomness comes from."""

from privfed.dp.accounting import Placement, calibrate_noise_multiplier, dp_sgd_epsilon
from privfed.dp.budget import PrivacyBudget
from privfed.dp.plan import Noise, PrivacyPlan, calibrate
from privfed.dp.randomness import SecretRandomness, SeededRandomness

__all__ = [
    "Noise",
    "Placement",
    "PrivacyBudget",
    "PrivacyPlan",
    "SecretRandomness",
    "SeededRandomness",
    "calibrate",
    "calibrate_noise_multiplier",
    "dp_sgd_epsilon",
]
