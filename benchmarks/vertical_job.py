"""The job that all tools of benchmarks.vertical do, by NumPy alone: peers' environments read it.

Two blocks of correlated Gaussian columns about the same rows, standardised, and labels drawn from a
logistic model of moderate signal. Within a block columns mix freely; across blocks they correlate
by `ACROSS`. The work is full-batch gradient descent with one constant step; each side whitens its
block at home first, as both ours and the peers may.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
ACROSS = 0.3  # the canonical correlation between the two blocks
INTERCEPT = -0.5
STEP = 3.8  # below 4, where two whitened blocks can diverge
BINS, DEPTH = 32, 4  # of boosted trees
_TURNS = 6  # of a wide table's labels: products of two columns, one of them saturating


@dataclass(frozen=True)
class Tables:
    """What each side has.

    Attributes:
        guest: The guest's columns, of mean 0 and variance 1.
        host: The host's.
        labels: The guest's labels, 0 or 1.
    """

    guest: Floats
    host: Floats
    labels: Floats


def tables(rows: int, columns: int, seed: int = 0) -> Tables:
    """Draw a job of `columns` columns, half of them on each side."""
    rng = np.random.default_rng([seed, rows, columns])
    shape = (rows, columns // 2)
    guest = rng.standard_normal(shape)
    host = ACROSS * guest + np.sqrt(1 - ACROSS**2) * rng.standard_normal(shape)
    blocks = []
    for block in (guest, host):
        mixed = block @ (np.eye(shape[1]) + rng.normal(0, 0.5 / np.sqrt(shape[1]), shape[1:] * 2))
        blocks.append((mixed - mixed.mean(0)) / mixed.std(0))
    coefficients = rng.normal(0, 1 / np.sqrt(columns), columns)
    z = np.hstack(blocks) @ coefficients + INTERCEPT
    labels = (rng.random(rows) < 1 / (1 + np.exp(-z))).astype(np.float64)
    return Tables(blocks[0], blocks[1], labels)


def wide_tables(rows: int, columns: int, seed: int) -> Tables:
    """Draw a job whose labels depend on products and on the size of columns, too."""
    drawn = tables(rows, columns, seed)
    rng = np.random.default_rng([seed, rows, columns, _TURNS])
    both = np.hstack((drawn.guest, drawn.host))
    z = both @ rng.normal(0, 1 / np.sqrt(columns), columns) + INTERCEPT
    for _ in range(_TURNS):
        one, two = both[:, rng.integers(columns, size=2)].T
        z += 0.6 * rng.choice([-1, 1]) * np.tanh(one) * two
    z += 0.7 * (np.abs(both[:, rng.integers(columns)]) - np.sqrt(2 / np.pi))
    labels = (rng.random(rows) < 1 / (1 + np.exp(-z))).astype(np.float64)
    return Tables(drawn.guest, drawn.host, labels)


def whitened(block: Floats) -> tuple[Floats, Floats]:
    """Return a block with uncorrelated columns of variance 1, and what makes it from the block."""
    values, vectors = np.linalg.eigh(block.T @ block / len(block))
    change = vectors / np.sqrt(values)
    return block @ change, change
