"""The protocols for an intersection between two, by name.

"auto" is the one that needs the least trust; both sides come to the same one without a message.
`kkrt` is never taken unasked: it protects nobody from a side that cheats (docs/psi-kkrt.md).
"""

from typing import Literal, TypeAlias

from psi.errors import ConfigError
from psi.protocols import ecdh
from psi.protocols.party import Party

__all__ = ["CHEATED", "Protocol", "parties", "resolved"]

Protocol: TypeAlias = Literal["auto", "ecdh", "kkrt"]

CHEATED = (
    "kkrt is for sides that trust each other not to cheat. One that receives and knows 11 of the "
    "other's IDs can work out its whole key material and then test any number of guesses offline, "
    "past every limit; one that sends can tell which of the receiver's bins are occupied, so of "
    "most candidates on a list whether they are in its set, and can make it believe that "
    "everything matched. Choose ecdh otherwise"
)


def resolved(protocol: Protocol) -> Literal["ecdh", "kkrt"]:
    """The protocol that runs under a name.

    Raises:
        ConfigError: There is no such protocol.
    """
    if protocol not in ("auto", "ecdh", "kkrt"):
        raise ConfigError("the protocol is auto, ecdh or kkrt")
    return "kkrt" if protocol == "kkrt" else "ecdh"


def parties(protocol: Protocol) -> tuple[type[Party], type[Party]]:
    """The receiver and the sender of a protocol.

    Raises:
        ConfigError: There is no such protocol.
    """
    if resolved(protocol) == "ecdh":
        return ecdh.Receiver, ecdh.Sender
    from psi.protocols import kkrt

    return kkrt.Receiver, kkrt.Sender
