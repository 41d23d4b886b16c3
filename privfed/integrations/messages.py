"""What passes between the parties and the server of an engine: MessagePack by its type.

The server asks, a party answers. Nothing that protects a party rests on what the server asks:
uploads and hellos are signed, totals open or do not.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import msgspec

from privfed.errors import DecodeError

Travels = Literal["weights", "updates", "shares"]
"""Whole weights; differences to the model before; clipped differences with shares of the noise."""

Purpose = Literal["train", "open", "evaluate", "finish"]

MAX_ROUND = (1 << 63) - 1
MOST_AHEAD = 1 << 16
"""Rounds that a server may skip at once: the numbers of a key must not end in a moment."""
MOST_REASON = 60
MOST_BYTES = 1 << 25
"""Of a message: parameters are half of it at most, and so are hellos of a full roster."""

_Digest = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
_Place = Annotated[int, msgspec.Meta(ge=0, lt=1 << 16)]
_Round = Annotated[int, msgspec.Meta(ge=0, le=MAX_ROUND)]


class PastRound(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A round whose total goes along, or its RESULT, which others opened.

    Attributes:
        round_id: Its round.
        cohort: Where rounds name their parties, their roster places.
    """

    round_id: _Round
    cohort: tuple[_Place, ...] | None = None


class Greet(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="greet"):
    """The server asks who a party is, before its first round of a run.

    Attributes:
        start: Digest of what the run starts from: `digest_of_model`, or a total's.
        first_round: The first round of the run; None: the one after the party's last.
        known: Fingerprint of the parameters that the server has; empty: none.
        totals: The checkpoint that a run resumes from, which goes along.
    """

    start: _Digest
    first_round: _Round | None = None
    known: Annotated[bytes, msgspec.Meta(max_length=32)] = b""
    totals: tuple[PastRound, ...] = ()


class Assignment(
    msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="assignment"
):
    """The server asks for an update, for a RESULT, for figures of the model, or for nothing more.

    Attributes:
        purpose: Which of them; "open" asks for the RESULT.
        round_id: The round of the update, or of the RESULT; else 0.
        cohort: Where rounds name their parties, their roster places.
        totals: What goes along, in their order: all that the party has not opened.
        hellos: Those of the parties that it has not entered a run with.
    """

    purpose: Purpose
    round_id: _Round = 0
    cohort: tuple[_Place, ...] | None = None
    totals: tuple[PastRound, ...] = ()
    hellos: tuple[bytes, ...] = ()


class Present(
    msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="present"
):
    """A party says who it is.

    Attributes:
        hello: What it signed; see `privfed.integrations.hello`.
        parameters: `Parameters.to_bytes()`, where the server has others or none.
    """

    hello: bytes
    parameters: bytes = b""


class Done(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="done"):
    """A party has done what was asked; an update, or a RESULT, goes beside it.

    Attributes:
        opened: The last round whose total it opened.
    """

    opened: _Round


class Refused(
    msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="refused"
):
    """A party does not go on. Why stands in its own log.

    Attributes:
        reason: The name of an error of privfed.
    """

    reason: Annotated[str, msgspec.Meta(max_length=MOST_REASON)]


@dataclass(frozen=True)
class Packet:
    """What one node is asked.

    Attributes:
        ask: The bytes of the question.
        totals: The totals or RESULTs that go along, by round.
        initial: Whether the initial model goes along.
    """

    ask: bytes
    totals: tuple[bytes, ...] = field(default=(), repr=False)
    initial: bool = False


def encode(message: msgspec.Struct) -> bytes:
    """Return a message as bytes."""
    return msgspec.msgpack.encode(message)


def read_ask(data: bytes) -> Greet | Assignment:
    """Return what a server asks.

    Raises:
        DecodeError: It is nothing of the kind.
    """
    ask: Greet | Assignment = _decoded(data, Greet | Assignment)
    return ask


def read_answer(data: bytes) -> Present | Done | Refused:
    """Return what a party answers.

    Raises:
        DecodeError: It is nothing of the kind.
    """
    answer: Present | Done | Refused = _decoded(data, Present | Done | Refused)
    return answer


def _decoded(data: bytes, kind: Any) -> Any:
    try:
        if len(data) > MOST_BYTES:
            raise ValueError
        return msgspec.msgpack.decode(data, type=kind)
    except (msgspec.MsgspecError, RecursionError, ValueError, TypeError):
        raise DecodeError(
            "these bytes are no message between a party and a server: install the same privfed "
            "at all of them"
        ) from None
