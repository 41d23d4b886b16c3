"""The protocols for an intersection between two, by name.

"auto" is the one that needs the least trust; both sides come to the same one without a message.
One that warns is never taken unasked.
"""

from psi.errors import ConfigError
from psi.protocols import ecdh, kkrt
from psi.protocols.intersection import IntersectionProtocol

__all__ = ["AUTO", "PROTOCOLS", "chosen"]

AUTO = "auto"

PROTOCOLS = {
    one.name: one
    for one in (
        ecdh.PROTOCOL,
        kkrt.PROTOCOL,
    )
}


def chosen(name: str) -> IntersectionProtocol:
    """The protocol that runs under a name.

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
