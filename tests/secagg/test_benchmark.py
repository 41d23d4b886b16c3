"""The benchmark's own claims: every field is there, and what says exact is exact."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import aggregation, aggregation_memory, scale, scale_groups
from benchmarks.aggregation_figures import MODES
from benchmarks.aggregation_peers import OnePrimeBFV, TenSEALBFV
from benchmarks.aggregation_rounds import PHASES, ROLES, Clock, quiet

FIELDS = {
    "scheme", "download_mode", "masks", "params", "clients", "bits", "upload_bytes",
    "download_bytes", "prepare_seconds", "encrypt_seconds", "aggregate_seconds",
    "decrypt_prepare_seconds", "decrypt_seconds", "exact", "max_error",
    "client_cpu_seconds", "server_cpu_seconds", "holder_cpu_seconds", "wall_seconds",
    "openers", "opener_cpu_seconds", "opener_upload_bytes", "opener_download_bytes",
}  # fmt: skip


def test_every_scheme_runs_and_is_compared_with_numpy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ["--params", "500", "--clients", "3", "--repeats", "1"]
    monkeypatch.setattr(sys, "argv", ["aggregation", *asked, "--json", str(tmp_path / "rows")])
    aggregation.main()
    rows = json.loads((tmp_path / "rows").read_text())["rows"]
    schemes = {row["scheme"] for row in rows}
    assert schemes >= {"packed", "slots", "ckks", "nvflare", "bfv", "plaintext", "floor"}
    modes = {(row["download_mode"], row["masks"]) for row in rows if row["scheme"] == "packed"}
    assert modes == {(mode, on) for mode in ("seeds", "summed", "opener") for on in (True, False)}
    for row in rows:
        assert row.keys() >= FIELDS
        if row["scheme"] in ("packed", "slots", "reference", "bfv", "bfv-one-prime"):
            assert row["exact"]
        if row["scheme"] in ("nvflare", "tenseal-ckks", "plaintext"):
            assert not row["exact"]
            assert row["max_error"] < 1e-6
        if row["scheme"] != "floor":
            assert min(row[f"{role}_cpu_seconds"] for role in ("client", "server", "holder")) > 0
        opened = [row[name] for name in row if name.startswith("opener_")]
        assert all(opened) if row["download_mode"] == "opener" else set(opened) == {None}


def test_a_role_has_the_processor_time_of_its_whole_work() -> None:
    """Ahead and online together, and none of another role's; waiting is not work."""
    clock = Clock()
    for place, phase in enumerate((*PHASES, *ROLES["opener"])):
        clock.spent[phase] = np.array([10.0**place, 2.0**place])
    figures = clock.figures()
    assert figures["client_cpu_seconds"] == 1 + 2
    assert figures["server_cpu_seconds"] == 4
    assert figures["holder_cpu_seconds"] == 8 + 16
    assert figures["opener_cpu_seconds"] == 32 + 64
    assert figures["wall_seconds"] == 1_010_110  # what is done ahead is not waited for


@pytest.mark.parametrize(
    ("peer", "clients", "values_a_slot"),
    [(TenSEALBFV, 10, 2), (TenSEALBFV, 1000, 2), (OnePrimeBFV, 10, 2), (OnePrimeBFV, 1000, 1)],
)
def test_the_bfv_baseline_is_exact_at_the_ends_of_the_range(
    peer: type[TenSEALBFV], clients: int, values_a_slot: int
) -> None:
    ends = np.array([0.05, -0.05, 0.05, 0.05, -0.05] * 401)
    with quiet():
        made = peer(0.05, 16, clients)
        uploads = [made.encrypt({"w": ends}, 1024) for _ in range(10)] * (clients // 10)
        mean = made.decrypt(made.aggregate(uploads, [1024] * clients))
    assert made.values_a_slot == values_a_slot
    assert np.array_equal(mean["w"].astype(np.float32), ends.astype(np.float32))


def test_a_baseline_that_cannot_hold_the_sums_is_left_out() -> None:
    with pytest.raises(ValueError, match="bfv-one-prime: sums of 1000 updates of 32 bits"):
        OnePrimeBFV(0.05, 32, 1000)


def test_growth_is_measured_in_values_and_in_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scale, "FIXED_SIZE", 400)
    rows = scale.sweep([600], [3], repeats=1)
    assert {(row.params, row.clients) for row in rows} == {(600, 10), (400, 3)}
    assert {row.download_mode for row in rows if row.scheme == "packed"} == set(MODES)
    assert all(row.exact and row.masks == (row.scheme == "packed") for row in rows)


def test_a_round_keeps_the_groups_that_are_whole() -> None:
    nobody, everybody = scale_groups.measure(3, [0.0, 1.0], clients=6, rounds=1)
    assert (nobody.kept, everybody.kept) == (1, 0)


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
