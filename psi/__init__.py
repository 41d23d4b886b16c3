"""Private set intersection: align rows without revealing the others."""

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
