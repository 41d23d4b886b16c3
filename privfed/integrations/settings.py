"""What a party's operator sets, in whatever engine: whose keys, and which metrics may leave."""

from __future__ import annotations

from pathlib import Path

from privfed.errors import ConfigError
from privfed.integrations.messages import Travels
from privfed.integrations.party import EmbeddedParty
from psi.storage import read_passphrase


def party_in(
    keys: str, name: str, passphrase_file: str | None, run: str, travels: Travels
) -> EmbeddedParty:
    """Return the party of a node.

    Args:
        keys: Its keyring folder; or, in a simulation, a folder of such by name.
        name: How its engine calls it there.
        passphrase_file: A file whose first line locks the keyring; None or empty: it is unlocked.
        run: As for `EmbeddedParty`.
        travels: As for `EmbeddedParty`.

    Raises:
        ConfigError: There is no such keyring or file, or another process uses it.
        AuthenticationError: The passphrase is wrong or a file was altered.
        ContextMismatchError: The keyring's parameters are another plan's.
    """
    folder = Path(keys).expanduser()
    if name and (folder / name / "identity.key").is_file():
        folder /= name
    passphrase = None
    if passphrase_file:
        passphrase = read_passphrase(Path(passphrase_file).expanduser(), refusal=ConfigError)
    return EmbeddedParty(folder, run, passphrase, travels=travels)


def names_in(text: str) -> set[str]:
    """Return the names in a setting, which stand with commas."""
    return {each.strip() for each in text.split(",")} - {""}


def weight_of(value: object) -> int | None:
    """Return how much a party counts, by what its application says; None if it does not.

    Raises:
        ConfigError: It is no whole number.
    """
    if value is None:
        return None
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return int(value)
    raise ConfigError("a party counts by a whole number, such as its rows")
