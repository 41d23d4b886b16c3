"""C = A·D + B for all sizes, over several chunks, and for every depth of trees."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import psi.vole.trees
from psi import ConfigError
from psi.kernels import blocks
from psi.vole import VolePlan, VoleReceiver, VoleSender
from psi.vole.sizes import FEWEST_TREES, LEAST_DEPTH, MOST_OUTPUTS
from tests.psi.vole.dealing import (
    SESSION,
    Blocks,
    Transfers,
    dealt,
    draw_roots_of_equal_rows,
    few_trees,
    read_secret,
    unnumbered,
)


def drawn(receiver: VoleReceiver, sender: VoleSender, chunk: int) -> tuple[Blocks, Blocks, Blocks]:
    """A, C and B of the next chunk."""
    check, proof = receiver.check(sender.noise())
    b = sender.take()
    assert sender.proof(chunk, check) == proof
    return *receiver.take(), b


def check_plan(plan: VolePlan) -> set[bytes]:
    """Draw all chunks; returns all elements of A, B and C."""
    receiver, sender = dealt(plan)
    seen = set()
    for chunk in range(plan.chunks):
        a, c, b = drawn(receiver, sender, chunk)
        assert a.shape == c.shape == b.shape == (plan.count, 2)
        assert np.array_equal(c, blocks.multiply(a, sender.delta) ^ b)
        seen |= {row.tobytes() for part in (a, b, c) for row in part}
    assert repr(sender) == f"VoleSender({plan.chunks} chunks of {plan.count})"
    return seen


@given(st.integers(1, 3), st.integers(1, 60))
@settings(max_examples=8, deadline=None)
def test_chunks_of_any_size(chunks: int, count: int) -> None:
    sizes = few_trees(trees=11, depth=5)  # 176 outputs
    check_plan(VolePlan(chunks, count, sizes))


@pytest.mark.parametrize("depth", range(3, 11))
def test_every_depth(depth: int) -> None:
    trees = 4
    sizes = few_trees(trees, depth)
    check_plan(VolePlan(2, sizes.outputs - trees - 1, sizes))


@pytest.mark.parametrize(("chunks", "count"), [(1, 49), (1, 1568), (2, 1568), (3, 200)])
def test_plans_of_the_product(chunks: int, count: int) -> None:
    plan = VolePlan.of(chunks, count)
    assert plan.sizes.trees >= FEWEST_TREES
    assert len(check_plan(plan)) == 3 * chunks * count  # none occurs twice, in no chunk


@given(st.integers(1, 3), st.integers(1, MOST_OUTPUTS - 1000))
@settings(max_examples=200, deadline=None)
def test_a_plan_has_room_for_what_is_used_and_what_comes_next(chunks: int, count: int) -> None:
    plan = VolePlan.of(chunks, count)
    sizes = plan.sizes
    assert sizes.trees >= FEWEST_TREES
    assert sizes.depth >= LEAST_DEPTH
    assert sizes.leaves == 2 * sizes.outputs
    further = sizes.trees + 1 if chunks > 1 else 0
    assert sizes.outputs >= count + further
    assert plan.base.transfers == chunks * sizes.trees * sizes.depth
    assert plan.base.elements == sizes.trees + 1


def test_more_than_a_chunk_gives() -> None:
    assert VolePlan.of(1, MOST_OUTPUTS).sizes.outputs == MOST_OUTPUTS
    for chunks, count in ((1, MOST_OUTPUTS + 1), (2, MOST_OUTPUTS)):
        with pytest.raises(ConfigError, match="at most"):
            VolePlan.of(chunks, count)


def test_the_noise_is_checked_for_this_session() -> None:
    plan = VolePlan(1, 20, few_trees(trees=5, depth=4))
    transfers = Transfers.deal()
    receiver = transfers.receiver(plan.base)
    ours = VoleSender(plan, transfers.sender(plan.base, receiver.message), SESSION)
    message = ours.noise()
    check, proof = VoleReceiver(plan, receiver, SESSION).check(message)
    other = VoleReceiver(plan, receiver, bytes(32)).check(message)
    assert other[1] != proof == ours.proof(0, check)


def test_a_sender_may_be_a_chunk_ahead() -> None:
    plan = VolePlan(2, 20, few_trees(trees=5, depth=4))
    receiver, sender = dealt(plan)
    first = sender.noise()
    vectors = [sender.take()]
    second = sender.noise()
    vectors.append(sender.take())
    for chunk, message in enumerate((first, second)):
        check, proof = receiver.check(message)
        assert sender.proof(chunk, check) == proof
        a, c = receiver.take()
        assert np.array_equal(c, blocks.multiply(a, sender.delta) ^ vectors[chunk])


def test_one_chunk_s_noise_is_no_other_s() -> None:
    plan = VolePlan(2, 20, few_trees(trees=5, depth=4))
    receiver, sender = dealt(plan)
    labels = [sender._label()]
    first = sender.noise()
    sender.take()
    labels.append(sender._label())  # of pads and of the check's point
    sender.noise()
    check, proof = receiver.check(first)
    assert sender.proof(0, check) == proof
    receiver.take()
    assert labels[0] != labels[1] == receiver._label()
    check, proof = receiver.check(first)  # replayed
    assert sender.proof(1, check) != proof


@pytest.mark.parametrize("fault", [True, False])
def test_a_base_drawn_for_equal_rows_does_not_uncover_the_secret(
    fault: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows of the first two trees' last level: 2^4 tries for each of 32 trees of the base."""
    plan = VolePlan(1, 20, few_trees(trees=5, depth=4))
    first = 5 * 3
    draw_roots_of_equal_rows(monkeypatch, first, first + 1)
    if fault:
        monkeypatch.setattr(psi.vole.trees, "_pads", unnumbered)
    receiver, sender = dealt(plan)
    message = sender.noise()
    check, proof = receiver.check(message)
    assert sender.proof(0, check) == proof  # nobody can notice it
    assert receiver._noise is not None
    found = read_secret(receiver._noise, receiver._of_this_chunk(receiver._bits), message)
    assert np.array_equal(found, sender.delta) is fault
