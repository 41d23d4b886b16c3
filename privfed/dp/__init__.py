"""Differential privacy: what noise costs, how much is needed, where its randomness comes from."""

from privfed.dp.accounting import Placement, calibrate_noise_multiplier, dp_sgd_epsilon
from privfed.dp.plan import DPSGDPlan, plan_dp_sgd
from privfed.dp.randomness import SecretRandomness, SeededRandomness

__all__ = [
    "DPSGDPlan",
    "Placement",
    "SecretRandomness",
    "SeededRandomness",
    "calibrate_noise_multiplier",
    "dp_sgd_epsilon",
    "plan_dp_sgd",
]
