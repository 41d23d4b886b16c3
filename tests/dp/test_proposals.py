"""The compiled lanes against numpy's, bit for bit, and both against recorded draws."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from privfed.dp import (
    SeededRandomness,
    discrete,
    discrete_gaussian,
    proposals,
    proposals_compiled,
)
from privfed.errors import PrivacyWarning

LANES = [proposals, proposals_compiled]
SIGMAS = [4.0, 5.7, 63.3, 1500.25, 2.0**20, 2.0**32]
SIZES = [0, 1, 2, 3, 7, 8, 9, 31, 64, 650, 4095, 4096, 5858, 2**15, 2**15 + 1, 2**17 + 3]


def drawn(
    lanes: ModuleType, centres: NDArray[np.float64], sigma: float, *seed: int
) -> tuple[NDArray[np.int64], int]:
    """Draws, and the source's next word, which tells how far it was read."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(discrete, "_lanes", lambda count: lanes)
        source = SeededRandomness(*seed)
        return discrete_gaussian(centres, sigma, source), int(source.words(1)[0])


def same(centres: NDArray[np.float64], sigma: float, *seed: int) -> bool:
    (one, read), (other, as_far) = (drawn(lanes, centres, sigma, *seed) for lanes in LANES)
    return one.shape == other.shape and np.array_equal(one, other) and read == as_far


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("sigma", SIGMAS)
def test_the_lanes_agree_at_every_size(size: int, sigma: float) -> None:
    centres = np.random.default_rng(size).normal(0, 3 * sigma, size)
    assert same(centres, sigma, 1, size)


@pytest.mark.parametrize("sigma", SIGMAS)
def test_the_lanes_agree_on_many_seeds(sigma: float) -> None:
    for seed in range(200):
        rng = np.random.default_rng(seed)
        centres = rng.choice([0.0, 0.5, -0.5, 2.0**49, 0.5 - 2.0**-54, 5e-324], (3, 50))
        assert same(centres + rng.normal(0, 1, (3, 50)) * (seed % 2), sigma, 2, seed)


@pytest.mark.parametrize(("digits", "slack"), [(2, 2.0**-42), (5, 2.0**-42), (63, 0.01)])
def test_the_lanes_agree_where_exact_decisions_are_many(
    digits: int, slack: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discrete, "_DIGITS", digits)
    monkeypatch.setattr(discrete, "_SLACK", slack)
    for seed in range(5):
        assert same(np.random.default_rng(seed).normal(0, 9, 300), 4.0, 3, seed)


def words() -> NDArray[np.uint64]:
    """Powers of two and their neighbours, where mantissas turn, and words of every size."""
    edges = [2**k + d for k in range(64) for d in (-2, -1, 0, 1, 2, round(2**k * (2**0.5 - 1)))]
    random = SeededRandomness(4).words(10_000)
    small = random >> np.arange(10_000, dtype=np.uint64) % np.uint64(64)
    inside = np.array([w for w in edges if 0 <= w < 2**64] + [2**64 - 1], np.uint64)
    return np.concatenate([inside, random, small])


