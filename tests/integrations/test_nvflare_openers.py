"""Some sites open a round's total in NVFlare, and the others read what these sign."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.shareable import Shareable, make_reply

from privfed.integrations import simulated_keys, trained_model
from privfed.integrations.messages import Assignment, Refused, encode, read_ask
from privfed.integrations.nvflare.records import bytes_array, read_request, reply_of
from privfed.integrations.spool import read_checkpoint
from privfed.secagg import wire
from tests.integrations.nvflare_job import Job
from tests.integrations.test_nvflare import MODEL, sites

NAMES = tuple(f"site-{place}" for place in range(1, 5))


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "keys"
    simulated_keys(folder, MODEL, parties=NAMES, max_weight=100, download="opener")
    monkeypatch.setenv("PRIVFED_KEYS", str(folder))
    np.savez(tmp_path / "start.npz", w=MODEL["w"], steps=MODEL["steps"])
    (tmp_path / "start.npz").rename(tmp_path / "start")
    return folder


class Asked(Job):
    """A job that notes which sites are asked to open, and may change what they answer."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.openers: list[str] = []
        self.totals: list[tuple[str, bool]] = []
        self.warned: list[str] = []
        self.answer: dict[int, Any] = {}
        self.handlers[0].warning = self.warned.append

    def send_aux_request(
        self, targets: list[str], topic: str, request: Shareable, **more: Any
    ) -> dict[str, Shareable]:
        data, totals, _ = read_request(request)
        ask = read_ask(data)
        self.totals += [(name, wire.is_result(each)) for name in targets for each in totals]
        replies = super().send_aux_request(targets, topic, request, **more)
        if isinstance(ask, Assignment) and ask.purpose == "open":
            change = self.answer.get(len(self.openers), lambda reply: reply)
            self.openers += targets
            replies = {name: change(reply) for name, reply in replies.items()}
        return replies


def models(keys: Path) -> np.ndarray[Any, Any]:
    """The model of all, after a look that they have the same."""
    every = [trained_model(keys / name)["w"] for name in NAMES]
    assert len({each.tobytes() for each in every}) == 1
    return every[0]


def moved(rounds: int) -> np.ndarray[Any, Any]:
    rows = {"site-1": 30, "site-2": 50, "site-3": 77, "site-4": 10}
    moves = {"site-1": 0.25, "site-2": -0.5, "site-3": 1.0, "site-4": 0.5}
    mean = sum(rows[name] * moves[name] for name in NAMES) / sum(rows.values())
    return np.asarray(MODEL["w"] + rounds * mean)


def test_two_open_a_total_and_the_task_brings_what_they_signed(keys: Path, tmp_path: Path) -> None:
    job = Asked(tmp_path, sites(NAMES), 3)
    checkpoint = job.play()
    np.testing.assert_allclose(models(keys), moved(3), atol=0.03)
    assert len(job.openers) == 6
    assert not job.warned
    assert wire.is_result(read_checkpoint(checkpoint.read_bytes())[1])
    totals = [name for name, result in job.totals if not result]
    assert totals == job.openers
    # Others get the last one when the job ends; before, it is in the task.
    assert {name for name, result in job.totals if result} == set(NAMES) - set(job.openers[-2:])


def test_a_job_resumes_from_what_was_signed(keys: Path, tmp_path: Path) -> None:
    checkpoint = Asked(tmp_path, sites(NAMES), 2).play()
    (tmp_path / "again").write_bytes(checkpoint.read_bytes())
    Asked(tmp_path, sites(NAMES, "job 2"), 1, start="again").play()
    np.testing.assert_allclose(models(keys), moved(3), atol=0.03)


LIES = {
    "silent": lambda reply: make_reply(ReturnCode.TIMEOUT),
    "refuses": lambda reply: reply_of(encode(Refused("ConfigError"))),
    "nothing": lambda reply: reply_of(reply["message"]),
    "junk": lambda reply: reply_of(reply["message"], b"junk"),
    "no bytes": lambda reply: _with(reply, "all is well"),
    "a bit": lambda reply: _with(reply, _flipped(reply["result"])),
}


def _with(reply: Shareable, result: object) -> Shareable:
    reply["result"] = result
    return reply


def _flipped(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    data = bytearray(values.tobytes())
    data[-9] ^= 1
    return bytes_array(bytes(data))


@pytest.mark.parametrize("lie", LIES)
def test_a_site_that_opens_nothing_costs_a_next_one(keys: Path, tmp_path: Path, lie: str) -> None:
    job = Asked(tmp_path, sites(NAMES), 1)
    job.answer = {0: LIES[lie]}
    job.play()
    np.testing.assert_allclose(models(keys), moved(1), atol=0.02)
    assert len(job.openers) == 4  # two, and two in the place of one
    assert any(f"{job.openers[0]} opens no total" in line for line in job.warned)


def test_where_all_are_silent_the_total_goes_to_all(keys: Path, tmp_path: Path) -> None:
    job = Asked(tmp_path, sites(NAMES), 2)
    job.answer = dict.fromkeys(range(4), LIES["silent"])
    checkpoint = job.play()
    np.testing.assert_allclose(models(keys), moved(2), atol=0.02)
    assert any("too few parties open the total" in line for line in job.warned)
    assert wire.is_result(read_checkpoint(checkpoint.read_bytes())[1])  # of the second round
