"""Sizes and skews: every row once, sizes as asked, alike with a large concentration."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from privfed.data import Dataset, Dealing, load_dataset, split_parties
from privfed.data.dealing import deal
from privfed.errors import ConfigError

DIGITS = load_dataset("digits")


def labels(n: int, classes: int) -> NDArray[np.int64]:
    return np.random.default_rng([n, classes]).integers(0, classes, n)


def dealt(n: int, parties: int, dealing: Dealing, *, classes: int = 3, seed: int = 0) -> Any:
    return deal(np.arange(n), labels(n, classes), parties, dealing, np.random.default_rng(seed))


SKEWS = st.builds(
    Dealing,
    skew=st.sampled_from(["labels", "quantities"]),
    concentration=st.floats(-3, 6).map(lambda power: min(10.0**power, 1e6)),
)


@given(
    n=st.integers(1, 400), parties=st.integers(2, 9), dealing=SKEWS, classes=st.integers(1, 7),
    seed=st.integers(0, 2**32),
)  # fmt: skip
def test_every_row_is_dealt_once(
    n: int, parties: int, dealing: Dealing, classes: int, seed: int
) -> None:
    rows = dealt(n, parties, dealing, classes=classes, seed=seed)
    assert len(rows) == parties
    assert sorted(np.concatenate(rows).tolist()) == list(range(n))
    assert all((np.diff(own) > 0).all() for own in rows)
    if dealing.skew == "labels":
        assert max(map(len, rows)) - min(map(len, rows)) <= 1


@given(
    sizes=st.lists(st.integers(1, 60), min_size=2, max_size=8), spare=st.integers(0, 50),
    concentration=st.none() | st.floats(1e-3, 1e6), seed=st.integers(0, 2**32),
)  # fmt: skip
def test_sizes_are_as_asked(
    sizes: list[int], spare: int, concentration: float | None, seed: int
) -> None:
    """With a skew of labels, too; what is left over is at nobody."""
    skew: Any = None if concentration is None else "labels"
    dealing = Dealing(tuple(map(float, sizes)), skew, concentration)
    rows = dealt(sum(sizes) + spare, len(sizes), dealing, seed=seed)
    assert [len(own) for own in rows] == sizes
    assert len(np.unique(np.concatenate(rows))) == sum(sizes)


@given(
    weights=st.lists(st.integers(1, 100), min_size=2, max_size=8), n=st.integers(1, 500),
    spare=st.integers(0, 60), seed=st.integers(0, 9),
)  # fmt: skip
def test_shares_are_as_asked_within_a_row(
    weights: list[int], n: int, spare: int, seed: int
) -> None:
    whole = sum(weights) + spare
    shares = tuple(weight / whole for weight in weights)
    rows = dealt(n, len(shares), Dealing(shares), seed=seed)
    for own, share in zip(rows, shares, strict=True):
        assert abs(len(own) - share * n) < 1
    if not spare:
        assert sum(map(len, rows)) == n


@given(
    counts=st.lists(st.integers(1, 4), min_size=2, max_size=60), parties=st.integers(2, 5),
    dealing=SKEWS | st.just(Dealing((0.5, 0.2, 0.3))), seed=st.integers(0, 99),
)  # fmt: skip
def test_an_id_is_at_one_party(
    counts: list[int], parties: int, dealing: Dealing, seed: int
) -> None:
    units = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    parties = parties if dealing.sizes is None else 3
    rows = deal(units, labels(len(units), 2), parties, dealing, np.random.default_rng(seed))
    assert sorted(np.concatenate(rows).tolist()) == list(range(len(units)))
    assert sum(len(set(units[own])) for own in rows) == len(counts)
    if dealing.sizes is not None:
        for own, share in zip(rows, dealing.sizes, strict=True):
            assert abs(len(own) - share * len(units)) < 1 + 2 * 4  # both ends by whole IDs


def class_shares(rows: Any, of: NDArray[np.int64], classes: int) -> NDArray[np.float64]:
    return np.array([np.bincount(of[own], minlength=classes) / len(own) for own in rows])


@pytest.mark.parametrize("seed", range(5))
def test_a_large_concentration_makes_parties_alike(seed: int) -> None:
    even = dealt(3000, 5, Dealing(skew="quantities", concentration=1e6), seed=seed)
    assert all(abs(len(own) - 600) <= 6 for own in even)
    of = labels(3000, 3)
    whole = np.bincount(of) / 3000
    alike = dealt(3000, 5, Dealing(skew="labels", concentration=1e6), seed=seed)
    assert np.abs(class_shares(alike, of, 3) - whole).max() < 0.01


@pytest.mark.parametrize("seed", range(5))
def test_a_small_concentration_makes_them_unlike(seed: int) -> None:
    one = dealt(3000, 5, Dealing(skew="quantities", concentration=0.01), seed=seed)
    assert max(map(len, one)) > 2000
    of = labels(3000, 3)
    unlike = dealt(3000, 3, Dealing(skew="labels", concentration=0.01), seed=seed)
    # The first takes nearly all of one class, and of what is left so does the next.
    assert np.sort(class_shares(unlike, of, 3).max(axis=1))[1] > 0.9


@pytest.mark.parametrize("concentration", [0.3, 2.0, 20.0])
def test_shares_have_the_stated_spread(concentration: float) -> None:
    """A Dirichlet share of mean p varies by p (1 - p) / (1 + the sum of its parameters)."""
    n, parties, classes, draws = 4000, 4, 2, 400
    quantities, first = [], []
    of = np.arange(n) % classes
    for seed in range(draws):
        drawn = np.random.default_rng(seed)
        skew = Dealing(skew="quantities", concentration=concentration)
        quantities.append(len(deal(np.arange(n), of, parties, skew, drawn)[0]) / n)
        # Small parties of a large table: no class runs out, so that shares are as drawn.
        skew = Dealing((100.0,) * parties, "labels", concentration)
        rows = deal(np.arange(n), of, parties, skew, drawn)
        first.append(np.mean(of[rows[0]] == 0))
    for values, mean, total in (
        (quantities, 1 / parties, parties * concentration),
        (first, 1 / classes, concentration),
    ):
        variance = mean * (1 - mean) / (1 + total)
        # Eight standard errors, of a mean and about that of a variance: no false alarm expected.
        assert abs(np.mean(values) - mean) < 8 * np.sqrt(variance / draws)
        assert 0.55 < np.var(values) / variance < 1.6


@pytest.mark.parametrize(
    "dealing",
    [
        Dealing((100.0, 200.0, 50.0)),
        Dealing((0.5, 0.3, 0.2)),
        Dealing(skew="labels", concentration=0.5),
        Dealing((0.5, 0.3, 0.1), "labels", 0.5),
        Dealing(skew="quantities", concentration=1.0),
    ],
)
def test_a_split_is_dealt_so(dealing: Dealing) -> None:
    one, again, other = (
        split_parties(DIGITS, "disjoint", parties=3, seed=seed, dealing=dealing)
        for seed in (3, 3, 4)
    )
    for left, right in zip(one, again, strict=True):
        assert np.array_equal(left.train, right.train)
        assert np.array_equal(left.test, right.test)
    assert not np.array_equal(one[0].rows, other[0].rows)
    rows = np.concatenate([party.rows for party in one])
    assert len(np.unique(rows)) == len(rows)
    if dealing.sizes == (100.0, 200.0, 50.0):
        assert [len(party.rows) for party in one] == [100, 200, 50]
    else:
        assert (len(rows) == len(DIGITS)) == (dealing.sizes is None or sum(dealing.sizes) == 1)


def test_sizes_say_how_many_parties_there_are() -> None:
    sizes = Dealing((40.0, 50.0, 60.0, 70.0))
    assert len(split_parties(DIGITS, "disjoint", dealing=sizes)) == 4
    with pytest.raises(ConfigError, match="`parties` is 3, and there are 4"):
        split_parties(DIGITS, "disjoint", dealing=sizes, parties=3)


def two_classes(n: int = 60) -> Dataset:
    return replace(
        DIGITS,
        ids=None,
        features=DIGITS.features[:n],
        labels=np.arange(n) % 2,
        class_names=("no", "yes"),
    )


def test_a_skew_is_drawn_again_until_each_party_can_train() -> None:
    """Most draws of this law leave somebody one class; each seed finds one that does not."""
    skew = Dealing(skew="labels", concentration=0.3)
    at_once = 0
    for seed in range(20):
        parties = split_parties(two_classes(), "disjoint", parties=3, seed=seed, dealing=skew)
        for party in parties:
            assert set(two_classes().labels[party.train]) == {0, 1}
        first = deal(np.arange(60), two_classes().labels, 3, skew, np.random.default_rng(seed))
        at_once += all(np.array_equal(p.rows, own) for p, own in zip(parties, first, strict=True))
    assert 0 < at_once < 20


def test_a_skew_that_leaves_no_party_two_classes_is_refused() -> None:
    skew = Dealing(skew="labels", concentration=1e-3)
    with pytest.raises(ConfigError, match=r"one class only, .*ask for a larger concentration"):
        split_parties(two_classes(), "disjoint", parties=4, dealing=skew)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"sizes": (100.0, -1.0)}, "`sizes` are numbers above 0"),
        ({"sizes": (100.0, 0.0)}, "`sizes` are numbers above 0"),
        ({"sizes": (float("nan"), 1.0)}, "`sizes` are numbers above 0"),
        ({"sizes": (100.0, 0.5)}, "not both"),
        ({"sizes": (1.5, 2.5)}, "not both"),
        ({"sizes": (0.5, 0.6)}, "add up to 1.1"),
        ({"skew": "labels"}, "give both"),
        ({"concentration": 1.0}, "give both"),
        ({"skew": "rows", "concentration": 1.0}, "unknown `skew` 'rows'"),
        ({"skew": "labels", "concentration": 0.0}, "not 0"),
        ({"skew": "labels", "concentration": 2e6}, "between 0.001 and 1e"),
        ({"skew": "labels", "concentration": float("nan")}, "concentration"),
        ({"sizes": (9.0, 8.0), "skew": "quantities", "concentration": 1.0}, "give one of the two"),
    ],
)
def test_what_makes_no_sense_is_refused(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        Dealing(**wrong)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "dealing", "says"),
    [
        ("overlapping", Dealing((20.0, 30.0)), "of the disjoint split, not of overlapping"),
        ("deduplicated", Dealing(skew="labels", concentration=1), "not of deduplicated"),
        ("disjoint", Dealing((1000.0, 900.0)), "asks for 1900 rows and the table has 1797"),
        ("disjoint", Dealing((1000.0, 2.0)), "host has 2 rows, too few.*give it more rows"),
        ("disjoint", Dealing((50.0,)), "1 parties cannot learn together"),
    ],
)
def test_what_cannot_be_dealt_is_refused(kind: Any, dealing: Dealing, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        split_parties(DIGITS, kind, dealing=dealing)
