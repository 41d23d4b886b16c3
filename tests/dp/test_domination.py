"""The proof of docs/privacy.md in numbers: its constants, its two laws, and what it claims of δ(ε).

Nothing here is drawn: laws are summed in more digits than the gap has, which is about 10^-34.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import mpmath  # type: ignore[import-untyped]
import numpy as np
import pytest
from mpmath import mpf

from privfed.dp.domination import LEAST_SHARE, SMOOTHING, dominating_variance, domination_gap
from privfed.errors import ConfigError

Law = dict[int, mpf]


@pytest.fixture(autouse=True)
def digits() -> Iterator[None]:
    with mpmath.workdps(60):  # and back to what it was, also from what a test sets
        yield


def theta(centre: mpf, sigma: mpf) -> mpf:
    """Σ exp(−(n − centre)²/(2σ²)) over the integers, term by term."""
    reach = int(sigma * mpmath.sqrt(2 * mpmath.mp.dps * mpmath.log(10))) + 2
    return mpmath.fsum(
        mpmath.exp(-((n - centre) ** 2) / (2 * sigma**2)) for n in range(-reach, reach + 1)
    )


def density(x: mpf, variance: mpf) -> mpf:
    return mpmath.exp(-(x**2) / (2 * variance)) / mpmath.sqrt(2 * mpmath.pi * variance)


def share(centre: float, sigma: float, reach: float = 12.0) -> Law:
    """Probabilities of N_Z(centre, sigma²) within `reach` standard deviations."""
    whole, wide = round(centre), math.ceil(reach * sigma)
    support = range(whole - wide, whole + wide + 1)
    weights = {n: mpmath.exp(-((n - mpf(centre)) ** 2) / (2 * mpf(sigma) ** 2)) for n in support}
    total = theta(mpf(centre) - whole, mpf(sigma))
    return {n: weight / total for n, weight in weights.items()}


def summed(parties: tuple[tuple[float, float], ...], reach: float = 12.0) -> Law:
    """Law of the sum of independent shares (centre, σ)."""
    total = share(*parties[0], reach)
    for party in parties[1:]:
        further = share(*party, reach)
        grown: Law = {}
        for (a, p), (b, q) in itertools.product(total.items(), further.items()):
            grown[a + b] = grown.get(a + b, mpf(0)) + p * q
        total = grown
    return total


def smoothed(x: int, centre: mpf, variance: mpf) -> mpf:
    """Probability of x after N(centre, variance) and then N_Z(·, r²): an integral over the reals.

    The trapezoidal rule of step h misses about exp(−2π²τ²/h²) of it, 10^-400 here, τ² ≥ 3 being
    the variance of the product of the two Gaussians.
    """
    h, r = mpf(1) / 4, mpf(SMOOTHING)
    middle = (centre * r**2 + x * variance) / (variance + r**2)
    lattice = [theta(mpf(k) / 4, r) for k in range(4)]
    points = range(int(middle * 4) - 200, int(middle * 4) + 201)
    return h * mpmath.fsum(
        density(k * h - centre, variance)
        * mpmath.exp(-((x - k * h) ** 2) / (2 * r**2))
        / lattice[k % 4]
        for k in points
    )


# --- The constants ------------------------------------------------------------------------------


@pytest.mark.parametrize("variance", [4, 8, 16])
def test_a_lattice_sum_is_as_even_as_proved(variance: int) -> None:
    """Equation (1): sup over centres of |Θ/(σ√2π) − 1|, which the centre 0 all but attains."""
    mpmath.mp.dps = 200
    sigma, bound = mpmath.sqrt(variance), 2.1 * mpmath.exp(-2 * mpmath.pi**2 * variance)
    off = {
        k: abs(theta(mpf(k) / 64, sigma) / (sigma * mpmath.sqrt(2 * mpmath.pi)) - 1)
        for k in range(65)
    }
    assert max(off.values()) <= bound * 2 / 2.1 * (1 + mpf(10) ** -50)
    assert off[0] > bound * 1.99 / 2.1
    assert off[16] < bound / 1000  # at 1/4 the leading term is nought


@pytest.mark.parametrize("shares", [1, 2, 10, 10**6, 10**12])
def test_the_gap_covers_its_terms(shares: int) -> None:
    """Equation (5), with λ_s = −ln(1 − ε_s) from the sums themselves."""
    mpmath.mp.dps = 200

    def loss(variance: int) -> mpf:
        sigma = mpmath.sqrt(variance)
        return -mpmath.log(2 - theta(mpf(0), sigma) / (sigma * mpmath.sqrt(2 * mpmath.pi)))

    exact = loss(4) + shares * loss(16) + (shares - 1) * loss(8)
    assert exact <= domination_gap(1, 1, shares) <= 1.1 * exact


def test_the_gap_is_for_all_coordinates_and_releases() -> None:
    assert domination_gap(650, 2500, 9) == pytest.approx(650 * 2500 * domination_gap(1, 1, 9))
    assert domination_gap(1, 1, 9) == pytest.approx(1.08e-34, rel=0.01)
    assert domination_gap(650, 0, 9) == 0


PARTIES = [
    ((0.0, 4.0),),
    ((0.5, 4.0),),
    ((0.3, 4.0), (-7.5, 4.0)),
    ((0.25, 4.0), (0.125, 5.5), (1000.5, 9.0)),
]


@pytest.mark.parametrize("parties", PARTIES, ids=str)
def test_the_two_laws_agree_up_to_the_gap(parties: tuple[tuple[float, float], ...]) -> None:
    """Equations (2) to (4) at every fifth integer within 6 σ."""
    mpmath.mp.dps = 110
    reach = 22.0  # what is cut off is below 10^-100
    law = summed(parties, reach)
    centre = mpmath.fsum(mpf(c) for c, _ in parties)
    variance = mpmath.fsum(mpf(s) ** 2 for _, s in parties)
    eta = mpf(domination_gap(1, 1, len(parties)))
    wide = int(6 * mpmath.sqrt(variance))
    for x in range(round(centre) - wide, round(centre) + wide + 1, 5):
        rounded = smoothed(x, centre, variance - SMOOTHING**2)
        for ratio in (
            law[x] / rounded,
            law[x] / density(x - centre, variance),
            rounded / density(x - centre, variance),
        ):
            assert abs(mpmath.log(ratio)) <= eta


# --- What follows for δ(ε) ----------------------------------------------------------------------


def tail(x: mpf) -> mpf:
    return mpmath.erfc(x / mpmath.sqrt(2)) / 2


def continuous_delta(epsilon: mpf, shift: float, variance: mpf, rate: mpf) -> tuple[mpf, mpf]:
    """δ(ε) of the Poisson-subsampled Gaussian on removing and on adding the unit, ε ≥ 0.

    P = (1 − q) N(0) + q N(shift) against Q = N(0): P > e^ε Q where the likelihood ratio of the two
    Gaussians exceeds (e^ε − 1 + q)/q, and Q > e^ε P where it is below (e^(−ε) − 1 + q)/q.
    """
    s = mpmath.sqrt(variance)

    def boundary(ratio: mpf) -> mpf:
        return variance * mpmath.log(ratio) / shift + mpf(shift) / 2

    e = mpmath.exp(epsilon)
    over = boundary((e - 1 + rate) / rate)
    remove = rate * tail((over - shift) / s) - (e - 1 + rate) * tail(over / s)
    ratio = (1 / e - 1 + rate) / rate
    if ratio <= 0:
        return remove, mpf(0)
    under = boundary(ratio)
    add = (1 - e * (1 - rate)) * tail(-under / s) - e * rate * tail((shift - under) / s)
    return remove, add


def discrete_delta(epsilon: mpf, without: Law, with_unit: Law, rate: mpf) -> tuple[mpf, mpf]:
    e = mpmath.exp(epsilon)
    zero = mpf(0)
    remove = add = zero
    for x in without.keys() | with_unit.keys():
        q = without.get(x, zero)
        p = (1 - rate) * q + rate * with_unit.get(x, zero)
        remove += max(zero, p - e * q)
        add += max(zero, q - e * p)
    return remove, add


EPSILONS = [mpf(k) / 8 for k in (0, 1, 3, 8, 13, 24, 40)]


def exceeded(
    parties: tuple[tuple[float, float], ...],
    shift: float,
    variance: mpf,
    rate: mpf,
    moved: float | None = None,
) -> list[tuple[mpf, str]]:
    """ε at which the sum of shares leaks more than N(0, variance) would; `shift` is what C says."""
    (centre, sigma), *others = parties
    without = summed(parties)
    with_unit = summed(((centre + (shift if moved is None else moved), sigma), *others))
    found = []
    for epsilon in EPSILONS:
        bounds = continuous_delta(epsilon, shift, variance, rate)
        real = discrete_delta(epsilon, without, with_unit, rate)
        for name, bound, true in zip(("remove", "add"), bounds, real, strict=True):
            if true > bound + mpf(10) ** -25:
                found.append((epsilon, name))
    return found


@pytest.mark.parametrize("rate", [mpf(1), mpf("0.2")], ids=["all", "sampled"])
@pytest.mark.parametrize("shift", [0.25, 1.0, 2.5, 7.0, 16.0])
@pytest.mark.parametrize("parties", PARTIES[:3], ids=str)
def test_one_dimension_never_leaks_more(
    parties: tuple[tuple[float, float], ...], shift: float, rate: mpf
) -> None:
    mpmath.mp.dps = 40
    variance = mpf(dominating_variance([sigma**2 for _, sigma in parties]))
    assert not exceeded(parties, shift, variance, rate)


@pytest.mark.parametrize("rate", [mpf(1), mpf("0.2")], ids=["all", "sampled"])
@pytest.mark.parametrize("shift", [1.0, 2.5, 7.0, 16.0])
def test_a_gaussian_of_the_whole_variance_is_no_bound(shift: float, rate: mpf) -> None:
    """The planted fault r = 0: accounting with a PLD of N(0, σ²) itself."""
    mpmath.mp.dps = 40
    assert exceeded(((0.0, 4.0),), shift, mpf(16), rate)


@pytest.mark.parametrize(
    ("sigma", "shift", "epsilon", "discrete", "whole", "dominating"),
    [
        (4, 1, "0", 0.09973557, 0.09947645, 0.11476609),
        (4, 4, "4.125", 2.9934787e-5, 2.8602814e-5, 3.4240199e-4),
        (10, 10, "4.05", 3.8959369e-5, 3.8658619e-5, 5.6496113e-5),
    ],
)
def test_the_counterexamples_of_the_proof(
    sigma: int, shift: int, epsilon: str, discrete: float, whole: float, dominating: float
) -> None:
    """The table of docs/privacy.md: N_Z(0, σ²) against N(0, σ²) and N(0, σ² − 4)."""
    pair = share(0.0, float(sigma)), share(float(shift), float(sigma))
    real = discrete_delta(mpf(epsilon), *pair, mpf(1))[0]
    bounds = [
        continuous_delta(mpf(epsilon), shift, mpf(sigma) ** 2 - cut, mpf(1))[0] for cut in (0, 4)
    ]
    assert [float(real), *map(float, bounds)] == pytest.approx([discrete, whole, dominating], 1e-7)
    assert bounds[0] < real < bounds[1]


def test_rounding_before_the_noise_is_no_bound() -> None:
    """The planted fault: 0.4 and 0.9 become 0 and 1, twice as far apart as the clip norm says."""
    variance = mpf(dominating_variance([16.0]))
    assert exceeded(((0.0, 4.0),), 0.5, variance, mpf(1), moved=1.0)
    assert not exceeded(((0.4, 4.0),), 0.5, variance, mpf(1))


@pytest.mark.parametrize(
    "direction", [(1.0, 0.0), (0.6, 0.8), (1 / math.sqrt(2), 1 / math.sqrt(2))]
)
@pytest.mark.parametrize("length", [0.7, 1.0, 3.0, 9.0])
def test_two_dimensions_never_leak_more(direction: tuple[float, float], length: float) -> None:
    """Coordinates with centres of their own, the unit moves both: one bound, from the L2 norm."""
    sigma, start = 4.0, (0.3, -0.45)
    axes = []
    for centre, part in zip(start, direction, strict=True):
        support = np.arange(-60, 75)
        pair = [
            np.exp(-((support - c) ** 2) / (2 * sigma**2)) for c in (centre, centre + part * length)
        ]
        axes.append([weights / math.fsum(weights) for weights in pair])
    without, with_unit = (np.multiply.outer(axes[0][i], axes[1][i]) for i in (0, 1))
    variance = mpf(dominating_variance([sigma**2]))
    for epsilon in EPSILONS:
        for rate in (mpf(1), mpf("0.2")):
            q = without
            p = float(1 - rate) * without + float(rate) * with_unit
            e = math.exp(epsilon)
            bounds = continuous_delta(epsilon, length, variance, rate)
            for bound, (a, b) in zip(bounds, ((p, q), (q, p)), strict=True):
                assert np.maximum(a - e * b, 0).sum() <= float(bound) + 1e-14


# --- The interface ------------------------------------------------------------------------------


def test_the_variance_is_that_of_the_honest_shares_less_the_smoothing() -> None:
    assert dominating_variance([16.0]) == pytest.approx(12.0, rel=1e-14)
    assert dominating_variance([16.0, 25.0, 100.5]) == pytest.approx(137.5, rel=1e-14)
    assert dominating_variance([16.0] * 7) < 16 * 7 - SMOOTHING**2  # rounded down
    assert (SMOOTHING, LEAST_SHARE) == (2, 4)


@pytest.mark.parametrize("variance", [15.99, 0.0, -16.0, math.nan, math.inf])
def test_narrow_shares_are_refused(variance: float) -> None:
    with pytest.raises(ConfigError, match="make the grid finer"):
        dominating_variance([100.0, variance])


def test_no_share_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least one honest share"):
        dominating_variance([])


@pytest.mark.parametrize("counts", [(0, 1, 1), (1, -1, 1), (1, 1, 0)])
def test_counts_out_of_range_are_refused(counts: tuple[int, int, int]) -> None:
    with pytest.raises(ConfigError, match="whole numbers from 1 up"):
        domination_gap(*counts)
