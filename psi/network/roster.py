"""Who takes part in a session of three and more: one TOML file, the same at every party.

    [alice]                             # the first leads
    address = "alice.example:7788"      # where she listens; the last party needs none
    certificate = "alice.crt"           # beside this file, or a path from it

    [bob]
    ...

The order matters: a party listens for those below it and connects to those above.
"""

import hashlib
import tomllib
from dataclasses import dataclass
from pathlib import Path

from psi.errors import ConfigError
from psi.network.certificates import fingerprint, load_certificate

__all__ = ["Participant", "Roster"]

_FIELDS = {"address", "certificate"}


@dataclass(frozen=True)
class Participant:
    """One of the parties.

    Attributes:
        name: Its name.
        address: HOST:PORT where it listens; empty for one that does not.
        certificate: Its certificate, PEM.

    Raises:
        ConfigError: The name is no text of one line.
    """

    name: str
    address: str
    certificate: bytes

    def __post_init__(self) -> None:
        # It is shown on screens, and a line of what `Roster.digest` hashes.
        if not self.name or not self.name.isprintable():
            raise ConfigError(
                f"a party is named {self.name!a}: choose a name of characters that can be printed"
            )


@dataclass(frozen=True)
class Roster:
    """All parties in their order, of which the first leads.

    Attributes:
        parties: All parties, in order.
        files: The files that were read: the roster and the certificates.
    """

    parties: tuple[Participant, ...]
    files: tuple[Path, ...] = ()

    @classmethod
    def load(cls, path: Path) -> "Roster":
        """Return the roster in a file, with the certificates that it names.

        Raises:
            ConfigError: The file cannot be read or is no roster, or does not name at least three
                parties with a certificate each.
        """
        try:
            content = tomllib.loads(path.read_text("utf-8"))
        except OSError as error:
            raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise ConfigError(f"{path} is no TOML file: {error}") from error
        parties, files = [], [path]
        for name, entry in content.items():
            known = isinstance(entry, dict) and {"certificate"} <= entry.keys() <= _FIELDS
            if not known or not all(isinstance(value, str) for value in entry.values()):
                raise ConfigError(
                    f"{path}, {name}: a party has a certificate and an address, each a text"
                )
            files.append(path.parent / entry["certificate"])
            certificate = load_certificate(files[-1])
            parties.append(Participant(name, entry.get("address", ""), certificate))
        if len(parties) < 3:
            raise ConfigError(f"{path} names {len(parties)} parties: for two take serve and join")
        if len({fingerprint(party.certificate) for party in parties}) != len(parties):
            raise ConfigError(f"{path} gives two parties one certificate")
        for party in parties[:-1]:
            if not party.address.rpartition(":")[2].isdecimal():
                raise ConfigError(
                    f"{path}: {party.name} needs an address HOST:PORT, for those below it"
                )
        return cls(tuple(parties), tuple(files))

    def number_of(self, certificate: bytes) -> int:
        """Return the number of the party that a certificate belongs to.

        Raises:
            ConfigError: It belongs to none of them.
        """
        wanted = fingerprint(certificate)
        for number, party in enumerate(self.parties):
            if fingerprint(party.certificate) == wanted:
                return number
        raise ConfigError("this side's certificate is none of the parties': check the identity")

    def digest(self) -> str:
        """Return a hash that is equal only if all names, certificates and their order are."""
        lines = (f"{party.name}\n{fingerprint(party.certificate)}\n" for party in self.parties)
        return hashlib.sha256("".join(lines).encode()).hexdigest()
