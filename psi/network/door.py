"""The door of a server: who comes is let in to TLS, and who then says nothing is not kept.

gRPC accepts whoever connects until descriptors are used up, waits two minutes for each handshake,
and does not recover: strangers who only connect keep the real peer out. So this side accepts by
itself. A connection that has said nothing waits here, at the cost of one descriptor; it is dropped
after seconds, or at once, the oldest first, when too many wait. One that begins a handshake gets
one of a few places before gRPC and loses it after seconds unless gRPC found it to be a peer's. All
bytes pass as they are: TLS, and who is trusted, stay at gRPC, behind a socket in a folder of this
user's own.
"""

import collections
import contextlib
import errno
import os
import resource
import selectors
import shutil
import socket
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from psi.errors import ConfigError
from psi.network.addresses import host_and_port

__all__ = ["HANDSHAKE_SECONDS", "Room", "opened_door", "raise_descriptors"]

HANDSHAKE_SECONDS = 5
_BACKLOG = 4096
_PIECE_BYTES = 1 << 18
_OWN_DESCRIPTORS = 64  # of everything that is no connection: files, ledgers, libraries
_A_PEER = 3  # descriptors: of the peer's connection, and two of the way to gRPC
_RECORD = struct.Struct(">BHH")  # RFC 8446, 5.1: type, version, length
_HANDSHAKE, _MOST_RECORD_BYTES = 22, 1 << 14
_PAUSE_SECONDS = 0.1  # when there is no descriptor left

Told = Callable[[str], None]
"""Called with the reason for which a stranger was dropped."""


