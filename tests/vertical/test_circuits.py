"""The circuits of vertical learning against plain integers, and the bound on what they let out."""

from __future__ import annotations

import dataclasses
import itertools
from math import isqrt
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from privfed.errors import CapacityError, ConfigError
from privfed.garbled import Lengths, Numbers
from privfed.vertical.linear.circuits import (
    fresh_shares,
    open_scores,
    opened_values,
    project,
    projection_values,
    score_values,
    scores,
)
from privfed.vertical.linear.projections import (
    Integers,
    Opening,
    Projection,
    Residues,
    opened,
    projected,
    projected_bound,
    shared_values,
)
from tests.garbled.runs import garbled, transfers

PRIME = 562949953404929  # below 2^49, 1 mod 2^14
# A prime in the middle, Mersenne's form, one above a power of two, and small ones.
MODULI = [PRIME, 2**49 - 1, 2**48 + 1, 3 * 2**47 + 1, 2**61 - 1, 127, 97, 129]


def shared(modulus: int, values: Integers, guest: Residues) -> Residues:
    """The host's shares."""
    numbers = zip(values.tolist(), guest.tolist(), strict=True)
    return np.array([(value - share) % modulus for value, share in numbers], np.uint64)


def reachable(plan: Projection | Opening) -> tuple[int, int]:
    """The least and the greatest value that a plan takes."""
    half, offset = (1 << plan.drop) >> 1, 1 << (plan.value_bits - 1)
    return -offset - half, offset - half - 1


