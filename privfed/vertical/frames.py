"""A dialogue in frames: bodies in parts whose lengths follow from what was agreed.

A body is measured before any of it is read; the frame around it is psi's transcript of the session.
"""

from collections.abc import Callable, Sequence

from privfed.errors import DecodeError
from privfed.vertical.messages import VerticalMessage
from psi.network import FRAME_BYTES, Dialogue, Progress, Transcript

__all__ = ["FramedDialogue"]


class FramedDialogue(Dialogue):
    """One side, which awaits messages of one kind, number and length each."""

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
        then: Callable[[list[memoryview]], bytes | None],
        *,
        ahead: int = 0,
    ) -> None:
        """Expect a message of these parts, numbered as this side's frames are or one ahead."""
        self._longest = FRAME_BYTES + sum(lengths)
        number = self._number + ahead

        def take(arrived: bytes) -> bytes | None:
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
