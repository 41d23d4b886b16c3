"""What guest and host send each other, and the frame around it: psi's transcript of one session.

Every length follows from the plan, so a body is measured before any of it is read.
"""

import enum
from collections.abc import Sequence

from privfed.errors import DecodeError
from psi.protocols.messages import FRAME_BYTES, Message

__all__ = ["CHOICES_BYTES", "FRAME_BYTES", "POINT_BYTES", "VerticalMessage", "parts_of"]

POINT_BYTES = 32  # of ristretto255: the base transfers' key
CHOICES_BYTES = 2 * 128 * POINT_BYTES  # of 128 base transfers


class VerticalMessage(enum.IntEnum):
    """What a message is."""

    GUEST_SHAPE = 62
    HOST_SHAPE = 63
    GUEST_HELLO = 64
    HOST_HELLO = 65
    COEFFICIENTS = 66
    SCORES = 67
    WAVES = 68
    LINKED = 69
    RESIDUALS = 70
    GRADIENTS = 71
    FINISH = 72
    OPENED = 73
    QUERY = 80
    MET = 81
    CHOICES = 82
    SHARES = 83
    REQUEST = 84
    GARBLED = 85
    COLOURS = 86


def parts_of(message: Message, lengths: Sequence[int], number: int) -> list[memoryview]:
    """Return the parts of a body.

    Args:
        message: Its frame is checked.
        lengths: What the parts that are due measure.
        number: Which iteration is due.

    Raises:
        DecodeError: The body has another length, or is of another iteration.
    """
    if message.count != number:
        raise DecodeError(f"a message of iteration {message.count}, not of {number}")
    if len(message.body) != sum(lengths):
        raise DecodeError(
            f"a message of {len(message.body)} bytes where the plan has {sum(lengths)}"
        )
    parts, start = [], 0
    for length in lengths:
        parts.append(message.body[start : start + length])
        start += length
    return parts
