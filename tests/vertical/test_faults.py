"""A side stops, or its messages are altered, replayed or another plan's: a named error, and nothing
half-kept. A training that broke off goes on, with new keys."""

from __future__ import annotations

import copy
import gc
import pickle
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest

from privfed.errors import ConfigError, ContextMismatchError, DecodeError, PrivFedError, ReplayError
from privfed.garbled import Evaluator, Garbler, TransferReceiver, TransferSender
from privfed.he.ring import RingKey
from privfed.vertical.linear.capacity import MOST_SESSIONS
from privfed.vertical.linear.guest import Guest
from privfed.vertical.linear.host import Host
from privfed.vertical.linear.state import TrainingState
from privfed.vertical.messages import VerticalMessage
from psi.errors import PSIError, StateError
from psi.protocols.messages import FRAME_BYTES, HEADER_BYTES, Transcript
from tests.vertical.damages import high
from tests.vertical.machines import job, messages, train, values_of

JOB = job(rows=60, guest=2, host=2, iterations=2)
MESSAGES = 16  # of two iterations: two hellos, six and six, and two at the end
SECRETS = (RingKey, TransferSender, TransferReceiver, Garbler, Evaluator)


def until(number: int) -> tuple[Guest, Host, Guest | Host, bytes]:
    """Two sessions up to a message that is not delivered: guest, host, and who gets it."""
    guest, host = JOB.sides()
    for index, (taker, message) in enumerate(messages(guest, host)):
        if index == number:
            return guest, host, taker, message
    raise AssertionError("there are not so many messages")


def check_refused(taker: Guest | Host, message: bytes, *errors: type[Exception]) -> Exception:
    """Check that a side refuses a message, keeps what it had, and takes no other one."""
    before = taker.state
    with pytest.raises(errors or (PSIError, PrivFedError)) as caught:
        taker.receive(message)
    assert "\n" not in str(caught.value)
    assert taker.state == before
    assert not taker.done
    for result in ("coefficients", "opened", "shares", "model"):
        with pytest.raises(StateError, match="not done"):
            getattr(taker, result)
    with pytest.raises(StateError, match="start a new one"):
        taker.receive(message)
    check_forgotten(taker)
    return caught.value


def check_forgotten(side: Guest | Host) -> None:
    """Check that no key, pad or label hangs on a session, nor more shares than its state has."""
    for value in vars(side).values():
        assert not isinstance(value, SECRETS)
        assert not any(isinstance(each, SECRETS) for each in gc.get_referents(value))
        if isinstance(value, np.ndarray) and value.dtype == np.uint64:
            assert not value.size


def test_the_messages_are_those_of_the_page() -> None:
    kinds = [message[5] for _, message in messages(*JOB.sides())]
    names = [VerticalMessage(kind).name for kind in kinds]
    each = ["COEFFICIENTS", "SCORES", "WAVES", "LINKED", "RESIDUALS", "GRADIENTS"]
    assert names == ["GUEST_HELLO", "HOST_HELLO", *each, *each, "FINISH", "OPENED"]
    assert len(names) == MESSAGES


def test_lengths_are_the_plans_alone() -> None:
    """Other rows, other labels: message by message as many bytes."""
    lengths = []
    for seed in (1, 2):
        given = job(rows=60, guest=2, host=2, iterations=2, seed=seed)
        lengths.append([len(message) for _, message in messages(*given.sides())])
    assert lengths[0] == lengths[1]


def test_the_longest_message_is_told_before_it_comes() -> None:
    for taker, message in messages(*JOB.sides()):
        assert taker.longest_message == len(message)


# -- altered --------------------------------------------------------------------------------------


def flipped(place: Callable[[int], int]) -> Callable[[bytes], bytes]:
    def alter(message: bytes) -> bytes:
        altered = bytearray(message)
        altered[place(len(message))] ^= 1
        return bytes(altered)

    return alter


