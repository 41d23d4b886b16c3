"""One noisy sum over all parties per round: whose noise it is, and who sees what before it.

`privfed.dp.plan` says what each costs. All parties run in this process; between them and the server
of `SharedNoise` nothing passes but bytes.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from privfed import secagg
from privfed.dp import PrivacyPlan, SecretRandomness
from privfed.dp.randomness import NoiseSource, require_secret
from privfed.dp.shares import SLACK, NoiseShares, check_sum
from privfed.errors import CapacityError, ConfigError, QuorumError
from privfed.he import MAX_BITS, Integers
from privfed.training.averaging import Exchange, cost_of
from privfed.training.clipping import ClippedSum


@dataclass(frozen=True)
class Released(Exchange):
    """What a round releases, which is all that depends on rows, and what it cost.

    Attributes:
        total: (dimension,) noisy sum over the parties.
    """

    total: NDArray[np.float64]


class NoisySums(Protocol):
    """Releases one noisy sum per round."""

    plan: PrivacyPlan

    def prepare(self, round_id: int) -> None:
        """Do the work that needs no sum yet; called before parties compute, or not at all."""

    def release(self, round_id: int, sums: Sequence[ClippedSum | None]) -> Released:
        """Release a round's sum of one clipped sum per party; None for a party that is absent.

        Raises:
            QuorumError: Fewer parties than the plan's quorum; nothing is released.
            ConfigError: A sum does not fit the plan.
        """


class _InTheClear:
    """What local and central noise share: noise on vectors in the clear."""

    def __init__(
        self,
        plan: PrivacyPlan,
        noise: str,
        randomness: Sequence[NoiseSource] | None,
        *,
        simulation: bool = False,
    ) -> None:
        if plan.noise != noise:
            raise ConfigError(f"the plan's noise is {plan.noise}, not {noise}: calibrate another")
        self.plan = plan
        self._randomness = _sources(
            1 if noise == "central" else plan.parties, randomness, simulation
        )

    def prepare(self, round_id: int) -> None:
        """Do nothing: there is nothing to make ahead."""

    def _noisy(self, place: int, values: NDArray[np.float64]) -> NDArray[np.float64]:
        deviation = self.plan.noise_multiplier * self.plan.l2_clip_norm * (1 + SLACK)
        return self._randomness[place].noisy(values, deviation)


class LocalNoise(_InTheClear):
    """Every party adds all of the plan's noise to its own sum: nobody has to be trusted.

    Args:
        plan: A plan with noise="local".
        randomness: One source per party; None: fresh secret ones.
        simulation: Whether seeded sources are meant.

    Raises:
        ConfigError: The plan has another kind of noise, or a source is seeded.
    """

    def __init__(
        self,
        plan: PrivacyPlan,
        randomness: Sequence[NoiseSource] | None = None,
        *,
        simulation: bool = False,
    ) -> None:
        super().__init__(plan, "local", randomness, simulation=simulation)

    def release(self, round_id: int, sums: Sequence[ClippedSum | None]) -> Released:
        """Add the parties' noisy sums."""
        start = time.perf_counter()
        present = _checked(self.plan, sums)
        noisy = [self._noisy(place, each.flat) for place, each in present.items()]
        seconds = {"noise": time.perf_counter() - start}
        size = sum(each.nbytes for each in noisy)
        return Released(size, size, seconds, np.sum(noisy, axis=0))


class CentralNoise(_InTheClear):
    """A trusted server sees each party's sum in the clear and adds the plan's noise once.

    Args:
        plan: A plan with noise="central".
        randomness: The server's source alone, in a list; None: a fresh secret one.
        simulation: Whether a seeded source is meant.

    Raises:
        ConfigError: The plan has another kind of noise, or the source is seeded.
    """

    def __init__(
        self,
        plan: PrivacyPlan,
        randomness: Sequence[NoiseSource] | None = None,
        *,
        simulation: bool = False,
    ) -> None:
        super().__init__(plan, "central", randomness, simulation=simulation)

    def release(self, round_id: int, sums: Sequence[ClippedSum | None]) -> Released:
        """Add the parties' sums and one noise."""
        start = time.perf_counter()
        present = _checked(self.plan, sums)
        total = self._noisy(0, np.sum([each.flat for each in present.values()], axis=0))
        seconds = {"noise": time.perf_counter() - start}
        size = sum(each.flat.nbytes for each in present.values())
        return Released(size, total.nbytes * len(present), seconds, total)


