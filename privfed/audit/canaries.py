"""A training run with canaries in it, through privfed's own pieces, as an auditor records it.

The model is a logistic regression on real rows with one further weight for each canary. A canary's
row has ten clip norms on its own axis and zeros elsewhere, and its loss is its score. So its
gradient has that length and direction whatever the model is ("Dirac canaries" of arXiv 2305.08846,
section 6), and it has to be clipped. A canary that is left out has a row of zeros, whose gradient
is zero: the sums are as if it were not there, and the plan's row counts stay true.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from privfed.dp import Noise, PrivacyBudget, PrivacyPlan, calibrate
from privfed.dp.randomness import NoiseSource
from privfed.training import (
    CentralNoise,
    ClippedSum,
    Contributor,
    LocalNoise,
    NoisySums,
    RecordGradients,
    Released,
    SharedNoise,
    train_private,
)

REACH = 10.0  # length of a canary's gradient, in clip norms
_CANARY = -1  # its label

Floats = NDArray[np.float64]
Sources = Callable[[], NoiseSource]
"""Makes a fresh source of randomness at every call."""

MakeSums = Callable[[PrivacyPlan, Sequence[NoiseSource], bool], NoisySums]
MakeContributor = Callable[
    [nn.Module, Tensor, Tensor, PrivacyPlan, int, NoiseSource, bool], Contributor
]


@dataclass(frozen=True)
class CanaryRun:
    """One run as an auditor sees it, who knows more than any adversary.

    Attributes:
        plan: What was claimed.
        included: (m,) which canaries were in.
        contributed: (rounds, d) sum over the parties before any noise: the truth.
        released: (rounds, d) what was released.
        largest: The largest value that a single canary added to a party's sum, in clip norms.
        canary_axes: Where in d the canaries' weights begin.
    """

    plan: PrivacyPlan
    included: NDArray[np.bool_] = field(repr=False)
    contributed: Floats = field(repr=False)
    released: Floats = field(repr=False)
    largest: float
    canary_axes: int

    @property
    def residuals(self) -> Floats:
        """(rounds, d) the noise that was really added, in clip norms."""
        return (self.released - self.contributed) / self.plan.l2_clip_norm

    @property
    def scores(self) -> Floats:
        """(m,) each canary's inner product with all that was released: high for one that is in."""
        total: Floats = self.released[:, self.canary_axes :].sum(axis=0)
        return total


def canary_plan(
    target_epsilon: float,
    *,
    noise: Noise = "shares",
    rows: int,
    features: int,
    canaries: int,
    parties: int,
    rounds: int,
    sampling_rate: float,
    delta: float = 1e-5,
) -> PrivacyPlan:
    """Calibrate a plan for a run with that many real rows and canaries, dealt evenly."""
    counts = [len(part) for part in np.array_split(np.arange(rows + canaries), parties)]
    return calibrate(
        target_epsilon,
        delta,
        noise=noise,
        rows=counts,
        rounds=rounds,
        l2_clip_norm=1.0,
        sampling_rates=[sampling_rate] * parties,
        steps_per_round=[1] * parties,
        privacy_unit="one row (canaries are rows)",
        dimension=features + canaries,
    )


def run_with_canaries(
    plan: PrivacyPlan,
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    sources: Sources,
    *,
    make_sums: MakeSums | None = None,
    make_contributor: MakeContributor | None = None,
) -> CanaryRun:
    """Train once on real rows and canaries, and record what was added and what was released.

    Args:
        plan: As `canary_plan` makes it.
        features: (n, d) real rows.
        labels: (n,) of them, 0 or 1.
        sources: Makes secret sources, or seeded ones in simulation.
        make_sums: Other sums than the plan's own, such as broken ones.
        make_contributor: Other parties than `RecordGradients`.

    Returns:
        The record of the run.
    """
    simulation = sources().simulation
    canaries = sum(plan.rows) - len(features)
    included = sources().coins(0.5, canaries)
    rows, width = len(features), features.shape[1]
    table = torch.zeros(rows + canaries, width + canaries)
    table[:rows, :width] = torch.from_numpy(features)
    own = torch.arange(canaries)
    table[rows + own, width + own] = (
        REACH * plan.l2_clip_norm * torch.from_numpy(included.astype(np.float32))
    )
    marks = torch.full((rows + canaries,), _CANARY, dtype=torch.int64)
    marks[:rows] = torch.from_numpy(labels)
    # Dealt in turn, so that every party has real rows and canaries.
    places = [torch.arange(party, rows + canaries, plan.parties) for party in range(plan.parties)]

    layer = nn.Linear(width + canaries, 1, bias=False)
    nn.init.zeros_(layer.weight)
    model = nn.Sequential(layer)
    contributors = [
        (make_contributor or _contributor)(
            model, table[place], marks[place], plan, party, sources(), simulation
        )
        for party, place in enumerate(places)
    ]
    noise = [sources() for _ in range(1 if plan.noise == "central" else plan.parties)]
    sums = _Recorder(plan, (make_sums or _sums)(plan, noise, simulation), width)
    budget = PrivacyBudget(plan.epsilon, plan.delta, privacy_unit=plan.privacy_unit)
    train_private(model, contributors, sums, budget, torch.optim.SGD(model.parameters(), lr=0.5))
    return CanaryRun(
        plan=plan,
        included=included,
        contributed=np.array(sums.contributed),
        released=np.array(sums.released),
        largest=sums.largest / plan.l2_clip_norm,
        canary_axes=width,
    )


def row_losses(scores: Tensor, labels: Tensor) -> Tensor:
    """Return the logistic loss of real rows, (n,); a canary's loss is its score."""
    scores = scores[:, 0]
    real = functional.binary_cross_entropy_with_logits(
        scores, labels.clamp(min=0).to(scores.dtype), reduction="none"
    )
    return torch.where(labels == _CANARY, scores, real)


class _Recorder:
    """Passes sums on and records them, as an auditor may, but no adversary."""

    def __init__(self, plan: PrivacyPlan, inner: NoisySums, canary_axes: int) -> None:
        self.plan, self._inner, self._canary_axes = plan, inner, canary_axes
        self.contributed: list[Floats] = []
        self.released: list[Floats] = []
        self.largest = 0.0

    def prepare(self, round_id: int) -> None:
        self._inner.prepare(round_id)

    def release(self, round_id: int, sums: Sequence[ClippedSum | None]) -> Released:
        released = self._inner.release(round_id, sums)
        flats = [each.flat for each in sums if each is not None]
        self.contributed.append(np.sum(flats, axis=0))
        self.released.append(released.total)
        # No other row's gradient has a part along a canary's axis.
        longest = max(float(np.abs(flat[self._canary_axes :]).max()) for flat in flats)
        self.largest = max(self.largest, longest)
        return released


def _sums(plan: PrivacyPlan, noise: Sequence[NoiseSource], simulation: bool) -> NoisySums:
    kinds: dict[str, Callable[..., NoisySums]] = {
        "shares": SharedNoise,
        "local": LocalNoise,
        "central": CentralNoise,
    }
    return kinds[plan.noise](plan, noise, simulation=simulation)


def _contributor(
    model: nn.Module,
    features: Tensor,
    labels: Tensor,
    plan: PrivacyPlan,
    party: int,
    source: NoiseSource,
    simulation: bool,
) -> Contributor:
    return RecordGradients(
        model, features, labels, plan, party, source, row_losses=row_losses, simulation=simulation
    )
