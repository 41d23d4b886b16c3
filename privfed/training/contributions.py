"""What a party puts into a noisy sum: clipped gradients of its rows, or its own clipped update."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Literal, Protocol

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from privfed.dp import PrivacyPlan
from privfed.dp.randomness import NoiseSource, require_secret
from privfed.dp.units import check_units
from privfed.errors import ConfigError
from privfed.training.averaging import subtract
from privfed.training.clipping import (
    ClippedSum,
    GradientClipper,
    cross_entropy_by_row,
)
from privfed.training.local import LocalTrainer
from privfed.training.model import Arrays, get_arrays, set_arrays
from privfed.training.row_kernels import RowLosses
from privfed.training.rows import Features, PublicRows, count_rows
from psi.storage import Record, json_bytes, json_read

Floats = NDArray[np.float64]
_ROUNDING = 1e-9  # of a clipped vector's norm, in float64


class Contributor(Protocol):
    """One party's part of every round, computed on the model as it is then."""

    plan: PrivacyPlan  # what it samples and clips by
    party: int  # its place in the plan

    def contribute(self, round_id: int) -> ClippedSum:
        """Return this round's clipped sum, before any noise.

        Rows and updates that are not finite add nothing.

        Raises:
            ConfigError: The model's weights are not finite.
        """


class RecordGradients:
    """Record-level: clipped gradients of the rows that secret coins draw, one step per round.

    Args:
        model: The global model, whose weights are read every round.
        features: (n, …) rows of this party, or such by name, or a Dataset; n as in the plan.
        labels: (n,); None: a Dataset gives pairs.
        plan: Sampling and clipping.
        party: This party's place in the plan.
        randomness: Where the coins come from.
        row_losses: Each row's loss; by default the paper's cross-entropy.
        ids: The unit of each row, which are then checked against the plan's placements.
        simulation: Whether seeded coins are meant.
        public_rows: See `GradientClipper`.
        strict: See `GradientClipper`.

    Raises:
        ConfigError: The rows or the model don't fit the plan, or the coins are seeded.
    """

    def __init__(
        self,
        model: nn.Module,
        features: Features,
        labels: Tensor | None,
        plan: PrivacyPlan,
        party: int,
        randomness: NoiseSource,
        *,
        row_losses: RowLosses = cross_entropy_by_row,
        ids: ArrayLike | None = None,
        simulation: bool = False,
        public_rows: PublicRows | None = None,
        strict: bool = False,
    ) -> None:
        require_secret([randomness], simulation)
        rows = count_rows(features)
        check_rows(plan, party, rows, ids)
        self._clipper = GradientClipper(
            model,
            features,
            labels,
            plan.l2_clip_norm,
            row_losses=row_losses,
            expected_rows=plan.sampling_rates[party] * rows,
            public_rows=public_rows,
            strict=strict,
        )
        self.plan, self.party = plan, party
        self._randomness = randomness

    @property
    def method(self) -> str:
        """How gradients are clipped; see `GradientClipper`."""
        return self._clipper.method

    def statement(self) -> str:
        """Return what the plan promises, and what is assumed of gradients for it."""
        return self._clipper.statement(self.plan)

    def contribute(self, round_id: int) -> ClippedSum:
        """Draw the plan's batch, which may be empty, and add up its clipped gradients."""
        return self._clipper.clipped_sum(self.plan.draw_batch(self.party, self._randomness))


class Clip(Protocol):
    """Turns an update into the vector that is summed, and the noisy sum back into updates."""

    plan: PrivacyPlan  # whose clip norm bounds what is sent

    def pack(self, update: Floats) -> Floats:
        """Return a vector of norm at most the plan's clip norm."""

    def unpack(self, total: Floats) -> Floats:
        """Return the noisy sum of clipped updates; it may set the next round's clip norm."""


