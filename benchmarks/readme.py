"""Remake the README's picture and table from a demo's results.json.

Run: python -m benchmarks.readme demo
Writes docs/demo.png, docs/demo.json (the results without their round-by-round histories) and the
table between the README's two markers.
"""

import argparse
import dataclasses
import re
from pathlib import Path

from privfed.experiment import Results
from privfed.report import load_results, readme_picture, readme_table

ROOT = Path(__file__).parent.parent
MARKED = re.compile(r"(<!-- demo table -->\n).*?(\n<!-- end of demo table -->)", re.DOTALL)


def without_histories(results: Results) -> Results:
    """Drop what is too long for a repository and what no table shows."""
    return dataclasses.replace(
        results, runs=[dataclasses.replace(run, history={}, model=None) for run in results.runs]
    )


def with_table(readme: str, results: Results) -> str:
    """Put the results' table between the markers of the README's text."""
    table = readme_table(results)
    return MARKED.sub(lambda found: found[1] + table + found[2], readme)


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path, help="output folder of privfed benchmark")
    results = without_histories(load_results(parser.parse_args().directory / "results.json"))
    results.write(ROOT / "docs" / "demo.json")
    readme_picture(results, ROOT / "docs" / "demo.png")
    readme = ROOT / "README.md"
    readme.write_text(with_table(readme.read_text(encoding="utf-8"), results), encoding="utf-8")


if __name__ == "__main__":
    main()
