"""Who the parties are: by a column, by a file each, dealt by sizes and skews; what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from privfed.report import load_results
from tests.cli.command import Command
from tests.cli.test_bad_input import one_line

RUN = ["--rounds", "2", "--seeds", "2", "--arms", "federated"]


@pytest.fixture
def orders(tmp_path: Path) -> Path:
    """A table of three shops, and a file for each shop beside it."""
    drawn = np.random.default_rng(3)
    table = pd.DataFrame(
        {
            "customer": [f"c{i}" for i in drawn.integers(0, 150, 200)],
            "amount": drawn.normal(size=200).round(3),
            "shop": drawn.choice(["north", "south", "web/EU"], 200),
            "late": drawn.choice(["no", "yes"], 200),
        }
    )
    table.to_csv(tmp_path / "orders.csv", index=False)
    for shop in ("north", "south"):
        own = table[table["shop"] == shop].drop(columns="shop")
        own.to_csv(tmp_path / f"{shop}.csv", index=False)
    return tmp_path


def test_a_column_says_who_the_parties_are(privfed: Command, orders: Path) -> None:
    out = orders / "out"
    done = privfed(
        "benchmark", "--data", orders / "orders.csv", "--label", "late", "--id", "customer",
        "--party", "shop", "--rounds", 2, "--seeds", 2, "--arms", "web/EU,federated", "--out", out,
    )  # fmt: skip
    assert (done.status, done.err) == (0, "")
    assert "As given: the 3\u00a0parties and their rows are the table’s own" in done.out
    assert "disjoint" not in done.out
    results = load_results(out)
    assert results.parties is not None
    assert set(results.parties.names) == {"north", "south", "web/EU"}
    assert {run.split for run in results.runs} == {"as-given"}
    assert {run.arm for run in results.runs} == {"web/EU", "federated"}
    assert all((out / str(run.model)).parent == out / "models" for run in results.runs)
    one, other = results.overlaps
    assert one.party_rows == other.party_rows
    assert (one.psi_bytes, one.psi_seconds) == (other.psi_bytes, other.psi_seconds)
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "the table’s own" in page
    assert "<td>web/EU</td>" in page or ">web/EU<" in page
    kept = {path: path.stat().st_mtime_ns for path in (out / "runs").iterdir()}
    assert len(kept) == 4


def test_a_party_with_a_comma_in_its_name_is_chosen_in_quotation_marks(
    privfed: Command, orders: Path
) -> None:
    table = pd.read_csv(orders / "orders.csv").replace({"shop": {"web/EU": "Smith, Co"}})
    table.to_csv(orders / "orders.csv", index=False)
    done = privfed(
        "benchmark", "--data", orders / "orders.csv", "--label", "late", "--party", "shop",
        "--dry-run", "--arms", '"Smith, Co", north', "--out", orders / "out",
    )  # fmt: skip
    assert (done.status, done.err) == (0, "")
    assert "Smith, Co alone" in done.out
    assert "north alone" in done.out
    assert "(party)" in done.out


def test_a_partys_name_is_text_and_nothing_else(privfed: Command, tmp_path: Path) -> None:
    """Neither markup of the terminal or of the page, nor a path, nor longer than a file's name."""
    names = ["[/b]", "<script>alert(1)</script>", "{{ 7 * 7 }}", "../..", "a,b", "\u6f22" * 60]
    table = pd.DataFrame(
        {
            "x": [i % 17 for i in range(240)],
            "shop": names * 40,
            "late": ["no", "yes"] * 60 + ["yes", "no"] * 60,
        }
    )
    table.to_csv(tmp_path / "own.csv", index=False)
    out = tmp_path / "folder" / "out"
    done = privfed(
        "benchmark", "--data", tmp_path / "own.csv", "--label", "late", "--party", "shop",
        "--rounds", 1, "--seeds", 1, "--epsilon", "", "--out", out,
    )  # fmt: skip
    assert (done.status, done.err) == (0, "")
    assert "[/b] alone" in done.out
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "{{ 7 * 7 }}" in page
    assert {path.parent for path in tmp_path.rglob("*.npz")} == {out / "models"}
    assert len(list((out / "models").iterdir())) == len(names) + 4


def test_a_party_cannot_be_called_like_an_arm(privfed: Command, tmp_path: Path) -> None:
    table = pd.DataFrame(
        {
            "x": [i % 17 for i in range(40)],
            "shop": ["overall", "b"] * 20,
            "late": ["no", "no", "yes", "yes"] * 10,
        }
    )
    table.to_csv(tmp_path / "own.csv", index=False)
    options = ["--label", "late", "--party", "shop", "--out", tmp_path / "out"]
    done = privfed("benchmark", "--data", tmp_path / "own.csv", *options)
    one_line(done, "a party is called 'overall', and so is an arm: rename the party")


