"""Parties that a table names: whose rows they are, how they are split, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from privfed.data import (
    Dataset,
    Dealing,
    Owners,
    PartyRows,
    load_dataset,
    load_own_parties,
    split_parties,
)
from privfed.data.understood import rows_of, understood
from privfed.errors import ConfigError, TableWarning

DIGITS = load_dataset("digits")
SHOPS = ["north", "north", "south", "north", "Süd & Co.", "south"]


def frame(n: int = 60) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "x": [i + 0.5 for i in range(n)],
            "shop": [SHOPS[i % len(SHOPS)] for i in range(n)],
            "who": [f"c{i // 2}" for i in range(n)],
            "late": [["no", "yes"][i // 6 % 2] for i in range(n)],
        }
    )


def written(path: Path, table: pd.DataFrame) -> Path:
    table.to_csv(path, index=False)
    return path


def load(path: Any, **options: Any) -> Dataset:
    paths = path if isinstance(path, list) else [path]
    return load_own_parties(paths, label="late", **options)


def test_a_column_names_the_parties_and_is_no_feature(tmp_path: Path) -> None:
    path = written(tmp_path / "own.csv", frame())
    data = load(path, id_column="who", party_column="shop")
    assert data.owners is not None
    assert data.owners.names == ("north", "south", "Süd & Co.")
    for name, rows in zip(data.owners.names, data.owners.rows, strict=True):
        assert rows.tolist() == np.flatnonzero(frame()["shop"] == name).tolist()
    assert [column.name for column in data.encoder.schema.columns] == ["x"]
    assert "north" not in repr(data.owners.parties)
    parties = split_parties(data, "as-given")
    assert [party.name for party in parties] == list(data.owners.names)
    for party, rows in zip(parties, data.owners.rows, strict=True):
        assert np.array_equal(party.rows, rows)


def test_the_column_of_parties_is_shown_among_the_columns(tmp_path: Path) -> None:
    data = load(written(tmp_path / "own.csv", frame()), id_column="who", party_column="shop")
    shown = rows_of(understood(data.readings, "onehot"))
    assert shown[0] == ("shop (party)", "parties", "whose a row is", "3 parties", "60", "0", "0")
    assert [row[0] for row in shown[1:]] == ["x", "who (ID)", "late (label)"]


def test_with_a_file_for_each_party_a_line_is_of_a_named_file(tmp_path: Path) -> None:
    both = [written(tmp_path / f"{name}.csv", frame().drop(columns="shop")) for name in "ab"]
    odd = frame().drop(columns="shop").astype(str)
    odd.loc[3, "x"] = "unknown"
    written(both[1], odd)
    with pytest.warns(TableWarning, match=r"'unknown' \(line 5 of b\.csv\)"):
        load(both, id_column="who")
    odd.loc[3, ["x", "late"]] = "1.5", ""
    written(both[1], odd)
    with pytest.raises(ConfigError, match=r"no label in line 5 of b\.csv"):
        load(both, id_column="who")


def test_a_file_for_each_party_is_the_same(tmp_path: Path) -> None:
    """Whatever the order of a file's columns; the parties come in the order of the files."""
    order = ["south", "Süd & Co.", "north"]
    table = pd.concat([frame()[frame()["shop"] == name] for name in order])
    whole = load(written(tmp_path / "own.csv", table), id_column="who", party_column="shop")
    paths = [
        written(tmp_path / f"{name}.csv", frame()[frame()["shop"] == name][columns])
        for name, columns in zip(
            order, (["x", "late", "who"], ["who", "late", "x"], ["late", "x", "who"]), strict=True
        )
    ]
    data = load(paths, id_column="who")
    assert data.owners is not None
    assert whole.owners is not None
    assert data.owners.names == whole.owners.names == tuple(order)
    assert np.array_equal(data.owners.parties, whole.owners.parties)
    assert np.array_equal(data.features, whole.features)
    assert np.array_equal(data.labels, whole.labels)
    assert data.encoder == whole.encoder
    assert data.source == "own tables, south.csv, Süd & Co..csv, north.csv"
    assert data.name == "south + Süd & Co. + north"
    renamed = tmp_path / "east.csv"
    paths[0].rename(renamed)
    assert load([renamed, *paths[1:]], id_column="who").sha256 != data.sha256


