"""What a caller needs to know of a protocol for the intersection between two."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from psi.protocols.party import Party

__all__ = ["Effort", "IntersectionProtocol"]


class Effort(NamedTuple):
    """What a session takes.

    Attributes:
        cpu_seconds: What both sides compute, one after the other.
        sent_bytes: The bytes of all messages.
    """

    cpu_seconds: float
    sent_bytes: float


@dataclass(frozen=True)
class IntersectionProtocol:
    """A protocol by its name.

    Attributes:
        name: The name by which it is chosen.
        help: A description in half a line.
        parties: Its receiver and its sender.
        effort: What a session takes, given the receiver's size and the sender's: roughly, fitted
            to `python -m benchmarks.psi` on an AMD EPYC of 2024 (benchmarks/results/psi.json).
        item_bytes: The peak of memory for each item that the other side can test, rounded up.
    """

    name: str
    help: str
    parties: tuple[type[Party], type[Party]]
    effort: Callable[[int, int], Effort] = lambda n_receiver, n_sender: Effort(0, 0)
    item_bytes: int = 1_200
