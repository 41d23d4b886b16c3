"""The two ends of a connection over gRPC: mutual TLS; each trusts the certificates it was given.

The side that calls greets first, with the terms of the first conversation. If it comes with other
terms it is turned away, and the side that listens goes on waiting.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from psi.errors import (
    DeadlineError,
    DecodeError,
    ProtocolError,
    TransportError,
    VersionError,
)
from psi.network.certificates import TLSIdentity
from psi.network.links import CHUNK_BYTES, AbandonedError, Link
from psi.network.terms import Terms
from psi.network.tls import bind, caller_of, options, secure_channel

__all__ = ["Guests", "dialled", "listening"]

_SERVICE = "psi.Session"
_RETRY_SECONDS = 0.5
_TRY_SECONDS = 5
_DOOR_SECONDS = 2  # for which a caller waits who comes before this side has its terms
_FLUSH_SECONDS = 5
_MOST_TOLD = 8  # reasons for turning away that are told: a peer must not fill the screen


@contextlib.contextmanager
def listening(
    guests: "Guests",
    address: str,
    identity: TLSIdentity,
    certificates: Sequence[bytes],
    on_listening: Callable[[int], None] | None = None,
) -> Iterator[None]:
    """Listen while the block runs; at its end give sent messages time to arrive.

    Args:
        guests: The peers to let in, and the link for each.
        address: HOST:PORT; port 0 takes a free one.
        identity: This side's key and certificate.
        certificates: The guests' certificates, PEM.
        on_listening: Called with the port.

    Raises:
        ConfigError: The address cannot be listened on.
    """
    # A thread for each session, and one to answer other callers.
    pool = ThreadPoolExecutor(len(certificates) + 1)
    server = grpc.server(pool, (guests.handlers(),), options=options(2 * CHUNK_BYTES))
    port = bind(server, address, identity, certificates)
    server.start()
    try:
        if on_listening is not None:
            on_listening(port)
        yield
    finally:
        guests.abandon()
        server.stop(_FLUSH_SECONDS).wait()
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
        _greet(channel, terms, link.name, address, wait_seconds)
        call = channel.stream_stream(f"/{_SERVICE}/Talk")(link.outgoing())
        link.attach(call)
        try:
            yield
        finally:
            link.abandon()
            link.drain(_FLUSH_SECONDS)
            call.cancel()


class Guests:
    """Answers greetings, and connects a link to each of the expected peers."""

    def __init__(
        self,
        links: Mapping[str, Link],
        on_turned_away: Callable[[str], None] | None = None,
    ) -> None:
        """Expect peers.

        Args:
            links: The link for each peer by its certificate's fingerprint.
            on_turned_away: Called with what was wrong when a peer is turned away, once for each
                different reason.
        """
        self._links = dict(links)
        self._on_turned_away = on_turned_away or (lambda words: None)
        self._told: set[str] = set()
        self._terms: Terms | None = None
        self._open = threading.Event()
        self._lock = threading.Lock()
        self._absent = set(links)
        self._agreed: set[str] = set()
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

    def handlers(self) -> Any:
        """Both methods, in gRPC's form."""
        methods = {
            "Greet": grpc.unary_unary_rpc_method_handler(self._greet),
            "Talk": grpc.stream_stream_rpc_method_handler(self._talk),
        }
        return grpc.method_handlers_generic_handler(_SERVICE, methods)

    def _greet(self, theirs: bytes, context: Any) -> bytes:
        caller = caller_of(context)
        if caller not in self._absent:
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "busy")
        self._open.wait(_DOOR_SECONDS)
        terms = self._terms
        if terms is None:
            return bytes(context.abort(grpc.StatusCode.UNAVAILABLE, "not yet"))
        try:
            terms.check(theirs, self._links[caller].name)
        except ProtocolError as error:
            self._turn_away(caller, str(error))
            if isinstance(error, DecodeError):  # it would not understand our terms either
                context.abort(grpc.StatusCode.FAILED_PRECONDITION, "other terms")
        else:
            with self._lock:
                self._agreed.add(caller)
        return terms.encode()

    def _turn_away(self, caller: str, words: str) -> None:
        with self._lock:
            self._agreed.discard(caller)
            new = words not in self._told and len(self._told) < _MOST_TOLD
            self._told.update({words} if new else ())
        if new:
            self._on_turned_away(words)

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


def _greet(channel: Any, terms: Terms, name: str, address: str, wait_seconds: float) -> None:
    """Try to connect until it succeeds, and compare the terms."""
    give_up = time.monotonic() + wait_seconds
    while True:
        left = max(give_up - time.monotonic(), 0.1)
        try:
            theirs = channel.unary_unary(f"/{_SERVICE}/Greet")(
                terms.encode(), timeout=min(left, _TRY_SECONDS)
            )
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.FAILED_PRECONDITION:
                raise VersionError(
                    f"{name} does not know the terms that this side chose: choose the same on "
                    "both sides, and install the same psi"
                ) from None
            if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
                raise TransportError(f"{name} is in a session already") from None
            if "CERTIFICATE_VERIFY_FAILED" in (error.details() or ""):
                raise TransportError(
                    f"whoever listens on {address} does not have the certificate given as {name}'s"
                ) from None
            if time.monotonic() + _RETRY_SECONDS > give_up:
                raise TransportError(
                    f"cannot reach {name} at {address}: check the address, that it serves, and "
                    "that it was given this side's certificate"
                ) from None
        else:
            terms.check(theirs, name)
            return
        time.sleep(_RETRY_SECONDS)
