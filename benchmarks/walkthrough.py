"""Remake what docs/vertical-walkthrough.md shows from a run of bank and shop.

Run: python -m benchmarks.walkthrough DIRECTORY    # of privfed vertical's output
Writes docs/vertical/results.json and the pictures beside it, and the page's table of figures.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path

from benchmarks.readme import ROOT, with_table
from benchmarks.readme_figures import rows_of
from benchmarks.walkthrough_pictures import draw
from privfed.data import load_pair
from privfed.report import vertical_words, words
from privfed.table import Table, markdown
from privfed.vertical.linear.results import LinearResults

PAGE = ROOT / "docs" / "vertical-walkthrough.md"
KEPT = ROOT / "docs" / "vertical"


def kept_results() -> LinearResults:
    """Return the results that the page is made of."""
    return LinearResults.load(KEPT / "results.json")


def pictures(results: LinearResults) -> Mapping[str, str]:
    """Return the page's pictures by their files' names."""
    return draw(results, load_pair())


def page(text: str, results: LinearResults) -> str:
    """Return the page with its table of figures made anew."""
    return with_table(text, "figures", figures(results))


def figures(results: LinearResults) -> str:
    """Return what came of the run."""
    guest, host = results.guest.name, results.host.name
    gain = vertical_words.gain_of(results)
    assert gain is not None
    seconds = sum(
        (stage.guest_cpu_seconds or 0) + (stage.host_cpu_seconds or 0) for stage in results.stages
    )
    sent = [sum(filter(None, each)) for each in zip(
        *((stage.guest_bytes, stage.host_bytes) for stage in results.stages), strict=True
    )]  # fmt: skip
    [often] = [row for row in rows_of("pairs") if row["pair"] == "bank and shop"]
    mean, low, high = (
        vertical_words.signed(often[end]) for end in ("gain", "gain_low", "gain_high")
    )
    rows = [
        (f"{one.name} by {guest}’s columns alone / together / pooled",
         " / ".join(map(words.decimal, (one.alone, one.together, one.pooled))))
        for one in results.measures
    ]  # fmt: skip
    rows += [
        (
            f"{results.measures[0].name} gained over {guest} alone",
            f"{vertical_words.signed(gain.value)}, {vertical_words.interval_of(gain)}",
        ),
        (f"the same, mean of {often['runs']} runs", f"{mean}, 95 % interval {low} to {high}"),
        ("processor time of both together", words.duration(seconds)),
        (f"sent by {guest} / by {host}", " / ".join(map(words.size, sent))),
    ]
    return markdown(Table((f"{results.common_rows:,} common customers", ""), rows))


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path, help="of privfed vertical's output")
    results = LinearResults.load(parser.parse_args().directory / "results.json")
    KEPT.mkdir(exist_ok=True)
    results.write(KEPT)
    (KEPT / "results.json").chmod(0o644)  # of made-up people: everybody may read it
    for name, svg in pictures(results).items():
        (KEPT / name).write_text(svg, encoding="utf-8")
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), results), encoding="utf-8")


if __name__ == "__main__":
    main()
