"""Scores of new rows: what plain integers say, and nothing else; every message in its turn."""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from functools import partial
from typing import Any

import msgspec
import numpy as np
import pytest

from privfed.errors import BudgetExceededError, ConfigError, ContextMismatchError, DecodeError
from privfed.garbled import Evaluator, Garbler
from privfed.he.ring import PLAIN_MODULUS, bounds
from privfed.vertical.linear.capacity import FLOOD_DISTANCE, prediction_layout
from privfed.vertical.linear.circuits import open_scores, score_values, scores
from privfed.vertical.linear.guest import Guest
from privfed.vertical.linear.host import Host
from privfed.vertical.linear.plan import Coefficients, VerticalPlan
from privfed.vertical.linear.projections import Opening, shared_values
from privfed.vertical.linear.query import GuestQuery, HostQuery, query_numbers
from privfed.vertical.linear.shares import matrix_product, residues
from privfed.vertical.roles import Family, Opened
from psi.errors import DecodeError as MessageDecodeError
from psi.errors import StateError, TranscriptError
from tests.garbled.runs import transfers
from tests.vertical.queries import MODEL, Asked, talk

FAMILIES: list[Family] = ["logistic", "linear", "poisson"]
KEPT: list[Coefficients] = ["own", "shared"]


@pytest.mark.parametrize(
    ("family", "coefficients", "opened"),
    [
        *itertools.product(FAMILIES, KEPT, ["score"]),
        *itertools.product(["logistic"], KEPT, ["class"]),
    ],
)
def test_what_opens_is_what_plain_integers_say(
    family: Family, coefficients: Coefficients, opened: Opened
) -> None:
    asked = Asked.made(family, coefficients, rows=60, opened=opened)
    guest, host = asked.sides()
    talk(guest, host)
    assert np.array_equal(guest.scores, asked.expected)
    assert guest.done
    assert host.done
    # The farthest scores of the plan are among them, either way.
    bound = asked.plan.score_bound * PLAIN_MODULUS / asked.plan.period / 2.0**asked.plan.drop
    assert asked.plain.max() > 0.9 * bound
    assert asked.plain.min() < -0.9 * bound


@pytest.mark.parametrize("coefficients", KEPT)
@pytest.mark.parametrize("rows", [1, 2048, 2049, 2100, 4096])
def test_rows_are_scored_in_chunks(coefficients: Coefficients, rows: int) -> None:
    """A last chunk of few rows takes the ciphertexts that were sent for the first one."""
    asked = Asked.made("logistic", coefficients, rows=rows, columns=(50, 50))
    guest, host = asked.sides()
    talk(guest, host)
    assert np.array_equal(guest.scores, asked.expected)


def test_messages_of_many_rows_are_no_longer_than_those_of_a_chunk() -> None:
    longest = [
        max(map(len, talk(*Asked.made("logistic", "shared", rows=rows).sides())))
        for rows in (2048, 6144)
    ]
    assert longest[0] == longest[1]


def test_shares_that_training_left_score_rows() -> None:
    """Their sum is a multiple of the grid, by which a query divides each of them."""
    drawn = np.random.default_rng(3)
    blocks = [np.hstack([drawn.standard_normal((200, 2)), np.ones((200, 1))])]
    blocks.append(drawn.standard_normal((200, 2)))
    labels = (blocks[0][:, 0] + blocks[1][:, 0] > 0).astype(float)
    plan = VerticalPlan(
        rows=200,
        guest_columns=3,
        host_columns=2,
        guest_names=2,
        host_names=2,
        iterations=3,
        coefficients="shared",
    )
    guest = Guest(plan, blocks[0], np.eye(2), labels)
    host = Host(plan, blocks[1], np.eye(2))
    message = guest.start()
    host.start()
    for side in itertools.cycle((host, guest)):
        if message is None:
            break
        message = side.receive(message)
    whole = shared_values(PLAIN_MODULUS, guest.shares, host.shares)
    assert whole.any()
    assert not (whole % (1 << plan.drop)).any()
    assert guest.model == host.model
    asked = Asked(
        plan=plan,
        integers=whole >> plan.drop,
        numbers=(
            query_numbers(plan, opened=None, shares=guest.shares),
            query_numbers(plan, opened=None, shares=host.shares),
        ),
        blocks=(blocks[0], blocks[1]),
        opened="class",
    )
    found = asked.sides()
    talk(*found)
    assert np.array_equal(found[0].scores, asked.expected)
    assert (found[0].scores == labels).mean() > 0.9


# What a guest learns.


def exactly(asked: Asked) -> list[int]:
    """The planted fault: a score opens as it is."""
    opening = Opening(PLAIN_MODULUS, len(asked.blocks[0]), asked.opening.value_bits, bits=32)
    circuit = open_scores(opening)
    sender, receiver = transfers()
    parts = [
        matrix_product(np.rint(64 * block), numbers)
        for block, numbers in zip(asked.blocks, asked.numbers, strict=True)
    ]
    evaluator = Evaluator(circuit, {"share": parts[1]}, receiver)
    garbler = Garbler(circuit, score_values(opening, parts[0]))
    done = evaluator.evaluate(garbler.garble(evaluator.request, sender))
    found: list[int] = scores(opening, garbler.read(done.colours)).tolist()
    return found


