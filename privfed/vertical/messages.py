"""What guest and host send each other."""

import enum

__all__ = ["CHOICES_BYTES", "POINT_BYTES", "VerticalMessage"]

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
