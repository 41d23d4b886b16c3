"""Noisy sums: the law of what is decrypted, what is refused, and that nothing falls short."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from scipy import signal, stats

from privfed import secagg
from privfed.dp import NoiseShares, PrivacyPlan, SecretRandomness, SeededRandomness
from privfed.errors import (
    AuthenticationError,
    CapacityError,
    ConfigError,
    ContextMismatchError,
    QuorumError,
    ReplayError,
)
from privfed.secagg import wire
from privfed.secagg.simulation import serve
from privfed.training import (
    CentralNoise,
    ClippedSum,
    LocalNoise,
    NoisySums,
    SharedNoise,
    share_parameters,
)

DIMENSION = 6000
CLIP = 0.8
SIGMA = 2.0


def plan(parties: int = 4, **other: Any) -> PrivacyPlan:
    settings: dict[str, Any] = {
        "noise": "shares",
        "rows": (40,) * parties,
        "sampling_rates": (0.25,) * parties,
        "rounds": 10,
        "steps_per_round": (1,) * parties,
        "l2_clip_norm": CLIP,
        "noise_multiplier": SIGMA,
        "delta": 1e-5,
        "privacy_unit": "one row",
        "placements": [tuple(int(i == j) for j in range(parties)) for i in range(parties)],
        "quorum": parties,
        "dimension": DIMENSION,
    }
    return PrivacyPlan(**(settings | other))


def clipped(value: float | np.ndarray, sensitivity: float = CLIP) -> ClippedSum:
    flat = np.broadcast_to(np.asarray(value, np.float64), (DIMENSION,)).copy()
    return ClippedSum({"all": flat}, flat, sensitivity)


def exact(centres: Sequence[float], sigma: float) -> tuple[int, np.ndarray]:
    """First integer and law of the sum of discrete Gaussians around `centres`, in grid units."""
    start, total = 0, np.ones(1)
    for centre in centres:
        whole, wide = round(centre), math.ceil(12 * sigma)
        n = np.arange(whole - wide, whole + wide + 1)
        weights = np.exp(-((n - centre) ** 2) / (2 * sigma**2))
        start += whole - wide
        total = signal.convolve(total, weights / weights.sum(), method="direct")
    return start, total


def chi_square(integers: np.ndarray, centres: Sequence[float], sigma: float) -> float:
    """p-value of the integers under the exact law, over 40 nearly equally likely cells."""
    start, chances = exact(centres, sigma)
    cells = np.minimum((np.cumsum(chances) * 40).astype(int), 39)
    inside = np.clip(integers - start, 0, len(cells) - 1)
    seen = np.bincount(cells[inside], minlength=40)
    expected = np.bincount(cells, weights=chances, minlength=40)
    return float(stats.chisquare(seen, expected * len(integers) / expected.sum()).pvalue)


def integers_of(sums: SharedNoise, total: np.ndarray) -> np.ndarray:
    step = NoiseShares(sums.plan).step
    integers = np.rint(total / step)
    assert np.allclose(integers * step, total, rtol=1e-12)
    return integers.astype(np.int64)


# --- The law of what is decrypted -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("parties", "quorum", "colluders", "absent"),
    [(2, 2, 0, ()), (2, 2, 1, ()), (4, 4, 1, ()), (4, 3, 1, (2,)), (5, 3, 2, (0, 4))],
)
def test_the_decrypted_sum_has_the_exact_law(
    parties: int, quorum: int, colluders: int, absent: tuple[int, ...]
) -> None:
    """Through real encryption, 12,000 values, chi-square: false alarm once in a million runs.

    The same test must flag, at the same rate, a sum that lacks one party's share.
    """
    found = plan(parties, quorum=quorum, colluders=colluders)
    sums = SharedNoise(found)
    assert sums.parameters.scheme == "packed"
    values = [0.37 * place - 3.3 for place in range(parties)]
    given = [None if place in absent else clipped(value) for place, value in enumerate(values)]
    released = [sums.release(round_id, given).total for round_id in (1, 2)]
    integers = integers_of(sums, np.concatenate(released))
    step, sigma = NoiseShares(found).step, found.share_grid_std
    present = [value / step for place, value in enumerate(values) if place not in absent]
    assert chi_square(integers, present, sigma) > 1e-6
    # A variance of 12,000 values is within 8 % but once in a billion runs.
    shares = len(present) / (quorum - colluders)
    assert np.concatenate(released).var() == pytest.approx(shares * (SIGMA * CLIP) ** 2, rel=0.08)
    short = integers - np.rint(present[0]).astype(int)
    assert chi_square(short, present[1:], sigma) < 1e-6
    assert np.abs(np.corrcoef(released[0], released[1])[0, 1]) < 0.1  # fresh noise each round


def test_honest_parties_alone_hold_the_noise_that_is_accounted() -> None:
    """What is left when t colluders subtract their shares has deviation σC, never less."""
    found = plan(4, quorum=4, colluders=1)
    shares = NoiseShares(found)
    drawn = [shares.draw(np.zeros(DIMENSION), CLIP, SecretRandomness()) for _ in range(3)]
    left = shares.decode(np.sum(drawn, axis=0))
    assert left.std() == pytest.approx(SIGMA * CLIP, rel=0.06)
    exactly = math.sqrt(3) * found.share_grid_std * shares.step
    assert SIGMA * CLIP < exactly < 1.001 * SIGMA * CLIP


@pytest.mark.parametrize("parties", [2, 4])
def test_encrypted_sums_are_those_in_the_clear_bit_for_bit(parties: int) -> None:
    found = plan(parties)
    rng = np.random.default_rng(5)
    given = [[clipped(rng.normal(size=DIMENSION)) for _ in range(parties)] for _ in range(2)]
    totals = {}
    for scheme in ("packed", "reference"):
        sources = [SeededRandomness(7, place) for place in range(parties)]
        sums = SharedNoise(found, sources, scheme=scheme, simulation=True)
        totals[scheme] = [sums.release(round_id, given[round_id]).total for round_id in range(2)]
    assert np.array_equal(totals["packed"], totals["reference"])
    by_hand = np.zeros(DIMENSION)
    shares = NoiseShares(found, simulation=True)
    for place, each in enumerate(given[0]):
        by_hand += shares.draw(each.flat, CLIP, SeededRandomness(7, place))
    assert np.array_equal(totals["packed"][0], by_hand * shares.step)


@pytest.mark.parametrize("absent", [(), (0,), (1, 3)])
def test_local_noise_is_one_whole_noise_a_party(absent: tuple[int, ...]) -> None:
    """Kolmogorov and Smirnov on 6,000 values: false alarm once in a million runs."""
    sums = LocalNoise(plan(noise="local", quorum=2))
    given = [None if place in absent else clipped(float(place)) for place in range(4)]
    total = sums.release(1, given).total
    centre = sum(place for place in range(4) if place not in absent)
    deviation = SIGMA * CLIP * math.sqrt(4 - len(absent))
    assert stats.kstest((total - centre) / deviation, "norm").pvalue > 1e-6


@pytest.mark.parametrize("absent", [(), (0,)])
def test_central_noise_is_one_in_all(absent: tuple[int, ...]) -> None:
    sums = CentralNoise(plan(noise="central", quorum=3))
    given = [None if place in absent else clipped(float(place)) for place in range(4)]
    total = sums.release(1, given).total
    assert stats.kstest((total - 6) / (SIGMA * CLIP), "norm").pvalue > 1e-6
    again = sums.release(2, given).total
    assert np.abs(np.corrcoef(total, again)[0, 1]) < 0.1


def test_an_empty_batch_everywhere_still_gives_noise() -> None:
    for sums in every_kind():
        total = sums.release(1, [clipped(0.0)] * 4).total
        assert total.std() > 0.9 * SIGMA * CLIP


# --- Nothing falls short --------------------------------------------------------------------------


def every_kind(**other: Any) -> list[NoisySums]:
    return [
        LocalNoise(plan(noise="local", **other)),
        CentralNoise(plan(noise="central", **other)),
        SharedNoise(plan(**other)),
    ]


def test_absent_parties_below_the_quorum_let_nothing_out() -> None:
    for sums in every_kind(quorum=3):
        with pytest.raises(QuorumError, match="nothing was let out"):
            sums.release(1, [clipped(0.0), None, None, clipped(0.0)])
        sums.release(1, [clipped(0.0), None, clipped(0.0), clipped(0.0)])  # the round is not used


def test_a_round_made_ready_for_all_goes_on_without_some() -> None:
    sums = SharedNoise(plan(4, quorum=3))
    sums.prepare(1)
    assert [each.prepared for each in sums._simulation.encryptors] == [1] * 4
    released = sums.release(1, [clipped(0.0), None, clipped(0.0), clipped(0.0)])
    assert released.total.shape == (DIMENSION,)
    sums.prepare(2)
    sums.release(2, [clipped(0.0)] * 4)
    assert [each.prepared for each in sums._simulation.encryptors] == [0] * 4


class Federation:
    """The parties and key of `SharedNoise` apart, to do what it never does."""

    def __init__(self, found: PrivacyPlan, parties: int | None = None) -> None:
        self.job = secagg.simulate(
            parties or found.parties, lambda roster: share_parameters(found, roster)
        )
        self.parameters, self.parties = self.job.params, self.job.encryptors

    def uploads(
        self, integers: Sequence[np.ndarray], cohort: Sequence[int] | None = None
    ) -> list[bytes]:
        return [
            self.parties[place].encrypt_integers({"sum": each}, round_id=1, cohort=cohort)
            for place, each in zip(cohort or range(len(integers)), integers, strict=True)
        ]

    def decrypt(self, total: bytes, cohort: Sequence[int] | None = None) -> np.ndarray:
        opened = secagg.Decryptor(self.parameters, self.job.key, "memory").decrypt_sums(
            total, 1, cohort
        )
        return opened.sums["sum"]

    def summed(self, integers: Sequence[np.ndarray]) -> np.ndarray:
        return self.decrypt(serve(self.parameters, 1, self.uploads(integers)).total())


def some(value: int = 1) -> np.ndarray:
    return np.full(DIMENSION, value, np.int64)


@pytest.mark.parametrize(("parties", "cohort"), [(2, None), (4, None), (4, (0, 1, 3))])
def test_fewer_parties_than_the_quorum_decrypt_nothing(
    parties: int, cohort: tuple[int, ...] | None
) -> None:
    there = Federation(plan(parties, quorum=min(parties, 3)))
    uploads = there.uploads([some()] * (3 if cohort else parties), cohort)
    server = secagg.Aggregator(there.parameters, 1, cohort)
    for upload in uploads[:-1]:
        server.add(upload)
    with pytest.raises(QuorumError):
        server.total()
    # A server that doesn't care: the party refuses to open it.
    server._round = dataclasses.replace(server._round, cohort=None)
    short = b"".join(server._written(wire.Kind.TOTAL, least=1))
    with pytest.raises(QuorumError):
        there.decrypt(short, cohort)


def test_no_party_sends_to_a_cohort_below_the_quorum() -> None:
    there = Federation(plan(4, quorum=3))
    with pytest.raises(ConfigError, match="cohort of 2"):
        there.uploads([some(), some()], (0, 1))


def test_no_integers_are_released_twice() -> None:
    """A round whose cohort shrinks is run anew: the proof's assumption A3."""
    there = Federation(plan(4, quorum=3))
    uploads = there.uploads([some()] * 4)
    server = secagg.Aggregator(there.parameters, 1, (0, 1, 2))
    with pytest.raises(ContextMismatchError):
        server.add(uploads[0])
    for each in there.parties[:3]:
        with pytest.raises(ReplayError, match="round 1 is not after round 1"):
            each.encrypt_integers({"sum": some()}, round_id=1, cohort=(0, 1, 2))


