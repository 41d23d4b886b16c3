"""Sides of rows: the bit of the node that was asked for, and of no other."""

from __future__ import annotations

import pickle
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from privfed.errors import ConfigError, DecodeError, ReplayError
from privfed.garbled import TransferReceiver, TransferSender
from privfed.vertical.trees.sides import MOST_NODES, SidesLengths, SidesReceiver, SidesSender
from tests.garbled.runs import transfers

Transfers = tuple[TransferSender, TransferReceiver]
Sides = NDArray[np.bool_]
ROWS = 16_000


@pytest.fixture(scope="module")
def both() -> Transfers:
    return transfers()


def bits_of(masked: bytes, rows: int, nodes: int) -> NDArray[np.uint8]:
    """The masked bits, shape (rows, nodes)."""
    packed = np.frombuffer(masked, np.uint8)
    return np.unpackbits(packed, count=rows * nodes, bitorder="little").reshape(rows, nodes)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), nodes=st.one_of(st.integers(1, 20), st.sampled_from([64, 65, 127, 128])))
def test_the_side_in_its_node_is_read(both: Transfers, data: st.DataObject, nodes: int) -> None:
    rows = data.draw(st.integers(0, 40))
    random = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    node = random.integers(0, nodes, rows)
    sides = random.integers(0, 2, (nodes, rows)).astype(np.bool_)
    sender, receiver = SidesSender(both[0], rows), SidesReceiver(both[1], rows)
    request = receiver.request(node, nodes)
    masked = sender.masked(request, sides)
    assert (len(request), len(masked)) == SidesLengths.of(rows, nodes)
    assert receiver.read(masked).tolist() == sides[node, np.arange(rows)].tolist()


def test_levels_follow_each_other(both: Transfers) -> None:
    random = np.random.default_rng(1)
    sender, receiver = SidesSender(both[0], 50), SidesReceiver(both[1], 50)
    node = np.zeros(50, np.int64)
    for level in range(5):
        sides = random.integers(0, 2, (1 << level, 50)).astype(np.bool_)
        read = receiver.read(sender.masked(receiver.request(node, 1 << level), sides))
        assert read.tolist() == sides[node, np.arange(50)].tolist()
        node = 2 * node + read


# -- the other nodes' sides -----------------------------------------------------------------------


class OneBit(SidesSender):
    """The planted fault: a pad's lowest bit masks the sides of all nodes."""

    def masked(self, request: bytes | memoryview, sides: Sides) -> bytes:
        nodes, rows = sides.shape
        digits = (nodes - 1).bit_length()
        pads = self._transfers.pads(request, digits * rows)
        low = [(each[:, 0] & np.uint64(1)).reshape(digits, rows) for each in pads]
        keys = [
            np.bitwise_xor.reduce([low[node >> digit & 1][digit] for digit in range(digits)])
            for node in range(nodes)
        ]
        return np.packbits(np.array(keys, bool).T ^ sides.T, bitorder="little").tobytes()


