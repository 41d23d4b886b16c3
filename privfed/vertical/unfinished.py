"""A training that is not done, in a file of one company: with it a broken training goes on.

It holds shares, so it is a secret of its owner. It is written as the sides meet and after every
iteration, and removed when both have written their halves: a half beside it may be of no use. One
process holds it at a time, as it counts sessions; who keeps a copy keeps an older count.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Generic, Protocol, Self, TypeVar

import msgspec

from privfed.errors import CapacityError, ConfigError, DecodeError
from privfed.vertical.roles import Role
from privfed.vertical.sealed import sealed, unsealed
from psi.storage import Record, json_bytes, json_read, read_secret

__all__ = ["UNFINISHED_FILE", "Beginning", "Brought", "Resumable", "Unfinished", "check_finished"]

UNFINISHED_FILE = "unfinished.json"
_KIND = "training"
_MOST_BYTES = 1 << 29  # with as many rows, and scores of them, as a plan can have
_DAMAGED = (
    "{} is no unfinished training, or damaged: train from the beginning, in another folder, at "
    "both companies"
)

_Hex32 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
_Count = Annotated[int, msgspec.Meta(ge=0)]


class Resumable(Protocol):
    """How far one side of a training is."""

    def resumed(self) -> Self:
        """Return it for another session."""


Plan = TypeVar("Plan")
State = TypeVar("State", bound=Resumable)


class Brought(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a company brings to every session of one training.

    Attributes:
        role: Whether it holds labels.
        table: SHA-256 of its file; None: it has none.
        id_columns: The ID.
        label: The label column; None at the host.
        normalise: Steps that made IDs comparable.
        choice: What both chose, by name; `VerticalChoice.fields`.
    """

    role: Role
    table: _Hex32 | None
    id_columns: tuple[str, ...]
    label: str | None
    normalise: str | None
    choice: dict[str, Any]

    @property
    def fields(self) -> Mapping[str, object]:
        """All of it by name, the choice's fields among them."""
        own = {name: getattr(self, name) for name in self.__struct_fields__ if name != "choice"}
        return own | self.choice


class Beginning(
    msgspec.Struct, Generic[Plan], frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """What a training began with. Its repr shows no row.

    Attributes:
        brought: What the company brought.
        plan: What both agreed on.
        rows: The table's common rows, in the order that both sides have.
        integers: SHA-256 of what these became, which the two sides compute with.
    """

    brought: Brought
    plan: Plan
    rows: tuple[_Count, ...]
    integers: _Hex32

    def __repr__(self) -> str:
        return f"Beginning({self.brought.role}, {len(self.rows)} rows)"


class _Began(msgspec.Struct, frozen=True):
    brought: Brought


class _Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    beginning: msgspec.Raw
    state: msgspec.Raw
    answered: _Count


class Unfinished(Generic[Plan, State]):
    """The file of one training. Its repr shows nothing that it holds.

    Attributes:
        path: Where it is.
        beginning: What the training began with.
        state: How far this company is.
        answered: Held-out rows that it may have answered, in this session and those before.
    """

    def __init__(self, path: Path, beginning: Beginning[Plan], state: State) -> None:
        """Take a new training; nothing is written before `keep`."""
        self.path, self.beginning, self.state, self.answered = path, beginning, state, 0
        self._encoded = msgspec.Raw(json_bytes(beginning))  # it can be long, and stays the same
        self._record: Record | None = None

    def __repr__(self) -> str:
        return f"Unfinished({self.path.name})"

    @classmethod
    def load(
        cls, path: Path, brought: Brought, plan: type[Plan], state: type[State]
    ) -> Unfinished[Plan, State]:
        """Return the training that a session left, for the next one, and hold its file.

        Args:
            path: Where it is.
            brought: The same as before.
            plan: The type of such a training's plan.
            state: And how far it is.

        Raises:
            ConfigError: There is no such file, it is in use, others may read it, or the company
                brings something else; names what differs.
            DecodeError: It is no such file, of another version, or damaged.
        """
        if not path.exists():
            raise ConfigError(
                f"{path} is not there: no training broke off here; leave out `resume` at both "
                "companies, or name the earlier folder"
            )
        record = Record(path, refusal=ConfigError)
        try:
            data = read_secret(path, most=_MOST_BYTES, refusal=ConfigError)
            record.read()  # which from now on notices who else writes
            kept, began = _read(path, data)
            _check_same(path, began.brought, brought)
            try:
                beginning = json_read(bytes(kept.beginning), Beginning[plan])  # type: ignore[valid-type]
                found = cls(path, beginning, json_read(bytes(kept.state), state).resumed())
            except (ValueError, CapacityError):
                raise DecodeError(_DAMAGED.format(path)) from None
        except BaseException:
            record.close()
            raise
        found.answered, found._record = kept.answered, record
        return found

    def keep(self, state: State) -> None:
        """Write how far this company is.

        Raises:
            ConfigError: The file cannot be written, or another training's is there.
        """
        self.state = state
        self._write()

    def count(self, rows: int) -> None:
        """Count held-out rows before they are answered; errors as of `keep`."""
        self.answered += rows
        self._write()

    def remove(self) -> None:
        """Delete the file; errors as of `keep`."""
        self._held.remove()

    def close(self) -> None:
        """Let another process hold the file."""
        if self._record is not None:
            self._record.close()

    def _write(self) -> None:
        kept = json_bytes(_Kept(self._encoded, msgspec.Raw(json_bytes(self.state)), self.answered))
        self._held.write(sealed(_KIND, kept).decode())

    @property
    def _held(self) -> Record:
        if self._record is None:
            folder = self.path.parent
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise ConfigError(
                    f"{folder} cannot be made ({error.strerror}): give another folder"
                ) from None
            self._record = Record(self.path, refusal=ConfigError)
            if self._record.read() is not None:
                raise ConfigError(f"{self.path} is of another training: give another folder")
        return self._record


def check_finished(path: Path) -> None:
    """Check that no training is left in a file.

    Raises:
        ConfigError: One is; says how it goes on.
    """
    if path.exists():
        raise ConfigError(
            f"{path} is of a training that broke off: both companies go on with `resume`, or train "
            "anew in another folder; if the other has its half and no such file, delete this one, "
            "as the half beside it is whole"
        )


def _read(path: Path, data: bytes) -> tuple[_Kept, _Began]:
    try:
        kept = json_read(unsealed(_KIND, data), _Kept)
        return kept, json_read(bytes(kept.beginning), _Began)
    except ValueError:
        raise DecodeError(_DAMAGED.format(path)) from None


def _check_same(path: Path, before: Brought, now: Brought) -> None:
    """Check that a company brings what it brought before."""
    if now.table != before.table:
        raise ConfigError(
            f"{path} is of another table: bring the file that this training began with, "
            "or train from the beginning in another folder"
        )
    # The model first: choices of another one have other names.
    began = before.fields
    for name, value in sorted(now.fields.items(), key=lambda item: item[0] != "model"):
        if value != began.get(name):
            raise ConfigError(
                f"{path} is of a training with {name}={began.get(name)}, not {value}: choose as "
                "before, or train from the beginning in another folder"
            )
