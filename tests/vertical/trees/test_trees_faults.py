"""Messages of trees are altered, cut, replayed, out of turn, or another plan's: a named error, and
nothing half-kept. A side that does not keep to the plan gets nothing beyond it."""

from __future__ import annotations

import copy
import functools
import gc
import itertools
import pickle
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from privfed.errors import ConfigError, ContextMismatchError, DecodeError, PrivFedError, ReplayError
from privfed.garbled import Evaluator, Garbler, TransferReceiver, TransferSender
from privfed.he.ring import RingKey
from privfed.vertical.messages import VerticalMessage
from privfed.vertical.roles import Family
from privfed.vertical.trees.boosting import Boosting
from privfed.vertical.trees.growing import GrowingTree
from privfed.vertical.trees.guest import TreesGuest
from privfed.vertical.trees.host import TreesHost
from privfed.vertical.trees.plan import Reveal, TreesPlan
from privfed.vertical.trees.sums import SumsAnswerer
from psi.errors import PSIError, StateError
from psi.protocols.messages import FRAME_BYTES, HEADER_BYTES, Transcript
from tests.vertical.damages import high
from tests.vertical.trees.machines import Side, TreesJob, hold, messages, trees_job

REVEALS: list[Reveal] = ["sides", "histograms"]
JOBS = {
    reveal: trees_job(rows=50, columns=1, trees=1, depth=2, seed=3, reveal=reveal)
    for reveal in REVEALS
}
JOB = JOBS["sides"]
MESSAGES = 13  # two hellos, two keys, four a level, and the end
SECRETS = (RingKey, TransferSender, TransferReceiver, Garbler, Evaluator, SumsAnswerer, GrowingTree)
END = HEADER_BYTES - FRAME_BYTES  # where a message's body ends


def until(number: int, job: TreesJob = JOB) -> tuple[Side, bytes]:
    """A message that is not delivered, and who gets it."""
    for index, (taker, message) in enumerate(messages(*job.sides())):
        if index == number:
            return taker, message
    raise AssertionError("there are not so many messages")


def check_refused(taker: Side, message: bytes, *errors: type[Exception]) -> Exception:
    """Check that a side refuses a message, keeps what it had, and takes no other one."""
    before = taker.state
    with pytest.raises(errors or (PSIError, PrivFedError)) as caught:
        taker.receive(message)
    assert "\n" not in str(caught.value)
    assert taker.state == before
    assert not taker.done
    for result in ("model", *(["trees"] if isinstance(taker, TreesHost) else [])):
        with pytest.raises(StateError, match="not done"):
            getattr(taker, result)
    with pytest.raises(StateError, match="start a new one"):
        taker.receive(message)
    check_forgotten(taker)
    return caught.value


def check_forgotten(side: Side) -> None:
    """Check that from a session no key, pad, circuit or growing tree can be reached."""
    seen, left = set[int](), list[Any]([side.__dict__])
    while left:
        one = left.pop()
        if id(one) in seen or isinstance(one, type | types.ModuleType | Boosting | TreesPlan):
            continue
        seen.add(id(one))
        assert not isinstance(one, SECRETS)
        left += _held(one)


def _held(one: object) -> list[Any]:
    if isinstance(one, types.FunctionType):  # and nothing of its module
        return list(one.__closure__ or ())
    return gc.get_referents(one) if gc.is_tracked(one) else []


@pytest.mark.parametrize("reveal", REVEALS)
def test_the_messages_are_those_of_the_page(reveal: Reveal) -> None:
    names = []
    for taker, message in messages(*JOBS[reveal].sides()):
        names.append(VerticalMessage(message[5]).name)
        longest = {"NODES", "TREES_END"} if len(names) in (5, 13) else {names[-1]}
        assert (taker.longest_message == len(message)) or longest != {names[-1]}
        assert taker.longest_message >= len(message)
    middle = ["SHARED_SUMS", "CONTEST"] if reveal == "sides" else ["OPENED_SUMS", "CHOSEN"]
    hellos = ["TREES_GUEST_HELLO", "TREES_HOST_HELLO", "TREES_KEYS", "TREES_AGREED"]
    assert names == [*hellos, *["NODES", *middle, "SIDES"] * 2, "TREES_END"]
    assert len(names) == MESSAGES


