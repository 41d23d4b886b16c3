"""Files that `privfed keys` is given: parameters, and the certificates of parties."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from privfed.errors import AuthenticationError, ConfigError, DecodeError

if TYPE_CHECKING:
    from privfed.secagg import Parameters, PublicIdentity

_CERTIFICATES = "*.crt"


def read_params(path: Path) -> Parameters:
    """Return the parameters in a file.

    Raises:
        ConfigError: It cannot be read.
        DecodeError: It is none of parameters.
    """
    from privfed.secagg import Parameters

    with named_file(path):
        return Parameters.from_bytes(read_file(path))


def read_file(path: Path) -> bytes:
    """Return a file's bytes.

    Raises:
        ConfigError: It cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None


@contextlib.contextmanager
def named_file(path: Path) -> Iterator[None]:
    """Say which file it is that cannot be decoded.

    Raises:
        DecodeError: As it was raised, with the file's name.
    """
    try:
        yield
    except DecodeError as error:
        raise DecodeError(f"{path}: {error}") from None


def parties_in(given: Iterable[Path]) -> dict[str, tuple[Path, PublicIdentity]]:
    """Return who the certificates are of, by id in rising order, and the file of each."""
    from privfed.secagg import PublicIdentity
    from psi.network.certificates import check_dates, one_certificate

    found: dict[str, tuple[Path, PublicIdentity]] = {}
    for path in _files(given):
        pem = read_file(path)
        try:
            party = PublicIdentity.from_certificate(pem)
        except (DecodeError, AuthenticationError) as error:
            raise type(error)(f"{path}: {error}") from None
        check_dates(one_certificate(pem, str(path)), str(path), own=False)
        if party.id in found:
            raise ConfigError(
                f"{found[party.id][0]} and {path} are of one party, {party.id}: give one of them"
            )
        found[party.id] = path, party
    return dict(sorted(found.items()))


def _files(given: Iterable[Path]) -> list[Path]:
    """Return certificates, with those in folders in the place of the folders."""
    found: list[Path] = []
    for path in given:
        within = sorted(path.glob(_CERTIFICATES)) if path.is_dir() else [path]
        if not within:
            raise ConfigError(f"there is no certificate ({_CERTIFICATES}) in {path}")
        found += within
    return found
