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
    TranscriptError,
    TransportError,
    TrustWarning,
    UnkeptLimitError,
    VersionError,
)
from psi.kmprt import Leader, Member
from psi.padding import padded
from psi.private_ids import PrivateIDReceiver, PrivateIDSender
from psi.session import Parameters
from psi.sums import SumParameters, SumReceiver, SumSender
from psi.tagstore import TagStore
from psi.unbalanced import UnbalancedReceiver, UnbalancedSender

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
    "PSIError",
    "ParameterMismatchError",
    "Parameters",
    "PeerRefusedError",
    "PrivateIDReceiver",
    "PrivateIDSender",
    "ProtocolError",
    "QueryLimitError",
    "Receiver",
    "RepeatedElementError",
    "Sender",
    "SizeLimitError",
    "StateError",
    "SumParameters",
    "SumReceiver",
    "SumSender",
    "TagStore",
    "TranscriptError",
    "TransportError",
    "TrustWarning",
    "UnbalancedReceiver",
    "UnbalancedSender",
    "UnkeptLimitError",
    "VersionError",
    "align",
    "padded",
]
