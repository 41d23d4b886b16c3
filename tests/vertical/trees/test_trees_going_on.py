"""A training of trees that broke off goes on from the last tree that both sides have."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from privfed.errors import ConfigError
from privfed.vertical.trees.guest import TreesGuest
from privfed.vertical.trees.host import TreesHost
from privfed.vertical.trees.plan import MOST_TREE_SESSIONS
from privfed.vertical.trees.state import GuestTreesState, HostTreesState
from psi.errors import StateError
from tests.vertical.trees.machines import follow, hold, messages, trees_job

JOB = trees_job(rows=60, columns=1, trees=3, depth=1, validation=15)
FIRST, LEVEL = 4, 4  # messages before the first tree, and of a level
MESSAGES = FIRST + 3 * LEVEL + 1


def broken_off(
    number: int, guest: GuestTreesState | None = None, host: HostTreesState | None = None
) -> tuple[TreesGuest, TreesHost]:
    """Two sessions, of which the message of this number was sent and never came."""
    sides = JOB.sides(guest, host)
    for index, _ in enumerate(messages(*sides)):
        if index == number:
            return sides
    raise AssertionError("there are not so many messages")


def saved(sides: tuple[TreesGuest, TreesHost]) -> tuple[GuestTreesState, HostTreesState]:
    """What both sides kept, for the next session."""
    written = [msgspec.json.encode(side.state) for side in sides]
    return (
        msgspec.json.decode(written[0], type=GuestTreesState).resumed(),
        msgspec.json.decode(written[1], type=HostTreesState).resumed(),
    )


def check_whole(guest: TreesGuest, host: TreesHost, begun: GuestTreesState) -> None:
    """Check that all trees are there, those that who sees all grows from where it began."""
    boosting = JOB.boosting()
    scores = np.tile(boosting.base, (JOB.plan.rows, 1))
    if begun.scores:
        scores = np.frombuffer(begun.scores[-1]).reshape(scores.shape)
    boosting.go_on(begun.trees, scores, begun.losses)
    follow(JOB, list(host.state.trees), boosting)
    assert list(guest.state.trees) == boosting.trees
    assert np.array_equal(np.frombuffer(guest.state.scores[-1]), boosting.scores.ravel())
    assert list(guest.state.losses) == boosting.losses
    assert len(host.trees) == len(boosting.best_trees)
    assert guest.model == host.model


@pytest.mark.parametrize("number", range(MESSAGES))
def test_a_training_that_breaks_off_anywhere_goes_on(number: int) -> None:
    """At each message: it was sent, and never came."""
    first = broken_off(number)
    states = saved(first)
    common = min(each.grown for each in states)
    assert max(each.grown for each in states) <= common + 1
    guest, host = JOB.sides(states[0], states[1])
    sent = hold(guest, host)
    assert len(sent) == FIRST + LEVEL * (3 - common) + 1
    assert guest.state.trees[:common] == first[0].state.trees[:common]
    assert host.state.trees[:common] == first[1].state.trees[:common]
    assert guest.state.sessions == host.state.sessions == 2
    check_whole(guest, host, states[0].until(common))


def test_sides_that_break_off_again_as_soon_as_they_met_go_on() -> None:
    """The host gives up a tree that the guest does not have, and that is all it still knows."""
    guest, host = broken_off(FIRST + 2 * LEVEL - 1)
    assert (guest.state.grown, host.state.grown) == (1, 2)
    for number in (1, 2, 3, 4):
        states = saved((guest, host))
        guest, host = broken_off(number, *states)
        assert (guest.state.grown, host.state.grown) == (1, 1)
    states = saved((guest, host))
    guest, host = JOB.sides(*states)
    hold(guest, host)
    check_whole(guest, host, states[0])
    assert [side.state.sessions for side in (guest, host)] == [6, 6]


def test_trees_that_are_grown_again_are_counted_with_what_the_guest_read() -> None:
    """Two for each session that broke off: what both then dropped is in no state."""
    plan, read = JOB.plan, 0
    states = (GuestTreesState.begun(plan), HostTreesState.begun(plan))
    for number in (FIRST + LEVEL - 1, FIRST + LEVEL - 1, FIRST + LEVEL):
        sides = broken_off(number, *states)
        read += sides[1].state.collected.asked[-1] + plan.rows * plan.depth
        states = saved(sides)
    guest, host = JOB.sides(*states)
    hold(guest, host)
    most = plan.repeated_bits(host.state.sessions)
    assert most == 2 * 3 * (60 + 1)
    assert guest.state.collected.bits + most >= read + sum(guest.state.collected.rows[1:])
    assert plan.repeated_bits(1) == 0


def test_trees_of_two_trainings_do_not_go_together() -> None:
    """Of as many trees each, by the same plan."""
    one, other = broken_off(FIRST + LEVEL), broken_off(FIRST + LEVEL)
    mixed = JOB.sides(one[0].state.resumed(), other[1].state.resumed())
    assert one[0].state.marks[1] != other[1].state.marks[1]
    hold(*mixed)  # from the beginning, which both have
    check_whole(*mixed, GuestTreesState.begun(JOB.plan))
    one, other = broken_off(MESSAGES - 1), broken_off(MESSAGES - 1)
    guest, host = JOB.sides(one[0].state.resumed(), other[1].state.resumed())
    hello = guest.start()
    assert hello is not None
    with pytest.raises(StateError, match="different trainings"):
        host.receive(hello)


def test_trainings_that_began_with_other_rows_do_not_go_together() -> None:
    """The same plan, and another order of rows: the first mark tells."""
    guest, host = JOB.sides(
        GuestTreesState.begun(JOB.plan, b"a" * 16), HostTreesState.begun(JOB.plan, b"b" * 16)
    )
    hello = guest.start()
    assert hello is not None
    with pytest.raises(StateError, match="train from the beginning"):
        host.receive(hello)


def test_a_state_is_told_as_the_sides_meet_and_before_what_follows_from_it_is_sent() -> None:
    told: dict[str, list[int]] = {"guest": [], "host": []}
    guest, host = JOB.sides(
        tell_guest=lambda state: told["guest"].append(state.grown),
        tell_host=lambda state: told["host"].append(state.grown),
    )
    counts = [(len(told["guest"]), len(told["host"])) for _ in messages(guest, host)]
    assert counts[:4] == [(0, 0), (0, 1), (1, 1), (1, 1)]
    assert counts[FIRST + LEVEL - 1] == (1, 2)  # as the host's last answer of a tree is sent
    assert counts[FIRST + LEVEL] == (2, 2)  # as the guest asks about the next tree
    assert told == {"guest": [0, 1, 2, 3], "host": [0, 1, 2, 3]}


def test_a_state_that_cannot_be_kept_ends_the_session() -> None:
    def full(state: Any) -> None:
        raise ConfigError("cannot write")

    guest, host = JOB.sides(tell_host=full)
    hello = guest.start()
    assert hello is not None
    with pytest.raises(ConfigError, match="cannot write"):
        host.receive(hello)


def test_keys_and_masks_are_drawn_anew() -> None:
    guest, host = broken_off(FIRST + LEVEL)
    states = guest.state.resumed(), host.state.resumed()
    sent = [hold(*JOB.sides(*states)) for _ in range(2)]
    for one, other in zip(*sent, strict=True):
        assert one != other


def test_sessions_are_counted_up_to_the_limit() -> None:
    guest, host = GuestTreesState.begun(JOB.plan), HostTreesState.begun(JOB.plan)
    for session in range(1, MOST_TREE_SESSIONS + 1):
        assert guest.sessions == host.sessions == session
        sides = JOB.sides(guest, host)
        guest, host = sides[0].state.resumed(), sides[1].state.resumed()
    for states in ((guest, None), (None, host)):
        with pytest.raises(ConfigError, match="train from the beginning"):
            JOB.sides(*states)


def test_a_state_of_another_plan_is_refused() -> None:
    other = trees_job(rows=60, columns=1, trees=2, depth=1)
    with pytest.raises(ConfigError, match="another plan"):
        other.sides(GuestTreesState.begun(JOB.plan))
    with pytest.raises(ConfigError, match="another plan"):
        other.sides(None, HostTreesState.begun(JOB.plan))


@pytest.mark.parametrize(
    "change",
    [
        {"marks": ()}, {"marks": (b"short",)}, {"marks": (bytes(16),) * 3}, {"sessions": 0},
        {"scores": ()}, {"scores": (bytes(8),)}, {"scores": (bytes(480),) * 3}, {"trees": ()},
    ],
)  # fmt: skip
def test_a_damaged_state_is_refused(change: dict[str, Any]) -> None:
    guest, _ = broken_off(FIRST + LEVEL)
    JOB.sides(guest.state)
    with pytest.raises(ConfigError, match="damaged"):
        JOB.sides(msgspec.structs.replace(guest.state, **change))


def test_states_show_no_tree() -> None:
    guest, host = broken_off(FIRST + LEVEL)
    assert repr(guest.state) == "GuestTreesState(trees=1)"
    assert repr(host.state) == "HostTreesState(trees=1)"
