"""Composed losses against exact convolutions: every error is paid for, and none is large."""

from __future__ import annotations

import math
from fractions import Fraction

import mpmath  # type: ignore[import-untyped]
import numpy as np
import pytest

from privfed.dp.composition import Composition
from privfed.dp.envelope import dominating
from privfed.dp.losses import Loss, step_losses

GRID, TAIL = 1 / 16, 1e-30


def convolved(loss: Loss, count: int) -> list[Fraction]:
    """The masses of the sum, without any rounding: as digits of one long number."""
    size = len(loss.masses)
    parts = [Fraction(float(mass)) for mass in loss.masses]
    scale = max(part.denominator for part in parts)  # powers of two
    whole = [int(part * scale) for part in parts]
    digit = (max(whole).bit_length() + size.bit_length()) * count + 8
    number = sum(value << (digit * place) for place, value in enumerate(whole)) ** count
    mask = (1 << digit) - 1
    return [
        Fraction((number >> (digit * place)) & mask, scale**count)
        for place in range(count * (size - 1) + 1)
    ]


@pytest.mark.parametrize("count", [1, 2, 17])
@pytest.mark.parametrize(
    ("sigma", "chances"), [(2.0, (0.8, 0.2)), (6.0, (0.0, 1.0)), (4.0, (0.25, 0.5, 0.25))]
)
def test_a_composition_is_the_exact_convolution_or_just_above(
    sigma: float, chances: tuple[float, ...], count: int
) -> None:
    """δ from 1 down to 1e-60, each with its digits."""
    for loss in step_losses(sigma, chances, GRID, TAIL):
        whole = Loss(loss.grid, loss.first, loss.masses, 0.0, 0.0)
        exact, composed = convolved(whole, count), Composition([(whole, count)])
        with mpmath.workdps(80):
            sums = [mpmath.mpf(each.numerator) / each.denominator for each in exact]
            top = (whole.first + len(whole.masses) - 1) * count
            for share in (0.0, 0.1, 0.3, 0.5, 0.7):
                place = round(share * top)
                epsilon = mpmath.mpf(place) * GRID
                wanted = sum(
                    mass * -mpmath.expm1(epsilon - (whole.first * count + index) * GRID)
                    for index, mass in enumerate(sums)
                    if whole.first * count + index > place
                )
                found = composed.delta(place * GRID)
                assert wanted <= found <= wanted * (1 + mpmath.mpf("1e-7")), (share, wanted)


def test_the_transforms_error_is_within_its_bound() -> None:
    """Far from the tilt's mean, where the error is all there is."""
    loss = step_losses(6.0, (0.0, 1.0), GRID, TAIL).removed
    exact = convolved(loss, 17)
    curve = Composition([(loss, 17)]).curve(0.0)
    values = (loss.first * 17 + np.arange(len(exact))) * GRID
    sums = np.array([float(each) for each in exact])
    bounds = curve.on_grid()
    for place in range(0, len(bounds), 7):
        epsilon = curve.lowest + place * GRID
        above = values > epsilon
        wanted = float(sums[above] @ -np.expm1(epsilon - values[above]))
        assert wanted <= bounds[place] <= wanted + 1e-10


def test_a_far_lower_tail_does_not_stretch_the_window() -> None:
    """As little noise on rarely sampled rows has it; against sums of positive terms."""
    loss = step_losses(0.7, (0.998, 0.002), GRID / 64, TAIL).added
    assert loss.first < -1000 * (loss.first + len(loss.masses) - 1)
    composed = Composition([(loss, 2)])
    above = np.append(np.cumsum(loss.masses[::-1])[::-1], 0.0)
    scaled = np.append(np.cumsum((loss.masses * np.exp(-loss.values))[::-1])[::-1], 0.0)
    for place in range(4):
        others = np.clip(
            place - 2 * loss.first + 1 - np.arange(len(loss.masses)), 0, len(above) - 1
        )
        epsilon = place * loss.grid
        each = above[others] - np.exp(epsilon - loss.values) * scaled[others]
        wanted = float(loss.masses @ each) + 2 * loss.infinite
        assert wanted * (1 - 1e-9) <= composed.delta(epsilon) <= wanted * (1 + 1e-5)


