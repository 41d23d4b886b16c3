"""What every state machine is, for two parties and for many: messages in turn, then a result.

`Conversation` takes messages; after an error it stays failed, and at its end it forgets its
secrets. `Dialogue` is a conversation between two: a message in, a message out. `Assembly` is one of
many parties in rounds: a message for each other party, by its number. `SetConversation` is about a
set: its items, what must be agreed, and which of the items are found. The code that carries
messages sees rounds in all of them (`psi.network.links.converse`).
"""

import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Generic, Never, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from psi.errors import (
    ConfigError,
    DecodeError,
    ParameterMismatchError,
    SizeLimitError,
    StateError,
)
from psi.kernels.texts import TextKeys
from psi.protocols.noise import EXACT, SessionCost
from psi.protocols.padding import PaddedItems
from psi.protocols.parameters import MAX_PEER_ITEMS, SessionParameters

__all__ = [
    "PEER",
    "AnyConversation",
    "Assembly",
    "Conversation",
    "Dialogue",
    "Progress",
    "Round",
    "SetConversation",
]

PEER = 0
"""The number of the other side in a conversation between two."""

Round: TypeAlias = dict[int, bytes]
"""Messages by the number of the party that gets them, or that sent them."""

Progress: TypeAlias = Callable[[str, int, int], None]
"""Called with a stage, how much of it is done, and how much it is in all."""

Arriving = TypeVar("Arriving")
Leaving = TypeVar("Leaving")
_Result = TypeVar("_Result")


class Conversation(Generic[Arriving, Leaving]):
    """One party's side: takes messages in turn; an error ends it, and it forgets its secrets.

    A subclass sets `_expect` at the beginning, each step sets the next one, and `_end` ends.
    """

    protocol: str

    def __init__(self, progress: Progress | None = None) -> None:
        """Prepare one side.

        Args:
            progress: Called with a stage, the items done and their number while it works.
        """
        self._progress = progress or (lambda stage, done, total: None)
        self._expect: Callable[[Arriving], Leaving] | None = None
        self._started = self._done = False

    def start(self) -> Leaving:
        """Return what this side sends first.

        Raises:
            StateError: The session was started before.
        """
        self._start_once()
        return self._begin()

    def receive(self, arrived: Arriving, /) -> Leaving:
        """Take what comes next.

        Returns:
            The answer.

        Raises:
            ProtocolError: It is not acceptable. Then the session is over: its secrets are gone,
                and it answers nothing any more.
            StateError: Nothing is due: the session has not begun, or is over.
        """
        expect, self._expect = self._expect, None
        if expect is None:
            raise StateError("this session takes no message now: start a new one")
        return self._guarded(lambda: expect(arrived))

    def idle(self) -> None:
        """Do in advance what the next step needs, while the other sides are at work.

        Whoever carries the messages may call it once what this side sent is on its way. No message
        depends on whether it does.

        Raises:
            ProtocolError: What came before is not acceptable after all; as of `receive`.
        """
        if self._expect is not None:
            self._guarded(self._work_ahead)

    @property
    def done(self) -> bool:
        """Whether the session ended well."""
        return self._done

    # -- for the code that carries the messages ------------------------------------------------

    def between(self, peer: int, own: str, theirs: str) -> None:
        """Take note of who this side and another one are, before the start.

        Sessions between two are bound to it: what is said in one is nothing in another, between
        others. Within one process nobody needs to say it. Both sides do, or neither.

        Args:
            peer: The other party's number (between two: 0).
            own: The fingerprint of this side's certificate.
            theirs: That of the other's.

        Raises:
            StateError: The session was started before.
        """

    def first_round(self) -> Round:
        """Return what `start` returns, by recipient."""
        raise NotImplementedError

    def next_round(self, arrived: Round) -> Round:
        """Return what `receive` returns, by recipient, for messages by sender."""
        raise NotImplementedError

    @property
    def awaited(self) -> Sequence[int]:
        """The numbers of those whose messages make the next round."""
        raise NotImplementedError

    def longest_from(self, peer: int) -> int:
        """Return what the next message of a party can measure at most, in bytes."""
        raise NotImplementedError

    def take_speed(self, peer: int, megabits: float) -> None:
        """Take note how fast a message arrived that is about to be taken; nothing by default.

        Args:
            peer: The number of the party that sent it.
            megabits: What the line carries a second, in 10^6 bits. The other side can make it less.
        """

    # -- for a subclass to define ----------------------------------------------------------------

    def _begin(self) -> Leaving:
        """Return the first message, or round of messages; set what to expect next."""
        raise NotImplementedError

    def _work_ahead(self) -> None:
        """Compute what `idle` is for; nothing by default."""

    def _forget(self) -> None:
        """Drop every secret of the session."""

    def _guarded(self, step: Callable[[], _Result]) -> _Result:
        """Return what a step returns; an error ends the session."""
        before = sys.exception()
        try:
            return step()
        except BaseException as error:
            self._expect = None
            self._forget()
            _clear_frames(error, before)
            raise

    def _require_new(self) -> None:
        # One that only answers may be done without a start: its result is of another session.
        if self._started or self._done:
            raise StateError("this session was started before: start a new one")

    def _start_once(self) -> None:
        self._require_new()
        self._started = True

    def _end(self) -> None:
        self._forget()
        self._done = True

    def _require_done(self) -> None:
        if not self._done:
            raise StateError("the session is not done: there is no result")

    def __reduce__(self) -> Never:
        raise TypeError("a session holds secrets and is not pickled")