@st.composite
def values_and_shares(draw: st.DrawFn, plan: Projection | Opening) -> tuple[Integers, Residues]:
    least, most = reachable(plan)
    value = st.one_of(
        st.integers(least, most),
        st.sampled_from([least, most, 0, -1, 1]),
        st.integers(max(least, -9), min(most, 9)),
    )
    last = plan.modulus - 1
    share = st.one_of(st.integers(0, last), st.sampled_from([0, 1, last // 2, last // 2 + 1, last]))
    values, guest = (
        draw(st.lists(each, min_size=plan.lanes, max_size=plan.lanes)) for each in (value, share)
    )
    return np.array(values, np.int64), np.array(guest, np.uint64)


@st.composite
def projections(draw: st.DrawFn) -> Projection:
    modulus = draw(st.sampled_from(MODULI))
    value_bits = draw(st.integers(2, min(modulus.bit_length() - 1, 45)))
    drop = draw(st.integers(0, value_bits - 2))
    bits = value_bits - 1 - drop
    cut = draw(st.integers(max(0, bits - 24), bits - 1))
    lanes, beta_bits = draw(st.integers(1, 6)), draw(st.integers(1, 8))
    top = lanes * 4 ** (bits - cut)
    thresholds = sorted(draw(st.sets(st.integers(1, top), max_size=6)))
    beta = st.integers(0, 2**beta_bits - 1)
    betas = draw(st.lists(beta, min_size=len(thresholds), max_size=len(thresholds)))
    to_guest = draw(st.integers(0, lanes))
    return Projection(
        modulus, lanes, value_bits, drop, cut, tuple(thresholds), tuple(betas), beta_bits,
        to_guest, draw(st.integers(0, lanes - to_guest)), draw(st.integers(0, bits - 1)),
    )  # fmt: skip


def check_projection(
    plan: Projection, values: Integers, found: tuple[Numbers, Numbers], fresh: Residues
) -> None:
    wanted = projected(plan, values)
    end = plan.to_guest + plan.to_host
    rounded = opened(plan, wanted)
    if plan.to_guest:
        assert opened_values(plan, found[0]).tolist() == rounded[: plan.to_guest].tolist()
    if plan.to_host:
        assert opened_values(plan, found[1]).tolist() == rounded[plan.to_guest : end].tolist()
    if plan.shared:
        host = found[1]["share"]
        assert np.all(host < plan.modulus)
        differences = host.astype(object) + fresh.astype(object) - (wanted[end:] << plan.drop)
        assert not np.any(differences % plan.modulus)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_projection_is_that_of_integers(data: st.DataObject) -> None:
    plan = data.draw(projections())
    values, guest = data.draw(values_and_shares(plan))
    fresh = fresh_shares(plan.modulus, plan.shared)
    own = projection_values(plan, guest, fresh)
    found = project(plan).compute(own, {"share": shared(plan.modulus, values, guest)})
    check_projection(plan, values, found, fresh)


def test_every_value_and_every_share_of_a_small_plan() -> None:
    """All of it: 16 values x 37 shares, each with 37 new shares."""
    plan = Projection(37, 37, 4, 1, 0, (), (), 1)
    least, most = reachable(plan)
    every = np.arange(37, dtype=np.uint64)
    for value, share in itertools.product(range(least, most + 1), range(37)):
        values, guest = np.full(37, value), np.full(37, share, np.uint64)
        own = projection_values(plan, guest, every)
        found = project(plan).compute(own, {"share": shared(37, values, guest)})
        check_projection(plan, values, found, every)
        # Uniform and independent of the value: each residue for just one new share.
        assert sorted(found[1]["share"].tolist()) == list(range(37))


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_garbled_it_is_the_same(data: st.DataObject) -> None:
    plan = data.draw(projections())
    values, guest = data.draw(values_and_shares(plan))
    fresh = fresh_shares(plan.modulus, plan.shared)
    host = {"share": shared(plan.modulus, values, guest)}
    found = garbled(project(plan), projection_values(plan, guest, fresh), host, transfers())
    check_projection(plan, values, found, fresh)


# -- the bound ------------------------------------------------------------------------------------


def norm(numbers: Integers) -> int:
    return sum(int(number) ** 2 for number in numbers.tolist())


@st.composite
def worst_values(draw: st.DrawFn, plan: Projection) -> Integers:
    """Values that the sum of squares counts as little as it can: the cut bits are all set."""
    most = (1 << (plan.magnitude_bits - plan.cut)) - 1
    high = draw(st.lists(st.integers(0, most), min_size=plan.lanes, max_size=plan.lanes))
    signs = draw(st.lists(st.booleans(), min_size=plan.lanes, max_size=plan.lanes))
    ends = [((each + 1) << plan.cut) - 1 for each in high]
    values = [-end - 1 if sign else end for end, sign in zip(ends, signs, strict=True)]
    return np.array(values, np.int64) << plan.drop


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_no_projection_passes_its_bound(data: st.DataObject) -> None:
    plan = data.draw(projections())
    values = data.draw(st.one_of(worst_values(plan), values_and_shares(plan).map(lambda v: v[0])))
    assert norm(projected(plan, values)) <= projected_bound(plan)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_a_ball_holds_what_can_come(data: st.DataObject) -> None:
    lanes = data.draw(st.integers(1, 40))
    drop = data.draw(st.integers(0, 17))
    radius = data.draw(st.integers(200 * (isqrt(lanes) + 1), 2**20))
    reach = data.draw(st.integers(radius, 20 * radius))
    try:
        plan = Projection.onto_ball(PRIME, lanes, drop + 25, drop, radius, reach)
    except CapacityError:
        assume(False)
    assert projected_bound(plan, reach) <= radius**2
    values = data.draw(worst_values(plan))
    scale = min(1.0, reach / isqrt(norm(values >> drop) + 1))
    scaled = (values * scale).astype(np.int64)
    assume(norm((scaled + ((1 << drop) >> 1)) >> drop) <= reach**2)
    assert norm(projected(plan, scaled)) <= radius**2


def test_a_ball_leaves_alone_what_is_well_within() -> None:
    plan = Projection.onto_ball(PRIME, 101, 42, 17, radius=2**22, reach=2**24)
    direction = np.random.default_rng(1).normal(size=101)
    direction /= np.linalg.norm(direction)
    for share, least in ((0.9, 0.9), (1.05, 0.9), (1.9, 0.9), (3.9, 0.88)):
        values = np.rint(direction * share * 2**22).astype(np.int64)
        after = projected(plan, values << 17)
        assert least - 1e-3 < norm(after) ** 0.5 / 2**22 <= 1
        if share < 0.95:
            assert np.array_equal(after, values)
        else:  # the direction stays: to one part in a thousand
            assert np.linalg.norm(after / np.linalg.norm(after) - direction) < 1e-3


def test_the_bound_is_no_larger_than_it_must_be() -> None:
    plan = Projection(PRIME, 10, 42, 17, 16, (10 * 100**2,), (8,), 4)
    values = np.full(10, (100 << 16) - 1, np.int64) << 17  # 99 once cut: below the threshold
    assert projected(plan, values).tolist() == (values >> 17).tolist()
    within = norm(projected(plan, values))
    assert within <= projected_bound(plan, 2**25) <= 1.03 * within


def test_a_finer_shrinking_that_rounding_outweighs_is_left_out() -> None:
    """In a ball of some grid units, each bit of beta costs more by rounding than it gains."""
    plan = Projection.onto_ball(PRIME, 9, 30, 5, radius=100, reach=200, beta_bits=8)
    assert plan.betas[:3] == (8, 16, 24)
    assert projected_bound(plan, 200) <= 100**2


def test_balls_that_cannot_be_reached_are_refused() -> None:
    with pytest.raises(CapacityError, match="smaller steps or a larger ball"):
        Projection.onto_ball(PRIME, 101, 42, 17, radius=2**16, reach=2**24)
    with pytest.raises(CapacityError, match="drop fewer bits"):
        Projection.onto_ball(PRIME, 101, 42, 17, radius=10, reach=2**24)


# -- scores ---------------------------------------------------------------------------------------


@st.composite
def openings(draw: st.DrawFn) -> Opening:
    modulus = draw(st.sampled_from(MODULI))
    value_bits = draw(st.integers(3, min(modulus.bit_length() - 1, 45)))
    lanes = draw(st.integers(1, 6))
    if draw(st.booleans()):
        most = 1 << (value_bits - 2)
        return Opening(modulus, lanes, value_bits, threshold=draw(st.integers(-most, most - 1)))
    drop = draw(st.integers(0, value_bits - 2))
    bits = draw(st.integers(1, value_bits - drop))
    return Opening(modulus, lanes, value_bits, drop=drop, bits=bits)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_scores_open_as_those_of_integers(data: st.DataObject) -> None:
    plan = data.draw(openings())
    values, guest = data.draw(values_and_shares(plan))
    if plan.threshold is not None:  # within what the plan states of the score less the threshold
        least, most = reachable(plan)
        values = np.clip(values, least // 2, most // 2)
        values[:1] = plan.threshold + data.draw(st.integers(-1, 1))
    host = {"share": shared(plan.modulus, values, guest)}
    own, theirs = open_scores(plan).compute(score_values(plan, guest), host)
    assert scores(plan, own).tolist() == opened(plan, values).tolist()
    assert theirs == {}  # to the guest alone


def test_scores_garbled() -> None:
    random, rows = np.random.default_rng(4), 500
    values = random.integers(-(2**40), 2**40, rows)
    guest = fresh_shares(PRIME, rows)
    host = {"share": shared(PRIME, values, guest)}
    for plan in (
        Opening(PRIME, rows, 42, threshold=2**38),
        Opening(PRIME, rows, 42, drop=35, bits=5),
    ):
        found, _ = garbled(open_scores(plan), score_values(plan, guest), host, transfers())
        assert scores(plan, found).tolist() == opened(plan, values).tolist()
    assert len(set(opened(plan, values).tolist())) == 32  # of 64: both ends are clamped


# -- plans ----------------------------------------------------------------------------------------

PLAN = Projection(PRIME, 8, 42, 17, 12, (5, 9), (1, 2), 5)


@pytest.mark.parametrize(
    "change",
    [
        {"modulus": 2**49}, {"modulus": 2**62 + 1}, {"lanes": 0}, {"value_bits": 49},
        {"value_bits": 18}, {"drop": -1}, {"cut": 24}, {"cut": -1}, {"thresholds": (9, 5)},
        {"thresholds": (5, 5)}, {"thresholds": (0, 5)}, {"thresholds": (5,)}, {"betas": (1, 32)},
        {"betas": (-1, 2)}, {"to_guest": 9}, {"to_guest": 5, "to_host": 4}, {"to_host": -1},
        {"rounding": 24}, {"rounding": -1}, {"modulus": 2**61 - 1, "value_bits": 60, "cut": 0},
    ],
)  # fmt: skip
def test_projections_that_cannot_be_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        dataclasses.replace(PLAN, **change)


@pytest.mark.parametrize("change", [{"bits": 0}, {"bits": 26}, {"modulus": 8}, {"value_bits": 49}])
def test_openings_that_cannot_be_are_refused(change: dict[str, int]) -> None:
    with pytest.raises(ConfigError):
        dataclasses.replace(Opening(PRIME, 3, 42, drop=17, bits=4), **change)


def test_a_plan_is_built_once() -> None:
    assert project(PLAN) is project(dataclasses.replace(PLAN))


def test_what_a_projection_costs() -> None:
    """101 coefficients, as docs state it: a change of this is a change of the page."""
    plan = Projection.onto_ball(PRIME, 101, 42, 17, radius=2**22, reach=2**24)
    assert project(plan).ands == 54436
    assert Lengths.of(project(plan)) == (79240, 1821787, 0)


@pytest.mark.parametrize("modulus", MODULI)
def test_fresh_shares_are_uniform_residues(modulus: int) -> None:
    drawn = fresh_shares(modulus, 4000)
    assert drawn.shape == (4000,)
    assert np.all(drawn < modulus)
    # A fair coin is off by 6.5 standard deviations once in 10^10.
    assert abs(int(np.sum(drawn > modulus // 2)) - 2000) < 206 + 4000 / modulus
    assert len(np.unique(drawn)) > min(modulus, 4000) * 0.9


def test_values_of_shares_are_centred() -> None:
    guest, host = np.array([0, 96, 50, 48, 49], np.uint64), np.array([0, 0, 50, 0, 0], np.uint64)
    assert shared_values(97, guest, host).tolist() == [0, -1, 3, 48, -48]
