"""Noisy counts and sums: who sees whose noise, and attacks that work on exact ones only.

Each statistical test says how often it fails on a right program.
"""

import math
import struct
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from psi import (
    CardinalityReceiver,
    CardinalitySender,
    DecodeError,
    MinimumError,
    NoisyCardinalityReceiver,
    NoisyCardinalitySender,
    NoisySumReceiver,
    NoisySumSender,
    OwnNoise,
    SessionParameters,
    SizeLimitError,
    StateError,
    SumParameters,
    SumReceiver,
    SumSender,
    padded,
)
from psi.group.ristretto255 import (
    POINT_BYTES,
    Points,
    Scalar,
    multiply,
    points_from_bytes,
    subtract,
)
from psi.protocols.elements import rows_of
from psi.protocols.noise import EXACT, NOTHING
from tests.psi.peers import (
    HEADER_BYTES,
    LEFT,
    LITTLE,
    MAC_BYTES,
    ONE,
    PAIRS,
    RIGHT,
    Attack,
    forge,
    patch,
    run,
    sent,
)
from tests.psi.protocols.test_cheats import CuriousCounter, tags_of

ONE_SIDE = SessionParameters(output="receiver")
NUMBERS = [b"%d" % number for number in range(60)]
items = st.lists(st.binary(max_size=1), unique=True, max_size=12)
noises = st.sampled_from([OwnNoise(20), OwnNoise(2), OwnNoise(0.7, 1e-5)])


def noise_of(party: Any, figure: int) -> int:
    """The number that a side drew for a figure."""
    drawn: int = party._added[figure] - party._own[figure].bound
    return drawn


# -- who sees what ------------------------------------------------------------------------------


@given(items, items, noises, noises)
@settings(max_examples=25, deadline=None)
def test_each_side_counts_with_the_other_s_noise(
    left: list[bytes], right: list[bytes], one: OwnNoise, other: OwnNoise
) -> None:
    receiver = NoisyCardinalityReceiver(left, noise=one)
    sender = NoisyCardinalitySender(right, noise=other)
    run(receiver, sender)
    count = len(set(left) & set(right))
    assert receiver.cardinality == count + noise_of(sender, 0)
    assert sender.cardinality == count + noise_of(receiver, 0)
    assert (receiver.cost, sender.cost) == (one.cost, other.cost)
    assert receiver.cardinality_within == other.over([1])[0].within


@given(items, items, noises, noises, st.data())
@settings(max_examples=25, deadline=None)
def test_each_side_sums_with_the_other_s_noise(
    left: list[bytes], right: list[bytes], one: OwnNoise, other: OwnNoise, data: st.DataObject
) -> None:
    values = data.draw(st.lists(st.integers(0, 9), min_size=len(right), max_size=len(right)))
    minimum = data.draw(st.integers(1, 3))
    parameters = SumParameters(minimum=minimum, max_value=9)
    receiver = NoisySumReceiver(left, parameters, noise=one)
    sender = NoisySumSender(right, values, parameters, noise=other)
    count = len(set(left) & set(right))
    counted = count + noise_of(receiver, 0) + noise_of(sender, 0)
    if min(len(left), len(right)) < minimum or counted < minimum:
        with pytest.raises(MinimumError, match=f"fewer than {minimum} matches by the noisy count"):
            run(receiver, sender)
        return
    run(receiver, sender)
    expected = sum(value for item, value in zip(right, values, strict=True) if item in left)
    assert receiver.cardinality == count + noise_of(sender, 0)
    assert sender.cardinality == count + noise_of(receiver, 0)
    assert receiver.sum == expected + noise_of(sender, 1)
    assert sender.sum == expected + noise_of(receiver, 1)
    assert receiver.sum_within == other.over([1, 9])[1].within