AnyConversation: TypeAlias = Conversation[Any, Any]


class Dialogue(Conversation[bytes, bytes | None]):
    """A conversation between two: one speaks first, and each message answers the one before.

    `start` returns that first message, and None at the other side. `receive` returns the answer,
    and None at the end.
    """

    speaks_first: ClassVar[bool]

    @property
    def longest_message(self) -> int:
        """What the other side's next message can measure at most, in bytes."""
        raise NotImplementedError

    def start(self) -> bytes | None:
        """Return the session's first message, if this side speaks first.

        Raises:
            StateError: The session was started before.
        """
        if self.speaks_first:
            return super().start()
        self._start_once()
        return None

    def first_round(self) -> Round:
        """Return what `start` returns, as a round."""
        return self._to_peer(self.start())

    def next_round(self, arrived: Round) -> Round:
        """Return what `receive` returns, as a round."""
        return self._to_peer(self.receive(arrived[PEER]))

    @property
    def awaited(self) -> Sequence[int]:
        """The other side, always."""
        return (PEER,)

    def longest_from(self, peer: int) -> int:
        """Return `longest_message`."""
        return self.longest_message

    @staticmethod
    def _to_peer(message: bytes | None) -> Round:
        return {} if message is None else {PEER: message}


class Assembly(Conversation[Mapping[int, bytes], Round]):
    """A conversation of many in rounds: each takes one message of each party that is due."""

    _others: list[int]

    @property
    def expects(self) -> list[int]:
        """The numbers of those whose messages make the next round."""
        return list(self._others)

    def longest_message(self, sender: int) -> int:
        """Return what the next message of a party can measure at most, in bytes."""
        raise NotImplementedError

    def first_round(self) -> Round:
        """Return what `start` returns."""
        return self.start()

    def next_round(self, arrived: Round) -> Round:
        """Return what `receive` returns."""
        return self.receive(arrived)

    @property
    def awaited(self) -> Sequence[int]:
        """The same as `expects`."""
        return self.expects

    def longest_from(self, peer: int) -> int:
        """Return what `longest_message` returns."""
        return self.longest_message(peer)

    def _expect_from(self, messages: Mapping[int, bytes], senders: list[int]) -> None:
        if sorted(messages) != senders:
            raise StateError(f"this round takes one message each of the parties {senders}")


