"""Floats to the integers that travel, and integer sums back to a mean: one way for all schemes."""

import operator
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from privfed.errors import CapacityError, ConfigError
from privfed.he import Integers
from privfed.secagg.layout import runs
from privfed.secagg.parameters import Parameters

_CHUNK = 1 << 16  # values at a time: temporaries stay in the processor's cache


@dataclass(frozen=True)
class Update:
    """An update that passed the checks: its values as flat views, and its weight's digits."""

    views: list[npt.NDArray[Any]] = field(repr=False)
    digits: list[int] = field(repr=False)
    # Grid steps per value, which would reveal the weight; None: the values are integers already.
    factor: float | None = field(repr=False)

    @property
    def wide(self) -> bool:
        """Whether its values may lie outside the range of a sum."""
        return self.factor is None


class Quantizer:
    """Turns updates into integers in [-limit, limit] under one parameter set."""

    def __init__(self, params: Parameters) -> None:
        self._params = params
        # float32 arrays clipped to the range hold its nearest float32, which may lie just above.
        self._top = np.float32(params.clip_range)
        self._bound = max(params.clip_range, float(self._top))

    def check(self, arrays: Mapping[str, Any], weight: int | None) -> Update:
        """Return an update ready to be read in pieces.

        Raises:
            ConfigError: Arrays or weight do not fit the parameters, or a value is not finite.
            CapacityError: A value is past the clip range, and the parameters say refuse.
        """
        params = self._params
        if params.noise_shares:  # what protects an update where rounds are compared
            raise ConfigError(
                "with noise_shares updates are integers that carry noise: encrypt_integers() "
                "sends them"
            )
        views = params.layout.flat(arrays)
        low = min((float(view.min()) for view in views if len(view)), default=0.0)
        high = max((float(view.max()) for view in views if len(view)), default=0.0)
        if any(len(view) and np.isnan(view.min()) for view in views) or not (
            np.isfinite(low) and np.isfinite(high)
        ):
            raise ConfigError("the update holds NaN or infinite values; look at the training")
        clip = max(-low, high) > self._bound
        if clip and params.out_of_range == "refuse":
            raise CapacityError(
                f"a value is past clip_range={params.clip_range}: clip it, raise clip_range, "
                "or set out_of_range='clip'"
            )
        digits, share = self._weight(weight)
        return Update(views, digits, share / params.step)

    def check_integers(self, arrays: Mapping[str, Any]) -> Update:
        """Return an update of integers ready to be read in pieces.

        Raises:
            ConfigError: The arrays do not fit the layout, or the parameters carry weights.
            CapacityError: An integer is past what a whole sum can be, and the scheme cannot
                carry it.
        """
        params = self._params
        if params.max_weight is not None:
            raise ConfigError("integers carry no weights: set max_weight=None")
        views = params.layout.flat(arrays, kinds="iu")
        if params.wraps:
            return Update(views, [], None)
        top = params.packing.limit * params.max_clients
        if any(len(view) and (int(view.min()) < -top or int(view.max()) > top) for view in views):
            raise CapacityError(
                f"an integer is past {top}, the largest sum: use scheme='packed', more bits or a "
                "coarser grid"
            )
        return Update(views, [], None)

    def _weight(self, weight: int | None) -> tuple[list[int], float]:
        """Return the weight's digits and its share of the largest weight."""
        largest = self._params.max_weight
        if largest is None:
            if weight is not None:
                raise ConfigError("these parameters carry no weights: leave weight out")
            return [], 1.0
        try:
            if weight is None or isinstance(weight, bool):
                raise TypeError
            number = operator.index(weight)
        except TypeError:
            raise ConfigError(f"weight must be a whole number from 0 to {largest}") from None
        if not 0 <= number <= largest:
            raise ConfigError(f"weight must be 0 to max_weight={largest}")
        base_bits = self._params.bits - 1
        digits = [
            number >> (place * base_bits) & (2**base_bits - 1)
            for place in range(self._params.weight_digits)
        ]
        return digits, number / largest

    def integers(self, update: Update, start: int, stop: int) -> Integers:
        """Return integers `start` to `stop` of the update, its weight's digits first."""
        out = np.empty(stop - start, np.int64)
        digits = update.digits[start:stop]
        out[: len(digits)] = digits
        filled, skipped = len(digits), len(update.digits)
        limit = self._params.packing.limit
        scaled = np.empty(min(_CHUNK, len(out)), np.float64)
        for run in runs(update.views, start + filled - skipped, stop - skipped):
            if update.factor is None:
                out[filled : filled + len(run)] = run
                filled += len(run)
                continue
            for at in range(0, len(run), _CHUNK):
                piece = run[at : at + _CHUNK]
                buffer = scaled[: len(piece)]
                np.multiply(piece, update.factor, out=buffer, dtype=np.float64)
                np.rint(buffer, out=buffer)
                # Also without clipping: the float32 nearest to the range may lie past it.
                np.clip(buffer, -limit, limit, out=buffer)
                out[filled : filled + len(piece)] = buffer
                filled += len(piece)
        return out

    def total_weight(self, sums: Integers) -> int | None:
        """Return the sum of weights that the first integers of the summed update carry."""
        if self._params.max_weight is None:
            return None
        digits = sums[: self._params.weight_digits]
        base_bits = self._params.bits - 1
        return sum(int(digit) << (place * base_bits) for place, digit in enumerate(digits))

    def mean_factor(self, total_weight: int | None, clients: int) -> float:
        """Return what one step of the integer sum is worth in the mean."""
        if total_weight is None:
            return self._params.step / clients
        return self._params.step * ((self._params.max_weight or 0) / total_weight)

    def max_error(self, total_weight: int | None, clients: int) -> float:
        """Return the largest error of one value of the mean: half a step from every party."""
        return clients * self.mean_factor(total_weight, clients) / 2

    def mean(
        self, sums: Integers, total_weight: int | None, clients: int, out: npt.NDArray[np.float32]
    ) -> None:
        """Write the mean of summed values (weight digits left out) to `out`.

        No mean is past the range, so that `check` takes it in the next round.
        """
        factor = self.mean_factor(total_weight, clients)
        for start in range(0, len(sums), _CHUNK):
            piece, into = sums[start : start + _CHUNK], out[start : start + _CHUNK]
            into[:] = piece * factor
            # Roundings, each scaled by max_weight / weight, may add up to past the range.
            np.clip(into, -self._top, self._top, out=into)


__all__ = ["Quantizer", "Update"]