@pytest.mark.parametrize("reveal", REVEALS)
def test_lengths_are_the_plans_alone(reveal: Reveal) -> None:
    """Other rows, labels, weights and missing values; the host wins here, and never there."""
    settings: dict[str, Any] = {"rows": 60, "trees": 2, "depth": 2, "reveal": reveal}
    changes: list[dict[str, Any]] = [
        {}, {"seed": 1}, {"seed": 2, "weighted": True}, {"validation": 30, "seed": 3},
    ]  # fmt: skip
    lengths = set()
    for change in changes:
        given = trees_job(**settings, **change)
        assert len(given.splits(given.host)) == given.plan.host_splits
        lengths.add(tuple(map(len, hold(*given.sides()))))
    assert len(lengths) == 1


# -- altered --------------------------------------------------------------------------------------


def flipped(place: Callable[[int], int]) -> Callable[[bytes], bytes]:
    def alter(message: bytes) -> bytes:
        altered = bytearray(message)
        altered[place(len(message))] ^= 1
        return bytes(altered)

    return alter


ALTERED: dict[str, Callable[[bytes], bytes]] = {
    "first of the body": flipped(lambda length: HEADER_BYTES),
    "last of the body": flipped(lambda length: length - 33),
    "the kind": flipped(lambda length: 5),
    "the count": flipped(lambda length: 31),
    "cut": lambda message: message[:-1],
    "nothing": lambda message: b"",
    "extended": lambda message: message + b"\x00",
}


@pytest.mark.parametrize("reveal", REVEALS)
def test_every_message_that_is_altered_is_refused(reveal: Reveal) -> None:
    """Each in two ways, by turns."""
    ways = itertools.cycle(ALTERED.values())
    for number in range(MESSAGES if reveal == "sides" else MESSAGES - 4):
        for alter in itertools.islice(ways, 2):
            taker, message = until(MESSAGES - 1 - number, JOBS[reveal])
            check_refused(taker, alter(message))


class Wire:
    """Frames of a session as a hostile side makes them: sealed, whatever they say."""

    def __init__(self) -> None:
        self.transcript, self.count = Transcript("privfed vertical trees"), 0

    def heard(self, message: bytes) -> None:
        if self.count == 2:
            self.transcript.begin_session()
        self.count += 1
        self.transcript.open(VerticalMessage(message[5]), message)

    def sealed(self, kind: VerticalMessage, number: int, body: bytes) -> bytes:
        if self.count == 2:
            self.transcript.begin_session()
        return self.transcript.seal(kind, number, body)


def resealed(
    number: int, change: Callable[[bytearray], bytes | bytearray], job: TreesJob = JOB
) -> tuple[Side, bytes]:
    """A session up to a message whose body is changed and sealed again."""
    wire = Wire()
    for index, (taker, message) in enumerate(messages(*job.sides())):
        if index == number:
            kind, count = VerticalMessage(message[5]), int.from_bytes(message[24:32], "big")
            body = bytearray(message[HEADER_BYTES:END])
            return taker, wire.sealed(kind, count, bytes(change(body)))
        wire.heard(message)
    raise AssertionError("there are not so many messages")


@pytest.mark.parametrize("number", range(MESSAGES))
def test_bodies_of_another_length_are_refused_though_sealed(number: int) -> None:
    taker, message = resealed(number, lambda body: body)
    assert taker.receive(message) is not None or taker.done
    taker, message = resealed(number, lambda body: body + b"\x00" if number % 2 else body[:-1])
    check_refused(taker, message, DecodeError)


@pytest.mark.parametrize(
    ("number", "start", "end"),
    # A key, a point and base choices; ciphertexts after their seed, and answers.
    [(2, 100, None), (2, -40, -1), (3, 0, 32), (3, 32, 64), (4, 100, None), (5, 0, None)],
)
def test_what_is_no_residue_or_point_is_refused(number: int, start: int, end: int | None) -> None:
    taker, message = resealed(number, high(start, end))
    check_refused(taker, message, DecodeError)


