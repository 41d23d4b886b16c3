"""OpenML, scikit-learn's own data, and a user's own table."""

from __future__ import annotations

import gzip
import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from privfed.data import (
    CategoricalColumn,
    Encoder,
    load_dataset,
    read_new_rows,
    split_parties,
)
from privfed.data.openml import parse_dresses
from privfed.errors import ConfigError
from tests.places import VECTORS

OPENML = VECTORS / "openml_dresses_sales"
WriteCSV = Callable[..., Path]


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("the test allows no network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture
def recorded_openml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_network: None) -> None:
    """Lay the recorded answers where scikit-learn caches them."""
    places = {
        "api/v1/json/data/23381": "description.json",
        "api/v1/json/data/features/23381": "features.json",
        "api/v1/json/data/qualities/23381": "qualities.json",
        "data/v1/download/1798816": "data.arff",  # where scikit-learn 1.6 looks
        "data/v1/download/1798816/dresses-sales.arff": "data.arff",
    }
    for place, name in places.items():
        path = tmp_path / "openml" / "openml.org" / f"{place}.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress((OPENML / name).read_bytes()))
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path))


@pytest.mark.usefixtures("recorded_openml")
def test_openml_gives_the_same_rows_without_ids() -> None:
    found, wanted = load_dataset("dresses", "openml"), load_dataset()
    assert np.array_equal(found.features, wanted.features[:16])
    assert np.array_equal(found.labels, wanted.labels[:16])
    assert found.ids is None
    assert not found.is_surrogate
    assert "23381" in found.source
    assert len(found.sha256) == 64


@pytest.mark.usefixtures("recorded_openml")
def test_openml_can_be_split_by_row_but_not_by_id() -> None:
    dataset = load_dataset("dresses", "openml")
    guest, host = split_parties(dataset, "disjoint", seed=1)
    assert not set(guest.rows) & set(host.rows)
    guest, host = split_parties(dataset, "overlapping", seed=1)
    assert set(guest.rows) & set(host.rows)
    with pytest.raises(ConfigError, match=r"Dress_ID.*archive\.ics\.uci\.edu/dataset/289"):
        split_parties(dataset, "deduplicated", align=lambda a, b: (a, b))


@pytest.mark.usefixtures("no_network")
def test_an_unreachable_openml_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path))
    before = socket.getdefaulttimeout()
    with pytest.raises(ConfigError, match=r"cannot be fetched .*give its path") as caught:
        load_dataset("dresses", "openml")
    assert "\n" not in str(caught.value)
    assert not recwarn.list
    assert socket.getdefaulttimeout() == before


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.drop(columns="V3"),
        lambda t: t.rename(columns={"Class": "Target"}),
        lambda t: t.assign(V13="x"),
        lambda t: t.assign(Class="3"),
    ],
)
def test_another_table_from_openml_is_refused(
    change: Callable[[pd.DataFrame], pd.DataFrame],
) -> None:
    frame = pd.DataFrame({f"V{i}": ["x"] for i in range(1, 13)} | {"Class": ["1"]})
    assert parse_dresses(frame).shape == (1, 13)
    with pytest.raises(ConfigError, match="use UCI's file"):
        parse_dresses(change(frame))


@pytest.mark.parametrize(
    ("name", "shape", "classes"), [("digits", (1797, 64), 10), ("breast-cancer", (569, 30), 2)]
)
def test_packaged_data_is_scaled_by_public_ranges_that_hold(
    name: str, shape: tuple[int, int], classes: int
) -> None:
    from sklearn.datasets import load_breast_cancer, load_digits

    dataset = load_dataset(name)
    raw = (load_digits if name == "digits" else load_breast_cancer)().data
    assert dataset.features.shape == shape
    assert len(dataset.class_names) == classes == len(np.unique(dataset.labels))
    assert dataset.features.min() >= 0
    assert dataset.features.max() <= 1
    # Undoing the scaling gives the numbers back, so nothing was clipped or mixed up.
    low = np.array([c.low for c in dataset.encoder.columns])  # type: ignore[union-attr]
    high = np.array([c.high for c in dataset.encoder.columns])  # type: ignore[union-attr]
    assert np.allclose(dataset.features * (high - low) + low, raw, rtol=1e-5, atol=1e-6)
    assert dataset.ids is not None
    assert dataset.ids.tolist() == [str(i) for i in range(shape[0])]
    assert dataset.cleaning is None
    assert np.array_equal(load_dataset(name, encoding="onehot").features, dataset.features)


