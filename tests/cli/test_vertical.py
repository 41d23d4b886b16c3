"""`privfed vertical` by commands: both companies at once, and two over a connection."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from privfed.data import inspect_table, schema_text
from privfed.vertical.linear.halves import LinearHalf
from privfed.vertical.linear.results import LinearResults
from tests.cli.companies import Arguments, killed, lines_of, run, together, training

pytest.importorskip("grpc")


def coefficients(out: Path) -> tuple[float, ...]:
    found = []
    for name, side in (("bank", "guest"), ("shop", "host")):
        results = LinearResults.load(out / name / "results.json")
        found += getattr(results, side).coefficients
    return tuple(found)


@pytest.mark.slow
def test_both_companies_are_played_and_the_gain_is_told(tmp_path: Path) -> None:
    said = run("--out", tmp_path / "out")
    assert "Collaborating gains" in said
    results = LinearResults.load(tmp_path / "out" / "results.json")
    first = results.measures[0]
    assert first.alone is not None
    assert first.together is not None
    assert first.pooled is not None
    assert first.together > first.alone + 0.04
    assert abs(first.together - first.pooled) < 0.01
    assert (tmp_path / "out" / "report.html").stat().st_mode & 0o777 == 0o600
    guest = LinearHalf.load(tmp_path / "out" / "bank" / "half.json")
    host = LinearHalf.load(tmp_path / "out" / "shop" / "half.json")
    assert guest.model == host.model
    counted = json.loads((tmp_path / "out" / "shop" / "answered.json").read_text())
    assert counted["rows"] == results.test_rows
    assert "holds results already" in run("--out", tmp_path / "out", fails=True)


@pytest.mark.slow
def test_a_shop_whose_columns_are_worth_nothing_gains_nothing(tmp_path: Path) -> None:
    """The command's own verdict; tests/vertical/test_gain.py has the count over many tables.

    Which rows are held out is drawn anew each time: of 200 splits of these tables, pooled in the
    clear, 1 has an interval above 0. The command runs again only where it alarmed, and both alarm
    in about one of 40,000.
    """
    runs = (run("--worth", "0", "--out", tmp_path / name) for name in ("one", "two"))
    assert any("Collaborating gains" not in said for said in runs)
    results = LinearResults.load(tmp_path / "one" / "results.json")
    # What is true of the pooled model is true of this one. Both are fits of noise, and rows near
    # the middle go either way: of 700, by 6 in a standard deviation, so that 35 are six of them.
    within = {"AUC": 0.02, "accuracy": 0.05}
    for measured in results.measures:
        assert measured.together == pytest.approx(measured.pooled, abs=within[measured.name])


@pytest.mark.slow
@pytest.mark.parametrize("opened", ["score", "class"])
def test_two_companies_train_and_predict_over_a_connection(
    place: Path, tmp_path: Path, opened: str
) -> None:
    choice = ["--opened", opened, "--iterations", "6"]
    if opened == "class":
        choice += ["--coefficients", "shared"]
    together(*training(place, tmp_path, *choice))
    lines = lines_of(place)
    guest = LinearResults.load(tmp_path / "bank" / "results.json")
    host = LinearResults.load(tmp_path / "shop" / "results.json")
    assert guest.plan == host.plan
    assert guest.common_rows == host.common_rows == 320
    assert guest.measures
    assert not host.measures
    assert guest.measures[0].pooled is None
    assert host.guest.coefficients is None
    assert guest.host.coefficients is None
    assert "label" not in json.loads((tmp_path / "shop" / "results.json").read_text())["classes"]
    together(
        ["predict", "guest", place / "bank.csv", "--model", tmp_path / "bank" / "half.json",
         *lines["bank"], "--out", tmp_path / "scores.csv"],
        ["predict", "host", place / "shop.csv", "--model", tmp_path / "shop" / "half.json",
         *lines["shop"]],
    )  # fmt: skip
    scored = pd.read_csv(tmp_path / "scores.csv").merge(pd.read_csv(place / "bank.csv"), on="id")
    assert len(scored) == 320
    found = scored[opened] > 0
    assert (found == scored["late"]).mean() > 0.75
    counted = json.loads((tmp_path / "shop" / "answered.json").read_text())
    assert counted["rows"] == host.test_rows + 320


@pytest.mark.slow
def test_a_training_that_was_killed_goes_on(place: Path, tmp_path: Path) -> None:
    """One process is killed, the other is told how to go on, and both end as others do.

    No row is held out, so that an uninterrupted training has the same rows.
    """
    choice = ["--iterations", "6", "--test", "0"]
    commands = training(place, tmp_path / "broken", *choice)
    said = killed("iteration 3", commands)
    assert "both companies go on by the same commands and --resume" in said[0]
    for name in ("bank", "shop"):
        left = tmp_path / "broken" / name / "unfinished.json"
        assert left.stat().st_mode & 0o777 == 0o600
        assert not (left.parent / "results.json").exists()
    assert "go on with --resume" in run(*commands[0], fails=True)
    assert "iterations=6, not 20" in run(*commands[0], "--resume", "--iterations", "20", fails=True)
    together(*([*command, "--resume"] for command in commands))
    together(*training(place, tmp_path / "whole", *choice))
    assert coefficients(tmp_path / "broken") == pytest.approx(
        coefficients(tmp_path / "whole"), abs=4e-3
    )
    for name in ("bank", "shop"):
        files, wanted = (
            sorted(each.name for each in (tmp_path / out / name).iterdir())
            for out in ("broken", "whole")
        )
        assert files == wanted
        assert "unfinished.json" not in files
    assert "so does the other company's folder" in run(*commands[1], "--resume", fails=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("guest", "host", "label", "words"),
    [
        ("bank.csv", "others.csv", "late", "0 rows are common"),
        ("bank.csv", "constant.csv", "late", "one value in all"),
        ("bank.csv", "shop.csv", "id", "'id' is in both tables"),
        ("no_label.csv", "shop.csv", "late", "no column 'late'"),
        ("bank.csv", "both_labels.csv", "late", "'late' is in both tables"),
        ("bank.csv", "shop.csv", "income", "400 different values"),
    ],
)
def test_tables_that_cannot_train_are_told_in_one_line(
    place: Path, tmp_path: Path, guest: str, host: str, label: str, words: str
) -> None:
    said = run(
        "--guest", place / guest, "--host", place / host, "--id", "id", "--label", label, "--out",
        tmp_path / "out", fails=True,
    )  # fmt: skip
    assert words in said.splitlines()[-1]
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_each_company_may_say_what_its_columns_are(place: Path, tmp_path: Path) -> None:
    schema = tmp_path / "shop.toml"
    read = inspect_table(place / "shop.csv", id_column="id")
    text = schema_text(read.columns, "shop.csv")
    at = text.index("[columns.kind]")
    schema.write_text(text[:at] + '[columns.kind]\nrole = "ignore"\n')
    both: Arguments = ["--guest", place / "bank.csv", "--host", place / "shop.csv", "--id", "id"]
    both += ["--label", "late", "--iterations", "3", "--out", tmp_path / "out"]
    said = run(*both, "--guest-schema", schema, fails=True)
    assert "shop.toml does not describe column 'income' of bank.csv" in said
    assert not (tmp_path / "out").exists()
    run(*both, "--host-schema", schema)
    results = LinearResults.load(tmp_path / "out" / "results.json")
    assert results.host.names == ("returns",)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "--out DIR"),
        (["--out", "o", "--guest", "a.csv"], "both tables"),
        (["--out", "o", "--id", "x"], "belong to"),
        (["--out", "o", "--pair", "none"], "unknown pair"),
        (["--out", "o", "--pair", "dresses", "--worth", "0"], "--worth belongs to"),
        (["--out", "o", "--days", "5"], "belong to --pair dresses"),
        (["--out", "o", "--guest", "a.csv", "--host", "b.csv", "--worth", "0"], "or a pair"),
        (["--out", "o", "--opened", "class", "--family", "linear"], "only a logistic model"),
        (["--out", "o", "--pair", "breast-cancer", "--family", "poisson"], "--family logistic"),
        (["guest", "a.csv", "--out", "o", "--identity", "i", "--peer", "p"], "--id COLUMN"),
        (["--out", "o", "--resume"], "No such option"),
        (["--out", "/dev/null/o"], "--out /dev/null/o cannot be written"),
        (
            [
                "guest",
                "a.csv",
                "--out",
                "/dev/null/o/p",
                "--identity",
                "i",
                "--peer",
                "p",
                "--id",
                "x",
            ],
            "--out /dev/null/o/p cannot be written",
        ),
    ],
)
def test_options_that_do_not_go_together(
    arguments: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert words in run(*arguments, fails=True)
    assert not list(tmp_path.iterdir())
