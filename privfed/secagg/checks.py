"""Checks of arguments that several roles take."""

import numpy as np

from privfed.errors import ConfigError, ContextMismatchError
from privfed.he.keys import SecretKey
from privfed.secagg.parameters import Parameters

MAX_ROUND = 2**64 - 1


def check_key(params: Parameters, key: SecretKey) -> None:
    """Refuse a key of other parameters.

    Raises:
        ConfigError: what was given is no secret key.
        ContextMismatchError: the key was made for other parameters.
    """
    if not isinstance(key, SecretKey):
        raise ConfigError("the key must come from generate_keys() or SecretKey.load()")
    if key.context != params.fingerprint:
        raise ContextMismatchError("the key was made for other parameters")


def check_round(round_id: int) -> int:
    """Return a valid round number.

    Raises:
        ConfigError: it is no whole number from 0 to 2^64 - 1.
    """
    if isinstance(round_id, bool) or not isinstance(round_id, int | np.integer):
        raise ConfigError("round_id must be a whole number")
    if not 0 <= round_id <= MAX_ROUND:
        raise ConfigError("round_id must be 0 to 2^64 - 1")
    return int(round_id)
