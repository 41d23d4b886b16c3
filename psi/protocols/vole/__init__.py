"""PSI by vector OLE (Rindal and Schoppmann 2021; Raghuraman and Rindal 2022)."""

from psi.kernels import FAST_FROM
from psi.protocols.intersection import Effort, IntersectionProtocol
from psi.protocols.vole.receiver import Receiver
from psi.protocols.vole.rounds import NAME
from psi.protocols.vole.sender import Sender

__all__ = ["PROTOCOL", "Receiver", "Sender"]


def _effort(n_receiver: int, n_sender: int) -> Effort:
    items, compiled = n_receiver + n_sender, max(n_receiver, n_sender) >= FAST_FROM
    cpu_seconds = 1.0 + 0.7e-6 * items if compiled else 0.09 + 3.5e-6 * items
    return Effort(cpu_seconds, 250_000 + 26 * n_receiver + 18 * n_sender)


PROTOCOL = IntersectionProtocol(
    name=NAME,
    help="keeps its limits if a side cheats, and is the fastest for a thousand IDs and more",
    parties=(Receiver, Sender),
    effort=_effort,
    item_bytes=200,  # a small receiver's memory grew by 125 for each of a sender's 10^6
)
