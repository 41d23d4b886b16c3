"""Floats to the integers that travel, and integer sums back to a mean: one way for all schemes."""

import operator
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from privfed.errors import CapacityError, ConfigError, PrecisionWarning
from privfed.he import Integers
from privfed.secagg.parameters import Parameters

_SMALL = 0.01  # share of its range below which an array's values have lost seven of their bits
_HALF_ULP = 2.0**-24  # of float32, relative
_CHUNK = 1 << 16  # values at a time: temporaries stay in the processor's cache


@dataclass(frozen=True)
class Update:
    """An update that passed the checks: its values as flat views, and its weight's digits."""

    views: list[npt.NDArray[Any]] = field(repr=False)
    digits: list[int] = field(repr=False)
    # By array, grid steps per value, which would reveal the weight; None: values are integers.
    factors: list[float] | None = field(repr=False)

    @property
    def wide(self) -> bool:
        """Whether its values may lie outside the range of a sum."""
        return self.factors is None


class Quantizer:
    """Turns updates into integers in [-limit, limit] under one parameter set."""

    def __init__(self, params: Parameters) -> None:
        self._params = params
        self._grids = [_Grid.of(params, name) for name, _ in params.layout.entries]
        self._warned: set[str] = set()

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
        for grid, view in zip(self._grids, views, strict=True):
            self._check_values(grid, view)
        digits, share = self._weight(weight)
        return Update(views, digits, [share / grid.step for grid in self._grids])

    def _check_values(self, grid: "_Grid", view: npt.NDArray[Any]) -> None:
        """Refuse values that are not finite, or past the range, and warn of lost ones."""
        if not len(view):
            return
        largest = max(-float(view.min()), float(view.max()))
        if not np.isfinite(largest):  # of a NaN, smallest and largest are NaN
            raise ConfigError(
                f"array {grid.name!r} holds NaN or infinite values; look at the training"
            )
        if largest > grid.bound:
            if self._params.out_of_range == "refuse":
                raise CapacityError(
                    f"a value of {grid.name!r} is past its range of {grid.range:g}: clip it, "
                    f"raise clip_range, or clip_ranges={{{grid.name!r}: …}} for this array, or "
                    "set out_of_range='clip'"
                )
            clipped = np.count_nonzero(np.abs(view) > grid.bound) / len(view)
            self._warn(grid, f"{_percent(clipped)} of its values are clipped to")
        elif 0 < largest < grid.range * _SMALL:
            self._warn(grid, "its values use under a hundredth of")

    def _warn(self, grid: "_Grid", what: str) -> None:
        """Warn of an array once; no more is told of its values."""
        if grid.name not in self._warned:
            self._warned.add(grid.name)
            warnings.warn(
                f"array {grid.name!r}: {what} its range of {grid.range:g}; give it a range that "
                f"fits, by clip_ranges={{{grid.name!r}: …}}, or let a range round find it "
                "(docs/arrays.md)",
                PrecisionWarning,
                stacklevel=7,  # who calls Party.encrypt
            )

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
        spans = self._params.layout.spans(start + filled - skipped, stop - skipped)
        for place, span in spans:
            run = update.views[place][span]
            if update.factors is None:
                out[filled : filled + len(run)] = run
                filled += len(run)
                continue
            for at in range(0, len(run), _CHUNK):
                piece = run[at : at + _CHUNK]
                buffer = scaled[: len(piece)]
                np.multiply(piece, update.factors[place], out=buffer, dtype=np.float64)
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

    def max_errors(self, total_weight: int | None, clients: int) -> dict[str, float]:
        """Return the largest error of a value of the mean, by array.

        Half a grid step from every party, what float32 rounds, and what it has past the range.
        """
        return {
            grid.name: clients * self._worth(grid.step, total_weight, clients) / 2 + grid.rounding
            for grid in self._grids
        }

    def keeps_tolerance(self, total_weight: int, clients: int) -> bool:
        """Return whether the grid's error, the same share of every range, is within tolerance."""
        error = clients * self._worth(self._params.step, total_weight, clients) / 2
        return error <= self._params.tolerance * self._params.clip_range

    def mean(
        self,
        sums: Integers,
        start: int,
        total_weight: int | None,
        clients: int,
        out: npt.NDArray[np.float32],
    ) -> None:
        """Write the mean of summed values, of which the first is the layout's `start`, to `out`.

        No mean is past its range, so that `check` takes it in the next round.
        """
        filled = 0
        for place, span in self._params.layout.spans(start, start + len(sums)):
            grid, length = self._grids[place], span.stop - span.start
            factor = self._worth(grid.step, total_weight, clients)
            for at in range(filled, filled + length, _CHUNK):
                end = min(at + _CHUNK, filled + length)
                into = out[at:end]
                into[:] = sums[at:end] * factor
                # Roundings, each scaled by max_weight / weight, may add up to past the range.
                np.clip(into, -grid.top, grid.top, out=into)
            filled += length

    def _worth(self, step: float, total_weight: int | None, clients: int) -> float:
        """Return what one grid step of the integer sum is worth in the mean."""
        if total_weight is None:
            return step / clients
        return step * ((self._params.max_weight or 0) / total_weight)


@dataclass(frozen=True)
class _Grid:
    """The grid of one array.

    Attributes:
        name: The array's.
        range: Largest magnitude of a value.
        step: Distance of two neighbours on the grid.
        top: The float32 nearest to the range, which may lie past it.
        bound: Largest magnitude that is taken: arrays clipped in float32 hold `top`.
        rounding: Largest error of a value beside the grid's.
    """

    name: str
    range: float
    step: float
    top: np.float32
    bound: float
    rounding: float

    @classmethod
    def of(cls, params: Parameters, name: str) -> "_Grid":
        """Return the grid that parameters give an array."""
        largest = params.range_of(name)
        top = np.float32(largest)
        bound = max(largest, float(top))
        past = bound - largest  # clipped to the grid
        return cls(name, largest, params.step_of(name), top, bound, past + bound * _HALF_ULP)


def _percent(share: float) -> str:
    return "under 1 %" if share < 0.01 else f"{share:.0%}".replace("%", " %")


__all__ = ["Quantizer", "Update"]
