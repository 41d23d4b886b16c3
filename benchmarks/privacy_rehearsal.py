"""How benchmarks.privacy_accuracy trains while it tunes: the arms' own law, in plain floats.

Coins and noise are seeded and nobody's secret, sums are in no exact order and noise is continuous,
so that all rows' gradients come from one product. What is reported is trained by the library.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from benchmarks.privacy_split import Rows
from privfed.dp import PrivacyPlan
from privfed.training.clipping import RowLosses

Weights = dict[str, Tensor]


def rehearse(
    model: nn.Module,
    rows: Sequence[Rows],
    row_losses: RowLosses,
    plan: PrivacyPlan,
    *,
    learning_rate: float,
    seed: int,
    averaged: bool,
) -> None:
    """Train `model` in place as the plan has it.

    Parties either average weights after local steps with noise of their own, or step together on
    noisy sums, as one learner with the rows of all.
    """
    rate, clip = plan.sampling_rates[0], plan.l2_clip_norm
    learners = rows if averaged else [tuple(torch.cat(each) for each in zip(*rows, strict=True))]
    deviation = clip * plan.noise_multiplier * (1 if averaged else math.sqrt(noises(plan)))
    features, labels = (
        nn.utils.rnn.pad_sequence(list(each), batch_first=True)
        for each in zip(*learners, strict=True)
    )
    counts = torch.tensor([len(own) for _, own in learners])
    held = torch.arange(features.shape[1]) < counts[:, None]
    model.eval()  # without dropout, as in all private arms

    def loss(weights: Weights, row: Tensor, label: Tensor) -> Tensor:
        return row_losses(functional_call(model, weights, (row[None],)), label[None]).sum()

    gradients = vmap(vmap(grad(loss), in_dims=(None, 0, 0)))
    weights = {
        name: each.detach().repeat(len(learners), *[1] * each.ndim).requires_grad_()
        for name, each in model.named_parameters()
    }
    adam = torch.optim.Adam(weights.values(), lr=learning_rate)
    random = torch.Generator().manual_seed(seed)
    steps = plan.steps_per_round[0] if averaged else 1
    for step in range(1, plan.rounds * steps + 1):
        found = gradients({n: w.detach() for n, w in weights.items()}, features, labels)
        norms = sum(each.flatten(2).square().sum(2) for each in found.values()).sqrt()
        drawn = held & (torch.rand(held.shape, generator=random) < rate)
        shares = drawn * (clip / norms.clamp(min=clip))
        for name, each in found.items():
            total = torch.einsum("ln,ln...->l...", shares, each)
            noise = deviation * torch.randn(total.shape, generator=random)
            expected = (rate * counts).reshape(-1, *[1] * (total.ndim - 1))
            weights[name].grad = (total + noise) / expected
        adam.step()
        if step % steps == 0:
            with torch.no_grad():
                for each in weights.values():
                    each.copy_(torch.einsum("l,l...->...", counts / counts.sum(), each))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(weights[name][0])


def noises(plan: PrivacyPlan) -> float:
    """Return the variance of the noise of all parties' sum, over that which the plan counts."""
    together = {
        "central": 1.0,
        "local": float(plan.parties),
        "shares": plan.parties / (plan.quorum - plan.colluders),  # colluders' included
    }
    return together[plan.noise]