KINDS = [
    (((3.0, (0.9, 0.1), 10),),),
    (((3.0, (0.9, 0.1), 10),), ((3.0, (0.8, 0.2), 5),), ((3.0, (0.0, 1.0), 1),)),
    (((1.0, (0.9, 0.1), 1),), ((2.0, (0.5, 0.5), 1),)),
    (((2.0, (0.9, 0.1), 2), (2.0, (0.7, 0.3), 1)), ((2.0, (0.64, 0.32, 0.04), 1),)),
    # Little noise on rarely sampled rows: one more tilt, and the mean is 385 further.
    (((1.0, (0.99, 0.01), 100),), ((1.0, (0.95, 0.05), 20),)),
]


@pytest.mark.parametrize("kinds", KINDS)
def test_a_dominating_loss_is_above_each_kind_and_close_to_the_worst(
    kinds: tuple[tuple[tuple[float, tuple[float, ...], int], ...], ...],
) -> None:
    """Once and composed, on the whole curve; the peak of the kinds alone is the bound once."""
    given = tuple(tuple((sigma, ((1.0, p),), count) for sigma, p, count in kind) for kind in kinds)
    found = dominating(given, GRID, TAIL)
    for direction in range(2):
        for rounds in (1, 8):
            bound = Composition([(found[direction], rounds)])
            each = [
                Composition(
                    [
                        (step_losses(sigma, chances, GRID, TAIL)[direction], count * rounds)
                        for sigma, chances, count in kind
                    ]
                )
                for kind in kinds
            ]
            for epsilon in np.linspace(0, 6, 13):
                worst = max(kind.delta(float(epsilon)) for kind in each)
                delta = bound.delta(float(epsilon))
                if rounds == 1 and (epsilon / GRID).is_integer():
                    assert delta == pytest.approx(worst, rel=1e-4, abs=1e-13)
                assert delta >= worst * (1 - 1e-4) - 1e-13


@pytest.mark.parametrize(("sigma", "chances"), [(6.0, (0.0, 1.0)), (2.0, (0.8, 0.2))])
def test_what_is_kept_is_what_the_exact_convolution_says(
    sigma: float, chances: tuple[float, ...]
) -> None:
    """Near the limit, where a bound on the tail is too large to tell, and where it tells."""
    loss = step_losses(sigma, chances, GRID, TAIL).removed
    whole = Loss(loss.grid, loss.first, loss.masses, 0.0, 0.0)
    composed = Composition([(whole, 17)])
    masses = np.array([float(each) for each in convolved(whole, 17)])
    values = (whole.first * 17 + np.arange(len(masses))) * GRID
    for epsilon in (0.1, 0.5, 2.0, 8.0):
        above = values > epsilon
        delta = float(masses[above] @ -np.expm1(epsilon - values[above]))
        for factor in (1e-3, 0.999, 1.001, 1e2, 1e6):
            asked = min(delta * factor, 0.5)
            assert composed.keeps(epsilon, asked) == (delta <= asked), (epsilon, factor)


@pytest.mark.parametrize("chance", [1e-2, 1e-9, 1e-40])
def test_where_the_tails_bound_is_all_but_exact_too_much_is_not_kept(chance: float) -> None:
    """All of the tail is one large loss."""
    masses = np.zeros(20_001)
    masses[0], masses[-1] = 1 - chance, chance
    composed = Composition([(Loss(GRID, 0, masses, 0.0, 0.0), 1)])
    epsilon = 20_000 * GRID - 10
    delta = chance * -math.expm1(-10)
    assert not composed.keeps(epsilon, 0.99 * delta)
    assert composed.keeps(epsilon, 1.01 * delta)


def test_nothing_is_lost_that_no_step_can_lose() -> None:
    loss = Loss(GRID, 0, np.array([1.0]), 0.0, 0.0)
    assert Composition([(loss, 5)]).epsilon(1e-9) == 0
    certain = Loss(GRID, 0, np.array([1.0]), 1e-3, 0.0)
    assert Composition([(certain, 5)]).epsilon(1e-3) == math.inf
