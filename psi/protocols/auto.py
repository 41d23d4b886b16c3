"""The protocol between two chosen by both sizes: of those that keep their promise, the cheaper.

The receiver offers: it sends its hello of each protocol in one message. The sender knows both sizes
then, chooses, and answers with the hello of that protocol alone. What follows is a session of that
protocol. All that is offered keeps its limits against a side that cheats, so it does not matter
that the sender decides.

    Receiver                            Sender
    OFFER   line speed, hellos      →
                                    ←   CHOSEN  which one, line speed, its hello
    (as that protocol says)

The cheaper one takes less time: for what both sides compute, and for what goes over a line of the
given speed. Where none is given and the choice depends on it, the offer is 12 KB longer, and the
sender takes the speed at which it arrived: its parts leave one after the other, so that how far
apart they come in says what the slowest part of the way carries, however long the way is. A
receiver that cheats can send them slowly; then the other one of two protocols is taken that promise
the same. Without a measurement the line is one of 100 Mbit/s.
"""

import struct
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from psi.errors import ConfigError, DecodeError
from psi.protocols import ecdh, vole
from psi.protocols.conversation import PEER, Progress
from psi.protocols.intersection import IntersectionProtocol
from psi.protocols.messages import (
    FRAME_BYTES,
    MessageType,
    announced_count,
    announced_length,
)
from psi.protocols.parameters import MAX_PEER_ITEMS, SessionParameters
from psi.protocols.party import Party

__all__ = ["MEGABITS", "OFFERED", "PROTOCOL", "AutoReceiver", "AutoSender", "cheapest"]

OFFERED = (ecdh.PROTOCOL, vole.PROTOCOL)
MEGABITS = 100.0  # of a line of which nothing is said
_SLOWEST, _FASTEST = 10.0, 10_000.0  # between which it is worth to measure
# Within what TCP sends before the first answer, 10 segments (RFC 6928): no round trip counts.
_PADDING_BYTES = 12 << 10
_SPEED, _LINE = struct.Struct(">d"), struct.Struct(">dB")
_SOURCES = ("given", "measured", "assumed")
_OTHERS_CHOICE = "the other side chose it"


def cheapest(
    n_receiver: int, n_sender: int, megabits: float | None = MEGABITS, source: str = ""
) -> tuple[int, str]:
    """Return which of `OFFERED` takes the least time, and why, in words.

    Args:
        n_receiver: The size of the receiver's set.
        n_sender: The size of the sender's.
        megabits: What the line carries a second, in 10^6 bits; None: there is no line.
        source: Where that is from, for the words.
    """
    line = 8e-6 / megabits if megabits else 0.0
    efforts = [one.effort(n_receiver, n_sender) for one in OFFERED]
    seconds = [one.cpu_seconds + line * one.sent_bytes for one in efforts]
    best = min(range(len(OFFERED)), key=seconds.__getitem__)
    told = ", ".join(
        f"{one.name} about {float(f'{taken:.2g}'):g} s"
        for one, taken in zip(OFFERED, seconds, strict=True)
    )
    over = f" over {megabits:,.15g} Mbit/s" if megabits else ""
    over += f" ({source})" if source else ""
    return best, f"{n_receiver:,} and {n_sender:,} IDs{over} take {told}"


def _depends(n_receiver: int, n_sender: int) -> bool:
    """Return whether the choice depends on the line's speed."""
    return len({cheapest(n_receiver, n_sender, line)[0] for line in (_SLOWEST, _FASTEST)}) > 1


