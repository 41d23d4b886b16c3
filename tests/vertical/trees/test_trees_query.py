"""Scores of rows by trees of two sides: those of the clear, rounded; every message in its turn."""

from __future__ import annotations

import copy
import itertools
import pickle
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from privfed.errors import BudgetExceededError, ConfigError, ContextMismatchError, PrivFedError
from privfed.vertical.messages import VerticalMessage
from privfed.vertical.roles import Family
from privfed.vertical.trees.grown import GuestTree, HostTree, Owner
from privfed.vertical.trees.plan import TreesPlan
from privfed.vertical.trees.query import GuestTreesQuery, HostTreesQuery
from privfed.vertical.trees.splits import Codes, Splits
from privfed.vertical.trees.subsets import MISSING
from psi.errors import PSIError, StateError
from tests.vertical.trees.machines import BINS
from tests.vertical.trees.plain import scores_in_the_clear

MODEL = bytes(range(32))
OWNERS: tuple[Owner, ...] = ("guest", "host", "none")
MESSAGES = 8  # of one chunk of rows


@dataclass(frozen=True, eq=False)
class Asked:
    """Trees that nobody had to train, rows of both sides, and what is asked of them."""

    plan: TreesPlan
    base: tuple[float, ...]
    trees: tuple[tuple[GuestTree, ...], tuple[HostTree, ...]]
    splits: tuple[Splits, Splits]
    codes: tuple[Codes, Codes]
    classes: bool

    @classmethod
    def made(
        cls,
        family: Family = "logistic",
        *,
        outputs: int = 1,
        rows: int = 30,
        trees: int = 3,
        depth: int = 3,
        classes: bool = False,
        size: float = 1.0,
        seed: int = 0,
    ) -> Asked:
        random = np.random.default_rng(seed)
        codes = [
            np.where(random.random((3, rows)) < 0.1, MISSING, random.integers(0, BINS, (3, rows)))
            for _ in range(2)
        ]
        guest, host = (each.astype(np.uint8) for each in codes)
        splits = [Splits.between(each, [BINS] * 3, [True] * 3, 1) for each in (guest, host)]
        plan = TreesPlan(
            family=family, outputs=outputs, rows=50, host_splits=len(splits[1]), trees=trees,
            depth=depth, predictions=5000,
        )  # fmt: skip
        own, theirs = [], []
        for _ in range(plan.most_trees):
            owners = tuple(OWNERS[each] for each in random.integers(0, 3, plan.inner_nodes))
            numbers = [
                [int(random.integers(len(each))) if owner == whose else -1 for owner in owners]
                for whose, each in zip(OWNERS, splits, strict=False)
            ]
            leaves = tuple(random.normal(scale=size, size=plan.tree_leaves).tolist())
            gains = (0.0,) * plan.inner_nodes
            own.append(GuestTree(owners, tuple(numbers[0]), leaves, gains))
            theirs.append(HostTree(tuple(numbers[1])))
        base = tuple(random.normal(size=outputs).tolist())
        both = (tuple(own), tuple(theirs))
        return cls(plan, base, both, (splits[0], splits[1]), (guest, host), classes)

    def sides(self, **guest: Any) -> tuple[GuestTreesQuery, HostTreesQuery]:
        """Both sides; the guest's may be of something else."""
        other = replace(self, **guest)
        return (
            GuestTreesQuery(
                other.plan, MODEL, other.base, other.trees[0], other.splits[0], other.codes[0],
                classes=other.classes,
            ),
            HostTreesQuery(
                self.plan, MODEL, self.trees[1], self.splits[1], self.codes[1],
                classes=self.classes,
            ),
        )  # fmt: skip

    @property
    def clear(self) -> Any:
        """The scores, of numbers that are not rounded."""
        (own, theirs), (guest, host) = self.trees, zip(self.splits, self.codes, strict=True)
        return scores_in_the_clear(np.array(self.base), list(own), list(theirs), guest, host)


def talk(guest: GuestTreesQuery, host: HostTreesQuery, until: int | None = None) -> list[bytes]:
    """Hold the conversation, or up to a message that is not delivered."""
    sent, message = [], guest.start()
    assert host.start() is None
    while message is not None:
        sent.append(message)
        side = host if len(sent) % 2 else guest
        assert len(message) == side.longest_message
        if len(sent) - 1 == until:
            break
        message = side.receive(message)
    return sent


