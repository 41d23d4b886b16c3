"""Coins and noise that protect somebody: ChaCha20 under a key from the operating system.

torch's and numpy's generators are no cryptographic generators (torch's CPU generator keeps 32 bits
of its seed), so neither the sampling coins nor the noise of DP-SGD may come from them.
"""

from __future__ import annotations

import hashlib
import math
import secrets
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from numpy.typing import NDArray

from privfed.dp.discrete import discrete_gaussian
from privfed.dp.domination import SMOOTHING
from privfed.errors import ConfigError, ReplayError
from psi.storage import Process

_WORDS_A_KEY = 2**34  # half of what ChaCha20's block counter allows
_ZEROS = memoryview(bytes(2**20))  # encrypted zeros are the stream
_GRID_BITS = 10  # the grid of released values is at most σ/1024


class NoiseSource(Protocol):
    """Where coins and noise are drawn from."""

    simulation: bool  # True: repeatable, so it protects nobody

    def words(self, count: int) -> NDArray[np.uint64]:
        """Draw `count` uniform 64-bit words."""

    def noisy(self, values: NDArray[np.float64], standard_deviation: float) -> NDArray[np.float64]:
        """Add noise to each value, at least as private as N(0, standard_deviation²)."""

    def coins(self, probability: float, count: int) -> NDArray[np.bool_]:
        """Toss `count` independent coins that show True with `probability`."""


class _KeyStream:
    """Uniform 64-bit words from ChaCha20 (RFC 8439, section 2.4) under keys used once."""

    def __init__(self, key: bytes) -> None:
        self._start(key)

    def _start(self, key: bytes) -> None:
        self._encryptor = Cipher(algorithms.ChaCha20(key, bytes(16)), mode=None).encryptor()
        self._left = _WORDS_A_KEY

    def words(self, count: int) -> NDArray[np.uint64]:
        if count > self._left:  # the block counter has 32 bits: the stream makes a new key
            self._start(self._encryptor.update(bytes(32)))
        self._left -= count
        zeros = _ZEROS[: 8 * count] if 8 * count <= len(_ZEROS) else bytes(8 * count)
        stream = self._encryptor.update(zeros)
        return np.frombuffer(stream, dtype=np.uint64)

    def noisy(self, values: NDArray[np.float64], standard_deviation: float) -> NDArray[np.float64]:
        """Return multiples of `noise_grid`'s step, drawn exactly from a discrete Gaussian.

        It is as private as each value plus N(0, standard_deviation²), by the proof for one noise
        share, and its variance larger by four squared steps, 4·10⁻⁶ of it at most. No normal is
        computed: a floating-point one cannot take every value, and its gaps reveal what it was
        added to (Mironov, "On Significance of the Least Significant Bits for Differential
        Privacy", CCS 2012).

        Args:
            values: Numbers, in an array of any shape.
            standard_deviation: Above 0.

        Raises:
            ConfigError: The standard deviation is out of range, or a value is not finite or beyond
                2^39 standard deviations.
        """
        step = noise_grid(standard_deviation)
        # Rounded up. The divisions are exact, as the step is a power of two.
        deviation = math.hypot(standard_deviation / step, SMOOTHING) * (1 + 2.0**-48)
        drawn = discrete_gaussian(np.asarray(values) / step, deviation, self)
        return np.multiply(drawn, step, dtype=np.float64)

    def coins(self, probability: float, count: int) -> NDArray[np.bool_]:
        threshold = int(probability * 2.0**64)
        if threshold >= 2**64:
            return np.ones(count, dtype=np.bool_)
        return np.asarray(self.words(count) < np.uint64(threshold))


def noise_grid(standard_deviation: float) -> float:
    """Return the step of the grid that noisy values are released on: 2^k from σ/2048 to σ/1024.

    Raises:
        ConfigError: The standard deviation is not a number from 1e-280 to 1e280.
    """
    if not 1e-280 <= standard_deviation <= 1e280:
        raise ConfigError(
            f"noise needs a standard deviation above 0, not {standard_deviation}: without noise "
            "nothing may be released"
        )
    return math.ldexp(1.0, math.frexp(standard_deviation)[1] - 1 - _GRID_BITS)


class SecretRandomness(_KeyStream):
    """Noise and coins under a key from the operating system; two instances never agree.

    Raises:
        ReplayError: It is used in a fork: both processes would draw the same.
    """

    simulation = False

    def __init__(self) -> None:
        super().__init__(secrets.token_bytes(32))
        self._process = Process()

    def words(self, count: int) -> NDArray[np.uint64]:
        """Draw `count` uniform words."""
        if not self._process.is_this:
            raise ReplayError("this randomness belongs to the process it was forked from")
        return super().words(count)

    def __repr__(self) -> str:
        return "SecretRandomness()"

    def __reduce__(self) -> str:
        raise TypeError("secret randomness is never pickled: make a new one in the new process")


class SeededRandomness(_KeyStream):
    """The same stream from a seed, for simulation and tests: who knows the seed can undo it."""

    simulation = True

    def __init__(self, *seed: int) -> None:
        super().__init__(hashlib.sha256(b"privfed simulation" + repr(seed).encode()).digest())


def require_secret(sources: Sequence[NoiseSource], simulation: bool) -> None:
    """Refuse seeded randomness where it would have to protect somebody.

    Raises:
        ConfigError: A source is seeded and this is no simulation.
    """
    if not simulation and any(source.simulation for source in sources):
        raise ConfigError(
            "a seeded generator protects nobody: use SecretRandomness(), or say simulation=True "
            "where nobody needs protection"
        )
