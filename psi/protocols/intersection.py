"""What is known of a protocol for the intersection between two, beside how it works."""

from dataclasses import dataclass

from psi.protocols.party import Party

__all__ = ["LIMITS", "IntersectionProtocol"]

LIMITS = frozenset({"max_peer_items", "charge_with"})
"""What can be limited: the size that the other side announces, and what it asks across sessions."""


@dataclass(frozen=True)
class IntersectionProtocol:
    """A protocol by its name.

    Attributes:
        name: How it is chosen.
        help: What to know of it, in half a line.
        parties: Its receiver and its sender.
        limits: Which of `LIMITS` it keeps against a side that cheats.
        warning: What a side that cheats gets, where that is more than the limits allow.
    """

    name: str
    help: str
    parties: tuple[type[Party], type[Party]]
    limits: frozenset[str] = LIMITS
    warning: str | None = None
