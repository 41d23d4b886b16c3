"""The figures of the README and of pages are those of the results beside them."""

import re

import pytest

from benchmarks.readme import PAGES, README, with_table
from benchmarks.readme_figures import TABLES, figures
from privfed.report import load_results, readme_table
from tests.places import ROOT


@pytest.mark.parametrize("name", ["demo", "dresses", *TABLES])
def test_a_table_is_made_from_its_results(name: str) -> None:
    readme = PAGES.get(name, README).read_text(encoding="utf-8")
    kept = ROOT / "docs" / f"{name}.json"
    table = figures(name) if name in TABLES else readme_table(load_results(kept))
    assert f"<!-- {name} table -->\n{table}\n<!-- end of {name} table -->" in readme
    assert with_table(readme, name, table) == readme
    start = readme.index("\n", readme.index(f"<!-- {name} table -->")) + 1
    assert with_table(readme[:start] + "edited by hand" + readme[start:], name, table) == readme


@pytest.mark.parametrize(
    "name", ["demo", "dresses", "privacy-accuracy", "psi", "aggregation", "scale"]
)
def test_the_pictures_of_the_docs_are_there(name: str) -> None:
    assert (ROOT / "docs" / f"{name}.png").stat().st_size > 10_000


def test_every_row_of_an_intersection_names_what_it_assumes_and_its_wall_time() -> None:
    _, _, *rows = figures("psi").splitlines()
    assert len(rows) > 4
    for row in rows:
        _, _, assumes, *seconds, _, _ = row.split("|")
        assert assumes.strip().startswith(("semi-honest; ", "malicious; "))
        for cell in seconds:
            assert cell.strip() == "–" or re.fullmatch(r"\d+\.\d\d / \d+\.\d", cell.strip())
