"""Counts are exact but for their noise, whose law is the plan's; only the receiver gets them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from privfed.dp import PrivacyPlan, calibrate
from privfed.errors import (
    BudgetExceededError,
    CapacityError,
    ConfigError,
    ContextMismatchError,
    DecodeError,
)
from privfed.vertical.messages import VerticalMessage
from privfed.vertical.roles import Role
from privfed.vertical.scorecards import counting
from privfed.vertical.scorecards.counting import CountingGuest, CountingHost
from privfed.vertical.scorecards.plan import ScorecardPlan
from privfed.vertical.scorecards.texts import ColumnTexts
from privfed.vertical.trees.subsets import MISSING
from privfed.vertical.trees.sums import SumsAnswerer
from psi.errors import StateError
from tests.vertical.scorecards.both import choice, counted_plainly, some_rows, talk

Bend = Callable[[VerticalMessage, bytes], bytes]
Residues = NDArray[np.uint64]
RECEIVERS: tuple[Role, ...] = ("host", "guest")
NAMES = tuple(ColumnTexts(name, ("no", "yes")) for name in ("a", "b", "c"))


class SeeingGuest(CountingGuest):
    """Keeps what it opens, and what it is sent to add to that."""

    def _counted(self, own: Residues, theirs: memoryview) -> NDArray[np.int64]:
        self.opened, self.sent = own, np.frombuffer(theirs, "<u8")
        return super()._counted(own, theirs)


def both(**settings: Any) -> tuple[CountingHost, CountingGuest]:
    codes, labels = some_rows()
    return CountingHost(choice(**settings), codes, NAMES), CountingGuest(choice(**settings), labels)


def receiver(host: CountingHost, guest: CountingGuest) -> CountingHost | CountingGuest:
    return host if host.plan.choice.receiver == "host" else guest


@pytest.mark.parametrize("who", RECEIVERS)
def test_without_noise_counts_are_those_of_the_joined_tables(
    who: Role, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        ScorecardPlan, "noise", lambda plan, randomness: np.zeros(plan.counts, np.int64)
    )
    codes, labels = some_rows()
    host, guest = both(receiver=who)
    talk(host, guest)
    found = receiver(host, guest)
    assert np.array_equal(found.events, counted_plainly(codes, labels == 1, 6))
    assert np.array_equal(found.others, counted_plainly(codes, labels == 0, 6))
    other = guest if found is host else host
    with pytest.raises(StateError, match="for the other side"):
        _ = other.events


@pytest.mark.parametrize("who", RECEIVERS)
def test_the_noise_of_counts_has_the_deviation_of_the_plan(who: Role) -> None:
    """Of 40 runs. A sum of squares of 840 near-Gaussian draws over its variance is within 6 of its
    own deviations but with a chance of 1e-7 or so, a mean within 6 but of 2e-9.
    """
    codes, labels = some_rows()
    events = counted_plainly(codes, labels == 1, 6)
    others = counted_plainly(codes, labels == 0, 6)
    drawn, rest = [], []
    for _ in range(40):
        host, guest = both(receiver=who)
        talk(host, guest)
        drawn.append(receiver(host, guest).events - events)
        rest.append(receiver(host, guest).others - others)
    noise, deviation = np.array(drawn).ravel(), host.plan.deviation
    assert abs(noise.mean()) < 6 * deviation / math.sqrt(noise.size)
    assert abs((noise / deviation).var() - 1) < 6 * math.sqrt(2 / noise.size)
    second = np.array(rest).ravel()
    if who == "host":
        assert np.array_equal(second, -noise)  # the host knows its rows
    else:
        assert abs(np.corrcoef(noise, second)[0, 1]) < 6 / math.sqrt(noise.size)


def eighths(numbers: list[Residues], bits: int) -> NDArray[np.int64]:
    """How many are in each eighth of [0, t)."""
    return np.bincount(np.concatenate(numbers).astype(np.int64) >> (bits - 3), minlength=8)


@pytest.mark.parametrize("masked", [True, False])
def test_the_other_side_reads_uniform_numbers_where_answers_are_masked(
    masked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the guest opens, and what it is sent to add to it: 1,008 numbers of each.

    Each of 16 counts is within 6 deviations of its mean but with a chance of 1e-8. Without masks
    all that opens is a count.
    """
    answered = SumsAnswerer.answered
    monkeypatch.setattr(
        SumsAnswerer, "answered", lambda side, sent, n: answered(side, sent, n, masked=masked)
    )
    codes, labels = np.zeros((2, 300), np.uint8), np.ones(300, np.int64)
    opened, sent = list[Residues](), list[Residues]()
    for _ in range(72):
        host = CountingHost(choice(receiver="guest"), codes)
        guest = SeeingGuest(choice(receiver="guest"), labels)
        talk(host, guest)
        opened.append(guest.opened)
        sent.append(guest.sent)
    for numbers in (opened, sent):
        found = eighths(numbers, host.plan.layout.plain_bits)
        uniform = np.abs(found - found.sum() / 8).max() < 6 * math.sqrt(found.sum() / 8)
        assert len(found) == 8
        assert uniform == masked


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 12), st.integers(2, 9), st.booleans())
def test_no_neighbour_is_farther_than_the_sensitivity(
    seed: int, columns: int, bins: int, worst: bool
) -> None:
    """Every change of one label, and of one row's values: at most sqrt(d) and sqrt(2d)."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, bins, (columns, 30)).astype(np.uint8)
    codes[rng.random(codes.shape) < 0.1] = MISSING
    labels = rng.integers(0, 2, 30)
    row = int(rng.integers(30))
    flipped, moved = labels.copy(), codes.copy()
    flipped[row] ^= 1
    moved[:, row] = (codes[:, row] + 1) % bins if worst else rng.integers(0, bins, columns)

    def counts(codes: Any, labels: Any) -> NDArray[np.int64]:
        both = [counted_plainly(codes, labels == one, bins) for one in (1, 0)]
        return np.array(both)

    here = counts(codes, labels)
    by_label = np.linalg.norm((counts(codes, flipped) - here)[0])
    by_values = np.linalg.norm(counts(moved, labels) - here)
    of_label = ScorecardPlan(choice(bins=bins), 30, columns).sensitivity
    of_values = ScorecardPlan(choice(bins=bins, receiver="guest"), 30, columns).sensitivity
    assert by_label == pytest.approx(of_label)  # every column has the row once
    assert by_values <= of_values + 1e-12
    if worst:
        assert by_values == pytest.approx(of_values)


@pytest.mark.parametrize("who", RECEIVERS)
@pytest.mark.parametrize("epsilon", [0.1, 1.0, 30.0])
def test_the_noise_costs_at_most_what_was_chosen(who: Role, epsilon: float) -> None:
    plan = ScorecardPlan(choice(receiver=who, epsilon=epsilon), 10_000, 4)
    assert plan.privacy.epsilon <= epsilon
    # The discrete noise is wider than the Gaussian it is accounted as, as the proof asks.
    dominating = plan.privacy.noise_multiplier * plan.sensitivity
    assert plan.deviation**2 >= dominating**2 + 4
    assert plan.deviation >= 4
    if epsilon < 30:
        least = calibrate(
            epsilon, 1e-6, noise="local", rows=[10_000], rounds=1, sampling_rates=[1.0],
            l2_clip_norm=plan.sensitivity,
        )  # fmt: skip
        assert plan.privacy.noise_multiplier == least.noise_multiplier


def test_who_adds_noise_pays_before_it_sends_and_nobody_else() -> None:
    codes, labels = some_rows()
    for who in RECEIVERS:
        by_host, by_guest = list[PrivacyPlan](), list[PrivacyPlan]()
        host = CountingHost(choice(receiver=who), codes, charge=by_host.append)
        guest = CountingGuest(choice(receiver=who), labels, charge=by_guest.append)
        talk(host, guest)
        pays, gets = (by_guest, by_host) if who == "host" else (by_host, by_guest)
        assert pays == [host.plan.privacy]
        assert not gets

    def refuse(cost: PrivacyPlan) -> None:
        raise BudgetExceededError("spent")

    host, guest = CountingHost(choice(), codes), CountingGuest(choice(), labels, charge=refuse)
    with pytest.raises(BudgetExceededError):
        talk(host, guest)
    assert not host.done


class BentHost(CountingHost):
    """Sends other bodies than it ought to, in frames that are whole."""

    bend: Bend = staticmethod(lambda kind, body: body)

    def _sealed(self, kind: VerticalMessage, *parts: bytes) -> bytes:
        return super()._sealed(kind, self.bend(kind, b"".join(parts)))


class BentGuest(CountingGuest):
    """The same of the other side."""

    bend: Bend = staticmethod(lambda kind, body: body)

    def _sealed(self, kind: VerticalMessage, *parts: bytes) -> bytes:
        return super()._sealed(kind, self.bend(kind, b"".join(parts)))


def bent(bend: Bend, **settings: Any) -> tuple[BentHost, BentGuest]:
    codes, labels = some_rows()
    host, guest = BentHost(choice(**settings), codes), BentGuest(choice(**settings), labels)
    host.bend = guest.bend = bend
    return host, guest


@pytest.mark.parametrize("kind", [each for each in VerticalMessage if each >= 110])
@pytest.mark.parametrize("longer", [False, True])
def test_a_message_of_another_length_is_refused(kind: VerticalMessage, longer: bool) -> None:
    def bend(sent: VerticalMessage, body: bytes) -> bytes:
        return body if sent != kind else body + b"\0" if longer else body[:-1]

    host, guest = bent(bend)
    with pytest.raises(DecodeError, match=r"where \d+ were agreed on"):
        talk(host, guest)
    taker = guest if kind in (VerticalMessage.SCORECARD_SHAPE, VerticalMessage.COUNTS) else host
    assert not taker.done
    with pytest.raises(StateError):
        taker.receive(b"")


@pytest.mark.parametrize(
    ("numbers", "error"),
    [
        ((500, 0, 0), DecodeError),
        ((500, 4097, 0), DecodeError),
        ((500, 3, 1), DecodeError),  # no names were agreed on
        ((499, 3, 0), ContextMismatchError),
    ],
)
def test_a_shape_that_cannot_be_is_refused(
    numbers: tuple[int, ...], error: type[Exception]
) -> None:
    told = b"".join(number.to_bytes(4, "big") for number in numbers)
    with pytest.raises(error):
        talk(*bent(lambda kind, body: told, receiver="guest"))


def test_a_share_beyond_the_modulus_is_refused() -> None:
    def bend(kind: VerticalMessage, body: bytes) -> bytes:
        return b"\xff" * len(body) if kind == VerticalMessage.NOISY_COUNTS else body

    with pytest.raises(DecodeError, match="share that is none"):
        talk(*bent(bend))


def test_sides_that_chose_otherwise_do_not_count() -> None:
    codes, labels = some_rows()
    for other in ({"epsilon": 2.0}, {"delta": 1e-5}, {"least_rows": 5}):
        with pytest.raises(ContextMismatchError, match="something else"):
            talk(CountingHost(choice(), codes), CountingGuest(choice(**other), labels))


def test_names_go_to_a_guest_alone_that_may_know(monkeypatch: pytest.MonkeyPatch) -> None:
    host, guest = both(receiver="guest")
    said = b"".join(talk(host, guest))
    assert b'"yes"' not in said
    assert [text.name for text in guest.texts] == ["column 1", "column 2", "column 3"]
    host, guest = both(receiver="guest", names=True)
    talk(host, guest)
    assert guest.texts == NAMES
    with pytest.raises(ConfigError, match="for a guest"):
        choice(names=True)
    for bad in (b"[]", b"{", b'[{"name":"a","bins":[]}]', b'[{"name":"\\u0007","bins":[]}]' * 3):
        monkeypatch.setattr(counting, "texts_to_bytes", lambda texts, bad=bad: bad)
        with pytest.raises(DecodeError, match="no names"):
            talk(*both(receiver="guest", names=True))


def test_what_is_no_bin_or_no_label_is_refused() -> None:
    codes, labels = some_rows()
    with pytest.raises(ConfigError, match="above the 3"):
        CountingHost(choice(bins=3), codes)
    with pytest.raises(ConfigError, match="0 and 1"):
        CountingGuest(choice(), labels + 1)
    assert "500" in repr(CountingGuest(choice(), labels))


@pytest.mark.parametrize(("rows", "columns"), [(0, 3), (100, 0), (100, 4097)])
def test_a_scorecard_is_of_rows_and_columns(rows: int, columns: int) -> None:
    with pytest.raises(ConfigError, match="1 to 4096 columns"):
        ScorecardPlan(choice(), rows, columns)


def test_noise_that_hides_all_rows_is_refused() -> None:
    with pytest.raises(CapacityError, match="allow a larger epsilon, or count fewer"):
        ScorecardPlan(choice(epsilon=0.001, delta=1e-30), 20, 4096)


def test_names_are_of_all_columns() -> None:
    codes, _ = some_rows()
    with pytest.raises(ConfigError, match="names are of all columns"):
        CountingHost(choice(receiver="guest", names=True), codes, NAMES[:2])


def test_what_is_counted_is_known_once_it_was_told() -> None:
    _, guest = both()
    with pytest.raises(StateError, match="has not told how many columns"):
        _ = guest.plan


def test_the_page_says_how_wide_the_noise_of_eleven_columns_is() -> None:
    assert f"{ScorecardPlan(choice(epsilon=1.0, delta=1e-6), 2800, 11).deviation:.1f}" == "14.2"


@pytest.mark.parametrize("change", [{"epsilon": 0.0}, {"delta": 0.5}, {"bins": 1}, {"bins": 255}])
def test_choices_of_a_scorecard_out_of_range(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="these choices cannot be"):
        choice(**change)
