"""A bound holds as it is printed: upper ones are rounded up, lower ones down, and by little."""

from __future__ import annotations

import ast
import math
import re
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privfed.rounding import as_given, at_least, at_most, outwards
from tests.places import ROOT

VALUES = st.floats(0, allow_infinity=False, allow_subnormal=True) | st.floats(1e-3, 1e3)


def unit(value: float, digits: int) -> Fraction:
    """One unit of the last of that many significant digits."""
    return Fraction(10) ** (Decimal(value).adjusted() - digits + 1)


@given(VALUES, st.integers(1, 6))
def test_an_upper_bound_is_printed_above_it_by_less_than_a_unit(value: float, digits: int) -> None:
    printed = at_most(value, digits)
    assert float(printed) >= value
    assert 0 <= Fraction(printed) - Fraction(value) < unit(value, digits)


@given(VALUES, st.integers(1, 6))
def test_a_lower_bound_is_printed_below_it_by_less_than_a_unit(value: float, digits: int) -> None:
    printed = at_least(value, digits)
    assert float(printed) <= value
    assert 0 <= Fraction(value) - Fraction(printed) < unit(value, digits)


@given(st.floats(allow_nan=False))
def test_what_was_asked_is_printed_as_asked(value: float) -> None:
    assert float(as_given(value)) == value


@given(st.floats(-10, 10), st.floats(-10, 10), st.integers(0, 4))
def test_an_interval_covers_as_printed_what_it_covered(one: float, other: float, d: int) -> None:
    low, high = sorted((one, other))
    printed = tuple(map(Fraction, outwards((low, high), d)))
    unit = Fraction(1, 10**d)
    assert Fraction(low) - unit < printed[0] <= Fraction(low)
    assert Fraction(high) <= printed[1] < Fraction(high) + unit


@pytest.mark.parametrize(
    ("value", "up", "down"),
    [
        (2.1649, "2.17", "2.16"),
        (1.0, "1", "1"),
        (0.99871, "0.999", "0.998"),
        (118.2, "119", "118"),
        (1234.5, "1240", "1230"),
        (8.0000001, "8.01", "8"),
        (0.0, "0", "0"),
        (3.14159e-7, "3.15e-07", "3.14e-07"),
        (math.inf, "inf", "inf"),
    ],
)
def test_bounds_have_three_digits(value: float, up: str, down: str) -> None:
    assert (at_most(value), at_least(value)) == (up, down)


def test_asked_numbers_are_short() -> None:
    assert [as_given(x) for x in (1.0, 1e-5, 0.25, 8.123456789)] == [
        *("1", "1e-05", "0.25", "8.123456789")
    ]


SOURCES = [
    path for room in ("privfed", "benchmarks", "examples") for path in (ROOT / room).rglob("*.py")
]


def rounded_by_hand(source: str) -> list[str]:
    """Every ε or δ that an f-string rounds by itself; `:g` shows what was asked, in benchmarks."""
    return [
        ast.unparse(node)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FormattedValue)
        and node.format_spec is not None
        and {"epsilon", "delta"} & set(re.split(r"\W+|_", ast.unparse(node.value)))
        and ast.unparse(node.format_spec) != "f'g'"
    ]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_rounds_an_epsilon_in_its_own_way(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert rounded_by_hand(source) == []
    if ROOT / "privfed" in path.parents:
        assert not re.search(r"\{[^{}]*\b(epsilon|delta)\b[^{}]*:g\}", source)


def test_a_file_that_did_would_be_found() -> None:
    assert rounded_by_hand('f"{plan.epsilon_outsider:.3g} {self.delta:.2e} {x:.2f} {epsilon:g}"')
