"""What a caller needs to know of a protocol for the intersection between two."""

from dataclasses import dataclass

from psi.protocols.party import Party

__all__ = ["LIMITS", "IntersectionProtocol"]

LIMITS = frozenset({"max_peer_items", "charge_with"})
"""What can be limited: how many items another side can test in a session, and over all sessions."""


@dataclass(frozen=True)
class IntersectionProtocol:
    """A protocol by its name.

    Attributes:
        name: The name by which it is chosen.
        help: A description in half a line.
        parties: Its receiver and its sender.
        limits: Which of `LIMITS` it keeps against a side that cheats.
        warning: What a side that cheats gets, if that is more than the limits allow.
    """

    name: str
    help: str
    parties: tuple[type[Party], type[Party]]
    limits: frozenset[str] = LIMITS
    warning: str | None = None
