"""The protocol for an intersection, chosen by both sides alike once they know both sizes.

The hellos of all protocols are the same. A session that is to choose exchanges them under the
name "auto"; they fix its identity, with both sizes in it, and the protocol chosen goes on from
there. So two sides that would choose differently do not have the same session.
"""

from typing import ClassVar, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from psi import ecdh
from psi.errors import ConfigError
from psi.messages import MessageType
from psi.session import Party

__all__ = ["LARGE_FROM", "AutoReceiver", "AutoSender", "Protocol", "parties"]

Protocol: TypeAlias = Literal["auto", "ecdh", "kkrt"]

LARGE_FROM = 1 << 14  # both sets together: here ecdh begins to cost a side about a second


class _Auto(Party):
    protocol = "auto"
    _roles: ClassVar[int]
    _chosen: Party | None = None

    def _after_hellos(self) -> bytes | None:
        large = len(self._items) + self._peer_items() >= LARGE_FROM
        chosen = parties("kkrt" if large else "ecdh")[self._roles].continuing(self)
        self._chosen, self.protocol = chosen, chosen.protocol
        return chosen._after_hellos()

    def receive(self, message: bytes) -> bytes | None:
        """As for every party."""
        if self._chosen is None:
            return super().receive(message)
        return self._chosen.receive(message)

    @property
    def done(self) -> bool:
        """As for every party."""
        return self._chosen is not None and self._chosen.done

    @property
    def matches(self) -> NDArray[np.intp]:
        """As for every party."""
        return super().matches if self._chosen is None else self._chosen.matches

    @property
    def peer_counts(self) -> NDArray[np.intp] | None:
        """As for every party."""
        return super().peer_counts if self._chosen is None else self._chosen.peer_counts

    @property
    def longest_message(self) -> int:
        """As for every party."""
        return super().longest_message if self._chosen is None else self._chosen.longest_message


class AutoReceiver(_Auto):
    """The receiver of the protocol that suits the sizes."""

    speaks_first = True
    _own_hello, _peer_hello = MessageType.RECEIVER_HELLO, MessageType.SENDER_HELLO
    _roles = 0


class AutoSender(_Auto):
    """The sender of the protocol that suits the sizes."""

    speaks_first = False
    _own_hello, _peer_hello = MessageType.SENDER_HELLO, MessageType.RECEIVER_HELLO
    _roles = 1


def parties(protocol: Protocol) -> tuple[type[Party], type[Party]]:
    """The receiver and the sender of a protocol.

    Raises:
        ConfigError: There is no such protocol.
    """
    if protocol == "auto":
        return AutoReceiver, AutoSender
    if protocol == "ecdh":
        return ecdh.Receiver, ecdh.Sender
    if protocol == "kkrt":
        from psi import kkrt  # small sets do without what it imports

        return kkrt.Receiver, kkrt.Sender
    raise ConfigError("the protocol is auto, ecdh or kkrt")
