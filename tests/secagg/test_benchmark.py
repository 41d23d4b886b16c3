"""The benchmark's own claims: every field is there, and what says exact is exact."""

import json
import sys
from pathlib import Path

import pytest

from benchmarks import aggregation, aggregation_memory

FIELDS = {
    "scheme", "download_mode", "masks", "params", "clients", "bits", "upload_bytes",
    "download_bytes", "prepare_seconds", "encrypt_seconds", "aggregate_seconds",
    "decrypt_prepare_seconds", "decrypt_seconds", "exact", "max_error",
}  # fmt: skip


def test_every_scheme_runs_and_is_compared_with_numpy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ["--params", "500", "--clients", "2", "--repeats", "1"]
    monkeypatch.setattr(sys, "argv", ["aggregation", *asked, "--json", str(tmp_path / "rows")])
    aggregation.main()
    rows = json.loads((tmp_path / "rows").read_text())["rows"]
    schemes = {row["scheme"] for row in rows}
    assert schemes >= {"packed", "slots", "ckks", "nvflare", "plaintext", "floor"}
    for row in rows:
        assert row.keys() >= FIELDS
        if row["scheme"] in ("packed", "slots", "reference", "tenseal-bfv"):
            assert row["exact"]
        if row["scheme"] in ("nvflare", "tenseal-ckks", "plaintext"):
            assert not row["exact"]
            assert row["max_error"] < 1e-6


def test_a_scheme_that_adds_wrongly_is_not_called_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    sent, weights = aggregation.updates(500, 2), [500, 537]
    integers = aggregation.quantised_mean(sent, weights, 16)
    truth = aggregation.true_mean(sent, weights)
    assert abs(integers["w"] - truth["w"]).max() < 2e-6
    monkeypatch.setattr(
        aggregation, "quantised_mean", lambda *_: {"w": integers["w"] + integers["w"].max()}
    )
    rows = aggregation.measure(500, 2, 16, 1, lambda name: name[0] == "packed", say=lambda _: None)
    assert not any(row.exact for row in rows)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("download", "masks", "clients"), [("seeds", False, 2), ("summed", True, 3)]
)
def test_memory_does_not_grow_with_the_update_but_at_the_server(
    download: str, masks: bool, clients: int
) -> None:
    """A part at a time at client and decryptor; the server keeps 8 bytes a coefficient."""
    rows = aggregation_memory.measure(8_000_000, clients, download, masks)
    client, server, decryptor = (row.peak_bytes_beyond_update for row in rows)
    assert client < 250 * 2**20
    assert decryptor < 250 * 2**20
    assert server < 250 * 2**20
