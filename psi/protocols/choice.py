"""The protocols for an intersection between two, by name.

"auto" chooses by both sets' sizes among those that keep their promise against a side that cheats.
"""

from psi.errors import ConfigError
from psi.protocols import auto, ecdh, vole
from psi.protocols.intersection import IntersectionProtocol

__all__ = ["AUTO", "PROTOCOLS", "chosen"]

AUTO = auto.PROTOCOL.name

PROTOCOLS = {
    one.name: one
    for one in (
        auto.PROTOCOL,
        ecdh.PROTOCOL,
        vole.PROTOCOL,
    )
}


def chosen(name: str) -> IntersectionProtocol:
    """Return the protocol of that name.

    Raises:
        ConfigError: There is no such protocol.
    """
    try:
        return PROTOCOLS[name]
    except KeyError:
        *names, last = PROTOCOLS
        raise ConfigError(f"the protocol is {', '.join(names)} or {last}") from None
