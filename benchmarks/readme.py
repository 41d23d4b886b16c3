"""Remake the tables and pictures of the README and of pages from what benchmarks leave.

Run: python -m benchmarks.readme demo demo    # NAME DIRECTORY, of privfed benchmark
     python -m benchmarks.readme figures      # from benchmarks/results
The first writes docs/NAME.json (the results without their round-by-round histories), docs/NAME.png
and the table between the README's two markers of that name; the second writes the other tables, and
draws the pictures of aggregation.
"""

import argparse
import re
from pathlib import Path

from msgspec import structs

from benchmarks import aggregation_plots
from benchmarks.readme_figures import TABLES, figures, rows_of
from privfed.experiment import Results
from privfed.report import load_results, readme_picture, readme_table

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PRIVACY = ROOT / "docs" / "privacy.md"
PAGES = {  # tables that stand elsewhere
    "large": ROOT / "docs" / "psi-large.md",
    **dict.fromkeys(("scale size", "scale clients", "scale groups"), ROOT / "docs" / "scale.md"),
    "pairs": ROOT / "docs" / "vertical.md",
    **dict.fromkeys(("trees", "tree quality"), ROOT / "docs" / "vertical-trees.md"),
    **dict.fromkeys(("breast cancer", "centring", "flights"), PRIVACY),
}


def without_histories(results: Results) -> Results:
    """Drop what is too long for a repository and what no table shows."""
    return structs.replace(
        results,
        runs=[structs.replace(run, history={}, model=None) for run in results.runs],
        beside=None if results.beside is None else without_histories(results.beside),
    )


def with_table(text: str, name: str, table: str) -> str:
    """Put a table between the markers of that name in a page's text."""
    marked = re.compile(rf"(<!-- {name} table -->\n).*?(<!-- end of {name} table -->)", re.DOTALL)
    return marked.sub(lambda found: f"{found[1]}{table}\n{found[2]}", text)


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=["demo", "dresses", "figures"], help="which tables")
    parser.add_argument("directory", type=Path, nargs="?", help="of privfed benchmark's output")
    arguments = parser.parse_args()
    if (arguments.directory is None) != (arguments.name == "figures"):
        parser.error("demo and dresses need their folder, figures none")
    if arguments.directory is None:
        tables = {name: figures(name) for name in TABLES}
        aggregation_plots.draw(rows_of("aggregation"), ROOT / "docs" / "aggregation.png")
        aggregation_plots.draw_scale(rows_of("scale clients"), ROOT / "docs" / "scale.png")
    else:
        results = without_histories(load_results(arguments.directory / "results.json"))
        results.write(ROOT / "docs" / f"{arguments.name}.json")
        readme_picture(results, ROOT / "docs" / f"{arguments.name}.png")
        tables = {arguments.name: readme_table(results)}
    for name, table in tables.items():
        path = PAGES.get(name, README)
        text = with_table(path.read_text(encoding="utf-8"), name, table)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
