"""Who a party is in a run, signed by its identity: place, run, start, history, epoch key, nonce.

Each party checks those of all that it masks with (of its group, or of the cohort) before its first
upload of a run. So a server that swaps parties, shows them different models to start from, or hands
on hellos of another run is refused by whoever reads the first of them: a model of its own for each
party is how a server reads single updates out of sums (Pasquini, Francati, Ateniese, Eluding Secure
Aggregation in Federated Learning via Model Inconsistency, CCS 2022, arXiv 2111.07380). Signed
ephemeral keys as in SIGMA (Krawczyk, CRYPTO 2003); an earlier hello of the same run only breaks the
round, since the key that it brings is gone (`privfed.secagg.epochs`).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from typing import Annotated, Literal

import msgspec

from privfed.errors import (
    AuthenticationError,
    ContextMismatchError,
    DecodeError,
    QuorumError,
    ReplayError,
)
from privfed.integrations.messages import MAX_ROUND, Travels
from privfed.keys import SIGNATURE_BYTES, Identity
from privfed.secagg import Parameters

_DOMAIN = b"privfed/1/embedded hello\x00"
_PLACE = struct.Struct("<H")
MOST_BYTES = 1024
NONCE_BYTES = 16

_Digest = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
_Round = Annotated[int, msgspec.Meta(ge=0, le=MAX_ROUND)]


class Hello(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a party signs.

    Attributes:
        version: This format's.
        parameters: Fingerprint of the parameters.
        key_id: The shared key's id.
        run: Names the run, as the party's own engine says it.
        start: Digest of what the run starts from.
        travels: What uploads hold.
        first_round: The run's first round.
        opened: The last round that the party opened.
        transcript: That round's; empty where there is none, or the server is trusted.
        model: In a run that resumes, what stands for the party's model; only the parties can
            make it. Empty in one that begins with a model that is sent.
        nonce: Fresh.
        epoch: What `Party.start_epoch` returned; empty without masks.
    """

    version: Literal[1]
    parameters: _Digest
    key_id: Annotated[bytes, msgspec.Meta(max_length=32)]
    run: Annotated[str, msgspec.Meta(max_length=200)]
    start: _Digest
    travels: Travels
    first_round: _Round
    opened: _Round
    transcript: Annotated[bytes, msgspec.Meta(max_length=32)]
    model: Annotated[bytes, msgspec.Meta(max_length=32)]
    nonce: Annotated[bytes, msgspec.Meta(min_length=NONCE_BYTES, max_length=NONCE_BYTES)]
    epoch: Annotated[bytes, msgspec.Meta(max_length=512)]

    def signed(self, place: int, identity: Identity) -> bytes:
        """Return the bytes that others read."""
        body = _PLACE.pack(place) + msgspec.msgpack.encode(self)
        return body + identity.sign(_DOMAIN + body)


def read_hello(data: bytes, params: Parameters) -> tuple[int, Hello]:
    """Return the place of the party that signed a hello, and the hello.

    Raises:
        AuthenticationError: Its sender did not sign it, or is not on the roster.
        DecodeError: It is none.
        ContextMismatchError: Its sender has other parameters.
    """
    least = _PLACE.size + SIGNATURE_BYTES
    if not least < len(data) <= MOST_BYTES:
        raise DecodeError("these bytes are no hello of a party: install the same privfed at all")
    body, signature = data[:-SIGNATURE_BYTES], data[-SIGNATURE_BYTES:]
    (place,) = _PLACE.unpack_from(body)
    if place >= len(params.roster):
        raise AuthenticationError("a hello's sender is not on the roster")
    params.roster[place].verify(signature, _DOMAIN + body)
    try:
        hello = msgspec.msgpack.decode(body[_PLACE.size :], type=Hello)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        raise DecodeError("these bytes are no hello: install the same privfed at all") from None
    if hello.parameters != params.fingerprint:
        raise ContextMismatchError(
            f"party {params.roster[place].id} has other parameters: all take the same file"
        )
    return place, hello


def check_alike(params: Parameters, hellos: Mapping[int, Hello]) -> None:
    """Refuse hellos of parties that would not make one round.

    Raises:
        ContextMismatchError: They differ in what all must have alike; says in what, and whose.
    """
    first_place, first = next(iter(hellos.items()))
    alike = dict(_ALIKE)
    if not params.assumed.lies and first.travels == "weights":  # a mean alone is the model
        del alike["opened"]
    for place, each in hellos.items():
        for name, what in alike.items():
            if getattr(each, name) != getattr(first, name):
                here, there = params.roster[first_place].id, params.roster[place].id
                raise ContextMismatchError(f"parties {here} and {there} have {what}")


_ALIKE = {
    "key_id": "different shared keys: one hands its key out anew, the others accept it",
    "run": "hellos of different runs: the server mixes them up",
    "start": "been shown different models to start from",
    "travels": "settings of what travels (weights, updates or shares) that differ",
    "first_round": "different numbers of the first round",
    "opened": (
        "opened different rounds before: resume from the checkpoint of the later one, or begin "
        "anew under a new key"
    ),
    "transcript": (
        "opened different totals of the last round: the server sent different ones; begin anew "
        "under a new key"
    ),
    "model": "different models to go on from: begin with an initial model",
}


def met(
    params: Parameters, place: int, own: bytes, others: Iterable[bytes], together: set[int]
) -> dict[int, Hello]:
    """Return the hellos of those that a party goes into a run with, all alike.

    Args:
        params: What all parties agreed on.
        place: This party's.
        own: Its own hello.
        others: All that the server handed on.
        together: Those who must be among them: whom the party masks with, if it trains.

    Raises:
        AuthenticationError: A hello's sender did not sign it.
        DecodeError: One is none.
        ContextMismatchError: They differ.
        ReplayError: A party has two, or this party's is an earlier one.
        QuorumError: One of these is missing, or there are too few.
    """
    found: dict[int, Hello] = {}
    for data in others:
        sender, hello = read_hello(data, params)
        if sender == place and data != own:
            raise ReplayError("the hellos hold an earlier one of this party's")
        if found.setdefault(sender, hello) != hello:
            raise ReplayError(f"party {params.roster[sender].id} has two hellos in a run")
    found.setdefault(place, read_hello(own, params)[1])
    missing = sorted(together - found.keys())
    if missing:
        raise QuorumError(f"party {params.roster[missing[0]].id} has not said hello")
    if not (params.groups and together) and len(found) < params.quorum:
        raise QuorumError(f"{len(found)} parties said hello; a round needs {params.quorum}")
    check_alike(params, found)
    return found
