"""A schema file says again what was understood, asks what is doubtful, and is read strictly."""

from __future__ import annotations

import tomllib
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from privfed.data import (
    CategoricalColumn,
    Dataset,
    Encoder,
    NumericColumn,
    SchemaFile,
    inspect_table,
    load_dataset,
    schema_text,
)
from privfed.errors import ConfigError, TableWarning

N = 60
DRAWN = np.random.default_rng(4)
OWN = pd.DataFrame(
    {
        "mail": [f"c{n}@shop.example" for n in range(N)],
        "income": [f"${n:,}" for n in DRAWN.integers(900, 9000, N)],
        "share": [f"{x:.1f}".replace(".", ",") for x in DRAWN.uniform(0, 9, N)],
        "since": [f"{day:02}.11.2024" for day in DRAWN.integers(1, 29, N)],
        "member": DRAWN.choice(["yes", "No", ""], N),
        "age": [*(str(n) for n in DRAWN.integers(18, 40, N - 1)), "unknown"],
        'a "town"\t': DRAWN.choice(["Köln", "other", 'Saint "X"', "a\\b"], N),
        "late": DRAWN.choice(["no", "yes"], N),
    },
    dtype=str,
)
DOUBTFUL = pd.DataFrame(
    {
        "paid": [f"{n:,}" for n in DRAWN.integers(900, 9000, N)],
        "day": [f"0{day}/04/2025" for day in DRAWN.integers(1, 10, N)],
        "zip": [f"{n:05}" for n in DRAWN.integers(900, 950, N)],
        "late": DRAWN.choice(["no", "yes"], N),
    },
    dtype=str,
)


def loaded(table: pd.DataFrame | Path, **options: object) -> Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TableWarning)
        return load_dataset("table", table, **options)  # type: ignore[arg-type]


def written(folder: Path, text: str) -> Path:
    path = folder / "schema.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_what_is_written_is_read_as_the_same_features(tmp_path: Path) -> None:
    read = loaded(OWN, label="late")
    path = written(tmp_path, schema_text(read.readings, "own.csv"))
    again = loaded(OWN, schema=path)
    assert np.array_equal(again.features, read.features)
    assert again.encoder == read.encoder
    assert again.class_names == read.class_names
    assert [each.role for each in again.readings] == [each.role for each in read.readings]
    assert SchemaFile.load(path).schema() == read.encoder.schema  # without any row


def test_columns_become_what_they_are() -> None:
    found = {each.name: each for each in loaded(OWN, label="late").readings}
    assert {name: each.kind for name, each in found.items()} == {
        "mail": "text", "income": "number", "share": "number", "since": "date",
        "member": "yes-no", "age": "number", 'a "town"': "categories", "late": "classes",
    }  # fmt: skip
    assert found["mail"].role == "ignore"
    assert found["age"].odd == 1
    assert found["member"].missing == (OWN["member"] == "").sum()


def test_new_rows_are_read_in_the_same_notation() -> None:
    encoder = loaded(OWN, label="late").encoder
    again = Encoder.from_json(encoder.to_json())
    assert again == encoder
    row = OWN.head(1).rename(columns=str.strip).drop(columns="late")
    one, unseen = again.encode(row)
    assert np.array_equal(one, loaded(OWN, label="late").features[:1])
    assert unseen == []
    assert again.encode(row.drop(columns="mail"))[0].shape == one.shape  # it is no feature
    assert again.encode(row.assign(income="plenty"))[1] == [(0, "income", "plenty")]


def test_what_is_doubtful_is_asked(tmp_path: Path) -> None:
    readings = inspect_table(DOUBTFUL, label="late").columns
    asked = {each.name: each.question for each in readings if each.question}
    assert asked.keys() == {"paid", "day", "zip"}
    assert "may be" in asked["paid"]
    assert "2025-04-0" in asked["day"]
    with pytest.raises(ConfigError, match=r"column 'paid'.*schema_text.*2 more are asked about"):
        loaded(DOUBTFUL, label="late")
    path = written(tmp_path, schema_text(readings, "own.csv"))
    with pytest.raises(ConfigError, match=r"\[columns.paid\] is a feature and has no kind"):
        loaded(DOUBTFUL, schema=path)


@pytest.mark.parametrize("choice", [0, 1])
def test_each_choice_that_is_offered_can_be_taken(tmp_path: Path, choice: int) -> None:
    text = schema_text(inspect_table(DOUBTFUL, label="late").columns, "own.csv")
    parts = []
    for part in text.split("\n\n"):
        if "# or\n" in part:
            head, options = part.split("lines of one:\n")
            lines = options.split("# or\n")[choice].splitlines()
            part = f"{head}\n" + "\n".join(line.removeprefix("#") for line in lines)
        parts.append(part)
    read = loaded(DOUBTFUL, schema=written(tmp_path, "\n\n".join(parts)))
    paid, day, code = read.encoder.columns
    assert isinstance(paid, NumericColumn)
    assert paid.high > 1000 if choice == 0 else paid.high < 1000
    assert isinstance(day, NumericColumn)
    assert (day.high - day.low < 31) == (choice == 0)
    assert isinstance(code, NumericColumn if choice == 0 else CategoricalColumn)
    assert all(not each.odd and "outside" not in each.done for each in read.readings)