class SharedNoise:
    """Every party adds a share of the noise under encryption; only the sum is ever decrypted.

    The server adds bytes that it cannot read. Parties whose plans differ have other parameters,
    so their bytes are refused.

    Args:
        plan: A plan with noise="shares".
        randomness: One source per party; None: fresh secret ones.
        scheme: "packed", or "reference" for the same integers in the clear.
        simulation: Whether seeded sources are meant.

    Raises:
        ConfigError: The plan has another kind of noise or one party, or a source is seeded.
        CapacityError: No encoding holds the sums, up to a chance of 2^-40 that one is larger.
    """

    def __init__(
        self,
        plan: PrivacyPlan,
        randomness: Sequence[NoiseSource] | None = None,
        *,
        scheme: str = "packed",
        simulation: bool = False,
    ) -> None:
        self.plan, self._shares = plan, NoiseShares(plan, simulation=simulation)
        if scheme not in ("packed", "reference"):
            raise ConfigError(
                f"noise shares need integers modulo a power of two: scheme 'packed', not {scheme!r}"
            )
        self._randomness = _sources(plan.parties, randomness, simulation)
        self._simulation = secagg.simulate(
            plan.parties, lambda roster: share_parameters(plan, roster, scheme=scheme)
        )
        self.parameters = self._simulation.params
        self._simulation.work_ahead()

    def prepare(self, round_id: int) -> None:
        """Make ahead what a round of all parties needs; if some are absent, it is made anew."""
        self._simulation.prepare(round_id, announces=False)  # as `SecureAveraging` does

    def release(self, round_id: int, sums: Sequence[ClippedSum | None]) -> Released:
        """Draw each party's noisy integers, add them under encryption and decrypt the sum."""
        start = time.perf_counter()
        drawn = {
            place: self._drawn(each, self._randomness[place])
            for place, each in _checked(self.plan, sums).items()
        }
        noise = time.perf_counter() - start
        result, traffic = self._simulation.add_integers(drawn, round_id=round_id)
        cost = cost_of(traffic)
        cost["seconds"]["noise"] = noise
        return Released(**cost, total=self._shares.decode(result.sums["sum"]))

    def _drawn(self, clipped: ClippedSum, source: NoiseSource) -> dict[str, Integers]:
        return {"sum": self._shares.draw(clipped.flat, clipped.l2_sensitivity, source)}


def share_parameters(
    plan: PrivacyPlan,
    roster: Sequence[secagg.PublicIdentity],
    *,
    scheme: str = "packed",
    job: str | None = None,
) -> secagg.Parameters:
    """Return the parameters under which a plan's noise shares travel; the plan is part of them.

    Args:
        plan: A plan with noise="shares".
        roster: The parties, in the plan's order.
        scheme: "packed", or "reference" for the same integers in the clear.
        job: Names the training, and the plan; None: the plan alone.

    Raises:
        ConfigError: The plan has one party, or the roster is not the plan's.
        CapacityError: No encoding holds the sums.
    """
    if len(roster) != plan.parties or plan.parties < 2:
        raise ConfigError(
            f"the plan has {plan.parties} parties and the roster {len(roster)}: shares need the "
            "plan's own, and at least two"
        )
    bits = NoiseShares(plan).bits
    if bits > MAX_BITS:
        raise CapacityError(
            f"the sums need {bits} bits a party, and {MAX_BITS} can be encrypted: ask for fewer "
            "rows a step or more noise"
        )
    quorum = max(2, plan.quorum)
    # Masks for any plan, since digits of single tags are no function of the sum; but of two parties
    # each can subtract its own part from the sum: there only the noise protects.
    colluders = min(max(plan.colluders, 1), quorum - 2)
    adversary = f"lying-server+{colluders}" if colluders else "lying-server"
    return secagg.Parameters(
        job=job or f"noise shares of plan {plan.fingerprint}",
        layout=secagg.Layout((("sum", (plan.dimension,)),)),
        clip_range=1.0,
        bits=bits,
        max_clients=plan.parties,
        min_clients=quorum,
        max_weight=None,
        scheme=scheme,
        roster=tuple(roster),
        adversary="honest-server" if scheme == "reference" else adversary,
        noise_shares=True,
    )


def _sources(
    count: int, randomness: Sequence[NoiseSource] | None, simulation: bool
) -> Sequence[NoiseSource]:
    """Return the given sources of noise, or else fresh and secret ones."""
    sources = [SecretRandomness() for _ in range(count)] if randomness is None else randomness
    if len(sources) != count:
        raise ConfigError(f"the noise is drawn from {count} sources, not {len(sources)}")
    require_secret(sources, simulation)
    return sources


def _checked(plan: PrivacyPlan, sums: Sequence[ClippedSum | None]) -> dict[int, ClippedSum]:
    """Return the sums of the parties that are present, after checking them against the plan."""
    if len(sums) != plan.parties:
        raise ConfigError(f"the plan has {plan.parties} parties, not {len(sums)}")
    present = {place: each for place, each in enumerate(sums) if each is not None}
    if len(present) < plan.quorum:
        raise QuorumError(
            f"{len(present)} parties are there and the plan's noise needs {plan.quorum}: "
            "wait for the others; nothing was let out"
        )
    for each in present.values():
        check_sum(plan, each.flat, each.l2_sensitivity)
    return present
