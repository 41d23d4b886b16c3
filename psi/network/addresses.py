"""HOST:PORT as people write it: a name, an IPv4 address, or an IPv6 address in brackets."""

import re
import socket

from psi.errors import ConfigError

__all__ = ["host_and_port", "looks_like_address", "written_address"]

_MOST_PORT = 65_535
_BRACKETED = re.compile(r"\[(?P<host>[^\[\]]+)\]:(?P<port>\d{1,5})")
_PLAIN = re.compile(r"(?P<host>[^\s:\[\]/]*):(?P<port>\d{1,5})")


def host_and_port(address: str, *, least_port: int = 1) -> tuple[str, int]:
    """Return both parts of an address, an IPv6 one without its brackets.

    Args:
        address: HOST:PORT; without HOST it is every address of this machine, or this machine.
        least_port: The smallest port; 0 where a free one may be taken.

    Raises:
        ConfigError: It is no such address; the message says what to write.
    """
    found = _BRACKETED.fullmatch(address) or _PLAIN.fullmatch(address)
    if found is None:
        raise ConfigError(_remedy(address))
    host, port = found["host"], int(found["port"])
    if address.startswith("[") and not _is_ipv6(host):
        raise ConfigError(f"{address!a} has no IPv6 address in its brackets: write HOST:PORT")
    if not least_port <= port <= _MOST_PORT:
        raise ConfigError(f"{address} has no port from {least_port} to {_MOST_PORT}")
    return host, port


def written_address(host: str, port: int) -> str:
    """Return HOST:PORT, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def looks_like_address(text: str) -> bool:
    """Return whether a text is HOST:PORT, or an IPv6 address in any spelling."""
    return bool(_BRACKETED.fullmatch(text) or _PLAIN.fullmatch(text)) or _is_ipv6(text)


def _remedy(address: str) -> str:
    bare = address.strip("[]")
    if _is_ipv6(bare):
        # 2001:db8::1:7787 is an address without a port, or one with a port: nobody can tell.
        host, _, port = bare.rpartition(":")
        with_port = f", or [{host}]:{port}" if port.isdecimal() and _is_ipv6(host) else ""
        return (
            f"{address} is an IPv6 address, which stands in brackets before its port: write "
            f"[{bare}]:7787{with_port}"
        )
    host, _, port = bare.rpartition(":")
    if port.isdecimal() and _is_ipv6(host):
        return (
            f"{address} is an IPv6 address, which stands in brackets before its port: write "
            f"[{host}]:{port}"
        )
    if re.fullmatch(r"[^\s:/\[\]]+", address):
        return f"{address!a} has no port: write HOST:PORT, such as {address}:7787"
    return (
        f"{address!a} is no HOST:PORT: write a name or an address and a port, such as "
        "alice.example:7787 or [2001:db8::1]:7787"
    )


def _is_ipv6(host: str) -> bool:
    try:
        socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    except (OSError, ValueError):
        return False
    return True
