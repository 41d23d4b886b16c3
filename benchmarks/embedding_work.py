"""What a client does in a round of `benchmarks.embedding`, and what that costs.

Nothing is trained: a client adds its own constant to every value. So it knows what the mean of all
must be when it comes back, and a round that gives another fails.
"""

import json
import os
import time
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from benchmarks.processes import cpu_seconds

__all__ = ["EXAMPLES", "MARK", "STEP", "Cost", "Meter", "check", "costs", "start", "step"]

MARK = "EMBEDDING_RUN"  # in the environment of all processes of a measured run
EXAMPLES = 100  # that each client counts for
STEP = 1e-3  # what the first client adds to each value; the second twice as much
_TOLERANCE = (
    3e-5  # of a round's mean in fixed point: 16 bits, or SecAgg+'s 22 for 16 times the range
)

Values: TypeAlias = NDArray[np.float32]
Cost: TypeAlias = dict[str, float]
"""A round's seconds, a client's bytes both ways, and processor seconds."""


def start(params: int) -> Values:
    """Return the initial model."""
    return np.random.default_rng(params).uniform(-0.5, 0.5, params).astype(np.float32)


def check(model: Values, rounds: int, clients: int) -> None:
    """Check a mean.

    Args:
        model: What came out.
        rounds: How many rounds there were.
        clients: How many there are.

    Raises:
        ValueError: It is not theirs.
    """
    moved = np.float32(rounds * STEP * (clients + 1) / 2)
    error = float(np.max(np.abs(model - start(model.size) - moved)))
    if not error < _TOLERANCE * max(rounds, 1):
        raise ValueError(f"the mean after {rounds} rounds is off by {error}")


def step(model: Values, rounds: int, place: int, clients: int) -> Values:
    """Return a client's model after its part of a round; check the mean of the rounds before.

    Args:
        model: That mean.
        rounds: How many there were.
        place: The client's.
        clients: How many there are.
    """
    check(model, rounds, clients)
    return model + np.float32(STEP * (place + 1))


class Meter:
    """Notes time, processor time and bytes at the start of each round.

    Attributes:
        down: Bytes to clients so far.
        up: Bytes from clients so far.
    """

    def __init__(self) -> None:
        self.down = self.up = 0
        self._notes: list[dict[str, float]] = []

    def note(self) -> None:
        """Begin the next round."""
        ended = time.perf_counter()
        used = cpu_seconds(MARK, os.environ[MARK])
        note = {"cpu": used, "down": self.down, "up": self.up}
        self._notes.append({"ended": ended, **note, "began": time.perf_counter()})

    def write(self, path: Path) -> None:
        """Write what was noted."""
        path.write_text(json.dumps(self._notes))


def costs(notes: Sequence[Mapping[str, float]], clients: int) -> list[Cost]:
    """Return what rounds cost from one's start to the next one's, but for the first and the last.

    The first one starts processes and carries the initial model.

    Args:
        notes: What the meter wrote.
        clients: How many share the bytes.
    """
    return [
        {
            "round_seconds": after["ended"] - before["began"],
            "upload_bytes": (after["up"] - before["up"]) / clients,
            "download_bytes": (after["down"] - before["down"]) / clients,
            "cpu_seconds": after["cpu"] - before["cpu"],
        }
        for before, after in pairwise(notes[1:])
    ]
