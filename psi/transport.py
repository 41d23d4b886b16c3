"""Two companies over gRPC with mutual TLS: one serves, one joins, each trusts one certificate.

Which of them is the protocol's Receiver follows from who gets the result, not from who listens.
The Receiver has its result when the last message came, the Sender when the Receiver says so: a
connection that breaks at any message leaves no side with half a result.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from psi.certificates import TLS_NAME, Identity
from psi.errors import ConfigError, DeadlineError, ParameterMismatchError, TransportError
from psi.links import CHUNK_BYTES, AbandonedError, Link, converse
from psi.messages import VERSION
from psi.session import Party, Progress

__all__ = ["join", "serve"]

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
    service = _Service(terms, timeout_seconds, progress)
    # One thread for the session, one to answer others meanwhile.
    server = grpc.server(ThreadPoolExecutor(2), (service.handlers(),), options=_OPTIONS)
    credentials = grpc.ssl_server_credentials(
        [(identity.key, identity.certificate)], peer_certificate, require_client_auth=True
    )
    try:
        port = server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise ConfigError(
            f"cannot listen on {address}: choose a free HOST:PORT of this machine"
        ) from error
    server.start()
    link = None
    try:
        if on_listening is not None:
            on_listening(port)
        link = service.joined(wait_seconds)
        converse(party, link)
        return link
    finally:
        if link is not None:
            link.abandon()
        server.stop(_FLUSH_SECONDS).wait()
        if link is not None:
            link.drain(0)


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
    credentials = grpc.ssl_channel_credentials(peer_certificate, identity.key, identity.certificate)
    options = [*_OPTIONS, ("grpc.ssl_target_name_override", TLS_NAME)]
    with grpc.secure_channel(address, credentials, options) as channel:
        _greet(channel, terms, address, wait_seconds)
        link = Link(timeout_seconds, progress)
        call = channel.stream_stream(f"/{_SERVICE}/Talk")(link.outgoing(), timeout=timeout_seconds)
        link.attach(call)
        try:
            converse(party, link)
            return link
        finally:
            link.abandon()
            link.drain(_FLUSH_SECONDS)
            call.cancel()


class _Service:
    """Answers greetings, and takes the first that talks."""

    def __init__(self, terms: str, timeout_seconds: float, progress: Progress | None) -> None:
        self._terms = _terms(terms)
        self._timeout_seconds = timeout_seconds
        self._progress = progress
        self._lock = threading.Lock()
        self._taken = False
        self._links: queue.SimpleQueue[Link] = queue.SimpleQueue()

    def joined(self, wait_seconds: float) -> Link:
        """The link of whoever joins.

        Raises:
            DeadlineError: Nobody does.
        """
        try:
            return self._links.get(timeout=wait_seconds)
        except queue.Empty:
            raise DeadlineError(f"nobody joined within {wait_seconds:g} s") from None

    def handlers(self) -> Any:
        """Both methods, as gRPC wants them."""
        methods = {
            "Greet": grpc.unary_unary_rpc_method_handler(self._greet),
            "Talk": grpc.stream_stream_rpc_method_handler(self._talk),
        }
        return grpc.method_handlers_generic_handler(_SERVICE, methods)

    def _greet(self, terms: bytes, context: Any) -> bytes:
        if self._taken:
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "busy")
        if terms != self._terms:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "other terms")
        return self._terms

    def _talk(self, incoming: Iterator[bytes], context: Any) -> Iterator[bytes]:
        with self._lock:
            taken, self._taken = self._taken, True
        if taken:
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "busy")
        link = Link(self._timeout_seconds, self._progress)
        link.attach(incoming)
        self._links.put(link)
        try:
            yield from link.outgoing()
        except AbandonedError:
            context.abort(grpc.StatusCode.ABORTED, "stopped")


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
