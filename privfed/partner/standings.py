"""What the parties of a session say of themselves, each under its signature."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated

import msgspec

from privfed.errors import AuthenticationError, ConfigError
from privfed.keys import Identity
from privfed.partner.messages import Topic, decode
from privfed.partner.plan import Plan

_Round = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]

ToAll = Callable[[Topic, bytes], Sequence[bytes]]
"""Sends bytes to all under a topic, and returns those of all, in the plan's order."""


class Standing(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """How far a party is: rounds finished, the last number used, an update at hand, its key.

    And what its model hashes to: all go on from one.
    """

    finished: _Round
    last: _Round
    pending: _Round
    key: str
    weights: str


class _Signed(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a party says, and its signature of that, the topic, the session and the plan."""

    said: bytes
    signature: bytes


def signed_exchange(plan: Plan, identity: Identity, to_all: ToAll, session: bytes) -> ToAll:
    """Return a way to say something to all others in one session: each signs what it says.

    It raises an AuthenticationError where a party did not sign what it is to have said.
    """
    place = plan.roster().index(identity.public)

    def exchange(topic: Topic, said: bytes) -> list[bytes]:
        fresh, found = session + topic.encode() + b"\x00", list[bytes]()
        signed = _Signed(said, plan.sign(identity, fresh, said))
        for sender, body in enumerate(to_all(topic, msgspec.msgpack.encode(signed))):
            theirs = decode(body, _Signed)
            plan.verify(sender, theirs.signature, fresh, theirs.said)
            found.append(theirs.said)
        if found[place] != said:
            raise AuthenticationError("the server changed what this party said")
        return found

    return exchange


def check_models(plan: Plan, place: int, standings: Sequence[Standing]) -> None:
    """Check that who is equally far as a party has the same model.

    Raises:
        ConfigError: Somebody has another.
    """
    own = standings[place]
    for party, each in zip(plan.parties, standings, strict=True):
        if each.finished == own.finished and each.weights != own.weights:
            raise ConfigError(
                f"after {own.finished} rounds {party.name} has another model than this party: "
                "one of their folders was changed, or they were shown two sums of a round; begin "
                "anew under another job name"
            )