def test_parties_with_other_plans_do_not_add() -> None:
    one = plan()
    for other in (
        dataclasses.replace(one, noise_multiplier=1.9),
        dataclasses.replace(one, rounds=11),
        dataclasses.replace(one, sampling_rates=(0.3,) * 4),
        dataclasses.replace(one, colluders=0),
    ):
        here, there = Federation(one), Federation(other)
        server = secagg.Aggregator(here.parameters, 1)
        with pytest.raises(ContextMismatchError):
            server.add(there.uploads([some()] * 4)[0])
        identities = [secagg.generate_identity() for _ in range(4)]
        roster = [each.public for each in identities]
        params, others = (share_parameters(each, roster) for each in (one, other))
        with pytest.raises(ContextMismatchError):
            secagg.Encryptor(others, secagg.generate_keys(params), identities[0], "memory")


@pytest.mark.parametrize(
    ("parties", "settings", "adversary"),
    [
        (2, {}, "lying-server"),
        (3, {"quorum": 2}, "lying-server"),
        (3, {"colluders": 0}, "lying-server+1"),
        (4, {}, "lying-server+1"),
        (6, {"colluders": 3}, "lying-server+3"),
    ],
    ids=str,
)
def test_from_three_parties_up_shares_are_masked(
    parties: int, settings: dict[str, Any], adversary: str
) -> None:
    """Digits of single tags are no function of the sum, which is all that ε covers."""
    assert Federation(plan(parties, **settings)).parameters.adversary == adversary


