"""Before the plan: each side tells how many columns it brings, which both plans then hold.

And a number that nobody used before: both together name the training, whose sessions go on later.
"""

import secrets
from typing import ClassVar

import msgspec

from privfed.errors import ContextMismatchError, DecodeError
from privfed.vertical.frames import FramedDialogue
from privfed.vertical.messages import VerticalMessage
from privfed.vertical.roles import MARK_BYTES
from psi.errors import StateError

__all__ = ["BlockShape", "GuestShapes", "HostShapes", "Shapes"]

_NUMBER_BYTES = 4
_SHAPE_BYTES = 3 * _NUMBER_BYTES
_MOST_COLUMNS = 1 << 14


class BlockShape(msgspec.Struct, frozen=True):
    """What a side tells of its block.

    Attributes:
        rows: The common rows that train.
        names: Its standardised columns.
        columns: Its whitened columns, the guest's with the intercept.
    """

    rows: int
    names: int
    columns: int

    def to_bytes(self) -> bytes:
        """Return three numbers."""
        return b"".join(
            number.to_bytes(_NUMBER_BYTES, "big")
            for number in (self.rows, self.names, self.columns)
        )

    @classmethod
    def from_bytes(cls, data: memoryview) -> "BlockShape":
        """Return the shape that `to_bytes` wrote.

        Raises:
            DecodeError: These numbers cannot be.
        """
        rows, names, columns = (
            int.from_bytes(data[start : start + _NUMBER_BYTES], "big")
            for start in range(0, len(data), _NUMBER_BYTES)
        )
        if not (1 <= columns <= names + 1 <= _MOST_COLUMNS):
            raise DecodeError("the other side tells of columns that cannot be")
        return cls(rows, names, columns)


class Shapes(FramedDialogue):
    """One side of telling. `theirs` is the other side's shape."""

    protocol = "privfed vertical shapes"
    _sends: ClassVar[VerticalMessage]
    _awaits: ClassVar[VerticalMessage]

    def __init__(self, own: BlockShape) -> None:
        """Take this side's shape."""
        super().__init__()
        self._own = own
        self._theirs: BlockShape | None = None
        if not self.speaks_first:
            self._await()

    @property
    def theirs(self) -> BlockShape:
        """The other side's shape.

        Raises:
            StateError: It did not come.
        """
        self._require_done()
        if self._theirs is None:
            raise StateError("the other side told no shape")
        return self._theirs

    @property
    def mark(self) -> bytes:
        """What names this training, the same at both sides and never again.

        Raises:
            StateError: The other side's shape did not come.
        """
        self._require_done()
        return self._transcript.digest[:MARK_BYTES]

    def _await(self) -> None:
        self._awaiting(self._awaits, [_SHAPE_BYTES, MARK_BYTES], self._take)

    def _begin(self) -> bytes:
        self._await()
        return self._told()

    def _told(self) -> bytes:
        fresh = secrets.token_bytes(MARK_BYTES)
        return self._sealed(self._sends, self._own.to_bytes(), fresh)

    def _take(self, parts: list[memoryview]) -> bytes | None:
        theirs = BlockShape.from_bytes(parts[0])
        if theirs.rows != self._own.rows:
            raise ContextMismatchError(
                f"the other side trains on {theirs.rows} common rows, this side on {self._own.rows}"
            )
        self._theirs = theirs
        answer = None if self.speaks_first else self._told()
        self._end()
        return answer


class GuestShapes(Shapes):
    """The label holder's side."""

    speaks_first: ClassVar[bool] = True
    _sends: ClassVar[VerticalMessage] = VerticalMessage.GUEST_SHAPE
    _awaits: ClassVar[VerticalMessage] = VerticalMessage.HOST_SHAPE


class HostShapes(Shapes):
    """The other side."""

    speaks_first: ClassVar[bool] = False
    _sends: ClassVar[VerticalMessage] = VerticalMessage.HOST_SHAPE
    _awaits: ClassVar[VerticalMessage] = VerticalMessage.GUEST_SHAPE
