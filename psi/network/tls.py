"""gRPC under mutual TLS, in which each end trusts the very certificates that it was given."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import grpc
from cryptography.hazmat.primitives.serialization import Encoding

from psi.network.addresses import host_and_port, written_address
from psi.network.certificates import TLS_NAME, TLSIdentity, fingerprint, one_certificate
from psi.network.door import HANDSHAKE_SECONDS, Told, opened_door

__all__ = ["bound", "caller_of", "options", "secure_channel"]


def options(longest: int) -> list[tuple[str, Any]]:
    """Return the options of either end.

    Args:
        longest: The most bytes of a message that is taken.
    """
    return [
        ("grpc.max_receive_message_length", longest),
        ("grpc.max_send_message_length", -1),
        # So that a peer whose machine vanished is noticed.
        ("grpc.keepalive_time_ms", 20_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
        ("grpc.so_reuseport", 0),
        # Two who start together meet at once; who waits for long does not ask all the time.
        ("grpc.initial_reconnect_backoff_ms", 20),
        ("grpc.max_reconnect_backoff_ms", 500),
        # One that proves to be nobody, or that asks for nothing, gives its place back.
        ("grpc.server_handshake_timeout_ms", 1_000 * HANDSHAKE_SECONDS),
        ("grpc.max_connection_idle_ms", 60_000),
    ]


@contextlib.contextmanager
def bound(
    server: Any,
    address: str,
    identity: TLSIdentity,
    certificates: Sequence[bytes],
    on_dropped: Told | None = None,
) -> Iterator[int]:
    """Let a gRPC server listen on an address while the block runs, behind a door.

    Args:
        server: Not started yet; it is stopped in the block, so that its last words arrive.
        address: HOST:PORT; port 0 takes a free one.
        identity: This side's key and certificate.
        certificates: The certificates of all who may connect, PEM.
        on_dropped: Called with the reason when a stranger is dropped.

    Yields:
        The port.

    Raises:
        ConfigError: The address cannot be listened on, or there are too few descriptors.
    """
    credentials = grpc.ssl_server_credentials(
        [(identity.key, identity.certificate)], b"".join(certificates), require_client_auth=True
    )

    def attach(inner: str) -> None:
        server.add_secure_port(inner, credentials)

    with opened_door(address, attach, len(certificates), on_dropped) as port:
        yield port


def secure_channel(
    address: str, identity: TLSIdentity, peer_certificate: bytes, longest: int
) -> Any:
    """Return a gRPC channel, a context manager, to the owner of one certificate.

    Args:
        address: HOST:PORT of the side that listens.
        identity: This side's key and certificate.
        peer_certificate: The only one that is trusted, PEM.
        longest: The most bytes of a message that is taken.

    Raises:
        ConfigError: This is not exactly one certificate, or no HOST:PORT.
    """
    trusted = one_certificate(peer_certificate, "the other side's file")
    # Written anew: TLS would also read and trust kinds of PEM that no fingerprint shows.
    pem = trusted.public_bytes(Encoding.PEM)
    credentials = grpc.ssl_channel_credentials(pem, identity.key, identity.certificate)
    named = ("grpc.ssl_target_name_override", TLS_NAME)
    host, number = host_and_port(address)
    where = written_address(host or "localhost", number)
    return grpc.secure_channel(where, credentials, [*options(longest), named])


def caller_of(context: Any) -> str:
    """Return the fingerprint of a caller's certificate, which TLS has checked."""
    return fingerprint(context.auth_context()["x509_pem_cert"][0])
