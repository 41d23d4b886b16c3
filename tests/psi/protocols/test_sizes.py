"""Every protocol, policy and type of key against Python sets, at the sizes that break things.

Sizes: none, one, equal sets, disjoint ones, one inside the other, all rows of one ID, and free
ones; rows repeat and lack their ID wherever the policy allows it.
"""

import string
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from psi import Leader, Member, MinimumError, StateError, TagStore
from psi.network import Participant, Roster, TLSIdentity, create_identity
from psi.protocols.party import Party
from psi.sessions import GroupChoice, LargeSide, PairChoice, SumChoice, TableSession
from psi.sessions.questions.question import Side
from psi.sessions.session import table_index
from psi.tables.keys import Duplicates
from tests.psi.peers import run

# What is said of such IDs and of this protocol is tested elsewhere; here it would be said always.
pytestmark = [
    pytest.mark.filterwarnings("ignore::psi.MissingValueWarning"),
]

KEYS: dict[str, st.SearchStrategy[Any]] = {
    "integers": st.integers(-(2**60), 2**60),
    "floats": st.integers(-(2**50), 2**50).map(float),
    "text": st.text(string.printable + "äß東🎈\u0301", min_size=1, max_size=5),
    "bytes": st.binary(min_size=1, max_size=5),
    "dates": st.dates(),
    "times": st.datetimes(),
    "UUIDs": st.uuids(),
    "composite": st.tuples(st.text("ab", min_size=1, max_size=3), st.integers(0, 9)),
}
SHAPES: dict[str, Callable[[list[Any]], tuple[list[Any], list[Any]]]] = {
    "none": lambda pool: ([], []),
    "none here": lambda pool: ([], pool),
    "none there": lambda pool: (pool, []),
    "one": lambda pool: (pool[:1], pool[:1]),
    "one of them": lambda pool: (pool, pool[-1:]),
    "equal": lambda pool: (pool, pool[::-1]),
    "disjoint": lambda pool: (pool[::2], pool[1::2]),
    "inside": lambda pool: (pool[1:-1], pool),
    "around": lambda pool: (pool, pool[1:-1]),
    "partly": lambda pool: (pool[: len(pool) * 2 // 3], pool[len(pool) // 3 :]),
}


@dataclass
class Tables:
    """Two sides' IDs, row by row; None is a missing one."""

    left: list[Any]
    right: list[Any]

    @staticmethod
    def first_rows(ids: Sequence[Any]) -> dict[Any, int]:
        rows: dict[Any, int] = {}
        for row, one in enumerate(ids):
            if one is not None:
                rows.setdefault(one, row)
        return rows

    def pairs(self, policy: str) -> set[tuple[int, int]]:
        """The rows that belong together, by Python."""
        if policy != "all":
            left, right = map(self.first_rows, (self.left, self.right))
            return {(left[one], right[one]) for one in left.keys() & right.keys()}
        rows = defaultdict(list)
        for row, one in enumerate(self.right):
            rows[one].append(row)
        return {
            (at, other)
            for at, one in enumerate(self.left)
            if one is not None
            for other in rows.get(one, ())
        }


def table(ids: Sequence[Any]) -> tuple[Any, Any]:
    """A table of IDs as `psi` takes it, and the names of its columns."""
    if any(isinstance(one, tuple) for one in ids):
        parts = [(None, 1) if one is None else one for one in ids]
        return {"a": [one for one, _ in parts], "b": [two for _, two in parts]}, ["a", "b"]
    return {"a": list(ids)}, ["a"]


@st.composite
def tables(draw: st.DrawFn, policy: str, kind: str) -> Tables:
    pool = draw(st.lists(KEYS[kind], unique=True, max_size=9))
    sides = SHAPES[draw(st.sampled_from(sorted(SHAPES)))](pool)
    rows = []
    for side in map(list, sides):
        if side and policy != "error":
            side += draw(st.lists(st.sampled_from(side), max_size=6))
            if draw(st.booleans()):
                side = [side[0]] * len(side)
        rows.append(draw(st.permutations([*side, *[None] * draw(st.integers(0, 2))])))
    # A composite ID of one side needs two columns at the other, whatever it holds.
    if kind == "composite":
        rows = [[*side, ("none", 0 if at else 1)] for at, side in enumerate(rows)]
    return Tables(*rows)


def sessions(both: Tables, policy: Duplicates, **choices: Any) -> list[TableSession[Party]]:
    """The serving and the joining side, done."""
    held = []
    sides: list[tuple[Side, list[Any]]] = [("serve", both.left), ("join", both.right)]
    for side, ids in sides:
        content, on = table(ids)
        choice = PairChoice(side=side, duplicates=policy, **choices)
        held.append(TableSession.prepare(content, choice, on=on))
    parties = sorted((one.party for one in held), key=lambda party: not party.speaks_first)
    run(*parties)
    return held


def few(function: Callable[..., None], examples: int) -> Callable[..., None]:
    return settings(max_examples=examples, deadline=None)(function)


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize("policy", ["error", "first", "all"])
@pytest.mark.parametrize(("protocol", "examples"), [("ecdh", 12), ("vole", 3)])
def test_rows(protocol: str, examples: int, policy: Duplicates, kind: str) -> None:
    @given(tables(policy, kind))
    def holds(both: Tables) -> None:
        held = sessions(both, policy, protocol=protocol)
        pairs = list(zip(*(one.rows().tolist() for one in held), strict=True))
        assert len(set(pairs)) == len(pairs)
        assert set(pairs) == both.pairs(policy)

    few(holds, examples)()


@pytest.mark.parametrize("result", ["serve", "join"])
@pytest.mark.parametrize("policy", ["error", "first", "all"])
def test_rows_of_one_side(policy: Duplicates, result: str) -> None:
    @given(tables(policy, "integers"))
    def holds(both: Tables) -> None:
        serving, joining = sessions(both, policy, result=result)
        gets, other = (serving, joining) if result == "serve" else (joining, serving)
        place = 0 if result == "serve" else 1
        rows = gets.rows().tolist()
        assert len(set(rows)) == len(rows)
        assert set(rows) == {pair[place] for pair in both.pairs(policy)}
        with pytest.raises(StateError):
            other.rows()

    few(holds, 15)()


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize("policy", ["error", "first"])
def test_numbers(policy: Duplicates, kind: str) -> None:
    @given(tables(policy, kind))
    def holds(both: Tables) -> None:
        matches = both.pairs(policy)
        for one in sessions(both, policy, learn="cardinality"):
            assert one.outcome(None)[0] == {"cardinality": [len(matches)]}

    few(holds, 8)()


@pytest.mark.parametrize("policy", ["error", "first"])
def test_sums(policy: Duplicates) -> None:
    @given(tables(policy, "text"))
    def holds(both: Tables) -> None:
        values = {"a": both.left, "n": list(range(len(both.left)))}
        choices: dict[str, Any] = {"duplicates": policy, "learn": "sum"}
        counting = PairChoice(
            side="serve", details=SumChoice("n", minimum=1, max_value=99), **choices
        )
        holding = TableSession.prepare(values, counting, on="a")
        other = PairChoice(side="join", details=SumChoice(minimum=1, max_value=99), **choices)
        asking = TableSession.prepare({"a": both.right}, other, on="a")
        matches = both.pairs(policy)
        if not matches:
            with pytest.raises(MinimumError):
                run(asking.party, holding.party)
            return
        run(asking.party, holding.party)
        expected = {"cardinality": [len(matches)], "sum": [sum(row for row, _ in matches)]}
        assert holding.outcome(None)[0] == asking.outcome(None)[0] == expected

    few(holds, 15)()


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize("policy", ["error", "first"])
def test_private_ids(policy: Duplicates, kind: str) -> None:
    @given(tables(policy, kind))
    def holds(both: Tables) -> None:
        held = sessions(both, policy, learn="ids")
        left, right = (
            one.outcome(table(ids)[0], numbers=True)[0]
            for one, ids in zip(held, (both.left, both.right), strict=True)
        )
        assert left["private_id"] == right["private_id"]
        lines = [
            tuple(int(row) if str(row) not in ("", "-1") else None for row in line)
            for line in zip(left["row"], right["row"], strict=True)
        ]
        firsts = [Tables.first_rows(ids) for ids in (both.left, both.right)]
        union = firsts[0].keys() | firsts[1].keys()
        expected = [tuple(first.get(one) for first in firsts) for one in union]
        assert sorted(lines, key=str) == sorted(expected, key=str)

    few(holds, 8)()


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize("policy", ["error", "first"])
def test_a_store(policy: Duplicates, kind: str, tmp_path: Path) -> None:
    @given(tables(policy, kind))
    def holds(both: Tables) -> None:
        content, on = table(both.left)
        index, form = table_index(content, on, policy, None)
        store = TagStore.create(tmp_path / "store", index.keys, key_format=form, replace=True)
        content, on = table(both.right)
        asking = TableSession.prepare(
            content,
            PairChoice(
                side="join",
                duplicates=policy,
                result="join",
                learn="unbalanced",
                details=LargeSide(),
            ),
            on=on,
        )
        run(asking.party, store.answering("bob"))
        assert set(asking.rows().tolist()) == {row for _, row in both.pairs(policy)}

    few(holds, 5)()


@pytest.fixture(scope="module")
def roster(tmp_path_factory: pytest.TempPathFactory) -> Roster:
    folder, names = tmp_path_factory.mktemp("keys"), ("alice", "bob", "carol")
    for name in names:
        create_identity(folder / name, unlocked=True)
    load = TLSIdentity.load
    return Roster(tuple(Participant(name, "", load(folder / name).certificate) for name in names))


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize("policy", ["error", "first"])
def test_three_sides(policy: Duplicates, kind: str, roster: Roster) -> None:
    @given(tables(policy, kind), st.data())
    def holds(both: Tables, data: st.DataObject) -> None:
        # The third has a part of what the first has, once each, and something else.
        third = data.draw(st.lists(st.sampled_from(both.left), unique=True)) if both.left else []
        sides = [both.left, both.right, third]
        held = []
        for number, ids in enumerate(sides):
            content, on = table(ids)
            on = on if kind != "composite" else ["a", "b"]
            if kind == "composite" and len(content) == 1:
                content = {"a": [None] * len(ids), "b": [None] * len(ids)}
            choice = GroupChoice(number=number, roster=roster, duplicates=policy)
            held.append(TableSession.prepare(content, choice, on=on))
        rows = _rows_of_all(held)
        firsts = [Tables.first_rows(ids) for ids in sides]
        shared = firsts[0].keys() & firsts[1].keys() & firsts[2].keys()
        expected = {tuple(first[one] for first in firsts) for one in shared}
        assert len(rows) == len(set(rows))
        assert set(rows) == expected

    few(holds, 8)()


def _rows_of_all(held: list[TableSession[Leader | Member]]) -> list[tuple[int, ...]]:
    assert isinstance(held[0].party, Leader)
    sent = {number: one.party.start() for number, one in enumerate(held)}
    while any(sent.values()):
        arriving: dict[int, dict[int, bytes]] = {}
        for sender, messages in sent.items():
            for recipient, message in messages.items():
                arriving.setdefault(recipient, {})[sender] = message
        sent = {number: held[number].party.receive(by) for number, by in arriving.items()}
    return list(zip(*(one.rows().tolist() for one in held), strict=True))
