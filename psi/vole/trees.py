"""Trees of seeds that both sides have but for one leaf: half-trees (ePrint 2022/1431).

These are the half-trees of Guo, Yang, Wang, Zhang, Xie, Liu and Zhao 2022. The owner draws a tree:
the two nodes of its first level add up to the secret D; a node's left child is its hash, its right
one the node plus that; in the last level the children are the hashes of the node and of the node
plus 1. So the nodes of each level but the last add up to D. The other side gets, by one correlated
transfer for each level, what all nodes on the side away from its own path add up to, and computes
everything but the leaf at the end of the path (their cGGM and pcGGM). With the hash circular
correlation robust (ePrint 2019/074; fixed-key AES as a random permutation) that leaf stays random.
All trees of a chunk grow side by side.

In the last level a pad hides what is on the other side. It is BLAKE2s, as a random oracle, of the
transfer's row and the tree's number under the chunk's key: a receiver that draws its side of the
base until two rows are equal, which takes 2^4 tries for each of 32 trees there, would otherwise
have the sum of two such pads, and by it D.

The path is random, as the transfers' bits are; the receiver of the trees reads and writes at places
of its own memory that depend on it.
"""

import numpy as np
from numpy.typing import NDArray

from psi.kernels import blocks as kernels
from psi.kernels import hash_rows
from psi.kernels.beside import added_up, beside

__all__ = ["grow", "regrow", "sums_shape"]

Blocks = NDArray[np.uint64]

_ONE = np.array([1, 0], np.uint64)


def sums_shape(trees: int, depth: int) -> tuple[int, int, int]:
    """Return the shape of what the owner sends: one block a level, and two of the last."""
    return depth + 1, trees, 2


def grow(delta: Blocks, rows: Blocks, roots: Blocks, key: bytes) -> tuple[Blocks, Blocks]:
    """Draw trees.

    Args:
        delta: D, shape (1, 2).
        rows: The owner's rows of the transfers, shape (depth, trees, 2); at least 2 levels.
        roots: Random blocks, shape (trees, 2).
        key: 32 bytes that keep the pads of these trees apart from those of all others.

    Returns:
        The leaves, shape (trees, 2^depth, 2); and what is sent, of `sums_shape`.
    """
    depth, trees = rows.shape[:2]
    sent = np.empty(sums_shape(trees, depth), np.uint64)
    sent[0] = roots ^ rows[0]
    nodes = np.stack([roots, roots ^ delta], axis=1)
    for level in range(1, depth - 1):
        children = _children(nodes)
        sent[level] = added_up(children[:, :, 0]) ^ rows[level]
        nodes = children.reshape(trees, -1, 2)
    leaves = _leaves(nodes)
    sent[depth - 1 :] = added_up(leaves).transpose(1, 0, 2)
    sent[depth - 1] ^= _pads(key, rows[-1])
    sent[depth] ^= _pads(key, rows[-1] ^ delta)
    return leaves.reshape(trees, -1, 2), sent


def regrow(
    sent: Blocks, bits: NDArray[np.uint8], rows: Blocks, key: bytes
) -> tuple[Blocks, NDArray[np.intp]]:
    """Compute all leaves but those at the ends of the paths.

    Args:
        sent: What the owner sent, of `sums_shape`, trusted or not.
        bits: The receiver's bits of the transfers, shape (depth, trees): the paths turn the other
            way at each level.
        rows: Its rows, shape (depth, trees, 2).
        key: As at the owner.

    Returns:
        The leaves, shape (trees, 2^depth, 2), 0 where a path ends; and the numbers of those, shape
        (trees,).
    """
    depth, trees = bits.shape
    numbers, away = np.arange(trees), bits.astype(np.intp)
    nodes = np.zeros((trees, 2, 2), np.uint64)
    nodes[numbers, away[0]] = sent[0] ^ rows[0]
    path = 1 - away[0]
    for level in range(1, depth - 1):
        children = _children(nodes)
        # The other children add up to this; on the right side, D is in the transfer's row already.
        known = sent[level] ^ rows[level]
        _repair(children, path, away[level], known)
        nodes, path = children.reshape(trees, -1, 2), 2 * path + 1 - away[level]
    leaves = _leaves(nodes)
    last = sent[depth - 1 :][away[-1], numbers] ^ _pads(key, rows[-1])
    _repair(leaves, path, away[-1], last)
    return leaves.reshape(trees, -1, 2), 2 * path + 1 - away[-1]


def _pads(key: bytes, rows: Blocks) -> Blocks:
    """Return a pad for each tree, given its row of the last transfer: shape (trees, 2)."""
    numbered = np.column_stack([np.arange(len(rows), dtype=np.uint64), rows])
    return np.ascontiguousarray(hash_rows(numbered.view(np.uint8), key)[:, :16]).view(np.uint64)


def _repair(
    children: Blocks, path: NDArray[np.intp], side: NDArray[np.intp], known: Blocks
) -> None:
    """Set the children of the nodes on paths: one on a side from its side's total, one to 0."""
    numbers = np.arange(len(children))
    children[numbers, path] = 0
    sums = added_up(children)
    children[numbers, path, side] = known ^ sums[numbers, side]


def _children(nodes: Blocks) -> Blocks:
    """Return both children of each node, shape (trees, n, 2 sides, 2)."""
    flat = nodes.reshape(-1, 2)
    left = kernels.hash_blocks(flat)
    return beside(left, flat ^ left).reshape(*nodes.shape[:2], 2, 2)


def _leaves(nodes: Blocks) -> Blocks:
    """Return both leaves of each node of the level before, shape (trees, n, 2 sides, 2)."""
    flat = nodes.reshape(-1, 2)
    both = beside(kernels.hash_blocks(flat), kernels.hash_blocks(flat ^ _ONE))
    return both.reshape(*nodes.shape[:2], 2, 2)
