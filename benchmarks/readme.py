"""Remake one of the README's pictures and tables from the results.json of a benchmark.

Run: python -m benchmarks.readme demo demo
Writes docs/NAME.json (the results without their round-by-round histories), docs/NAME.png and the
table between the README's two markers of that name.
"""

import argparse
import dataclasses
import re
from pathlib import Path

from privfed.experiment import Results
from privfed.report import load_results, readme_picture, readme_table

ROOT = Path(__file__).parent.parent


def without_histories(results: Results) -> Results:
    """Drop what is too long for a repository and what no table shows."""
    return dataclasses.replace(
        results, runs=[dataclasses.replace(run, history={}, model=None) for run in results.runs]
    )


def with_table(readme: str, name: str, results: Results) -> str:
    """Put the results' table between the markers of that name in the README's text."""
    marked = re.compile(rf"(<!-- {name} table -->\n).*?(<!-- end of {name} table -->)", re.DOTALL)
    return marked.sub(lambda found: f"{found[1]}{readme_table(results)}\n{found[2]}", readme)


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=["demo", "dresses"], help="which of the README's tables")
    parser.add_argument("directory", type=Path, help="output folder of privfed benchmark")
    arguments = parser.parse_args()
    results = without_histories(load_results(arguments.directory / "results.json"))
    results.write(ROOT / "docs" / f"{arguments.name}.json")
    readme_picture(results, ROOT / "docs" / f"{arguments.name}.png")
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    readme.write_text(with_table(text, arguments.name, results), encoding="utf-8")


if __name__ == "__main__":
    main()