@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("digits", [2, 31, 62, 63])
def test_each_decision_has_equal_bits(sigma: float, digits: int) -> None:
    given = words()
    signs = SeededRandomness(5).words(len(given))
    fraction = np.random.default_rng(6).uniform(-0.5, 0.5, len(given))
    fraction[:6] = [0.0, -0.0, 0.5, -0.5, 5e-324, -(0.5 - 2.0**-54)]
    magnitude, undecided = proposals.propose(given, sigma, digits, 2.0**-42)
    fast, places = proposals_compiled.propose(given, sigma, digits, 2.0**-42)
    assert magnitude.tobytes() == fast.tobytes()
    assert np.array_equal(undecided, places)
    magnitude = np.abs(np.nan_to_num(magnitude, neginf=0.0))[::-1].copy()
    found = [
        lanes.judge(given, signs, magnitude, fraction, sigma, digits, 2.0**-42) for lanes in LANES
    ]
    for one, other in zip(*found, strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("count", [1, 2, 2047, 2048, 2049, 5000])
@pytest.mark.parametrize("slack", [2.0**-42, 0.01])
def test_an_attempt_has_equal_bits(count: int, slack: float) -> None:
    """With the larger slack some draw is left open in a block that is not the first."""
    rng, outcomes = np.random.default_rng(7), set[bool]()
    for seed in range(20):
        drawn = SeededRandomness(9, seed).words(2 * count)
        pending = rng.permutation(2 * count)[:count]
        fraction = rng.uniform(-0.5, 0.5, 2 * count)
        outs = [np.zeros(2 * count, np.int64) for _ in LANES]
        left = [
            lanes.attempt(drawn, 4.0, 63, slack, pending, fraction, out)
            for lanes, out in zip(LANES, outs, strict=True)
        ]
        outcomes.add(left[0] is None)
        if left[0] is None:
            assert left[1] is None
            continue
        assert np.array_equal(left[0], left[1])
        settled = np.setdiff1d(pending, left[0])  # what is pending is written again
        assert np.array_equal(outs[0][settled], outs[1][settled])
    assert (slack < 0.01) or count < 2000 or True in outcomes


def test_values_behind_the_decisions_have_equal_bits() -> None:
    """−ln u by a floor of 2^60 of it; its distance from γ by an error that just reaches it.

    Contraction or reordering, which most decisions would not show, is seen here.
    """
    given = words()
    for slack in (0.0, 2.0**-42):
        one, other = (lanes.propose(given, 2.0**60, 63, slack) for lanes in LANES)
        assert one[0].tobytes() == other[0].tobytes()
    signs, drawn = SeededRandomness(8).words(600).reshape(2, 300)
    drawn = drawn >> np.arange(300, dtype=np.uint64) % np.uint64(10)
    fraction = np.random.default_rng(10).uniform(-0.5, 0.5, 300)
    magnitude = np.arange(300) % 30 + 50.0  # near σ, so that γ is small and hides no digit
    toward = np.where(signs & np.uint64(1), fraction, -fraction)
    value, further = proposals.exponential(drawn, 63, 0.0)
    apart = np.abs(value - proposals.exponent(magnitude, toward, np.float64(63.3)))
    checked = 0
    for i in range(300):
        given_once = (drawn[[i]], signs[[i]], magnitude[[i]], fraction[[i]], 63.3, 63)
        for reach, undecided in ((apart[i], 1), (np.nextafter(apart[i], 0), 0)):
            slack = reach - further[i]
            if slack + further[i] == reach:
                checked += 1
                for lanes in LANES:
                    assert len(lanes.judge(*given_once, slack)[1]) == undecided
    assert checked > 500


@pytest.mark.parametrize("lanes", LANES, ids=["numpy", "compiled"])
@pytest.mark.parametrize(
    ("size", "sigma", "digest"),
    [
        (5858, 4.0, "cf17edcc3ebbbc51e405430069c7dff2"),
        (5858, 63.3, "a3f5f11f690e763f3797f0248a185275"),
        (5858, 1500.25, "d56fbe5b5e2d542f1eff22cdd0073e04"),
        (5858, 2.0**32, "07bdd9a387a375c898c51a62b4961fc9"),
        (2**15, 63.3, "0458a0e903b6e83ace991d84b15a4e20"),  # the most that one piece holds
        (2**15 + 1, 63.3, "7bb4939d17e9cb0ab7fe7df32e10a134"),
    ],
)
def test_known_answers(lanes: ModuleType, size: int, sigma: float, digest: str) -> None:
    """Recorded before there were compiled lanes, but the last; the platform's log has no part."""
    found, _ = drawn(lanes, np.linspace(-1000, 1000, size), sigma, 13)
    assert hashlib.sha256(found.astype("<i8").tobytes()).hexdigest()[:32] == digest


def test_few_draws_do_not_wait_for_compiled_code(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "privfed.dp.proposals_compiled"
    monkeypatch.delitem(sys.modules, name)
    assert discrete._lanes(1) is proposals
    assert discrete._lanes(2**12) is proposals_compiled
    monkeypatch.setitem(sys.modules, name, proposals_compiled)
    assert discrete._lanes(1) is proposals_compiled  # now it is there
    monkeypatch.setattr(discrete, "_compilable", lambda: False)
    assert discrete._lanes(2**12) is proposals


def test_without_numba_the_draws_are_the_same() -> None:
    code = (
        "import sys; sys.modules['numba'] = None\n"
        "import numpy as np\n"
        "from privfed.dp import SeededRandomness\n"
        "print(SeededRandomness(14).noisy(np.zeros(5858), 1.5).tobytes().hex())\n"
        "assert 'privfed.dp.proposals_compiled' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert discrete._lanes(5858) is proposals_compiled
    assert done.stdout.strip() == SeededRandomness(14).noisy(np.zeros(5858), 1.5).tobytes().hex()


def test_compiled_code_that_rounds_differently_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One decision is enough."""
    real = proposals_compiled.judge

    def off(
        words: NDArray[np.uint64], signs: Any, magnitude: Any, fraction: Any, *rest: Any
    ) -> tuple[NDArray[np.bool_], NDArray[np.intp]]:
        accepted, undecided = real(words, signs, magnitude, fraction, *rest)
        accepted[77] ^= True
        return accepted, undecided

    monkeypatch.setattr(proposals_compiled, "judge", off)
    discrete._checked.cache_clear()
    try:
        with pytest.warns(PrivacyWarning, match="compiled noise rounds differently"):
            assert discrete._lanes(2**12) is proposals
        assert discrete._lanes(2**12) is proposals  # and it is said once
    finally:
        discrete._checked.cache_clear()