def test_only_the_receiver_learns_if_so_agreed() -> None:
    receiver = NoisyCardinalityReceiver(LEFT, ONE_SIDE, noise=LITTLE)
    sender = NoisyCardinalitySender(RIGHT, ONE_SIDE, noise=LITTLE)
    messages = run(receiver, sender)
    assert receiver.cardinality == 2 + noise_of(sender, 0)
    assert (receiver.cost, sender.cost) == (NOTHING, LITTLE.cost)
    with pytest.raises(StateError, match="receiver only"):
        _ = sender.cardinality
    assert [message[24:32] for message in messages[4:]] == [bytes(8)] * 2


def test_a_receiver_that_learns_alone_compares_the_minimum_with_its_own_noise() -> None:
    parameters = SumParameters(output="receiver", minimum=2, max_value=1000)
    for own, stops in ((-3, True), (3, False)):  # of 2 matches, and next to none at the sender
        receiver = NoisySumReceiver(LEFT, parameters, noise=LITTLE)
        sender = NoisySumSender(RIGHT, [1000, 200, 30, 4], parameters, noise=LITTLE)
        assert receiver._own == LITTLE.over([1])
        receiver._added[0] = receiver._own[0].bound + own
        messages = run(receiver, sender)
        if stops:
            with pytest.raises(MinimumError):
                assert receiver.sum
            continue
        assert receiver.sum == 1030 + noise_of(sender, 1)
        assert [message[24:32] for message in messages[4:]] == [bytes(8)] * 4
        assert (receiver.cost, sender.cost) == (LITTLE.cost, LITTLE.cost)


def test_what_exact_sessions_cost() -> None:
    assert CardinalityReceiver(LEFT).cost == CardinalitySender(RIGHT, ONE_SIDE).cost == EXACT
    assert CardinalityReceiver(LEFT, ONE_SIDE).cost == NOTHING
    assert SumReceiver(LEFT, SumParameters(output="receiver")).cost == EXACT  # it goes on or not
    assert all(
        PAIRS[name]()[role].cost == EXACT for name in ("ecdh", "ids", "vole") for role in (0, 1)
    )


@pytest.mark.parametrize("name", ["cardinality, noisy", "sum, noisy"])
def test_lengths_and_numbers_of_messages_say_nothing_of_noise(name: str) -> None:
    shapes = set()
    for own in range(5):
        receiver, sender = PAIRS[name]()
        sender._added[0] = own
        receiver._added[0] = 2 * receiver._own[0].bound  # so that a sum goes on
        shapes.add(tuple((message[5], len(message)) for message in run(receiver, sender)))
    assert len(shapes) == 1


def test_the_places_of_matching_dummies_say_nothing() -> None:
    """Each of 8 places is theirs equally often; fails once in 10^9 runs of a right program."""

    class Watching(NoisyCardinalityReceiver):
        def _common(self, data: memoryview) -> set[bytes]:
            common = super()._common(data)
            self.places = [n for n, tag in enumerate(self._peer_tags[1:]) if tag in common]
            return common

    seen = np.zeros(8)
    for _ in range(200):
        receiver = Watching([], ONE_SIDE, noise=LITTLE)
        sender = NoisyCardinalitySender(RIGHT, ONE_SIDE, noise=LITTLE)
        sender._added[0] = 2
        run(receiver, sender)
        assert len(receiver.places) == 2
        seen[receiver.places] += 1
    assert stats.chisquare(seen).pvalue > 1e-9


def test_a_side_that_adds_no_noise_changes_nothing_of_the_other_s() -> None:
    for idle in (0, 1):
        parties: tuple[Any, Any] = (
            NoisySumReceiver(LEFT, ONE, noise=LITTLE),
            NoisySumSender(RIGHT, [1000, 200, 30, 4], ONE, noise=LITTLE),
        )
        parties[idle]._added = [one.bound for one in parties[idle]._own]
        active = parties[1 - idle]
        active._added[0] = active._own[0].bound + 1
        run(*parties)
        # It sees the noise of the other, and the other sees it bare.
        assert parties[idle].cardinality == 2 + 1
        assert parties[idle].sum == 1030 + noise_of(active, 1)
        assert (active.cardinality, active.sum) == (2, 1030)


