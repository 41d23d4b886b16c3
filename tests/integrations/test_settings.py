"""Settings of a training, by which a server with a helper could read one party's update."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Context, Message
from flwr.clientapp.typing import ClientAppCallable

from privfed.errors import ContextMismatchError
from privfed.integrations.flower import EncryptedMod, mod
from privfed.integrations.flower.records import arrays_of, record_of
from privfed.integrations.messages import Assignment
from tests.integrations.jobs import START, Job, ask_of, close, same_bits

TARGET = 100


def trains_at_the_rate(msg: Message, context: Context, call_next: ClientAppCallable) -> Message:
    """An application that does what the server's settings say."""
    ((name, record),) = msg.content.array_records.items()
    before, rate = arrays_of(record), msg.content.config_records["config"].get("rate", 1.0)
    rate = context.run_config.get("rate", rate)
    assert isinstance(rate, float)
    reply = call_next(msg, context)
    if name in reply.content:
        after = arrays_of(reply.content.array_records[name])
        moved = {
            key: (each + np.float32(rate) * (after[key] - each)) for key, each in before.items()
        }
        reply.content[name] = record_of(moved)
    return reply


def silence(node: int, message: Message) -> Message:
    """Let all but one train at a rate of 0."""
    ask = ask_of(message)
    if isinstance(ask, Assignment) and ask.purpose == "train":
        message.content.config_records["config"]["rate"] = float(node == TARGET)
    return message


def silence_in_messages(job: Job) -> None:
    job.grid.to_node = silence


def silence_by_the_run(job: Job) -> None:
    """As a SuperLink can that tells each SuperNode another configuration of the run."""

    def configured(node: int, message: Message) -> Message:
        job.grid.contexts[node].run_config = {"rate": float(node == TARGET)}
        return message

    job.grid.to_node = configured


WAYS = [silence_in_messages, silence_by_the_run]


def job_of(folder: Path) -> Job:
    return Job(folder / "keys", 3, mods=[EncryptedMod(), trains_at_the_rate])


@pytest.mark.parametrize("way", WAYS)
def test_the_attack_works_where_nobody_looks_at_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: Callable[[Job], None]
) -> None:
    monkeypatch.setattr(mod, "settings_in", lambda *asked: b"")
    job = job_of(tmp_path)
    way(job)
    job.run(1)
    rows = sum(site.rows for site in job.sites)
    for name, each in job.model(1).items():  # what a helper opens: one party's update, scaled
        update = (each.astype(np.float64) - START[name]) * rows / job.sites[0].rows
        assert np.abs(update - job.sites[0].step[name]).max() < 5e-3


@pytest.mark.parametrize("way", WAYS)
def test_settings_that_differ_end_the_run(tmp_path: Path, way: Callable[[Job], None]) -> None:
    job = job_of(tmp_path)
    way(job)
    with pytest.raises(ContextMismatchError, match="different settings for the round"):
        job.run(1)
    assert same_bits(job.models(), START)


def test_settings_that_are_alike_change_nothing(tmp_path: Path) -> None:
    job = job_of(tmp_path)
    job.run(2)
    close(job, (0, 1, 2))
