"""Private set intersection: align rows without revealing the others."""

from psi.alignment import Alignment, align
from psi.ecdh import Receiver, Sender
from psi.errors import (
    ConfigError,
    DecodeError,
    DuplicateIDError,
    InvalidPointError,
    KeyConfirmationError,
    ParameterMismatchError,
    ProtocolError,
    PSIError,
    RepeatedElementError,
    SizeLimitError,
    StateError,
    TranscriptError,
    VersionError,
)
from psi.session import Parameters

__all__ = [
    "Alignment",
    "ConfigError",
    "DecodeError",
    "DuplicateIDError",
    "InvalidPointError",
    "KeyConfirmationError",
    "PSIError",
    "ParameterMismatchError",
    "Parameters",
    "ProtocolError",
    "Receiver",
    "RepeatedElementError",
    "Sender",
    "SizeLimitError",
    "StateError",
    "TranscriptError",
    "VersionError",
    "align",
]
