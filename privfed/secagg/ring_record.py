"""What a keyring remembers beside its secrets: one small file, replaced as a whole.

The key in use, the parameters that it belongs to and the retired keys change together. If each
had a file of its own, a kill between two writes would leave a keyring that fits no parameters.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from privfed.errors import ConfigError, DecodeError
from privfed.secagg.parameters import Parameters
from psi.storage import Record, json_bytes, json_read, read_whole

FILE = "keyring.json"
_EARLIER = ("params.json", "current", "retired")  # what privfed wrote before this file
_VERSION: Literal[2] = 2
_ID = "[0-9a-f]{32}"


class _Described(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file."""

    version: Literal[1, 2]  # 1 had no group and no digest
    current: Annotated[str, msgspec.Meta(pattern=rf"^({_ID})?\Z")]
    params: Annotated[str, msgspec.Meta(pattern=r"^[\x00-\x7f]*\Z")]
    retired: list[Annotated[str, msgspec.Meta(pattern=rf"^{_ID}\Z")]]
    group: list[Annotated[str, msgspec.Meta(pattern=rf"^{_ID}\Z")]] = []
    sha256: str = ""

    @property
    def digest(self) -> str:
        """SHA-256 of all but itself: damage would bring back a key, or change whom to trust."""
        if self.version == 1:
            return ""
        return hashlib.sha256(json_bytes(msgspec.structs.replace(self, sha256=""))).hexdigest()


@dataclass(frozen=True)
class RingRecord:
    """The record itself.

    Attributes:
        current: Id of the key in use, in hex; empty before the first.
        text: Canonical text of the key's parameters; empty before the first.
        retired: Ids of keys that are never used again, in hex.
        group: Ids of the parties with which this identity's updates were last summed, in hex;
            empty before it was in a group.
    """

    current: str = ""
    text: str = ""
    retired: frozenset[str] = frozenset()
    group: frozenset[str] = frozenset()

    @property
    def params(self) -> Parameters:
        """The parameters, read only where they are asked for: they may be of another version."""
        return Parameters.from_bytes(self.text.encode())

    def in_use(self, *, or_none: bool) -> Parameters | None:
        """Return the parameters, None before the first; `or_none`: also where they are not read.

        Raises:
            DecodeError: An earlier privfed wrote them.
        """
        try:
            return self.params if self.text else None
        except DecodeError:
            if or_none:
                return None
            raise

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
            found = json_read(data, _Described)
            if bool(found.params) != bool(found.current) or found.current in found.retired:
                raise ValueError
            if found.sha256 != found.digest:
                raise ValueError
        except ValueError:
            raise ConfigError(f"{path} is no keyring's record; put it back from a backup") from None
        return cls(found.current, found.params, frozenset(found.retired), frozenset(found.group))

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
        described = _Described(
            _VERSION, self.current, self.text, sorted(self.retired), sorted(self.group)
        )
        described = msgspec.structs.replace(described, sha256=described.digest)
        file.write(json_bytes(described, indent=1).decode())
