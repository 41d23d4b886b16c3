"""Half-trees by their definition, and that a pad of the last level serves one tree."""

import numpy as np
import pytest

import psi.vole.trees
from psi.vole.trees import grow, regrow, sums_shape
from tests.psi.protocols.vole_reference import half_tree, numbers_of, total_of
from tests.psi.vole.dealing import Bits, Blocks, random_bits, random_blocks, unnumbered

KEY = bytes(range(32))
TREES = 5


def transfers(depth: int, trees: int = TREES) -> tuple[Blocks, Blocks, Bits, Blocks]:
    """D, the owner's rows, the other side's bits and its rows."""
    delta, rows, bits = random_blocks(1), random_blocks(depth, trees), random_bits(depth, trees)
    return delta, rows, bits, rows ^ np.where(bits[..., None] == 1, delta, np.uint64(0))


def as_number(block: Blocks) -> int:
    return int.from_bytes(block.tobytes(), "little")


@pytest.mark.parametrize("depth", range(3, 11))
def test_trees_by_their_definition(depth: int) -> None:
    delta, rows, bits, others = transfers(depth)
    roots = random_blocks(TREES)
    leaves, sent = grow(delta, rows, roots, KEY)
    assert sent.shape == sums_shape(TREES, depth) == (depth + 1, TREES, 2)
    _, places = regrow(sent, bits, others, KEY)
    for tree in range(TREES):
        levels = half_tree(as_number(roots[tree]), as_number(delta), depth)
        assert numbers_of(leaves[tree].tobytes()) == levels[-1]
        # What the levels but the last add up to is D, and what is sent is of left sides alone.
        for level, nodes in enumerate(levels[:-1]):
            assert total_of(nodes) == as_number(delta)
            row = as_number(rows[level, tree])
            assert as_number(sent[level, tree]) == total_of(nodes[::2]) ^ row
        path = "".join(str(1 - bit) for bit in bits[:, tree].tolist())
        assert places[tree] == int(path, 2)


@pytest.mark.parametrize("depth", range(3, 11))
def test_the_other_side_has_all_leaves_but_one(depth: int) -> None:
    delta, rows, bits, others = transfers(depth)
    leaves, sent = grow(delta, rows, random_blocks(TREES), KEY)
    found, places = regrow(sent, bits, others, KEY)
    missing = leaves[np.arange(TREES), places]
    same = np.all(found == leaves, axis=2)
    assert np.count_nonzero(~same) == TREES
    assert not same[np.arange(TREES), places].any()
    assert not found[np.arange(TREES), places].any()
    assert not {block.tobytes() for block in missing} & {
        block.tobytes() for block in found.reshape(-1, 2)
    }


@pytest.mark.parametrize("fault", [True, False])
def test_equal_rows_do_not_uncover_what_hidden_leaves_add_up_to(
    fault: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if fault:
        monkeypatch.setattr(psi.vole.trees, "_pads", unnumbered)
    delta, _, bits, others = transfers(4)
    others[-1, 1] = others[-1, 0]
    rows = others ^ np.where(bits[..., None] == 1, delta, np.uint64(0))
    leaves, sent = grow(delta, rows, random_blocks(TREES), KEY)
    hidden = 1 - bits[-1].astype(np.intp)
    told = sent[-2:][hidden[:2], [0, 1]]
    sums = [np.bitwise_xor.reduce(leaves[tree, hidden[tree] :: 2]) for tree in (0, 1)]
    assert np.array_equal(told[0] ^ told[1], sums[0] ^ sums[1]) is fault


def test_pads_are_of_the_tree_the_row_and_the_key() -> None:
    same = np.tile(random_blocks(1), (400, 1))
    made = [
        psi.vole.trees._pads(key, rows)
        for key in (KEY, bytes(32))
        for rows in (same, same ^ np.uint64(1))
    ]
    assert len({pad.tobytes() for pads in made for pad in pads}) == 4 * 400
