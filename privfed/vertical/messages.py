"""What guest and host send each other."""

import enum

__all__ = ["CHOICES_BYTES", "NONCE_BYTES", "POINT_BYTES", "VerticalMessage"]

NONCE_BYTES = 16  # of a hello without a fresh key: no two sessions have one identity
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
    TREES_GUEST_HELLO = 90
    TREES_HOST_HELLO = 91
    TREES_KEYS = 92
    TREES_AGREED = 93
    NODES = 94
    SHARED_SUMS = 95
    CONTEST = 96
    OPENED_SUMS = 97
    CHOSEN = 98
    SIDES = 99
    TREES_END = 100
    LEAVES_ASKED = 101
    LEAVES_ANSWERED = 102
    SCORECARD_SHAPE = 110
    LABELS = 111
    COUNTS = 112
    NOISY_COUNTS = 113
