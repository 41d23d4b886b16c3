"""JSON by its type: what is wrong is named with its place."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import msgspec
import numpy as np
import pytest

from psi.storage import json_as, json_bytes, json_read


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    share: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]


class Whole(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    parts: list[Part]


@dataclass
class Plain:
    value: float


def test_what_was_written_comes_back() -> None:
    whole = Whole([Part(0.1), Part(1.0)])
    assert json_read(json_bytes(whole), Whole) == whole
    assert json_read(json_bytes(whole, indent=1), Whole) == whole
    assert json_bytes({"a": [1, "ε"], "b": {}}, indent=0) == '{"a": [1, "ε"], "b": {}}'.encode()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"parts": [{"share": 0.1}, {"share": 1.5}]}', r"<= 1.0 - at `\$.parts\[1\].share`"),
        ('{"parts": [{"share": NaN}]}', "malformed"),
        ('{"parts": [{"share": true}]}', "got `bool`"),
        ('{"parts": [{"share": 1, "more": 1}]}', "unknown field `more`"),
        ('{"parts": [{}]}', "required field `share`"),
        ('{"parts": [{"share": [[1]]}]}', "got `array`"),
        ("", "truncated"),
        ('"\udcff"', "surrogates"),
        ('{"parts": []} {}', "trailing"),
    ],
)
def test_what_is_not_of_the_type_is_refused(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        json_read(text, Whole)


def test_a_parsed_value_is_refused_under_its_name() -> None:
    assert json_as({"parts": []}, Whole, "results") == Whole([])
    with pytest.raises(ValueError, match=r"^results.parts\[0\].share: Expected `float` >= 0.0$"):
        json_as({"parts": [{"share": -1}]}, Whole, "results")
    with pytest.raises(ValueError, match=r"^results: Expected `object`, got `array`$"):
        json_as([], Whole, "results")


def test_numbers_that_json_has_not() -> None:
    assert json_bytes([math.nan, math.inf, np.float64(0.5)]) == b"[null,null,0.5]"
    assert json_bytes(Plain(np.float64(0.25))) == b'{"value":0.25}'
    with pytest.raises(TypeError, match="float32"):
        json_bytes([np.float32(0.5)])
