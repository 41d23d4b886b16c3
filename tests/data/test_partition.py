"""Splits: the paper's numbers, no ID at two parties where promised, refusals with a remedy."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from privfed.data import Dataset, PartyRows, load_dataset, split_parties
from privfed.errors import ConfigError

SEEDS = range(5)
SURROGATE = load_dataset()


def align(left: NDArray[np.str_], right: NDArray[np.str_]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Stand in for private set intersection, with its contract: all pairs of equal IDs."""
    pairs = np.argwhere(left[:, None] == right[None, :])
    return pairs[:, 0], pairs[:, 1]


def ids(dataset: Dataset, party: PartyRows) -> set[str]:
    assert dataset.ids is not None
    return set(dataset.ids[party.rows].tolist())


def made_up(n: int, labels: NDArray[np.int64] | None = None) -> Dataset:
    return replace(
        SURROGATE,
        ids=np.array([str(i % (n - n // 20)) for i in range(n)]),  # one in twenty repeats
        features=np.zeros((n, 12), np.float32),
        labels=np.arange(n) % 2 if labels is None else labels,
    )


def same(left: PartyRows, right: PartyRows) -> bool:
    return np.array_equal(left.train, right.train) and np.array_equal(left.test, right.test)


@pytest.mark.parametrize("seed", SEEDS)
def test_overlapping_has_the_papers_numbers(seed: int) -> None:
    guest, host = split_parties(SURROGATE, "overlapping", seed=seed)
    assert (guest.name, host.name) == ("guest", "host")
    assert (len(guest.rows), len(host.rows)) == (406, 456)
    assert len(set(guest.rows) & set(host.rows)) == 362
    assert set(guest.rows) | set(host.rows) == set(range(500))
    assert (len(guest.train), len(guest.test)) == (325, 81)
    assert (len(host.train), len(host.test)) == (365, 91)
    # The phenomenon: test rows of the one are training rows of the other.
    assert len(set(guest.test) & set(host.train)) > 20
    assert len(ids(SURROGATE, guest) & ids(SURROGATE, host)) in range(340, 362)


@pytest.mark.parametrize("seed", SEEDS)
def test_disjoint_has_no_id_at_both_parties(seed: int) -> None:
    guest, host = split_parties(SURROGATE, "disjoint", seed=seed)
    assert not ids(SURROGATE, guest) & ids(SURROGATE, host)
    assert len(guest.rows) + len(host.rows) == 500
    assert len(guest.rows) in range(229, 244)  # 500 · 406 / 862 = 235.5, by whole IDs


@pytest.mark.parametrize("seed", SEEDS)
def test_deduplicated_is_overlapping_without_the_hosts_shared_ids(seed: int) -> None:
    before = split_parties(SURROGATE, "overlapping", seed=seed)
    guest, host = split_parties(SURROGATE, "deduplicated", seed=seed, align=align)
    assert same(guest, before[0])
    assert not ids(SURROGATE, guest) & ids(SURROGATE, host)
    gone = set(before[1].rows) - set(host.rows)
    assert set(host.rows) < set(before[1].rows)
    assert SURROGATE.ids is not None
    assert set(SURROGATE.ids[list(gone)].tolist()) <= ids(SURROGATE, guest)


@given(
    n=st.integers(200, 700),
    seed=st.integers(0, 2**32),
    kind=st.sampled_from(["overlapping", "disjoint", "deduplicated"]),
)
def test_every_split_is_a_split(n: int, seed: int, kind: Any) -> None:
    dataset = made_up(n)
    parties = split_parties(dataset, kind, seed=seed, align=align)
    for party in parties:
        assert len(np.unique(party.rows)) == len(party.train) + len(party.test)
        assert party.rows.min() >= 0
        assert party.rows.max() < n
        size = round(0.8 * len(party.rows))
        if kind == "disjoint":  # by whole IDs, of one row or two
            assert abs(len(party.train) - size) <= 1
            assert dataset.ids is not None
            assert not set(dataset.ids[party.train]) & set(dataset.ids[party.test])
        else:
            assert len(party.train) == size
    if kind != "overlapping":
        assert not ids(dataset, parties[0]) & ids(dataset, parties[1])
    if kind != "deduplicated":
        assert set().union(*(party.rows for party in parties)) == set(range(n))


@pytest.mark.parametrize("name", ["dresses", "digits", "breast-cancer"])
@pytest.mark.parametrize("parties", [2, 3, 10])
def test_many_parties_share_out_everything(name: str, parties: int) -> None:
    dataset = load_dataset(name)
    dealt = split_parties(dataset, "disjoint", parties=parties, seed=3)
    assert [party.name for party in dealt[:3]] == ["guest", "host", "party-3"][:parties]
    assert len(dealt) == parties
    everything = np.concatenate([party.rows for party in dealt])
    assert sorted(everything.tolist()) == list(range(len(dataset)))
    assert len(set().union(*(ids(dataset, p) for p in dealt))) == sum(
        len(ids(dataset, p)) for p in dealt
    )
    if parties > 2:
        sizes = [len(ids(dataset, party)) for party in dealt]
        assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("kind", ["overlapping", "disjoint", "deduplicated"])
def test_a_seed_fixes_the_split(kind: Any) -> None:
    one, again, other = (
        split_parties(SURROGATE, kind, seed=seed, align=align) for seed in (7, 7, 8)
    )
    assert all(map(same, one, again))
    assert not any(map(same, one, other))


@pytest.mark.parametrize(
    ("name", "kind", "parties", "digest"),
    [
        ("digits", "disjoint", 2, "c76cd87920ebe854"),
        ("digits", "disjoint", 10, "b97116bc0c5c9e6b"),
        ("breast-cancer", "disjoint", 3, "232993a22bae0b1a"),
        ("dresses", "overlapping", 2, "b807d535198f7876"),
        ("dresses", "deduplicated", 2, "b2e3af1c5b023913"),
    ],
)
def test_splits_stay_what_recorded_figures_are_of(
    name: str, kind: Any, parties: int, digest: str
) -> None:
    """Those of 0.1.0: the paper's are drawn by row, and where no ID repeats by ID is by row."""
    found = hashlib.sha256()
    for seed in range(4):
        for party in split_parties(
            load_dataset(name), kind, parties=parties, seed=seed, align=align
        ):
            found.update(party.train.astype("<i8").tobytes() + b"|")
            found.update(party.test.astype("<i8").tobytes())
    assert found.hexdigest()[:16] == digest


def test_the_seed_moves_the_draw_within_a_party_too() -> None:
    guests = [split_parties(SURROGATE, "overlapping", seed=seed)[0] for seed in (7, 8)]
    left, right = (np.searchsorted(guest.rows, guest.test) for guest in guests)
    assert not np.array_equal(left, right)


def test_rows_without_ids_are_dealt_by_row() -> None:
    nameless = replace(SURROGATE, ids=None)
    guest, host = split_parties(nameless, "disjoint", seed=0)
    assert not set(guest.rows) & set(host.rows)
    assert (len(guest.rows), len(host.rows)) == (235, 265)
    assert same(
        split_parties(nameless, "overlapping")[0], split_parties(SURROGATE, "overlapping")[0]
    )
    with pytest.raises(ConfigError, match="needs Dress_IDs"):
        split_parties(nameless, "deduplicated", align=align)


def test_the_intersection_is_asked_once_and_gets_the_parties_ids_only() -> None:
    asked = []

    def spy(left: NDArray[np.str_], right: NDArray[np.str_]) -> Any:
        asked.append((len(left), len(right)))
        return align(left, right)

    split_parties(SURROGATE, "deduplicated", align=spy)
    assert asked == [(406, 456)]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"kind": "random"}, "unknown split 'random'"),
        ({"kind": "overlapping", "parties": 3}, "for 3 use the disjoint split"),
        ({"kind": "deduplicated", "parties": 5}, "for 5 use the disjoint split"),
        ({"kind": "disjoint", "parties": 1}, "at least 2"),
        ({"kind": "disjoint", "seed": -1}, "seed -1 is negative"),
        ({"kind": "deduplicated"}, "private set intersection"),
        ({"kind": "disjoint", "parties": 600}, "guest has 1 rows, too few"),
        ({"kind": "disjoint", "parties": 200}, "has . rows, too few|one class only"),
    ],
)
def test_what_cannot_be_dealt_is_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        split_parties(SURROGATE, **options)


def test_a_party_without_rows_or_with_one_class_is_named() -> None:
    everything_shared = np.array(["same"] * 100)
    twins = replace(made_up(100), ids=everything_shared)
    with pytest.raises(ConfigError, match="host has 0 rows"):
        split_parties(twins, "deduplicated", align=align)
    labels = np.zeros(100, np.int64)
    labels[0] = 1
    with pytest.raises(ConfigError, match=r"(guest|host) has training rows of one class only"):
        split_parties(made_up(100, labels), "disjoint")
