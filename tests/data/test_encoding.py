"""Encoders: fixed by the public code table, never by the rows; exact through JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from privfed.data import (
    DRESSES,
    CategoricalColumn,
    Encoder,
    Encoding,
    NumericColumn,
    Schema,
    load_dataset,
    read_new_rows,
    surrogate_tables,
)
from privfed.data.cleaning import Cleaned
from privfed.errors import ConfigError, DecodeError

WriteCSV = Callable[..., Path]
CODES, ONEHOT = Encoder(DRESSES, "codes"), Encoder(DRESSES, "onehot")
SMALL = Schema(
    (
        CategoricalColumn("colour", ("blue", "red"), {"crimson": 2}),
        NumericColumn("length", -2.0, 6.0),
        NumericColumn("stars", 0.0, 5.0, missing_as=0.0, raw_codes=True),
    ),
    id_column="key",
    label_column="sold",
)


def table(*rows: tuple[str, str, str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["colour", "length", "stars"], dtype=str)


def test_codes_by_hand() -> None:
    rows = table(("red", "2", "4.5"), ("", "", "0"), ("crimson", "-2", ""), ("green", "6", "5"))
    features, unseen = Encoder(SMALL, "codes").encode(rows)
    assert features.dtype == np.float32
    assert features.tolist() == [[2, 0.5, 4.5], [0, -1, 0], [2, 0, 0], [3, 1, 5]]
    assert unseen == [(3, "colour", "green")]


def test_onehot_by_hand() -> None:
    encoder = Encoder(SMALL, "onehot")
    assert encoder.feature_names == (
        *("colour=missing", "colour=blue", "colour=red", "colour=other"),
        *("length", "length=missing", "stars", "stars=missing"),
    )
    features, _ = encoder.encode(table(("red", "2", "2.5"), ("", "", "0"), ("green", "6", "5")))
    assert features.tolist() == [
        [0, 0, 1, 0, 0.5, 0, 0.5, 0],
        [1, 0, 0, 0, 0.0, 1, 0.0, 1],
        [0, 0, 0, 1, 1.0, 0, 1.0, 0],
    ]


def test_middles_by_hand() -> None:
    """Of what is known: -1 and 0 for "missing" stand apart from the numbers."""
    assert Encoder(SMALL, "codes").middles.tolist() == [1.5, 0.5, 2.5]
    assert Encoder(SMALL, "onehot").middles.tolist() == [0.25] * 4 + [0.5, 0, 0.5, 0]
    constant = Schema((NumericColumn("all", 7.0, 7.0), NumericColumn("raw", 7, 7, raw_codes=True)))
    assert Encoder(constant).middles.tolist() == [0, 7]


def test_centred_by_hand() -> None:
    rows = table(("red", "2", "2.5"), ("", "", "0"), ("green", "6", "5"))
    features, unseen = Encoder(SMALL, "codes", centred=True).encode(rows)
    assert features.dtype == np.float32
    assert features.tolist() == [[0.5, 0, 0], [-1.5, -1.5, -2.5], [1.5, 0.5, 2.5]]
    assert unseen == [(2, "colour", "green")]
    features, _ = Encoder(SMALL, "onehot", centred=True).encode(rows)
    assert features.tolist() == [
        [-0.25, -0.25, 0.75, -0.25, 0, 0, 0, 0],
        [0.75, -0.25, -0.25, -0.25, -0.5, 1, -0.5, 1],
        [-0.25, -0.25, -0.25, 0.75, 0.5, 0, 0.5, 0],
    ]


def test_numbers_outside_the_public_range_are_clipped_and_told() -> None:
    rows = table(("red", "100", "9"), ("red", "-3", "-1"), ("red", "inf", "1_0"))
    features, unseen = Encoder(SMALL, "codes").encode(rows)
    assert features.tolist() == [[2, 1, 5], [2, 0, 0], [2, -1, 0]]
    assert [(row, value) for row, _, value in unseen] == [
        *((0, "100"), (0, "9"), (1, "-3"), (1, "-1"), (2, "inf"), (2, "1_0"))
    ]


def test_the_dresses_have_the_papers_twelve_features_in_its_order() -> None:
    assert " ".join(CODES.feature_names) == (
        "Style Price Rating Size Season Neckline SleeveLength Waistline Material FabricType "
        "Decoration PatternType"
    )
    assert ONEHOT.num_features == 149
    prices = pd.DataFrame([["x"] * 12] * 3, columns=CODES.feature_names, dtype=str)
    prices = prices.assign(Price=["Low", "Average", "very-high"], Size=["S", "M", "XL"])
    features, _ = CODES.encode(prices)
    assert (np.diff(features[:, [1, 3]], axis=0) > 0).all()  # Price and Size are ordinal


def test_each_row_is_one_hot_in_every_text_column() -> None:
    features = load_dataset(encoding="onehot").features
    names = np.array([name.split("=")[0] for name in ONEHOT.feature_names])
    for column in DRESSES.columns:
        part = features[:, names == column.name]
        if isinstance(column, CategoricalColumn):
            assert (part.sum(axis=1) == 1).all()
        assert part.min() == 0
        assert part.max() <= 1


@pytest.mark.parametrize("encoder", [CODES, ONEHOT])
@given(rows=st.lists(st.integers(0, 499), min_size=1, max_size=20))
def test_a_rows_features_depend_on_no_other_row(
    encoder: Encoder, rows: list[int], raw_dresses: pd.DataFrame
) -> None:
    together = encoder.encode(raw_dresses)[0]
    apart = encoder.encode(raw_dresses.iloc[rows])[0]
    assert np.array_equal(apart, together[rows])


NAMES = st.text(min_size=1, max_size=8)
COLUMNS = st.one_of(
    st.builds(
        lambda name, categories, spelling, ordinal: CategoricalColumn(
            name, tuple(categories), {spelling: len(categories)}, ordinal
        ),
        NAMES,
        st.lists(NAMES, unique=True, max_size=5),
        NAMES,
        st.booleans(),
    ),
    st.builds(
        lambda name, ends, *flags: NumericColumn(name, min(ends), max(ends), *flags),
        NAMES,
        st.tuples(st.floats(-1e300, 1e300), st.floats(-1e300, 1e300)),
        st.booleans(),
        st.none() | st.floats(allow_nan=False, allow_infinity=False),
        st.booleans(),
    ),
)
ENCODERS = st.builds(
    Encoder,
    st.builds(
        Schema,
        st.lists(COLUMNS, min_size=1, max_size=4, unique_by=lambda c: c.name).map(tuple),
        id_column=st.none() | NAMES,
        label_column=st.none() | NAMES,
        folded=st.booleans(),
        aliases=st.dictionaries(NAMES, NAMES, max_size=2),
    ),
    st.sampled_from(["codes", "onehot"]),
    st.booleans(),
)


@given(ENCODERS)
def test_a_middle_is_as_far_from_all_ends(encoder: Encoder) -> None:
    """From a number's least and greatest value, from all codes of a text column."""
    middles: list[float] = []
    for column in encoder.columns:
        if isinstance(column, CategoricalColumn):
            ends = np.arange(column.num_codes, dtype=np.float64)
        else:
            ends = np.array([column.low, column.high])
            assume(np.abs(ends).max() < 1e30)  # float32 has no more
        alone = replace(encoder, schema=Schema((column,)), centred=False)
        plain = alone.features(Cleaned(ends[:, None], {}, (), ()))
        scale = float(np.abs(plain).max(initial=0.0))
        wanted = plain.astype(np.float64).mean(axis=0)
        # Nothing in float32 is nearer than its least number.
        within = 1e-6 * scale + float(np.finfo(np.float32).smallest_subnormal)
        assert np.allclose(alone.middles, wanted, rtol=1e-5, atol=within)
        centred = replace(alone, centred=True).features(Cleaned(ends[:, None], {}, (), ()))
        assert np.array_equal(centred, plain - alone.middles)
        middles += alone.middles.tolist()
    assert encoder.middles.tolist() == middles


