"""A table of one's own: seen first, asked about, written down, learnt from, and told of."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.cli.command import Command


def orders(path: Path) -> Path:
    """Columns as people write them, one odd cell, and one that has to be asked about."""
    drawn = np.random.default_rng(2)
    n = 120
    income = drawn.lognormal(8, 0.5, n)
    amounts = [f"{x:,.2f} €".translate(str.maketrans(",.", ".,")) for x in income]
    table = pd.DataFrame(
        {
            "mail": [f"c{row}@shop.example" for row in range(n)],
            "income": ["unknown", *amounts[1:]],
            "since": [f"{day:02}.11.2024" for day in drawn.integers(1, 29, n)],
            "member": drawn.choice(["yes", "no"], n),
            "zip": drawn.choice(["10115", "20095", "80331"], n),
            "late": np.where(income > np.median(income), "yes", "no"),
        }
    )
    if path.suffix == ".parquet":
        table.to_parquet(path)
    else:
        table.to_csv(path, index=False)
    return path


def decided(path: Path) -> Path:
    """Choose that the ZIP codes are categories."""
    text = path.read_text("utf-8")
    head, options = text.split("# To choose, take the # away from the lines of one:\n")
    _, codes = options.split("# or\n")
    chosen, rest = codes.split("\n\n", 1)
    lines = "\n".join(line.removeprefix("#") for line in chosen.splitlines())
    path.write_text(f"{head}{lines}\n\n{rest}", "utf-8")
    return path


@pytest.mark.filterwarnings("always::privfed.errors.TableWarning")
@pytest.mark.parametrize("name", ["orders.csv", "orders.parquet"])
def test_a_table_is_seen_asked_about_and_learnt_from(
    privfed: Command, tmp_path: Path, name: str
) -> None:
    table, schema, out = orders(tmp_path / name), tmp_path / "schema.toml", tmp_path / "out"
    short = ["--arms", "guest,federated", "--rounds", "2", "--seeds", "1", "--out", out]

    seen = privfed("inspect", table, "--label", "late")
    assert seen.status == 0
    for words in ("income", "number", "yes-no", "date", "left out", "asked"):
        assert words in seen.out
    assert "1 odd cell taken as missing, of 120: 'unknown' (line " in seen.out
    assert "column 'zip': its whole numbers may be codes, by its name: say which" in seen.out
    assert "--write schema.toml" in seen.out

    refused = privfed("benchmark", "--data", table, "--label", "late", *short)
    assert refused.status == 2
    assert "column 'zip'" in refused.err
    assert "`privfed inspect` makes with --write and --schema names" in refused.err

    assert privfed("inspect", table, "--label", "late", "--write", schema).status == 0
    again = privfed("inspect", table, "--label", "late", "--write", schema)
    assert again.status == 2
    undecided = privfed("audit", "--data", table, "--schema", schema, "--out", out)
    assert (undecided.status, undecided.err.count("\n")) == (2, 1)
    assert "schema.toml" in undecided.err
    undecided = privfed("benchmark", "--data", table, "--schema", schema, *short)
    assert undecided.status == 2
    assert "[columns.zip] is a feature and has no kind" in undecided.err

    decided(schema)
    assert "asked" not in privfed("inspect", table, "--schema", schema).out
    done = privfed("benchmark", "--data", table, "--schema", schema, *short)
    assert done.status == 0
    assert "What was understood" in done.out
    assert done.err.count("warning: column 'income': 1 odd cell taken as missing") == 1

    results = json.loads((out / "results.json").read_text("utf-8"))
    data = results["provenance"]["data"]
    columns = {each["name"]: each for each in data["columns"]}
    assert (columns["income"]["kind"], columns["income"]["odd"]) == ("number", 1)
    assert columns["zip"]["kind"] == "categories"
    assert data["encoding"] == "onehot"
    page = (out / "report.html").read_text("utf-8")
    assert page.index("What was understood") < page.index("What the numbers say")
    for text in (page, json.dumps(results)):
        assert str(tmp_path) not in text
        assert "unknown'" not in text  # of a user's cells only how many
        assert "shop.example" not in text


def test_a_plan_is_made_of_a_schema_file_alone(privfed: Command, tmp_path: Path) -> None:
    from privfed.partner.plan import Plan
    from privfed.secagg import Keyring

    table, schema = orders(tmp_path / "orders.csv"), tmp_path / "schema.toml"
    privfed("inspect", table, "--label", "late", "--write", schema)
    decided(schema)
    for name in ("one", "two"):
        Keyring.create(tmp_path / name, unlocked=True)
        privfed("keys", "identity", tmp_path / name, "--unlocked")
    parties = [f"{name}={tmp_path / name / 'tls.crt'}" for name in ("one", "two")]
    done = privfed(
        *("train", "init", "--plan", tmp_path / "plan.toml", "--schema", schema),
        *("--party", parties[0], "--party", parties[1], "--address", "one.example:7790"),
        *("--rows", "200", "--loss", "softmax"),
    )
    assert (done.status, done.err) == (0, "")
    plan = Plan.load(tmp_path / "plan.toml")
    encoder = plan.encoder_of_rows()
    assert plan.labels == ("no", "yes")
    assert encoder.encoding == "onehot"
    assert "income" in encoder.feature_names
    assert encoder.schema.ignored == ("mail",)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["absent.csv"], "does not exist"),
        (["orders.csv", "--label", "early"], "no column 'early': give --label one of"),
        (["orders.csv", "--schema", "absent.toml"], "cannot be read"),
        (["orders.csv", "--encoding", "binary"], "none of codes, onehot"),
    ],
)
def test_what_cannot_be_inspected_is_one_line(
    privfed: Command, tmp_path: Path, arguments: list[str], says: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    orders(tmp_path / "orders.csv")
    done = privfed("inspect", *arguments)
    assert (done.status, done.out, done.err.count("\n")) == (2, "", 1)
    assert says in done.err
