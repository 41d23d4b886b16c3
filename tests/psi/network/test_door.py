"""Strangers at the door: however many come and say nothing, or half a word, the peer gets in."""

import contextlib
import re
import resource
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from psi import ConfigError
from psi.network.certificates import create_identity
from psi.network.door import Room, _Door, opened_door
from tests.waiting import LONG_SECONDS

COMMAND = "import psi.cli; psi.cli.main()"
STRANGERS, CROWDS, DESCRIPTORS = 2_000, 4, 256
CROWD = """
import os, socket, sys, time
port, count, words = int(sys.argv[1]), int(sys.argv[2]), bytes.fromhex(sys.argv[3])
def one():
    try:
        stranger = socket.create_connection(("127.0.0.1", port))
        stranger.send(words)
        stranger.setblocking(False)
        return stranger
    except OSError:
        return None
strangers = [one() for _ in range(count)]
print("all here", flush=True)
while os.getppid() != 1:
    for at, stranger in enumerate(strangers):
        try:
            gone = stranger is None or stranger.recv(1) == b""
        except BlockingIOError:
            gone = False
        except OSError:
            gone = True
        if gone and "again" in sys.argv:
            strangers[at] = one()
    time.sleep(0.01)
"""
NO_DOOR = """
import contextlib, grpc, psi.network.transport as transport
@contextlib.contextmanager
def bound(server, address, identity, certificates, on_dropped):
    pair, trusted = [(identity.key, identity.certificate)], b"".join(certificates)
    yield server.add_secure_port(address, grpc.ssl_server_credentials(pair, trusted, True))
transport.bound = bound
"""
HALF_A_GREETING = bytes.fromhex("16030102000100")


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    for name in ("alice", "bob"):
        create_identity(folder / name, unlocked=True)
    return folder


@contextlib.contextmanager
def serving(
    keys: Path, folder: Path, before: str = ""
) -> Iterator[tuple["subprocess.Popen[str]", int]]:
    """Alice under a low limit of open files, and the port."""
    (folder / "alice.csv").write_text("ID\n1\n2\n3\n")
    low = f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, {(DESCRIPTORS,) * 2})\n"
    call = ["serve", "alice.csv", "--on", "ID", "--listen", "127.0.0.1:0", "--rows"]
    call += ["--identity", str(keys / "alice"), "--peer", str(keys / "bob.crt")]
    process = subprocess.Popen(
        [sys.executable, "-c", low + before + COMMAND, *call],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder,
    )  # fmt: skip
    try:
        assert process.stderr is not None
        port = re.fullmatch(r"listening on port (\d+)\n", process.stderr.readline())
        assert port is not None
        yield process, int(port[1])
    finally:
        process.kill()
        process.communicate()