def test_the_rest_is_as_without_parties(tmp_path: Path) -> None:
    """Features, labels and IDs are those of the table without the column."""
    data = load(written(tmp_path / "own.csv", frame()), id_column="who", party_column="shop")
    path = written(tmp_path / "less.csv", frame().drop(columns="shop"))
    plain = load_dataset("table", path, label="late", id_column="who")
    assert plain.owners is None
    assert np.array_equal(data.features, plain.features)
    assert np.array_equal(data.labels, plain.labels)
    assert data.encoder == plain.encoder
    assert (data.name, data.source) == ("own", "own table, own.csv")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: t.drop(columns="x"), "b.csv lacks 'x': its columns must be those of a.csv"),
        (lambda t: t.assign(y=1, z=2), "b.csv has besides 'y', 'z': its columns"),
        (lambda t: t.rename(columns={"x": "X"}), "b.csv lacks 'x' and has besides 'X': its"),
        (
            lambda t: t.assign(**{f"y{i}": 1 for i in range(9)}),
            "has besides 'y0', 'y1', 'y2' and 6 more: its",
        ),
    ],
)
def test_files_of_other_columns_are_refused(tmp_path: Path, change: Any, says: str) -> None:
    one = written(tmp_path / "a.csv", frame())
    other = written(tmp_path / "b.csv", change(frame()))
    with pytest.raises(ConfigError, match=says) as caught:
        load([one, other])
    assert "\n" not in str(caught.value)


