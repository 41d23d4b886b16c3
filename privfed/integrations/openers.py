"""A few parties open a round's total, and all others read the RESULT that these have signed.

Whom the server asks, and in which order, is the aggregator's to say; one that is silent, refuses or
signs something else costs the next one a download. Where too few sign the same, all get the total.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

from privfed.errors import ContextMismatchError, QuorumError
from privfed.integrations.messages import Packet
from privfed.secagg import Aggregator

Node = TypeVar("Node", int, str)

Ask = Callable[[dict[Node, Packet]], Iterable[tuple[Node, bytes, bytes]]]
"""Sends packets; returns of each node that answered in time its answer, and the RESULT beside."""

LEGS = 3
"""How often openers are asked for one round: each time some may be waited for in vain."""


class AskedOpeners(Generic[Node]):
    """A round that is closed, while its openers are asked.

    Args:
        total: The round's sum, whose total was taken.
        nodes: Who may be asked, in this order.
        needed: How many have to sign the same.
    """

    def __init__(self, total: Aggregator, nodes: Sequence[Node], needed: int) -> None:
        self._total, self._needed = total, needed
        self._nodes: list[Node] = list(nodes)
        self._signed: set[Node] = set()
        self._leg = 0
        self.result = b""

    def next(self) -> list[Node]:
        """Return whom to ask now; nobody where that is done, or was tried often enough.

        First as many as are needed; then twice as many as are missing, and four times.
        """
        if self.result or self._leg == LEGS:
            return []
        missing = max(1, self._needed - len(self._signed))
        count = missing << self._leg
        self._leg += 1
        asked, self._nodes = self._nodes[:count], self._nodes[count:]
        return asked

    def add(self, node: Node, result: bytes) -> None:
        """Add what an opener signed; the same again changes nothing.

        Raises:
            ContextMismatchError: As many as are needed have signed, and not the same.
            PrivFedError: It is not of this round; `Aggregator.add_result` says which errors there
                are.
        """
        self._total.add_result(result)
        self._signed.add(node)
        if len(self._signed) < self._needed:
            return
        try:
            self.result = self._total.result()
        except QuorumError:
            raise ContextMismatchError(
                "it and another one signed different sums, or it sends the other's: one lies"
            ) from None