@given(ENCODERS)
def test_json_round_trips_exactly(encoder: Encoder) -> None:
    again = Encoder.from_json(encoder.to_json())
    assert again == encoder
    assert again.to_json() == encoder.to_json()
    assert again.feature_names == encoder.feature_names


@pytest.mark.parametrize("name", ["dresses", "digits", "breast-cancer"])
def test_a_read_encoder_encodes_alike(name: str, raw_dresses: pd.DataFrame) -> None:
    encoder = load_dataset(name, encoding="onehot").encoder
    again = Encoder.from_json(encoder.to_json())
    assert again == encoder
    if name == "dresses":
        assert np.array_equal(
            again.encode(raw_dresses)[0], load_dataset(encoding="onehot").features
        )


def edited(**changes: Any) -> str:
    plain = json.loads(Encoder(SMALL).to_json())
    return json.dumps(plain | changes)


def edited_column(position: int, **changes: Any) -> str:
    plain = json.loads(Encoder(SMALL).to_json())
    plain["schema"]["columns"][position] |= changes
    return json.dumps(plain)


def test_an_encoder_from_before_centring_is_read() -> None:
    plain = json.loads(Encoder(SMALL).to_json())
    assert plain.pop("centred") is False
    assert Encoder.from_json(json.dumps(plain)) == Encoder(SMALL)


