"""The other side dies at any message of any protocol: one error, no result, nobody waits.

Whole links without a network, one thread a party; test_pair and test_together kill
processes.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import pytest

from psi import Leader, Member, PSIError, SessionParameters, StateError, TransportError
from psi.network.links import Link, converse
from psi.protocols.conversation import PEER
from tests.psi.peers import PAIRS, run
from tests.waiting import LONG_SECONDS

SETS = [[b"a", b"b", b"c"], [b"c", b"b", b"x", b"y"], [b"b", b"z", b"c"]]
MESSAGES = {"vole": 10, "vole, counted": 10, "vole, in parts": 12, "sum": 8, "sum, noisy": 8}
Talk = Callable[[], None]


class DiedError(Exception):
    """Stands for the end of a process."""


def mortal(party: Any, messages: int) -> Any:
    """Let a party die when it has taken so many messages (or rounds of them)."""
    receive, left = party.receive, [messages]

    def dying(arrived: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise DiedError
        return receive(arrived)

    party.receive = dying
    return party


def ends(talks: Mapping[int, Talk], links: Mapping[int, Iterable[Link]]) -> dict[int, Any]:
    """How each party's conversation ends: its error, or None."""
    ended: dict[int, Any] = {}

    def hold(number: int) -> None:
        try:
            talks[number]()
            ended[number] = None
        except (PSIError, DiedError) as error:
            ended[number] = error
        finally:
            for link in links[number]:
                link.abandon()  # as the transport does

    threads = [threading.Thread(target=hold, args=(number,)) for number in talks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG_SECONDS)
        assert not thread.is_alive()
    return ended


def between(receiver: Any, sender: Any, lost: int | None = None) -> dict[int, Any]:
    """Both ends of a session; the sender does not get what comes after `lost` bytes."""
    links = {0: Link(LONG_SECONDS), 1: Link(LONG_SECONDS)}
    links[0].attach(links[1].outgoing())
    stream = links[0].outgoing()
    links[1].attach(stream if lost is None else cut(stream, lost))
    talks = {
        number: lambda party=party, number=number: converse(party, {PEER: links[number]})
        for number, party in enumerate((receiver, sender))
    }
    return ends(talks, {number: [link] for number, link in links.items()})


def cut(stream: Iterator[bytes], length: int) -> Iterator[bytes]:
    """A line that breaks after so many bytes."""
    for chunk in stream:
        yield chunk[:length]
        length -= len(chunk)
        if length <= 0:
            raise OSError("the line is dead")


@pytest.mark.parametrize("name", PAIRS)
def test_a_side_that_dies_leaves_the_other_without_a_result(name: str) -> None:
    number = MESSAGES.get(name, 6)
    assert len(run(*PAIRS[name]())) == number
    for turn in range(number):  # the sender takes message 0
        parties = PAIRS[name]()
        dead = (turn + 1) % 2
        mortal(parties[dead], turn // 2)
        ended = between(*parties)
        assert isinstance(ended[dead], DiedError)
        survivor = parties[1 - dead]
        assert isinstance(ended[1 - dead], TransportError), (name, turn)
        if turn < number - 1:  # else it has done its part, but does not take that for the end
            assert not survivor.done
            with pytest.raises(StateError):
                _ = survivor.matches


@pytest.mark.parametrize("name", PAIRS)
def test_a_line_that_breaks_within_any_message(name: str) -> None:
    lengths = [len(message) for message in run(*PAIRS[name]())[::2]]
    for message in range(len(lengths)):
        receiver, sender = PAIRS[name]()
        ended = between(receiver, sender, lost=sum(lengths[: message + 1]) - 1)
        assert isinstance(ended[1], TransportError)
        assert isinstance(ended[0], TransportError)
        assert not receiver.done
        assert not sender.done


def test_only_the_last_word_is_one_side_s_alone() -> None:
    receiver, sender = PAIRS["ecdh"]()
    lost = sum(len(message) for message in run(*PAIRS["ecdh"]())[::2])
    ended = between(receiver, sender, lost=lost)
    assert ended[0] is None
    assert isinstance(ended[1], TransportError)


# -- three and more -----------------------------------------------------------------------------


def among(parties: list[Any]) -> dict[int, Any]:
    numbers = range(len(parties))
    links = {
        one: {other: Link(20, name=f"party {other}") for other in numbers if other != one}
        for one in numbers
    }
    for one in numbers:
        for other, link in links[one].items():
            link.attach(links[other][one].outgoing())
    talks = {
        number: lambda party=party, number=number: converse(party, links[number])
        for number, party in enumerate(parties)
    }
    return ends(talks, {number: own.values() for number, own in links.items()})


def session(output: Any) -> list[Any]:
    parameters = SessionParameters(output=output)
    members = [Member(SETS[i], parameters, number=i, parties=3) for i in (1, 2)]
    return [Leader(SETS[0], parameters, parties=3), *members]


@pytest.mark.parametrize("output", ["both", "receiver"])
def test_three_over_links(output: str) -> None:
    parties = session(output)
    assert among(parties) == {0: None, 1: None, 2: None}
    assert {SETS[0][i] for i in parties[0].matches} == {b"b", b"c"}


@pytest.mark.parametrize(("dead", "turn"), [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2), (2, 0), (2, 2)])
def test_one_of_three_that_dies_stops_all(dead: int, turn: int) -> None:
    parties = session("both")
    mortal(parties[dead], turn)
    ended = among(parties)
    assert isinstance(ended.pop(dead), DiedError)
    # Whoever was done already has not heard it of all others, and so gives out nothing.
    assert all(isinstance(error, TransportError) for error in ended.values())
