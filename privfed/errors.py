"""Every exception privfed raises on purpose, and its three warnings: of privacy, tables, precision.

PrivFedError
├── ConfigError (also ValueError)   a setting or an input file is wrong; says what to change
│   └── LayoutError                 this SEAL is not the one that ciphertexts and keys are made for
├── DecodeError                     bytes are truncated, extended or not in our format
├── AuthenticationError             a signature, a sender or a decryption does not verify
├── ContextMismatchError            bytes belong to another key, parameter set, job or round
├── ReplayError                     a message, a total or a pool of zeros is used a second time
├── QuorumError                     too few distinct parties are in a round
├── PeerError                       another party or the server is missing, too slow or refuses
├── CapacityError                   the parameters cannot hold the values; says the remedy
├── BudgetExceededError             a round would spend more privacy than was granted
└── WorkerDiedError                 a worker process ended before its run did
"""


class PrivFedError(Exception):
    """Base of everything privfed raises on purpose."""


class ConfigError(PrivFedError, ValueError):
    """A setting or an input file is wrong; the message says what to change."""


class LayoutError(ConfigError):
    """This SEAL is not the one that the schemes were written for: install tenseal==0.3.18."""


class DecodeError(PrivFedError):
    """Bytes are truncated, extended or not in our format."""


class AuthenticationError(PrivFedError):
    """A signature, a sender or a decryption does not verify; says nothing else on purpose."""


class ContextMismatchError(PrivFedError):
    """Bytes belong to another key, parameter set, job or round."""


class ReplayError(PrivFedError):
    """A message, a total or a pool of zeros is used a second time."""


class QuorumError(PrivFedError):
    """Too few distinct parties are in a round."""


class PeerError(PrivFedError):
    """Another party or the server is missing, too slow or refuses; says who, and how to go on."""


class CapacityError(PrivFedError):
    """The parameters cannot hold the values; the message names the bound and the remedy."""


class BudgetExceededError(PrivFedError):
    """A round would spend more privacy than was granted."""


class WorkerDiedError(PrivFedError):
    """A worker process ended before its run did, as when memory ran out; says how to go on."""


class PrivacyWarning(UserWarning):
    """A privacy setting is allowed but promises little; the message says what to change."""


class TableWarning(UserWarning):
    """A table is used otherwise than it is written; the message says how, and what to change."""


class PrecisionWarning(UserWarning):
    """An array loses most of its precision to a range that does not fit it; names both."""
