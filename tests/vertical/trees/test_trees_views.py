"""What each side sees as trees grow, and what a guest can make of it that cheats or reads sums.

A guest's view of a level is simulated from which nodes the host won and one bit a row: shares that
it opens are uniform. False alarms are 1e-9 a test, and on a planted fault as sure the other way.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import chi2_contingency, chisquare

from privfed.garbled import TransferReceiver, TransferSender
from privfed.garbled.extension import _HEAD, _rows
from privfed.garbled.hashing import Blocks
from privfed.vertical.messages import VerticalMessage
from privfed.vertical.trees.growing import LevelQuestion, rounded
from privfed.vertical.trees.guest import TreesGuest, signed
from privfed.vertical.trees.host import TreesHost
from privfed.vertical.trees.side import there
from privfed.vertical.trees.sides import SidesReceiver, SidesSender
from privfed.vertical.trees.splits import MOST_WEIGHT
from privfed.vertical.trees.sums import SumsAnswerer
from tests.garbled.runs import transfers
from tests.vertical.trees.machines import TreesJob, hold, trees_job
from tests.vertical.trees.placing import placed, solved

Integers = NDArray[np.int64]
Bits = NDArray[np.bool_]
FALSE_ALARM = 1e-9
BINS = 8


class Seen(NamedTuple):
    """What a guest has of a level."""

    asked: Integers  # (nodes, rows)
    opened: NDArray[np.uint64]  # shares, or sums, (nodes, splits)
    won: Bits  # (nodes,)
    nodes: Integers  # the node that each row was said to be in
    sides: Bits  # (rows,)


class Watching(TreesGuest):
    """It keeps to the protocol, and what it sees."""

    def __init__(self, job: TreesJob) -> None:
        super().__init__(job.plan, job.boosting())
        self.seen: list[Seen] = []
        self.requests: list[bytes] = []
        self._shares = np.empty(0, np.uint64)

    def _sealed(self, kind: VerticalMessage, *parts: bytes) -> bytes:
        if kind == VerticalMessage.NODES:
            self.requests.append(parts[1])
        return super()._sealed(kind, *parts)

    def _contested(self, parts: list[memoryview]) -> bytes:
        self._shares = self._reading.opened(self.plan.sums, parts[0], self._nodes)
        return super()._contested(parts)

    def _chosen(self, parts: list[memoryview]) -> bytes:
        self._shares = self._reading.opened(self.plan.sums, parts[0], self._nodes)
        return super()._chosen(parts)

    def _answered(self, won: Bits, masked: memoryview) -> bytes:
        receiver, nodes = self._reads_sides, self._growing.node_of_row
        keys = vars(receiver)["_asked"]
        sides = receiver.read(masked)
        vars(receiver)["_asked"] = keys  # it is read once more below
        self.seen.append(Seen(self._asked.vectors, self._shares, won, nodes, sides))
        return super()._answered(won, masked)


class Bare(TreesHost):
    """The planted fault: it answers without masks."""

    def _agreed(self, parts: list[memoryview]) -> bytes:
        message = super()._agreed(parts)
        answered = there(self._answerer).answered

        class Unmasked(SumsAnswerer):
            def __init__(self) -> None: ...

            def answered(self, *given: Any, **also: Any) -> Any:
                return answered(*given, **{**also, "masked": False})

        self._answerer = Unmasked()
        return message


def watched(job: TreesJob, host: type[TreesHost] = TreesHost) -> tuple[list[Seen], TreesHost]:
    """What a guest sees of a whole training, and the host."""
    guest, other = Watching(job), host(job.plan, job.splits(job.host), job.host)
    hold(guest, other)
    return guest.seen, other


def highest_bits(seen: list[Seen], bits: int) -> Integers:
    """How often each value of the highest three bits comes."""
    shares = np.concatenate([level.opened.ravel() for level in seen])
    return np.bincount((shares >> np.uint64(bits - 3)).astype(np.int64), minlength=BINS)


# -- the guest's view -----------------------------------------------------------------------------

JOB = trees_job(depth=3, trees=4, columns=4)
T = JOB.plan.sums.plain_bits


def test_shares_that_the_guest_opens_are_uniform() -> None:
    seen, _ = watched(JOB)
    assert sum(level.opened.size for level in seen) == 4 * 7 * JOB.plan.host_splits
    assert chisquare(highest_bits(seen, T)).pvalue > FALSE_ALARM
    low = np.concatenate([level.opened.ravel() for level in seen]) & np.uint64(7)
    assert chisquare(np.bincount(low.astype(np.int64), minlength=8)).pvalue > FALSE_ALARM


def test_without_masks_they_would_be_sums() -> None:
    seen, _ = watched(JOB, Bare)
    assert chisquare(highest_bits(seen, T)).pvalue < FALSE_ALARM
    subsets = JOB.splits(JOB.host).subsets(JOB.host)
    for level in seen:
        assert np.array_equal(signed(level.opened, T), subsets.sums(level.asked))


def test_hosts_that_win_the_same_sides_look_alike() -> None:
    """Two tables whose columns stand in another order: they win by splits of other numbers."""
    views, chosen = [], []
    for order in ([0, 1, 2, 3], [2, 3, 0, 1]):
        columns = np.ascontiguousarray(JOB.host[order])
        given = TreesJob(JOB.plan, JOB.guest, columns, JOB.objective)
        seen, host = watched(given)
        views.append(seen)
        chosen.append([tree.splits for tree in host.trees])
    for one, other in zip(*views, strict=True):
        assert one.won.tolist() == other.won.tolist()
        assert one.nodes.tolist() == other.nodes.tolist()
        assert one.sides.tolist() == other.sides.tolist()
        assert not (one.opened == other.opened).all()
    assert chosen[0] != chosen[1]
    counts = [highest_bits(seen, T) for seen in views]
    assert chi2_contingency(counts).pvalue > FALSE_ALARM


def test_where_the_guest_won_no_side_is_told() -> None:
    """All rows of such a node read alike, whatever the host has."""
    seen, _ = watched(JOB)
    lost = [~level.won[level.nodes] for level in seen]
    assert sum(map(np.sum, lost)) > 100
    assert not any((level.sides & own).any() for level, own in zip(seen, lost, strict=True))
    won = [level.sides[level.won[level.nodes]] for level in seen]
    assert 0.1 < np.concatenate(won).mean() < 0.9


# -- the host's view ------------------------------------------------------------------------------


def test_requests_say_nothing_of_the_nodes_that_rows_are_in() -> None:
    """Their bytes are uniform, also of a guest that says that all rows are in one node."""
    for guest in (Watching(JOB), Cheating(JOB)):
        hold(guest, JOB.sides()[1])
        drawn = b"".join(request[8:] for request in guest.requests)
        assert len(drawn) > 5000
        counts = np.bincount(np.frombuffer(drawn, np.uint8), minlength=256)
        assert chisquare(counts).pvalue > FALSE_ALARM


# -- a guest that cheats --------------------------------------------------------------------------


class Cheating(Watching):
    """It chooses what it asks: each node's residuals are one row's, its own splits are worth
    nothing, and all rows are said to be in the first node."""

    def __init__(self, job: TreesJob) -> None:
        super().__init__(job)
        self.bits: list[Bits] = []
        self.opened: list[NDArray[np.uint64]] = []

    def _next_level(self) -> bytes:
        vectors = self._residuals()
        self._question = LevelQuestion(vectors, np.zeros(self._nodes, np.int64))
        message = self._sealed(
            VerticalMessage.NODES,
            self._reading.encrypted(self.plan.sums, vectors),
            self._reads_sides.request(np.zeros(self.plan.rows, np.int64), self._nodes),
        )
        if self._hides:
            self._awaiting(VerticalMessage.SHARED_SUMS, self._sums_lengths, self._contested)
        else:
            self._awaiting(VerticalMessage.OPENED_SUMS, self._sums_lengths, self._chosen)
        return message

    def _residuals(self) -> Integers:
        vectors = np.zeros((self._nodes, self.plan.rows), np.int64)
        targets = np.arange(self._nodes)
        vectors[targets, 7 * targets] = self.plan.most_score // MOST_WEIGHT
        return vectors

    def _answered(self, won: Bits, masked: memoryview) -> bytes:
        self.bits += [won, self._reads_sides.read(masked)]
        self.opened.append(self._shares)
        self._level += 1
        if self._level < self.plan.depth:
            return self._next_level()
        self._forget()
        return None  # type: ignore[return-value]


def test_a_guest_that_chooses_gradients_and_rows_reads_one_bit_a_node_and_one_a_row() -> None:
    """And what the host counts is exactly the most that it can be."""
    job = trees_job(depth=4, trees=1, columns=4)
    guest, host = Cheating(job), job.sides()[1]
    hold(guest, host)
    won, sides = guest.bits[::2], guest.bits[1::2]
    collected = sum(each.size for each in guest.bits)
    assert collected == job.plan.rows * job.plan.depth + job.plan.inner_nodes
    splits, tree = job.splits(job.host), host.state.trees[0]
    for level, (own, read) in enumerate(zip(won, sides, strict=True)):
        first = 2**level - 1
        chosen = np.array(tree.splits[first : 2 * first + 1])
        # A bit a node: whether some split has the row on its smaller side.
        weighted = splits.subsets(job.host).matrix() > 0
        assert own.tolist() == [bool(weighted[:, 7 * node].any()) for node in range(len(own))]
        assert own.tolist() == (chosen >= 0).tolist()
        # A bit a row, of one node's split alone.
        assert read.tolist() == splits.left(job.host, int(chosen[0])).tolist()
    assert host.state.collected.bits == collected


class Lying(TransferReceiver):
    """A receiver that lies within its transfers: of each it turns one column, row after row."""

    def request(self, choices: NDArray[np.uint8]) -> tuple[bytes, Blocks]:
        assert self._streams is not None
        n = len(choices)
        zeros, ones = (streams.columns(n) for streams in self._streams)
        turned = (np.arange(128)[:, None] == np.arange(n) % 128).astype(np.uint8)
        sent = zeros ^ ones ^ np.packbits(choices, bitorder="little")
        sent ^= np.packbits(turned, axis=1, bitorder="little")
        self.rows, self.first = _rows(zeros, n), self._done
        self._done += n
        return _HEAD.pack(self.first) + sent.tobytes(), np.zeros((n, 2), np.uint64)

    def pads_of(self, rows: Blocks) -> Blocks:
        """The pads of rows."""
        numbers = np.arange(self.first, self.first + len(rows), dtype=np.uint64)
        return self._hash(rows, numbers)


def test_a_guest_that_lies_in_its_transfers_reads_the_sides_of_all_nodes() -> None:
    """The limit that is stated: transfers are for sides that follow them. Where the guest won, it
    knows all sides, and of these it learns the host's secret of the transfers."""
    sender, receiver = liars()
    rows = 4000
    secret = np.random.default_rng(2).integers(0, 2, rows).astype(np.bool_)
    sides = np.stack([np.zeros(rows, np.bool_), secret])  # the guest won the first node
    request, _ = receiver.request(np.zeros(rows, np.uint8))
    masked = SidesSender(sender, rows).masked(request, sides)
    bits = np.unpackbits(np.frombuffer(masked, np.uint8), count=2 * rows, bitorder="little")
    column = np.arange(rows) % 128
    turn = np.zeros((rows, 16), np.uint8)
    turn[np.arange(rows), column // 8] = 1 << (column % 8)
    turned = turn.view(np.uint64)
    ways = [receiver.pads_of(receiver.rows ^ (turned * one)) for one in (0, 1)]
    first = [each.view(np.uint8)[:, 0] & 1 for each in ways]  # of node 0
    differ, votes = first[0] != first[1], np.zeros(128, np.int64)
    np.add.at(votes, column[differ], np.where(bits[::2] == first[1], 1, -1)[differ])
    key = np.packbits(votes > 0, bitorder="little").view(np.uint64)
    actual = np.where((votes > 0)[column][:, None], ways[1] * 0 + turned, np.uint64(0))
    other = receiver.pads_of(receiver.rows ^ actual ^ key).view(np.uint8)[:, 0] >> 1 & 1
    assert ((bits[1::2] ^ other).astype(np.bool_) == secret).all()
    # One that lies about nodes alone reads one bit a row.
    honest = transfers()
    reader = SidesReceiver(honest[1], rows)
    masked = SidesSender(honest[0], rows).masked(
        reader.request(np.ones(rows, np.int64), 2), np.stack([~secret, secret])
    )
    assert reader.read(masked).tolist() == secret.tolist()


def liars() -> tuple[TransferSender, Lying]:
    sender, receiver = TransferSender(bytes(32)), Lying(bytes(32))
    sender.agree(receiver.public)
    receiver.agree(sender.choices)
    return sender, receiver


# -- histograms that open -------------------------------------------------------------------------


@pytest.mark.parametrize("reveal", ["sides", "histograms"])
def test_revealed_histograms_are_in_the_end_the_table(reveal: str) -> None:
    """The guest keeps to the protocol. As many nodes as rows are as many equations: of each split
    it has the side of every row, though not the split's name."""
    job = trees_job(rows=80, columns=3, depth=3, trees=20, reveal=reveal)
    seen, host = watched(job)
    opened = [signed(level.opened, job.plan.sums.plain_bits) for level in seen]
    sides = solved([level.asked for level in seen], opened)
    truth = job.splits(job.host).part(host._order).subsets(job.host).matrix().T > 0  # noqa: SLF001
    right = (sides == truth).mean(axis=0)
    if reveal == "histograms":
        assert right.min() == 1.0
    else:
        assert np.maximum(right, 1 - right).mean() < 0.75


class Digits(Cheating):
    """It gives five rows a node a digit each, of base 16: above the largest weight."""

    def _residuals(self) -> Integers:
        vectors = np.zeros((self._nodes, self.plan.rows), np.int64)
        for node in range(self._nodes):
            vectors[node, 5 * node : 5 * node + 5] = 16 ** np.arange(5)
        return vectors


def test_of_revealed_histograms_a_guest_that_cheats_reads_single_rows_in_every_node() -> None:
    """The side of each of five rows, by every split and with its weight, from one sum."""
    job = trees_job(rows=80, columns=3, depth=3, trees=1, reveal="histograms")
    guest = Digits(job)
    host = job.sides()[1]
    hold(guest, host)
    entries = job.splits(job.host).part(host._order).subsets(job.host).matrix()  # noqa: SLF001
    for opened in guest.opened:
        for node, sums in enumerate(opened.astype(np.int64)):
            read = sums[:, None] >> (4 * np.arange(5)) & 15
            assert np.array_equal(read, entries[:, 5 * node : 5 * node + 5])
    assert sum(map(len, guest.opened)) == job.plan.inner_nodes


def test_rows_of_small_nodes_are_placed_by_the_sums_of_few() -> None:
    """Of histograms of 32 bins, whose order and weights are known. Measured, with sums of up to
    three rows, over 20 columns: .90 of all rows are placed exactly at 32 rows, .49 at 64."""
    most = JOB.plan.most_score // MOST_WEIGHT
    for rows, least, largest in ((32, 0.85, 0.95), (64, 0.4, 0.6)):
        right = []
        for seed in range(20):
            random = np.random.default_rng(seed)
            residuals = random.normal(size=rows)
            residuals -= residuals.mean()
            values = rounded(residuals[None], np.array([rows]), most, random)[0]
            codes = random.integers(0, 32, rows)
            bins = np.bincount(codes, values, 32).astype(np.int64)
            right.append(np.mean(placed(values, bins) == codes))
        assert least < np.mean(right) < largest
