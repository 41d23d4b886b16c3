"""A side that stays: it listens once, and holds conversations with several peers, one at a time.

Who comes while another is here is told to wait, and tries again by itself. A peer that was let in
keeps its place for seconds until it talks.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import grpc

from psi.errors import DeadlineError
from psi.network.certificates import TLSIdentity, fingerprint
from psi.network.connections import Connection
from psi.network.greeting import IN_TURN, Greeter
from psi.network.links import AbandonedError, Link
from psi.network.terms import Terms
from psi.network.tls import caller_of
from psi.network.transport import FLUSH_SECONDS, listening
from psi.protocols.conversation import PEER, Progress

__all__ = ["Turns", "take_turns"]

_PLACE_SECONDS = 10  # between a greeting and the first word


@contextlib.contextmanager
def take_turns(
    *,
    address: str,
    identity: TLSIdentity,
    peers: Mapping[str, bytes],
    terms: Terms,
    on_listening: Callable[[int], None] | None = None,
    on_turned_away: Callable[[str], None] | None = None,
    on_dropped: Callable[[str], None] | None = None,
) -> Iterator["Turns"]:
    """Listen for several peers while the block runs.

    Args:
        address: HOST:PORT to listen on; port 0 takes a free one.
        identity: This side's key and certificate.
        peers: The certificates of all who may connect, PEM, by what to call them.
        terms: What must be agreed in every conversation.
        on_listening: Called with the port.
        on_turned_away: Called with what was wrong if a peer comes with other terms.
        on_dropped: Called with the reason when a stranger is dropped.

    Yields:
        What gives one peer after another.

    Raises:
        ConfigError: The address cannot be listened on.
    """
    names = {fingerprint(certificate): name for name, certificate in peers.items()}
    turns = Turns(fingerprint(identity.certificate), names, terms, on_turned_away)
    with listening(
        turns, address, identity, list(peers.values()), on_listening, on_dropped=on_dropped
    ):
        yield turns


class Turns(Greeter):
    """Whose turn it is; `take_turns` makes one."""

    def __init__(
        self,
        own: str,
        names: Mapping[str, str],
        terms: Terms,
        on_turned_away: Callable[[str], None] | None = None,
    ) -> None:
        """Expect peers.

        Args:
            own: The fingerprint of this side's certificate.
            names: What to call each peer, by its certificate's fingerprint.
            terms: What must be agreed.
            on_turned_away: As of `Greeter`.
        """
        super().__init__(on_turned_away)
        self._own, self._names, self._terms = own, dict(names), terms
        self._changed = threading.Condition()
        self._expecting = False  # whether the next one may come
        self._progress: Progress | None = None
        self._place: tuple[str, float] | None = None  # whose it is, and until when
        self._here: tuple[str, Link] | None = None
        self._left = threading.Event()

    @contextlib.contextmanager
    def next_peer(
        self, progress: Progress | None = None, wait_seconds: float | None = None
    ) -> Iterator[tuple[str, Connection]]:
        """Wait for whoever comes next, and hold on to it while the block runs.

        Args:
            progress: Called with a stage, how much is done, and of how much.
            wait_seconds: How long to wait; None: without end.

        Yields:
            The fingerprint of its certificate, and a connection to it.

        Raises:
            DeadlineError: Nobody came.
        """
        with self._changed:
            self._progress, self._expecting, self._here = progress, True, None
            self._left.clear()
            try:
                self._changed.wait_for(lambda: self._here is not None, wait_seconds)
            finally:
                self._expecting = False
            if self._here is None:
                raise DeadlineError(f"nobody joined within {wait_seconds:g} s")
            caller, link = self._here
        connection = Connection({PEER: link}, lambda terms: None)
        try:
            yield caller, connection
        finally:
            connection.close()
            self._left.wait(FLUSH_SECONDS)  # what was sent arrives
            link.abandon()
            link.drain(0)

    def abandon(self) -> None:
        """Let nobody in any more, and break a link that is not closed."""
        with self._changed:
            self._expecting = False
            if self._here is not None:
                self._here[1].abandon()

    def drain(self) -> None:
        """Stop reading."""
        if self._here is not None:
            self._here[1].drain(0)

    def _greet(self, theirs: bytes, context: Any) -> bytes:
        caller = caller_of(context)
        if caller not in self._names:  # this side's own key, which may ask for its health alone
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "busy")
        if not self._may_come(caller):
            context.abort(grpc.StatusCode.UNAVAILABLE, IN_TURN)
        answer = self._compare(self._terms, theirs, caller, self._names[caller], context)
        with self._changed:
            if caller in self._agreed:
                if not self._free_for(caller):
                    context.abort(grpc.StatusCode.UNAVAILABLE, IN_TURN)
                self._place = caller, time.monotonic() + _PLACE_SECONDS
        return answer

    def _talk(self, incoming: Iterator[bytes], context: Any) -> Iterator[bytes]:
        caller = caller_of(context)
        with self._changed:
            if caller not in self._agreed:
                context.abort(grpc.StatusCode.FAILED_PRECONDITION, "other terms")
            if not self._free_for(caller):
                context.abort(grpc.StatusCode.UNAVAILABLE, IN_TURN)
            link = Link(
                _PLACE_SECONDS,
                self._progress,
                name=self._names[caller],
                ends=(self._own, caller),
            )
            self._here, self._place, self._expecting = (caller, link), None, False
            link.attach(incoming)
            self._changed.notify_all()
        try:
            yield from link.outgoing()
        except AbandonedError:
            context.abort(grpc.StatusCode.ABORTED, "stopped")
        finally:
            self._left.set()

    def _may_come(self, caller: str) -> bool:
        with self._changed:
            return self._free_for(caller)

    def _free_for(self, caller: str) -> bool:
        if not self._expecting:
            return False
        return self._place is None or self._place[0] == caller or self._place[1] < time.monotonic()
