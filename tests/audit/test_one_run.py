"""The one-run bound: two ways agree, and both give what others publish."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from privfed.audit.one_run import (
    ceiling,
    epsilon_lower_bound,
    guess,
    p_value,
    p_value_by_transport,
)

# (canaries, guesses, correct, δ) and the ε at 95 % by _epsilon_one_run of
# github.com/google-deepmind/jax_privacy at commit 03a095e96dd27c06a84d4dd394e2388abc14ec4a,
# jax_privacy/auditing.py, run with scipy 1.17.1 and xtol=1e-9.
PUBLISHED = [
    (5000, 1000, 1000, 1e-5, 5.672881767929579),
    (5000, 1000, 1000, 0.0, 5.809068338546608),
    (1000, 200, 190, 1e-5, 2.3936182772587395),
    (5000, 1000, 620, 1e-5, 0.379350072999055),
    (100, 100, 75, 1e-3, 0.672984664068641),
    (100, 100, 100, 1e-5, 3.490215955326412),
    (5000, 1000, 1000, 1e-4, 4.276445934405148),
]


@pytest.mark.parametrize("way", [p_value, p_value_by_transport])
@pytest.mark.parametrize(("canaries", "guesses", "correct", "delta", "epsilon"), PUBLISHED)
def test_the_bound_is_that_of_jax_privacy(
    way: Callable[[int, int, int, float, float], float],
    canaries: int,
    guesses: int,
    correct: int,
    delta: float,
    epsilon: float,
) -> None:
    found = epsilon_lower_bound(canaries, guesses, correct, delta, 0.05, way=way)
    assert found == pytest.approx(epsilon, abs=2e-6)
    assert found <= epsilon  # rounded to the safe side


@given(
    guesses=st.integers(1, 120),
    right=st.floats(0, 1),
    more=st.integers(0, 300),
    epsilon=st.floats(0, 6),
    delta=st.sampled_from([0.0, 1e-9, 1e-6, 1e-4, 1e-2, 0.3]),
)
def test_the_second_way_is_never_above_the_first_and_equal_for_small_delta(
    guesses: int, right: float, more: int, epsilon: float, delta: float
) -> None:
    correct = round(right * guesses)
    first = p_value(guesses + more, guesses, correct, epsilon, delta)
    second = p_value_by_transport(guesses + more, guesses, correct, epsilon, delta)
    assert second <= first * (1 + 1e-9) + 1e-15
    if 2 * (guesses + more) * delta <= 1:  # before the first corner, which lies at 1 or later
        assert second == pytest.approx(first, rel=1e-9)


def test_without_delta_it_is_the_binomial_tail() -> None:
    # All of 10 guesses right at ε = ln 3: (3/4)^10.
    assert p_value(10, 10, 10, np.log(3), 0.0) == pytest.approx(0.75**10, rel=1e-12)
    assert p_value(10, 10, 0, 1.0, 0.0) == 1.0


@given(epsilon=st.floats(0.1, 5), correct=st.integers(1, 60))
def test_a_larger_claim_and_fewer_right_guesses_are_harder_to_refute(
    epsilon: float, correct: int
) -> None:
    base = p_value(100, 60, correct, epsilon, 1e-5)
    assert p_value(100, 60, correct, epsilon + 0.5, 1e-5) >= base * (1 - 1e-12)
    assert p_value(100, 60, correct - 1, epsilon, 1e-5) >= base * (1 - 1e-12)


def test_randomised_response_is_refuted_as_seldom_as_the_level_says() -> None:
    """The mechanism for which the bound is tight: its ε is refuted in 5 % of runs, not more."""
    rng, epsilon, runs = np.random.default_rng(1), 1.0, 4000
    chance = np.exp(epsilon) / (1 + np.exp(epsilon))
    correct = rng.binomial(200, chance, runs)
    by_count = {c: p_value(200, 200, int(c), epsilon, 0.0) for c in np.unique(correct)}
    refuted = np.mean([by_count[c] < 0.05 for c in correct])
    assert 0.02 < refuted < 0.05 + 4 * np.sqrt(0.05 * 0.95 / runs)
    half = {c: p_value(200, 200, int(c), epsilon / 2, 0.0) for c in np.unique(correct)}
    assert np.mean([half[c] < 0.05 for c in correct]) > 0.8  # a false claim is refuted


def test_the_ceiling_that_the_page_states() -> None:
    assert ceiling(5000, 1000, 1e-5, 0.05) == pytest.approx(5.67, abs=0.01)


def test_guesses_are_the_extremes() -> None:
    guesses = guess(np.array([0.3, -2.0, 5.0, 0.1, 4.0, -1.0]), 2)
    assert guesses.tolist() == [0, -1, 1, 0, 1, -1]
