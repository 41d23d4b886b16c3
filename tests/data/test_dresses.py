"""The dress file as UCI ships it: every dirt it has, and nothing is lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from privfed.data import DRESSES, CategoricalColumn, Dataset, load_dataset, load_dresses

WriteCSV = Callable[..., Path]


def column_of(dataset: Dataset, name: str) -> list[float]:
    position = [column.name for column in dataset.encoder.columns].index(name)
    return [float(value) for value in dataset.features[:, position]]


def code(name: str, category: str) -> int:
    column = next(column for column in DRESSES.columns if column.name == name)
    assert isinstance(column, CategoricalColumn)
    return column.categories.index(category) + 1


def test_csv_and_xlsx_give_the_same_rows_as_the_table(
    raw_dresses: pd.DataFrame, write_csv: WriteCSV, tmp_path: Path
) -> None:
    typed = raw_dresses.assign(  # a spreadsheet holds numbers as numbers
        Dress_ID=raw_dresses["Dress_ID"].astype(int),
        Rating=raw_dresses["Rating"].astype(float),
        Recommendation=raw_dresses["Recommendation"].astype(int),
    )
    typed.to_excel(tmp_path / "dresses.xlsx", index=False)
    wanted = load_dresses("surrogate")
    for path in (write_csv(raw_dresses), tmp_path / "dresses.xlsx"):
        found = load_dresses(path)
        assert np.array_equal(found.features, wanted.features)
        assert np.array_equal(found.labels, wanted.labels)
        assert found.ids is not None
        assert wanted.ids is not None
        assert found.ids.tolist() == wanted.ids.tolist()
        assert not found.is_surrogate
        assert "surrogate" not in found.source
    assert wanted.is_surrogate
    assert "embedded surrogate (not real data)" in wanted.source


def test_a_file_is_known_by_its_content_not_by_its_name(
    raw_dresses: pd.DataFrame, tmp_path: Path
) -> None:
    misnamed = tmp_path / "dresses.csv"
    raw_dresses.to_excel(tmp_path / "dresses.xlsx", index=False)
    (tmp_path / "dresses.xlsx").rename(misnamed)
    assert len(load_dresses(misnamed)) == 500


def test_the_hash_is_of_the_bytes_read(raw_dresses: pd.DataFrame, write_csv: WriteCSV) -> None:
    import hashlib

    path = write_csv(raw_dresses)
    assert load_dresses(path).sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    "respell",
    [str.upper, str.lower, lambda h: h.replace("_", " "), lambda h: h.replace(" ", "")],
)
def test_headers_are_known_in_any_spelling(
    respell: Callable[[str], str], raw_dresses: pd.DataFrame, write_csv: WriteCSV
) -> None:
    renamed = raw_dresses.rename(columns=respell).rename(columns={"waiseline": "Waistline"})
    shuffled = renamed[renamed.columns[::-1]]
    found = load_dresses(write_csv(shuffled))
    assert np.array_equal(found.features, load_dresses("surrogate").features)


@pytest.mark.parametrize("missing", ["null", "NULL", "Null", "", "NaN", "n/a", "?", "  "])
def test_missing_values_have_a_code_of_their_own(
    missing: str, raw_dresses: pd.DataFrame, write_csv: WriteCSV
) -> None:
    found = load_dresses(write_csv(raw_dresses.assign(Material=missing, Rating=missing)))
    assert set(column_of(found, "Material")) == {0}
    assert set(column_of(found, "Rating")) == {0}
    assert found.cleaning is not None
    assert found.cleaning.missing["Material"] == 500
    assert not found.cleaning.unknown


@pytest.mark.parametrize(
    ("column", "spellings", "category"),
    [
        ("SleeveLength", "sleevless sleeevless sleveless sleeveless Sleeveless", "sleeveless"),
        ("SleeveLength", "threequarter threequater thressqatar three-quarter", "three-quarter"),
        ("SleeveLength", "half halfsleeve", "half"),
        ("SleeveLength", "capsleeves cap-sleeves", "cap-sleeves"),
        ("Season", "Automn automn Autumn autumn", "autumn"),
        ("Material", "chiffonfabric shiffon chiffon", "chiffon"),
        ("Material", "sill silk SILK", "silk"),
        ("Material", "model modal", "modal"),
        ("Material", "polyster polyester", "polyester"),
        ("Material", "viscos viscose", "viscose"),
        ("FabricType", "shiffon chiffon", "chiffon"),
        ("FabricType", "sattin satin", "satin"),
        ("FabricType", "wollen woolen", "woolen"),
        ("FabricType", "flannael flannel", "flannel"),
        ("FabricType", "knitting knitted", "knitted"),
        ("Decoration", "embroidary embroidery", "embroidery"),
        ("Pattern Type", "leapord leopard", "leopard"),
        ("NeckLine", "sqare-collor square-collar", "square-collar"),
        ("NeckLine", "turndowncollor turndown-collar", "turndown-collar"),
        ("NeckLine", "bowneck bow-neck", "bow-neck"),
        ("Size", "s S small Small", "S"),
        ("Price", "Low low LOW", "low"),
        ("Price", "very-high Very_High", "very-high"),
        ("Style", "Sexy sexy", "sexy"),
    ],
)
def test_spelling_variants_are_merged(
    column: str,
    spellings: str,
    category: str,
    raw_dresses: pd.DataFrame,
    write_csv: WriteCSV,
) -> None:
    words = spellings.split()
    changed = raw_dresses.assign(**{column: [words[i % len(words)] for i in range(500)]})
    found = load_dresses(write_csv(changed))
    name = {"Pattern Type": "PatternType", "NeckLine": "Neckline"}.get(column, column)
    assert set(column_of(found, name)) == {code(name, category)}
    assert found.cleaning is not None
    assert not found.cleaning.unknown


def test_a_collar_in_the_sleeves_column_says_nothing_of_the_sleeve(
    raw_dresses: pd.DataFrame, write_csv: WriteCSV
) -> None:
    slipped = ["turndowncollor", "urndowncollor"] * 250
    found = load_dresses(write_csv(raw_dresses.assign(SleeveLength=slipped)))
    assert set(column_of(found, "SleeveLength")) == {0}


def test_no_decoration_is_not_an_unknown_decoration(
    raw_dresses: pd.DataFrame, write_csv: WriteCSV
) -> None:
    found = load_dresses(write_csv(raw_dresses.assign(Decoration=["none", "null"] * 250)))
    assert column_of(found, "Decoration")[:2] == [code("Decoration", "none"), 0]


def test_unknown_values_become_other_and_are_reported(
    raw_dresses: pd.DataFrame, write_csv: WriteCSV
) -> None:
    changed = raw_dresses.copy()
    changed.loc[[3, 7], "Season"] = "Monsoon"
    changed.loc[5, "Rating"] = "many stars"
    changed.loc[6, "Rating"] = "46"
    found = load_dresses(write_csv(changed))
    assert len(found) == 500
    assert column_of(found, "Season")[3] == 5  # after autumn, spring, summer, winter
    assert column_of(found, "Rating")[5:7] == [0, 5]
    assert found.cleaning is not None
    unknown = {(c.column, c.spelling, c.meaning, c.rows) for c in found.cleaning.unknown}
    assert unknown == {
        ("Season", "Monsoon", "other", 2),
        ("Rating", "many stars", "missing", 1),
        ("Rating", "46", "5", 1),
    }


def test_other_is_a_known_word(raw_dresses: pd.DataFrame, write_csv: WriteCSV) -> None:
    found = load_dresses(write_csv(raw_dresses.assign(Material="other")))
    assert found.cleaning is not None
    assert not found.cleaning.unknown
    assert set(column_of(found, "Material")) == {20}


def test_the_report_counts_what_changed_and_drops_nothing(
    raw_dresses: pd.DataFrame,
) -> None:
    import json

    report = load_dataset().cleaning
    assert report is not None
    plain = json.loads(json.dumps(report.to_dict()))
    assert (plain["rows"], plain["dropped_rows"]) == (500, 0)
    assert plain["renamed_columns"]["waiseline"] == "Waistline"
    by_spelling = {(c["column"], c["spelling"]): c for c in plain["changes"]}
    automn = by_spelling["Season", "Automn"]
    assert automn["rows"] == int((raw_dresses["Season"] == "Automn").sum()) > 0
    assert (automn["meaning"], automn["code"]) == ("autumn", 1)
    assert ("Material", "cotton") not in by_spelling  # stands for itself
    assert plain["repeated_ids"] == 25
    assert "500 rows kept, none dropped" in report.summary()


def test_a_file_without_dress_ids_is_read_but_has_no_ids(
    raw_dresses: pd.DataFrame, write_csv: WriteCSV
) -> None:
    assert load_dresses(write_csv(raw_dresses.drop(columns="Dress_ID"))).ids is None


def test_a_dataset_shows_no_row_in_its_repr() -> None:
    dataset = load_dataset()
    assert dataset.ids is not None
    assert len(repr(dataset)) < 400
    assert dataset.ids[0] not in repr(dataset)
