"""Boosted trees of ours: one histogram in one process, or a party of a training, rank 0 the guest.

The task `histogram`: the sums of two vectors over each column's bins, shared by both sides, a key
and the transforms of bins included, which a model makes once. The task `tree`: a training over
psi's connection on loopback. It begins at codes: what reads and bins a table is left out. What is
compiled is loaded before, by a small job in this process alone.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.vertical_job import BINS, DEPTH, Floats, Tables, tables
from benchmarks.vertical_ours import SIDES, hold
from benchmarks.worker import Work, measured

LEAST_ROWS = 10
_PLAIN_BITS = 32
_REPEATED = 5  # histograms, whose mean is told
_TREES, _CACHE_BYTES = 100, 1 << 30  # those of a model that answers so many histograms


class TreeParty:
    """One side of a job: its splits, its codes, and what it brings to training."""

    def __init__(self, rank: int, splits: Any, codes: Any, labels: Floats) -> None:
        self.splits, self.codes = splits, codes
        self._rank, self._labels = rank, labels

    def side(self, host_splits: int, trees: int, cache_bytes: int = _CACHE_BYTES) -> Any:
        """Return this side of a training."""
        from privfed.vertical.trees.boosting import Boosting
        from privfed.vertical.trees.growing import TreeSettings
        from privfed.vertical.trees.guest import TreesGuest
        from privfed.vertical.trees.host import TreesHost
        from privfed.vertical.trees.objective import Objective
        from privfed.vertical.trees.plan import TreesPlan
        from privfed.vertical.trees.splits import MOST_WEIGHT

        rows = len(self._labels)
        plan = TreesPlan(rows=rows, host_splits=host_splits, trees=trees, depth=DEPTH)
        if self._rank:
            return TreesHost(plan, self.splits, self.codes, cache_bytes=cache_bytes)
        self.boosting = Boosting(
            TreeSettings(depth=DEPTH, least_rows=LEAST_ROWS),
            Objective("logistic", self._labels[:, None], np.ones(rows)),
            self.splits,
            self.codes,
            rounds=trees,
            most=plan.most_score,
            weight=MOST_WEIGHT,
            generator=np.random.default_rng(),
        )
        return TreesGuest(plan, self.boosting)


def binned(block: Floats, tests: int = 0) -> tuple[Any, NDArray[np.uint8]]:
    """Return the splits of a block's rows but the first ones, and the codes of all."""
    from privfed.data import NumericColumn
    from privfed.vertical.trees.columns import ColumnBins
    from privfed.vertical.trees.splits import Splits

    columns = [
        ColumnBins.fit(
            NumericColumn(str(place), own.min(), own.max()), own[tests:], BINS, LEAST_ROWS
        )
        for place, own in enumerate(block.T)
    ]
    pairs = zip(columns, block.T, strict=True)
    codes = np.ascontiguousarray([column.codes(own) for column, own in pairs])
    counts, ordered = zip(*((column.count, column.ordered) for column in columns), strict=True)
    known = np.ascontiguousarray(codes[:, tests:])
    return Splits.between(known, counts, ordered, LEAST_ROWS), codes


def parties(drawn: Tables) -> list[TreeParty]:
    """Return both sides of a job."""
    blocks = (drawn.guest, drawn.host)
    return [TreeParty(rank, *binned(block), drawn.labels) for rank, block in enumerate(blocks)]


def histogram(rows: int, columns: int) -> dict[str, Any]:
    """Sum two vectors over each column's bins, and return what it cost."""
    from privfed.vertical.trees.subsets import Subsets
    from privfed.vertical.trees.sums import SumsAnswerer, SumsLayout, SumsReader

    rng = np.random.default_rng(0)
    codes = rng.integers(0, BINS, (columns, rows), dtype=np.uint8)
    gradients, hessians = rng.integers(-(2**15), 2**15, rows), rng.integers(0, 2**14, rows)
    vectors = np.stack((gradients, hessians))
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(_REPEATED):
        subsets = Subsets.histogram(codes, BINS)
        answered = _TREES * (2**DEPTH - 1) * len(vectors) * len(subsets)
        layout = SumsLayout(len(subsets), rows, 1, _PLAIN_BITS, answered, disjoint=BINS)
        reader = SumsReader(_PLAIN_BITS)
        answerer = SumsAnswerer(layout, reader.public, subsets, cache_bytes=0)
        ciphertexts = reader.encrypted(layout, vectors)
        answers, theirs = answerer.answered(ciphertexts, len(vectors))
        ours = reader.opened(layout, answers, len(vectors))
    return {
        "cpu_seconds": (time.process_time() - cpu) / _REPEATED,
        "wall_seconds": (time.perf_counter() - wall) / _REPEATED,
        "bytes": len(ciphertexts) + len(answers),
        "exact": are_sums(ours + theirs, subsets.sums(vectors), _PLAIN_BITS),
    }


def are_sums(opened: NDArray[np.uint64], sums: NDArray[np.int64], bits: int) -> bool:
    """Tell whether shares add up to sums modulo two to the power of bits."""
    modulus = np.uint64(2**bits - 1)
    return bool(((opened ^ sums.astype(np.uint64)) & modulus == 0).all())


def load(task: dict[str, Any]) -> Work:
    """Import what a session uses, and load compiled code from its cache."""
    out = Path(task["out"])
    if task["task"] == "histogram":
        histogram(200, 2)
        return lambda: out.write_text(
            json.dumps(histogram(task["rows"], task["columns"])), encoding="utf-8"
        )
    from psi import network

    rank, folder = task["rank"], Path(task["folder"])
    small = parties(tables(200, 4))
    hold(*(party.side(len(small[1].splits), 1) for party in small))
    both = parties(tables(task["rows"], task["columns"]))
    own, splits, trees = both[rank], len(both[1].splits), task["trees"]
    if rank:
        from privfed.vertical.trees.sums import SumsAnswerer

        kept = [watched(SumsAnswerer, "answered", lambda _, found: found[1])]
    else:
        from privfed.vertical.trees.sums import SumsReader

        kept = [
            watched(SumsReader, "encrypted", lambda asked, _: asked[1]),
            watched(SumsReader, "opened", lambda _, found: found),
        ]
    name, other = SIDES[rank], SIDES[1 - rank]
    carry = getattr(network, name)

    def work() -> int:
        traffic = carry(
            own.side(splits, trees),
            terms=network.Terms(),
            address=f"127.0.0.1:{task['ports'][0]}",
            identity=network.TLSIdentity.load(folder / name),
            peer_certificate=network.load_certificate(folder / f"{other}.crt"),
        )
        for place, each in enumerate(kept):
            np.save(folder / f"kept{rank}{place}.npy", np.concatenate(each))
        out.write_text("[]", encoding="utf-8")
        return int(traffic.bytes_sent)

    return work


def watched(
    kind: type, name: str, keep: Callable[[tuple[Any, ...], Any], Any]
) -> list[NDArray[Any]]:
    """Have a method keep what it takes or returns, and return where."""
    plain, kept = getattr(kind, name), list[NDArray[Any]]()

    def watching(self: Any, *asked: Any, **named: Any) -> Any:
        found = plain(self, *asked, **named)
        kept.append(keep(asked, found))
        return found

    setattr(kind, name, watching)
    return kept


if __name__ == "__main__":
    measured(load)
