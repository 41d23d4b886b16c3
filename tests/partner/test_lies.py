"""A server that lies and parties that do not keep to the plan: named, and nothing is trained on."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import msgspec
import pytest

from privfed.errors import (
    AuthenticationError,
    ContextMismatchError,
    DecodeError,
    PeerError,
    PrivFedError,
)
from privfed.partner.messages import Answer, Join, Post, RoundUpdate, decode, encode
from privfed.training import weights_sha256
from tests.partner.trainings import Training, plan_of, training

Change = Callable[[str, bytes, Answer], Answer]


def under(job: Training, change: Change) -> list[Any]:
    """Run all parties, of which the first hears what a lying server made of the answers."""
    own = job.call(0)

    def lied(method: str, request: bytes) -> bytes:
        answer = decode(own(method, request), Answer)
        return encode(change(method, request, answer) if answer.what == "all" else answer)

    trainers = [job.trainer(place) for place in range(job.parties)]
    channels = [job.channel(place, wait_seconds=1) for place in range(job.parties)]
    channels[0] = job.channel(0, lied, wait_seconds=1)
    start = trainers[0].folder.finished()
    pairs = zip(trainers, channels, strict=True)
    found = job.run([functools.partial(each.run, channel) for each, channel in pairs])
    kept = trainers[0].folder.finished()
    assert start is not None
    assert kept is not None
    assert (kept.rounds, weights_sha256(kept.weights)) == (0, weights_sha256(start.weights))
    return found


def bodies(change: Callable[[tuple[bytes, ...]], tuple[bytes, ...]], topic: str) -> Change:
    """Change what the first party hears under a topic, or as a total."""

    def changed(method: str, request: bytes, answer: Answer) -> Answer:
        named = decode(request, Post).topic if method == "Post" else method
        return Answer("all", change(answer.bodies)) if named == topic else answer

    return changed


def flipped(data: bytes, at: int = -1) -> bytes:
    wrong = bytearray(data)
    wrong[at] ^= 1
    return bytes(wrong)


@pytest.mark.parametrize(
    ("topic", "change", "error", "said"),
    [
        ("Join", lambda b: (b"x" * 16, b[1]), PeerError, "left this party's nonce out"),
        ("Join", lambda b: b[::-1], PeerError, ""),
        ("standing", lambda b: b[:1], PeerError, "another number"),
        ("standing", lambda b: (b[0], b""), DecodeError, "no _Signed"),
        ("standing", lambda b: (b[0], flipped(b[1])), AuthenticationError, "party-1 did not sign"),
        ("standing", lambda b: (b[1], b[0]), AuthenticationError, "party-0 did not sign"),
        ("Upload", lambda b: (flipped(b[0]),), PrivFedError, ""),
        ("Upload", lambda b: (flipped(b[0], len(b[0]) // 2),), PrivFedError, ""),
        ("Upload", lambda b: (b"",), DecodeError, ""),
        ("Upload", lambda b: (), PeerError, "no total, or several"),
    ],
)
def test_what_a_server_changes_is_noticed(
    tmp_path: Path, topic: str, change: Any, error: type[PrivFedError], said: str
) -> None:
    found = under(training(tmp_path), bodies(change, topic))
    assert isinstance(found[0], error), found[0]
    assert said in str(found[0])


def test_a_standing_of_another_session_is_noticed(tmp_path: Path) -> None:
    """What a party said before it went away is no news of where it stands now."""
    job, heard = training(tmp_path), list[tuple[bytes, ...]]()

    def replayed(bodies: tuple[bytes, ...]) -> tuple[bytes, ...]:
        heard.append(bodies)
        if len(heard) == 1:
            job.meeting.restart()
            return bodies
        return bodies[0], heard[0][1]

    found = under(job, bodies(replayed, "standing"))
    assert isinstance(found[0], AuthenticationError)


def test_a_party_that_wastes_numbers_is_named(tmp_path: Path) -> None:
    job = training(tmp_path)
    wasteful = job.trainer(1)
    party = wasteful.ring.identity
    own = job.call(1)

    def far(method: str, request: bytes) -> bytes:
        ask = decode(request, Post) if method == "Post" else None
        if ask is not None and ask.topic == "key":
            said = msgspec.msgpack.encode([0, 2**62, 0, "00", job.plan.start])
            signed = [said, job.plan.sign(party, ask.session + b"key\x00", said)]
            request = encode(Post(ask.session, ask.topic, msgspec.msgpack.encode(signed)))
        return own(method, request)

    found, _ = job.run(
        [
            lambda: job.trainer(0).run(job.channel(0, wait_seconds=1)),
            lambda: wasteful.run(job.channel(1, far, wait_seconds=1)),
        ]
    )
    assert isinstance(found, PeerError)
    assert "party-1 has used up rounds to 4611686018427387904" in str(found)


def test_a_party_with_another_plan_is_told(tmp_path: Path) -> None:
    job = training(tmp_path)
    other = Training(tmp_path, 2, plan_of(tmp_path, 2, rounds=6))
    call = job.call(1)
    with pytest.raises(PeerError, match="the server has another plan"):
        other.trainer(1).run(other.channel(1, call))
    assert any("party-1 came with another plan" in line for line in job.told)
    assert issubclass(ContextMismatchError, PrivFedError)


def test_an_update_that_is_none_is_refused_and_told(tmp_path: Path) -> None:
    job = training(tmp_path)

    def hostile(method: str, request: bytes) -> bytes:
        if method == "Upload":
            ask = decode(request, RoundUpdate)
            request = encode(RoundUpdate(ask.session, ask.round_id, ask.body[:-1]))
        return job.call(1)(method, request)

    acts = [
        lambda: job.trainer(0).run(job.channel(0, wait_seconds=1)),
        lambda: job.trainer(1).run(job.channel(1, hostile, wait_seconds=1)),
    ]
    waits, refused = job.run(acts)
    assert isinstance(waits, PeerError)
    assert "waited 1 s for party-1" in str(waits)
    assert isinstance(refused, PeerError)
    assert "DecodeError" in str(refused)
    assert any("party-1's update was refused" in line for line in job.told)


def test_one_party_gives_one_update_a_round(tmp_path: Path) -> None:
    job = training(tmp_path)
    call, sent = job.call(1), list[bytes]()

    def twice(method: str, request: bytes) -> bytes:
        if method == "Upload" and not sent:
            ask = decode(request, RoundUpdate)
            sent.append(request)
            call(method, request)
            request = encode(RoundUpdate(ask.session, ask.round_id, flipped(ask.body)))
        return call(method, request)

    waits, refused = job.run(
        [
            lambda: job.trainer(0).run(job.channel(0, wait_seconds=1)),
            lambda: job.trainer(1).run(job.channel(1, twice, wait_seconds=1)),
        ]
    )
    assert isinstance(refused, PeerError)
    assert "ReplayError" in str(refused)
    assert isinstance(waits, PeerError)


@pytest.mark.parametrize("data", [b"", b"\x91", b"\xff" * 50, msgspec.msgpack.encode([1, 2, 3])])
def test_bytes_that_are_no_message_are_named(data: bytes) -> None:
    for kind in (Join, Post, RoundUpdate, Answer):
        with pytest.raises(DecodeError, match=f"no {kind.__name__}"):
            decode(data, kind)


def test_a_server_shows_no_words_of_its_own(tmp_path: Path) -> None:
    job = training(tmp_path)
    answer = encode(Answer("refused", reason="pay 1000 to this account"))
    with pytest.raises(PeerError) as told:
        job.channel(0, lambda method, request: answer).join()
    assert "1000" not in str(told.value)


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        (lambda b: (b[0], b"lacking"), DecodeError, "no _Signed"),
        (lambda b: (b[0], b[0]), AuthenticationError, "party-1 did not sign"),
        (lambda b: (b[0], flipped(b[1])), AuthenticationError, "party-1 did not sign"),
    ],
)
def test_words_before_training_are_their_speakers(
    tmp_path: Path, change: Any, error: type[PrivFedError], said: str
) -> None:
    """Else a server says who lacks the overlap, or has it."""
    job = training(tmp_path)

    class Settles(Training):
        def trainer(self, place: int, **changes: Any) -> Any:
            found = super().trainer(place, **changes)
            part = found.settle

            def settle(exchange: Any, begun: bool) -> Any:
                assert list(exchange("overlap", b"kept")) == [b"kept", b"kept"]
                return part(exchange, begun)

            found.settle = settle
            return found

    found = under(Settles(job.folder, 2, job.plan), bodies(change, "overlap"))
    assert isinstance(found[0], error), found[0]
    assert said in str(found[0])


def test_who_says_it_is_ahead_is_named(tmp_path: Path) -> None:
    job = training(tmp_path)
    ahead = job.trainer(1)
    own = job.call(1)

    def lies(method: str, request: bytes) -> bytes:
        ask = decode(request, Post) if method == "Post" else None
        if ask is not None and ask.topic == "key":
            said = msgspec.msgpack.encode([1, 1, 0, "00", "00"])
            signed = [said, job.plan.sign(ahead.ring.identity, ask.session + b"key\x00", said)]
            request = encode(Post(ask.session, ask.topic, msgspec.msgpack.encode(signed)))
        return own(method, request)

    honest = job.trainer(0)

    def give() -> None:
        channel = job.channel(1, lies, wait_seconds=1)
        session = channel.join()
        for topic in ("standing", "sealed", "key", "total"):
            said = msgspec.msgpack.encode([0, 0, 0, "", job.plan.start])
            fresh = session + topic.encode() + b"\x00"
            signed = [said, job.plan.sign(ahead.ring.identity, fresh, said)]
            channel.exchange(topic, msgspec.msgpack.encode(signed))

    found, _ = job.run([lambda: honest.run(job.channel(0, wait_seconds=1)), give])
    assert isinstance(found, PeerError)
    assert "party-1 says that it has finished 1 rounds" in str(found)
    assert honest.rounds == 0


def garbled_once(job: Training, places: tuple[int, ...]) -> None:
    """Run all parties, some of which are given the first total with another bit in its noise."""

    def lied(place: int) -> Callable[[str, bytes], bytes]:
        def call(method: str, request: bytes) -> bytes:
            answer = decode(job.call(place)(method, request), Answer)
            if method == "Upload" and answer.what == "all" and place in places:
                answer = Answer("all", (flipped(answer.bodies[0], -3),))
            return encode(answer)

        return call

    parties = [job.trainer(place) for place in range(job.parties)]
    found = job.run(
        [
            functools.partial(each.run, job.channel(place, lied(place), wait_seconds=1))
            for place, each in enumerate(parties)
        ]
    )
    for place in places:
        assert isinstance(found[place], AuthenticationError | PeerError)
    assert [parties[place].rounds for place in places] == [0] * len(places)


@pytest.mark.parametrize("parties", [2, 3])
def test_after_a_total_that_opens_nowhere_all_go_on(tmp_path: Path, parties: int) -> None:
    job = training(tmp_path, parties)
    garbled_once(job, tuple(range(parties)))
    for each in Training(job.folder, parties, job.plan).all_run():
        assert isinstance(each, dict), each


@pytest.mark.parametrize("parties", [2, 3])
def test_after_a_total_that_opens_elsewhere_all_are_told(tmp_path: Path, parties: int) -> None:
    job = training(tmp_path, parties)
    garbled_once(job, (0,))
    again = Training(job.folder, parties, job.plan)
    out, *others = again.all_run([again.trainer(place) for place in range(parties)])
    assert isinstance(out, AuthenticationError)
    assert "begin anew under another job name" in str(out)
    assert all("party-0 stopped: AuthenticationError" in str(each) for each in others)


@pytest.mark.parametrize("code", [grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNKNOWN])
def test_a_server_that_fails_is_not_waited_for(tmp_path: Path, code: grpc.StatusCode) -> None:
    class Failed(grpc.RpcError):  # type: ignore[misc]
        def code(self) -> grpc.StatusCode:
            return code

        def details(self) -> str:
            return "said by the server"

    def fails(method: str, request: bytes) -> bytes:
        raise Failed

    with pytest.raises(PeerError, match=f"the server failed .{code.name}.: look at") as told:
        training(tmp_path).channel(0, fails).join()
    assert "said by" not in str(told.value)