# --- Overflow -------------------------------------------------------------------------------------


@pytest.mark.parametrize("parties", [2, 4])
def test_a_sum_past_its_room_is_an_error_and_depends_on_the_sum_alone(parties: int) -> None:
    """However the sum is split, also where single integers are far past any room."""
    top = parties * (2 ** (Federation(plan(parties)).parameters.bits - 1) - 1)
    rng = np.random.default_rng(1)
    for total, fits in ((top, True), (-top, True), (top + 1, False), (-top - 1, False)):
        for wild in (0, 10 * top, 2**50):
            wanted = np.zeros(DIMENSION, np.int64)
            wanted[17] = total
            parts = [rng.integers(-wild - 1, wild + 1, DIMENSION) for _ in range(parties - 1)]
            parts.append(wanted - np.sum(parts, axis=0))
            there = Federation(plan(parties))
            if fits:
                assert np.array_equal(there.summed(parts), wanted)
            else:
                with pytest.raises(AuthenticationError, match="does not decrypt"):
                    there.summed(parts)


def test_sums_that_nothing_holds_are_a_capacity_error() -> None:
    fits = plan()
    assert SharedNoise(fits).parameters.bits == NoiseShares(fits).bits
    huge = plan(2, rows=(10**9,) * 2, sampling_rates=(1.0,) * 2, delta=1e-10, noise_multiplier=0.5)
    assert NoiseShares(huge).bits > 32
    with pytest.raises(CapacityError, match="fewer rows a step or more noise"):
        SharedNoise(huge)
    # The remedies that it names.
    SharedNoise(dataclasses.replace(huge, noise_multiplier=500.0))
    SharedNoise(dataclasses.replace(huge, sampling_rates=(1e-3,) * 2))


