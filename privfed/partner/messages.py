"""What passes between a party and the server: MessagePack by its type, measured before it is read.

A party asks, the server answers; all else (updates, totals, sealed keys, signatures) are bytes that
the server passes on or adds. What parties say is signed by its sender, and sums open or do not: of
its own words a server is believed whom it waits for, and, with central noise, the noisy sum.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

import msgspec

from privfed.errors import DecodeError
from privfed.partner.plan import Plan
from privfed.secagg import Parameters
from privfed.secagg.parts import Parts
from privfed.secagg.wire import Kind as Sent

OVERHEAD_BYTES = 4096
"""The most that a question or an answer is longer than the bytes that it carries."""

Topic = Literal["overlap", "overlap kept", "standing", "sealed", "key", "total", "epoch", "done"]
"""What parties tell all others; only a total is as long as an update."""

_Place = Annotated[int, msgspec.Meta(ge=0, lt=1 << 16)]
_Nonce = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
_Session = Annotated[bytes, msgspec.Meta(max_length=32)]
_Reason = Annotated[str, msgspec.Meta(max_length=60)]
_Digest = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]

Kind = TypeVar("Kind")


class Join(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A party comes, or comes again: all begin a session together.

    Attributes:
        plan: The plan's fingerprint.
        nonce: Fresh for each try.
    """

    plan: _Digest
    nonce: _Nonce


class Post(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A party gives bytes to all, and waits for theirs.

    Attributes:
        session: Which one.
        topic: What they are about.
        body: The bytes.
    """

    session: _Session
    topic: Topic
    body: bytes


class RoundUpdate(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A party gives its update of a round, and waits for the total.

    Attributes:
        session: Which one.
        round_id: The round.
        body: What `privfed.secagg.Party.encrypt` returned.
    """

    session: _Session
    round_id: Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
    body: bytes


class Stop(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A party cannot go on; all others are told.

    Attributes:
        reason: The name of an error of privfed.
    """

    reason: _Reason


class Answer(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What the server says.

    Attributes:
        what: "all" (of all parties, `bodies` in their order; of a round, the total), "waiting"
            (for `places`; ask again), "again" (somebody left or came: begin a new session),
            "stopped" (the party of `places` did, for the reason), or "refused" (for the reason).
        bodies: The bytes of all.
        places: Whom it waits for.
        reason: The name of an error of privfed.
        process: In the answer to a join, names the server's process: another start has another.
    """

    what: Literal["all", "waiting", "again", "stopped", "refused"]
    bodies: tuple[bytes, ...] = ()
    places: tuple[_Place, ...] = ()
    reason: _Reason = ""
    process: Annotated[bytes, msgspec.Meta(max_length=16)] = b""


def encode(message: msgspec.Struct) -> bytes:
    """Return a message as bytes."""
    return msgspec.msgpack.encode(message)


def decode(data: bytes, kind: type[Kind]) -> Kind:
    """Return bytes as a message.

    Raises:
        DecodeError: They are none of this kind.
    """
    try:
        return msgspec.msgpack.decode(data, type=kind)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        raise DecodeError(
            f"these bytes are no {kind.__name__}: install the same privfed at all parties"
        ) from None


def longest(plan: Plan, params: Parameters) -> int:
    """Return the most bytes of a question or an answer: an update, a total, or a post of all."""
    senders, parts = len(params.roster), Parts(params)
    if plan.method == "central":
        most = 8 * params.layout.size
    else:
        update = sum(parts.message_bytes(part, Sent.UPLOAD) for part in parts.all)
        total = sum(parts.message_bytes(part, Sent.TOTAL, senders) for part in parts.all)
        most = max(update, total)
    return most + OVERHEAD_BYTES * (senders + 1)