def test_a_file_for_each_party(privfed: Command, orders: Path) -> None:
    out = orders / "out"
    done = privfed(
        "benchmark", "--data", orders / "south.csv", "--data", orders / "north.csv",
        "--label", "late", "--id", "customer", *RUN, "--out", out,
    )  # fmt: skip
    assert (done.status, done.err) == (0, "")
    results = load_results(out)
    assert results.parties is not None
    assert results.parties.names == ("south", "north")
    assert results.provenance["command"] == (
        "privfed benchmark --data south.csv --data north.csv --label late --id customer "
        "--rounds 2 --seeds 2 --arms federated --out out"
    )
    assert str(orders) not in (out / "report.html").read_text(encoding="utf-8")


def test_rows_are_dealt_by_sizes_and_skew(privfed: Command, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = privfed(
        "benchmark", "--dataset", "digits", "--sizes", "300,200,100", "--skew", "labels=2",
        *RUN, "--out", out,
    )  # fmt: skip
    assert (done.status, done.err) == (0, "")
    assert "3\u00a0parties of 300, 200 and 100 rows" in done.out
    assert "Dirichlet distribution of concentration 2" in " ".join(done.out.split())
    parties = load_results(out).parties
    assert parties is not None
    assert (parties.sizes, parties.skew, parties.concentration) == ((300, 200, 100), "labels", 2)
    assert [h.train_rows + h.test_rows for h in parties.held] == [300, 200, 100] * 2
    assert parties.held[0].classes != parties.held[3].classes


def test_another_dealing_keeps_no_run_of_before(privfed: Command, tmp_path: Path) -> None:
    for number, dealing in enumerate(
        (["--parties", "3"], ["--sizes", ".5,.3,.2"], ["--skew", "quantities=5", "--parties", "3"])
    ):
        done = privfed("benchmark", "--dataset", "digits", *dealing, *RUN, "--out", tmp_path)
        assert done.status == 0
        assert len(list((tmp_path / "runs").iterdir())) == 2 * (number + 1)


def test_a_party_that_cannot_train_is_named(privfed: Command, tmp_path: Path) -> None:
    table = pd.DataFrame(
        {
            "x": [i + 0.5 for i in range(60)],
            "shop": ["a", "b"] * 30,
            "late": ["no", "no", "yes", "no"] * 15,
        }
    )
    table.to_csv(tmp_path / "own.csv", index=False)
    done = privfed(
        "benchmark", "--data", tmp_path / "own.csv", "--label", "late", "--party", "shop",
        "--out", tmp_path / "out",
    )  # fmt: skip
    one_line(done, "'b' has training rows of one class only, 'no': bring more of its rows, merge")
    assert not (tmp_path / "out").exists()


OWN = ["--label", "late", "--party", "shop"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--data", "orders.csv", *OWN, "--parties", "3"], "--parties would deal the rows anew"),
        (["--data", "orders.csv", *OWN, "--sizes", "9,9"], "--sizes would deal the rows anew"),
        (["--data", "orders.csv", *OWN, "--skew", "labels=1"], "--skew would deal the rows anew"),
        (["--data", "orders.csv", *OWN, "--split", "disjoint"], "as-given"),
        (["--data", "orders.csv", *OWN, "--split", "as-given,disjoint"], "it is alone"),
        (["--data", "orders.csv", *OWN, "--arms", "guest"], "choose from"),
        (["--data", "orders.csv", "--label", "late", "--party", "late"], "cannot be --party"),
        (["--data", "orders.csv", "--label", "late", "--party", "town"], "give --party one of"),
        (
            ["--data", "north.csv", "--data", "orders.csv", "--label", "late"],
            "orders.csv has besides 'shop': its columns must be those of north.csv",
        ),
        (
            ["--data", "north.csv", "--data", "south.csv", *OWN],
            "leave --party out, or give one file",
        ),
        (["--data", "north.csv", "--data", "south.csv"], "name its label column with --label"),
        (["--dataset", "digits", "--party", "x"], "--party is of a table of your own"),
        (["--split", "as-given"], "as-given goes with a table that says"),
        (["--sizes", "100,many"], "--sizes takes numbers, as 100,200,50, not 'many'"),
        (["--sizes", "100,.5"], "not both"),
        (["--sizes", ".7,.7"], "add up to 1.4"),
        (["--sizes", "600,700"], "--sizes asks for 1300 rows and the table has 500"),
        (["--sizes", "100,100", "--parties", "3"], "--sizes gives 2 and --parties is 3"),
        (["--sizes", "100,100", "--split", "overlapping"], "--sizes and --skew are of the disj"),
        (["--sizes", "9,9", "--skew", "quantities=1"], "give one of the two"),
        (["--skew", "labels"], "--skew takes numbers, as labels=0.5 or quantities=1, not ''"),
        (["--skew", "sizes=1"], "unknown --skew 'sizes': use labels or quantities"),
        (["--skew", "labels=0"], "lies between 0.001 and 1e+06, not 0"),
    ],
)
def test_what_does_not_go_together(
    privfed: Command,
    orders: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    says: str,
) -> None:
    monkeypatch.chdir(orders)
    one_line(privfed("benchmark", *arguments, "--out", "out"), says)
    assert not (orders / "out").exists()