# --- Bad input ------------------------------------------------------------------------------------

KINDS: dict[str, type[LocalNoise] | type[CentralNoise] | type[SharedNoise]] = {
    "local": LocalNoise,
    "central": CentralNoise,
    "shares": SharedNoise,
}


@pytest.mark.parametrize("noise", KINDS)
def test_a_sum_that_does_not_fit_the_plan_is_refused(noise: str) -> None:
    sums = KINDS[noise](plan(noise=noise))
    fine = clipped(0.0)
    short = ClippedSum({}, np.zeros(DIMENSION - 1), CLIP)
    wide = clipped(0.0, sensitivity=1.01 * CLIP)
    for wrong, says in ((short, "dimension"), (wide, "clip to the plan's norm")):
        with pytest.raises(ConfigError, match=says):
            sums.release(1, [fine, fine, wrong, fine])
    for given in ([fine] * 3, [fine] * 5, []):
        with pytest.raises(ConfigError, match="4 parties"):
            sums.release(1, given)


@pytest.mark.parametrize("noise", KINDS)
def test_a_plan_of_another_noise_is_refused(noise: str) -> None:
    for other in KINDS.keys() - {noise}:
        with pytest.raises(ConfigError, match=other):
            KINDS[noise](plan(noise=other))


@pytest.mark.parametrize("noise", KINDS)
def test_seeds_are_for_simulation(noise: str) -> None:
    count = 1 if noise == "central" else 4
    sources = [SecretRandomness() for _ in range(count - 1)] + [SeededRandomness(0)]
    with pytest.raises(ConfigError, match="seeded"):
        KINDS[noise](plan(noise=noise), sources)
    KINDS[noise](plan(noise=noise), sources, simulation=True)
    with pytest.raises(ConfigError, match=f"from {count} sources"):
        KINDS[noise](plan(noise=noise), [SecretRandomness() for _ in range(count + 1)])


def test_schemes_that_cannot_wrap_are_refused() -> None:
    for scheme in ("slots", "ckks", "auto"):
        with pytest.raises(ConfigError, match="scheme 'packed'"):
            SharedNoise(plan(), scheme=scheme)


def test_shares_need_company() -> None:
    with pytest.raises(ConfigError, match="at least two"):
        SharedNoise(plan(1, colluders=0))
    with pytest.raises(ConfigError, match="roster 3"):
        Federation(plan(4), parties=3)