def test_new_rows_of_packaged_data(write_csv: WriteCSV) -> None:
    from sklearn.datasets import load_breast_cancer

    dataset = load_dataset("breast-cancer")
    new = load_breast_cancer(as_frame=True).data.head(3)
    features, unseen = dataset.encoder.encode(read_new_rows(write_csv(new), dataset.encoder))
    assert np.array_equal(features, dataset.features[:3])
    assert not unseen
    new.loc[1, "mean area"] = None
    with pytest.raises(ConfigError, match=r"mean area has '' in data row 2: give it a number"):
        dataset.encoder.encode(read_new_rows(write_csv(new), dataset.encoder))


OWN = pd.DataFrame(
    {
        "customer": ["c1", "c2", "c2", "c4", "c5"],
        "grade": ["A", "A-", "B", "", "other"],
        "age": ["20", "40", "", "30", "25"],
        "constant": ["7"] * 5,
        "empty": [""] * 5,
        "outcome": ["10", "9", "10", "9", "9"],
    },
    dtype=str,
)


def test_a_users_own_table(write_csv: WriteCSV) -> None:
    path = write_csv(OWN, "loans.csv")
    found = load_dataset("table", path, label="outcome", id_column="customer", encoding="codes")
    assert found.name == "loans"
    assert found.class_names == ("9", "10")  # numbers by size
    assert found.labels.tolist() == [1, 0, 1, 0, 0]
    assert found.ids is not None
    assert found.ids.tolist() == ["c1", "c2", "c2", "c4", "c5"]
    # grade: missing 0, then A, A-, B, and "other" is the code of what is none of them.
    assert found.features[:, 0].tolist() == [1, 2, 3, 0, 4]
    assert found.features[:, 1].tolist() == [0, 1, -1, 0.5, 0.25]
    assert found.features[:, 2:].tolist() == [[0, 0]] * 5
    assert not found.cleaning.unknown  # type: ignore[union-attr]
    onehot = load_dataset("table", path, label="outcome")
    assert "customer=c1" in onehot.encoder.feature_names  # not named as the ID it is a feature
    assert onehot.ids is None


def test_new_rows_of_a_users_own_table(write_csv: WriteCSV) -> None:
    dataset = load_dataset(
        "table", write_csv(OWN), label="outcome", id_column="customer", encoding="onehot"
    )
    encoder = Encoder.from_json(dataset.encoder.to_json())
    new = OWN.drop(columns="outcome").assign(grade="C", age="99")
    features, unseen = encoder.encode(read_new_rows(write_csv(new, "new.csv"), encoder))
    assert features.shape == (5, dataset.features.shape[1])
    assert unseen[:2] == [(0, "age", "99"), (0, "grade", "C")]


def test_text_classes_and_number_like_text(write_csv: WriteCSV) -> None:
    frame = pd.DataFrame({"zip": ["01", "x2"] * 3, "y": ["no", "yes", "maybe"] * 2}, dtype=str)
    found = load_dataset("table", write_csv(frame), label="y")
    assert found.class_names == ("maybe", "no", "yes")
    assert isinstance(found.encoder.columns[0], CategoricalColumn)


@pytest.mark.parametrize(
    ("change", "options", "says"),
    [
        (lambda t: t, {}, "say which column is the label"),
        (lambda t: t, {"label": "result"}, "no column 'result': give `label`"),
        (
            lambda t: t,
            {"label": "outcome", "id_column": "key"},
            "'key': give `id_column`",
        ),
        (lambda t: t, {"label": "outcome", "id_column": "outcome"}, "both `label` and `id_column`"),
        (lambda t: t[["outcome"]], {"label": "outcome"}, "no column beside"),
        (lambda t: t.assign(outcome="1"), {"label": "outcome"}, "all 5 rows have the label"),
        (lambda t: t, {"label": "age"}, "no label in data row 3"),
        (
            lambda t: pd.concat([t] * 30).assign(outcome=[f"c{i}" for i in range(150)]),
            {"label": "outcome"},
            "150 different values",
        ),
        (
            lambda t: pd.concat([t] * 402).assign(grade=[f"g{i % 1005}" for i in range(2010)]),
            {"label": "outcome"},
            "1005 different texts",
        ),
        (lambda t: t.assign(customer=""), {"label": "outcome", "id_column": "customer"}, "no ID"),
    ],
)
def test_an_own_table_that_cannot_be_used(
    change: Callable[[pd.DataFrame], pd.DataFrame],
    options: dict[str, str],
    says: str,
    write_csv: WriteCSV,
) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        load_dataset("table", write_csv(change(OWN)), **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
