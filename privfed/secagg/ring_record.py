"""What a keyring remembers beside its secrets: one small file, replaced as a whole.

The key in use, the parameters that it belongs to and the retired keys change together. If each
had a file of its own, a kill between two writes would leave a keyring that fits no parameters.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from privfed.errors import ConfigError
from privfed.secagg.parameters import Parameters
from psi.storage import Record, read_whole

FILE = "keyring.json"
_EARLIER = ("params.json", "current", "retired")  # what privfed wrote before this file
_VERSION = 1
_ID = re.compile("[0-9a-f]{32}")


@dataclass(frozen=True)
class RingRecord:
    """The record itself.

    Attributes:
        current: Id of the key in use, in hex; empty before the first.
        text: Canonical text of the key's parameters; empty before the first.
        retired: Ids of keys that are never used again, in hex.
    """

    current: str = ""
    text: str = ""
    retired: frozenset[str] = frozenset()

    @property
    def params(self) -> Parameters:
        """The parameters, read only where they are asked for: they may be of another version."""
        return Parameters.from_bytes(self.text.encode())

    @classmethod
    def read(cls, folder: Path) -> "RingRecord":
        """Return a keyring's record; an empty one where there is none yet.

        Raises:
            ConfigError: It cannot be read, is no record, or is that of an earlier privfed.
        """  # noqa: DOC501 - its ValueError is caught
        path = folder / FILE
        data = read_whole(path, refusal=ConfigError)
        if data is None:
            return cls._first(folder)
        try:
            described = json.loads(data)
            if described.keys() != {"version", "current", "params", "retired"}:
                raise ValueError
            found = cls(described["current"], described["params"], frozenset(described["retired"]))
            ids = [*found.retired, found.current] if found.current else found.retired
            whole = (
                described["version"] == _VERSION
                and isinstance(found.text, str)
                and bool(found.text) == bool(found.current)
                and found.text.isascii()
                and all(_ID.fullmatch(each) for each in ids)
                and found.current not in found.retired
            )
        except (ValueError, TypeError, AttributeError, RecursionError):
            whole = False
        if not whole:
            raise ConfigError(f"{path} is no keyring's record; put it back from a backup")
        return found

    @classmethod
    def _first(cls, folder: Path) -> "RingRecord":
        if any((folder / name).exists() for name in _EARLIER):
            raise ConfigError(
                f"{folder} is of an earlier privfed, whose parameters are no longer read: move "
                f"{', '.join(_EARLIER)} and keys/* away, keep identity.key, and make or accept "
                "a key for new parameters"
            )
        return cls()

    def write(self, file: Record) -> None:
        """Replace the keyring's record, which this program holds, by this one.

        Raises:
            ConfigError: It cannot be written; the one before still stands.
        """
        described = {
            "version": _VERSION,
            "current": self.current,
            "params": self.text,
            "retired": sorted(self.retired),
        }
        file.write(json.dumps(described, indent=1))
