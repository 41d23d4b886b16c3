"""The walk-through's pictures and figures are those of the results beside them."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest
from msgspec import structs

from benchmarks.walkthrough import KEPT, PAGE, kept_results, page, pictures
from privfed.data import load_pair
from privfed.report.palette import DARK, LIGHT
from privfed.vertical.linear.results import LinearResults

NAMES = ["gain.svg", "model.svg", "seen.svg", "shared.svg", "tables.svg"]


def parsed(svg: str) -> ET.Element:
    return ET.fromstring(svg)  # noqa: S314 - made by ourselves


def words(svg: str) -> list[str]:
    return ["".join(text.itertext()) for text in parsed(svg).iter() if text.text]


@pytest.fixture(scope="module")
def results() -> LinearResults:
    return kept_results()


@pytest.fixture(scope="module")
def drawn(results: LinearResults) -> dict[str, str]:
    return dict(pictures(results))


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_is_drawn_from_the_results(name: str, drawn: dict[str, str]) -> None:
    assert (KEPT / name).read_text("utf-8") == drawn[name], "draw it anew: make walkthrough"


def test_the_page_shows_every_picture_and_its_table_is_made_from_the_results(
    results: LinearResults, drawn: dict[str, str]
) -> None:
    text = PAGE.read_text("utf-8")
    assert sorted(drawn) == sorted(re.findall(r"\]\(vertical/(\w+\.svg)\)", text)) == NAMES
    assert page(text, results) == text
    fewer = structs.replace(results, common_rows=results.common_rows + 1)
    assert page(text, fewer) != text


def test_the_results_are_of_bank_and_shop_as_they_come(results: LinearResults) -> None:
    assert results.role == "both"
    assert results.source == load_pair().source
    assert results.common_rows == 2800
    assert results.gains[0].low > 0  # the page speaks of a gain


def test_what_a_picture_says_is_what_was_measured(
    results: LinearResults, drawn: dict[str, str]
) -> None:
    assert f"both: {results.common_rows:,} customers" in words(drawn["shared.svg"])
    assert f"{results.train_rows:,} train the model" in words(drawn["shared.svg"])
    assert f"how many: {results.host.columns}" in words(drawn["seen.svg"])
    assert f"{results.measures[0].together:.3f}" in words(drawn["gain.svg"])
    more = structs.replace(results, host=structs.replace(results.host, columns=1, names=("a",),
                                                         coefficients=(9.5,)))  # fmt: skip
    other = pictures(more)
    assert "how many: 1" in words(other["seen.svg"])
    assert "+9.50" in words(other["model.svg"])


def test_three_customers_are_in_both_tables_in_two_spellings(drawn: dict[str, str]) -> None:
    bank, shop = load_pair().guest.email, load_pair().host.Email
    shown = [cell for cell in words(drawn["tables.svg"]) if "@example.org" in cell.casefold()]
    assert len(set(shown)) == 10
    assert set(shown[:5]) <= {cell.strip() for cell in bank}
    assert set(shown[5:]) <= {cell.strip() for cell in shop}
    common = {cell.casefold() for cell in shown[:5]} & {cell.casefold() for cell in shown[5:]}
    assert len(common) == 3
    assert not common & ({cell.strip().casefold() for cell in bank} ^
                         {cell.strip().casefold() for cell in shop})  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_stands_alone_in_light_and_dark(name: str, drawn: dict[str, str]) -> None:
    svg = drawn[name]
    root = parsed(svg)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.attrib["aria-label"]
    used = set(re.findall(r"var\(--([\w-]+)\)", svg))
    light, dark = svg.split("@media(prefers-color-scheme:dark)")
    for colour in used:
        assert f"--{colour}:{LIGHT[colour]};" in light
        assert f"--{colour}:{DARK[colour]};" in dark
    assert not re.search(r"(?:href|src)=\"(?!#)", svg)  # nothing is loaded from anywhere
