"""What a party keeps between an engine's messages, each of which may be a new process.

Beside the party's rounds, in files of mode 0600, written whole and under a digest: where it is in a
run, the model, and arrays of its own that do not travel (step counters of BatchNorm).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from privfed.errors import ConfigError, DecodeError
from psi.storage import read_whole, write_whole

Arrays = dict[str, NDArray[Any]]
Kind = TypeVar("Kind")

_MOST_BYTES = 1 << 33
_DIGEST_BYTES = 32


class Course(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a party is in a run.

    Attributes:
        version: This format's.
        run: Names the run.
        start: Digest of what it starts from.
        first_round: Its first round.
        hello: What this party signed for it.
        base: The last round that was opened before it.
        resumes: Whether it goes on from this party's own model, not from one that is sent.
        begun: Whether the initial model came.
        entered: Whether the others' hellos were checked, and mask keys agreed on.
    """

    version: Literal[1]
    run: str
    start: bytes
    first_round: int
    hello: bytes
    base: int
    resumes: bool
    begun: bool = False
    entered: bool = False


class _Array(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    name: str
    kind: Annotated[str, msgspec.Meta(pattern=r"^[<>|=]?[fiub][0-9]{1,2}\Z")]
    shape: tuple[Annotated[int, msgspec.Meta(ge=0)], ...]
    data: bytes


class StoredModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Arrays, and the round after which they are the model.

    Attributes:
        version: This format's.
        round_id: The round; 0: none yet.
        stored: The arrays, in their order.
        kinds: By name, the type that the application's arrays have.
    """

    version: Literal[1]
    round_id: int
    stored: list[_Array]
    kinds: dict[str, str] = {}

    @classmethod
    def of(
        cls, arrays: Mapping[str, NDArray[Any]], round_id: int, kinds: dict[str, str]
    ) -> StoredModel:
        """Return arrays as they are kept."""
        return cls(1, round_id, [_array(name, each) for name, each in arrays.items()], kinds)

    @property
    def arrays(self) -> Arrays:
        """The arrays, writable."""
        return {
            each.name: np.frombuffer(each.data, each.kind).reshape(each.shape).copy()
            for each in self.stored
        }


def digest_of_model(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Return 32 bytes that stand for names, types, shapes and values of a model's arrays."""
    stored = [_array(name, each) for name, each in arrays.items()]
    return hashlib.sha256(b"privfed/1/model\x00" + msgspec.msgpack.encode(stored)).digest()


def _array(name: str, values: NDArray[Any]) -> _Array:
    return _Array(name, values.dtype.str, values.shape, np.ascontiguousarray(values).tobytes())


class Shelf:
    """The files.

    Args:
        folder: A folder of this party's, made where it does not exist.
        owner: What the files belong to: parameters, key and party.
    """

    def __init__(self, folder: Path, owner: bytes) -> None:
        self._folder, self._owner = folder, owner
        self._known: dict[str, Any] = {}  # read or written by this process, which alone has them
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"cannot use {folder}: {error.strerror}") from None

    def course(self) -> Course | None:
        """Return where the party is; None before its first run."""
        return self._read("run", Course)

    def keep_course(self, course: Course) -> None:
        """Keep where the party is."""
        self._write("run", course)

    def model(self) -> StoredModel | None:
        """Return the model after the last total; None before the first one."""
        return self._read("model", StoredModel)

    def keep_model(self, model: StoredModel) -> None:
        """Keep a model in the place of the one before."""
        self._write("model", model)

    def initial(self) -> StoredModel | None:
        """Return the model that the last run began with; None if none began with one."""
        return self._read("initial", StoredModel)

    def keep_initial(self, model: StoredModel) -> None:
        """Keep what a run begins with, beside the model: a run may end before its first total."""
        self._write("initial", model)

    def own(self) -> Arrays:
        """Return the arrays that do not travel."""
        found = self._read("own", StoredModel)
        return {} if found is None else found.arrays

    def keep_own(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Keep arrays that do not travel."""
        self._write("own", StoredModel.of(arrays, 0, {}))

    def _write(self, name: str, value: msgspec.Struct) -> None:
        data = msgspec.msgpack.encode(value)
        write_whole(self._folder / name, self._digest(name, data) + data, refusal=ConfigError)
        self._known[name] = value

    def _read(self, name: str, kind: type[Kind]) -> Kind | None:
        if name in self._known:
            known: Kind = self._known[name]
            return known
        path = self._folder / name
        data = read_whole(path, most=_MOST_BYTES, refusal=ConfigError)
        if data is None:
            return None
        digest, stored = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
        try:
            if digest == self._digest(name, stored):
                self._known[name] = found = msgspec.msgpack.decode(stored, type=kind)
                return found
        except (msgspec.MsgspecError, UnicodeError):
            pass
        raise DecodeError(
            f"{path} is damaged or another party's: put it back from a backup, or begin anew "
            "under a new key"
        )

    def _digest(self, name: str, data: bytes) -> bytes:
        digest = hashlib.sha256(b"privfed/1/shelf\x00" + hashlib.sha256(self._owner).digest())
        digest.update(name.encode() + b"\x00")
        digest.update(data)
        return digest.digest()