def test_a_rounded_score_does_not_tell_the_hosts_columns() -> None:
    """Rows that differ in yes-or-no columns of the host: an exact score tells every one."""
    columns = 9
    every = np.array(list(itertools.product((0.0, 1.0), repeat=columns)))
    asked = Asked.made("logistic", "own", rows=len(every), columns=(2, columns))
    asked = replace(asked, blocks=(np.zeros_like(asked.blocks[0]), every / 16))
    assert len(set(exactly(asked))) == len(every)
    guest, host = asked.sides()
    talk(guest, host)
    reach = np.ptp(asked.plain) / 2.0**asked.plan.score_drop
    assert len(set(guest.scores.tolist())) <= reach + 2 < len(every) / 8


@pytest.mark.parametrize("coefficients", KEPT)
def test_as_many_bits_as_open_come_back(coefficients: Coefficients) -> None:
    """The last message is what the guest reads; its length has no room for more."""
    asked = Asked.made("logistic", coefficients, rows=80, opened="class")
    guest, host = asked.sides()
    last = talk(guest, host)[-1]
    empty = len(talk(*Asked.made("logistic", "own", rows=8, opened="class").sides())[-1]) - 1
    assert len(last) - empty == 80 // 8


def test_asking_again_narrows_the_hosts_part_until_the_limit() -> None:
    """What remains: a guest that moves its own part halves what it does not know of the host's."""
    asked = Asked.made("logistic", "own", rows=1, opened="class")
    own = np.zeros_like(asked.blocks[0])
    own[:, -1] = 1.0  # the intercept alone, which the guest chooses
    entry = asked.plan.entry_scale
    plain = replace(asked, blocks=(own * 0, asked.blocks[1])).plain[0]

    def narrowed(allowed: int) -> int:
        left = [allowed]

        def charge(rows: int) -> None:
            if left[0] < rows:
                raise BudgetExceededError("no more")
            left[0] -= rows

        low, high = -(1 << 26), 1 << 26  # -host / entry lies between them
        try:
            while high - low > 1:
                middle = (low + high) // 2
                numbers = np.zeros(asked.plan.guest_columns, np.int64)
                numbers[-1] = middle
                guest, host = asked.sides(
                    numbers=(residues(numbers), asked.numbers[1]), blocks=(own, asked.blocks[1])
                )
                host.charge_with(charge)
                talk(guest, host)
                low, high = (low, middle) if guest.scores[0] else (middle, high)
        except BudgetExceededError:
            pass
        assert low <= -plain / entry <= high
        return high - low

    assert narrowed(50) == 1
    assert narrowed(10) == 1 << 17


def test_rows_are_counted_before_any_is_answered() -> None:
    asked = Asked.made(rows=7)
    guest, host = asked.sides()
    counted: list[int] = []

    def charge(rows: int) -> None:
        counted.append(rows)
        raise BudgetExceededError("no more")

    host.charge_with(charge)
    hello = guest.start()
    assert hello is not None
    with pytest.raises(BudgetExceededError):
        host.receive(hello)
    assert counted == [7]
    with pytest.raises(StateError):
        host.receive(hello)


@pytest.mark.parametrize("rows", [1, 2, 33, 65, 129, 1000, 2048])
def test_all_that_predictions_answer_is_flooded(rows: int) -> None:
    """Places that hold no row are answered, too."""
    plan = VerticalPlan(
        rows=200,
        guest_columns=51,
        host_columns=50,
        guest_names=50,
        host_names=50,
        iterations=1,
        coefficients="shared",
        predictions=500_000_000,
    )
    total = Fraction(0)
    for role in ("guest", "host"):
        layout = prediction_layout(plan, role, rows)
        places = layout.packing.answers * len(layout.packing.positions)
        each = bounds.flood_distance(layout.row_sum, layout.flood_bits)
        total += Fraction(plan.predictions, rows) * places * each
    assert total <= FLOOD_DISTANCE


# What does not belong together.


def other_plan(asked: Asked) -> VerticalPlan:
    return msgspec.structs.replace(asked.plan, predictions=asked.plan.predictions + 1)


@pytest.mark.parametrize("coefficients", KEPT)
@pytest.mark.parametrize("what", ["plan", "rows", "opened", "model"])
def test_halves_that_do_not_belong_together(coefficients: Coefficients, what: str) -> None:
    asked = Asked.made("logistic", coefficients)
    every: dict[str, dict[str, Any]] = {
        "plan": {"plan": other_plan(asked)},
        "rows": {"blocks": (asked.blocks[0][1:], asked.blocks[1])},
        "opened": {"opened": "class"},
        "model": {},
    }
    guest, host = asked.sides(**every[what])
    if what == "model":
        guest = GuestQuery(asked.plan, MODEL[::-1], asked.numbers[0], asked.blocks[0])
    hello = guest.start()
    assert hello is not None
    with pytest.raises(ContextMismatchError, match="another model"):
        host.receive(hello)
    with pytest.raises(StateError):
        host.receive(hello)


