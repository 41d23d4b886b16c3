"""Messages over streams of chunks: any cut of them, and whatever else a stream may hold."""

import itertools
import threading
from collections.abc import Iterable, Iterator
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from psi import (
    DeadlineError,
    DecodeError,
    PeerRefusedError,
    ProtocolError,
    Receiver,
    Sender,
    SizeLimitError,
    TransportError,
)
from psi.network.links import CHUNK_BYTES, AbandonedError, Link, converse
from psi.protocols.conversation import PEER
from psi.protocols.messages import MessageType, Transcript
from tests.psi.peers import sent
from tests.waiting import LONG_SECONDS

HELLO = sent(Receiver([b"a"]).start())


def link_with(incoming: Iterable[bytes], timeout_seconds: float = LONG_SECONDS) -> Link:
    link = Link(timeout_seconds)
    link.attach(incoming)
    return link


def broken() -> Iterator[bytes]:
    yield HELLO[:10]
    raise OSError("the line is dead")


@given(st.lists(st.integers(1, len(HELLO) - 1), unique=True))
def test_any_cut_of_a_message(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(HELLO)]
    chunks = [HELLO[start:end] for start, end in itertools.pairwise(edges)]
    link = link_with(chunks)
    assert link.receive(len(HELLO)) == HELLO
    assert link.bytes_received == len(HELLO)


def test_large_messages_leave_in_chunks() -> None:
    link, message = Link(LONG_SECONDS), bytes(2 * CHUNK_BYTES + 1)
    link.send(message)
    link.close()
    assert [len(chunk) for chunk in link.outgoing()] == [CHUNK_BYTES, CHUNK_BYTES, 1]
    assert link.bytes_sent == len(message)


