"""The README's figures are those of the results beside it."""

from pathlib import Path

import pytest

from benchmarks.readme import with_table
from privfed.report import load_results

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("name", ["demo", "dresses"])
def test_the_readmes_table_is_made_from_the_results_in_docs(name: str) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    results = load_results(ROOT / "docs" / f"{name}.json")
    assert with_table(readme, name, results) == readme
    start = readme.index("\n", readme.index(f"<!-- {name} table -->")) + 1
    assert with_table(readme[:start] + "edited by hand" + readme[start:], name, results) == readme
    assert (ROOT / "docs" / f"{name}.png").stat().st_size > 10_000