@pytest.mark.parametrize("family", ["logistic", "linear", "poisson"])
@pytest.mark.parametrize("trees", [1, 5])
def test_what_opens_is_the_score_in_the_clear_rounded(family: Family, trees: int) -> None:
    """To half a unit of the grid, clamped where it ends; leaves are rounded to 2^-20 before."""
    asked = Asked.made(family, trees=trees, rows=60, size=0.7)
    guest, host = asked.sides()
    talk(guest, host)
    unit, most = asked.plan.score_unit, 2.0 ** {"logistic": 4}.get(family, 3)
    clear = asked.clear[:, 0]
    expected = np.clip(clear, -most, most - unit)
    assert np.abs(guest.scores - expected).max() <= unit / 2 + (trees + 1) * 2.0**-21
    assert len(set(guest.scores)) > 3
    assert np.array_equal(guest.scores / unit, np.rint(guest.scores / unit))
    assert guest.done
    assert host.done


def test_scores_beyond_the_grid_are_its_ends() -> None:
    asked = Asked.made("linear", trees=10, rows=60, size=6.0)
    guest, host = asked.sides()
    talk(guest, host)
    assert {guest.scores.max(), guest.scores.min()} == {8 - 1 / 16, -8.0}
    inside = np.abs(asked.clear[:, 0]) < 7.9
    assert inside.any()
    assert np.abs(guest.scores - asked.clear[:, 0])[inside].max() <= 1 / 32 + 1e-5


def test_of_two_classes_opens_whether_the_score_is_above_nothing() -> None:
    asked = Asked.made(rows=80, classes=True)
    guest, host = asked.sides()
    talk(guest, host)
    assert guest.scores.tolist() == (asked.clear[:, 0] > 0).astype(float).tolist()
    assert set(guest.scores) == {0.0, 1.0}


def test_of_several_classes_opens_the_best() -> None:
    asked = Asked.made(outputs=5, rows=80, classes=True)
    guest, host = asked.sides()
    talk(guest, host)
    assert guest.scores.tolist() == asked.clear.argmax(axis=1).tolist()
    assert len(set(guest.scores)) >= 4


def test_rows_of_more_than_one_chunk_are_answered_in_order() -> None:
    asked = Asked.made(rows=1024 + 7, classes=True)
    guest, host = asked.sides()
    assert len(talk(guest, host)) == 4 + 2 * 4
    assert guest.scores.tolist() == (asked.clear[:, 0] > 0).astype(float).tolist()


def test_leaves_of_more_than_one_ciphertext_are_added() -> None:
    asked = Asked.made(trees=70, depth=6, rows=5, size=0.1)
    assert asked.plan.leaves(70).pieces > 1
    guest, host = asked.sides()
    talk(guest, host)
    assert np.abs(guest.scores - asked.clear[:, 0]).max() <= 1 / 8 + 1e-4


def test_fewer_trees_than_planned_answer() -> None:
    asked = Asked.made(trees=4)
    kept = tuple(each[:2] for each in asked.trees)
    fewer = replace(asked, trees=(kept[0], kept[1]))  # type: ignore[arg-type]
    guest, host = fewer.sides()
    talk(guest, host)
    assert np.abs(guest.scores - fewer.clear[:, 0]).max() <= 1 / 8 + 1e-5


def test_scores_too_large_are_refused_of_each_output_alone() -> None:
    asked = Asked.made("linear", trees=2, size=1.0)
    with pytest.raises(ConfigError, match="too large"):
        asked.sides(base=(1023.0,))
    many = Asked.made(outputs=40, trees=2, size=8.0, classes=True)
    assert sum(max(map(abs, tree.leaves)) for tree in many.trees[0]) > 1024
    guest, host = many.sides()
    talk(guest, host)
    assert guest.scores.tolist() == many.clear.argmax(axis=1).tolist()


def test_a_guest_that_cheats_reads_as_many_sides_of_a_row_as_bits_of_its_score_open() -> None:
    """The limit that is stated: in the place of its leaves it puts powers of two."""
    asked = Asked.made(trees=7, depth=1, rows=40)
    unit, splits = asked.plan.score_unit, asked.splits[1]
    own = tuple(GuestTree(("host",), (-1,), (unit * 2**tree, 0.0), (0.0,)) for tree in range(7))
    theirs = tuple(HostTree((2 * tree,)) for tree in range(7))
    guest, host = replace(asked, trees=(own, theirs), base=(-64 * unit,)).sides()
    talk(guest, host)
    read = (guest.scores / unit + 64).astype(int) >> np.arange(7)[:, None] & 1
    sides = [splits.left(asked.codes[1], 2 * tree) for tree in range(7)]
    assert np.array_equal(read, sides)