BODY = HEADER_BYTES
ALTERED = {
    "first of the body": flipped(lambda length: BODY),
    "within": flipped(lambda length: length // 2),
    "last of the body": flipped(lambda length: length - 33),
    "the seal": flipped(lambda length: length - 1),
    "the count": flipped(lambda length: 31),
    "cut": lambda message: message[:-1],
    "half": lambda message: message[: len(message) // 2],
    "nothing": lambda message: b"",
    "extended": lambda message: message + b"\x00",
}
HEADERS = {
    "magic": flipped(lambda length: 0),
    "version": flipped(lambda length: 4),
    "kind": flipped(lambda length: 5),
    "reserved": flipped(lambda length: 6),
    "session": flipped(lambda length: 8),
    "length": flipped(lambda length: 39),
}


@pytest.mark.parametrize("alter", ALTERED.values(), ids=ALTERED)
def test_every_message_that_is_altered_is_refused(alter: Callable[[bytes], bytes]) -> None:
    for number in range(MESSAGES):
        _, _, taker, message = until(number)
        check_refused(taker, alter(message))


@pytest.mark.parametrize("alter", HEADERS.values(), ids=HEADERS)
def test_every_part_of_a_header_is_checked(alter: Callable[[bytes], bytes]) -> None:
    for number in (0, 1, 4, 15):
        _, _, taker, message = until(number)
        check_refused(taker, alter(message))


def resealed(number: int, change: Callable[[bytearray], bytes | bytearray]) -> Any:
    """A session up to a message whose body is changed and sealed again, as a hostile side can."""
    guest, host = JOB.sides()
    transcript = Transcript("privfed vertical")
    for index, (taker, message) in enumerate(messages(guest, host)):
        if index == 2:
            transcript.begin_session()
        kind = VerticalMessage(message[5])
        count = int.from_bytes(message[24:32], "big")
        if index == number:
            body = bytearray(message[HEADER_BYTES : len(message) - FRAME_BYTES + HEADER_BYTES])
            return taker, transcript.seal(kind, count, bytes(change(body)))
        transcript.open(kind, message)
    raise AssertionError("there are not so many messages")


@pytest.mark.parametrize("number", range(MESSAGES))
def test_bodies_of_another_length_are_refused_though_sealed(number: int) -> None:
    taker, message = resealed(number, lambda body: body)
    assert taker.receive(message) is not None or taker.done
    for change in (lambda body: body[:-1], lambda body: body + b"\x00", lambda body: b""):
        taker, message = resealed(number, change)
        check_refused(taker, message, DecodeError)


@pytest.mark.parametrize(
    ("number", "start"),
    # Where ciphertexts or answers begin, beyond seeds and base transfers.
    [(0, 104), (1, 104), (2, 8300), (3, 100), (4, 100), (5, 100), (6, 100), (7, 100)],
)
def test_residues_beyond_their_prime_are_refused(number: int, start: int) -> None:
    taker, message = resealed(number, high(start))
    check_refused(taker, message, DecodeError)


def test_base_transfers_that_are_no_points_are_refused() -> None:
    for number, end in ((2, 8192), (3, 32)):
        taker, message = resealed(number, high(0, end))
        check_refused(taker, message, DecodeError)


def test_a_request_that_repeats_transfers_is_refused() -> None:
    def again(body: bytearray) -> bytearray:
        request = len(body) - REQUEST
        body[request : request + 8] = bytes(8)
        return body

    taker, message = resealed(13, again)
    check_refused(taker, message, ReplayError)


REQUEST = 8 + 128 * -(-(49 * 5) // 8)  # labels of five shares


def test_a_message_of_another_iteration_is_refused() -> None:
    guest, host = JOB.sides()
    transcript = Transcript("privfed vertical")
    for index, (taker, message) in enumerate(messages(guest, host)):
        if index == 2:
            transcript.begin_session()
            body = message[HEADER_BYTES:-32]
            check_refused(taker, transcript.seal(VerticalMessage.COEFFICIENTS, 1, body))
            break
        transcript.open(VerticalMessage(message[5]), message)


# -- replayed, repeated, out of turn --------------------------------------------------------------


def test_messages_of_another_session_are_refused() -> None:
    """After the hellos, which make the session."""
    other = [message for _, message in messages(*JOB.sides())]
    for number in range(2, MESSAGES):
        _, _, taker, _ = until(number)
        check_refused(taker, other[number], PSIError)


def test_a_replayed_hello_makes_no_session() -> None:
    """It is taken, as nothing tells it from a new one; what follows it is not."""
    other = [message for _, message in messages(*JOB.sides())]
    _, host = JOB.sides()
    assert host.receive(other[0]) is not None
    check_refused(host, other[2], PSIError)


def test_a_repeated_message_is_refused() -> None:
    guest, host = JOB.sides()
    earlier: dict[int, bytes] = {}
    for number in range(2, MESSAGES - 1, 3):
        guest, host = JOB.sides()
        for index, (taker, message) in enumerate(messages(guest, host)):
            if index == number:
                check_refused(taker, earlier[id(taker)], PSIError)
                break
            earlier[id(taker)] = message


def test_messages_out_of_turn_are_refused() -> None:
    all_ = [message for _, message in messages(*JOB.sides())]
    for number in range(MESSAGES - 1):
        _, _, taker, _ = until(number)
        check_refused(taker, all_[(number + 2) % MESSAGES], PSIError)


def test_nothing_is_taken_before_the_beginning_or_after_the_end() -> None:
    guest, host = JOB.sides()
    with pytest.raises(StateError):
        guest.receive(b"")
    guest, host = JOB.sides()
    train(guest, host)
    for side in (guest, host):
        check_forgotten(side)
        with pytest.raises(StateError, match="start a new one"):
            side.receive(b"")
        with pytest.raises(StateError, match="started before"):
            side.start()
    assert guest.coefficients.shape == (3,)


@pytest.mark.parametrize(
    "change",
    [{"penalty": 0.1}, {"iterations": 3}, {"rows": 61}, {"least_rows": 9}, {"batches": 2}],
)
def test_another_plan_is_told_to_both(change: dict[str, Any]) -> None:
    settings = {"rows": 60, "guest": 2, "host": 2, "iterations": 2, **change}
    guest, host = JOB.sides()
    other_guest, other_host = job(**settings).sides()
    hello = guest.start()
    assert hello is not None
    check_refused(other_host, hello, ContextMismatchError)
    other_hello = other_guest.start()
    assert other_hello is not None
    answer = host.receive(hello)
    assert answer is not None
    check_refused(other_guest, answer, PSIError, ContextMismatchError)


# -- secrets --------------------------------------------------------------------------------------


def test_sessions_are_not_pickled_and_show_nothing() -> None:
    guest, host, _, _ = until(9)
    for side in (guest, host):
        for way in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match="secrets"):
                way(side)
        assert repr(side) == f"{type(side).__name__}(60 rows)"
        assert repr(side.state) == "TrainingState(iterations=(0, 1))"
        assert str(side.state.shares[1][0]) not in repr(side.state)


def test_keys_differ_in_every_session() -> None:
    first, second = (until(2) for _ in range(2))
    assert first[3] != second[3]
    hellos = [[message for _, message in messages(*JOB.sides())][:2] for _ in range(2)]
    assert hellos[0][0] != hellos[1][0]
    assert hellos[0][1] != hellos[1][1]


# -- going on -------------------------------------------------------------------------------------

RESUMED = job(rows=120, guest=2, host=2, iterations=4, seed=3)


def whole() -> list[float]:
    guest, host = RESUMED.sides()
    train(guest, host)
    return [*guest.coefficients, *host.coefficients]


@pytest.mark.parametrize("number", range(MESSAGES + 12))
def test_a_training_that_breaks_off_anywhere_goes_on(number: int) -> None:
    """At each message: it was sent, and never came."""
    guest, host = RESUMED.sides()
    for index, _ in enumerate(messages(guest, host)):
        if index == number:
            break
    states = [saved(each.state).resumed() for each in (guest, host)]
    done = max(states[0].iterations)
    again = RESUMED.sides(*states)
    sent = [message for _, message in messages(*again)]
    iterations = {int.from_bytes(message[24:32], "big") for message in sent[2:]}
    assert min(iterations) in (done, done - 1)  # where both can go on, and nowhere before
    assert [*again[0].coefficients, *again[1].coefficients] == pytest.approx(whole(), abs=4e-3)
    assert [each.state.sessions for each in again] == [2, 2]


def saved(state: TrainingState) -> TrainingState:
    return msgspec.json.decode(msgspec.json.encode(state), type=TrainingState)


def test_shares_go_on_and_keys_do_not() -> None:
    guest, host = RESUMED.sides()
    for index, _ in enumerate(messages(guest, host)):
        if index == 9:
            break
    before = values_of(guest.state, host.state)
    again = RESUMED.sides(guest.state.resumed(), host.state.resumed())
    first = {}
    for index, (_, message) in enumerate(messages(*again)):
        first[index] = message
        if index == 3:
            break
    joined = values_of(again[0].state, again[1].state)
    assert all(np.array_equal(joined[each], before[each]) for each in joined)
    other = RESUMED.sides(guest.state.resumed(), host.state.resumed())
    for index, (_, message) in enumerate(messages(*other)):
        assert message != first[index]
        if index == 3:
            break


def test_shares_of_two_sessions_do_not_mix() -> None:
    """One side lost what the second session kept: iteration numbers alone would agree."""
    guest, host = RESUMED.sides()
    for index, _ in enumerate(messages(guest, host)):
        if index == 9:  # the guest has sent its second coefficients, and they came
            break
    old = guest.state
    assert old.iterations == host.state.iterations == (0, 1)
    second = RESUMED.sides()
    for index, _ in enumerate(messages(*second)):
        if index == 9:
            break
    mixed = RESUMED.sides(old.resumed(), second[1].state.resumed())
    sent = [message for _, message in messages(*mixed)]
    # Both have the beginning, so they go on from there.
    assert int.from_bytes(sent[2][24:32], "big") == 0
    assert [*mixed[0].coefficients, *mixed[1].coefficients] == pytest.approx(whole(), abs=4e-3)


def test_states_with_nothing_in_common_are_refused() -> None:
    states = []
    for number in (15, 21):
        guest, host = RESUMED.sides()
        for index, _ in enumerate(messages(guest, host)):
            if index == number:
                break
        states.append((guest.state, host.state))
    guest, host = RESUMED.sides(states[0][0], states[1][1])
    hello = guest.start()
    assert hello is not None
    error = check_refused(host, hello, StateError)
    assert "different iterations" in str(error)


def test_a_training_whose_shares_are_done_does_its_last_iteration_again() -> None:
    """What follows it may have been lost. All is fresh: keys, masks, and the shares that come."""
    given = job(rows=120, guest=2, host=2, iterations=4, seed=3, coefficients="shared")
    first = given.sides()
    train(*first)
    states = [saved(each.state).resumed() for each in first]
    again = given.sides(*states)
    sent = [message for _, message in messages(*again)]
    assert {int.from_bytes(message[24:32], "big") for message in sent[2:]} == {3}
    unit = given.plan.coefficient_scale
    values = [values_of(one.state, other.state) for one, other in (first, again)]
    assert np.array_equal(values[0][3], values[1][3])
    assert values[0][4] / unit == pytest.approx(values[1][4] / unit, abs=4e-3)
    for one, other in zip(first, again, strict=True):
        assert not np.intersect1d(one.shares, other.shares).size
    assert first[0].model != again[0].model


def test_a_lost_end_is_made_up_for_until_both_have_their_coefficients() -> None:
    """The last state holds no coefficients: its iteration is done again, and counted."""
    guest, host = JOB.sides()
    train(guest, host)
    assert guest.state.iterations == host.state.iterations == (0, 1)
    again = JOB.sides(saved(guest.state).resumed(), saved(host.state).resumed())
    assert len(list(messages(*again))) == 2 + 6 + 2
    assert again[0].coefficients == pytest.approx(guest.coefficients, abs=4e-3)


def test_a_state_is_told_as_the_sides_meet_and_before_what_follows_from_it_is_sent() -> None:
    """So whoever is lost at any place is at most one iteration behind, and counted."""
    told: dict[str, list[TrainingState]] = {"Guest": [], "Host": []}
    own, theirs = JOB.whitenings
    guest = Guest(JOB.plan, JOB.guest, own, JOB.labels, on_state=told["Guest"].append)
    host = Host(JOB.plan, JOB.host, theirs, on_state=told["Host"].append)
    counts = []
    for taker, message in messages(guest, host):
        counts.append((len(told["Guest"]), len(told["Host"])))
        if message[5] == VerticalMessage.COEFFICIENTS:
            assert isinstance(taker, Host)
            assert told["Guest"][-1].iterations[-1] == int.from_bytes(message[24:32], "big")
    # Nothing is told before the other's hello, and a state before the answer that follows from it.
    assert counts[:4] == [(0, 0), (0, 1), (1, 1), (1, 1)]
    for side in (guest, host):
        states = told[type(side).__name__]
        assert [each.iterations for each in states] == [(0,), (0, 1)]
        assert states[-1] == side.state


def test_a_state_that_cannot_be_kept_ends_the_session() -> None:
    def full(state: TrainingState) -> None:
        raise ConfigError("cannot write")

    guest, _ = JOB.sides()
    host = Host(JOB.plan, JOB.host, JOB.whitenings[1], on_state=full)
    hello = guest.start()
    assert hello is not None
    check_refused(host, hello, ConfigError)


def test_sessions_are_counted_up_to_the_limit() -> None:
    state = TrainingState.begun(JOB.plan)
    for session in range(1, MOST_SESSIONS + 1):
        assert state.sessions == session
        guest, _ = JOB.sides(state)
        assert guest.state.sessions == session
        state = state.resumed()
    with pytest.raises(ConfigError, match="train from the beginning"):
        JOB.sides(state)


def test_a_state_of_another_plan_is_refused() -> None:
    state = TrainingState.begun(RESUMED.plan)
    with pytest.raises(ConfigError, match="another plan"):
        JOB.sides(state)


@pytest.mark.parametrize(
    "change",
    [
        {"shares": ((0,) * 4,)}, {"shares": ()}, {"iterations": ()}, {"iterations": (3,)},
        {"iterations": (-1,)}, {"iterations": (0, 1)}, {"marks": (b"short",)}, {"sessions": 0},
        {"iterations": (0, 1, 2), "marks": (bytes(16),) * 3, "shares": ((0,) * 5,) * 3},
        {"iterations": (1, 0), "marks": (bytes(16),) * 2, "shares": ((0,) * 5,) * 2},
    ],
)  # fmt: skip
def test_a_damaged_state_is_refused(change: dict[str, Any]) -> None:
    state = msgspec.structs.replace(TrainingState.begun(JOB.plan), **change)
    with pytest.raises(ConfigError, match="damaged"):
        JOB.sides(state)


def test_a_state_is_read_as_it_was_written_and_nothing_else() -> None:
    guest, _, _, _ = until(12)
    written = msgspec.json.encode(guest.state)
    assert saved(guest.state) == guest.state
    for broken in (
        written.replace(b'"sessions":1', b'"sessions":"1"'),
        written.replace(b'"shares":[[', b'"shares":[[562949953404929,'),
        written.replace(b'"shares":[[', b'"shares":[[-1,'),
        written.replace(b"{", b'{"more":1,', 1),
        written[:-1],
    ):
        assert broken != written
        with pytest.raises(msgspec.DecodeError):
            msgspec.json.decode(broken, type=TrainingState)
