"""Private set intersection: align rows without revealing the others."""

import importlib
from typing import TYPE_CHECKING, Any

from psi.defaults import RELEASE
from psi.errors import (
    ConfigError,
    DeadlineError,
    DecodeError,
    DuplicateIDError,
    InvalidPointError,
    KeyConfirmationError,
    MinimumError,
    MissingValueWarning,
    ParameterMismatchError,
    PeerRefusedError,
    ProtocolError,
    PSIError,
    QueryLimitError,
    RepeatedElementError,
    SizeLimitError,
    StateError,
    StoppedError,
    TranscriptError,
    TransportError,
    VersionError,
)

if TYPE_CHECKING:
    from psi.protocols.cardinality import CardinalityReceiver, CardinalitySender
    from psi.protocols.ecdh import Receiver, Sender
    from psi.protocols.kmprt import Leader, Member
    from psi.protocols.noise import OwnNoise
    from psi.protocols.noisy import (
        NoisyCardinalityReceiver,
        NoisyCardinalitySender,
        NoisySumReceiver,
        NoisySumSender,
    )
    from psi.protocols.padding import padded
    from psi.protocols.parameters import SessionParameters
    from psi.protocols.private_ids import PrivateIDReceiver, PrivateIDSender
    from psi.protocols.sums import SumParameters, SumReceiver, SumSender
    from psi.protocols.unbalanced import UnbalancedReceiver, UnbalancedSender
    from psi.sessions.alignment import Alignment, align
    from psi.sessions.tagstore import TagStore

__version__ = RELEASE

# Loaded when they are asked for: who needs a room of this package does not wait for all others.
_PLACES = {
    "CardinalityReceiver": "psi.protocols.cardinality",
    "CardinalitySender": "psi.protocols.cardinality",
    "Receiver": "psi.protocols.ecdh",
    "Sender": "psi.protocols.ecdh",
    "Leader": "psi.protocols.kmprt",
    "Member": "psi.protocols.kmprt",
    "OwnNoise": "psi.protocols.noise",
    "NoisyCardinalityReceiver": "psi.protocols.noisy",
    "NoisyCardinalitySender": "psi.protocols.noisy",
    "NoisySumReceiver": "psi.protocols.noisy",
    "NoisySumSender": "psi.protocols.noisy",
    "padded": "psi.protocols.padding",
    "SessionParameters": "psi.protocols.parameters",
    "PrivateIDReceiver": "psi.protocols.private_ids",
    "PrivateIDSender": "psi.protocols.private_ids",
    "SumParameters": "psi.protocols.sums",
    "SumReceiver": "psi.protocols.sums",
    "SumSender": "psi.protocols.sums",
    "UnbalancedReceiver": "psi.protocols.unbalanced",
    "UnbalancedSender": "psi.protocols.unbalanced",
    "Alignment": "psi.sessions.alignment",
    "align": "psi.sessions.alignment",
    "TagStore": "psi.sessions.tagstore",
}

__all__ = [
    "Alignment",
    "CardinalityReceiver",
    "CardinalitySender",
    "ConfigError",
    "DeadlineError",
    "DecodeError",
    "DuplicateIDError",
    "InvalidPointError",
    "KeyConfirmationError",
    "Leader",
    "Member",
    "MinimumError",
    "MissingValueWarning",
    "NoisyCardinalityReceiver",
    "NoisyCardinalitySender",
    "NoisySumReceiver",
    "NoisySumSender",
    "OwnNoise",
    "PSIError",
    "ParameterMismatchError",
    "PeerRefusedError",
    "PrivateIDReceiver",
    "PrivateIDSender",
    "ProtocolError",
    "QueryLimitError",
    "Receiver",
    "RepeatedElementError",
    "Sender",
    "SessionParameters",
    "SizeLimitError",
    "StateError",
    "StoppedError",
    "SumParameters",
    "SumReceiver",
    "SumSender",
    "TagStore",
    "TranscriptError",
    "TransportError",
    "UnbalancedReceiver",
    "UnbalancedSender",
    "VersionError",
    "align",
    "padded",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'psi' has no attribute {name!r}")
    found = globals()[name] = getattr(importlib.import_module(_PLACES[name]), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