# -- what a session is ----------------------------------------------------------------------------


def test_the_messages_and_their_lengths_are_the_plans_alone() -> None:
    sent = [talk(*Asked.made(seed=seed, classes=True).sides()) for seed in (1, 1)]
    names = [VerticalMessage(message[5]).name for message in sent[0]]
    each = ["LEAVES_ASKED", "LEAVES_ANSWERED", "GARBLED", "COLOURS"]
    assert names == ["QUERY", "MET", "TREES_KEYS", "TREES_AGREED", *each]
    assert len(names) == MESSAGES
    assert [*map(len, sent[0])] == [*map(len, sent[1])]
    for one, other in zip(*sent, strict=True):
        assert one != other
    # Each session has a name of its own.
    assert len({message[8:24] for message in (*sent[0][2:], *sent[1][2:])}) == 2


def test_lengths_do_not_depend_on_values() -> None:
    lengths = set()
    asked = Asked.made(rows=40, classes=True)
    for seed in (0, 1, 2):
        random = np.random.default_rng(seed)
        codes = tuple(random.permuted(each, axis=1) for each in asked.codes)
        trees = tuple(tuple(random.permutation(len(each)).tolist()) for each in asked.trees)
        own = tuple(asked.trees[0][place] for place in trees[0])
        theirs = tuple(asked.trees[1][place] for place in trees[1])
        given = replace(asked, codes=(codes[0], codes[1]), trees=(own, theirs))
        lengths.add(tuple(map(len, talk(*given.sides()))))
    assert len(lengths) == 1


def test_another_model_or_question_is_refused() -> None:
    asked = Asked.made()
    others: list[dict[str, Any]] = [
        {"classes": True},
        {"codes": tuple(each[:, 1:] for each in asked.codes)},
        {"plan": Asked.made(trees=4).plan},
    ]
    for other in others:
        guest, host = asked.sides(**other)
        hello = guest.start()
        assert hello is not None
        with pytest.raises(ContextMismatchError, match="another model"):
            host.receive(hello)
        with pytest.raises(StateError, match="start a new one"):
            host.receive(hello)


def test_rows_count_before_any_is_answered() -> None:
    asked, counted = Asked.made(), list[int]()

    def charge(rows: int) -> None:
        counted.append(rows)
        if len(counted) > 1:
            raise BudgetExceededError("too many")

    guest, host = asked.sides()
    host.charge_with(charge)
    hello = guest.start()
    assert hello is not None
    assert host.receive(hello) is not None
    assert counted == [30]
    guest, host = asked.sides()
    host.charge_with(charge)
    hello = guest.start()
    assert hello is not None
    with pytest.raises(BudgetExceededError):
        host.receive(hello)


def test_no_rows_are_refused() -> None:
    asked = Asked.made()
    with pytest.raises(ConfigError, match="no rows"):
        asked.sides(codes=tuple(each[:, :0] for each in asked.codes))


def test_every_message_that_is_altered_is_refused() -> None:
    asked = Asked.made(classes=True)
    other = talk(*asked.sides())
    places = itertools.cycle([5, 31, 48, -40, -1])
    for number in range(MESSAGES):
        sides = asked.sides()
        message = bytearray(talk(*sides, until=number)[-1])
        taker = sides[1 - number % 2]
        message[next(places)] ^= 1
        with pytest.raises((PSIError, PrivFedError)) as caught:
            taker.receive(bytes(message))
        assert "\n" not in str(caught.value)
        with pytest.raises(StateError, match="start a new one"):
            taker.receive(bytes(message))
        if number > 1:
            sides = asked.sides()
            talk(*sides, until=number)
            with pytest.raises(PSIError):
                sides[1 - number % 2].receive(other[number])


def test_queries_are_not_pickled_and_show_nothing() -> None:
    guest, host = Asked.made().sides()
    talk(guest, host, until=5)
    for side in (guest, host):
        for way in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match="secrets"):
                way(side)
        assert repr(side) == f"{type(side).__name__}(30 rows)"
    with pytest.raises(StateError, match="not done"):
        _ = guest.scores
