"""The gRPC transport in one process: who gets in, who is told what, and what ends a session."""

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from psi import (
    ConfigError,
    DeadlineError,
    DecodeError,
    ParameterMismatchError,
    PeerRefusedError,
    PSIError,
    Receiver,
    Sender,
    SessionParameters,
    SizeLimitError,
    TransportError,
    VersionError,
)
from psi.network import (
    Terms,
    TLSIdentity,
    Transcript,
    create_identity,
    fingerprint,
    join,
    load_certificate,
    serve,
)
from psi.network.certificates import TLS_NAME
from psi.network.terms import HANDSHAKE_VERSION, MOST_TERMS_BYTES
from psi.protocols.messages import HEADER_BYTES
from psi.sessions import PairChoice
from tests.waiting import LONG_SECONDS

TERMS = PairChoice(side="serve").terms


@pytest.fixture(scope="module")
def identities(tmp_path_factory: pytest.TempPathFactory) -> dict[str, TLSIdentity]:
    folder = tmp_path_factory.mktemp("keys")
    for name in ("alice", "bob", "eve"):
        create_identity(folder / name, unlocked=True)
    return {name: TLSIdentity.load(Path(folder / name)) for name in ("alice", "bob", "eve")}


class Served:
    """Alice serving bob in a thread."""

    def __init__(self, identities: dict[str, TLSIdentity], party: Any, **options: Any) -> None:
        self.identities = identities
        self.error: PSIError | None = None
        self.turned_away: list[str] = []
        port: queue.SimpleQueue[int] = queue.SimpleQueue()
        settings = {"wait_seconds": LONG_SECONDS, "timeout_seconds": LONG_SECONDS, **options}

        def run() -> None:
            try:
                serve(
                    party,
                    terms=TERMS,
                    address="127.0.0.1:0",
                    identity=identities["alice"],
                    peer_certificate=identities["bob"].certificate,
                    on_listening=port.put,
                    on_turned_away=self.turned_away.append,
                    **settings,
                )
            except PSIError as error:
                self.error = error

        self.thread = threading.Thread(target=run)
        self.thread.start()
        self.address = f"127.0.0.1:{port.get(timeout=LONG_SECONDS)}"

    def join(self, party: Any, name: str = "bob", trusted: str = "alice", **options: Any) -> Any:
        return join(
            party,
            address=self.address,
            identity=self.identities[name],
            peer_certificate=self.identities[trusted].certificate,
            **{
                "terms": TERMS,
                "wait_seconds": LONG_SECONDS,
                "timeout_seconds": LONG_SECONDS,
                **options,
            },
        )

    def channel(self, name: str = "bob") -> Any:
        """Bob, or whoever it is, speaking as he likes."""
        bob, alice = self.identities[name], self.identities["alice"]
        return grpc.secure_channel(
            self.address,
            grpc.ssl_channel_credentials(alice.certificate, bob.key, bob.certificate),
            [("grpc.ssl_target_name_override", TLS_NAME)],
        )

    def end(self) -> PSIError | None:
        self.thread.join(LONG_SECONDS)
        assert not self.thread.is_alive()
        return self.error


@pytest.fixture
def served(identities: dict[str, TLSIdentity]) -> Callable[..., Served]:
    return lambda party, **options: Served(identities, party, **options)


Serve = Callable[..., Served]


@pytest.mark.parametrize("turned", [False, True])
def test_either_role_may_serve(served: Serve, turned: bool) -> None:
    one, other = Receiver([b"a", b"b"]), Sender([b"c", b"b"])
    serving, joining = (one, other) if turned else (other, one)
    there = served(serving)
    link = there.join(joining)
    assert there.end() is None
    assert (one.matches.tolist(), other.matches.tolist()) == ([1], [1])
    assert min(link.bytes_sent, link.bytes_received) > 300


