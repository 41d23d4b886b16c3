"""Seen, unseen and placements against loops over IDs."""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privfed.cli.alignment import PSIAligner
from privfed.data import PartyRows, split_parties
from privfed.errors import ConfigError
from privfed.experiment.exposure import Exposure, expose
from tests.experiment.mini import PlainAligner, surrogate

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


def exposed(table: Table, align: PlainAligner | PSIAligner) -> Exposure:
    ids, dealt = table
    dataset = dataclasses.replace(surrogate(), ids=np.array(ids))
    parties = [
        PartyRows(f"party-{i}", np.array(train), np.array(test))
        for i, (train, test) in enumerate(dealt)
    ]
    return expose(dataset, parties, align, split="disjoint", seed=0)


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
    assert found.overlap.shared_ids == len(held[0] & set().union(*held[1:]))
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
        found.append(expose(surrogate(), parties, align, split=split, seed=2))
        ids = surrogate().require_ids("this test").tolist()
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


def test_each_call_counts_its_own_bytes() -> None:
    """One aligner serves a whole benchmark."""
    align = PSIAligner()
    table: Table = (list("aabc"), [([0, 2], [3]), ([1], [3])])
    one, other = exposed(table, align), exposed(table, align)
    assert one.overlap.psi_bytes == other.overlap.psi_bytes
    assert align.bytes_exchanged == 2 * one.overlap.psi_bytes


def test_without_ids_there_is_nothing_to_expose() -> None:
    dataset = dataclasses.replace(surrogate(), ids=None)
    with pytest.raises(ConfigError, match="seen and unseen accuracy needs"):
        expose(dataset, [], PlainAligner(), split="disjoint", seed=0)
