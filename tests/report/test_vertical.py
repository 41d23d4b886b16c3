"""A vertical training's page: a right verdict, the security first, and what each side saw."""

from __future__ import annotations

import html
import re
import stat
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from privfed.errors import ConfigError
from privfed.report.vertical import render_vertical, write_vertical
from privfed.report.vertical_linear import seen
from privfed.report.vertical_words import in_plain_words, verdict
from privfed.vertical.linear.results import LinearResults
from privfed.vertical.results import Measured, UsedTable
from tests.report.vertical_samples import SHAPES, gain, side, vertical


def text(results: LinearResults) -> str:
    """What a reader sees, in one line."""
    page = render_vertical(results)
    page = re.sub(r"<(style|script)>.*?</\1>", "", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", page))).replace("\xa0", " ")


@pytest.mark.parametrize(
    ("value", "low", "high", "said"),
    [
        (0.05, 0.0304, 0.0705, "Collaborating gains 0.050 AUC (95 % interval +0.030 to +0.071)."),
        (
            -0.02,
            -0.0305,
            -0.0015,
            "Collaborating loses 0.020 AUC (95 % interval −0.031 to −0.001).",
        ),
        (
            0.004,
            -0.0115,
            0.0205,
            "No gain can be seen: +0.004 AUC (95 % interval −0.012 to +0.021).",
        ),
        (0.004, 0.0, 0.0205, "No gain can be seen: +0.004 AUC (95 % interval 0.000 to +0.021)."),
        (
            -0.02,
            -0.0395,
            0.0095,
            "No gain can be seen: −0.020 AUC (95 % interval −0.040 to +0.010).",
        ),
        (0.0, 0.0, 0.0, "No gain can be seen: 0.000 AUC (95 % interval 0.000 to 0.000)."),
    ],
)
def test_the_verdict_follows_the_interval(value: float, low: float, high: float, said: str) -> None:
    assert verdict(gain(value, low, high)).replace("\xa0", " ") == said


@pytest.mark.parametrize(
    ("family", "name", "said"),
    [
        ("logistic", "AUC", "bank alone tells which is which 61 times of 100; both together 74"),
        ("logistic", "accuracy", "names the class of 61 rightly; both together of 74"),
        ("linear", "R²", "bank alone explains 61 %; both together 74 %"),
        ("poisson", "D²", "bank alone explains 61 %; both together 74 %"),
    ],
)
def test_the_first_measure_is_said_in_plain_words(family: str, name: str, said: str) -> None:
    measured = (Measured(name, 0.612, 0.7401, 0.75),)
    found = vertical(family=family, measures=measured)
    assert said in text(found)
    assert in_plain_words(SHAPES["host"]) == in_plain_words(SHAPES["bare"]) == ""
    below = vertical(family=family, measures=(Measured(name, -0.02, 0.7401, 0.75),))
    assert "−2" in in_plain_words(below)


def test_what_a_coefficient_speaks_for_is_said_where_classes_are_known() -> None:
    assert "Above 0 it speaks for paid_late = yes, below 0 against it." in text(vertical())
    assert "speaks for" not in text(vertical(family="poisson", classes=()))
    assert "speaks for" not in text(SHAPES["host"])


def test_who_does_not_know_the_gain_claims_none() -> None:
    assert verdict(SHAPES["host"]) == "What collaborating gains, bank alone knows."
    assert "cannot be told" in verdict(SHAPES["bare"])
    assert "AUC" not in text(SHAPES["host"])
    assert "paired bootstrap" not in text(SHAPES["host"])


def test_security_stands_before_any_figure() -> None:
    said = text(vertical())
    assert said.index("Semi-honest. Both companies follow the protocol") < said.index("0.740")
    assert "one run of forty" in said
    assert "2,000 samples with a fixed seed" in said


def test_what_was_opened_is_what_is_said_to_be_seen() -> None:
    opened = {message: what for message, _, what in seen(vertical())}
    assert "rounded" in opened["scores of 840 test rows"]
    assert "its own columns’ coefficients" in opened["coefficients, at the end"]
    kept = {message: what for message, _, what in seen(SHAPES["shared coefficients, classes"])}
    assert "stay shared" in kept["coefficients"]
    assert "the class alone" in kept["scores of 840 test rows"]
    assert "shop did not see Bank’s columns, their names, nor any label" in text(vertical())
    assert "opened to nobody" in text(SHAPES["shared coefficients, classes"])


def test_a_half_shows_its_own_columns_alone() -> None:
    guest, host = text(SHAPES["guest"]), text(SHAPES["host"])
    assert "overdrafts" in guest
    assert "returned_share" not in guest
    assert "returned_share" in host
    assert "overdrafts" not in host
    assert "paid_late" not in host
    assert "which nobody has" in guest


@pytest.mark.parametrize("name", SHAPES)
def test_pages_are_whole_and_repeat_to_the_byte(name: str) -> None:
    page = render_vertical(SHAPES[name])
    assert page == render_vertical(SHAPES[name])
    assert "http" not in re.sub(r'xmlns(:\w+)?="[^"]+"|http-equiv', "", page)
    pictures = re.findall(r"<svg class=\"picture\".*?</svg>", page, re.DOTALL)
    for each in pictures:
        ET.fromstring(each)  # noqa: S314 - our own
    counts = {"both": 5, "guest": 5, "host": 1, "shared coefficients, classes": 4, "counts": 5}
    assert len(pictures) == counts.get(name, 0)
    assert not re.search(r"\bNone\b|\bnan\b", text(SHAPES[name]))


def test_the_largest_coefficients_are_drawn_and_all_are_listed() -> None:
    many = side("shop", tuple(f"column-{n}" for n in range(40)), 5)
    page = render_vertical(vertical(host=many))
    picture = re.search(r'<svg class="picture" id="fig-coefficients".*?</svg>', page, re.DOTALL)
    assert picture is not None
    assert picture[0].count("<text") == 32
    assert all(f"column-{n}<" in page for n in range(40))
    assert "shop’s columns carry 58 % and bank’s 42 %" in text(vertical())


def test_rows_shortened_and_columns_left_out_are_said() -> None:
    known = side("shop", ("reminders",), 5)
    fields = {name: getattr(known, name) for name in known.__struct_fields__}
    part = type(known)(**fields | {"left_out": ("city=Ghent", "city=Porto")})
    said = text(vertical(host=part))
    assert "shop left out what too few rows have: city=Ghent and city=Porto." in said
    assert "0.4 % of bank, 0.4 % of shop" in said


def test_nothing_that_a_partner_names_is_markup() -> None:
    evil = "<script>alert(1)</script>"
    page = render_vertical(
        vertical(
            host=side(evil, (evil, "b"), 1), label=evil, classes=("a", evil), source=evil,
            terms=((evil, evil),), unknown=evil, files=(UsedTable(evil, None),),
            provenance={evil: evil},
        )
    )  # fmt: skip
    assert evil not in page
    assert page.count("<script>") == 1


def test_only_the_owner_may_read_it(tmp_path: Path) -> None:
    path = write_vertical(vertical(), tmp_path)
    assert path == tmp_path / "report.html"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(ConfigError, match="cannot be written"):
        write_vertical(vertical(), tmp_path / "absent")
