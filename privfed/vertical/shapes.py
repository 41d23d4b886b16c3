"""Before the plan: each side tells in numbers how much it brings, which both plans then hold.

And a number that nobody used before: both together name the training, whose sessions go on later.
"""

import secrets
from typing import ClassVar, Generic, Self, TypeVar

import msgspec

from privfed.errors import ContextMismatchError, DecodeError
from privfed.vertical.frames import FramedDialogue
from privfed.vertical.messages import VerticalMessage
from privfed.vertical.roles import MARK_BYTES
from psi.errors import StateError

__all__ = ["GuestShapes", "HostShapes", "Shapes", "SideShape"]

_NUMBER_BYTES = 4
Theirs = TypeVar("Theirs", bound="SideShape")


class SideShape(msgspec.Struct, frozen=True):
    """What a side tells; each model adds numbers.

    Attributes:
        rows: The common rows that train.
    """

    rows: int

    @property
    def possible(self) -> bool:
        """Whether the other numbers can be."""
        return True

    def to_bytes(self) -> bytes:
        """Return the numbers."""
        numbers = msgspec.structs.astuple(self)
        return b"".join(number.to_bytes(_NUMBER_BYTES, "big") for number in numbers)

    @classmethod
    def size_bytes(cls) -> int:
        """Return their length."""
        return _NUMBER_BYTES * len(cls.__struct_fields__)

    @classmethod
    def from_bytes(cls, data: memoryview) -> Self:
        """Return the shape that `to_bytes` wrote.

        Raises:
            DecodeError: These numbers cannot be.
        """
        starts = range(0, cls.size_bytes(), _NUMBER_BYTES)
        shape = cls(*(int.from_bytes(data[at : at + _NUMBER_BYTES], "big") for at in starts))
        if not shape.possible:
            raise DecodeError("the other side tells of columns that cannot be")
        return shape


class Shapes(FramedDialogue, Generic[Theirs]):
    """One side of telling. `theirs` is the other side's shape."""

    protocol = "privfed vertical shapes"
    _sends: ClassVar[VerticalMessage]
    _awaits: ClassVar[VerticalMessage]

    def __init__(self, own: SideShape, theirs: type[Theirs]) -> None:
        """Take this side's shape, and the type of the other's."""
        super().__init__()
        self._own, self._type = own, theirs
        self._theirs: Theirs | None = None
        if not self.speaks_first:
            self._await()

    @property
    def theirs(self) -> Theirs:
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
        self._awaiting(self._awaits, [self._type.size_bytes(), MARK_BYTES], self._take)

    def _begin(self) -> bytes:
        self._await()
        return self._told()

    def _told(self) -> bytes:
        fresh = secrets.token_bytes(MARK_BYTES)
        return self._sealed(self._sends, self._own.to_bytes(), fresh)

    def _take(self, parts: list[memoryview]) -> bytes | None:
        theirs = self._type.from_bytes(parts[0])
        if theirs.rows != self._own.rows:
            raise ContextMismatchError(
                f"the other side trains on {theirs.rows} common rows, this side on {self._own.rows}"
            )
        self._theirs = theirs
        answer = None if self.speaks_first else self._told()
        self._end()
        return answer


class GuestShapes(Shapes[Theirs]):
    """The label holder's side."""

    speaks_first: ClassVar[bool] = True
    _sends: ClassVar[VerticalMessage] = VerticalMessage.GUEST_SHAPE
    _awaits: ClassVar[VerticalMessage] = VerticalMessage.HOST_SHAPE


class HostShapes(Shapes[Theirs]):
    """The other side."""

    speaks_first: ClassVar[bool] = False
    _sends: ClassVar[VerticalMessage] = VerticalMessage.HOST_SHAPE
    _awaits: ClassVar[VerticalMessage] = VerticalMessage.GUEST_SHAPE
