"""What ε costs: plan local DP-SGD for two parties that share some of their people.

Run: python examples/privacy.py
"""

from privfed.dp import plan_dp_sgd

for target in (1.0, 3.0, 8.0):
    plan = plan_dp_sgd(
        target,
        delta=1e-5,
        rounds=20,
        rows=(325, 365),
        expected_batch_size=64,
        l2_clip_norm=1.0,
        placements=[(1, 0), (0, 1), (1, 1), (2, 1)],  # the worst: two rows here, one there
        privacy_unit="all rows of one Dress_ID at both parties",
    )
    print(
        f"ε = {plan.epsilon:.3f} at δ = {plan.delta:g} ({plan.adjacency}: {plan.privacy_unit}; "
        f"{plan.sampling}; {plan.accountant}): noise multiplier {plan.noise_multiplier:.2f} "
        f"for {plan.steps} steps; a unit with a single row spends {plan.epsilon_single_row:.3f}"
    )
    assert plan.epsilon <= target
