"""The bits of docs/psi-vole.md, computed anew, and the parameters that must be refused."""

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest

from psi.errors import ConfigError
from psi.vole.security import (
    algebraic_bits,
    information_set_bits,
    least_weight,
    linear_test_bits,
    security_bits,
    solving_degree,
    span_bits,
)
from psi.vole.sizes import (
    FEWEST_TREES,
    LEAST_DEPTH,
    MOST_DEPTH,
    MOST_OUTPUTS,
    VoleSizes,
)

DEPTHS = range(LEAST_DEPTH, MOST_DEPTH + 1)
PINNED = {  # by depth: information sets, algebraic, linear tests
    3: (331, 393, 223), 4: (361, 391, 225), 5: (377, 393, 225), 6: (385, 401, 226),
    7: (389, 409, 226), 8: (391, 415, 226), 9: (392, 419, 226), 10: (392, 423, 226),
}  # fmt: skip
PRIME = 32003


@pytest.mark.parametrize("depth", DEPTHS)
def test_each_attack_needs_128_bits_at_every_depth(depth: int) -> None:
    found = (
        information_set_bits(FEWEST_TREES, depth),
        algebraic_bits(FEWEST_TREES, depth),
        linear_test_bits(FEWEST_TREES, depth),
    )
    assert tuple(map(round, found)) == PINNED[depth]
    assert min(found) >= 128


def test_of_a_thousand_chunks_none_is_broken_with_128_bits() -> None:
    found = [security_bits(VoleSizes(FEWEST_TREES, depth), 1024) for depth in (3, 7, 10)]
    assert found == pytest.approx([208.5, 211.4, 211.5], abs=0.1)
    assert security_bits(VoleSizes(FEWEST_TREES, 3)) == pytest.approx(found[0] + 10)


@pytest.mark.parametrize("attack", [information_set_bits, algebraic_bits, linear_test_bits])
def test_more_blocks_need_more_bits(attack: Callable[[int, int], float]) -> None:
    found = [attack(blocks, 4) for blocks in range(160, 480, 64)]
    assert found == sorted(found)
    assert found[0] < found[-1] - 100


def test_too_few_blocks_are_found_weak_and_refused() -> None:
    weak = [linear_test_bits(160, depth) for depth in DEPTHS]
    assert max(weak) < 93
    assert information_set_bits(160, 2) < 128
    for trees, depth in ((160, 7), (391, 7), (392, LEAST_DEPTH - 1), (392, MOST_DEPTH + 1)):
        with pytest.raises(ConfigError, match="takes 392 trees or more, of depth 3 to 10"):
            VoleSizes(trees, depth)


def test_figures_of_the_code_without_factors() -> None:
    # Prange with its elimination, m = 196,608: 160 + 2·17.6.
    assert information_set_bits(160, 10) + 2 * math.log2(196_608) == pytest.approx(195.2, abs=0.1)
    # A word weighs .2075 of its length, where rows were random: 128 bits from 382 blocks on.
    assert least_weight(1 << 40, factored=False) == pytest.approx(0.2075, abs=1e-4)
    assert least_weight(1 << 40) == pytest.approx(0.3297, abs=1e-3)
    assert -381 * math.log2(1 - 0.2075) < 128 < -382 * math.log2(1 - 0.2075)
    # That is not what breaks it: sums that have the span of half of the noise.
    assert span_bits(160) == span_bits(256) == 0
    assert span_bits(FEWEST_TREES) == pytest.approx(68, abs=0.01)
    assert span_bits(512) < 129 < span_bits(514) + 1


def rank(rows: list[dict[tuple[int, ...], int]]) -> int:
    """Of sparse rows modulo a prime."""
    pivots: dict[tuple[int, ...], dict[tuple[int, ...], int]] = {}
    for given in rows:
        row = {key: value % PRIME for key, value in given.items() if value % PRIME}
        while row:
            if (top := max(row)) not in pivots:
                scale = pow(row[top], -1, PRIME)
                pivots[top] = {key: value * scale % PRIME for key, value in row.items()}
                break
            factor = row[top]
            for key, value in pivots[top].items():
                left = (row.get(key, 0) - factor * value) % PRIME
                row.pop(key, None)
                row.update({key: left} if left else {})
    return len(pivots)


def test_linear_algebra_solves_at_the_degree_that_the_series_gives() -> None:
    # Four blocks of 4 leaves and 8 random equations modulo a prime: (1 + 2z - 3z^2)^4 begins with
    # 1 + 8z + 12z^2 - 40z^3.
    draw, leaves = np.random.default_rng(2), range(16)
    forms = draw.integers(0, PRIME, (8, len(leaves))).tolist()

    def monomials(degree: int) -> list[tuple[int, ...]]:
        every = itertools.combinations_with_replacement(leaves, degree)
        return [one for one in every if len({leaf // 4 for leaf in one}) == len(set(one))]

    left = []
    for degree in (1, 2, 3):
        allowed = set(monomials(degree))
        rows = []
        for form in forms:
            for one in monomials(degree - 1):
                terms = [(tuple(sorted((*one, leaf))), value) for leaf, value in enumerate(form)]
                rows.append({key: value for key, value in terms if key in allowed})
        left.append(len(allowed) - rank(rows))
    assert left == [8, 12, 0]
    assert solving_degree(4, 2) == 3


def test_who_learns_places_by_being_caught_gains_nothing_in_a_linear_test() -> None:
    # To ask whether a block's noise is in some set of leaves, and to be caught if not, then a test:
    # surviving times the bias afterwards is never more than the bias without asking.
    leaves = 5
    for word, asked in itertools.product(range(1 << leaves), range(1, 1 << leaves)):
        survived = asked.bit_count() / leaves
        bias = 1 - (word & asked).bit_count() / asked.bit_count()
        assert survived * bias <= 1 - word.bit_count() / leaves + 1e-12


def test_all_sizes_that_are_chosen_are_safe() -> None:
    counts = {int(1.19**step) for step in range(71)} | {MOST_OUTPUTS}
    chosen = {VoleSizes.of(count) for count in counts}
    assert {sizes.depth for sizes in chosen} == set(DEPTHS)
    for sizes in chosen:
        assert sizes.trees >= FEWEST_TREES
        assert linear_test_bits(sizes.trees, sizes.depth) >= 223
    with pytest.raises(ConfigError, match="at most 200704"):
        VoleSizes.of(MOST_OUTPUTS + 1)
