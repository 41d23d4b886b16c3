"""Checks of arguments that several roles take."""

from pathlib import Path

from privfed.errors import ConfigError, ContextMismatchError
from privfed.keys import Identity, SecretKey
from privfed.secagg.parameters import Parameters


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


def check_params(params: Parameters) -> Parameters:
    """Return public parameters.

    Raises:
        ConfigError: They are no parameters.
    """
    if not isinstance(params, Parameters):
        raise ConfigError("params are the Parameters that all parties agreed on, as an object")
    return params


def absolute_folder(folder: Path) -> Path:
    """Return the name of a folder, which stays the same wherever the process goes.

    Raises:
        ConfigError: It is no path.
    """
    if not isinstance(folder, Path):
        raise ConfigError("a folder is a pathlib.Path, such as Path('state')")
    return folder.absolute()
