"""When a label is classes and when a number, what is asked, and what a model learns of a number."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from privfed.data import ColumnReading, Dataset, Owners, inspect_table, load_dataset, schema_text
from privfed.data.dealing import Dealing
from privfed.data.labels import LARGEST, scaled, unscaled
from privfed.data.partition import split_parties
from privfed.data.schema import NumericColumn
from privfed.errors import ConfigError

WHOLE = [str(n) for n in range(40)]
NUMBERS = [f"{n / 4:g}" for n in range(120)]


def table(cells: list[str], name: str = "y") -> pd.DataFrame:
    return pd.DataFrame({"x": [f"{n % 7}.5" for n in range(len(cells))], name: cells})


def label(cells: list[str]) -> ColumnReading:
    return inspect_table(table(cells), label="y").columns[-1]


def numeric() -> Dataset:
    return load_dataset("table", table(NUMBERS), label="y")


@pytest.mark.parametrize(
    ("cells", "number"),
    [
        (["0", "1"] * 30, None),
        (["0.5", "1", "1.5"] * 30, None),
        ([str(n % 10) for n in range(200)], None),  # ten different ones
        ([f"{n % 11}.5" for n in range(200)], (0.5, 10.5)),  # eleven, with fractions
        ([str(n) for n in range(101)], (0, 100)),  # over a hundred whole ones
        ([f"{n},5" for n in range(60)], (0.5, 59.5)),
        ([f"$1,{n:03}" for n in range(200)], (1000, 1199)),
        ([*(f"c{n}" for n in range(20)), "7"] * 3, None),
    ],
)
def test_a_label_is_a_number_or_classes(
    cells: list[str], number: tuple[float, float] | None
) -> None:
    found = label(cells)
    assert not found.question
    if number is None:
        assert (found.kind, found.number) == ("classes", None)
        assert len(found.classes) == len(set(cells))
    else:
        assert found.number is not None
        assert (found.kind, found.classes) == ("number", ())
        assert (found.number.low, found.number.high) == number


@pytest.mark.parametrize(
    ("cells", "question"),
    [
        (WHOLE * 3, "40 different whole numbers may be classes, or an amount"),
        ([f"1,{n}" for n in range(100, 240)], "may be 1100 or 1.1"),
        ([*NUMBERS, "unknown"], r"'unknown' \(line 121\) is none"),
        ([*NUMBERS, ""], "no label in data row 121"),
        ([f"2025-01-{n:02}" for n in range(1, 29)] * 2, "holds dates"),
        ([f"{n}e12" for n in range(120)], "lies between"),
    ],
)
def test_what_is_doubtful_is_asked(cells: list[str], question: str) -> None:
    with pytest.raises(ConfigError, match=question):
        load_dataset("table", table(cells), label="y")


def test_a_schema_file_says_it_and_is_written_so_that_it_can(tmp_path: Path) -> None:
    frame, path = table(WHOLE * 3), tmp_path / "schema.toml"
    asked = schema_text(inspect_table(frame, label="y").columns, "own.csv")
    before, _, after = asked.partition("# To choose")
    number, categories = after.split("\n", 1)[1].split("# or\n")
    chosen = {
        "number": number.replace("#", ""),
        "categories": categories.replace("#", ""),
    }
    for kind, lines in chosen.items():
        path.write_text(before + lines)
        data = load_dataset("table", frame, schema=str(path))
        assert (data.number is not None) == (kind == "number")
        again = schema_text(data.readings, "own.csv")
        path.write_text(again)
        twice = load_dataset("table", frame, schema=str(path))
        assert (twice.label_range, twice.class_names) == (data.label_range, data.class_names)
        assert np.array_equal(twice.labels, data.labels)
    assert data.class_names == tuple(WHOLE)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ('kind = "number"\nrange = [3, 3]', "two different numbers"),
        ('kind = "number"', "has no range"),
        ('kind = "number"\nrange = [0, 9]\ncategories = ["1"]', "categories does not belong"),
        ('kind = "date"\nrange = [2025-01-01, 2025-02-01]', "kind is categories or number"),
        ("range = [0, 9]", "range does not belong to a label of classes"),
    ],
)
def test_a_label_that_a_schema_file_cannot_mean_is_refused(
    tmp_path: Path, lines: str, message: str
) -> None:
    path = tmp_path / "schema.toml"
    path.write_text(
        f'[columns.x]\nkind = "number"\nrange = [0, 7]\n[columns.y]\nrole = "label"\n{lines}\n'
    )
    with pytest.raises(ConfigError, match=message):
        load_dataset("table", table(NUMBERS), schema=str(path))


def test_a_label_outside_its_range_counts_as_the_nearest_in_it(tmp_path: Path) -> None:
    path = tmp_path / "schema.toml"
    path.write_text(
        '[columns.x]\nkind = "number"\nrange = [0, 7]\n[columns.y]\nrole = "label"\n'
        'kind = "number"\nrange = [1, 20]\n'
    )
    data = load_dataset("table", table(NUMBERS), schema=str(path))
    assert (data.labels.min(), data.labels.max()) == (1, 20)
    assert (data.targets.min(), data.targets.max()) == (-1, 1)
    assert "outside the range taken as the nearest" in data.readings[-1].done


ENDS = st.floats(-LARGEST, LARGEST)


@given(low=ENDS, high=ENDS, share=st.floats(0, 1))
def test_a_number_is_its_place_in_the_range_and_comes_back(
    low: float, high: float, share: float
) -> None:
    if high - low <= 1e-6 * max(abs(low), abs(high), 1.0):
        return
    numbers = np.array([low, low + share * (high - low), high])
    targets = scaled(numbers, (low, high))
    assert targets.dtype == np.float32
    assert (targets[0], targets[2]) == (pytest.approx(-1, abs=1e-6), pytest.approx(1, abs=1e-6))
    back = unscaled(targets, (low, high))
    assert np.abs(back - numbers).max() <= 1e-5 * (high - low)


def test_what_takes_classes_refuses_a_number_by_name() -> None:
    with pytest.raises(ConfigError, match="an audit takes classes, and the label 'y' is a number"):
        numeric().require_classes("an audit")
    with pytest.raises(ConfigError, match="a `skew` of labels deals classes unevenly"):
        split_parties(numeric(), "disjoint", dealing=Dealing(skew="labels", concentration=1.0))
    load_dataset("breast-cancer").require_classes("an audit")


def test_rows_whose_labels_are_all_the_same_cannot_train(tmp_path: Path) -> None:
    data = numeric()
    assert [type(each.column) for each in data.readings] == [NumericColumn, type(None)]
    path = tmp_path / "schema.toml"
    path.write_text(schema_text(data.readings, "own.csv"))
    with pytest.raises(ConfigError, match="all 20 rows have the label"):
        load_dataset("table", table(["3.5"] * 20), schema=str(path))
    labels = np.full(len(data), 2.5)
    labels[-40:] = np.arange(40)  # all in a row, and so at one party or the other
    owners = Owners(("a", "b"), np.repeat([0, 1], [len(data) - 40, 40]))
    with pytest.raises(ConfigError, match=r"'a' has training rows of one label only, 2\.5"):
        split_parties(replace(data, labels=labels, owners=owners), "as-given")
