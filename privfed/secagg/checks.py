"""Checks of arguments that several roles take."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from privfed.errors import ConfigError, ContextMismatchError
from privfed.keys import Identity, SecretKey
from privfed.secagg.parameters import Parameters
from privfed.secagg.wire import MARK_BYTES, MARKS


def check_key(params: Parameters, key: SecretKey) -> None:
    """Refuse a key of other parameters.

    Raises:
        ConfigError: These are no parameters, or this is no secret key.
        ContextMismatchError: The key was made for other parameters.
    """
    check_params(params)
    if not isinstance(key, SecretKey):
        raise ConfigError("the key must come from generate_keys() or SecretKey.load()")
    if key.context != params.fingerprint:
        raise ContextMismatchError("the key was made for other parameters")


def check_identity(identity: Identity) -> Identity:
    """Return a party's own identity.

    Raises:
        ConfigError: It is no identity; the public half alone is not enough.
    """
    if not isinstance(identity, Identity):
        raise ConfigError(
            "the identity is a party's own, from generate_identity() or Identity.load(); its "
            "public half goes on the roster"
        )
    return identity


def check_marks(failed: Sequence[bytes]) -> tuple[bytes, ...]:
    """Return marks of totals that did not decrypt.

    Raises:
        ConfigError: They are no `Decryptor.failed`.
    """
    if (
        not isinstance(failed, Sequence)
        or len(failed) > MARKS
        or not all(isinstance(mark, bytes) and len(mark) == MARK_BYTES for mark in failed)
    ):
        raise ConfigError("failed is what Decryptor.failed says: at most 3 marks of 8 bytes")
    return tuple(failed)


def check_params(params: Parameters) -> Parameters:
    """Return public parameters.

    Raises:
        ConfigError: They are no parameters.
    """
    if not isinstance(params, Parameters):
        raise ConfigError("params are the Parameters that all parties agreed on, as an object")
    return params


def file_of(state: Path | Literal["memory"]) -> Path | None:
    """Return where a state lies; None in memory.

    Raises:
        ConfigError: It is neither a path nor "memory".
    """
    if isinstance(state, str) and state == "memory":
        return None
    if not isinstance(state, Path):
        raise ConfigError(
            "state is a pathlib.Path, such as Path('state.json'), or 'memory' for a simulation "
            "that may forget its rounds"
        )
    return state


def absolute_folder(folder: Path) -> Path:
    """Return the name of a folder, which stays the same wherever the process goes.

    Raises:
        ConfigError: It is no path.
    """
    if not isinstance(folder, Path):
        raise ConfigError("a folder is a pathlib.Path, such as Path('state')")
    return folder.absolute()