@pytest.mark.parametrize(
    "text",
    [
        *("", "null", "[]", "{}", "{", '"text"', "[" * 100_000),
        edited(version=2),
        edited(format="other"),
        edited(encoding="binary"),
        edited(centred="no"),
        edited(centred=1),
        edited(schema=None),
        edited(schema={"columns": []}),
        edited(schema={"columns": [[]]}),
        edited_column(0, categories=[1, 2]),
        edited_column(0, categories="red"),
        edited_column(0, spellings={"crimson": 9}),
        edited_column(0, spellings={"crimson": "2"}),
        edited_column(0, further=1),
        edited_column(1, low="0"),
        edited_column(1, low=7.0),
        edited_column(1, high=1e999),
        edited_column(2, missing_as=float("nan")),
    ],
)
def test_json_that_is_no_encoder_is_refused(text: str) -> None:
    with pytest.raises(DecodeError):
        Encoder.from_json(text)


def test_an_endless_json_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("privfed.data.encoding._MAX_JSON_CHARACTERS", 10)
    with pytest.raises(DecodeError, match="10 max"):
        Encoder.from_json(CODES.to_json())


@pytest.mark.parametrize("encoding", ["codes", "onehot"])
@pytest.mark.parametrize("name", ["dresses", "digits", "breast-cancer"])
def test_a_centred_dataset_is_what_its_encoder_makes(name: str, encoding: Encoding) -> None:
    """Rows, labels, IDs and their origin are the same; the middles are no function of rows."""
    plain = load_dataset(name, encoding=encoding)
    centred = plain.centred()
    assert centred.encoder == replace(plain.encoder, centred=True)
    assert np.array_equal(centred.features, plain.features - plain.encoder.middles)
    assert centred.features.dtype == np.float32
    assert np.array_equal(centred.labels, plain.labels)
    assert (centred.ids is plain.ids, centred.sha256) == (True, plain.sha256)
    again = centred.centred()
    assert np.array_equal(again.features, centred.features)
    if name == "dresses":
        raw = surrogate_tables()[0].drop(columns=["Dress_ID", "Recommendation"])
        assert np.array_equal(centred.encoder.encode(raw)[0], centred.features)


def test_new_rows_need_no_label_and_keep_their_id(
    raw_dresses: pd.DataFrame, write_csv: WriteCSV
) -> None:
    new = raw_dresses.head(4).drop(columns="Recommendation")
    new.loc[2, "Style"] = "steampunk"
    rows = read_new_rows(write_csv(new), CODES)
    assert list(rows.columns) == ["Dress_ID", *CODES.feature_names]
    assert rows["Dress_ID"].tolist() == new["Dress_ID"].tolist()
    features, unseen = CODES.encode(rows)
    assert unseen == [(2, "Style", "steampunk")]
    wanted = load_dataset().features[:4].copy()
    wanted[2, 0] = 13
    assert np.array_equal(features, wanted)


def test_new_rows_may_have_a_label_or_no_id(raw_dresses: pd.DataFrame, write_csv: WriteCSV) -> None:
    rows = read_new_rows(write_csv(raw_dresses), CODES)
    assert list(rows.columns)[-1] == "Recommendation"
    assert "Dress_ID" not in read_new_rows(write_csv(raw_dresses.drop(columns="Dress_ID")), CODES)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: t.drop(columns="Style"), "no column Style"),
        (lambda t: t.assign(Colour="red"), "unknown column Colour"),
    ],
)
def test_new_rows_with_other_columns_are_refused(
    change: Callable[[pd.DataFrame], pd.DataFrame],
    says: str,
    raw_dresses: pd.DataFrame,
    write_csv: WriteCSV,
) -> None:
    with pytest.raises(ConfigError, match=says):
        read_new_rows(write_csv(change(raw_dresses)), CODES)


def test_a_range_must_be_one() -> None:
    for low, high in ((1.0, 0.0), (0.0, float("inf")), (float("nan"), 1.0), (-1.7e308, 1.7e308)):
        with pytest.raises(ConfigError, match="finite"):
            NumericColumn("x", low, high)
