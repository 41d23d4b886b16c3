"""Results say where they come from and name no person, host, folder or other program."""

from __future__ import annotations

import socket
import sys
import warnings
from pathlib import Path

import pandas as pd
import pytest

from privfed.data import load_dataset
from privfed.errors import PrivacyWarning
from privfed.experiment import Settings, provenance, run_benchmark
from privfed.report import write_report
from tests.experiment.mini import PlainAligner


def test_a_program_that_embeds_it_is_not_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "--token=of-another-program"  # noqa: S105 - what must not be found again
    monkeypatch.setattr(sys, "argv", ["/srv/erp/nightly.py", secret, str(tmp_path)])
    table = pd.DataFrame({"x": [7 * n % 30 for n in range(80)], "late": ["no", "yes"] * 40})
    table.to_csv(tmp_path / "own.csv", index=False)
    dataset = load_dataset("table", tmp_path / "own.csv", label="late")
    settings = Settings(splits=("disjoint",), arms=("guest", "federated"), rounds=1, seeds=1)
    out = tmp_path / "out"
    results = run_benchmark(
        settings, dataset, align=PlainAligner(), directory=out,
        provenance=provenance(settings, dataset),
    )  # fmt: skip
    write_report(results, out)
    assert results.provenance["command"] is None
    assert results.provenance["data"]["source"] == "own table, own.csv"
    left = [path for path in out.rglob("*") if path.is_file()]
    assert {path.suffix for path in left} == {".json", ".html", ".npz", ".run"}
    for path in left:
        content = path.read_bytes()
        host = socket.gethostname()
        for word in (secret, "nightly", "/srv", str(tmp_path), host):
            if word == host and len(host) < 4 and path.suffix == ".npz":
                continue  # so few letters are in weights by chance
            assert word.encode() not in content, (path.name, word)


def test_that_an_own_tables_schema_counts_as_public_is_said_where_privacy_is(
    tmp_path: Path,
) -> None:
    """Once on the screen, and among the terms of every ε; not of data whose schema was there."""
    table = pd.DataFrame({"x": [7 * n % 30 for n in range(80)], "late": ["no", "yes"] * 40})
    table.to_csv(tmp_path / "own.csv", index=False)
    said = "columns, categories and ranges, which are read from the table where no schema file says"
    for dataset in (
        load_dataset("table", tmp_path / "own.csv", label="late"),
        load_dataset("breast-cancer"),
    ):
        settings = Settings(
            splits=("disjoint",), arms=("federated", "federated-he-dp"), rounds=1,
            private_rounds=1, seeds=1, epsilons=(8.0,),
        )  # fmt: skip
        out = tmp_path / dataset.name
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always", PrivacyWarning)
            results = run_benchmark(
                settings, dataset, align=PlainAligner(), directory=out,
                provenance=provenance(settings, dataset),
            )  # fmt: skip
        page = write_report(results, out).read_text(encoding="utf-8")
        own = dataset.kind == "table"
        assert [str(each.message).startswith(said) for each in warned] == [True] * own
        assert page.count(said) == own