class SkippingGuest(TreesGuest):
    """Its second level's sides are of transfers that are far ahead."""

    def _sealed(self, kind: VerticalMessage, *parts: bytes) -> bytes:
        if kind == VerticalMessage.NODES and self._level:
            parts = parts[0], (1 << 40).to_bytes(8, "little") + parts[1][8:]
        return super()._sealed(kind, *parts)


class RepeatingHost(TreesHost):
    """Its second level's labels are of the first level's transfers."""

    def _sealed(self, kind: VerticalMessage, *parts: bytes) -> bytes:
        if kind == VerticalMessage.SHARED_SUMS and self._level:
            parts = parts[0], bytes(8) + parts[1][8:]
        return super()._sealed(kind, *parts)


def test_transfers_are_asked_for_once_and_in_their_order() -> None:
    guest, host = JOB.sides()
    skipping = SkippingGuest(JOB.plan, JOB.boosting())
    repeating = RepeatingHost(JOB.plan, JOB.splits(JOB.host), JOB.host)
    for sides, refusing in (((skipping, host), host), ((guest, repeating), guest)):
        with pytest.raises(ReplayError, match="a request begins at"):
            hold(*sides)
        check_forgotten(refusing)


def test_a_place_that_is_no_split_is_refused() -> None:
    job = JOBS["histograms"]
    for place in (job.plan.host_splits, 2**32 - 2):
        taker, message = resealed(6, functools.partial(_placed, place), job)
        check_refused(taker, message, DecodeError)


def _placed(place: int, body: bytearray) -> bytes:
    assert len(body) == 4
    return place.to_bytes(4, "big")


# -- replayed, out of turn, of another plan -------------------------------------------------------


@pytest.mark.parametrize("reveal", REVEALS)
def test_messages_of_another_session_are_refused(reveal: Reveal) -> None:
    """After the hellos, which make the session."""
    other = hold(*JOBS[reveal].sides())
    for number in range(2, MESSAGES, 1 if reveal == "sides" else 3):
        taker, _ = until(number, JOBS[reveal])
        check_refused(taker, other[number], PSIError)


def test_no_two_sessions_have_one_name() -> None:
    """Whatever hangs on it is apart: transfers, and marks of trees."""
    sent = [hold(*JOB.sides()) for _ in range(2)]
    names = {message[8:24] for session in sent for message in session[2:]}
    assert len(names) == 2
    assert sent[0][0] != sent[1][0]
    assert sent[0][1] != sent[1][1]


def test_messages_out_of_turn_are_refused() -> None:
    all_ = hold(*JOB.sides())
    for number in range(0, MESSAGES - 1, 2):
        taker, _ = until(number)
        check_refused(taker, all_[(number + 2) % MESSAGES], PSIError)
    for number in range(2, MESSAGES - 1, 3):
        earlier: dict[int, bytes] = {}
        for index, (taker, message) in enumerate(messages(*JOB.sides())):
            if index == number:
                check_refused(taker, earlier[id(taker)], PSIError)
                break
            earlier[id(taker)] = message


def test_nothing_is_taken_before_the_beginning_or_after_the_end() -> None:
    guest, host = JOB.sides()
    with pytest.raises(StateError):
        guest.receive(b"")
    guest, host = JOB.sides()
    hold(guest, host)
    for side in (guest, host):
        check_forgotten(side)
        with pytest.raises(StateError, match="start a new one"):
            side.receive(b"")
        with pytest.raises(StateError, match="started before"):
            side.start()
    assert len(host.trees) == 1


@pytest.mark.parametrize(
    "change",
    [{"trees": 2}, {"depth": 1}, {"rows": 51}, {"reveal": "histograms"}, {"predictions": 9}],
)
def test_another_plan_is_told_to_both(change: dict[str, Any]) -> None:
    settings = {"rows": 50, "columns": 1, "trees": 1, "depth": 2, "seed": 3, **change}
    guest, host = JOB.sides()
    other_guest, other_host = trees_job(**settings).sides()
    hello = guest.start()
    assert hello is not None
    check_refused(other_host, hello, ContextMismatchError)
    other_guest.start()
    answer = host.receive(hello)
    assert answer is not None
    check_refused(other_guest, answer, PSIError, ContextMismatchError)


