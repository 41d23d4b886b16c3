"""One company's columns: standardised, one-hot, missing said, saved as data and found again."""

from __future__ import annotations

import msgspec
import numpy as np
import pandas as pd
import pytest

from privfed.data import CategoricalColumn, NumericColumn, Schema
from privfed.data.bank_and_shop import bank_and_shop
from privfed.errors import ConfigError, DecodeError
from privfed.vertical.encoding import BlockEncoder, BlockFields
from psi.storage import json_bytes, json_read

TABLE = pd.DataFrame(
    {
        "ID": ["a", "b", "c", "d", "e", "f"],
        "age": ["30", "40", "", "20", "50", "60"],
        "city": ["Lyon", "Turin", "Lyon", "Lyon", "Ghent", ""],
        "late": ["yes", "no", "no", "yes", "no", "no"],
    }
)


def fitted(frame: pd.DataFrame = TABLE, **settings: object) -> BlockEncoder:
    return BlockEncoder.fit(frame, id_column="ID", label_column="late", **settings)  # type: ignore[arg-type]


def test_columns_are_standardised_and_one_hot_without_the_commonest() -> None:
    encoder = fitted()
    assert encoder.names == (
        "age", "age=missing", "city=missing", "city=Ghent", "city=Turin",
    )  # fmt: skip
    matrix = encoder.matrix(TABLE)
    assert matrix.dtype == np.float64
    assert matrix.mean(axis=0) == pytest.approx(np.zeros(5), abs=1e-7)
    assert matrix.std(axis=0) == pytest.approx(np.ones(5), abs=1e-7)
    ages = np.array([30, 40, 40, 20, 50, 60.0])  # the third is the mean of the others
    assert matrix[:, 0] == pytest.approx((ages - 40) / ages.std(), abs=1e-6)
    assert matrix[2, 0] == 0
    assert np.unique(matrix[:, 3]).size == 2


def test_new_rows_are_encoded_as_the_old_ones() -> None:
    encoder = fitted()
    again = encoder.matrix(TABLE.iloc[[4, 2]].drop(columns=["ID", "late"]))
    assert np.array_equal(again, encoder.matrix(TABLE)[[4, 2]])


def test_a_category_that_no_row_had_counts_as_the_reference() -> None:
    encoder = fitted()
    new = pd.DataFrame({"age": ["40", "40"], "city": ["Atlantis", "Lyon"]})
    unknown, reference = encoder.matrix(new)
    assert np.array_equal(unknown, reference)


def test_a_missing_number_is_the_mean_where_none_was_missing_before() -> None:
    full = TABLE.assign(age=["30", "40", "40", "20", "50", "60"])
    encoder = fitted(full)
    assert "age=missing" not in encoder.names
    assert encoder.matrix(pd.DataFrame({"age": [""], "city": ["Lyon"]}))[0, 0] == 0


def test_a_number_out_of_the_public_range_is_the_nearest_in_it() -> None:
    encoder = fitted()
    low, high, mad = encoder.matrix(
        pd.DataFrame({"age": ["20", "60", "1e12"], "city": ["Lyon"] * 3})
    )
    assert mad[0] == high[0] > low[0]


def test_constant_columns_are_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"columns 'one', 'two' have one value in all 6 rows"):
        fitted(TABLE.assign(one="7", two="x"))
    with pytest.raises(ConfigError, match="column 'none' has one value"):
        fitted(TABLE.assign(none=""))


def test_a_schema_that_was_agreed_on_makes_equal_columns() -> None:
    schema = Schema(
        (NumericColumn("age", 0, 100), CategoricalColumn("city", ("Ghent", "Lyon", "Porto"))),
        id_column="ID", label_column="late",
    )  # fmt: skip
    encoder = BlockEncoder.fit(TABLE, schema=schema)
    # No row is in Porto; Turin is another.
    assert encoder.names == ("age", "age=missing", "city=missing", "city=Ghent", "city=other")
    with pytest.raises(ConfigError, match="no column city"):
        encoder.matrix(TABLE.drop(columns="city"))
    with pytest.raises(ConfigError, match="unknown column more"):
        BlockEncoder.fit(TABLE.assign(more="1"), schema=schema)


