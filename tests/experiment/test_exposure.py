"""Seen, unseen and placements against loops over IDs."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from privfed.cli.alignment import PSIAligner
from privfed.data import PartyRows, split_parties
from privfed.errors import ConfigError
from privfed.experiment import common_ids
from privfed.experiment.common_ids import Aligner, CommonIDs, find_common_ids
from privfed.experiment.exposure import Exposure, expose
from tests.experiment.mini import PlainAligner, surrogate

IDs = NDArray[np.str_]
Table = tuple[list[str], list[tuple[list[int], list[int]]]]


@st.composite
def tables(draw: st.DrawFn, parties: int) -> Table:
    """IDs that repeat within and across parties; rows, too, may be at several parties."""
    n = draw(st.integers(4, 16))
    ids = draw(st.lists(st.sampled_from("abcdefgh"), min_size=n, max_size=n))
    dealt = []
    for _ in range(parties):
        own = draw(st.permutations(range(n)))[: draw(st.integers(2, n))]
        cut = draw(st.integers(1, len(own) - 1))
        dealt.append((sorted(own[:cut]), sorted(own[cut:])))
    return ids, dealt


def common_to(ids: list[str], parties: Sequence[PartyRows], align: Aligner) -> CommonIDs:
    dataset = dataclasses.replace(surrogate(), ids=np.array(ids))
    return find_common_ids(dataset, [party.rows for party in parties], align)


def parties_of(table: Table) -> list[PartyRows]:
    return [
        PartyRows(f"party-{i}", np.array(train), np.array(test))
        for i, (train, test) in enumerate(table[1])
    ]


def exposed(table: Table, align: Aligner) -> Exposure:
    parties = parties_of(table)
    return expose(parties, common_to(table[0], parties, align), split="disjoint", seed=0)


def check(table: Table, found: Exposure) -> None:
    ids, dealt = table
    trained = [{ids[row] for row in train} for train, _ in dealt]
    everybody = set().union(*trained)
    for members in [*[[p] for p in range(len(dealt))], list(range(len(dealt)))]:
        seen, unseen, before = [], [], set()
        for p in members:
            for row in dealt[p][1]:
                seen.append(any(ids[row] in trained[q] for q in members))
                unseen.append(ids[row] not in everybody and ids[row] not in before)
                before.add(ids[row])
        masks = found.masks(members)
        assert masks[0].tolist() == seen
        assert masks[1].tolist() == unseen
        assert not np.any(masks[0] & masks[1])
    counts = [Counter(ids[row] for row in train) for train, _ in dealt]
    placements = {tuple(count[unit] for count in counts) for unit in everybody}
    assert len(found.placements) == len(placements)
    assert set(found.placements) == placements
    held = [{ids[row] for row in train + test} for train, test in dealt]
    tested = {ids[row] for _, test in dealt for row in test}
    holders = Counter(each for own in held for each in own)
    assert found.overlap.shared_ids == sum(number > 1 for number in holders.values())
    assert found.overlap.unseen_test_ids == len(tested - everybody)
    assert found.overlap.party_rows == tuple(len(train) + len(test) for train, test in dealt)


@given(st.integers(2, 3).flatmap(tables))
def test_masks_and_placements_by_looking(table: Table) -> None:
    check(table, exposed(table, PlainAligner()))


@settings(max_examples=8, deadline=None)
@given(st.integers(2, 3).flatmap(tables))
def test_masks_and_placements_by_private_set_intersection(table: Table) -> None:
    align = PSIAligner()
    found = exposed(table, align)
    check(table, found)
    assert found.overlap.protocol == align.protocol == "ecdh"
    assert found.overlap.psi_bytes == align.bytes_exchanged > 0
    assert found.overlap.psi_seconds > 0


@pytest.mark.parametrize("split", ["overlapping", "disjoint", "deduplicated"])
def test_the_surrogates_splits_by_both(split: str) -> None:
    """The same exposure by intersection as by looking, and what each split promises."""
    found = []
    for align in (PlainAligner(), PSIAligner()):
        parties = split_parties(surrogate(), split, seed=2, align=align)  # type: ignore[arg-type]
        ids = surrogate().require_ids("this test").tolist()
        found.append(expose(parties, common_to(ids, parties, align), split=split, seed=2))
        check((ids, [(p.train.tolist(), p.test.tolist()) for p in parties]), found[-1])
    plain, private = found
    assert plain.placements == private.placements
    assert plain.overlap.shared_ids == private.overlap.shared_ids
    if split == "overlapping":
        assert 340 <= private.overlap.shared_ids <= 362
        assert max(map(sum, private.placements)) >= 3  # a repeated ID at both
    else:
        assert private.overlap.shared_ids == 0
        assert all(min(placement) == 0 for placement in private.placements)


class Watched(PlainAligner):
    """Remembers how many IDs each side brought, call by call."""

    def __init__(self) -> None:
        super().__init__()
        self.brought: list[tuple[int, int]] = []

    def __call__(self, left: IDs, right: IDs) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        self.brought.append((len(left), len(right)))
        return super().__call__(left, right)


def asked_pair_by_pair(ids: IDs, parties: Sequence[PartyRows]) -> tuple[list[Any], list[Any]]:
    """Who trained on each test row, and who tests on it earlier, by an intersection of each two
    parties' test and training columns: as it was once done, M² times a split."""
    align = PlainAligner()

    def shared(left: IDs, right: IDs) -> list[bool]:
        mask = np.zeros(len(left), np.bool_)
        mask[align(left, right)[0]] = True
        return mask.tolist()

    seen_by = [[shared(ids[p.test], ids[q.train]) for q in parties] for p in parties]
    elsewhere = [
        np.any([[False] * len(p.test), *(shared(ids[p.test], ids[q.test]) for q in parties[:i])], 0)
        for i, p in enumerate(parties)
    ]
    assert align.bytes_exchanged == len(parties) ** 2 + len(parties) * (len(parties) - 1) // 2
    return [np.array(each).T.tolist() for each in seen_by], [each.tolist() for each in elsewhere]


