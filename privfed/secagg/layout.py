"""Which arrays an update holds, in which order and shape."""

import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from privfed.errors import ConfigError
from privfed.secagg.arrays import as_numpy, check_names, named

Scalar = TypeVar("Scalar", bound=np.generic)

MAX_VALUES = 1_000_000_000
MAX_SIDES = 32


@dataclass(frozen=True)
class Layout:
    """Names and shapes of the floating-point arrays of an update, in the order they travel.

    Attributes:
        entries: (name, shape) of each array.
        skipped: Names of arrays that don't travel: integer or boolean buffers, such as
            BatchNorm's step counters, whose average means nothing. Each party keeps its own.

    Raises:
        ConfigError: A name repeats, a shape is not valid, or there are no values or too many.
    """

    entries: tuple[tuple[str, tuple[int, ...]], ...]
    skipped: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        try:
            names = [name for name, shape in self.entries if isinstance(shape, tuple)]
            whole = len(names) == len(self.entries) and isinstance(self.entries, tuple)
        except (TypeError, ValueError):
            whole = False
        if not whole or not isinstance(self.skipped, tuple):
            raise ConfigError(
                "a layout is a tuple of (name, shape) tuples and one of names: Layout.of(arrays) "
                "makes it"
            )
        names += self.skipped
        if not all(isinstance(name, str) for name in names):
            raise ConfigError("an array's name is no text")
        if len(set(names)) != len(names):
            raise ConfigError("an array's name repeats in the layout")
        # Before anything is multiplied: the product of many huge sides takes for ever.
        if not all(
            len(shape) <= MAX_SIDES
            and all(type(side) is int and 0 <= side <= MAX_VALUES for side in shape)
            for _, shape in self.entries
        ):
            raise ConfigError(
                f"a shape is at most {MAX_SIDES} whole numbers, each 0 to {MAX_VALUES}"
            )
        if not 0 < self.size <= MAX_VALUES:
            raise ConfigError(f"an update has 1 to {MAX_VALUES} values, not {self.size}")

    @classmethod
    def of(cls, arrays: Mapping[str, Any]) -> "Layout":
        """Return the layout of a dict of numpy arrays or of a torch state_dict, sorted by name.

        Raises:
            ConfigError: There is no value in it, or an array holds neither floats nor integers.
        """
        entries, skipped = [], []
        for name, array in sorted(named(arrays).items()):
            values = as_numpy(name, array)
            if values.dtype.kind == "f":
                entries.append((name, values.shape))
            else:
                skipped.append(name)
        return cls(tuple(entries), tuple(skipped))

    @cached_property
    def size(self) -> int:
        """Number of values that travel."""
        return sum(math.prod(shape) for _, shape in self.entries)

    def flat(self, arrays: Mapping[str, Any], kinds: str = "f") -> list[npt.NDArray[Any]]:
        """Return the arrays as one-dimensional views in order, after checking names and shapes.

        Args:
            arrays: Numpy arrays or torch tensors.
            kinds: Numpy's letters of the kinds of numbers that are accepted.

        Raises:
            ConfigError: They do not fit this layout.
        """
        arrays = named(arrays)
        check_names(dict(self.entries), self.skipped, arrays)
        views = []
        for name, shape in self.entries:
            values = as_numpy(name, arrays[name])
            if values.shape != shape or values.dtype.kind not in kinds:
                wanted = "floats" if kinds == "f" else "integers"
                raise ConfigError(
                    f"array {name!r} is {values.dtype}{list(values.shape)}, "
                    f"expected are {wanted} {list(shape)}"
                )
            views.append(values.reshape(-1))
        return views

    def spans(self, start: int, stop: int) -> Iterator[tuple[int, slice]]:
        """Yield (number of an array, which of its values) for values `start` to `stop` of all."""
        first = bisect_right(self._stops, start)
        for place in range(first, len(self.entries)):
            begin = self._stops[place - 1] if place else 0
            if begin >= stop:
                return
            yield place, slice(max(start - begin, 0), min(stop, self._stops[place]) - begin)

    @cached_property
    def _stops(self) -> list[int]:
        """How many values there are up to the end of each array."""
        return list(accumulate(math.prod(shape) for _, shape in self.entries))

    def unflatten(self, values: npt.NDArray[Scalar]) -> dict[str, npt.NDArray[Scalar]]:
        """Return `size` values as arrays of this layout: views, not copies."""
        arrays, start = {}, 0
        for name, shape in self.entries:
            stop = start + math.prod(shape)
            arrays[name] = values[start:stop].reshape(shape)
            start = stop
        return arrays
