"""The loops of an oblivious key-value store compiled by numba: peeling, filling, looking up."""

from typing import Any

import numpy as np
from numba import int64
from numpy.typing import NDArray

from psi.compiled.compiling import array, compiled
from psi.kernels.vectors import prefetch

__all__ = ["fill_slots", "look_up", "peel"]

_AHEAD = 8
_PLACES, _BITS = array("uint32", 2), array("uint64", 1)


@compiled(
    *(_PLACES, array("uint32", 2, write=True), array("int8", 1, write=True)),
    *(array("int64", 1, write=True), array("int64", 1, write=True)),
    array("uint32", 1, write=True),
    result=int64,
)
def _peel(places: Any, slots: Any, turns: Any, order: Any, ends: Any, queue: Any) -> Any:
    """Peel; a slot is how many rows lie there, and the sum of their numbers."""
    for row in range(len(places)):
        if row + _AHEAD < len(places):
            for turn in range(3):
                prefetch(slots[places[row + _AHEAD, turn]].ctypes.data)
        for turn in range(3):
            slots[places[row, turn], 0] += 1
            slots[places[row, turn], 1] += np.uint32(row)
    head, tail, done, rounds = 0, 0, 0, 0
    for slot in range(len(slots)):
        if slots[slot, 0] == 1:
            queue[tail] = slot
            tail += 1
    while head < tail:
        first, end = done, tail
        for at in range(head, end):
            if at + 2 * _AHEAD < end:
                prefetch(slots[queue[at + 2 * _AHEAD]].ctypes.data)
            if at + _AHEAD < end:  # a slot that was left since has the sum 0, so row 0 is fetched
                prefetch(places[slots[queue[at + _AHEAD], 1]].ctypes.data)
            slot = queue[at]
            if slots[slot, 0] != 1:
                continue
            row, turn = slots[slot, 1], 0
            while places[row, turn] != slot:
                turn += 1
            if turns[row] < 0:
                order[done] = row
                done += 1
            if turns[row] < 0 or turn < turns[row]:
                turns[row] = turn
        head = end
        for at in range(first, done):
            if at + _AHEAD < done:
                for turn in range(3):
                    prefetch(slots[places[order[at + _AHEAD], turn]].ctypes.data)
            row = order[at]
            for turn in range(3):
                slot = places[row, turn]
                slots[slot, 0] -= 1
                slots[slot, 1] -= np.uint32(row)
                if slots[slot, 0] == 1:  # each slot comes here once
                    queue[tail] = slot
                    tail += 1
        if done > first:
            ends[rounds] = done
            rounds += 1
    return rounds


def _fill(
    table: Any, places: Any, dense: Any, values: Any, order: Any, turns: Any, sums: Any
) -> None:
    line = np.empty_like(table[0])
    for at in range(len(order) - 1, -1, -1):
        if at >= 2 * _AHEAD:  # rows lie apart, and so do their slots: fetch both in time
            row = order[at - 2 * _AHEAD]
            prefetch(places[row].ctypes.data)
            prefetch(dense[row:].ctypes.data)
            prefetch(values[row].ctypes.data)
        if at >= _AHEAD:
            row = order[at - _AHEAD]
            for turn in range(3):
                prefetch(table[places[row, turn]].ctypes.data)
        row = order[at]
        turn = turns[row]
        one, other = places[row, (turn + 1) % 3], places[row, (turn + 2) % 3]
        bits = dense[row]
        for word in range(len(line)):
            line[word] = values[row, word] ^ table[one, word] ^ table[other, word]
        for part in range(len(sums)):
            index = (bits >> np.uint64(8 * part)) & np.uint64(255)
            for word in range(len(line)):
                line[word] ^= sums[part, index, word]
        target = places[row, turn]
        for word in range(len(line)):
            table[target, word] = line[word]


def _look_up(table: Any, places: Any, dense: Any, sums: Any, out: Any) -> None:
    line = np.empty_like(table[0])
    for row in range(len(places)):
        if row + _AHEAD < len(places):
            for turn in range(3):
                prefetch(table[places[row + _AHEAD, turn]].ctypes.data)
        one, two, three = places[row]
        bits = dense[row]
        for word in range(len(line)):
            line[word] = table[one, word] ^ table[two, word] ^ table[three, word]
        for part in range(len(sums)):
            index = (bits >> np.uint64(8 * part)) & np.uint64(255)
            for word in range(len(line)):
                line[word] ^= sums[part, index, word]
        for word in range(len(line)):
            out[row, word] = line[word]


def _loops(kind: str) -> tuple[Any, Any]:
    """Return the loops over entries that consist of bytes, or of words."""
    read, write = array(kind, 2), array(kind, 2, write=True)
    sums = array(kind, 3)
    return (
        compiled(write, _PLACES, _BITS, read, array("int64", 1), array("int8", 1), sums)(_fill),
        compiled(read, _PLACES, _BITS, sums, write)(_look_up),
    )


_LOOPS = {kind: _loops(kind) for kind in ("uint8", "uint64")}


def _widest(*arrays: NDArray[np.uint8]) -> tuple[str, list[NDArray[Any]]]:
    """Return arrays of entries as words where their width allows."""
    kind = "uint64" if arrays[0].shape[1] % 8 == 0 else "uint8"
    return kind, [np.ascontiguousarray(one).view(kind) for one in arrays]


def peel(
    places: NDArray[np.uint32], slots: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int8]]:
    """Return what `psi.kernels.peel` returns."""
    count = len(places)
    order, ends = np.empty(count, np.int64), np.empty(count, np.int64)
    turns = np.full(count, -1, np.int8)
    state, queue = np.zeros((slots, 2), np.uint32), np.empty(slots, np.uint32)
    rounds = _peel(places, state, turns, order, ends, queue)
    ends = ends[:rounds].copy()
    return order[: ends[-1] if rounds else 0], ends, turns


def fill_slots(
    table: NDArray[np.uint8],
    places: NDArray[np.uint32],
    dense: NDArray[np.uint64],
    values: NDArray[np.uint8],
    peeled: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int8]],
    sums: NDArray[np.uint8],
) -> None:
    """Do what `psi.kernels.fill_slots` does."""
    order, _, turns = peeled
    kind, (entries, words, parts) = _widest(table, values, sums)
    _LOOPS[kind][0](entries, places, dense, words, order, turns, parts)


def look_up(
    table: NDArray[np.uint8],
    places: NDArray[np.uint32],
    dense: NDArray[np.uint64],
    sums: NDArray[np.uint8],
) -> NDArray[np.uint8]:
    """Return what `psi.kernels.look_up` returns."""
    out = np.empty((len(places), table.shape[1]), np.uint8)
    kind, (entries, parts, found) = _widest(table, sums, out)
    _LOOPS[kind][1](entries, places, dense, parts, found)
    return out