def test_a_half_whose_coefficients_opened_and_one_whose_did_not() -> None:
    guest, _ = Asked.made("logistic", "own").sides()
    _, host = Asked.made("logistic", "shared").sides()
    hello = guest.start()
    assert hello is not None
    with pytest.raises(DecodeError):
        host.receive(hello)


def test_two_guests() -> None:
    guest, _ = Asked.made().sides()
    other, _ = Asked.made().sides()
    hello = guest.start()
    other.start()
    assert hello is not None
    with pytest.raises(StateError, match="expected message MET"):
        other.receive(hello)


def test_what_no_query_can_be_made_of() -> None:
    asked = Asked.made("linear")
    plan, (numbers, _), (block, _) = asked.plan, asked.numbers, asked.blocks
    with pytest.raises(ConfigError, match="classes"):
        GuestQuery(plan, MODEL, numbers, block, "class")
    with pytest.raises(ConfigError, match="half of this plan"):
        GuestQuery(plan, MODEL, numbers[1:], block)
    with pytest.raises(ConfigError, match="one row or more"):
        GuestQuery(plan, MODEL, numbers, block[:0])
    with pytest.raises(ConfigError, match="finite"):
        GuestQuery(plan, MODEL, numbers, np.full_like(block, np.nan))
    with pytest.raises(ConfigError, match="finite"):
        GuestQuery(plan, MODEL, numbers, block[:, 1:])
    with pytest.raises(ConfigError, match="coefficients or shares"):
        query_numbers(plan, opened=None, shares=None)


# Messages.


def flipped(place: int) -> Callable[[bytes, list[bytes]], bytes]:
    def alter(message: bytes, before: list[bytes]) -> bytes:
        at = place % len(message)
        return message[:at] + bytes([message[at] ^ 1]) + message[at + 1 :]

    return alter


ALTERATIONS: dict[str, Callable[[bytes, list[bytes]], bytes]] = {
    "header": flipped(17),
    "body": flipped(70),
    "seal": flipped(-1),
    "cut": lambda message, before: message[:-1],
    "cut to nothing": lambda message, before: b"",
    "extended": lambda message, before: message + b"\0",
    "of before": lambda message, before: before[-2] if len(before) > 1 else message[::-1],
}


@pytest.mark.parametrize("coefficients", KEPT)
@pytest.mark.parametrize("alteration", ALTERATIONS)
def test_altered_messages_end_a_session(coefficients: Coefficients, alteration: str) -> None:
    """Each message in turn; the side that gets it says so, and knows nothing any more."""
    asked = Asked.made("logistic", coefficients)
    honest = talk(*asked.sides())
    for number in range(len(honest)):
        guest, host = asked.sides()
        with pytest.raises((TranscriptError, MessageDecodeError, StateError)):
            talk(guest, host, altered_at(number, alteration))
        side = host if number % 2 == 0 else guest
        with pytest.raises(StateError, match="takes no message"):
            side.receive(honest[number])
        with pytest.raises(StateError, match="not done"):
            _ = guest.scores


def altered_at(number: int, alteration: str) -> Callable[[int, bytes], bytes]:
    before: list[bytes] = []

    def altered(each: int, message: bytes) -> bytes:
        before.append(message)
        return ALTERATIONS[alteration](message, before[:-1]) if each == number else message

    return altered


@pytest.mark.parametrize("coefficients", KEPT)
def test_messages_of_another_session_are_refused(coefficients: Coefficients) -> None:
    asked = Asked.made("logistic", coefficients)
    earlier = talk(*asked.sides())
    # The first message of a session may be anybody's, and without a key in it so may be the answer.
    for number in range(1 if coefficients == "shared" else 2, len(earlier)):
        with pytest.raises(TranscriptError):
            talk(*asked.sides(), partial(swapped, earlier, number))


def swapped(earlier: list[bytes], number: int, each: int, message: bytes) -> bytes:
    return earlier[each] if each == number else message


def test_a_session_is_for_one_time_and_one_process() -> None:
    asked = Asked.made()
    guest, host = asked.sides()
    with pytest.raises(StateError, match="takes no message"):
        guest.receive(b"")
    sent = talk(guest, host)
    for side, message in ((guest, sent[-1]), (host, sent[-2])):
        with pytest.raises(StateError, match="takes no message"):
            side.receive(message)
        with pytest.raises(StateError, match="started before"):
            side.start()
        with pytest.raises(TypeError, match="secrets"):
            pickle.dumps(side)


def test_nothing_is_shown_of_a_side() -> None:
    guest, host = Asked.made(rows=5).sides()
    assert (repr(guest), repr(host)) == ("GuestQuery(5 rows)", "HostQuery(5 rows)")
    assert isinstance(host, HostQuery)