def empty_shop(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(shop=["", *SHOPS[1:]] * (len(table) // len(SHOPS)))


@pytest.mark.parametrize(
    ("change", "options", "says"),
    [
        (lambda t: t, {"party_column": "town"}, "has no column 'town': give `party_column` one of"),
        (lambda t: t, {"party_column": "late"}, "cannot be `party_column` and `label`"),
        (lambda t: t, {"party_column": "who", "id_column": "who"}, "name another"),
        (empty_shop, {"party_column": "shop"}, "names no party in line 2: complete or remove"),
        (lambda t: t.assign(shop="one"), {"party_column": "shop"}, "one party only, 'one'"),
        (
            lambda t: t.assign(shop=["a" * 61, "b"] * 30),
            {"party_column": "shop"},
            "printable name of at most 60",
        ),
        (
            lambda t: t.assign(shop=["a\u202eb", "b"] * 30),
            {"party_column": "shop"},
            "printable name of at most 60",
        ),
    ],
)
def test_a_column_that_names_no_parties_is_refused(
    tmp_path: Path, change: Any, options: dict[str, str], says: str
) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        load(written(tmp_path / "own.csv", change(frame())), **options)
    assert "\n" not in str(caught.value)


def test_two_ways_to_say_it_are_refused(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    one, other, same = (
        written(tmp_path / name, frame()) for name in ("a.csv", "b.csv", "other/a.csv")
    )
    with pytest.raises(ConfigError, match="leave `party_column` out, or give one file"):
        load([one, other], party_column="shop")
    with pytest.raises(ConfigError, match="two files are called 'a'"):
        load([one, other, same])
    with pytest.raises(ConfigError, match="one file says nothing of parties"):
        load(one)


@st.composite
def owned(draw: st.DrawFn) -> Dataset:
    """A table whose IDs repeat at a party and across parties."""
    parties = draw(st.integers(2, 4))
    n = draw(st.integers(20 * parties, 200))
    drawn = np.random.default_rng(draw(st.integers(0, 2**32)))
    ids = drawn.integers(0, draw(st.integers(n // 2, 2 * n)), n).astype(np.str_)
    return Dataset(
        kind="table", name="t", source="t", is_surrogate=False, sha256="", ids=ids,
        features=DIGITS.features[:n], labels=drawn.integers(0, 2, n), class_names=("no", "yes"),
        encoder=DIGITS.encoder, cleaning=None,
        owners=Owners(tuple(map(str, range(parties))), drawn.permutation(np.arange(n) % parties)),
    )  # fmt: skip


def ids(dataset: Dataset, parties: Any, of: str) -> set[str]:
    assert dataset.ids is not None
    return {each for party in parties for each in dataset.ids[getattr(party, of)].tolist()}


@given(owned(), st.integers(0, 99))
def test_an_id_is_for_training_or_for_testing_at_all_parties(dataset: Dataset, seed: int) -> None:
    parties = split_parties(dataset, "as-given", seed=seed)
    assert dataset.owners is not None
    for party, rows in zip(parties, dataset.owners.rows, strict=True):
        assert np.array_equal(party.rows, rows)
    assert not ids(dataset, parties, "train") & ids(dataset, parties, "test")


def test_the_seed_draws_training_and_test_rows_only(tmp_path: Path) -> None:
    path = written(tmp_path / "own.csv", frame(600))
    data = load(path, party_column="shop")
    one, again, other = (split_parties(data, "as-given", seed=seed) for seed in (1, 1, 2))

    def same(left: PartyRows, right: PartyRows) -> bool:
        return np.array_equal(left.train, right.train)

    assert all(map(same, one, again))
    assert not any(map(same, one, other))
    for party, later in zip(one, other, strict=True):
        assert np.array_equal(party.rows, later.rows)
        assert len(party.train) == round(0.8 * len(party.rows))


def test_shares_of_training_rows_are_kept_beside_common_ids(tmp_path: Path) -> None:
    """A party's other rows make up for what was drawn of the IDs that others have, too."""
    table = frame(600).assign(who=[f"c{i % 450}" for i in range(600)])
    data = load(written(tmp_path / "own.csv", table), id_column="who", party_column="shop")
    for seed in range(5):
        for party in split_parties(data, "as-given", seed=seed):
            assert abs(len(party.train) - 0.8 * len(party.rows)) <= 2


def test_what_does_not_go_with_named_parties_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "own.csv", frame())
    data = load(path, party_column="shop")
    plain = load_dataset("table", path, label="late")
    for kind in ("disjoint", "overlapping", "deduplicated"):
        with pytest.raises(ConfigError, match="take the split as-given"):
            split_parties(data, kind)
    with pytest.raises(ConfigError, match="name its `party_column`, or give a file for each"):
        split_parties(plain, "as-given")
    with pytest.raises(ConfigError, match="`parties` is 5, and there are 3"):
        split_parties(data, "as-given", parties=5)
    with pytest.raises(ConfigError, match="of the disjoint split, not of as-given"):
        split_parties(data, "as-given", dealing=Dealing((20.0, 20.0, 20.0)))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda t: t.assign(late=t.late.where(t.shop != "south", "yes")),
            "'south' has training rows of one class only, 'yes': .*merge it with another party",
        ),
        (
            lambda t: t.assign(shop=["tiny", "tiny", *t.shop[2:]]),
            "'tiny' has 2 rows, too few to train and test on: .*leave its rows out",
        ),
    ],
)
def test_a_party_that_cannot_train_is_named(tmp_path: Path, change: Any, says: str) -> None:
    data = load(written(tmp_path / "own.csv", change(frame())), party_column="shop")
    with pytest.raises(ConfigError, match=says) as caught:
        split_parties(data, "as-given")
    assert "\n" not in str(caught.value)


def test_a_party_with_few_rows_of_a_class_is_drawn_until_it_trains_on_both(tmp_path: Path) -> None:
    """One such row in ten: it is among the two for testing in one draw of five."""
    table = pd.DataFrame(
        {
            "x": [i + 0.5 for i in range(40)],
            "shop": ["a"] * 10 + ["b"] * 30,
            "late": ["yes"] + ["no"] * 9 + ["no", "yes", "yes"] * 10,
        }
    )
    data = load(written(tmp_path / "own.csv", table), party_column="shop")
    for seed in range(20):
        small = split_parties(data, "as-given", seed=seed)[0]
        assert 0 in small.train
