"""Ranges for a job's arrays, learnt in a round of which the server sees nothing.

Before the first round of a job parties run another one, over the same roster and groups, in which
each says of each array which octaves (powers of two) its largest magnitude reaches, 0 to 2 octaves
more than it does: a number that the system's randomness draws. The sums say how many parties reach
each octave, and from them everybody finds the same ranges. A party's own octaves are seen by
nobody, but at two parties by the other one, who subtracts its own. What a party says is not exact,
but it is no differential privacy either: docs/arrays.md says what is shown, and why noise that were
would leave nothing of it. What a party sends is not checked: one that lies can name any range.
"""

import math
import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from privfed.errors import ConfigError
from privfed.secagg.checks import check_params
from privfed.secagg.clip_ranges import MOST
from privfed.secagg.layout import Layout
from privfed.secagg.parameters import Parameters
from privfed.secagg.results import IntegerResult
from privfed.secagg.rounds import is_whole

LOWEST, HIGHEST = -66, 66
"""Exponents of the octaves, those of the ranges that there may be."""

_BLUR = 2  # octaves that a party adds at most
_CELLS = HIGHEST - LOWEST + 1
_BITS = 6  # of the range round, the fewest: its numbers are 0 and 1


def range_round(params: Parameters) -> Parameters:
    """Return the parameters of the round in which ranges for a job are learnt.

    They name `params`, so that parties who agreed on other ones do not add. Its key is
    `SecretKey.successor` of the job's.

    Args:
        params: The job's, with any ranges.

    Raises:
        ConfigError: Updates with noise shares have no ranges.
    """
    if check_params(params).noise_shares:
        raise ConfigError("updates with noise shares are integers, which have no ranges to learn")
    return replace(
        params,
        job=f"ranges of {params.fingerprint.hex()}",
        layout=Layout(tuple((name, (_CELLS,)) for name, _ in params.layout.entries)),
        clip_range=1.0,
        clip_ranges=(),
        bits=_BITS,
        max_weight=None,
        out_of_range="refuse",
        cover_c0=params.cover_c0 or None,
    )


def octaves(arrays: Mapping[str, Any], params: Parameters) -> dict[str, npt.NDArray[np.int64]]:
    """Return what a party sends in the range round, by `encrypt_integers`; drawn anew each time.

    Args:
        arrays: An update as it will be sent in the job.
        params: The job's.

    Returns:
        By array, a 1 for each octave that its largest magnitude reaches, and for 0 to 2 more.

    Raises:
        ConfigError: The arrays do not fit the layout, or a value is not finite or past 1e20.
    """
    layout = check_params(params).layout
    said = {}
    for (name, _), values in zip(layout.entries, layout.flat(arrays), strict=True):
        largest = max(-float(values.min()), float(values.max())) if len(values) else 0.0
        if not largest <= MOST:
            raise ConfigError(
                f"array {name!r} holds NaN, infinite or huge values; look at the training"
            )
        said[name] = np.zeros(_CELLS, np.int64)
        if largest:
            reached = max(_octave(largest), LOWEST) + secrets.randbelow(_BLUR + 1)
            said[name][: min(reached, HIGHEST) - LOWEST + 1] = 1
    return said


def learnt(
    params: Parameters, result: IntegerResult, *, least: int = 1, headroom: int = 1
) -> Parameters:
    """Return the job's parameters with the ranges that its range round found.

    Args:
        params: The job's, of which `range_round` made the round's.
        result: What the round gave, by `open_sums`.
        least: Parties that must reach an octave for it to count. With 1 every party's values fit;
            with more, one whose training went wrong does not cost the others their precision, and
            what is past the range is refused or clipped as `out_of_range` says.
        headroom: Octaves that values may grow by in later rounds; each costs a bit.

    Returns:
        `params` with a power of two as range of each array; where too few parties have values
        other than 0, the range that it had.

    Raises:
        ConfigError: The result is none of that round, or a party sent other than octaves.
    """
    if not isinstance(result, IntegerResult):
        raise ConfigError("result is what open_sums() returned for the range round")
    if not is_whole(least) or not 1 <= least <= len(result.senders):
        raise ConfigError(f"least is a number of parties, 1 to the round's {len(result.senders)}")
    if not is_whole(headroom) or not 0 <= headroom <= HIGHEST:
        raise ConfigError(f"headroom is a whole number of octaves, 0 to {HIGHEST}")
    ranges = {}
    for name, _ in check_params(params).layout.entries:
        reach = _counts(name, result)
        cells = np.flatnonzero(reach >= least)
        if len(cells):
            ranges[name] = min(math.ldexp(1, LOWEST + int(cells[-1]) + headroom), MOST)
        else:
            ranges[name] = params.range_of(name)
    return replace(params, clip_ranges=ranges)


def _octave(value: float) -> int:
    """Return the exponent of the smallest power of two that is no smaller."""
    fraction, exponent = math.frexp(value)  # 0.5 <= fraction < 1
    return exponent - (fraction == 0.5)


def _counts(name: str, result: IntegerResult) -> npt.NDArray[np.int64]:
    """Return how many parties reach each octave of an array, which fewer do the higher it is."""
    counts = result.sums.get(name)
    if counts is None or counts.shape != (_CELLS,):
        raise ConfigError(f"the result has no octaves of {name!r}: it is none of the range round")
    steps = np.diff(np.concatenate([[len(result.senders)], counts, [0]]))
    if steps.max() > 0:
        raise ConfigError(
            f"the sums of {name!r} are none of octaves: a party sent something else; use ranges "
            "that you know"
        )
    return counts