def known(
    make: Callable[[TransferSender, int], SidesSender], choice: int, sides: Sides
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """What a guest has that asks for one node: masked sides, and the masks that its pads give.

    Both of shape (rows, nodes).
    """
    nodes, rows = sides.shape
    sender, receiver = transfers()
    kept: list[NDArray[np.uint64]] = []
    asked = receiver.request

    def keeping(choices: NDArray[np.uint8]) -> tuple[bytes, NDArray[np.uint64]]:
        request, pads = asked(choices)
        kept.append(pads)
        return request, pads

    receiver.request = keeping  # type: ignore[method-assign]
    request = SidesReceiver(receiver, rows).request(np.full(rows, choice), nodes)
    masked = bits_of(make(sender, rows).masked(request, sides), rows, nodes)
    key = np.bitwise_xor.reduce(kept[0].reshape(-1, rows, 2), axis=0)
    return masked, np.unpackbits(key.view(np.uint8), axis=1, count=nodes, bitorder="little")


@pytest.mark.parametrize("choice", range(4))
def test_a_guest_that_takes_any_node_gets_one_bit_a_row(choice: int) -> None:
    """The three other sides of each of 16,000 rows are jointly as coins fall.

    Chi-squared of 8 cells, 7 degrees of freedom: above 55.9 once in 10^9.
    """
    sides = np.zeros((4, ROWS), np.bool_)
    sides[choice] = np.random.default_rng(choice).integers(0, 2, ROWS)
    found = np.bitwise_xor(*known(SidesSender, choice, sides))
    assert found[:, choice].tolist() == sides[choice].tolist()
    others = np.delete(found, choice, axis=1) @ np.array([1, 2, 4])
    counts = np.bincount(others, minlength=8)
    assert np.sum((counts - ROWS / 8) ** 2) / (ROWS / 8) < 55.9


def test_one_bit_for_all_nodes_would_show_how_sides_differ() -> None:
    """Its masks of four nodes cancel, and those of the product do not: right as often as coins.

    More than 6 standard deviations from half of 16,000 come twice in 10^9.
    """
    sides = np.random.default_rng(4).integers(0, 2, (4, ROWS)).astype(np.bool_)
    truth = np.bitwise_xor.reduce(sides, axis=0)

    def right(make: Callable[[TransferSender, int], SidesSender], masks: int) -> int:
        masked, own = known(make, 0, sides)
        return int(np.sum(np.bitwise_xor.reduce(masked ^ masks * own, axis=1) == truth))

    assert right(OneBit, 0) == ROWS
    for masks in (0, 1):
        assert abs(right(SidesSender, masks) - ROWS / 2) < 6 * (ROWS / 4) ** 0.5


# -- bytes of others ------------------------------------------------------------------------------


@pytest.mark.parametrize("which", range(5))
def test_other_lengths_are_refused(which: int) -> None:
    sides = np.zeros((4, 30), np.bool_)
    both = transfers()
    sender, receiver = SidesSender(both[0], 30), SidesReceiver(both[1], 30)

    def other(data: bytes) -> bytes:
        return [b"", data[:-1], data + b"\0", data[: len(data) // 2], data + data][which]

    request = receiver.request(np.zeros(30, np.int64), 4)
    with pytest.raises(DecodeError, match="another length"):
        sender.masked(other(request), sides)
    masked = sender.masked(request, sides)
    with pytest.raises(DecodeError, match="another number of rows or nodes"):
        receiver.read(other(masked))
    assert not np.any(receiver.read(masked))


def test_each_answer_is_read_once() -> None:
    both = transfers()
    sender, receiver = SidesSender(both[0], 9), SidesReceiver(both[1], 9)
    sides = np.zeros((2, 9), np.bool_)
    with pytest.raises(ReplayError, match="read once"):
        receiver.read(b"")
    request = receiver.request(np.ones(9, np.int64), 2)
    masked = sender.masked(request, sides)
    with pytest.raises(ReplayError):
        sender.masked(request, sides)
    receiver.read(masked)
    with pytest.raises(ReplayError, match="read once"):
        receiver.read(masked)


def test_nodes_and_rows_that_do_not_go_together_are_refused() -> None:
    both = transfers()
    sender, receiver = SidesSender(both[0], 3), SidesReceiver(both[1], 3)
    for nodes in (0, MOST_NODES + 1):
        with pytest.raises(ConfigError, match="1 to 128 nodes"):
            receiver.request(np.zeros(3, np.int64), nodes)
    for node in ([0, 1], [0, 1, 2], [0, -1, 0]):
        with pytest.raises(ConfigError, match="in one of 2 nodes"):
            receiver.request(np.array(node), 2)
    with pytest.raises(ConfigError, match="each of 3 rows"):
        sender.masked(b"", np.zeros((2, 4), np.bool_))


def test_nodes_and_sides_stay_secret() -> None:
    both = transfers()
    sender, receiver = SidesSender(both[0], 3), SidesReceiver(both[1], 3)
    receiver.request(np.array([0, 1, 1]), 2)
    assert repr(sender) == "SidesSender(3 rows)"
    assert repr(receiver) == "SidesReceiver(3 rows)"
    for side in (sender, receiver):
        with pytest.raises(TypeError, match="not pickled"):
            pickle.dumps(side)
