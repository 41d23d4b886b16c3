"""Every exception psi raises on purpose, and its warning, `MissingValueWarning`.

PSIError
├── ConfigError (also ValueError)  a setting or an input table is wrong; says what to change
│   └── DuplicateIDError           an ID occurs more than once under the policy "error"
├── StoppedError                   this side was told to stop in the middle of a session
├── TransportError                 the other side is not reached, not proven, gone or too slow
│   ├── DeadlineError              it took longer than this side allows
│   └── PeerRefusedError           the other side stopped, and says by which error
└── ProtocolError                  what the other side sent is not acceptable
    ├── DecodeError                bytes are truncated, extended or not in our format
    ├── VersionError               the other side speaks another version of the protocol
    ├── StateError                 a message or a call out of turn, a second time, or too late
    ├── TranscriptError            bytes of another session (a replay), or changed on the way
    ├── ParameterMismatchError     the two sides chose different settings
    ├── SizeLimitError             the other side's set is larger than this side allows
    ├── QueryLimitError            the other side asks more than this side allows it under a key
    ├── MinimumError               fewer matches than the agreed minimum of a sum
    ├── InvalidPointError          no canonical encoding of an element other than the identity
    ├── RepeatedElementError       the same point or tag twice, or our own sent back to us
    └── KeyConfirmationError       the two sides do not hold the same session key
"""


class PSIError(Exception):
    """Base of everything psi raises on purpose."""


class ConfigError(PSIError, ValueError):
    """A setting or an input table is wrong; the message says what to change."""


class DuplicateIDError(ConfigError):
    """An ID occurs more than once under the policy "error"; names rows, never IDs."""


class StoppedError(PSIError):
    """This side was told to stop, by a signal; the message says what it was at."""

    def __init__(self, message: str = "this side was told to stop", *, status: int = 1) -> None:
        """Say what was going on, and with which exit status a program is to end."""
        super().__init__(message)
        self.status = status


class TransportError(PSIError):
    """The other side is not reached, does not prove who it is, or is gone."""


class DeadlineError(TransportError):
    """Waiting for the other side took longer than this side allows."""


class PeerRefusedError(TransportError):
    """The other side stopped, and says by which error; `reason` is its name."""

    def __init__(self, message: str, reason: str = "") -> None:
        """Say who stopped, and by which error."""
        super().__init__(message)
        self.reason = reason


class ProtocolError(PSIError):
    """What the other side sent is not acceptable."""


class DecodeError(ProtocolError):
    """Bytes are truncated, extended or not in our format."""


class VersionError(ProtocolError):
    """The other side speaks another version of the protocol."""


class StateError(ProtocolError):
    """A message or a call out of turn, a second time, or after a failure."""


class TranscriptError(ProtocolError):
    """Bytes belong to another session (a replay) or were changed on the way."""


class ParameterMismatchError(ProtocolError):
    """The two sides chose different settings."""


class SizeLimitError(ProtocolError):
    """The other side's set is larger than this side allows."""


class QueryLimitError(ProtocolError):
    """The other side has asked for as many items as this side allows it under one key."""


class MinimumError(ProtocolError):
    """There are fewer matches than the agreed minimum of a sum."""


class InvalidPointError(ProtocolError):
    """Bytes that are not the canonical encoding of a group element other than the identity."""


class RepeatedElementError(ProtocolError):
    """The same point or tag twice, or one of our own sent back to us."""


class KeyConfirmationError(ProtocolError):
    """The two sides do not hold the same session key; says nothing else on purpose."""


class MissingValueWarning(UserWarning):
    """IDs read like words for a missing value; the message says which, and what to do."""
