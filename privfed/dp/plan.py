"""One object that binds what must agree: sampling, clipping, noise, parties, rounds, unit, cost."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import operator
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from privfed.dp.accounting import (
    ACCOUNTANT,
    ADJACENCY,
    Placement,
    check_delta,
    dp_sgd_epsilon,
    worst_kinds,
    worst_placements,
)
from privfed.dp.batches import BatchCap, poisson_batch
from privfed.dp.domination import LEAST_SHARE, SMOOTHING, dominating_variance, domination_gap
from privfed.dp.randomness import NoiseSource
from privfed.errors import ConfigError, PrivacyWarning
from privfed.rounding import as_given, at_most

if TYPE_CHECKING:  # it brings SciPy
    from privfed.dp.envelope import Part

Noise = Literal["local", "shares", "central"]
_EXCESS_VARIANCE = 1e-3  # share of the variance that the proof for discrete shares uses up
_MOST_VALUES = 2**40  # no model has more; only a plan of shares knows how many


@dataclass(frozen=True, kw_only=True)
class PrivacyPlan:
    """The whole privacy of a training: sampling, clipping, noise, rounds, and what they cost.

    `calibrate` makes one for a target; with a known `noise_multiplier` make one directly. Trainers
    and sums take everything from the plan, and refuse data and partners that do not match it.

    Attributes:
        noise: Whose noise a release holds. "local": every party adds all of it to its own sum, so
            that it trusts nobody. "shares": every party adds a share under encryption, and only
            the sum is decrypted (Truex et al., arXiv 1812.03224). "central": a trusted server
            adds it to the sum.
        rows: Training rows of each party, ≥ 1; assumed public. A client-level plan has 1 each.
        sampling_rates: Poisson rate in (0, 1] of each party's rows in a step.
        rounds: Rounds in all, ≥ 1.
        steps_per_round: Releases a round of each party; 1 unless the noise is local.
        l2_clip_norm: Bound on what one row adds to a sum, > 0.
        noise_multiplier: Standard deviation over `l2_clip_norm`: of each party's noise if local,
            else of the part of the sum's noise that is unknown to everybody.
        delta: The δ of every ε here.
        privacy_unit: What is protected, in words.
        placements: For each unit its rows at each party; assumed public. Only the worst are kept.
        quorum: Parties k whose shares a round needs; all others may be absent.
        colluders: Parties t whose shares may be known or missing; only shares depend on it.
        left_out: How many of those t may leave their share out, so that who sees the models sees
            less noise, too.
        dimension: Values in a release, which shares must know.
        target_epsilon: The ε that was asked, if any; a plan that spends more cannot be made.
        truncated_batch_sizes: The most rows of each party's batches, ≥ 1: of longer ones secret
            coins choose what stays. None: no batch is cut.

    Raises:
        ConfigError: Values are out of range or contradict each other, or the target is missed.
    """

    noise: Noise
    rows: tuple[int, ...]
    sampling_rates: tuple[float, ...]
    rounds: int
    steps_per_round: tuple[int, ...]
    l2_clip_norm: float
    noise_multiplier: float
    delta: float
    privacy_unit: str
    placements: tuple[Placement, ...]
    quorum: int
    colluders: int = 1
    left_out: int = 0
    dimension: int = 1
    target_epsilon: float | None = None
    truncated_batch_sizes: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        _normalise(self)
        _check(self)
        if self.target_epsilon is not None and self.epsilon > self.target_epsilon:
            raise ConfigError(
                f"this plan spends epsilon={at_most(self.epsilon)}, more than the "
                f"{as_given(self.target_epsilon)} asked: calibrate it"
            )

    @property
    def parties(self) -> int:
        """How many parties there are."""
        return len(self.rows)

    @property
    def steps(self) -> tuple[int, ...]:
        """Noisy releases of each party in all rounds."""
        return tuple(self.rounds * count for count in self.steps_per_round)

    @property
    def adjacency(self) -> str:
        """Which data sets are neighbours."""
        return ADJACENCY

    @property
    def accountant(self) -> str:
        """What computed every ε here."""
        integers = "integer shares" if self.is_shared else "noise on its grid"
        return f"{ACCOUNTANT} of the Gaussian that dominates the {integers}"

    @property
    def sampling(self) -> str:
        """How rows come into a step."""
        every = min(self.sampling_rates) == 1
        found = "every row in every step" if every else "Poisson, secret coins at each party"
        if self.truncated_batch_sizes is None:
            return found
        sizes = sorted(set(self.truncated_batch_sizes))
        most = str(sizes[0]) if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]} by party"
        return f"{found}, at most {most} a batch by further coins"

    @property
    def batch_caps(self) -> tuple[BatchCap, ...] | None:
        """Each party's rows and the most of them in one batch; None if no batch is cut."""
        if self.truncated_batch_sizes is None:
            return None
        return tuple(zip(self.rows, self.truncated_batch_sizes, strict=True))

    def draw_batch(self, party: int, randomness: NoiseSource) -> NDArray[np.bool_]:
        """Draw which of a party's rows are in a step, as the plan accounts it."""
        most = None if self.truncated_batch_sizes is None else self.truncated_batch_sizes[party]
        return poisson_batch(randomness, self.sampling_rates[party], self.rows[party], most)

    @property
    def is_shared(self) -> bool:
        """Whether the parties' integers sum to the noise."""
        return self.noise == "shares"

    @property
    def share_grid_std(self) -> float:
        """Standard deviation of one party's share, in steps of the grid; at least 4."""
        honest = self.quorum - self.colluders
        return max(LEAST_SHARE, math.sqrt(SMOOTHING**2 / (_EXCESS_VARIANCE * honest)))

    @property
    def grid(self) -> float:
        """One step of the integers' grid, in clip norms, such that the honest noise is enough."""
        return self.noise_multiplier / self._grid_noise(self.quorum - self.colluders)

    def _grid_noise(self, shares: int) -> float:
        return math.sqrt(dominating_variance([self.share_grid_std**2] * shares))

    @property
    def epsilon(self) -> float:
        """What the worst-placed unit spends in all rounds, against anybody."""
        return max(self.epsilon_outsider, self.epsilon_insiders)

    @cached_property
    def epsilon_insiders(self) -> float:
        """ε against parties who see every release and subtract their own parts, shares included."""
        return self.spent(self.rounds)

    @cached_property
    def epsilon_outsider(self) -> float:
        """ε against somebody who sees every model but put nothing in; `left_out` are missing."""
        return self.spent(self.rounds, insiders=False)

    @cached_property
    def epsilon_single_row(self) -> float:
        """What a unit with one row at one party spends."""
        parties = range(self.parties)
        one_row = [tuple(int(i == j) for j in parties) for i in parties]
        # Parties of the same size and rate cost the same.
        caps = self.batch_caps or [None] * self.parties
        kinds = {
            (rate, steps, cap): unit
            for rate, steps, cap, unit in zip(
                self.sampling_rates, self.steps, caps, one_row, strict=True
            )
        }
        return max(self.spent(self.rounds, placements=[unit]) for unit in kinds.values())

    def spent(
        self,
        rounds: int,
        *,
        insiders: bool = True,
        placements: Sequence[Placement] | None = None,
    ) -> float:
        """Return ε at `delta` after that many rounds, for the worst of the placements."""
        if rounds == 0:
            return 0.0
        noise_multiplier, gap = self._dominating(rounds, insiders)
        return 2 * gap + max(
            dp_sgd_epsilon(
                noise_multiplier,
                sampling_rates=self.sampling_rates,
                steps=[rounds * count for count in self.steps_per_round],
                placement=placement,
                delta=self.delta * math.exp(-gap),
                joint=self.noise != "local",
                batch_caps=self.batch_caps,
            )
            for placement in placements or self.placements
        )

    @cached_property
    def round_kinds(self) -> tuple[tuple[Part, ...], ...]:
        """What each kind of worst-placed unit takes part in, in one round, against insiders."""
        noise_multiplier, _ = self._dominating(1, insiders=True)
        return worst_kinds(
            noise_multiplier,
            sampling_rates=self.sampling_rates,
            steps=self.steps_per_round,
            placements=self.placements,
            joint=self.noise != "local",
            batch_caps=self.batch_caps,
        )

    def gap(self, rounds: int) -> float:
        """Return the η of `privfed.dp.domination` that so many rounds add."""
        return self._dominating(rounds, insiders=True)[1]

    def _dominating(self, rounds: int, insiders: bool) -> tuple[float, float]:
        """Return the noise multiplier of the continuous Gaussian to account with, and its gap."""
        if not self.is_shared:
            releases = rounds * sum(self.steps_per_round)
            return self.noise_multiplier, domination_gap(_MOST_VALUES, releases, shares=1)
        honest = self.quorum - (self.colluders if insiders else self.left_out)
        gap = domination_gap(self.dimension, rounds, self.parties)  # the largest gap
        return self.grid * self._grid_noise(honest), gap

    @cached_property
    def fingerprint(self) -> str:
        """Hash of every setting: equal for two parties if and only if their plans are."""
        text = json.dumps(self.to_dict(), sort_keys=True)
        return hashlib.sha256(b"privfed/1/plan\x00" + text.encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain values; `from_dict` is the way back."""
        settings = {each.name: getattr(self, each.name) for each in dataclasses.fields(self)}
        if self.truncated_batch_sizes is None:
            del settings["truncated_batch_sizes"]  # plans from before it keep their fingerprints
        return settings

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> PrivacyPlan:
        """Return the plan that `to_dict` described, through JSON or not.

        Raises:
            ConfigError: The settings are no plan's.
        """
        try:
            lists = {"rows": 0, "sampling_rates": 0, "steps_per_round": 0}
            read = {name: tuple(settings[name]) for name in lists}
            read["placements"] = tuple(map(tuple, settings["placements"]))
            if sizes := settings.get("truncated_batch_sizes"):
                read["truncated_batch_sizes"] = tuple(sizes)
            return cls(**(settings | read))
        except (TypeError, KeyError, AttributeError):
            raise ConfigError("these are not the settings of a privacy plan") from None

    def statement(self) -> str:
        """Return in one line what is promised, with all that an ε needs to mean something."""
        who = f"ε = {at_most(self.epsilon_insiders)}"
        if self.is_shared:
            who = (
                f"ε = {at_most(self.epsilon_outsider)} for who sees the models while "
                f"{self.left_out or 'no'} shares are left out, "
                f"{at_most(self.epsilon_insiders)} for {self.colluders} of the parties together"
            )
        return (
            f"{who}, δ = {as_given(self.delta)} ({self.adjacency}: {self.privacy_unit}; "
            f"sampling: {self.sampling}; {self.accountant})"
        )


def _normalise(plan: PrivacyPlan) -> None:
    """Convert every setting to its one type, so that equal plans have equal fingerprints."""
    whole, real = operator.index, float
    kinds: dict[str, Callable[[Any], Any]] = {
        **dict.fromkeys(("rounds", "quorum", "colluders", "left_out", "dimension"), whole),
        **dict.fromkeys(("l2_clip_norm", "noise_multiplier", "delta"), real),
        **dict.fromkeys(("rows", "steps_per_round"), lambda values: tuple(map(whole, values))),
        "sampling_rates": lambda values: tuple(map(real, values)),
        "placements": lambda units: [tuple(map(whole, unit)) for unit in units],
        "target_epsilon": lambda target: None if target is None else real(target),
        "truncated_batch_sizes": lambda most: None if most is None else tuple(map(whole, most)),
    }
    try:
        for name, kind in kinds.items():
            object.__setattr__(plan, name, kind(getattr(plan, name)))
    except (TypeError, ValueError, OverflowError):
        raise ConfigError(
            "rows, steps, rounds, quorum, colluders, left_out, dimension, batches and placements "
            "are whole, the other settings of a plan real numbers"
        ) from None
    object.__setattr__(plan, "placements", tuple(worst_placements(plan.placements)))


def check_rates(sampling_rates: Sequence[float]) -> None:
    """Refuse what is no Poisson rate.

    Raises:
        ConfigError: A rate is not in (0, 1].
    """
    if any(not 0 < rate <= 1 for rate in sampling_rates):
        raise ConfigError("a Poisson sampling rate must lie in (0, 1]")


def _check(plan: PrivacyPlan) -> None:
    parties = len(plan.rows)
    if plan.noise not in ("local", "shares", "central"):
        raise ConfigError(f"noise is local, shares or central, not {plan.noise!r}")
    if not parties or min(plan.rows) < 1 or plan.rounds < 1:
        raise ConfigError("rounds and every party's rows must be at least 1")
    if {len(plan.sampling_rates), len(plan.steps_per_round)} != {parties}:
        raise ConfigError("give one sampling rate and one number of steps a party")
    check_rates(plan.sampling_rates)
    sizes = plan.truncated_batch_sizes
    if sizes is not None and (len(sizes) != parties or min(sizes) < 1):
        raise ConfigError("give one largest batch a party, from 1 up, or None")
    for value, name in ((plan.l2_clip_norm, "clip norm"), (plan.noise_multiplier, "multiplier")):
        if not (value > 0 and math.isfinite(value)):
            raise ConfigError(f"the {name} must be a positive number, not {value}")
    if plan.noise != "local" and set(plan.steps_per_round) != {1}:
        raise ConfigError(
            "one noisy sum over all parties needs one aggregation a gradient step: set "
            "steps_per_round to 1, or use noise='local' for several local steps"
        )
    if plan.dimension < 1 or plan.colluders < 0:
        raise ConfigError("dimension must be at least 1, and colluders not negative")
    if not 0 <= plan.left_out <= plan.colluders:
        raise ConfigError(
            f"of {plan.colluders} colluders 0 to {plan.colluders} leave their share out, not "
            f"{plan.left_out}"
        )
    if not 1 <= plan.quorum <= parties:
        raise ConfigError(f"the quorum must be 1 to {parties} parties, not {plan.quorum}")
    if plan.is_shared and plan.quorum <= plan.colluders:
        raise ConfigError(
            f"a quorum of {plan.quorum} with {plan.colluders} colluders leaves no honest share: "
            "raise the quorum or use noise='local'"
        )
    if {len(unit) for unit in plan.placements} != {parties} or min(map(min, plan.placements)) < 0:
        raise ConfigError("a placement has one row count a party, from 0 up")
    if not all(map(any, zip(*plan.placements, strict=True))):
        raise ConfigError(
            "a party's rows belong to no unit, so their loss would not be counted: give the "
            "placements of all units"
        )
    check_delta(plan.delta)
    if plan.delta >= 1 / sum(plan.rows):
        warnings.warn(
            f"delta={as_given(plan.delta)} is not below 1/{sum(plan.rows)}, one over the rows: "
            "such a delta allows a row to be published; ask for a smaller one",
            PrivacyWarning,
            stacklevel=4,
        )
