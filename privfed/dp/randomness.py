"""Coins and Gaussian noise that protect somebody: ChaCha20 under a key from the operating system.

torch's and numpy's generators are no cryptographic generators (torch's CPU generator keeps 32 bits
of its seed), so neither the sampling coins nor the noise of DP-SGD may come from them.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from numpy.typing import NDArray

from privfed.errors import ConfigError, ReplayError

_WORDS_A_KEY = 2**34  # half of what ChaCha20's block counter allows


class NoiseSource(Protocol):
    """Where coins and noise are drawn from."""

    simulation: bool  # True: repeatable, so it protects nobody

    def words(self, count: int) -> NDArray[np.uint64]:
        """Draw `count` uniform 64-bit words."""

    def gaussian(self, standard_deviation: float, shape: Sequence[int]) -> NDArray[np.float64]:
        """Draw N(0, standard_deviation²) in the given shape."""

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
        if count > self._left:  # the block counter has 32 bits: the stream gives its next key
            self._start(self._encryptor.update(bytes(32)))
        self._left -= count
        stream = self._encryptor.update(bytes(8 * count))
        return np.frombuffer(stream, dtype=np.uint64)

    def gaussian(self, standard_deviation: float, shape: Sequence[int]) -> NDArray[np.float64]:
        """Four Box-Muller normals added and halved for each value.

        The gaps of one floating-point normal betray the value it was added to (Mironov, CCS 2012);
        a sum of four makes that attack infeasible (Holohan and Braghin, arXiv 2107.10138).
        """
        count = int(np.prod(shape))
        # Two normals come from a pair of uniforms in (0, 1], so 2·count pairs make 4·count normals.
        uniform = ((self.words(4 * count) >> np.uint64(11)).astype(np.float64) + 1.0) * 2.0**-53
        radius = np.sqrt(-2.0 * np.log(uniform[: 2 * count]))
        angle = 2.0 * np.pi * uniform[2 * count :]
        normals = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])
        summed = normals.reshape(4, count).sum(axis=0)
        noise: NDArray[np.float64] = (summed * (0.5 * standard_deviation)).reshape(tuple(shape))
        return noise

    def coins(self, probability: float, count: int) -> NDArray[np.bool_]:
        threshold = int(probability * 2.0**64)
        if threshold >= 2**64:
            return np.ones(count, dtype=np.bool_)
        return np.asarray(self.words(count) < np.uint64(threshold))


class SecretRandomness(_KeyStream):
    """Noise and coins under a key from the operating system; two instances never agree.

    Raises:
        ReplayError: on use, it came here by a fork, whose other side would draw the same.
    """

    simulation = False

    def __init__(self) -> None:
        super().__init__(secrets.token_bytes(32))
        self._process = os.getpid()

    def words(self, count: int) -> NDArray[np.uint64]:
        """Draw `count` uniform words."""
        if self._process != os.getpid():
            raise ReplayError("this randomness belongs to the process it was forked from")
        return super().words(count)

    def __repr__(self) -> str:
        return "SecretRandomness()"

    def __reduce__(self) -> str:
        raise TypeError("secret randomness is never pickled: make a new one in the new process")


class SeededRandomness(_KeyStream):
    """The same stream from a seed, for tests and simulation only: who knows the seed undoes it."""

    simulation = True

    def __init__(self, *seed: int) -> None:
        super().__init__(hashlib.sha256(b"privfed simulation" + repr(seed).encode()).digest())


def require_secret(sources: Sequence[NoiseSource], simulation: bool) -> None:
    """Refuse seeded randomness where it would have to protect somebody.

    Raises:
        ConfigError: a source is seeded and this is no simulation.
    """
    if not simulation and any(source.simulation for source in sources):
        raise ConfigError(
            "a seeded generator protects nobody: use SecretRandomness(), or say simulation=True "
            "where nobody needs protection"
        )
