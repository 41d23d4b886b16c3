"""`exact_stack` for one row after another, by numba: the same operations in the same order.

numba asks LLVM for neither contraction nor reordering, so that these are binary64 operations, one
by one; loops over outputs become vector instructions, whose elements do not know each other.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import types
from numba.extending import register_jitable

from privfed.training.exact_stack import (
    LEAST,
    LN2_HIGH,
    LN2_LOW,
    LOG2_E,
    LOWEST,
    POWERS,
    TAYLOR,
    TO_WHOLE,
)
from privfed.training.row_grid import SLACK
from psi.compiled.compiling import array, compiled

_FLOATS, _FLAGS = array("float64", 1), array("boolean", 1)


@compiled(types.float64, result=types.float64)
def exponential(value: float) -> float:
    """Return e^x for x at most 0."""
    clipped = LOWEST if value < LOWEST else value
    whole = (clipped * LOG2_E + TO_WHOLE) - TO_WHOLE
    rest = (clipped - whole * LN2_HIGH) - whole * LN2_LOW
    power: float = TAYLOR[0]
    for place in range(1, len(TAYLOR)):
        power = power * rest + TAYLOR[place]
    scale: float = POWERS[int(-whole)] if math.isfinite(whole) else 1.0
    return power * scale


@compiled(_FLOATS, types.int64, array("float64", 1, write=True))
def score_gradient(scores: np.ndarray, label: int, delta: np.ndarray) -> None:
    """Write the gradient of the paper's loss at one row's scores."""
    highest = -np.inf
    for place in range(len(scores)):
        low = scores[place] if scores[place] < 0.0 else 0.0
        if math.isnan(scores[place]):
            low = scores[place]
        if low > highest or math.isnan(low):
            highest = low
        if math.isnan(highest):
            break
    total = 0.0
    for place in range(len(scores)):
        score = scores[place]
        low = score if score < 0.0 or math.isnan(score) else 0.0
        share = exponential(low - highest) * (1.0 / (1.0 + exponential(-abs(score))))
        delta[place] = share
        total += share
    for place in range(len(scores)):
        score = scores[place]
        small = exponential(-abs(score))
        share = delta[place] / total - (1.0 if place == label else 0.0)
        delta[place] = share * ((small if score > 0 else 1.0) * (1.0 / (1.0 + small)))


@register_jitable(inline="always")
def _nonzero(values: Any, places: Any) -> Any:
    """Write where values are not 0, and return how many; without a branch to mispredict."""
    count = 0
    for place in range(len(values)):
        places[count] = place
        count += values[place] != 0.0
    return count


@register_jitable(inline="always")
def _add_lines(target: Any, lines: Any, start: Any, factors: Any, places: Any) -> Any:
    """Add each line times its factor, one line after another; what is 0 adds nothing."""
    size, count = len(target), _nonzero(factors, places)
    whole = count - count % 4
    for at in range(0, whole, 4):
        i, j, k, m = places[at], places[at + 1], places[at + 2], places[at + 3]
        first = lines[start + i * size : start + (i + 1) * size]
        second = lines[start + j * size : start + (j + 1) * size]
        third = lines[start + k * size : start + (k + 1) * size]
        fourth = lines[start + m * size : start + (m + 1) * size]
        one, two, three, four = factors[i], factors[j], factors[k], factors[m]
        for place in range(size):
            target[place] = (
                ((target[place] + one * first[place]) + two * second[place]) + three * third[place]
            ) + four * fourth[place]
    for at in range(whole, count):
        line = lines[start + places[at] * size : start + (places[at] + 1) * size]
        factor = factors[places[at]]
        for place in range(size):
            target[place] += factor * line[place]


@compiled(
    _FLOATS,
    _FLOATS,
    array("float64", 2),
    _FLOATS,
    array("int64", 1),
    _FLAGS,
    _FLAGS,
    types.boolean,
    types.float64,
    types.float64,
    array("float64", 1, write=True),
)
def add_rows(
    weights: np.ndarray,
    turned: np.ndarray,
    features: np.ndarray,
    labels: np.ndarray,
    widths: np.ndarray,
    biases: np.ndarray,
    relus: np.ndarray,
    is_squared: bool,
    limit: float,
    spacing: float,
    total: np.ndarray,
) -> None:
    """Add the clipped rows to `total`, in units of the spacing.

    Args:
        weights: All parameters.
        turned: Each layer's weights, transposed, one after another.
        features: (rows, inputs).
        labels: (rows,) classes from 0; of a squared loss numbers.
        widths: The layers' inputs, then the outputs of the last.
        biases: Whether each layer has a bias.
        relus: Whether a ReLU comes after each.
        is_squared: Whether the loss is the squared error of one score, else the paper's.
        limit: What a row's norm is clipped to.
        spacing: The unit.
        total: What is added to.
    """
    depth, widest = len(biases), widths.max()
    inputs, deltas = np.zeros((depth + 1, widest)), np.zeros((depth, widest))
    living = np.zeros(widest, np.int64)
    starts, turns = np.zeros(depth + 1, np.int64), np.zeros(depth + 1, np.int64)
    for layer in range(depth):
        size = widths[layer] * widths[layer + 1]
        turns[layer + 1] = turns[layer] + size
        starts[layer + 1] = starts[layer] + size + (widths[layer + 1] if biases[layer] else 0)
    for row in range(len(features)):
        for place in range(widths[0]):
            inputs[0, place] = features[row, place]
        for layer in range(depth):
            given, width = widths[layer], widths[layer + 1]
            scores = inputs[layer + 1, :width]
            after = starts[layer] + given * width
            for place in range(width):
                scores[place] = weights[after + place] if biases[layer] else 0.0
            _add_lines(scores, turned, turns[layer], inputs[layer, :given], living)
            if relus[layer]:
                for place in range(width):
                    scores[place] = 0.0 if scores[place] <= 0.0 else scores[place]
        last = widths[depth]
        if is_squared:
            for place in range(last):
                deltas[depth - 1, place] = 2.0 * (inputs[depth, place] - labels[row])
        else:
            score_gradient(inputs[depth, :last], int(labels[row]), deltas[depth - 1, :last])
        for layer in range(depth - 1, 0, -1):
            given, width = widths[layer], widths[layer + 1]
            passed = deltas[layer - 1, :given]
            for place in range(given):
                passed[place] = 0.0
            _add_lines(passed, weights, starts[layer], deltas[layer, :width], living)
            if relus[layer - 1]:
                for place in range(given):
                    passed[place] = passed[place] if inputs[layer, place] > 0.0 else 0.0
        squared = 0.0
        for layer in range(depth):
            size = widths[layer] * LEAST
            for place in range(widths[layer]):
                size += inputs[layer, place] * inputs[layer, place]
            if biases[layer]:
                size += 1.0
            change = widths[layer + 1] * LEAST
            for place in range(widths[layer + 1]):
                change += deltas[layer, place] * deltas[layer, place]
            squared += change * size
        norm = math.sqrt(squared)
        if not math.isfinite(norm):
            continue  # it adds exactly nothing
        factor = min(1.0, limit / (norm + SLACK)) / spacing
        for layer in range(depth):
            given, width = widths[layer], widths[layer + 1]
            start = starts[layer]
            for at in range(_nonzero(deltas[layer, :width], living)):
                out = living[at]
                scaled = deltas[layer, out] * factor
                line = total[start + out * given : start + (out + 1) * given]
                for place in range(given):
                    line[place] += (scaled * inputs[layer, place] + TO_WHOLE) - TO_WHOLE
                if biases[layer]:
                    total[start + given * width + out] += (scaled + TO_WHOLE) - TO_WHOLE
