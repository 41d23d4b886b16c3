"""Between companies: certificates, and connections over gRPC with mutual TLS for conversations.

`listen` and `connect` (with many parties: `gather`) open a connection, over which conversations are
held one after another; `serve`, `join` and `meet` hold a single one. gRPC is imported only when one
of these is used.
"""

import importlib
from typing import TYPE_CHECKING, Any

from psi.network.certificates import (
    TLSIdentity,
    certify,
    create_identity,
    fingerprint,
    load_certificate,
)
from psi.network.links import Link, converse
from psi.network.roster import Participant, Roster
from psi.network.terms import Terms
from psi.protocols.conversation import Assembly, Conversation, Dialogue, Progress, Round
from psi.protocols.messages import FRAME_BYTES, Transcript

if TYPE_CHECKING:
    from psi.network.connections import Connection, Traffic, connect, join, listen, serve
    from psi.network.mesh import gather, meet

__all__ = [
    "FRAME_BYTES",
    "Assembly",
    "Connection",
    "Conversation",
    "Dialogue",
    "Link",
    "Participant",
    "Progress",
    "Roster",
    "Round",
    "TLSIdentity",
    "Terms",
    "Traffic",
    "Transcript",
    "certify",
    "connect",
    "converse",
    "create_identity",
    "fingerprint",
    "gather",
    "join",
    "listen",
    "load_certificate",
    "meet",
    "serve",
]

_BY_GRPC = {
    **dict.fromkeys(("Connection", "Traffic", "connect", "join", "listen", "serve"), "connections"),
    **dict.fromkeys(("gather", "meet"), "mesh"),
}


def __getattr__(name: str) -> Any:
    """Import what needs gRPC when it is first used."""
    if name not in _BY_GRPC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_BY_GRPC[name]}"), name)