class _AutoParty(Party):
    """What both roles do: pass on what belongs to the protocol that was chosen."""

    protocol = "auto"

    def __init__(
        self,
        items: Sequence[bytes],
        parameters: SessionParameters | None = None,
        *,
        counts: NDArray[np.intp] | None = None,
        max_peer_items: int = MAX_PEER_ITEMS,
        progress: Progress | None = None,
        megabits: float | None = None,
    ) -> None:
        """Prepare one session.

        Args:
            items: This side's set: distinct byte strings, padded or not.
            parameters: What both sides must choose alike.
            counts: Shape (len(items),): how often each occurs; given with `multiplicities`.
            max_peer_items: The most items that the other side may be able to test.
            progress: Called with a stage, the items done and their number while it works.
            megabits: What the line carries a second, in 10^6 bits; the slower one counts.

        Raises:
            ConfigError: Items repeat, counts are not those of the items, or the speed is none.
        """
        super().__init__(
            items, parameters, counts=counts, max_peer_items=max_peer_items, progress=progress
        )
        if megabits is not None and not 0 < megabits < float("inf"):
            raise ConfigError("the line's speed is a positive number of Mbit/s")
        self._megabits = megabits
        self._offered = [
            one.parties[0 if self.speaks_first else 1](
                items, parameters, counts=counts, max_peer_items=max_peer_items, progress=progress
            )
            for one in OFFERED
        ]
        self._running: Party | None = None

    def charge_with(self, charge: Callable[[int, int], None]) -> None:
        """Let the other side's items be counted, as the protocol that is chosen counts them."""
        for party in self._offered:
            party.charge_with(charge)

    def between(self, peer: int, own: str, theirs: str) -> None:
        """Bind the session to both certificates."""
        super().between(peer, own, theirs)
        for party in self._offered:
            party.between(peer, own, theirs)

    @property
    def longest_message(self) -> int:
        """What the other side's next message can measure at most, in bytes."""
        if self._running is not None:
            return self._running.longest_message
        hellos = sum(party.longest_message for party in self._offered)
        return FRAME_BYTES + _LINE.size + hellos + _PADDING_BYTES

    @property
    def matches(self) -> NDArray[np.intp]:
        """Indices of this side's items that the other has, too, in an order common to both."""
        return self._ended().matches

    @property
    def peer_counts(self) -> NDArray[np.intp] | None:
        """How often the other side has each of `matches`; None without `multiplicities`."""
        return self._ended().peer_counts

    def _work_ahead(self) -> None:
        if self._running is not None:
            self._running.idle()

    def _ended(self) -> Party:
        self._require_done()
        assert self._running is not None  # noqa: S101 - it is done
        return self._running

    def _forget(self) -> None:
        super()._forget()
        self._offered = []

    def _run(self, number: int, reason: str, hello: bytes | memoryview) -> bytes | None:
        """Begin the session that was chosen with the other side's hello."""
        self._running = self._offered[number]
        self.protocol, self.counted_as = self._running.protocol, self._running.counted_as
        self.reason, self._offered = reason, []
        return self._pass_on(bytes(hello))

    def _pass_on(self, data: bytes) -> bytes | None:
        assert self._running is not None  # noqa: S101 - it runs
        answer = self._running.receive(data)
        self._done, self._expect = self._running.done, None
        if not self._done:
            self._expect = self._pass_on
        return answer


class AutoReceiver(_AutoParty):
    """The side that speaks first and always gets the result."""

    speaks_first = True
    _own_hello, _peer_hello = MessageType.RECEIVER_HELLO, MessageType.SENDER_HELLO

    def _begin(self) -> bytes:
        hellos = [party.start() or b"" for party in self._offered]
        self._expect = self._on_chosen
        speed, n_own = _SPEED.pack(self._megabits or 0), len(self._items)
        sizes = (1 << bits for bits in range(MAX_PEER_ITEMS.bit_length()))
        unsure = self._megabits is None and any(_depends(n_own, size) for size in sizes)
        padding = bytes(_PADDING_BYTES if unsure else 0)
        return self._transcript.seal(MessageType.OFFER, n_own, speed, *hellos, padding)

    def _on_chosen(self, data: bytes) -> bytes | None:
        message = self._transcript.open(MessageType.CHOSEN, data)
        hello = message.body[_LINE.size :]
        if message.count >= len(OFFERED):
            raise DecodeError("the other side chose a protocol that was not offered")
        megabits = _speed(message.body)
        if not megabits or len(hello) < FRAME_BYTES:
            raise DecodeError("the other side chose without a hello, or for no line speed")
        if (source := message.body[_SPEED.size]) >= len(_SOURCES):
            raise DecodeError("the other side does not say where the line speed is from")
        n_sender = announced_count(hello)
        best, reason = cheapest(len(self._items), n_sender, megabits, _SOURCES[source])
        return self._run(message.count, reason if best == message.count else _OTHERS_CHOICE, hello)


