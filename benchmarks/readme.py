"""Remake the README's tables and pictures from the files that benchmarks leave.

Run: python -m benchmarks.readme demo demo    # NAME DIRECTORY, of privfed benchmark
     python -m benchmarks.readme figures      # from benchmarks/results
The first writes docs/NAME.json (the results without their round-by-round histories), docs/NAME.png
and the table between the README's two markers of that name; the second writes the other tables.
"""

import argparse
import re
from pathlib import Path

from msgspec import structs

from benchmarks.readme_figures import TABLES, figures
from privfed.experiment import Results
from privfed.report import load_results, readme_picture, readme_table

ROOT = Path(__file__).parent.parent


def without_histories(results: Results) -> Results:
    """Drop what is too long for a repository and what no table shows."""
    return structs.replace(
        results, runs=[structs.replace(run, history={}, model=None) for run in results.runs]
    )


def with_table(readme: str, name: str, table: str) -> str:
    """Put a table between the markers of that name in the README's text."""
    marked = re.compile(rf"(<!-- {name} table -->\n).*?(<!-- end of {name} table -->)", re.DOTALL)
    return marked.sub(lambda found: f"{found[1]}{table}\n{found[2]}", readme)


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=["demo", "dresses", "figures"], help="which tables")
    parser.add_argument("directory", type=Path, nargs="?", help="of privfed benchmark's output")
    arguments = parser.parse_args()
    if (arguments.directory is None) != (arguments.name == "figures"):
        parser.error("demo and dresses need their folder, figures none")
    path = ROOT / "README.md"
    readme = path.read_text(encoding="utf-8")
    if arguments.directory is None:
        for name in TABLES:
            readme = with_table(readme, name, figures(name))
    else:
        results = without_histories(load_results(arguments.directory / "results.json"))
        results.write(ROOT / "docs" / f"{arguments.name}.json")
        readme_picture(results, ROOT / "docs" / f"{arguments.name}.png")
        readme = with_table(readme, arguments.name, readme_table(results))
    path.write_text(readme, encoding="utf-8")


if __name__ == "__main__":
    main()