@pytest.mark.parametrize("added", [0, 1, 2])
def test_all_noise_from_the_least_to_the_largest_is_added(added: int) -> None:
    receiver, sender = PAIRS["sum, noisy"]()
    for party in (receiver, sender):
        party._added = [added * one.bound for one in party._own]
    receiver._added[0] = 2 * receiver._own[0].bound  # so that the sum goes on
    run(receiver, sender)
    assert receiver.sum == 1030 + noise_of(sender, 1)
    assert sender.sum == 1030 + noise_of(receiver, 1)
    assert receiver.cardinality == 2 + noise_of(sender, 0)


def test_padding_changes_nothing() -> None:
    left = padded(LEFT, 9, side="receiver")
    right = padded(RIGHT, 7, side="sender")
    receiver = NoisySumReceiver(left, ONE, noise=LITTLE)
    sender = NoisySumSender(right, [1000, 200, 30, 4, 0, 0, 0], ONE, noise=LITTLE)
    run(receiver, sender)
    assert receiver.cardinality == 2 + noise_of(sender, 0)
    assert sender.sum == 1030 + noise_of(receiver, 1)


def test_noise_is_drawn_before_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    parties = [PAIRS[name]() for name in ("cardinality, noisy", "sum, noisy")]
    monkeypatch.setattr("psi.protocols.noise.secrets.randbelow", pytest.fail)
    assert all(run(*pair) for pair in parties)


