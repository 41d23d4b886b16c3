"""What ε costs: plan local DP-SGD for two parties that share some of their people.

Run: python examples/privacy.py
"""

from privfed.dp import calibrate
from privfed.rounding import at_most

for target in (1.0, 3.0, 8.0):
    plan = calibrate(
        target,
        1e-5,
        noise="local",
        rounds=20,
        rows=(325, 365),
        expected_batch_size=64,
        l2_clip_norm=1.0,
        placements=[(1, 0), (0, 1), (1, 1), (2, 1)],  # the worst: two rows here, one there
        privacy_unit="all rows of one Dress_ID at both parties",
    )
    print(
        f"{plan.statement()}: noise multiplier {plan.noise_multiplier:.2f} for {plan.steps} steps; "
        f"a unit with a single row spends {at_most(plan.epsilon_single_row)}"
    )
    assert plan.epsilon <= target
