"""What a side that cheats puts into one store: as many keys as there are slots, and more."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from psi.keyvalue import StoreKeys


class NoRelationError(Exception):
    """The session's hashes, which nobody chooses alone, have no relations as they are looked for.

    With values of 3 bytes and a list of 2048 that is one session in six.
    """


def rows_of(store: StoreKeys) -> list[int]:
    """Each key's row: one bit for each entry that belongs to it."""
    rows = zip(store.places.tolist(), store.dense.tolist(), strict=True)
    return [bits | sum(1 << (40 + place) for place in places) for places, bits in rows]


def fitting(store: StoreKeys) -> list[int]:
    """Numbers of keys that one store can hold together, as many as there can be."""
    chosen: list[int] = []
    pivots: dict[int, int] = {}
    for number, row in enumerate(rows_of(store)):
        while row.bit_length() in pivots:
            row ^= pivots[row.bit_length()]
        if row:
            pivots[row.bit_length()] = row
            chosen.append(number)
    return chosen


def related(
    store: StoreKeys, values: NDArray[np.uint8], rank: int, relations: int
) -> tuple[list[int], list[int]]:
    """Keys that one store holds together, and those of them for which it is made: `rank` of these.

    Four at a time have rows and values that add up to zero: three of them bring the fourth.
    """
    width = 8 * values.shape[1]
    vectors = [
        row << width | int.from_bytes(value.tobytes(), "big")
        for row, value in zip(rows_of(store), values, strict=True)
    ]
    pivots: dict[int, int] = {}

    def reduced(vector: int) -> int:
        while vector.bit_length() in pivots:
            vector ^= pivots[vector.bit_length()]
        return vector

    def independent(numbers: Sequence[int]) -> bool:
        before = dict(pivots)
        for number in numbers:
            left = reduced(vectors[number])
            if left.bit_length() <= width:  # a row of those before
                pivots.clear()
                pivots.update(before)
                return False
            pivots[left.bit_length()] = left
        return True

    chosen: list[int] = []
    for number in range(len(vectors)):
        if len(chosen) < rank - 3 * relations and independent([number]):
            chosen.append(number)
    basis = list(chosen)
    for _ in range(relations):
        remaining = {n: reduced(vector) for n, vector in enumerate(vectors)}
        fours = _four_adding_up_to_zero({n: one for n, one in remaining.items() if one})
        four = next((four for four in fours if independent(four[:3])), None)
        if four is None:
            raise NoRelationError
        basis += four[:3]
        chosen += four
    assert len(basis) == rank
    return chosen, basis


def _four_adding_up_to_zero(vectors: Mapping[int, int]) -> Iterator[list[int]]:
    """Yield numbers of four vectors whose exclusive or is 0 (Wagner 2002, without its tree)."""
    mask = (1 << len(vectors).bit_length() - 1) - 1
    alike: dict[int, list[int]] = {}
    for number, vector in vectors.items():
        alike.setdefault(vector & mask, []).append(number)
    for low in range(1, mask + 1):
        pairs: dict[int, tuple[int, int]] = {}
        for number, vector in vectors.items():
            for other in alike.get(vector & mask ^ low, []):
                if number < other:
                    before = pairs.setdefault(vector ^ vectors[other], (number, other))
                    if len({*before, number, other}) == 4:
                        yield [*before, number, other]
