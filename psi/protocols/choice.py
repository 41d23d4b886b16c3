"""The protocols for an intersection between two, by name.

"auto" is the protocol that needs the least trust; both sides choose the same without a message. A
protocol with a warning is never chosen by "auto".
"""

from psi.errors import ConfigError
from psi.protocols import ecdh, kkrt, vole
from psi.protocols.intersection import IntersectionProtocol

__all__ = ["AUTO", "PROTOCOLS", "chosen"]

AUTO = "auto"

PROTOCOLS = {
    one.name: one
    for one in (
        ecdh.PROTOCOL,
        vole.PROTOCOL,
        kkrt.PROTOCOL,
    )
}


def chosen(name: str) -> IntersectionProtocol:
    """Return the protocol of that name.

    Raises:
        ConfigError: There is no such protocol.
    """
    if name == AUTO:
        return ecdh.PROTOCOL
    try:
        return PROTOCOLS[name]
    except KeyError:
        *names, last = (AUTO, *PROTOCOLS)
        raise ConfigError(f"the protocol is {', '.join(names)} or {last}") from None