class AutoSender(_AutoParty):
    """The side that answers, and chooses; it gets the result, too, if the output is "both"."""

    speaks_first = False
    _own_hello, _peer_hello = MessageType.SENDER_HELLO, MessageType.RECEIVER_HELLO
    _measured: float | None = None

    def take_speed(self, peer: int, megabits: float) -> None:
        """Take note how fast the offer arrived."""
        if self._running is None:
            self._measured = megabits

    def _on_hello(self, data: bytes) -> bytes | None:
        message = self._transcript.open(MessageType.OFFER, data)
        hellos = _cut(message.body[_SPEED.size :])
        sizes = message.count, len(self._items)
        megabits, source = self._line(_speed(message.body), *sizes)
        number, reason = self._within_limit(
            message.count, *cheapest(*sizes, megabits, _SOURCES[source])
        )
        answer = self._run(number, reason, hellos[number])
        line = _LINE.pack(megabits, source)
        return self._transcript.seal(MessageType.CHOSEN, number, line, answer or b"")

    def _line(self, theirs: float, n_receiver: int, n_sender: int) -> tuple[float, int]:
        """Return the line's speed, and where it is from: a number of `_SOURCES`."""
        given = [one for one in (self._megabits, theirs or None) if one is not None]
        if given:
            return min(given), 0
        if self._measured is not None and _depends(n_receiver, n_sender):
            return float(f"{self._measured:.2g}"), 1
        return MEGABITS, 2

    def _within_limit(self, announced: int, best: int, reason: str) -> tuple[int, str]:
        """Return another protocol if the best one counts more than this side allows."""
        asked = [party.tested_by(PEER, announced) for party in self._offered]
        least = min(range(len(asked)), key=asked.__getitem__)
        if asked[least] <= self._max_peer_items < asked[best]:
            named = f"{OFFERED[best].name} would count {asked[best]:,} IDs for {announced:,}"
            return least, f"{named}, which is over this side's limit"
        return best, reason


def _speed(body: memoryview) -> float:
    """Return the speed at the beginning of a body.

    Raises:
        DecodeError: It is none.
    """
    if len(body) < _SPEED.size:
        raise DecodeError("the message has no line speed")
    (megabits,) = _SPEED.unpack_from(body)
    if not 0 <= megabits < float("inf"):
        raise DecodeError("the line speed is no number of Mbit/s")
    return float(megabits)


def _cut(data: memoryview) -> list[memoryview]:
    """Return the hellos that some bytes begin with, one of each protocol.

    Raises:
        DecodeError: They do not, or end with something else than padding.
    """
    found = []
    for _ in OFFERED:
        length = announced_length(data) if len(data) >= FRAME_BYTES else FRAME_BYTES
        if length > len(data):
            raise DecodeError("an offer ends in the middle of a hello")
        found.append(data[:length])
        data = data[length:]
    if len(data) not in (0, _PADDING_BYTES):
        raise DecodeError("the other side does not offer the protocols that this side knows")
    return found


PROTOCOL = IntersectionProtocol(
    name="auto",
    help="the cheaper of " + " and ".join(one.name for one in OFFERED) + " for both sets' sizes",
    parties=(AutoReceiver, AutoSender),
    item_bytes=vole.PROTOCOL.item_bytes,  # by which large sets go
)