class SetConversation(Conversation[Arriving, Leaving]):
    """A conversation about a set: which of its items the other sides have, too."""

    counted_as: str = "as many as it can test if it cheats"
    """What the number that `most_asked` gives is, for the line that says it."""

    reason: str = ""
    """Why this protocol was chosen; empty if somebody named it, or it is not chosen yet."""

    _no_result: ClassVar[str] = "the settings give the result to the receiver only"

    def __init__(
        self,
        items: Sequence[bytes],
        parameters: SessionParameters,
        *,
        max_peer_items: int = MAX_PEER_ITEMS,
        progress: Progress | None = None,
    ) -> None:
        """Prepare one side.

        Args:
            items: This side's set: distinct byte strings, padded or not.
            parameters: What all sides must choose alike.
            max_peer_items: The most items that another side may be able to test (`most_asked`).
            progress: Called with a stage, the items done and their number while it works.

        Raises:
            ConfigError: Items repeat.
        """
        super().__init__(progress)
        # TextKeys are distinct by construction; a set of millions would take gigabytes.
        if not isinstance(items, TextKeys) and len(set(items)) != len(items):
            raise ConfigError("items repeat: pass each one once")
        self._items = items
        self._parameters = parameters
        self._max_peer_items = max_peer_items
        self._charge: Callable[[int, int], None] = lambda peer, items: None
        self._identity = b""
        self._found: NDArray[np.intp] | None = None
        self._peer_counts: NDArray[np.intp] | None = None

    def charge_with(self, charge: Callable[[int, int], None]) -> None:
        """Let the other sides' items be counted before anything but sizes is sent (`psi.ledger`).

        Args:
            charge: Called with the number of each other party (between two: 0) and how many items
                it can test (`most_asked`); an exception of it ends the session.
        """
        self._charge = charge

    @staticmethod
    def most_asked(peer: int, announced: int) -> int:
        """Return how many items another side is counted for in a session.

        Every limit counts this. It is what was announced, where a protocol does not say otherwise;
        `counted_as` says what that holds against a side that cheats.

        Args:
            peer: The other party's number (between two: 0).
            announced: The size of the set that it announces.
        """
        return announced

    def tested_by(self, peer: int, announced: int) -> int:
        """Return `most_asked`, or more where this side's own set makes it more."""
        return self.most_asked(peer, announced)

    @property
    def cost(self) -> SessionCost:
        """What the session costs each ID of this side, if all follow the protocol."""
        return EXACT

    @property
    def matches(self) -> NDArray[np.intp]:
        """Indices of this side's items that the other sides have, too, in an order common to all.

        Raises:
            StateError: The session is not done, or the settings give this side no result.
        """
        self._require_done()
        if self._found is None:
            raise StateError(self._no_result)
        return self._found

    @property
    def peer_counts(self) -> NDArray[np.intp] | None:
        """How often the other side has each of `matches`; None without `multiplicities`.

        Raises:
            StateError: The session is not done.
        """
        self._require_done()
        return self._peer_counts

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self._items)} items)"

    @property
    def _both(self) -> bool:
        """Whether all sides get the result."""
        return self._parameters.output == "both"

    @property
    def _own_items(self) -> int:
        """The number of items that are no dummies."""
        return self._items.own if isinstance(self._items, PaddedItems) else len(self._items)

    def _check_hello(
        self, who: str, fingerprint: bytes | memoryview, count: int, peer: int = PEER
    ) -> None:
        """Compare another side's settings with this one's, and its size with what is allowed."""
        if fingerprint != self._parameters.fingerprint():
            raise ParameterMismatchError(
                f"{who} chose other settings than this side's {self._parameters}: "
                "agree on output, columns and normalisation and start again"
            )
        asked = self.tested_by(peer, count)
        if asked > self._max_peer_items:
            testing = "" if asked == count else f" and could test {asked} with them"
            raise SizeLimitError(
                f"{who} brings {count} items{testing}, this side allows {self._max_peer_items}: "
                "raise max_peer_items if that is expected"
            )

    def _end(self) -> None:
        self._refuse_dummies()
        super()._end()

    def _refuse_dummies(self) -> None:
        if self._found is not None and np.any(self._found >= self._own_items):
            raise DecodeError("dummies of this side are claimed to be in the other's set")


def _clear_frames(error: BaseException | None, before: BaseException | None) -> None:
    """Drop the local variables that an exception and those it came of keep: some are secrets.

    Args:
        error: The exception.
        before: What was handled before any of them, and is not ours.
    """
    while error is not None and error is not before:
        traceback.clear_frames(error.__traceback__)
        error = error.__context__
