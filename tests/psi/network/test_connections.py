"""Several conversations in turn over one connection: two real processes, and what ends it."""

import contextlib
import enum
import functools
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from psi import (
    DeadlineError,
    DecodeError,
    ParameterMismatchError,
    PeerRefusedError,
    PSIError,
    Receiver,
    Sender,
    StateError,
    TransportError,
)
from psi.network import (
    Connection,
    Dialogue,
    Link,
    Participant,
    Roster,
    Terms,
    TLSIdentity,
    Transcript,
    create_identity,
    fingerprint,
    gather,
)
from psi.network.terms import MOST_TERMS_BYTES
from psi.protocols.conversation import PEER
from psi.sessions import GroupChoice, PairChoice, TableSession
from tests.psi.peers import run
from tests.waiting import LONG_SECONDS

SIDE = """
import os, sys
from pathlib import Path
from psi import PSIError
from psi.network import TLSIdentity, connect, listen, load_certificate
from psi.sessions import PairChoice, TableSession

side, folder, address, *asked = sys.argv[1:]
other = {"serve": "join", "join": "serve"}[side]
credentials = {
    "identity": TLSIdentity.load(Path(folder, side)),
    "peer_certificate": load_certificate(Path(folder, other + ".crt")),
}
tell = lambda *words: print(*words, flush=True)
opening = (
    listen(address=address, on_listening=tell, **credentials)
    if side == "serve"
    else connect(address=address, **credentials)
)
try:
    with opening as connection:
        for question in asked:
            if question == "die":
                sys.stdin.readline()
                os._exit(9)
            session = TableSession.prepare(
                {"serve": ["a", "b", "c"], "join": ["c", "x", "b", "y"]}[side],
                PairChoice(side=side, learn=question),
            )
            took = connection.converse(session.party, session.terms)
            columns, found = session.outcome(None, numbers=True)
            first, *_ = columns.values()
            tell(question, sorted(map(int, first)), took.bytes_sent, took.bytes_received)
except PSIError as error:
    tell(type(error).__name__, error)
"""