@dataclass(frozen=True)
class Room:
    """How many connections there may be.

    Attributes:
        silent: Connections that have said nothing yet; and as many that wait for a place.
        unproven: Connections whose handshake is not finished.
        proven: Connections of peers.
    """

    silent: int
    unproven: int
    proven: int

    @classmethod
    def within(cls, descriptors: int, peers: int) -> "Room":
        """Return what fits into a number of descriptors.

        Raises:
            ConfigError: They are too few for so many peers.
        """
        proven = 2 * peers + 4  # of an old connection of each, too, which is not noticed to be gone
        free = descriptors - _OWN_DESCRIPTORS - _A_PEER * proven
        if free < 6 * _A_PEER:
            raise ConfigError(
                f"{descriptors} open files are too few to serve {peers} peers: raise ulimit -n"
            )
        return cls(min(free // 4, 1024), min(free // (2 * _A_PEER), 128), proven)


def raise_descriptors() -> int:
    """Raise this process's limit of open files as far as it may; return the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):  # some systems cap it below `hard`
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 20 if soft == resource.RLIM_INFINITY else soft


@contextlib.contextmanager
def opened_door(
    address: str, attach: Callable[[str], None], peers: int, on_dropped: Told | None = None
) -> Iterator[int]:
    """Yield the port of a door that is open while the block runs, and closed gently after it.

    Args:
        address: HOST:PORT; port 0 takes a free one.
        attach: Called with the address, as gRPC writes it, on which the server is to listen.
        peers: How many are expected.
        on_dropped: Called with the reason when somebody is dropped.

    Raises:
        ConfigError: The address cannot be listened on, or there are too few descriptors.
    """
    room = Room.within(raise_descriptors(), peers)
    host, port = host_and_port(address, least_port=0)
    folder = _private_folder()
    try:
        inner = os.path.join(folder, "tls")  # noqa: PTH118 (a socket's address, no file to open)
        with contextlib.ExitStack() as stack:
            listeners = _listeners(host or "0.0.0.0", port, address)  # noqa: S104 (as it is asked for)
            for listener in listeners:
                stack.enter_context(listener)
            attach(f"unix:{inner}")
            door = _Door(listeners, inner, room, on_dropped or (lambda reason: None))
            stack.enter_context(door)
            yield int(listeners[0].getsockname()[1])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(eq=False)
class _Guest:
    """A connection: the socket outside, and the one to gRPC once it is let in."""

    outside: socket.socket
    since: float
    inside: socket.socket | None = None
    pending: dict[socket.socket, bytes] = field(default_factory=dict)  # by who is to get it
    ended: set[socket.socket] = field(default_factory=set)  # those that send no more
    awaited: int = 1  # bytes that a greeting needs to go on

    def await_bytes(self, count: int) -> None:
        """Let the socket outside be ready to read only once it holds so many bytes."""
        self.awaited = count
        self.outside.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count)

    def other(self, one: socket.socket) -> socket.socket:
        assert self.inside is not None  # noqa: S101 - only those let in have two
        return self.inside if one is self.outside else self.outside


class _Door:
    """One thread that accepts, waits and passes bytes on; the only one to touch the sockets."""

    def __init__(
        self, listeners: list[socket.socket], inner: str, room: Room, on_dropped: Told
    ) -> None:
        self._listeners, self._inner, self._room = listeners, inner, room
        self._on_dropped = on_dropped
        self._selector = selectors.DefaultSelector()
        self._silent: collections.OrderedDict[_Guest, None] = collections.OrderedDict()
        self._waiting: collections.OrderedDict[_Guest, None] = collections.OrderedDict()
        self._unproven: collections.OrderedDict[_Guest, None] = collections.OrderedDict()
        self._proven: set[_Guest] = set()
        self._paused_until = 0.0
        self._closing = threading.Event()
        self._woken, self._wake = socket.socketpair()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "_Door":
        for listener in self._listeners:
            self._selector.register(listener, selectors.EVENT_READ, None)
        self._selector.register(self._woken, selectors.EVENT_READ, None)
        self._thread.start()
        return self

    def __exit__(self, *problem: object) -> None:
        """Let nobody in any more, and let what gRPC has sent arrive."""
        self._closing.set()
        self._wake.send(b"x")
        self._thread.join()
        for one in (self._wake, self._woken):  # the thread may have ended before it was woken
            one.close()

    # -- the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._closing.is_set():
                self._turn()
            self._stop_listening()
            for guest in [*self._silent, *self._waiting]:
                self._close(guest)
            give_up = time.monotonic() + HANDSHAKE_SECONDS
            while (self._unproven or self._proven) and time.monotonic() < give_up:
                self._turn()
        finally:
            for guest in [*self._unproven, *self._proven]:
                self._close(guest)
            self._selector.close()

    def _turn(self) -> None:
        ready = self._selector.select(self._patience())
        for key, events in sorted(ready, key=lambda one: one[0].data is None):  # newcomers last
            if key.data is not None:
                self._serve(key.data, key.fileobj, events)  # type: ignore[arg-type]
            elif key.fileobj is not self._woken:
                self._accept(key.fileobj)  # type: ignore[arg-type]
        self._expire()
        self._let_in()

    def _patience(self) -> float:
        """Return the seconds until something is to be done though nothing happens."""
        if not (self._silent or self._waiting or self._unproven or self._paused_until):
            return 1.0 if self._closing.is_set() else 3600.0
        return _PAUSE_SECONDS if self._paused_until else 0.5

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(64):  # then others have their turn
            try:
                outside, _ = listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    self._pause()
                    return
                continue  # somebody who is gone already
            outside.setblocking(False)
            outside.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            guest = _Guest(outside, time.monotonic())
            guest.await_bytes(_RECORD.size)
            self._silent[guest] = None
            self._selector.register(outside, selectors.EVENT_READ, guest)
            if len(self._silent) > self._room.silent:
                oldest = next(iter(self._silent))
                self._hear(oldest)  # it may have spoken since this turn began
                if oldest in self._silent:
                    self._drop(oldest, "too many who say nothing")

    def _pause(self) -> None:
        """Wait for a descriptor: there would be no end of asking for one."""
        if self._silent:
            self._drop(next(iter(self._silent)), "no descriptors left")
        self._paused_until = time.monotonic() + _PAUSE_SECONDS
        self._stop_listening()

    def _stop_listening(self) -> None:
        for listener in self._listeners:
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(listener)

    def _expire(self) -> None:
        now = time.monotonic()
        for crowd, reason in (
            (self._silent, "said nothing"),
            (self._waiting, "waited too long for a place"),
        ):
            while crowd and next(iter(crowd)).since + HANDSHAKE_SECONDS < now:
                self._drop(next(iter(crowd)), reason)
        # gRPC ends a handshake after as long: who is still there is a peer.
        while self._unproven and next(iter(self._unproven)).since + HANDSHAKE_SECONDS + 1 < now:
            guest, _ = self._unproven.popitem(last=False)
            if len(self._proven) < self._room.proven:
                self._proven.add(guest)
            else:
                self._drop(guest, "too many connections")
        if self._paused_until and self._paused_until < now and not self._closing.is_set():
            self._paused_until = 0.0
            for listener in self._listeners:
                self._selector.register(listener, selectors.EVENT_READ, None)

    def _let_in(self) -> None:
        """Let those who wait longest have the free places before gRPC."""
        while self._waiting and len(self._unproven) < self._room.unproven:
            guest, _ = self._waiting.popitem(last=False)
            inside = None
            try:
                inside = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                inside.setblocking(False)
                inside.connect(self._inner)
            except BlockingIOError:  # gRPC has not taken the last ones yet
                inside.close()  # type: ignore[union-attr]
                self._waiting[guest] = None
                self._waiting.move_to_end(guest, last=False)
                return
            except OSError:
                if inside is not None:
                    inside.close()
                self._drop(guest, "no place before TLS")
                continue
            guest.inside, guest.since = inside, time.monotonic()
            self._unproven[guest] = None
            for one in (guest.outside, inside):
                self._selector.register(one, selectors.EVENT_READ, guest)

    def _serve(self, guest: _Guest, one: socket.socket, events: int) -> None:
        if one.fileno() < 0:  # closed in this turn
            return
        if guest in self._silent:
            self._hear(guest)
            return
        try:
            if events & selectors.EVENT_WRITE:
                self._flush(guest, one)
            if events & selectors.EVENT_READ:
                self._pass_on(guest, one)
        except OSError:
            self._close(guest)

    def _hear(self, guest: _Guest) -> None:
        """Take one into the queue whose TLS greeting is whole; its bytes stay where they are."""
        try:
            said = guest.outside.recv(guest.awaited, socket.MSG_PEEK)
            if len(said) < guest.awaited:  # woken all the same: there will be no more
                self._drop(guest, "left before a greeting")
                return
            if guest.awaited == _RECORD.size:
                kind, _, length = _RECORD.unpack(said)
                if kind != _HANDSHAKE or not 0 < length <= _MOST_RECORD_BYTES:
                    self._drop(guest, "does not speak TLS")
                    return
                guest.await_bytes(_RECORD.size + length)
                if len(guest.outside.recv(guest.awaited, socket.MSG_PEEK)) < guest.awaited:
                    return
        except BlockingIOError:
            return
        except OSError:
            self._drop(guest, "left before a greeting")
            return
        guest.await_bytes(1)
        del self._silent[guest]
        self._selector.unregister(guest.outside)
        self._waiting[guest] = None
        if len(self._waiting) > self._room.silent:
            self._drop(guest, "too many who wait for a place")

    def _pass_on(self, guest: _Guest, one: socket.socket) -> None:
        other = guest.other(one)
        try:
            data = one.recv(_PIECE_BYTES)
        except BlockingIOError:
            return
        if data:
            guest.pending[other] = data
        else:
            guest.ended.add(one)
        self._flush(guest, other)

    def _flush(self, guest: _Guest, one: socket.socket) -> None:
        """Send what waits for one end; the other is not read before all of it is gone."""
        other, data = guest.other(one), guest.pending.pop(one, b"")
        if data:
            with contextlib.suppress(BlockingIOError):
                data = data[one.send(data) :]
        if data:
            guest.pending[one] = data
        elif other in guest.ended:
            one.shutdown(socket.SHUT_WR)
            if one in guest.ended or one is guest.outside:  # gRPC has closed: nobody listens
                self._close(guest)
                return
        self._watch(guest)

    def _watch(self, guest: _Guest) -> None:
        """Ask the selector for what either end can go on with."""
        for one in (guest.outside, guest.inside):
            assert one is not None  # noqa: S101 - only those let in are watched
            wanted = selectors.EVENT_WRITE if one in guest.pending else 0
            if one not in guest.ended and guest.other(one) not in guest.pending:
                wanted |= selectors.EVENT_READ
            known = self._selector.get_map().get(one)
            if not wanted:
                if known is not None:
                    self._selector.unregister(one)
            elif known is None:
                self._selector.register(one, wanted, guest)
            elif known.events != wanted:
                self._selector.modify(one, wanted, guest)

    def _drop(self, guest: _Guest, reason: str) -> None:
        self._close(guest)
        self._on_dropped(reason)

    def _close(self, guest: _Guest) -> None:
        for crowd in (self._silent, self._waiting, self._unproven):
            crowd.pop(guest, None)
        self._proven.discard(guest)
        for one in (guest.outside, guest.inside):
            if one is not None and one.fileno() >= 0:
                with contextlib.suppress(KeyError, ValueError):
                    self._selector.unregister(one)
                one.close()


def _private_folder() -> str:
    """Make a folder of this user's own, under a name that leaves room for a socket's."""
    for place in (None, "/tmp"):  # noqa: S108 (mkdtemp makes it 0700)
        folder = tempfile.mkdtemp(prefix="psi-", dir=place)
        if len(os.fsencode(folder)) < 90:  # of the 107 bytes of a socket's address
            return folder
        shutil.rmtree(folder, ignore_errors=True)
    raise ConfigError("TMPDIR is too long a name for a socket in it: choose a shorter one")


def _listeners(host: str, port: int, address: str) -> list[socket.socket]:
    """Return a listening socket for each address of a host, all on one port."""
    made: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, where in dict.fromkeys(found):
            if made and port == 0:
                where = (where[0], made[0].getsockname()[1], *where[2:])
            listener = socket.socket(family, kind, protocol)
            made.append(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:  # [::] is every address of this machine, IPv4's, too
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, host != "::")
            listener.bind(where)
            listener.listen(_BACKLOG)
            listener.setblocking(False)
    except (OSError, UnicodeError) as error:
        for listener in made:
            listener.close()
        raise ConfigError(
            f"cannot listen on {address}: choose a free HOST:PORT of this machine"
        ) from error
    return made