@pytest.mark.parametrize("family", ["linear", "poisson"])
def test_another_family_is_another_plan(family: Family) -> None:
    other = trees_job(family, rows=50, columns=1, trees=1, depth=2, seed=3)
    assert other.plan.host_splits == JOB.plan.host_splits
    assert other.plan.fingerprint() != JOB.plan.fingerprint()


# -- a guest that does not keep to the plan -------------------------------------------------------


class Greedy(TreesGuest):
    """It asks for more trees than were planned."""

    def _next_tree(self) -> bytes:
        if self._boosting.done:
            self._boosting._rounds += 1  # noqa: SLF001
        return super()._next_tree()


def test_a_host_answers_no_tree_beyond_its_plan() -> None:
    """Answers are flooded for so many."""
    guest, host = Greedy(JOB.plan, JOB.boosting()), JOB.sides()[1]
    with pytest.raises(StateError, match="expected message TREES_END"):
        hold(guest, host)
    assert host.state.grown == JOB.plan.most_trees == 1
    check_forgotten(host)


@pytest.mark.parametrize("kept", [0, 1, 2, 4, 2**32 - 1])
def test_only_trees_that_were_grown_are_kept(kept: int) -> None:
    """Of three outputs a round has three trees; the guest may end after any round."""
    job = trees_job(rows=60, columns=1, outputs=3, trees=2, depth=1)
    wire = Wire()
    for index, (taker, message) in enumerate(messages(*job.sides())):
        if index == 4 + 3 * 4:
            end = wire.sealed(VerticalMessage.TREES_END, 3, kept.to_bytes(4, "big"))
            error = check_refused(taker, end, DecodeError)
            assert "trees" in str(error)
            return
        wire.heard(message)
    raise AssertionError("there are not so many messages")


def test_a_guest_may_end_early() -> None:
    job = trees_job(rows=60, columns=1, outputs=3, trees=2, depth=1)
    wire, (guest, host) = Wire(), job.sides()
    for index, (taker, message) in enumerate(messages(guest, host)):
        if index == 4 + 3 * 4:
            end = wire.sealed(VerticalMessage.TREES_END, 3, (3).to_bytes(4, "big"))
            assert taker.receive(end) is None
            break
        wire.heard(message)
    assert host.done
    assert len(host.trees) == 3


# -- secrets --------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [3, 6, 11])
def test_sessions_are_not_pickled_and_show_nothing(number: int) -> None:
    guest, host = JOB.sides()
    for index, _ in enumerate(messages(guest, host)):
        if index == number:
            break
    for side in (guest, host):
        for way in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match="secrets"):
                way(side)
        assert repr(side) == f"{type(side).__name__}(50 rows)"


def test_no_part_of_a_session_shows_a_number() -> None:
    """Neither labels nor splits are in a repr, of what hangs on either side."""
    guest, host = JOB.sides()
    hold(guest, host)
    leaf = repr(guest.state.trees[0].leaves[0])
    for shown in _reprs(guest, host):
        assert leaf not in shown
        assert not any(digits in shown for digits in ("array(", "[["))


def _reprs(guest: TreesGuest, host: TreesHost) -> Iterator[str]:
    tree = guest._boosting.tree()  # noqa: SLF001
    question = tree.question()
    yield from map(repr, (guest, host, guest.state, host.state, tree, question))
    yield from map(repr, (guest.state.trees, host.state.trees, guest._boosting))  # noqa: SLF001
    yield from map(repr, (vars(tree)["_totals"], JOB.splits(JOB.guest)))
    yield repr(JOB.splits(JOB.guest).subsets(JOB.guest))


def test_sides_that_do_not_fit_the_plan_are_refused_before_anything_is_sent() -> None:
    splits, codes = JOB.splits(JOB.host), JOB.host
    for bad_splits, bad_codes in (
        (splits.part(np.arange(1)), codes), (splits, codes[:, 1:]),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match="the plan has"):
            TreesHost(JOB.plan, bad_splits, bad_codes)
    other = trees_job(rows=51, columns=1, seed=3)
    with pytest.raises(ConfigError, match="the plan has"):
        TreesGuest(JOB.plan, other.boosting())