class FixedClip:
    """Clips every update to the plan's norm (McMahan et al., arXiv 1710.06963).

    Args:
        plan: A client-level plan whose dimension is the update's.
    """

    def __init__(self, plan: PrivacyPlan) -> None:
        self.plan, self.norm = plan, plan.l2_clip_norm

    def pack(self, update: Floats) -> Floats:
        """Scale the update down to the norm, if it is longer."""
        return update * min(1.0, self.norm / max(_norm(update), 1e-300))

    def unpack(self, total: Floats) -> Floats:
        """Return the sum as it is."""
        return total


class _KeptNorm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file of an `AdaptiveClip`: a function of noisy sums, so no secret."""

    version: Literal[1]
    plan: str
    norm: Annotated[float, msgspec.Meta(gt=0)]


class AdaptiveClip:
    """Follows a quantile of the updates' norms (Andrew et al. 2021, arXiv 1905.03871).

    Beside its update, scaled to norm √(1 - s²), a client sends ±s: whether its norm was under the
    clip norm. The vector has norm 1, which is the plan's clip norm. So the plan's ε pays for the
    count, too; in exchange the noise on the updates is larger by the factor 1/√(1 - s²).

    Args:
        plan: A client-level plan with `l2_clip_norm` 1 and one dimension more than the update.
        initial_norm: The first round's clip norm, > 0.
        target_quantile: Share of updates that should be under the clip norm.
        learning_rate: Step size of the clip norm's logarithm.
        path: File that keeps the clip norm across restarts, beside the budget's; created where it
            does not exist, locked until `close`. None: a restart begins with `initial_norm`.

    Raises:
        ConfigError: The plan's clip norm is not 1, a number is out of range, or the file is
            another plan's, no such file, or in use.
    """

    def __init__(
        self,
        plan: PrivacyPlan,
        *,
        initial_norm: float = 0.1,
        target_quantile: float = 0.5,
        learning_rate: float = 0.2,
        path: Path | None = None,
    ) -> None:
        if plan.l2_clip_norm != 1:
            raise ConfigError(
                "adaptive clipping sends vectors of norm 1: calibrate the plan with l2_clip_norm=1"
            )
        if not (initial_norm > 0 and 0 <= target_quantile <= 1 and learning_rate > 0):
            raise ConfigError("adaptive clipping needs a positive norm and rate, and a quantile")
        self.plan, self.norm = plan, initial_norm
        self._quantile, self._learning_rate = target_quantile, learning_rate
        self._clients = float(np.dot(plan.rows, plan.sampling_rates))
        # As in the paper, the count's noise is a twentieth of the clients. With few clients it is
        # more: otherwise the updates would get much more noise.
        self._share = min(0.5, 10 * plan.noise_multiplier / self._clients)
        self._rest = math.sqrt(1 - self._share**2)
        self._file = Record(path, refusal=ConfigError)
        try:
            self._read()
        except BaseException:
            self._file.close()  # a traceback that somebody keeps must not hold the lock
            raise

    def close(self) -> None:
        """Release the file; the clip norm can't move any more."""
        self._file.close()

    def _read(self) -> None:
        text = self._file.read()
        if text is None:
            return
        try:
            kept = json_read(text, _KeptNorm)
        except ValueError:
            raise ConfigError(
                f"{self._file} is no clip norm: restore it from a copy, or start a new one"
            ) from None
        if kept.plan != self.plan.fingerprint:
            raise ConfigError(f"{self._file} keeps another plan's clip norm: give each its own")
        self.norm = kept.norm

    def pack(self, update: Floats) -> Floats:
        """Scale the update, and append whether it was longer than the clip norm."""
        norm = _norm(update)
        scaled = update * (self._rest / max(norm, self.norm))
        return np.append(scaled, self._share if norm <= self.norm else -self._share)

    def unpack(self, total: Floats) -> Floats:
        """Return the sum in the updates' units, and move the clip norm towards the quantile."""
        updates = total[:-1] * (self.norm / self._rest)
        below = (total[-1] / (self._share * self._clients) + 1) / 2
        step = float(np.clip(below, 0, 1)) - self._quantile
        norm = self.norm * math.exp(-self._learning_rate * step)
        self._file.write(json_bytes(_KeptNorm(1, self.plan.fingerprint, norm)).decode())
        self.norm = norm
        return updates


