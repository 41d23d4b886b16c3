"""Averages in the clear and under encryption, and a server that has nothing but bytes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from privfed import secagg
from privfed.errors import CapacityError, ConfigError, ContextMismatchError
from privfed.he.seal.files import saved
from privfed.he.seal.zeros import cached_key
from privfed.keys import SecretKey
from privfed.secagg import simulation
from privfed.training import (
    Arrays,
    Averaged,
    FloatAveraging,
    SecureAveraging,
    get_arrays,
    paper_network,
    set_arrays,
    train_federated,
    weights_sha256,
)
from privfed.training.averaging import add, subtract

CLIP = 0.09
TEMPLATE = get_arrays(paper_network(12, 2))


def updates(parties: int, seed: int) -> list[Arrays]:
    """Random updates with both ends of the range, zeros and the smallest numbers among them."""
    drawn = np.random.default_rng(seed)
    special = np.array([CLIP, -CLIP, 0.0, -0.0, 1e-38, -1e-38, CLIP / 65534], np.float32)
    found = []
    for _ in range(parties):
        update = {
            name: drawn.uniform(-CLIP, CLIP, array.shape).astype(np.float32)
            for name, array in TEMPLATE.items()
        }
        for array in update.values():
            array.flat[: len(special)] = special[: array.size]
        found.append(update)
    return found


def secure(parties: int, scheme: str, **changes: Any) -> SecureAveraging:
    settings: dict[str, Any] = {
        "weights": [325, 365, 100, 1, 512][:parties],
        "max_weight": 512,
        "clip_range": CLIP,
        "scheme": scheme,
    }
    return SecureAveraging(TEMPLATE, parties, **(settings | changes))


def same(one: Arrays, other: Arrays) -> bool:
    return list(one) == list(other) and all(
        one[name].tobytes() == other[name].tobytes() for name in one
    )


def test_floats_are_averaged_by_weight() -> None:
    sent, weights = updates(3, 0), [325, 365, 10]
    found = FloatAveraging(weights).average(1, sent)
    for name, array in found.mean.items():
        wanted = sum(w * u[name].astype(np.float64) for w, u in zip(weights, sent, strict=True))
        assert array.dtype == np.float32
        assert np.allclose(array, wanted / 700, rtol=0, atol=1e-7 * CLIP * 10)
    assert found.upload_bytes == found.download_bytes == 3 * 4 * 5858


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("parties", [2, 5])
def test_encryption_changes_no_bit_in_many_rounds(parties: int, weighted: bool) -> None:
    how = {} if weighted else {"weights": None}
    clear, hidden = secure(parties, "reference", **how), secure(parties, "packed", **how)
    assert hidden.parameters.masks == (parties > 2)
    assert not clear.parameters.masks
    for round_id in range(1, 13):
        sent = updates(parties, round_id)
        one, other = clear.average(round_id, sent), hidden.average(round_id, sent)
        assert same(one.mean, other.mean)
        assert set(one.seconds) == set(other.seconds) == {"encrypt", "aggregate", "decrypt"}
    limit = 2**15 - 1  # and it is the mean: half a step of 16 bits for each party, plus rounding
    shares = np.array([325, 365, 100, 1, 512][:parties] if weighted else [1] * parties, float)
    coarsest = CLIP / limit / 2 * parties * (512 / shares.sum() if weighted else 1 / parties)
    for name, array in one.mean.items():
        wanted = sum(s * u[name].astype(float) for s, u in zip(shares, sent, strict=True))
        assert np.abs(array - wanted / shares.sum()).max() <= coarsest * 1.0001


@pytest.mark.parametrize("scheme", ["packed", "reference"])
def test_what_is_made_ahead_is_a_phase_and_changes_no_bit(scheme: str) -> None:
    ahead, late = secure(3, scheme), secure(3, scheme)
    for round_id in (1, 2):
        sent = updates(3, round_id)
        ahead.prepare(round_id)
        assert [each.prepared for each in ahead._simulation.encryptors] == [1, 1, 1]
        one, other = ahead.average(round_id, sent), late.average(round_id, sent)
        assert same(one.mean, other.mean)
        assert list(one.seconds) == ["prepare", "encrypt", "aggregate", "decrypt"]
        assert "prepare" not in other.seconds


@pytest.mark.parametrize("scheme", ["slots", "ckks"])
def test_other_schemes_give_the_mean_of_the_clear(scheme: str) -> None:
    if scheme == "ckks":
        with pytest.raises(ConfigError, match="adversary='honest-server'"):
            secure(2, scheme)
    sent, adversary = updates(2, 3), "honest-server" if scheme == "ckks" else None
    clear, trusting = secure(2, "reference"), secure(2, scheme, adversary=adversary)
    one, other = clear.average(1, sent), trusting.average(1, sent)
    step = CLIP / (2**15 - 1)
    for name, array in one.mean.items():
        assert np.abs(array - other.mean[name]).max() <= (0 if scheme == "slots" else 2 * step)


def test_bytes_are_counted_where_they_travel(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Sequence[bytes], secagg.Aggregator]] = []

    def recorded(
        params: secagg.Parameters, round_id: int, uploads: Sequence[bytes], cohort: None
    ) -> secagg.Aggregator:
        server = serve(params, round_id, uploads, cohort)
        calls.append((uploads, server))
        return server

    serve = simulation.serve
    monkeypatch.setattr(simulation, "serve", recorded)
    found = secure(3, "packed").average(1, updates(3, 0))
    [(uploads, server)] = calls
    total = server.total()
    assert len(uploads) == 3
    assert found.upload_bytes == sum(map(len, uploads))
    assert found.download_bytes == 3 * len(total)  # each party gets the total


def uploads_of(job: SecureAveraging, round_id: int) -> list[bytes]:
    parties, weights = job._simulation.encryptors, job._weights
    assert weights is not None
    sent = zip(parties, updates(len(parties), round_id), weights, strict=True)
    return [party.encrypt(each, weight=weight, round_id=round_id) for party, each, weight in sent]


def serve_bytes(public: bytes, round_id: int, uploads: Sequence[bytes]) -> bytes:
    """Be a server that was given these bytes and nothing else."""
    return simulation.serve(secagg.Parameters.from_bytes(public), round_id, uploads).total()


def secrets_of(hidden: SecureAveraging) -> list[bytes]:
    """Whatever opens a ciphertext or stands for a party, in pieces of 16 bytes."""
    key: SecretKey = hidden._simulation.key
    whole = [key.to_bytes()[-32:], key.derive(b"packed", 64), saved(cached_key(key))[-8 * 4096 :]]
    for encryptor in hidden._simulation.encryptors:
        identity = encryptor._identity
        whole += [identity._sign.private_bytes_raw(), identity._mask.private_bytes_raw()]
    pieces = [part[i : i + 16] for part in whole for i in range(0, len(part), 16)]
    assert len(pieces) > 2000
    assert len(set(pieces)) == len(pieces)
    return pieces


@pytest.mark.parametrize("parties", [2, 5])
def test_a_server_in_another_process_has_nothing_but_bytes(parties: int) -> None:
    """A spawned process inherits no memory, and what is sent to it is shown to hold no secret."""
    job = secure(parties, "packed")
    public, uploads = job.parameters.to_bytes(), uploads_of(job, 1)
    assert {type(public), *map(type, uploads)} == {bytes}
    with multiprocessing.get_context("spawn").Pool(1) as server:
        total = server.apply(serve_bytes, (public, 1, uploads))
    clear = secure(parties, "reference").average(1, updates(parties, 1))
    assert same(job._simulation.decryptor.decrypt(total, round_id=1).mean, clear.mean)
    everything = b"".join([public, *uploads, total])
    assert not [secret for secret in secrets_of(job) if secret in everything]


@pytest.mark.parametrize("scheme", ["packed", "reference"])
def test_the_server_refuses_another_rounds_uploads(scheme: str) -> None:
    job = secure(2, scheme)
    uploads = uploads_of(job, 1)
    with pytest.raises(ContextMismatchError):
        serve_bytes(job.parameters.to_bytes(), 2, uploads)
    assert serve_bytes(job.parameters.to_bytes(), 1, uploads)


@pytest.mark.parametrize("scheme", ["packed", "reference"])
def test_the_server_refuses_another_jobs_uploads(scheme: str) -> None:
    job, other = secure(2, scheme), secure(2, scheme)
    mixed = [uploads_of(job, 1)[0], uploads_of(other, 1)[1]]
    with pytest.raises(ContextMismatchError):
        serve_bytes(job.parameters.to_bytes(), 1, mixed)


def test_a_total_of_another_round_is_refused() -> None:
    job = secure(2, "packed")
    total = serve_bytes(job.parameters.to_bytes(), 1, uploads_of(job, 1))
    with pytest.raises(ContextMismatchError):
        job._simulation.decryptor.decrypt(total, round_id=2)


def test_an_update_past_the_range_is_refused_not_cut() -> None:
    sent = updates(2, 0)
    sent[1]["0.bias"][7] = 1.01 * CLIP
    with pytest.raises(CapacityError, match="clip_range"):
        secure(2, "packed").average(1, sent)


class Setting:
    """A party that moves every parameter by a fixed amount."""

    def __init__(self, by: float) -> None:
        self._by = by

    def train_epoch(self, model: nn.Module, seed: int) -> None:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(self._by)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_update_that_is_no_number_is_refused_by_party(bad: float) -> None:
    model = paper_network(12, 2)
    parties = [Setting(0.01), Setting(bad)]
    with pytest.raises(ConfigError, match="party 1's update"):
        train_federated(
            model, parties, FloatAveraging([1, 1]), rounds=1, seed=0, on_round=lambda *_: None
        )


@pytest.mark.parametrize("scheme", ["float", "packed"])
def test_every_party_starts_each_round_from_the_mean(scheme: str) -> None:
    """Parties that move by 0.01 and 0.04, weighted 3 to 1, move the model by 0.0175 a round."""
    model = paper_network(12, 2)
    set_arrays(model, {name: np.zeros_like(array) for name, array in TEMPLATE.items()})
    how = (
        FloatAveraging([3, 1])
        if scheme == "float"
        else secure(2, scheme, weights=[3, 1], max_weight=4)
    )
    digests: list[str] = []
    train_federated(
        model,
        [Setting(0.01), Setting(0.04)],
        how,
        rounds=4,
        seed=0,
        on_round=lambda number, net, seconds, cost: digests.append(weights_sha256(get_arrays(net))),
    )
    assert len(set(digests)) == 4
    for array in get_arrays(model).values():
        assert np.allclose(array, 4 * 0.0175, rtol=0, atol=4 * CLIP / 2**15)


class Ordered(FloatAveraging):
    """An average, and a party, that write down what was called."""

    def __init__(self) -> None:
        super().__init__([1])
        self.calls: list[str] = []

    def prepare(self, round_id: int) -> None:
        self.calls.append(f"prepare {round_id}")

    def train_epoch(self, model: nn.Module, seed: int) -> None:
        self.calls.append("train")

    def average(self, round_id: int, sent: Sequence[Arrays]) -> Averaged:
        self.calls.append(f"average {round_id}")
        return super().average(round_id, sent)


def test_training_makes_a_round_ready_before_parties_train() -> None:
    job = Ordered()
    train_federated(paper_network(12, 2), [job], job, rounds=2, seed=0, on_round=lambda *_: None)
    assert job.calls == ["prepare 1", "train", "average 1", "prepare 2", "train", "average 2"]


def test_an_update_is_what_changed() -> None:
    before, update = updates(2, 0)
    after = add(before, update)
    assert all(np.allclose(subtract(after, before)[n], update[n], atol=1e-7) for n in update)
    assert {array.dtype for array in after.values()} == {np.dtype(np.float32)}


def test_the_public_parameters_are_those_of_the_job() -> None:
    job = secure(2, "packed")
    assert secagg.Parameters.from_bytes(job.parameters.to_bytes()) == job.parameters
    assert job.parameters.min_clients == job.parameters.max_clients == 2
