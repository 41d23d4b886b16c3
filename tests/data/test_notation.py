"""Numbers as people write them, and which notation a column is in."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privfed.data.guesses import notations
from privfed.data.notation import Notation, unit_of
from privfed.errors import ConfigError


@pytest.mark.parametrize(
    ("notation", "text", "number"),
    [
        (Notation(), "1200.5", 1200.5),
        (Notation(), "1e3", 1000),
        (Notation(), "1,200.5", 1200.5),
        (Notation(), "\u22125", -5),
        (Notation(unit="$"), "$1,050", 1050),
        (Notation(unit="$"), "-$5", -5),
        (Notation(unit="$"), "($1,050.20)", -1050.2),
        (Notation(unit="$"), "7", 7),
        (Notation(decimal=",", unit="€"), "1.050,00 €", 1050),
        (Notation(decimal=",", unit="EUR"), "EUR 1.050,5", 1050.5),
        (Notation(decimal=","), "1.050", 1050),
        (Notation(decimal=","), "0,125", 0.125),
        (Notation(unit="CHF"), "CHF 1'200.50", 1200.5),
        (Notation(unit="%"), "12.5 %", 12.5),
        (Notation(kind="date", date="%d.%m.%Y"), "17.03.2025", 20164),
        (Notation(kind="date", date="%Y-%m-%d %H:%M:%S"), "1970-01-02 12:00:00", 1.5),
        (Notation(kind="yes-no"), "Yes", 1),
        (Notation(kind="yes-no"), "FALSE", 0),
    ],
)
def test_what_is_read(notation: Notation, text: str, number: float) -> None:
    assert notation.read(text) == number


@pytest.mark.parametrize(
    ("notation", "text"),
    [
        (Notation(), "12,5"),
        (Notation(), "0,125"),
        (Notation(), "1,20"),
        (Notation(), "1_000"),
        (Notation(), "nan"),
        (Notation(), "9" * 400),
        (Notation(decimal=","), "12.5"),
        (Notation(unit="$"), "€5"),
        (Notation(unit="$"), "--5"),
        (Notation(unit="%"), "5"),  # beside 5 % it may be 500
        (Notation(), "5%"),
        (Notation(kind="date", date="%d.%m.%Y"), "31.02.2025"),
        (Notation(kind="date", date="%d.%m.%Y"), "17.03.25"),
        (Notation(kind="yes-no"), "perhaps"),
    ],
)
def test_what_is_not_read(notation: Notation, text: str) -> None:
    assert math.isnan(notation.read(text))


@pytest.mark.parametrize(
    ("cells", "wanted"),
    [
        (["1", "2.5"], Notation()),
        (["1,5", "2", "3"], Notation(decimal=",")),
        (["1,050.5", "2"], Notation()),
        (["1 200", "900"], Notation()),
        (["$1,050", "$950"], Notation(unit="$")),  # money has no three decimals
        (["1.050 €", "950 €"], Notation(decimal=",", unit="€")),
        (["1.050,00 €", "12,50 €"], Notation(decimal=",", unit="€")),
        (["5%", "10 %"], Notation(unit="%")),
        (["17.03.2025", "03.04.2025"], Notation(kind="date", date="%d.%m.%Y")),
        (["17/03/2025", "03/04/2025"], Notation(kind="date", date="%d/%m/%Y")),
        (["03/17/2025", "03/04/2025"], Notation(kind="date", date="%m/%d/%Y")),
        (["2025-03-17", "2025-04-01"], Notation(kind="date", date="%Y-%m-%d")),
        (["yes", "No", "TRUE"], Notation(kind="yes-no")),
    ],
)
def test_the_notation_of_a_column_is_found(cells: list[str], wanted: Notation) -> None:
    assert notations(Counter(cells)) == [wanted]


@pytest.mark.parametrize(
    "cells",
    [
        ["1,050", "2,300", "950"],
        ["03/04/2025", "05/06/2025"],
        ["03-04-2025"],
        ["1,050", "1.050"],  # each reading is one of them
        ["$5", "€5"],
    ],
)
def test_what_can_be_read_in_two_ways_has_two_notations(cells: list[str]) -> None:
    assert len(notations(Counter(cells))) > 1


def test_no_number_no_notation() -> None:
    assert notations(Counter(["red", "green"])) == []
    assert notations(Counter()) == []


@pytest.mark.parametrize(
    ("text", "unit"),
    [("$5", "$"), ("5 €", "€"), ("CHF 1'200", "CHF"), ("5%", "%"), ("12 kg", ""), ("$5%", "")],
)
def test_units(text: str, unit: str) -> None:
    assert unit_of(text) == unit


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "text"},
        {"decimal": ";"},
        {"unit": "kg"},
        {"kind": "date"},
        {"date": "%d.%m.%Y"},
        {"kind": "date", "date": "%d.%m.%y"},
        {"kind": "date", "date": "%d.%m.%Y %Y"},
        {"kind": "date", "date": "%c"},
    ],
)
def test_a_notation_that_there_is_not(wrong: dict[str, str]) -> None:
    with pytest.raises(ConfigError):
        Notation(**wrong)  # type: ignore[arg-type]


@given(st.integers(-(10**7), 10**7), st.sampled_from([".", ","]), st.sampled_from(["", "€", "%"]))
def test_what_is_written_with_thousands_is_read_again(cents: int, decimal: str, unit: str) -> None:
    text = f"{cents / 100:,.2f}{unit}"
    if decimal == ",":
        text = text.translate(str.maketrans(",.", ".,"))
    notation = Notation(decimal=decimal, unit=unit)  # type: ignore[arg-type]
    assert notation.read(text) == pytest.approx(cents / 100)


@given(st.text(max_size=12))
def test_any_text_is_a_finite_number_or_none(text: str) -> None:
    for notation in (
        Notation(), Notation(decimal=",", unit="€"), Notation(kind="yes-no"),
        Notation(kind="date", date="%d.%m.%Y"),
    ):  # fmt: skip
        assert not math.isinf(notation.read(text))