@dataclass
class Sides:
    """Ways to start a process for each side."""

    folder: Path
    running: list[subprocess.Popen[str]] = field(default_factory=list)
    address: str = "127.0.0.1:0"

    def start(self, side: str, *asked: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", SIDE, side, str(self.folder), self.address, *asked],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.running.append(process)
        if side == "serve":
            assert process.stdout is not None
            self.address = f"127.0.0.1:{int(process.stdout.readline())}"
        return process

    def held(self, serving: tuple[str, ...], joining: tuple[str, ...]) -> list[list[str]]:
        """What both sides say, line by line; one dies when the other has said its first."""
        processes = self.start("serve", *serving), self.start("join", *joining)
        begun = ["", ""]
        for number, asked in enumerate((serving, joining)):
            if "die" in asked:
                dying, other = processes[number], processes[1 - number]
                assert other.stdout is not None
                assert dying.stdin is not None
                begun[1 - number] = other.stdout.readline()
                dying.stdin.write("\n")
                dying.stdin.flush()
        said = [
            (first + process.communicate(timeout=LONG_SECONDS)[0]).splitlines()
            for first, process in zip(begun, processes, strict=True)
        ]
        codes = [9 if "die" in asked else 0 for asked in (serving, joining)]
        assert [process.returncode for process in processes] == codes
        return said


@pytest.fixture
def sides(tmp_path: Path) -> Iterator[Sides]:
    for name in ("serve", "join"):
        create_identity(tmp_path / name, unlocked=True)
    here = Sides(tmp_path)
    yield here
    for process in here.running:
        process.kill()
        process.communicate()


def counts(line: str) -> tuple[str, int, int]:
    """What was found, and the bytes sent and received."""
    found = re.fullmatch(r"(.*\]) (\d+) (\d+)", line)
    assert found is not None, line
    return found[1], int(found[2]), int(found[3])


def test_three_conversations_in_turn(sides: Sides) -> None:
    asked = ("intersection", "intersection", "cardinality")
    serving, joining = ([counts(line) for line in said] for said in sides.held(asked, asked))
    rows = [f"intersection [{numbers}]" for numbers in ("1, 2", "0, 2")]
    assert [found for found, *_ in serving] == [rows[0], rows[0], "cardinality [2]"]
    assert [found for found, *_ in joining] == [rows[1], rows[1], "cardinality [2]"]
    # Each counts its own bytes: the same again for the same again.
    assert [(received, sent) for _, sent, received in joining] == [one[1:] for one in serving]
    assert serving[0] == serving[1]
    assert min(*serving[0][1:], *serving[2][1:]) > 300


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("last", [("die",), ()])
def test_a_side_that_goes_between_two(sides: Sides, last: tuple[str, ...], turned: bool) -> None:
    asked = ("cardinality", "cardinality"), ("cardinality", *last)
    said = sides.held(*(asked[::-1] if turned else asked))
    staying, going = said[::-1] if turned else said
    assert counts(going[0])[0] == counts(staying[0])[0] == "cardinality [2]"
    assert staying[1:] == ["TransportError the other side went away in the middle of the session"]
    assert going[1:] == []


def test_other_terms_for_the_second_are_named_at_both_ends(sides: Sides) -> None:
    said = sides.held(("intersection", "cardinality"), ("intersection", "ids", "intersection"))
    words = "ParameterMismatchError the other side chose question={}, this side {}: choose the same"
    for lines, fields in zip(said, (("ids", "cardinality"), ("cardinality", "ids")), strict=True):
        assert counts(lines[0])[0].startswith("intersection")
        assert lines[1:] == [words.format(*fields) + " on both sides"]


def test_three_sides_in_turn_over_one_connection_each(tmp_path: Path) -> None:
    names, rows = ("alice", "bob", "carol"), (["a", "b", "c"], ["c", "b", "x"], ["b", "z", "c"])
    for name in names:
        create_identity(tmp_path / name, unlocked=True)
    identities = [TLSIdentity.load(tmp_path / name) for name in names]
    with contextlib.ExitStack() as free:
        sockets = [free.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in names]
        addresses = [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    roster = Roster(
        tuple(
            Participant(name, address, identity.certificate)
            for name, address, identity in zip(names, addresses, identities, strict=True)
        )
    )
    found: dict[int, list[Any]] = {}
    told: set[tuple[int, int, str, str]] = set()

    def take_part(number: int) -> None:
        address = addresses[number]
        with gather(roster=roster, identity=identities[number], listen=address) as connection:
            for result in ("all", "leader"):
                choice = GroupChoice(roster=roster, number=number, result=result)
                session = TableSession.prepare(rows[number], choice)
                session.party.between = lambda *one: told.add((number, *one))  # type: ignore[method-assign]
                connection.converse(session.party, session.terms, timeout_seconds=60)
                shared = (
                    [rows[number][row] for row in session.rows()] if session.gets_result else None
                )
                found.setdefault(number, []).append(shared)

    assert ends(*(functools.partial(take_part, number) for number in range(3))) == [None] * 3
    prints = [fingerprint(one.certificate) for one in identities]
    assert told == {(a, b, prints[a], prints[b]) for a in range(3) for b in range(3) if a != b}
    first, second = zip(*(found[number] for number in range(3)), strict=True)
    assert sorted(first[0]) == ["b", "c"]
    assert first[0] == first[1] == first[2]
    assert (sorted(second[0]), *second[1:]) == (["b", "c"], None, None)


# -- over links without a network ---------------------------------------------------------------

TERMS = PairChoice(side="serve").terms
OTHERS = PairChoice(side="serve", learn="cardinality").terms


def linked() -> list[Connection]:
    links = Link(LONG_SECONDS), Link(LONG_SECONDS)
    links[0].attach(links[1].outgoing())
    links[1].attach(links[0].outgoing())
    return [Connection({PEER: link}, lambda terms: None) for link in links]


def ends(*talks: Callable[[], Any]) -> list[PSIError | None]:
    """How talks at the same time end."""
    ended: list[PSIError | None] = [None] * len(talks)

    def hold(number: int) -> None:
        try:
            talks[number]()
        except PSIError as error:
            ended[number] = error

    threads = [threading.Thread(target=hold, args=(number,)) for number in range(len(talks))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG_SECONDS)
        assert not thread.is_alive()
    return ended


def met() -> list[Connection]:
    """Two ends that have held a conversation."""
    one, other = linked()
    talks = (
        lambda: one.converse(Receiver([b"a"]), TERMS),
        lambda: other.converse(Sender([b"a"]), TERMS),
    )
    assert ends(*talks) == [None, None]
    return [one, other]


def test_a_connection_that_failed_holds_nothing_more() -> None:
    one, other = met()
    found = ends(
        lambda: one.converse(Receiver([b"a"]), TERMS),
        lambda: other.converse(Sender([b"a"]), OTHERS),
    )
    assert [type(error) for error in found] == [ParameterMismatchError] * 2
    receiver, sender = Receiver([b"a"]), Sender([b"a"])
    for connection, party in ((one, receiver), (other, sender)):
        with pytest.raises(StateError, match="open another one"):
            connection.converse(party, TERMS)
    assert not receiver.done
    assert not sender.done


@pytest.mark.parametrize("held", [0, 1])
def test_a_conversation_is_held_once(held: int) -> None:
    """Else one that is over would end at once, as if its result were of the new conversation."""
    parties = Receiver([b"a"]), Sender([b"a"])
    run(*parties)
    link, peer = Link(LONG_SECONDS), Link(LONG_SECONDS)
    link.attach(peer.outgoing())
    peer.say_done()
    connection = Connection({PEER: link}, lambda terms: None)
    with pytest.raises(StateError, match="start a new one"):
        connection.converse(parties[held], TERMS)


def test_a_closed_connection_holds_nothing_more() -> None:
    one, other = met()
    one.close()
    with pytest.raises(StateError, match="open another one"):
        one.converse(Receiver([b"a"]), TERMS)
    with pytest.raises(TransportError, match="went away"):
        other.converse(Sender([b"a"]), TERMS)


def test_each_conversation_has_a_deadline_of_its_own() -> None:
    one, other = met()
    with pytest.raises(DeadlineError):
        one.converse(Receiver([b"a"]), TERMS, timeout_seconds=0)
    with pytest.raises(PeerRefusedError, match="DeadlineError"):
        other.converse(Sender([b"a"]), TERMS)
    one, other = met()  # the time that went by between two is nobody's
    talks = (
        lambda: one.converse(Receiver([b"a"]), TERMS, timeout_seconds=LONG_SECONDS),
        lambda: other.converse(Sender([b"a"]), TERMS, timeout_seconds=LONG_SECONDS),
    )
    assert ends(*talks) == [None, None]


@pytest.mark.parametrize(
    "sent",
    [
        b"psi done",
        Receiver([b"a"]).start(),
        b"psi terms ",
        b"psi terms {}",
        b"psi terms " + TERMS.encode().replace(b"both", b"\x1b[31mevil"),
        b"psi terms " + b"[" * 3000,
        b"psi terms " + b"x" * (MOST_TERMS_BYTES + 1),
    ],
)
def test_what_is_sent_for_terms_and_is_none(sent: bytes) -> None:
    link, peer = Link(LONG_SECONDS), Link(LONG_SECONDS)
    link.attach(peer.outgoing())
    peer.attach(link.outgoing())
    connection = Connection({PEER: link}, lambda terms: None)
    hello = Connection({PEER: peer}, lambda terms: None)
    talks = (
        lambda: connection.converse(Sender([b"a"]), TERMS),
        lambda: hello.converse(Receiver([b"a"]), TERMS),
    )
    assert ends(*talks) == [None, None]
    peer.send(sent)
    with pytest.raises(DecodeError) as error:
        connection.converse(Sender([b"a"]), TERMS)
    assert "evil" not in str(error.value)
    with pytest.raises(PeerRefusedError, match="DecodeError"):
        hello.converse(Receiver([b"a"]), TERMS)


# -- a conversation of a caller's own -----------------------------------------------------------


class Kind(enum.IntEnum):
    QUESTION = 100
    ANSWER = 101


class Guessing(Terms, frozen=True, kw_only=True, forbid_unknown_fields=True):
    game: Literal["hot", "cold"]


class Guess(Dialogue):
    """Asks for a number, and is told how far away it is."""

    protocol = "guess"
    speaks_first = True

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number
        self.away: int | None = None
        self.transcript = Transcript(self.protocol)

    @property
    def longest_message(self) -> int:
        return 100

    def _begin(self) -> bytes:
        self._expect = self._on_answer
        return self.transcript.seal(Kind.QUESTION, self.number)

    def _on_answer(self, data: bytes) -> None:
        self.away = self.transcript.open(Kind.ANSWER, data).count
        self._end()


class Guessed(Guess):
    speaks_first = False

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self._expect = self._on_question

    def _on_question(self, data: bytes) -> bytes:
        guess = self.transcript.open(Kind.QUESTION, data).count
        self._end()
        return self.transcript.seal(Kind.ANSWER, abs(self.number - guess))


def test_a_conversation_and_terms_of_a_caller_s_own_among_ours() -> None:
    one, other = met()
    for game in ("hot", "cold"):
        terms = Guessing(game=game)
        guess = Guess(7)
        talks = (
            lambda guess=guess, terms=terms: one.converse(guess, terms),
            lambda terms=terms: other.converse(Guessed(9), terms),
        )
        assert ends(*talks) == [None, None]
        assert guess.away == 2
    found = ends(
        lambda: one.converse(Guess(7), Guessing(game="hot")),
        lambda: other.converse(Guessed(9), Guessing(game="cold")),
    )
    assert [str(error) for error in found] == [
        f"the other side chose game={theirs}, this side {own}: choose the same on both sides"
        for theirs, own in (("cold", "hot"), ("hot", "cold"))
    ]


def test_terms_are_narrow() -> None:
    """Whatever the fields of the questions are: a value that this side could not choose is none."""
    for name in TERMS.__struct_fields__:
        content = TERMS.encode().replace(
            f'"{name}":'.encode(), f'"{name}":"evil","also_{name}":'.encode()
        )
        with pytest.raises(DecodeError) as error:
            TERMS.check(content)
        assert "evil" not in str(error.value)
    assert isinstance(TERMS, Terms)
