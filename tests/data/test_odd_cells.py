"""One odd cell does not make categories, in text order, of a column of numbers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from privfed.data import guesses, load_dataset
from privfed.data.files import read_text_table
from privfed.data.schema import CategoricalColumn, NumericColumn
from privfed.data.tables import load_own_table
from privfed.data.understanding import ColumnReading, understand, usable
from privfed.errors import ConfigError, TableWarning

WriteCSV = Callable[..., Path]


def reading(*cells: str) -> ColumnReading:
    frame = pd.DataFrame({"price": cells}, dtype=str)
    (found,) = understand(frame, ["price"], range(2, len(cells) + 2))
    return found


def column(*cells: str) -> CategoricalColumn | NumericColumn:
    (found,) = usable([reading(*cells)])
    assert found.column is not None
    return found.column


def refused(*cells: str) -> str:
    with pytest.raises(ConfigError) as caught:
        column(*cells)
    message = str(caught.value)
    assert "\n" not in message
    return message


NUMBERS = [f"{n / 4:g}" for n in range(40)]
ODD = ["12,5", "12?", "unknown", "17.03.2025", "5%", "12 kg", "inf", "1_000", "<5"]


@pytest.mark.parametrize("odd", ODD)
def test_one_odd_cell_among_numbers_is_missing_and_is_told_with_its_line(odd: str) -> None:
    with pytest.warns(TableWarning, match="1 odd cell taken as missing, of 41") as warned:
        found = column(*NUMBERS, odd)
    assert found == NumericColumn("price", 0.0, 9.75)
    assert f"{odd!r} (line 42)" in str(warned[0].message)
    told = reading(*NUMBERS, odd)
    assert (told.values, told.missing, told.odd) == (40, 0, 1)


@pytest.mark.parametrize(
    ("odd", "number"),
    [("1 200", 1200), ("1\u202f200", 1200), ("$1,050", 1050), ("1'200", 1200), ("€ 9", 9)],
)
def test_a_number_otherwise_written_is_one(odd: str, number: float) -> None:
    found = column(*NUMBERS, odd)
    assert isinstance(found, NumericColumn)
    assert found.notation.read(odd) == number
    assert found.high == max(number, 9.75)


@pytest.mark.parametrize(
    ("numbers", "odd", "taken"),
    [(18, 1, False), (19, 1, True), (98, 2, True), (96, 2, False), (490, 10, True)],
)
def test_how_many_odd_cells_are_tolerated(numbers: int, odd: int, taken: bool) -> None:
    """At most 2 % of the filled cells, or one where there are 20 and more."""
    found = reading(*(f"{n}.5" for n in range(numbers)), *["odd"] * odd, *[""] * 50)
    assert (found.question == "") == taken
    assert (found.odd, found.missing) == (odd, 50)
    if not taken:
        with pytest.raises(ConfigError, match=f"{odd} of its {numbers + odd} values cannot"):
            usable([found])


def test_many_odd_cells_are_counted_and_the_first_are_named() -> None:
    said = refused(*NUMBERS, *(f"{n} kg" for n in range(30)))
    assert "'price' holds numbers" in said
    assert "30 of its 70 values cannot be read as one" in said
    assert "'4 kg' (line 46) …" in said
    assert "5 kg" not in said
    assert "leave them empty" in said


@pytest.mark.parametrize(
    "cells",
    [
        ["1,5", "2,5", "3,5?", "7?"],
        [*["unknown"] * 60, *NUMBERS],  # fewer cells than words, but nearly all different values
        ["17.03.2025", "18.03.2025", "soon"],
    ],
)
def test_columns_of_which_too_many_cells_are_odd_are_no_categories(cells: list[str]) -> None:
    assert re.search("holds (numbers|dates)", refused(*cells))


def test_missing_words_among_numbers_are_no_odd_cells() -> None:
    found = column(*NUMBERS, "", "n/a", "NULL", "?")
    assert found == NumericColumn("price", 0.0, 9.75)


@pytest.mark.parametrize(
    "cells",
    [
        ["S", "M", "L", "XL", "38", "40"],
        ["0-17", "18-64", "65+"],
        ["3XL", "2XL", "1XL"],
        ["10/12", "12/14"],
        ["01", "x2"],
        ["a", "b", "7"],
    ],
)
def test_genuine_categories_stay_categories(cells: list[str]) -> None:
    found = column(*cells * 3)
    assert isinstance(found, CategoricalColumn)
    assert found.categories == tuple(sorted(cells))


CELLS = st.sampled_from(["1", "2.5", "-3", "1e3", "12,5", "x", "y y", "", "n/a", "?7", "inf"])


@given(st.lists(CELLS, min_size=1) | st.lists(st.text(max_size=4), min_size=1))
def test_no_categories_are_made_of_mostly_numbers(cells: list[str]) -> None:
    cells = [cell.strip() for cell in cells]
    try:
        found = column(*cells)
    except (ConfigError, TableWarning):  # it is refused, or left out as an ID
        return
    if isinstance(found, CategoricalColumn):
        kept = [cell for cell in cells if cell in found.categories]
        numbers = [cell for cell in kept if _reads(cell)]
        assert 2 * len(numbers) <= len(kept)
        assert 2 * len(set(numbers)) <= len(set(kept)) + ("other" in cells)


@given(st.lists(CELLS | st.text(max_size=4)))
def test_whether_most_are_numbers_is_known_early_and_rightly(cells: list[str]) -> None:
    """Counting stops where the rest cannot change it: as by counting all."""
    values = Counter(cells)
    like = {v: n for v, n in values.items() if guesses._is_like_a_number(v)}  # noqa: SLF001
    wanted = 2 * sum(like.values()) > values.total() or 2 * len(like) > len(values)
    assert guesses.holds_numbers(values, {}) == wanted


def _reads(cell: str) -> bool:
    try:
        return abs(float(cell)) < float("inf") and "_" not in cell
    except ValueError:
        return False


def test_lines_are_those_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text('x,note,y\n1,"two\nlines",a\n\n2,b,a\n3,c,b\n"12?",d,b\n')
    assert read_text_table(path).lines == (2, 5, 6, 7)
    with pytest.raises(ConfigError, match=r"'12\?' \(line 7\)"):
        load_own_table(path, label="y")


def test_lines_of_a_sheet_are_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "own.xlsx"
    frame = pd.DataFrame({"x": [1, 2, None, "12?"], "y": list("abab")}, dtype=object)
    frame.to_excel(path, index=False)
    with pytest.raises(ConfigError, match=r"'12\?' \(line 5\)"):
        load_dataset("table", path, label="y")


def test_a_path_leaves_no_folder_in_a_dataset(write_csv: WriteCSV) -> None:
    frame = pd.DataFrame({"x": ["1", "2", "3"], "y": ["a", "b", "a"]})
    path = write_csv(frame, "own.csv")
    assert path.is_absolute()
    assert load_dataset("table", path, label="y").source == "own table, own.csv"
