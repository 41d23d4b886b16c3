"""The report says who the parties are: the table's own, of sizes, unequal by a law."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec import structs

from privfed.errors import ConfigError
from privfed.experiment.results import HeldRows, PartiesRecord, Results
from privfed.report import render_html
from privfed.report.load import results_from
from privfed.report.parties import parties_in_words, parties_table
from tests.report.samples import sample

NAMES = ("north", "south")


def record(split: str = "disjoint", classes: int = 2, **asked: Any) -> PartiesRecord:
    held = [
        HeldRows(split, seed, name, 80 + seed, 20, (60 + 10 * number, 40, *[1] * (classes - 2)))
        for seed in (0, 1)
        for number, name in enumerate(NAMES)
    ]
    names = ("no", "yes", *(f"class {n}" for n in range(2, classes)))
    nothing: dict[str, Any] = {"sizes": None, "skew": None, "concentration": None}
    return PartiesRecord(names=NAMES, class_names=names, held=held, **nothing | asked)


def results(parties: PartiesRecord | None, split: str = "disjoint") -> Results:
    found = sample(seeds=2, rounds=2, splits=("disjoint",), arms=("federated",), epsilons=())
    runs = [structs.replace(run, split=split) for run in found.runs]
    summaries = [structs.replace(each, split=split) for each in found.summaries]
    return structs.replace(found, runs=runs, summaries=summaries, overlaps=[], parties=parties)


def test_parties_of_the_table_are_called_as_given() -> None:
    found = results(record("as-given"), "as-given")
    said = parties_in_words(found)
    assert said is not None
    assert said.startswith("As given: the 2\u00a0parties and their rows are the table’s own")
    page = render_html(found)
    assert said in page
    assert "disjoint" not in page.split("Provenance")[0]


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"sizes": (100.0, 1200.0)}, "to 2\u00a0parties of 100 and 1,200 rows, an ID to one"),
        ({"sizes": (0.5, 0.25)}, "of 50.0\u00a0% and 25.0\u00a0% of the rows, an ID"),
        ({"skew": "labels", "concentration": 0.5}, "own shares of the classes, drawn from a Dir"),
        ({"skew": "quantities", "concentration": 2.0}, "own number of rows, drawn from"),
        ({"skew": "labels", "concentration": 0.5}, "of concentration 0.5: the smaller"),
    ],
)
def test_what_was_asked_of_dealt_parties_is_said(asked: dict[str, Any], says: str) -> None:
    found = results(record(**asked))
    said = parties_in_words(found)
    assert said is not None
    assert says in said
    assert said in render_html(found)


@pytest.mark.parametrize("parties", [None, record()])
def test_a_split_of_the_papers_says_it_by_itself(parties: PartiesRecord | None) -> None:
    assert parties_in_words(results(parties)) is None
    assert "What the parties hold" not in render_html(results(parties))


def test_the_table_has_what_each_party_holds() -> None:
    table = parties_table(record())
    assert table.head == (
        *("Party", "Rows to train on", "Rows to test on", "no", "yes", "Commonest class"),
    )
    assert table.rows == (
        ("north", "80 to 81", "20", "60.0\u00a0%", "40.0\u00a0%", "no"),
        ("south", "80 to 81", "20", "63.6\u00a0%", "36.4\u00a0%", "no"),
    )
    many = parties_table(record(classes=9))
    assert len(many.head) == 4


def test_they_come_back_as_written_and_older_files_have_none() -> None:
    found = results(record("as-given", sizes=(0.5, 0.5)), "as-given")
    document = json.loads(found.to_json())
    assert results_from(document) == found
    del document["parties"]
    assert results_from(document).parties is None


@pytest.mark.parametrize(
    "change",
    [
        {"names": ["north"]},
        {"class_names": ["no"]},
        {"skew": "rows"},
        {"sizes": []},
        {"sizes": ["many"]},
        {"concentration": "large"},
        {"held": None},
        {"extra": 1},
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, Any]) -> None:
    document = json.loads(results(record()).to_json())
    document["parties"] |= change
    with pytest.raises(ConfigError, match=r"results\.parties"):
        results_from(document)
