"""Training on noisy sums: one per round, which the budget pays for before it is made."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from privfed.dp import PrivacyBudget
from privfed.errors import ConfigError
from privfed.training.contributions import Clip, Contributor
from privfed.training.federated import OnRound
from privfed.training.noisy_sums import NoisySums


def train_private(
    model: nn.Module,
    contributors: Sequence[Contributor],
    sums: NoisySums,
    budget: PrivacyBudget,
    optimizer: torch.optim.Optimizer,
    *,
    clip: Clip | None = None,
    rounds: int | None = None,
    on_round: OnRound = lambda round_id, model, seconds, exchange: None,
) -> None:
    """Train `model` in place until the plan's rounds, or the given number of them, are done.

    Every round each party contributes a clipped sum, `sums` releases their noisy sum, and
    `optimizer` steps along it, divided by the expected number of rows. After a restart with the
    same budget file, training goes on with the next round that is not paid for.

    Args:
        model: The global model.
        contributors: One per party of the plan, in its order.
        sums: How the noisy sum is made; brings the plan.
        budget: What may be spent.
        optimizer: Steps on the model's parameters; all that it does is post-processing.
        clip: How client updates are clipped, if there are any.
        rounds: How many rounds at most; None: all that are left.
        on_round: Called after each round.

    Raises:
        BudgetExceededError: A round would exceed the budget, or all rounds of the plan are done;
            the round was not begun.
        ConfigError: The contributors are not the plan's parties; they or the clip follow another
            plan; or the plan is for a model of another size.
    """
    plan = sums.plan
    if len(contributors) != plan.parties:
        raise ConfigError(f"the plan has {plan.parties} parties, not {len(contributors)}")
    for place, each in enumerate(contributors):
        if each.plan != plan or each.party != place:
            raise ConfigError(
                f"contributor {place} is for party {each.party} of its plan, which must be the "
                "plan of the sums: make them from one plan, in its order"
            )
    if clip is not None and clip.plan != plan:
        raise ConfigError("the clip is another plan's: make it from the plan of the sums")
    expected = float(np.dot(plan.rows, plan.sampling_rates))
    parameters = [p for p in model.parameters() if p.requires_grad]
    size = sum(parameter.numel() for parameter in parameters)
    if clip is None and plan.dimension != size:
        raise ConfigError(
            f"the plan is for {plan.dimension} values and the model has {size} to train: "
            f"calibrate it with dimension={size}"
        )
    left = plan.rounds - budget.rounds_spent(plan)
    for _ in range(max(1, left) if rounds is None else rounds):
        round_id = budget.spend_round(plan)
        sums.prepare(round_id)
        start = time.perf_counter()
        contributed = [each.contribute(round_id) for each in contributors]
        train_seconds = time.perf_counter() - start
        released = sums.release(round_id, contributed)
        total = released.total if clip is None else clip.unpack(released.total)
        mean = torch.from_numpy(total / expected)
        sizes = [parameter.numel() for parameter in parameters]
        for parameter, part in zip(parameters, torch.split(mean, sizes), strict=True):
            parameter.grad = part.reshape(parameter.shape).to(parameter.dtype)
        optimizer.step()
        on_round(round_id, model, train_seconds, released)
