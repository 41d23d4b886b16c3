"""A dialogue in frames: bodies in parts whose lengths follow from what was agreed.

A body is measured before any of it is read; the frame around it is psi's transcript of the session.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from privfed.errors import DecodeError
from privfed.vertical.messages import VerticalMessage
from psi.network import FRAME_BYTES, Dialogue, Progress, Transcript

__all__ = ["FramedDialogue", "Then"]

Then: TypeAlias = Callable[[list[memoryview]], bytes | None]
"""What is done with the parts of a message; it returns the answer."""

_KIND_PLACE = 5  # of a frame's kind in its header


class FramedDialogue(Dialogue):
    """One side, which awaits messages of a kind, number and length that are due."""

    def __init__(self, progress: Progress | None = None) -> None:
        """Prepare one side; `progress` is as of `Dialogue`."""
        super().__init__(progress)
        self._transcript = Transcript(self.protocol)
        self._longest = FRAME_BYTES

    @property
    def longest_message(self) -> int:
        """What the other side's next message measures, in bytes."""
        return self._longest

    @property
    def _number(self) -> int:
        """What numbers this side's frames now."""
        return 0

    def _awaiting(
        self,
        kind: VerticalMessage,
        lengths: Sequence[int],
        then: Then,
        *,
        ahead: int = 0,
    ) -> None:
        """Expect a message of these parts, numbered as this side's frames are or one ahead."""
        self._awaiting_one({kind: (lengths, then)}, ahead=ahead)

    def _awaiting_one(
        self, kinds: Mapping[VerticalMessage, tuple[Sequence[int], Then]], *, ahead: int = 0
    ) -> None:
        """Expect a message of one of several kinds, the first where it is of none."""
        self._longest = FRAME_BYTES + max(sum(lengths) for lengths, _ in kinds.values())
        number = self._number + ahead

        def take(arrived: bytes) -> bytes | None:
            found = arrived[_KIND_PLACE] if len(arrived) > _KIND_PLACE else None
            kind = next((one for one in kinds if one == found), next(iter(kinds)))
            lengths, then = kinds[kind]
            message = self._transcript.open(kind, arrived)
            if message.count != number:
                raise DecodeError(f"a message numbered {message.count}, not {number}")
            return then(_parts(message.body, lengths))

        self._expect = take

    def _sealed(self, kind: VerticalMessage, *parts: bytes) -> bytes:
        return self._transcript.seal(kind, self._number, *parts)


def _parts(body: memoryview, lengths: Sequence[int]) -> list[memoryview]:
    if len(body) != sum(lengths):
        raise DecodeError(f"a message of {len(body)} bytes where {sum(lengths)} were agreed on")
    parts, start = [], 0
    for length in lengths:
        parts.append(body[start : start + length])
        start += length
    return parts