@contextlib.contextmanager
def strangers(port: int, words: bytes, *manners: str) -> Iterator[None]:
    """All of them, in processes of their own, once they have come."""
    each = [str(port), str(STRANGERS // CROWDS), words.hex(), *manners]
    crowds = [
        subprocess.Popen([sys.executable, "-c", CROWD, *each], stdout=subprocess.PIPE, text=True)
        for _ in range(CROWDS)
    ]
    try:
        for crowd in crowds:
            assert crowd.stdout is not None
            assert crowd.stdout.readline() == "all here\n"
        yield
    finally:
        for crowd in crowds:
            crowd.kill()
            crowd.communicate()


def join(keys: Path, folder: Path, port: int, wait: float) -> "subprocess.CompletedProcess[str]":
    (folder / "bob.csv").write_text("ID\n2\n3\n4\n")
    call = ["join", "bob.csv", f"127.0.0.1:{port}", "--on", "ID", "--rows", "--wait", str(wait)]
    call += ["--identity", str(keys / "bob"), "--peer", str(keys / "alice.crt")]
    return subprocess.run(
        [sys.executable, "-c", COMMAND, *call],
        capture_output=True, text=True, cwd=folder, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("words", "manners"),
    [(b"", ("again",)), (HALF_A_GREETING, ())],
    ids=["silent, and come again", "half a greeting"],
)
def test_2000_strangers_do_not_keep_the_peer_out(
    keys: Path, tmp_path: Path, words: bytes, manners: tuple[str, ...]
) -> None:
    with serving(keys, tmp_path) as (alice, port), strangers(port, words, *manners):
        joined = join(keys, tmp_path, port, LONG_SECONDS)
        assert (joined.returncode, sorted(joined.stdout.split())) == (0, ["0", "1", "row"]), joined
        out, err = alice.communicate(timeout=LONG_SECONDS)
        assert (alice.returncode, sorted(out.split())) == (0, ["1", "2", "row"]), err


def test_without_the_door_they_do(keys: Path, tmp_path: Path) -> None:
    """The same strangers, and gRPC that accepts them itself."""
    pytest.importorskip("grpc")
    with serving(keys, tmp_path, NO_DOOR) as (_, port), strangers(port, b""):
        joined = join(keys, tmp_path, port, 2)
        assert (joined.returncode, joined.stdout) == (1, "")
        assert "cannot reach the other side" in joined.stderr


def test_what_does_not_speak_tls_is_dropped_at_once_and_the_rest_told_apart() -> None:
    dropped: list[str] = []
    told = threading.Event()

    def on_dropped(reason: str) -> None:
        dropped.append(reason)
        told.set()

    with opened_door("localhost:0", lambda inner: None, 1, on_dropped) as port:
        for words, reason in (
            (b"GET / HTTP/1.1\r\n", "does not speak TLS"),
            (b"\x16\x03\x01\xff\xff", "does not speak TLS"),
            (b"\x16\x03\x01", "left before a greeting"),
            (b"\x16\x03\x01\x00\x02\x01\x00", "no place before TLS"),  # nobody listens behind
        ):
            told.clear()
            with socket.create_connection(("localhost", port)) as stranger:
                stranger.sendall(words)
                with contextlib.suppress(OSError):  # it may be dropped by now
                    stranger.shutdown(socket.SHUT_WR)
                assert told.wait(LONG_SECONDS)
                with contextlib.suppress(ConnectionResetError):
                    assert stranger.recv(1) == b""
            assert dropped[-1] == reason
    assert len(dropped) == 4


def test_bytes_pass_as_they_are_and_an_end_is_passed_on() -> None:
    """More than any buffer holds, in both directions at once, through an echo behind the door."""
    record = b"\x16\x03\x01\x00\x01x"
    sent = record + bytes(range(256)) * 40_000
    echo = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)

    def answer() -> None:
        with echo, echo.accept()[0] as inside:
            while piece := inside.recv(1 << 16):
                inside.sendall(piece)

    def attach(inner: str) -> None:
        echo.bind(inner.removeprefix("unix:"))
        echo.listen()

    with opened_door("127.0.0.1:0", attach, 1) as port:
        server = threading.Thread(target=answer)
        server.start()
        with socket.create_connection(("127.0.0.1", port)) as outside:

            def say() -> None:
                outside.sendall(sent)
                outside.shutdown(socket.SHUT_WR)

            client = threading.Thread(target=say)
            client.start()
            heard = b"".join(iter(lambda: outside.recv(1 << 16), b""))
            client.join()
        server.join()
    assert heard == sent


def test_places_fit_into_the_descriptors() -> None:
    for descriptors in (DESCRIPTORS, 1024, 1 << 20):
        room = Room.within(descriptors, 3)
        assert min(room.silent, room.unproven, room.proven) >= 6
        # One each for those who wait, said something or not; three for those who are let in.
        assert 2 * room.silent + 3 * (room.unproven + room.proven) + 64 <= descriptors
    with pytest.raises(ConfigError, match="raise ulimit -n"):
        Room.within(DESCRIPTORS, 40)


def test_the_limit_of_open_files_is_raised_as_far_as_it_may() -> None:
    script = (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (100, 300));"
        "from psi.network.door import raise_descriptors; print(raise_descriptors())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "300\n"
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[1] >= 300


def test_ipv6() -> None:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            pass
    except OSError:
        pytest.skip("this machine has no IPv6")
    for address in ("[::1]:0", "[::]:0"):
        with opened_door(address, lambda inner: None, 1) as port:
            with socket.create_connection(("::1", port)) as outside:
                assert outside.getpeername()[1] == port
            if address.startswith("[::]"):  # every address of this machine
                with socket.create_connection(("127.0.0.1", port)) as outside:
                    assert outside.getpeername()[1] == port


def test_a_door_that_was_going_anyway_closes_quietly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its thread sees that it closes before it is woken for that, and is gone by then."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        door = _Door([listener], str(tmp_path / "inner"), Room(1, 1, 1), lambda reason: None)
        # A silent guest has the thread look again within half a second; it must outstay the door.
        with socket.create_connection(listener.getsockname()), door:
            while not door._silent:  # noqa: SLF001
                threading.Event().wait(0.001)
            close = door._closing.set  # noqa: SLF001

            def set_and_gone() -> None:
                close()
                door._thread.join()  # noqa: SLF001

            monkeypatch.setattr(door._closing, "set", set_and_gone)  # noqa: SLF001
    assert not door._thread.is_alive()  # noqa: SLF001
