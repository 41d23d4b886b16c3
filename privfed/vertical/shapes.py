"""Before the plan: each side tells how many columns it brings, which both plans then hold."""

from collections.abc import Callable
from typing import ClassVar

import msgspec

from privfed.errors import ContextMismatchError, DecodeError
from privfed.vertical.messages import FRAME_BYTES, VerticalMessage
from privfed.vertical.rows import Role
from psi.errors import StateError
from psi.network import Dialogue, Progress, Transcript

__all__ = ["BlockShape", "GuestShapes", "HostShapes", "Shapes"]

_NUMBER_BYTES = 4
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
            DecodeError: It is not three numbers, or they cannot be.
        """
        if len(data) != 3 * _NUMBER_BYTES:
            raise DecodeError("a shape has three numbers")
        rows, names, columns = (
            int.from_bytes(data[start : start + _NUMBER_BYTES], "big")
            for start in range(0, len(data), _NUMBER_BYTES)
        )
        if not (1 <= columns <= names + 1 <= _MOST_COLUMNS):
            raise DecodeError("the other side tells of columns that cannot be")
        return cls(rows, names, columns)


class Shapes(Dialogue):
    """One side of telling. `theirs` is the other side's shape."""

    protocol = "privfed vertical shapes"
    role: ClassVar[Role]
    _sends: ClassVar[VerticalMessage]
    _awaits: ClassVar[VerticalMessage]

    def __init__(self, own: BlockShape, progress: Progress | None = None) -> None:
        """Take this side's shape."""
        super().__init__(progress)
        self._own = own
        self._theirs: BlockShape | None = None
        self._transcript = Transcript(self.protocol)
        self._expect: Callable[[bytes], bytes | None] | None = self._take

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
    def longest_message(self) -> int:
        """What the other side's message measures."""
        return FRAME_BYTES + 3 * _NUMBER_BYTES

    def _begin(self) -> bytes:
        self._expect = self._take
        return self._transcript.seal(self._sends, 0, self._own.to_bytes())

    def _take(self, arrived: bytes) -> bytes | None:
        theirs = BlockShape.from_bytes(self._transcript.open(self._awaits, arrived).body)
        if theirs.rows != self._own.rows:
            raise ContextMismatchError(
                f"the other side trains on {theirs.rows} common rows, this side on {self._own.rows}"
            )
        self._theirs = theirs
        message = None if self.speaks_first else self._begin()
        self._end()
        return message


class GuestShapes(Shapes):
    """The label holder's side."""

    role: ClassVar[Role] = "guest"
    speaks_first: ClassVar[bool] = True
    _sends: ClassVar[VerticalMessage] = VerticalMessage.GUEST_SHAPE
    _awaits: ClassVar[VerticalMessage] = VerticalMessage.HOST_SHAPE


class HostShapes(Shapes):
    """The other side."""

    role: ClassVar[Role] = "host"
    speaks_first: ClassVar[bool] = False
    _sends: ClassVar[VerticalMessage] = VerticalMessage.HOST_SHAPE
    _awaits: ClassVar[VerticalMessage] = VerticalMessage.GUEST_SHAPE
