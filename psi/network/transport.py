"""Two companies over gRPC with mutual TLS: one serves, one joins, each trusts one certificate.

Which of them is the protocol's Receiver follows from who gets the result, not from who listens.
The Receiver has its result when the last message came, the Sender when the Receiver says so: a
connection that breaks at any message leaves no side with half a result. `listening` and `dialled`
are the two ends of a connection, for `psi.network.mesh` too.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from cryptography.hazmat.primitives.serialization import Encoding

from psi.errors import ConfigError, DeadlineError, ParameterMismatchError, TransportError
from psi.network.certificates import TLS_NAME, Identity, fingerprint, one_certificate
from psi.network.links import CHUNK_BYTES, AbandonedError, Link, converse
from psi.protocols.messages import VERSION
from psi.protocols.party import Party, Progress

__all__ = ["Guests", "dialled", "join", "listening", "serve"]

_SERVICE = "psi.Session"
_RETRY_SECONDS = 0.5
_TRY_SECONDS = 5
_FLUSH_SECONDS = 5
_OPTIONS = [
    ("grpc.max_receive_message_length", 2 * CHUNK_BYTES),
    # A peer whose machine vanished is noticed although it never said goodbye.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    ("grpc.so_reuseport", 0),
    ("grpc.max_reconnect_backoff_ms", 1_000),
]


def serve(
    party: Party,
    *,
    terms: str,
    address: str,
    identity: Identity,
    peer_certificate: bytes,
    wait_seconds: float = 600,
    timeout_seconds: float = 3600,
    on_listening: Callable[[int], None] | None = None,
    progress: Progress | None = None,
) -> Link:
    """Listen, hold one session with the one peer that is trusted, and stop listening.

    Args:
        party: This side of the session.
        terms: What must be agreed before either side speaks: who gets the result.
        address: HOST:PORT to listen on; port 0 takes a free one.
        identity: This side's key and certificate.
        peer_certificate: The only certificate that may join, PEM.
        wait_seconds: How long to wait for the peer.
        timeout_seconds: How long the session may take.
        on_listening: Called with the port.
        progress: Called with a stage, how much is done, and of how much.

    Returns:
        The closed link, with the bytes sent and received.

    Raises:
        ConfigError: The address cannot be listened on.
        TransportError: The peer did not come, is gone, or is too slow.
        ProtocolError: The peer sent what is not acceptable.
    """
    link = Link(timeout_seconds, progress)
    guests = Guests(terms, {fingerprint(peer_certificate): link})
    with listening(guests, address, identity, [peer_certificate], on_listening):
        guests.await_all(wait_seconds)
        link.limit(timeout_seconds)
        converse(party, link)
    return link


def join(
    party: Party,
    *,
    terms: str,
    address: str,
    identity: Identity,
    peer_certificate: bytes,
    wait_seconds: float = 60,
    timeout_seconds: float = 3600,
    progress: Progress | None = None,
) -> Link:
    """Connect to a side that serves and hold one session with it.

    Args and errors as for `serve`; `wait_seconds` is how long to try to connect.
    """
    link = Link(timeout_seconds, progress)
    with dialled(link, terms, address, identity, peer_certificate, wait_seconds):
        link.limit(timeout_seconds)
        converse(party, link)
    return link


@contextlib.contextmanager
def listening(
    guests: "Guests",
    address: str,
    identity: Identity,
    certificates: Sequence[bytes],
    on_listening: Callable[[int], None] | None = None,
) -> Iterator[None]:
    """Listen while the block runs; at its end give what was sent the time to arrive.

    Args:
        guests: Whom to let in, and the link for each.
        address: HOST:PORT; port 0 takes a free one.
        identity: This side's key and certificate.
        certificates: Those of the guests, PEM.
        on_listening: Called with the port.

    Raises:
        ConfigError: The address cannot be listened on.
    """
    # A thread for each session, and one to answer others meanwhile.
    pool = ThreadPoolExecutor(len(certificates) + 1)
    server = grpc.server(pool, (guests.handlers(),), options=_OPTIONS)
    credentials = grpc.ssl_server_credentials(
        [(identity.key, identity.certificate)], b"".join(certificates), require_client_auth=True
    )
    try:
        port = server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise ConfigError(
            f"cannot listen on {address}: choose a free HOST:PORT of this machine"
        ) from error
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
    terms: str,
    address: str,
    identity: Identity,
    peer_certificate: bytes,
    wait_seconds: float,
) -> Iterator[None]:
    """Connect a link while the block runs; at its end give what was sent the time to arrive.

    Args:
        link: What to connect.
        terms: What must be agreed.
        address: HOST:PORT of the side that listens.
        identity: This side's key and certificate.
        peer_certificate: The only one that is trusted, PEM.
        wait_seconds: How long to try.

    Raises:
        TransportError: The other side is not reached, not the one trusted, or busy.
        ParameterMismatchError: It does not agree to the terms.
        ConfigError: The certificate is none, or several.
    """
    trusted = one_certificate(peer_certificate, "the other side's file")
    # Written anew: TLS reads kinds of PEM, and trusts what they hold, that no fingerprint shows.
    pem = trusted.public_bytes(Encoding.PEM)
    credentials = grpc.ssl_channel_credentials(pem, identity.key, identity.certificate)
    options = [*_OPTIONS, ("grpc.ssl_target_name_override", TLS_NAME)]
    with grpc.secure_channel(address, credentials, options) as channel:
        _greet(channel, terms, address, wait_seconds)
        call = channel.stream_stream(f"/{_SERVICE}/Talk")(link.outgoing())
        link.attach(call)
        try:
            yield
        finally:
            link.abandon()
            link.drain(_FLUSH_SECONDS)
            call.cancel()


class Guests:
    """Answers greetings, and takes one conversation with each of the peers that are expected."""

    def __init__(self, terms: str, links: Mapping[str, Link]) -> None:
        """Expect peers.

        Args:
            terms: What must be agreed.
            links: The link for each peer by its certificate's fingerprint.
        """
        self._terms = _terms(terms)
        self._links = dict(links)
        self._lock = threading.Lock()
        self._absent = set(links)
        self._all_here = threading.Event()
        if not links:
            self._all_here.set()

    def await_all(self, wait_seconds: float, left_seconds: float | None = None) -> None:
        """Wait until all are here.

        Args:
            wait_seconds: How long they have to come, in all.
            left_seconds: What is left of that, if less.

        Raises:
            DeadlineError: Somebody does not come.
        """
        if not self._all_here.wait(wait_seconds if left_seconds is None else left_seconds):
            names = sorted(self._links[peer].name for peer in self._absent)
            who = (
                "nobody" if len(names) == len(self._links) == 1 else f"not all ({', '.join(names)})"
            )
            raise DeadlineError(f"{who} joined within {wait_seconds:g} s")

    def abandon(self) -> None:
        """Break what is not closed."""
        for link in self._links.values():
            link.abandon()

    def drain(self) -> None:
        """Read no more."""
        for link in self._links.values():
            link.drain(0)

    def handlers(self) -> Any:
        """Both methods, as gRPC wants them."""
        methods = {
            "Greet": grpc.unary_unary_rpc_method_handler(self._greet),
            "Talk": grpc.stream_stream_rpc_method_handler(self._talk),
        }
        return grpc.method_handlers_generic_handler(_SERVICE, methods)

    def _greet(self, terms: bytes, context: Any) -> bytes:
        if _caller(context) not in self._absent:
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "busy")
        if terms != self._terms:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "other terms")
        return self._terms

    def _talk(self, incoming: Iterator[bytes], context: Any) -> Iterator[bytes]:
        caller = _caller(context)
        with self._lock:
            expected = caller in self._absent
            self._absent.discard(caller)
        if not expected:
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "busy")
        link = self._links[caller]
        link.attach(incoming)
        if not self._absent:
            self._all_here.set()
        try:
            yield from link.outgoing()
        except AbandonedError:
            context.abort(grpc.StatusCode.ABORTED, "stopped")


def _caller(context: Any) -> str:
    """Who calls: the fingerprint of the certificate that TLS has checked."""
    return fingerprint(context.auth_context()["x509_pem_cert"][0])


def _greet(channel: Any, terms: str, address: str, wait_seconds: float) -> None:
    """Try to connect until it succeeds, and compare the terms."""
    give_up = time.monotonic() + wait_seconds
    while True:
        left = max(give_up - time.monotonic(), 0.1)
        try:
            channel.unary_unary(f"/{_SERVICE}/Greet")(
                _terms(terms), timeout=min(left, _TRY_SECONDS)
            )
            return
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.FAILED_PRECONDITION:
                raise ParameterMismatchError(
                    f"the other side does not agree to {terms}: choose the same on both sides"
                ) from None
            if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
                raise TransportError("the other side is in a session already") from None
            if "CERTIFICATE_VERIFY_FAILED" in (error.details() or ""):
                raise TransportError(
                    f"whoever listens on {address} does not have the certificate given as the "
                    "other side's"
                ) from None
            if time.monotonic() + _RETRY_SECONDS > give_up:
                raise TransportError(
                    f"cannot reach {address}: check the address, that the other side serves, and "
                    "that it was given this side's certificate"
                ) from None
        time.sleep(_RETRY_SECONDS)


def _terms(terms: str) -> bytes:
    return f"psi {VERSION}, {terms}".encode()
