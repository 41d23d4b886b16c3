"""gRPC under mutual TLS, in which each end trusts the very certificates that it was given."""

from collections.abc import Sequence
from typing import Any

import grpc
from cryptography.hazmat.primitives.serialization import Encoding

from psi.errors import ConfigError
from psi.network.certificates import TLS_NAME, TLSIdentity, fingerprint, one_certificate

__all__ = ["bind", "caller_of", "options", "secure_channel"]


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
        ("grpc.max_reconnect_backoff_ms", 1_000),
    ]


def bind(server: Any, address: str, identity: TLSIdentity, certificates: Sequence[bytes]) -> int:
    """Let a gRPC server listen on an address.

    Args:
        server: Not started yet.
        address: HOST:PORT; port 0 takes a free one.
        identity: This side's key and certificate.
        certificates: The certificates of all who may connect, PEM.

    Returns:
        The port.

    Raises:
        ConfigError: The address cannot be listened on.
    """
    credentials = grpc.ssl_server_credentials(
        [(identity.key, identity.certificate)], b"".join(certificates), require_client_auth=True
    )
    try:
        return int(server.add_secure_port(address, credentials))
    except RuntimeError as error:
        raise ConfigError(
            f"cannot listen on {address}: choose a free HOST:PORT of this machine"
        ) from error


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
        ConfigError: This is not exactly one certificate.
    """
    trusted = one_certificate(peer_certificate, "the other side's file")
    # Written anew: TLS would also read and trust kinds of PEM that no fingerprint shows.
    pem = trusted.public_bytes(Encoding.PEM)
    credentials = grpc.ssl_channel_credentials(pem, identity.key, identity.certificate)
    named = ("grpc.ssl_target_name_override", TLS_NAME)
    return grpc.secure_channel(address, credentials, [*options(longest), named])


def caller_of(context: Any) -> str:
    """Return the fingerprint of a caller's certificate, which TLS has checked."""
    return fingerprint(context.auth_context()["x509_pem_cert"][0])
