"""What the sides that a guest reads tell of the host's columns: an audit by who has these.

A guest reads bits, and is told neither the column nor the threshold that they are of. The audit
takes it for one that was told both, and the column's distribution, too: it then knows of each row
which codes are possible. What a column keeps is its spread within the possible codes, averaged over
rows; what the bits explain is the rest of its spread. The spread is the variance of ranks (equal
codes share one, missing values come last), or of categories without an order the chance that two
rows differ (Goodman and Kruskal's tau, 1954, is the share of it that is explained).

What the model itself needs is told beside it: what its scores of the same rows explain, which any
protocol for this model gives to the guest.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from privfed.vertical.trees.bins import Binning
from privfed.vertical.trees.grown import HostTree
from privfed.vertical.trees.results import ColumnAudit
from privfed.vertical.trees.splits import Codes, Splits

__all__ = ["explained", "explained_by_scores", "told_of_columns"]

_GROUPS = 32  # of rows with near scores
_CODES = 256

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Possible = NDArray[np.bool_]


def told_of_columns(
    binning: Binning,
    codes: Codes,
    trees: Sequence[HostTree],
    leaves: Sequence[Integers] | None = None,
    scores: Floats | None = None,
) -> tuple[ColumnAudit, ...]:
    """Audit each column of the host that won a node, in the order of columns.

    Args:
        binning: The host's.
        codes: The host's codes of the rows that train, (columns, rows).
        trees: The host's part of all trees that were grown.
        leaves: The leaf of each row in each tree, (rows,) each; None: the guest alone knows.
        scores: The rows' scores, (rows, outputs); None: as before.

    Returns:
        What is told of each.
    """
    splits = binning.splits
    won = np.array([split for tree in trees for split in tree.splits if split >= 0], np.int64)
    passed = None if leaves is None else _passed(trees, leaves, len(splits))
    found = []
    for column in np.unique(splits.column[won]).tolist():
        nodes = won[splits.column[won] == column]
        used = np.unique(nodes)
        here, counts = np.unique(codes[column], return_counts=True)
        place = np.searchsorted(here, codes[column])
        left = _left(splits, used, here)
        ordered = binning.columns[column].ordered
        by_code = np.arange(len(here))
        everywhere = _possible(left, np.ones((len(here), len(used)), np.bool_), by_code)
        collected = None
        if passed is not None:
            read = _possible(left, passed[:, used], place)
            collected = explained(counts, read, np.ones(len(place), np.int64), ordered=ordered)
        found.append(
            ColumnAudit(
                name=binning.names[column],
                nodes=len(nodes),
                thresholds=len(used),
                ranges=len(np.unique(left, axis=1).T),
                at_most=explained(counts, everywhere, counts, ordered=ordered),
                collected=collected,
                by_scores=None
                if scores is None
                else max(
                    explained_by_scores(codes[column], own, ordered=ordered) for own in scores.T
                ),
            )
        )
    return tuple(found)


def explained(counts: Integers, possible: Possible, rows: Integers, *, ordered: bool) -> float:
    """Return which share of a column's spread is explained by which codes each row may have.

    Args:
        counts: How many rows have each code, (codes,), in the codes' order.
        possible: Shape (states, codes): which codes a row of each state may have.
        rows: How many rows are in each state, (states,).
        ordered: Whether codes have ranks.
    """
    whole = float(_spread(counts, np.ones((1, len(counts)), np.bool_), ordered=ordered)[0])
    if whole <= 0:
        return 0.0
    within = float(rows @ _spread(counts, possible, ordered=ordered)) / float(rows.sum())
    return float(np.clip(1 - within / whole, 0.0, 1.0))


def explained_by_scores(codes: NDArray[np.uint8], scores: Floats, *, ordered: bool) -> float:
    """Return which share of a column's spread is explained by the scores of its rows.

    Rows are grouped by near scores, 32 groups of as many. Spreads are those of a larger population
    that is estimated (n/(n - 1)), or many groups would explain a column by chance.

    Args:
        codes: The column's, (rows,).
        scores: The rows', (rows,).
        ordered: Whether codes have ranks.
    """
    rows, counts = len(codes), np.bincount(codes, minlength=_CODES)
    whole = float(_spread(counts, np.ones((1, _CODES), np.bool_), ordered=ordered)[0])
    if whole <= 0:
        return 0.0
    order = np.argsort(scores, kind="stable")
    # Rows of one score are of one group.
    starts = np.flatnonzero(np.r_[True, np.diff(scores[order]) > 0])
    begun = np.searchsorted(starts, np.arange(0, rows, max(1, -(-rows // _GROUPS))), side="right")
    bounds = np.unique(np.r_[starts[begun - 1], rows])
    within = 0.0
    values = _ranks(counts)[codes]
    for start, stop in pairwise(bounds.tolist()):
        own = order[start:stop]
        size = len(own)
        if size < 2:
            continue
        shares = np.bincount(codes[own], minlength=_CODES) / size
        spread = float(np.var(values[own])) if ordered else 1 - float(shares @ shares)
        within += size * spread * size / (size - 1)
    return float(np.clip(1 - within / (rows * whole * rows / (rows - 1)), 0.0, 1.0))


def _passed(
    trees: Sequence[HostTree], leaves: Sequence[Integers], splits: int
) -> NDArray[np.bool_]:
    """Return by which splits of the host each row's nodes part, (rows, splits)."""
    found = np.zeros((len(leaves[0]) if leaves else 0, splits), np.bool_)
    for tree, leaf in zip(trees, leaves, strict=True):
        depth = (len(tree.splits) + 1).bit_length() - 1
        own = np.array(tree.splits, np.int64)
        for level in range(depth):
            split = own[(1 << level) - 1 + (leaf >> (depth - level))]
            rows = np.flatnonzero(split >= 0)
            found[rows, split[rows]] = True
    return found


def _left(splits: Splits, used: Integers, codes: NDArray[np.uint8]) -> Possible:
    """Return which codes each split sends left, (splits, codes)."""
    columns = np.broadcast_to(codes, (int(splits.column.max()) + 1, len(codes)))
    return np.array([splits.left(columns, number) for number in used.tolist()])


def _possible(left: Possible, known: Possible, place: Integers) -> Possible:
    """Return which codes rows may have by the splits whose sides are known of them.

    Args:
        left: What `_left` returned.
        known: Shape (rows, splits): of which splits a row's side is known.
        place: Each row's own code, as its place in `left`.
    """
    found = np.ones((len(place), left.shape[1]), np.bool_)
    for own, rows in zip(left, known.T, strict=True):
        found[rows] &= own == own[place[rows], None]
    return found


def _spread(counts: Integers, possible: Possible, *, ordered: bool) -> Floats:
    """Return the spread of a column among each state's codes, (states,)."""
    share = possible * counts
    share = share / np.maximum(share.sum(axis=1, keepdims=True), 1)
    if not ordered:
        return np.asarray(1 - (share**2).sum(axis=1))
    ranks = _ranks(counts)
    middle = share @ ranks
    return np.asarray(np.maximum(share @ ranks**2 - middle**2, 0.0))


def _ranks(counts: Integers) -> Floats:
    """Return the mean rank of the rows with each code, in parts of all."""
    return np.asarray((np.cumsum(counts) - counts / 2) / counts.sum())