def rare(rows: int) -> pd.DataFrame:
    """A column of numbers, one of words and a gap, each in a few rows of 300."""
    n = 300
    flags = ["1"] * rows + ["0"] * (n - rows)
    return pd.DataFrame(
        {
            "age": [str(20 + row % 50) for row in range(n)],
            "returns": flags,
            "city": ["Ghent" if flag == "1" else "Lyon" for flag in flags],
            "income": ["" if flag == "1" else str(row) for row, flag in enumerate(flags)],
        }
    )


def test_columns_that_tell_few_rows_are_found() -> None:
    encoder = BlockEncoder.fit(rare(4))
    assert encoder.rare_columns(4) == ()
    assert encoder.rare_columns(5) == ("returns", "city=Ghent", "income=missing")
    # The other way about: all rows but a few have a 1.
    flipped = BlockEncoder.fit(rare(296))
    assert flipped.rare_columns(5) == ("returns", "city=Lyon", "income", "income=missing")


def test_rare_categories_and_gaps_can_be_left_out_and_numbers_cannot() -> None:
    encoder = BlockEncoder.fit(rare(4), least_rows=5)
    assert encoder.names == ("age", "returns", "income")
    assert encoder.rare_columns(5) == ("returns",)
    with pytest.raises(ConfigError, match="no column tells 5 rows"):
        BlockEncoder.fit(rare(4)[["city"]], least_rows=5)


@pytest.mark.parametrize(
    ("frame", "settings", "said"),
    [
        (TABLE[:0], {}, "no rows"),
        (TABLE[["ID", "late"]], {}, "no column beside"),
        (TABLE.drop(columns="ID"), {}, "no column 'ID'"),
        (TABLE.assign(age=["30", "40", "x", "20", "50", "60"]), {}, r"'x' \(line 4\)"),
    ],
)
def test_tables_that_cannot_be_used_are_refused(
    frame: pd.DataFrame, settings: dict[str, object], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        fitted(frame, **settings)


def test_an_encoder_is_saved_as_data_and_found_again() -> None:
    bank, _ = bank_and_shop(customers=400)
    encoder = BlockEncoder.fit(bank, id_column="email", label_column="paid_late")
    text = json_bytes(encoder.to_fields())
    again = BlockEncoder.from_fields(json_read(text, BlockFields))
    assert np.array_equal(again.matrix(bank[:50]), encoder.matrix(bank[:50]))
    assert (again.names, again.support, again.rows) == (
        encoder.names, encoder.support, encoder.rows,
    )  # fmt: skip
    assert json_bytes(again.to_fields()) == text


def test_saved_columns_that_contradict_each_other_are_refused() -> None:
    good = fitted().to_fields()
    replaced = msgspec.structs.replace
    for bad in (
        replaced(good, kept=good.kept[:-1]),
        replaced(good, kept=(*good.kept[:-1], 99)),
        replaced(good, kept=good.kept[::-1]),
        replaced(good, kept=(), middles=(), scales=(), support=()),
        replaced(good, middles=good.middles[:-1]),
        replaced(good, encoder=good.encoder | {"encoding": "codes"}),
        replaced(good, encoder=good.encoder | {"centred": True}),
        replaced(good, encoder={}),
    ):
        with pytest.raises(DecodeError):
            BlockEncoder.from_fields(bad)
    for field, value in (("scales", [0.0] * 5), ("format", "privfed vertical encoder 2"), ("x", 1)):
        plain = msgspec.to_builtins(good) | {field: value}
        with pytest.raises(ValueError, match=r"."):
            json_read(json_bytes(plain), BlockFields)


def test_a_repr_shows_no_number_of_any_row() -> None:
    shown = repr(fitted())
    assert "middles" not in shown
    assert "scales" not in shown
    assert "support" not in shown
