"""Private set intersection: align rows without revealing the others."""

from psi.alignment import Alignment, align
from psi.cardinality import CardinalityReceiver, CardinalitySender
from psi.ecdh import Receiver, Sender
from psi.errors import (
    ConfigError,
    DeadlineError,
    DecodeError,
    DuplicateIDError,
    InvalidPointError,
    KeyConfirmationError,
    ParameterMismatchError,
    PeerRefusedError,
    ProtocolError,
    PSIError,
    RepeatedElementError,
    SizeLimitError,
    StateError,
    TranscriptError,
    TransportError,
    VersionError,
)
from psi.session import Parameters

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
    "PSIError",
    "ParameterMismatchError",
    "Parameters",
    "PeerRefusedError",
    "ProtocolError",
    "Receiver",
    "RepeatedElementError",
    "Sender",
    "SizeLimitError",
    "StateError",
    "TranscriptError",
    "TransportError",
    "VersionError",
    "align",
]
