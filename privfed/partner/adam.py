"""Adam on what all parties know, in numpy: equal bits at all of them, whatever their processors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from privfed.training import Arrays
from privfed.training.local import BETAS

_TINY = 1e-8  # as in torch


def adam_step(
    weights: Arrays, moments: Arrays, gradient: NDArray[np.float64], learning_rate: float
) -> tuple[Arrays, Arrays]:
    """Take one step (Kingma and Ba, arXiv 1412.6980, algorithm 1).

    In float64 and by numpy's additions, products, quotients and roots, each of which IEEE 754
    rounds in one way; torch's kernels fuse some where a processor can.

    Args:
        weights: The model's, by name.
        moments: What the last step returned; empty before the first.
        gradient: (size,) values in the weights' order.
        learning_rate: Above 0.

    Returns:
        The new weights, and the state after it.
    """
    (count,) = moments.get("count", np.zeros(1)) + 1
    first, second = BETAS
    nothing = np.zeros_like(gradient)
    mean = moments.get("mean", nothing) * first + gradient * (1 - first)
    square = moments.get("square", nothing) * second + gradient * gradient * (1 - second)
    step = mean / (1 - first**count) * learning_rate
    step = step / (np.sqrt(square / (1 - second**count)) + _TINY)
    flat = np.concatenate([each.ravel() for each in weights.values()]).astype(np.float64) - step
    ends = np.cumsum([each.size for each in weights.values()])[:-1]
    stepped = {
        name: part.reshape(weights[name].shape).astype(np.float32)
        for name, part in zip(weights, np.split(flat, ends), strict=True)
    }
    return stepped, {"count": np.array([count]), "mean": mean, "square": square}
