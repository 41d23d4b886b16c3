"""Cuckoo hashing as exact matching: one function, which Python runs or numba compiles."""

from typing import Any

__all__ = ["place_items"]


def place_items(flat: Any, n: int, table: Any, visited: Any, parents: Any, queue: Any) -> int:
    """Assign to each item one of its three bins by shortest augmenting paths (Berge 1957).

    An item that finds its bins taken moves others along the shortest path to an empty bin. If
    there is none, no assignment of all items exists, whatever the order of insertion.

    Args:
        flat: 3·n bins: item i may lie in those at 3·i, 3·i + 1 and 3·i + 2.
        n: How many items there are.
        table: -1 for each bin; becomes 3·item + hash index where a bin is taken.
        visited: -1 for each bin; scratch space.
        parents: Scratch space, one entry per bin.
        queue: Scratch space, one entry per bin.

    Returns:
        How many items were placed before one could not be: n if all were.
    """
    for item in range(n):
        head, tail, empty = 0, 0, -1
        for slot in range(3 * item, 3 * item + 3):
            start = flat[slot]
            if table[start] < 0:
                empty, parents[start] = start, -1
                break
            if visited[start] != item:
                visited[start], parents[start], queue[tail] = item, -1, start
                tail += 1
        while empty < 0:
            if head == tail:
                return item
            full = queue[head]
            head += 1
            first = table[full] // 3 * 3
            for slot in range(first, first + 3):
                near = flat[slot]
                if visited[near] != item:
                    visited[near], parents[near], queue[tail] = item, full, near
                    tail += 1
                    if table[near] < 0:
                        empty = near
                        break
        while True:  # each item on the path moves to the next bin; the new one takes the first
            source = parents[empty]
            mover = item if source < 0 else table[source] // 3
            slot = 3 * mover
            while flat[slot] != empty:
                slot += 1
            table[empty] = slot
            if source < 0:
                break
            empty = source
    return n