def drawn_scalars(sender: type[Any], added: int, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many scalars a sender draws to answer, with so much added to its count."""
    receiver = NoisyCardinalityReceiver(LEFT, noise=LITTLE)
    answering = sender(RIGHT, noise=OwnNoise(2))
    answering._added[0] = added
    points = receiver.receive(answering.receive(receiver.start()))
    random = Mock(wraps=Scalar.random)
    with monkeypatch.context() as patched:
        patched.setattr(Scalar, "random", random)
        answering.receive(points)
    return random.call_count


class DrawingLess(NoisyCardinalitySender):
    """Draws scalars for the dummies that do not match, and no others: the fault."""

    def _doubly_blinded(self, data: memoryview) -> tuple[list[bytes], bytes]:
        every = self._multipliers
        self._multipliers = every[self._added[0] :]
        doubly, key = super()._doubly_blinded(data)
        self._multipliers = every
        return doubly, key


def test_the_work_is_the_same_for_every_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    most = 2 * OwnNoise(2).over([1])[0].bound
    every = range(most + 1)
    product = [drawn_scalars(NoisyCardinalitySender, added, monkeypatch) for added in every]
    assert len(set(product)) == 1
    faulty = [drawn_scalars(DrawingLess, added, monkeypatch) for added in every]
    assert faulty == [product[0] - added for added in every]


@pytest.mark.parametrize("added", [0, 1])
def test_a_sum_s_noise_is_added_by_the_same_steps_if_it_is_the_least(
    added: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver, sender = PAIRS["sum, noisy"]()
    sender._added[1] = added
    receiver._added[0] = 2 * receiver._own[0].bound  # so that the sum goes on
    counted = Mock(wraps=subtract)
    monkeypatch.setattr("psi.protocols.noisy.subtract", counted)
    run(receiver, sender)
    counted.assert_called_once()
    assert receiver.sum == 1030 + noise_of(sender, 1)


# -- attacks ------------------------------------------------------------------------------------


def most_right(epsilon: float, tries: int) -> int:
    """How many guesses of two neighbours are right at most, but once in 10^9 times.

    Whoever sees what is ε-private guesses right with a chance of at most exp(ε)/(1+exp(ε)).
    """
    chance = math.exp(epsilon) / (1 + math.exp(epsilon))
    return int(stats.binom.isf(1e-9, tries, chance))


def planted_sum(value: int, noise: OwnNoise | None) -> int | None:
    """What nine accounts of one's own and one target give; None if there are too few by count."""
    planted = dict.fromkeys(NUMBERS[:9], 1)
    accounts = {**planted, b"target": value, b"other": 12}
    parameters = SumParameters(output="receiver", minimum=1, max_value=20)
    rows = list(accounts), list(accounts.values()), parameters
    receiver: Any
    if noise is None:
        receiver, sender = SumReceiver([*planted, b"target"], parameters), SumSender(*rows)
    else:
        # A curious receiver adds as little as it can.
        receiver = NoisySumReceiver([*planted, b"target"], parameters, noise=LITTLE)
        sender = NoisySumSender(*rows, noise=noise)
    run(receiver, sender)
    try:
        found: int = receiver.sum - 9
    except MinimumError:
        return None
    return found


@pytest.mark.parametrize("noise", [None, OwnNoise(1.0)])
def test_nine_planted_ids_tell_the_tenth_s_value_of_exact_sums_alone(
    noise: OwnNoise | None,
) -> None:
    """The attack guesses between 0 and 20 by the sum; fails once in 10^9 runs."""
    tries = 100
    guesses = [(value, planted_sum(value, noise)) for value in (0, 20) for _ in range(tries // 2)]
    right = sum(found is not None and (found > 10) == (value > 10) for value, found in guesses)
    if noise is None:
        assert right == tries
    else:
        assert right <= most_right(0.5, tries) < tries  # half of ε is the sum's


def difference(there: bool, noise: OwnNoise | None) -> int:
    """The difference of two counts, one with and one without the target."""
    theirs = [*NUMBERS[:5], *([b"target"] if there else [b"nobody"])]
    counts: list[int] = []
    for asked in ([*NUMBERS[:8], b"target"], NUMBERS[:8]):
        receiver: Any
        if noise is None:
            receiver, sender = CardinalityReceiver(asked), CardinalitySender(theirs)
        else:
            receiver = NoisyCardinalityReceiver(asked, noise=LITTLE)
            sender = NoisyCardinalitySender(theirs, noise=noise)
        run(receiver, sender)
        counts.append(receiver.cardinality)
    return counts[0] - counts[1]


@pytest.mark.parametrize("noise", [None, OwnNoise(0.25, 1e-5)])
def test_the_difference_of_two_counts_tells_of_one_id_if_they_are_exact(
    noise: OwnNoise | None,
) -> None:
    """The attack guesses whether the target is there; fails once in 10^9 runs."""
    tries = 80
    right = sum(
        (difference(there, noise) > 0) == there
        for there in (False, True)
        for _ in range(tries // 2)
    )
    if noise is None:
        assert right == tries
    else:
        assert right <= most_right(2 * 0.25, tries) < tries  # what two sessions cost


def test_a_receiver_cannot_undo_the_noise_by_what_it_puts_in() -> None:
    """Whatever set it brings, none of its items matches a dummy."""
    for asked in ([], NUMBERS, [b"psi dummy of the sender, " + bytes(32)]):
        receiver = NoisyCardinalityReceiver(asked, noise=LITTLE)
        sender = NoisyCardinalitySender(NUMBERS[:20], noise=LITTLE)
        sender._added[0] = 4
        run(receiver, sender)
        assert receiver.cardinality == len(set(asked) & set(NUMBERS[:20])) + 2


class TwoScalars(NoisyCardinalityReceiver):
    """Blinds its items, and not what makes the key, by a second scalar."""

    def _blind(self) -> Points:
        points, end = super()._blind(), len(self._items) + 1
        self.second = Scalar.random()
        self._sent = np.vstack([points[:1], multiply(self.second, points[1:end])])
        return np.vstack([self._sent, points[end:]])

    def _blind_again(self, data: memoryview) -> None:
        doubly, key = self._doubly_blinded(data)
        self._peer_tags = tags_of(self, key, doubly)
        theirs = multiply(self.second, points_from_bytes(b"".join(doubly[1:])))
        self.tags_of_items = set(tags_of(self, key, rows_of(theirs.data, POINT_BYTES)))

    def _common(self, data: memoryview) -> set[bytes]:
        items = self.tags_of_items.intersection(self._own_tags(data))
        self.exact = len(items)
        return super()._common(data) | items  # as many as an honest one finds


def test_a_receiver_undoes_the_noise_by_a_second_scalar() -> None:
    """As docs/psi.md admits; the sender sees nothing of it."""
    for number in (0, 7, 20):
        curious = TwoScalars(NUMBERS[:20], noise=LITTLE)
        sender = NoisyCardinalitySender(NUMBERS[20 - number :], noise=OwnNoise(0.1, 1e-5))
        run(curious, sender)
        assert curious.exact == number
        assert curious.cardinality == number + noise_of(sender, 0)  # what an honest one sees
        assert sender.cardinality == number + noise_of(curious, 0)


class CuriousNoisyCounter(CuriousCounter, NoisyCardinalityReceiver):
    """Blinds each of its items by a scalar of its own, against a side that adds noise."""


def test_noise_hides_nothing_from_a_side_with_many_scalars() -> None:
    """As docs/psi.md admits: what is promised is of sides that follow the protocol."""
    curious = CuriousNoisyCounter(NUMBERS[:40], ONE_SIDE, noise=LITTLE)
    run(curious, NoisyCardinalitySender(NUMBERS[25:], ONE_SIDE, noise=OwnNoise(0.1, 1e-5)))
    assert curious.learnt == set(NUMBERS[25:40])


# -- hostile peers ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cardinality, noisy", "sum, noisy"])
@pytest.mark.parametrize("stop", [0, 1])
@pytest.mark.parametrize(
    ("epsilon", "delta"),
    [(0.0, 1e-9), (-1.0, 1e-9), (math.nan, 1e-9), (math.inf, 1e-9), (1.0, 0.5), (1.0, math.nan)],
)
def test_noise_that_is_none(name: str, stop: int, epsilon: float, delta: float) -> None:
    with pytest.raises(DecodeError, match="noise that is none"):
        forge(PAIRS[name], stop, patch(64, struct.pack(">dd", epsilon, delta)))


def test_fewer_points_than_the_noise_takes() -> None:
    with pytest.raises(DecodeError, match="fewer points than its noise takes"):
        forge(PAIRS["cardinality, noisy"], 1, patch(64, struct.pack(">dd", 0.1, 1e-9)))


def test_numbers_that_cannot_be() -> None:
    attack = Attack(PAIRS["cardinality, noisy"], 4)
    most = attack.victim._most_told()
    assert most == 3 + 2 * (2 + 2)  # of items, and the largest noise of either
    body = attack.message[HEADER_BYTES:-32]
    attack.victim.receive(attack.sealed(body, confirm=True, count=most))
    attack = Attack(PAIRS["cardinality, noisy"], 4)
    with pytest.raises(DecodeError, match="announces"):
        attack.victim.receive(attack.sealed(body, confirm=True, count=most + 1))


def test_a_sum_that_cannot_be() -> None:
    with pytest.raises(DecodeError, match="cannot have"):
        forge(PAIRS["sum, noisy"], 6, patch(MAC_BYTES, b"\xff" * 8), confirm=True)


def test_sums_whose_noise_takes_too_long_to_search_through() -> None:
    parameters = SumParameters(minimum=1, max_value=1 << 30)
    receiver = NoisySumReceiver(LEFT, parameters, noise=OwnNoise(0.01))
    sender = NoisySumSender(RIGHT, [1, 2, 3, 4], parameters, noise=OwnNoise(0.01))
    with pytest.raises(SizeLimitError, match="lower max_value"):
        sender.receive(sent(receiver.start()))


@pytest.mark.parametrize("name", ["cardinality, noisy", "sum, noisy"])
def test_secrets_are_forgotten(name: str) -> None:
    receiver, sender = PAIRS[name]()
    run(receiver, sender)
    assert (receiver._key, sender._key, list(sender._multipliers)) == (None, None, [])
