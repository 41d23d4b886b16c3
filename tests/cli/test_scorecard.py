"""`privfed vertical scorecard`: two companies over a connection, and what is refused."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from privfed.cli.vertical import app
from privfed.errors import BudgetExceededError, ConfigError
from privfed.vertical.scorecards.results import Scorecard
from psi.network import create_identity

pytest.importorskip("grpc")
PRIVFED = (sys.executable, "-m", "privfed", "vertical", "scorecard")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bank's and a shop's table, in other orders, and an identity for each."""
    place = tmp_path_factory.mktemp("companies")
    rng = np.random.default_rng(0)
    z = rng.normal(size=2000)
    late = (rng.random(2000) < 1 / (1 + np.exp(1 - 2 * z))).astype(int)
    bank = pd.DataFrame({"id": [f"c{n}" for n in range(2000)], "late": late})
    shop = pd.DataFrame({"id": bank["id"], "returns": z.round(3), "noise": rng.random(2000)})
    bank.to_csv(place / "bank.csv", index=False)
    shop.sample(frac=1, random_state=1).to_csv(place / "shop.csv", index=False)
    for name in ("bank", "shop"):
        create_identity(place / name, unlocked=True)
    return place


def commands(place: Path, out: Path, address: str, *choice: str) -> tuple[list[str], list[str]]:
    """The guest's and the host's."""
    found = []
    for role, own, other, way in (
        ("guest", "bank", "shop", "--connect"), ("host", "shop", "bank", "--listen"),
    ):  # fmt: skip
        line = ["--identity", place / own, "--peer", place / f"{other}.crt", way, address]
        label = ["--label", "late"] if role == "guest" else []
        words = [role, place / f"{own}.csv", "--id", "id", "--out", out / own, *label, *line]
        found.append([*map(str, words), *choice])
    return found[0], found[1]


@pytest.mark.slow
def test_two_companies_make_a_scorecard_and_a_second_one_is_refused(
    place: Path, tmp_path: Path
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    guest, host = commands(place, tmp_path, address)
    answering = subprocess.Popen([*PRIVFED, *host], stdout=subprocess.PIPE, text=True)
    try:
        asking = subprocess.run([*PRIVFED, *guest], capture_output=True, text=True)
        assert asking.returncode == 0, asking.stderr
        said, _ = answering.communicate()
        assert answering.returncode == 0
    finally:
        if answering.returncode is None:
            answering.kill()
            answering.communicate()
    # The other column says nothing, which five runs of a hundred do not see.
    assert "of 2\N{NO-BREAK SPACE}columns say more" in said
    assert "returns (IV" in said
    assert "cost ε = 1 in all, δ = 1e-06 (zero-out of one unit: one row's label;" in asking.stdout
    card = Scorecard.load(tmp_path / "shop" / "scorecard.json")
    assert [column.name for column in card.columns] == ["returns", "noise"]
    assert card.common_rows == 2000
    woe = [each.woe for each in card.columns[0].bins if each.woe is not None]
    assert woe[0] < -1 < 1 < woe[-2]
    page = tmp_path / "shop" / "scorecard.html"
    assert page.stat().st_mode & 0o777 == 0o600
    assert "δ = 1e-06" in page.read_text()
    assert not (tmp_path / "bank").exists()  # the label holder gets nothing
    # A second one costs more than was said, and nobody is waited for.
    with pytest.raises(BudgetExceededError, match="1 earlier scorecard of this table"):
        CliRunner().invoke(app, ["scorecard", *guest], catch_exceptions=False)
    with pytest.raises(ConfigError, match="holds a scorecard already"):
        CliRunner().invoke(app, ["scorecard", *host], catch_exceptions=False)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--names"], "--names goes with --receiver guest"),
        (["--column", "price"], "no column 'price' to count"),
    ],
)
def test_what_does_not_go_together_is_refused(
    place: Path, tmp_path: Path, given: list[str], said: str
) -> None:
    _, host = commands(place, tmp_path, "127.0.0.1:1", *given)
    with pytest.raises(ConfigError, match=said):
        CliRunner().invoke(app, ["scorecard", *host], catch_exceptions=False)


@pytest.mark.slow
def test_both_companies_are_played_and_the_guest_gets_names(place: Path, tmp_path: Path) -> None:
    out = tmp_path / "card"
    tables = ["--guest", place / "bank.csv", "--host", place / "shop.csv", "--id", "id"]
    chosen = ["--label", "late", "--receiver", "guest", "--names", "--column", "returns"]
    ran = subprocess.run(
        [*PRIVFED, *map(str, tables), *chosen, "--out", str(out)], capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    card = Scorecard.load(out / "scorecard.json")
    assert (card.role, card.company) == ("guest", "guest")
    assert [column.name for column in card.columns] == ["returns"]
    assert card.columns[0].bins[0].text.startswith("up to ")
    assert (place / "shop.csv.spent.json").exists()  # whose rows the noise protects
    assert "host: scorecards of this table cost ε = 1 in all" in ran.stdout


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "--out DIR"),
        (["--guest", "bank.csv", "--pair", "dresses", "--out", "o"], "give one of both"),
        (["--guest", "bank.csv", "--out", "o"], "give both tables"),
    ],
)
def test_tables_and_a_folder_are_named(given: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        CliRunner().invoke(app, ["scorecard", *given], catch_exceptions=False)


def test_a_pair_whose_labels_are_no_classes_has_no_scorecard(tmp_path: Path) -> None:
    pytest.importorskip("statsmodels")
    given = ["scorecard", "--pair", "randhie", "--out", str(tmp_path / "out")]
    with pytest.raises(ConfigError, match="no two classes"):
        CliRunner().invoke(app, given, catch_exceptions=False)