def test_a_schema_may_name_words_for_missing(tmp_path: Path) -> None:
    table = OWN[["late"]].assign(x=["soon", *["unknown"] * 19, *["1.5"] * 40], y="never")
    text = (
        '[columns.late]\nrole = "label"\n[columns.x]\nkind = "number"\nrange = [0, 1]\n'
        'missing = ["Unknown", "soon"]\n[columns.y]\nkind = "categories"\ncategories = ["a"]\n'
        'missing = ["never"]\n'
    )
    read = loaded(table, schema=written(tmp_path, text))
    found = {each.name: each for each in read.readings}
    assert (found["x"].missing, found["x"].odd, found["x"].values) == (20, 0, 40)
    assert "40 cells outside the range" in found["x"].done
    assert found["y"].missing == N


GOOD = '[columns.x]\nkind = "number"\nrange = [0, 5]\n[columns.late]\nrole = "label"\n'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[columns", "schema.toml"),
        ("", "missing required field `columns`"),
        ("x = 1\n[columns.x]\n", "unknown field `x`"),
        (GOOD + "[columns.z]\nsort = 1\n", r"\[columns.z\] has the unknown key 'sort'"),
        (GOOD + '[columns.z]\nkind = "nmber"\n', r"\[columns.z\]: kind = 'nmber' is none of"),
        (GOOD + '[columns.z]\nrole = "boss"\n', "role = 'boss' is none of"),
        (GOOD + "[columns.z]\n", "has no kind"),
        (GOOD + '[columns.z]\nkind = "number"\n', "has no range"),
        (GOOD + '[columns.z]\nkind = "number"\nrange = [5, 0]\n', "range 5.0 to 0.0"),
        (GOOD + '[columns.z]\nkind = "number"\nrange = [0]\n', r"\[columns.z\]: "),
        (GOOD + '[columns.z]\nkind = "number"\nrange = [0, 2025-03-17]\n', "two numbers"),
        (GOOD + '[columns.z]\nkind = "number"\nrange = [0, nan]\n', "finite"),
        (GOOD + '[columns.z]\nkind = "number"\nrange = [0, 1]\ndate = "%Y"\n', "date does not"),
        (GOOD + '[columns.z]\nkind = "date"\nrange = [2025-03-17, 2025-03-18]\n', "form of a date"),
        (GOOD + '[columns.z]\nkind = "categories"\n', "has no categories"),
        (GOOD + '[columns.z]\nkind = "categories"\ncategories = ["a", "a"]\n', "'a' twice"),
        (GOOD + '[columns.z]\nrole = "id"\nkind = "number"\n', "kind does not belong to the role"),
        (GOOD + '[columns.z]\nrole = "label"\n', "gives the role label to 'late' and 'z'"),
        (GOOD + '[columns.z]\nrole = "ignore"\n', "describes a column 'z', which"),
        (GOOD.partition("[columns.l")[0], "does not describe column 'late'"),
        (GOOD.replace("[0, 5]", "[0, 5]\nunit = 'kg'"), "'kg' is no unit"),
    ],
)
def test_a_schema_file_is_read_strictly(tmp_path: Path, text: str, says: str) -> None:
    table = pd.DataFrame({"x": ["1", "2"] * 9, "late": ["no", "yes"] * 9})
    with pytest.raises(ConfigError, match=says) as caught:
        load_dataset("table", table, schema=written(tmp_path, text))
    assert "\n" not in str(caught.value)
    assert load_dataset("table", table, schema=written(tmp_path, GOOD)).class_names == ("no", "yes")


def test_label_and_id_are_as_the_file_says(tmp_path: Path) -> None:
    table = pd.DataFrame({"x": ["1", "2"] * 9, "late": ["no", "yes"] * 9})
    path = written(tmp_path, GOOD)
    assert load_dataset("table", table, label="late", schema=path).class_names == ("no", "yes")
    with pytest.raises(ConfigError, match="does not give column 'x' the role label"):
        load_dataset("table", table, label="x", schema=path)
    with pytest.raises(ConfigError, match="does not give column 'x' the role id"):
        load_dataset("table", table, id_column="x", schema=path)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_dataset("table", table, schema=tmp_path / "absent.toml")


def test_any_header_and_category_is_written_so_that_it_is_read_again(tmp_path: Path) -> None:
    names = ["a.b", "ä", '"', "\\", "x y", "\x7f"]
    table = pd.DataFrame({name: [name, "z"] * 3 for name in names}).assign(late=["1", "2"] * 3)
    text = schema_text(inspect_table(table, label="late").columns, "a\nb")
    assert list(tomllib.loads(text)["columns"]) == [*names, "late"]
    again = load_dataset("table", table, schema=written(tmp_path, text))
    assert again.encoder == load_dataset("table", table, label="late").encoder