class ClientUpdates:
    """Client-level: one party's update of the whole model, clipped; its coin may leave it out.

    A client whose coin says no sends its noise alone. So nobody learns who took part, and the
    amplification by sampling holds against the server, too.

    Args:
        model: The global model; trained in place and then restored, also when training fails.
        trainer: The client's local training, any number of steps.
        clip: How updates are clipped; shared by all clients of a simulation.
        plan: With one "row" a party: the client.
        party: This client's place in the plan.
        randomness: Where its coin comes from.
        seed: Seed of the local training's batches, which protect nobody.
        simulation: Whether a seeded coin is meant.

    Raises:
        ConfigError: The plan counts rows, not clients, or is not the clip's; the model keeps
            running statistics, which no clipping bounds; or the coin is seeded.
    """

    def __init__(
        self,
        model: nn.Module,
        trainer: LocalTrainer,
        clip: Clip,
        plan: PrivacyPlan,
        party: int,
        randomness: NoiseSource,
        *,
        seed: int = 0,
        simulation: bool = False,
    ) -> None:
        require_secret([randomness], simulation)
        check_rows(plan, party, 1)
        if clip.plan != plan:
            raise ConfigError("the clip is another plan's, with a bound of its own: make it anew")
        for name, buffer in model.named_buffers():
            if buffer.is_floating_point() or buffer.is_complex():
                raise ConfigError(
                    f"{name} follows the rows and would leave unclipped and without noise: use "
                    "GroupNorm, or track_running_stats=False"
                )
        self.plan, self.party = plan, party
        self._model, self._trainer, self._clip = model, trainer, clip
        self._trained = [name for name, each in model.named_parameters() if each.requires_grad]
        self._rate, self._randomness = plan.sampling_rates[party], randomness
        self._sensitivity = plan.l2_clip_norm * (1 + _ROUNDING)
        self._seed = (seed << 20) + party

    def contribute(self, round_id: int) -> ClippedSum:
        """Train, clip the update and restore the model.

        Returns:
            Zeros if the coin says no, or if the update is not finite: an error would tell of this
            client's rows.

        Raises:
            ConfigError: The model's weights are not finite.
        """
        before = get_arrays(self._model)
        if not np.isfinite(self._flat(before)).all():
            raise ConfigError("a weight of the model is not a finite number: start anew")
        packed = np.zeros_like(self._clip.pack(self._flat(before)))
        if not self._randomness.coins(self._rate, 1)[0]:
            return ClippedSum({"update": packed}, packed, self._sensitivity)
        try:
            self._trainer.train_epoch(self._model, (self._seed << 20) + round_id)
            update = subtract(get_arrays(self._model), before)
        finally:  # no trace of the rows stays on the model
            set_arrays(self._model, before)
            self._model.zero_grad(set_to_none=True)
        # Minus the update, as the optimizer steps against the noisy sum like against a gradient.
        flat = -self._flat(update)
        if np.isfinite(flat).all():
            packed = self._clip.pack(flat)
        return ClippedSum({"update": packed}, packed, self._sensitivity)

    def _flat(self, arrays: Arrays) -> Floats:
        return np.concatenate([arrays[name].ravel() for name in self._trained]).astype(np.float64)


def check_rows(plan: PrivacyPlan, party: int, rows: int, ids: ArrayLike | None = None) -> None:
    """Refuse data that the plan's sampling rate and placements were not made for.

    Raises:
        ConfigError: The party is not one of the plan's, has another number of rows, or more rows
            of one unit than the plan counts.
    """
    if not 0 <= party < plan.parties:
        raise ConfigError(f"the privacy plan has parties 0 to {plan.parties - 1}, not {party}")
    if plan.rows[party] != rows:
        raise ConfigError(
            f"the privacy plan counts {plan.rows[party]} training rows at party {party}, "
            f"which has {rows}: make the plan anew"
        )
    if ids is not None:
        check_units(ids, rows, max(unit[party] for unit in plan.placements))


def _norm(values: Floats) -> float:
    return float(np.linalg.norm(values))