@given(st.integers(2, 6).flatmap(tables), st.sampled_from([1, 9, 1 << 18]))
def test_one_pass_says_what_each_pair_of_columns_said(table: Table, together: int) -> None:
    """However many pairs share a session; and each pair brings its whole columns once."""
    parties, align = parties_of(table), Watched()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(common_ids, "_MOST_TOGETHER", together)
        found = exposed(table, align)
    seen_by, elsewhere = asked_pair_by_pair(np.array(table[0]), parties)
    assert [each.tolist() for each in found.seen_by] == seen_by
    assert [each.tolist() for each in found.elsewhere] == elsewhere
    sizes = [len({table[0][row] for row in party.rows}) for party in parties]
    later = range(len(parties))
    assert sum(left for left, _ in align.brought) == sum(sizes[p] * (later[-1] - p) for p in later)
    assert sum(right for _, right in align.brought) == sum(sizes[p] * p for p in later)
    if together == 1:
        assert len(align.brought) == len(parties) * (len(parties) - 1) // 2


def test_ids_that_begin_with_a_number_stay_apart() -> None:
    """Pairs share a session, and an ID of one pair is never taken for another pair's."""
    ids = ["1", "1 1", "0 1 1", "1", "0 1", "11", "1 0 1", "01", "0 0 1"]
    table: Table = (ids, [([0, 1], [2]), ([3, 4], [5]), ([6, 7], [8])])
    check(table, exposed(table, PSIAligner()))


def test_a_table_is_intersected_once() -> None:
    """Seeds that change no party's rows, and splits of the same rows, ask nothing again."""
    once, again = (np.arange(6), np.arange(4, 9)), (np.arange(6), np.arange(3, 9))
    found = common_to(
        list("abcdefghi"), [PartyRows("a", r[:2], r[2:]) for r in once], PlainAligner()
    )
    assert found.are_of(once)
    assert not found.are_of(again)
    assert not found.are_of(once[:1])
    assert repr(found) == "CommonIDs(2 parties, 9 IDs)"


def test_each_table_counts_its_own_bytes() -> None:
    """One aligner serves a whole benchmark."""
    align = PSIAligner()
    table: Table = (list("aabc"), [([0, 2], [3]), ([1], [3])])
    one, other = exposed(table, align), exposed(table, align)
    assert one.overlap.psi_bytes == other.overlap.psi_bytes
    assert align.bytes_exchanged == 2 * one.overlap.psi_bytes


def test_without_ids_there_is_nothing_to_expose() -> None:
    dataset = dataclasses.replace(surrogate(), ids=None)
    with pytest.raises(ConfigError, match="seen and unseen accuracy needs"):
        find_common_ids(dataset, [np.arange(3), np.arange(3)], PlainAligner())