def test_a_session_is_bound_to_both_certificates(
    served: Serve, identities: dict[str, TLSIdentity], monkeypatch: pytest.MonkeyPatch
) -> None:
    noted = []

    def note(transcript: Transcript, receiver: str, sender: str) -> None:
        noted.append((receiver, sender))

    monkeypatch.setattr(Transcript, "bind", note)
    there = served(Sender([b"a"]))
    there.join(Receiver([b"a"]))
    assert there.end() is None
    bob, alice = (fingerprint(identities[name].certificate) for name in ("bob", "alice"))
    assert noted == [(bob, alice)] * 2


def test_messages_of_many_chunks(served: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("psi.network.links.CHUNK_BYTES", 100)
    receiver, sender = Receiver([b"a", b"b"]), Sender([bytes([byte]) for byte in range(200)])
    there = served(sender)
    there.join(receiver)
    assert there.end() is None
    assert sorted(sender.matches.tolist()) == [ord("a"), ord("b")]


@pytest.mark.parametrize(
    ("theirs", "field"),
    [
        (PairChoice(side="join", learn="cardinality"), "question=cardinality, this side {}"),
        (PairChoice(side="join", result="join"), "result=join, this side {}"),
    ],
)
def test_other_terms_name_the_field_at_both_sides(
    served: Serve, theirs: PairChoice, field: str
) -> None:
    there = served(Sender([b"a"]))
    own, other = ("intersection", "cardinality") if "question" in field else ("both", "join")
    name = field.partition("=")[0]
    words = f"the other side chose {name}={{}}, this side {{}}: choose the same on both sides"
    for _ in range(2):
        with pytest.raises(ParameterMismatchError) as refused:
            there.join(Receiver([b"a"]), terms=theirs.terms)
        assert str(refused.value) == words.format(own, other)
    there.join(Receiver([b"a"]))  # it still waits
    assert there.end() is None
    assert there.turned_away == [words.format(other, own)]  # once, not for every try


class OfTomorrow(Terms, frozen=True, kw_only=True, forbid_unknown_fields=True):
    version: int = HANDSHAKE_VERSION + 1
    mood: str = "visit evil.example"


def test_another_version_is_named_at_both_sides(served: Serve) -> None:
    there = served(Sender([b"a"]))
    with pytest.raises(VersionError, match=f"speaks version {HANDSHAKE_VERSION} of the handshake"):
        there.join(Receiver([b"a"]), terms=OfTomorrow())
    there.join(Receiver([b"a"]))
    assert there.end() is None
    (words,) = there.turned_away
    assert f"speaks version {HANDSHAKE_VERSION + 1} of the handshake" in words
    assert "evil" not in words


def test_one_that_goes_on_with_other_terms_fills_no_screen(served: Serve) -> None:
    there = served(Sender([b"a"]))
    with there.channel() as channel:
        greet = channel.unary_unary("/psi.Session/Greet")
        greet(TERMS.encode())
        for version in range(100, 150):
            assert greet(OfTomorrow(version=version).encode()) == TERMS.encode()
        with pytest.raises(grpc.RpcError, match="other terms"):  # it did agree, and then not
            list(channel.stream_stream("/psi.Session/Talk")(iter([])))
    there.join(Receiver([b"a"]))
    assert there.end() is None
    assert len(set(there.turned_away)) == len(there.turned_away) == 8


@pytest.mark.parametrize(
    "terms",
    [
        b"",
        b"psi 2, --result both",
        b"\xff" * 9,
        b"[" * 3000,
        TERMS.encode().replace(b"}", b',"evil":' + b"[" * 3000),
        b"x" * (MOST_TERMS_BYTES + 1),
        TERMS.encode().replace(b"both", b"evil"),
        TERMS.encode().replace(b"both", b"\x1b[31mevil"),
        TERMS.encode().replace(b"}", b',"evil":1}'),
        TERMS.encode().replace(b"intersection", b"evil"),
        TERMS.encode().replace(b'"both"', b"[]"),
        TERMS.encode().replace(str(HANDSHAKE_VERSION).encode(), b"-1"),
        TERMS.encode().replace(str(HANDSHAKE_VERSION).encode(), b"1e400"),
        TERMS.encode().replace(str(HANDSHAKE_VERSION).encode(), b'"evil"'),
    ],
)
def test_terms_that_are_none_never_reach_the_screen(served: Serve, terms: bytes) -> None:
    there = served(Sender([b"a"]))
    with there.channel() as channel:
        for _ in range(2):
            with pytest.raises(grpc.RpcError) as refused:
                channel.unary_unary("/psi.Session/Greet")(terms)
            assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        with pytest.raises(grpc.RpcError, match="other terms"):  # nobody talks who did not agree
            list(channel.stream_stream("/psi.Session/Talk")(iter([])))
    there.join(Receiver([b"a"]))
    assert there.end() is None
    (words,) = there.turned_away
    assert words.startswith("the other side sent terms ")
    assert words.isascii()
    assert words.isprintable()
    assert "evil" not in words


def test_strangers_are_kept_out_and_do_no_harm(served: Serve) -> None:
    there = served(Sender([b"a"]))
    with there.channel("eve") as channel, pytest.raises(grpc.RpcError) as refused:
        channel.unary_unary("/psi.Session/Greet")(b"other terms")
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE  # bob would hear of the terms
    with pytest.raises(TransportError, match="cannot reach"):
        there.join(Receiver([b"a"]), name="eve", wait_seconds=0)
    there.join(Receiver([b"a"]))
    assert there.end() is None


def test_a_certificate_added_to_the_trusted_ones_file(
    served: Serve, identities: dict[str, TLSIdentity], tmp_path: Path
) -> None:
    """The fingerprint of the file is alice's, but TLS would let eve be the server, too."""
    planted = identities["alice"].certificate + identities["eve"].certificate
    assert fingerprint(planted) == fingerprint(identities["alice"].certificate)
    there = Served({**identities, "alice": identities["eve"]}, Sender([b"a"]))
    there.identities = {**identities, "alice": TLSIdentity(b"", planted)}
    with there.channel() as channel:  # TLS lets eve in
        assert channel.unary_unary("/psi.Session/Greet")(TERMS.encode()) == TERMS.encode()
    (tmp_path / "alice.crt").write_bytes(planted)
    with pytest.raises(ConfigError, match="holds 2 certificates"):
        load_certificate(tmp_path / "alice.crt")
    with pytest.raises(ConfigError, match="holds 2 certificates"):
        there.join(Receiver([b"a"]))
    there.identities = {**identities, "alice": identities["eve"]}
    there.join(Receiver([b"a"]))
    assert there.end() is None


def test_a_certificate_of_another_kind_added_to_the_trusted_ones_file(
    served: Serve, identities: dict[str, TLSIdentity]
) -> None:
    """Nothing counts it or shows its fingerprint, and TLS would trust it as well."""
    eve = identities["eve"].certificate.replace(b" CERT", b" TRUSTED CERT")
    planted = identities["alice"].certificate + eve
    there = Served({**identities, "alice": identities["eve"]}, Sender([b"a"]))
    there.identities = {**identities, "alice": TLSIdentity(b"", planted)}
    with there.channel() as channel:  # TLS lets eve in
        assert channel.unary_unary("/psi.Session/Greet")(TERMS.encode()) == TERMS.encode()
    with pytest.raises(TransportError, match="does not have the certificate"):
        there.join(Receiver([b"a"]))
    there.identities = {**identities, "alice": identities["eve"]}
    there.join(Receiver([b"a"]))
    assert there.end() is None


def test_another_server_than_the_trusted_one(served: Serve) -> None:
    there = served(Sender([b"a"]))
    with pytest.raises(TransportError, match="does not have the certificate"):
        there.join(Receiver([b"a"]), trusted="eve")
    there.join(Receiver([b"a"]))
    assert there.end() is None


def test_nobody_joins(served: Serve) -> None:
    there = served(Sender([b"a"]), wait_seconds=0)
    assert "nobody joined within 0 s" in str(there.end())
    with pytest.raises(TransportError, match="cannot reach"):
        there.join(Receiver([b"a"]), wait_seconds=0)


def test_both_hear_of_other_settings(served: Serve) -> None:
    there = served(Sender([b"a"], SessionParameters(key_format="x")))
    with pytest.raises(PeerRefusedError, match="stopped: ParameterMismatchError"):
        there.join(Receiver([b"a"]))
    assert isinstance(there.end(), ParameterMismatchError)


def test_the_joining_side_refuses_too(served: Serve) -> None:
    there = served(Sender([b"a", b"b"]))
    with pytest.raises(SizeLimitError):
        there.join(Receiver([b"a"], max_peer_items=1))
    error = there.end()
    assert isinstance(error, PeerRefusedError)
    assert "SizeLimitError" in str(error)


def test_a_last_message_that_is_refused_leaves_no_result(served: Serve) -> None:
    class Refusing(Receiver):
        def _on_close(self, data: bytes) -> None:
            raise DecodeError("no")

    sender = Sender([b"a"])
    there = served(sender)
    with pytest.raises(DecodeError):
        there.join(Refusing([b"a"]))
    assert isinstance(there.end(), PeerRefusedError)


def test_a_silent_peer_meets_the_deadline_and_blocks_nobody_for_long(served: Serve) -> None:
    over, begun, seen = threading.Event(), threading.Event(), threading.Event()

    class Slow(Sender):
        """Its session has no time; it begins to wait for the peer when the test has seen enough."""

        def start(self) -> bytes | None:
            seen.wait()
            return super().start()

    def say_nothing() -> Iterator[bytes]:
        begun.set()
        over.wait()
        yield from ()

    there = served(Slow([b"a"]), timeout_seconds=0)
    with contextlib.ExitStack() as stack:
        channel = stack.enter_context(there.channel())
        for event in (over, seen):  # a test that fails leaves nobody waiting
            stack.callback(event.set)
        channel.unary_unary("/psi.Session/Greet")(TERMS.encode())
        answers = channel.stream_stream("/psi.Session/Talk")(say_nothing())
        begun.wait()
        taken = False
        while not taken:  # the call began here; wait until it arrived there
            with pytest.raises(grpc.RpcError) as greeting:
                channel.unary_unary("/psi.Session/Greet")(b"other terms")
            taken = greeting.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        with pytest.raises(grpc.RpcError, match="busy"):
            list(channel.stream_stream("/psi.Session/Talk")(iter([])))
        with pytest.raises(TransportError, match="in a session already"):
            there.join(Receiver([b"a"]))
        seen.set()
        assert isinstance(there.end(), DeadlineError)
        over.set()
        assert list(answers) == [b"psi refusal DeadlineError"]


@pytest.mark.parametrize(
    ("chunk", "words"),
    [
        (b"x" * HEADER_BYTES, "not a psi message"),
        (b"PSI\x00" + bytes(28) + b"\xff" * 8, "are the most"),
        (b"", "empty chunk"),
        (b"psi refusal Anything", "stopped: no known error"),
        (b"x", "went away"),
    ],
)
def test_an_authenticated_peer_that_speaks_nonsense(
    served: Serve, chunk: bytes, words: str
) -> None:
    there = served(Sender([b"a"]))
    with there.channel() as channel:
        channel.unary_unary("/psi.Session/Greet")(TERMS.encode())
        call = channel.stream_stream("/psi.Session/Talk")(iter([chunk]))
        told = []
        try:
            told += list(call)
        except grpc.RpcError as error:
            # Whoever refuses closes at once: the other may hear of that before it hears why.
            refused = (grpc.StatusCode.ABORTED, grpc.StatusCode.UNAVAILABLE)
            assert error.code() in refused  # noqa: PT017
    assert words in str(there.end())
    assert told in ([], [b"psi refusal " + type(there.end()).__name__.encode()])


def test_methods_that_do_not_exist(served: Serve) -> None:
    there = served(Sender([b"a"]))
    with there.channel() as channel, pytest.raises(grpc.RpcError) as error:
        channel.unary_unary("/psi.Session/Other")(b"")
    assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED
    there.join(Receiver([b"a"]))
    assert there.end() is None
