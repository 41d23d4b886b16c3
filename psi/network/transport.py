"""The two ends of a connection over gRPC: mutual TLS; each trusts the certificates it was given.

The side that calls greets first, with the terms of the first conversation. If it comes with other
terms it is turned away, and the side that listens goes on waiting.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import grpc

from psi.errors import DeadlineError
from psi.network.certificates import TLSIdentity
from psi.network.greeting import SERVICE, Greeter, greet
from psi.network.links import CHUNK_BYTES, AbandonedError, Link
from psi.network.terms import Terms
from psi.network.tls import bound, caller_of, options, secure_channel

__all__ = ["FLUSH_SECONDS", "Guests", "Reception", "dialled", "listening"]

_DOOR_SECONDS = 2  # for which a caller waits who comes before this side has its terms
FLUSH_SECONDS = 5


@contextlib.contextmanager
def listening(
    guests: "Reception",
    address: str,
    identity: TLSIdentity,
    certificates: Sequence[bytes],
    on_listening: Callable[[int], None] | None = None,
    on_dropped: Callable[[str], None] | None = None,
) -> Iterator[None]:
    """Listen while the block runs; at its end give sent messages time to arrive.

    Args:
        guests: Lets peers in.
        address: HOST:PORT; port 0 takes a free one.
        identity: This side's key and certificate.
        certificates: The guests' certificates, PEM.
        on_listening: Called with the port.
        on_dropped: Called with the reason when a stranger is dropped.

    Raises:
        ConfigError: The address cannot be listened on.
    """
    # A thread for each session, one to answer other callers, and one for who asks for its health.
    pool = ThreadPoolExecutor(len(certificates) + 2)
    server = grpc.server(pool, guests.handlers(), options=options(2 * CHUNK_BYTES))
    # This side's own key may ask whether the server is well, and nothing else.
    trusted = list(dict.fromkeys([*certificates, identity.certificate]))
    with bound(server, address, identity, trusted, on_dropped) as port:
        server.start()
        try:
            if on_listening is not None:
                on_listening(port)
            yield
        finally:
            guests.abandon()
            server.stop(FLUSH_SECONDS).wait()
            guests.drain()


@contextlib.contextmanager
def dialled(
    link: Link,
    terms: Terms,
    address: str,
    identity: TLSIdentity,
    peer_certificate: bytes,
    wait_seconds: float,
) -> Iterator[None]:
    """Connect a link while the block runs; at its end give sent messages time to arrive.

    Args:
        link: What to connect.
        terms: What must be agreed.
        address: HOST:PORT of the side that listens.
        identity: This side's key and certificate.
        peer_certificate: The only one that is trusted, PEM.
        wait_seconds: How long to try.

    Raises:
        TransportError: The other side is not reached, not the trusted one, or busy.
        ProtocolError: It does not agree to the terms.
        ConfigError: This is not exactly one certificate.
    """
    with secure_channel(address, identity, peer_certificate, 2 * CHUNK_BYTES) as channel:
        greet(channel, terms, link.name, address, wait_seconds)
        call = channel.stream_stream(f"/{SERVICE}/Talk")(link.outgoing())
        link.attach(call)
        try:
            yield
        finally:
            link.abandon()
            link.drain(FLUSH_SECONDS)
            call.cancel()


class Reception(Protocol):
    """Who lets peers in."""

    def handlers(self) -> tuple[Any, ...]:
        """All methods, in gRPC's form."""

    def abandon(self) -> None:
        """Let nobody in any more, and break links that are not closed."""

    def drain(self) -> None:
        """Stop reading."""


class Guests(Greeter):
    """Answers greetings, and connects a link to each of the expected peers."""

    def __init__(
        self,
        links: Mapping[str, Link],
        on_turned_away: Callable[[str], None] | None = None,
    ) -> None:
        """Expect peers.

        Args:
            links: The link for each peer by its certificate's fingerprint.
            on_turned_away: As of `Greeter`.
        """
        super().__init__(on_turned_away)
        self._links = dict(links)
        self._terms: Terms | None = None
        self._open = threading.Event()
        self._absent = set(links)
        self._all_here = threading.Event()
        if not links:
            self._all_here.set()

    def expect(self, terms: Terms) -> None:
        """Let in those who come with these terms; until this is called, callers wait."""
        self._terms = terms
        self._open.set()

    def await_all(self, wait_seconds: float, left_seconds: float | None = None) -> None:
        """Wait until all are here.

        Args:
            wait_seconds: How long they may take to come, in all.
            left_seconds: How much of that is left, if less.

        Raises:
            DeadlineError: Somebody did not come.
        """
        if not self._all_here.wait(wait_seconds if left_seconds is None else left_seconds):
            names = sorted(self._links[peer].name for peer in self._absent)
            who = (
                "nobody" if len(names) == len(self._links) == 1 else f"not all ({', '.join(names)})"
            )
            raise DeadlineError(f"{who} joined within {wait_seconds:g} s")

    def abandon(self) -> None:
        """Let nobody in any more, and break links that are not closed."""
        self._open.set()
        for link in self._links.values():
            link.abandon()

    def drain(self) -> None:
        """Stop reading."""
        for link in self._links.values():
            link.drain(0)

    def _greet(self, theirs: bytes, context: Any) -> bytes:
        caller = caller_of(context)
        if caller not in self._absent:
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "busy")
        self._open.wait(_DOOR_SECONDS)
        terms = self._terms
        if terms is None:
            return bytes(context.abort(grpc.StatusCode.UNAVAILABLE, "not yet"))
        return self._compare(terms, theirs, caller, self._links[caller].name, context)

    def _talk(self, incoming: Iterator[bytes], context: Any) -> Iterator[bytes]:
        caller = caller_of(context)
        with self._lock:
            expected = caller in self._absent
            agreed = caller in self._agreed
            if agreed:
                self._absent.discard(caller)
        if not expected:
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "busy")
        if not agreed:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "other terms")
        link = self._links[caller]
        link.attach(incoming)
        if not self._absent:
            self._all_here.set()
        try:
            yield from link.outgoing()
        except AbandonedError:
            context.abort(grpc.StatusCode.ABORTED, "stopped")
