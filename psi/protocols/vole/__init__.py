"""PSI by vector OLE (Rindal and Schoppmann 2021; Raghuraman and Rindal 2022)."""

from psi.protocols.intersection import IntersectionProtocol
from psi.protocols.vole.receiver import Receiver
from psi.protocols.vole.rounds import NAME
from psi.protocols.vole.sender import Sender

__all__ = ["PROTOCOL", "Receiver", "Sender"]

PROTOCOL = IntersectionProtocol(
    name=NAME, help="keeps its limits if a side cheats, and is fast", parties=(Receiver, Sender)
)