@pytest.mark.parametrize(
    ("gaps", "megabits"),
    [
        ([0.01] * 5, 1.6384),
        ([0.01, 0.01, 0.5, 0.01, 0.01], 1.6384),  # one part that waits does not count
        ([0.01, 0.01, 0.0, 0.01, 0.0], 1.6384),
        ([0.0] * 5, 1000),  # faster is not told apart
        ([0.01, 0.01], None),
    ],
)
def test_short_messages_tell_how_fast_they_arrive(
    gaps: list[float], megabits: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = Transcript("auto").seal(MessageType.OFFER, 0, bytes(2048 * (len(gaps) + 1)))
    link = Link(LONG_SECONDS)
    link.send(message)
    link.close()
    parts, now = list(link.outgoing()), [0.0]
    assert [len(part) for part in parts[:-1]] == [2048] * (len(gaps) + 1)
    monkeypatch.setattr("psi.network.links.time", SimpleNamespace(monotonic=lambda: now[0]))

    def arriving() -> Iterator[bytes]:
        for gap, part in zip([0, *gaps, 5], parts, strict=False):
            now[0] += gap  # the rest, which is shorter, is not counted
            yield part

    reader = link_with(arriving())
    assert reader.receive(len(message)) == message
    assert reader.megabits == (megabits and pytest.approx(megabits))


@pytest.mark.parametrize(
    ("incoming", "error", "words"),
    [
        ([], TransportError, "went away"),
        ([HELLO[:50]], TransportError, "went away"),
        (broken(), TransportError, "went away"),
        ([b"", HELLO], DecodeError, "empty chunk"),
        ([HELLO + b"x"], DecodeError, "more than it announced"),
        ([b"GET / HTTP/1.1\r\n" + bytes(40)], DecodeError, "not a psi message"),
        ([HELLO[:32] + b"\xff" * 8, HELLO[40:]], DecodeError, "are the most"),
        ([b"psi refusal SizeLimitError"], PeerRefusedError, "stopped: SizeLimitError"),
        ([b"psi refusal \x1b[31mboo"], PeerRefusedError, "stopped: no known error"),
        ([b"psi refusal Path"], PeerRefusedError, "stopped: no known error"),
        ([b"psi refusal \xff"], PeerRefusedError, "stopped: no known error"),
    ],
)
def test_streams_that_hold_no_message(
    incoming: Iterable[bytes], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        link_with(incoming).receive(len(HELLO))


def test_a_long_message_is_refused_before_it_arrives() -> None:
    taken, left_alone = 0, threading.Event()

    def endless() -> Iterator[bytes]:
        nonlocal taken
        try:
            yield HELLO[:32] + (1 << 40).to_bytes(8, "big")
            while True:
                taken += 1
                yield bytes(1000)
        finally:
            left_alone.set()

    link = link_with(endless())
    with pytest.raises(DecodeError, match="are the most"):
        link.receive(10**6)
    assert taken < 10  # the queue is short: what is not read is not fetched
    link.drain(0)
    assert left_alone.wait(LONG_SECONDS)  # nobody reads on for ever


def test_silence_ends_at_the_deadline() -> None:
    over = threading.Event()

    def silence() -> Iterator[bytes]:
        over.wait()
        yield from ()

    with pytest.raises(DeadlineError):
        link_with(silence(), timeout_seconds=0).receive(100)
    over.set()


def test_one_that_never_stops_sending_meets_the_deadline_too() -> None:
    there = threading.Event()

    def told() -> Iterator[bytes]:
        yield HELLO
        there.set()

    link = link_with(told(), timeout_seconds=0)
    assert there.wait(LONG_SECONDS)
    with pytest.raises(DeadlineError):
        link.receive(len(HELLO))


def test_only_the_word_says_that_the_other_side_is_done() -> None:
    link_with([b"psi done"]).await_done()
    with pytest.raises(DecodeError, match="goes on"):
        link_with([HELLO]).await_done()
    with pytest.raises(TransportError, match="went away"):
        link_with([]).await_done()
    with pytest.raises(PeerRefusedError):
        link_with([b"psi refusal DecodeError"]).await_done()


def test_an_abandoned_stream_does_not_end_as_if_all_were_well() -> None:
    link = Link(LONG_SECONDS)
    link.abandon()
    with pytest.raises(AbandonedError):
        list(link.outgoing())


def test_draining_ends_with_the_stream() -> None:
    link = link_with([HELLO, HELLO])
    link.receive(len(HELLO))
    link.drain(LONG_SECONDS)
    assert link._ended  # noqa: SLF001  (else draining twice could wait)
    link.drain(LONG_SECONDS)  # at once: nothing more can come


def test_an_error_tells_the_other_side_its_name_only() -> None:
    link = link_with([sent(Receiver([b"secret"]).start())])
    with pytest.raises(SizeLimitError):
        converse(Sender([b"a"], max_peer_items=0), {PEER: link})
    assert list(link.outgoing()) == [b"psi refusal SizeLimitError"]


def test_a_session_over_two_links() -> None:
    there, back = Link(LONG_SECONDS), Link(LONG_SECONDS)
    there.attach(back.outgoing())
    back.attach(there.outgoing())
    stages: list[str] = []
    receiver = Receiver([b"a", b"b"], progress=lambda stage, *_: stages.append(stage))
    sender = Sender([b"b", b"c"])
    other = threading.Thread(target=converse, args=(sender, {PEER: back}))
    other.start()
    converse(receiver, {PEER: there})
    other.join()
    assert receiver.matches.tolist() == [1]
    assert sender.matches.tolist() == [0]
    assert (there.bytes_sent, there.bytes_received) == (back.bytes_received, back.bytes_sent)
    assert set(stages) == {"blinding own IDs", "unblinding own IDs"}


def test_every_refusal_is_a_protocol_error() -> None:
    link = link_with([b"psi refusal KeyConfirmationError"])
    with pytest.raises(PeerRefusedError) as error:
        converse(Sender([b"a"]), {PEER: link})
    assert not isinstance(error.value, ProtocolError)
