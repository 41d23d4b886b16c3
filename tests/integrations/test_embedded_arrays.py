"""Arrays of all kinds, and what an application may not do to them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Context, Message, MetricRecord

from privfed.errors import PeerError, QuorumError
from privfed.integrations.flower import EncryptedMod
from privfed.integrations.flower.records import arrays_of, record_of
from tests.integrations.jobs import Arrays, Job, same_bits

KINDS: Arrays = {
    "z.half": np.array([[0.5, -1.5]], np.float16),
    "a.double": np.array([1 / 3, -2 / 3, 1e-9]),
    "m.scalar": np.array(0.25, np.float32),
    "bn.steps": np.array(7, np.int64),
    "b.single": np.zeros((2, 0, 3), np.float32),
    "c.flag": np.array([True, False]),
    "k.big": np.array([0.125, 0.5], ">f4"),
}


@pytest.mark.parametrize("travels", ["weights", "updates"])
def test_kinds_shapes_and_order_come_back(tmp_path: Path, travels: Any) -> None:
    job = Job(tmp_path / "keys", 2, start=KINDS, mods=[EncryptedMod(travels=travels)])
    job.run(2)
    for place, site in enumerate(job.sites):
        for model in (*site.trained, *site.evaluated, job.model(place)):
            assert list(model) == list(KINDS)
            for name, each in KINDS.items():
                assert (model[name].dtype, model[name].shape) == (each.dtype, each.shape)
        # Counters do not travel: each party keeps its own, as its training left them.
        assert int(site.trained[1]["bn.steps"]) == 8
        assert int(job.model(place)["bn.steps"]) == 9
    steps = [site.trained[1] for site in job.sites]
    assert same_bits(steps[0], steps[1])
    rows = sum(site.rows for site in job.sites)
    for name, each in job.mean([0, 1]).items():
        near = 2 * job.params.step * 16 / rows / 2 + 1e-6 + 2e-3 * (name == "z.half")
        assert np.abs(job.model()[name] - each).max(initial=0) <= near


def test_an_initial_model_that_holds_no_numbers_is_refused(tmp_path: Path) -> None:
    job = Job(tmp_path / "keys", 2)
    job.start = job.start | {"text": np.array(["a", "b"])}
    with pytest.raises(PeerError, match="refused with ConfigError"):
        job.run(1)


def _altering(job: Job, place: int, change: Any) -> None:
    site, real = job.sites[place], job.sites[place].train

    def train(message: Message, context: Context) -> Message:
        reply = real(message, context)
        ((name, record),) = reply.content.array_records.items()
        arrays, metrics = arrays_of(record), dict(reply.content.metric_records["metrics"])
        change(arrays, metrics)
        reply.content[name] = record_of(arrays)
        reply.content["metrics"] = MetricRecord(metrics)
        return reply

    site.train = train  # type: ignore[method-assign]
    job.grid.apps[100 + place] = site.app([EncryptedMod()])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda a, m: a.update(c=a.pop("bias")), "are not the model's: 'bias' differs"),
        (lambda a, m: a.pop("bias"), "are not the model's: 'bias' differs"),
        (lambda a, m: a.update(more=np.ones(3)), "are not the model's: 'more' differs"),
        (lambda a, m: a.update(bias=a["bias"][:1]), "changed its shape or type"),
        (lambda a, m: a.update(bias=a["bias"].astype(int)), "'bias' differs"),
        (lambda a, m: a.update(bias=a["bias"] * np.nan), "NaN or infinite"),
        (lambda a, m: a.update(bias=a["bias"] * 0 + 9), "past its range of 8"),
        (lambda a, m: m.pop("num-examples"), "say how much this party counts"),
        (lambda a, m: m.update({"num-examples": 2.5}), "a whole number"),
        (lambda a, m: m.update({"num-examples": float("inf")}), "a whole number"),
        (lambda a, m: m.update({"num-examples": float("nan")}), "a whole number"),
        (lambda a, m: m.update({"num-examples": [3, 4]}), "a whole number"),
        (lambda a, m: m.update({"num-examples": 17}), "0 to max_weight=16"),
        (lambda a, m: m.update({"num-examples": -1}), "0 to max_weight=16"),
    ],
)
def test_what_does_not_fit_is_told_to_its_operator(
    tmp_path: Path, told: list[str], change: Any, said: str
) -> None:
    job = Job(tmp_path / "keys", 2)
    _altering(job, 1, change)
    with pytest.raises(PeerError, match=r"node 101 \(party .* refused with"):
        job.run(1)
    assert any(said in line for line in told)


def test_weights_that_are_whole_floats_and_zero_count(tmp_path: Path) -> None:
    job = Job(tmp_path / "keys", 2)
    _altering(job, 1, lambda a, m: m.update({"num-examples": 0.0}))
    job.run(1)
    sent = job.sites[0].sent
    for name, each in job.models().items():
        assert np.abs(each - sent[name]).max() <= 2 * job.params.step * 16 / 3 / 2 + 1e-6


def test_without_weights_all_count_the_same(tmp_path: Path) -> None:
    job = Job(tmp_path / "keys", 2, max_weight=None)
    _altering(job, 1, lambda a, m: m.pop("num-examples"))
    job.run(1)
    for site in job.sites:
        site.rows = 1
    for name, each in job.mean([0, 1]).items():
        assert np.abs(job.models()[name] - each).max() <= job.params.step / 2 + 1e-6


def test_a_second_record_of_arrays_is_refused(tmp_path: Path, told: list[str]) -> None:
    job = Job(tmp_path / "keys", 2)
    real = job.sites[0].train

    def train(message: Message, context: Context) -> Message:
        reply = real(message, context)
        reply.content["second"] = record_of({"plain": np.ones(3)})
        return reply

    job.sites[0].train = train  # type: ignore[method-assign]
    job.grid.apps[100] = job.sites[0].app([EncryptedMod()])
    with pytest.raises((PeerError, QuorumError)):
        job.run(1)
    assert any("in one ArrayRecord" in line for line in told)
