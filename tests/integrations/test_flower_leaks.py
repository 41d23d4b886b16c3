"""What a server of Flower reads: every byte that reaches it, searched for what it must not hold.

What is searched for has five bytes at least: in 10^5 random bytes one of a hundred such is there by
chance less than once in 10^5 runs.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import ConfigRecord, Context, Error, Message, MetricRecord, RecordDict
from flwr.serverapp.exception import InconsistentMessageReplies
from flwr.serverapp.strategy import FedAvg, FedMedian

from privfed.errors import ConfigError, PeerError, QuorumError
from privfed.integrations.flower import EncryptedMod, EncryptedStrategy
from privfed.integrations.flower.records import record_of
from tests.integrations.grid import OneProcessGrid
from tests.integrations.jobs import START, Job, quiet_average

ROWS = 9_876_543_210
TEXT = "patient-4711"  # stands in what an application raises


def _varint(number: int) -> bytes:
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def traces(job: Job) -> Iterator[bytes]:
    """Yield bytes that would give away what clients hold: arrays, weights and metrics."""
    for site in job.sites:
        for model in (*site.trained[1:], *site.evaluated, site.sent, site.step):
            for each in model.values():
                for kind in ("<f4", "<f8"):
                    yield each.astype(kind).tobytes()
        yield _varint(site.rows)
        yield str(site.rows).encode()
        yield _varint(2 * site.rows)  # zigzag
        for number in (site.rows, 0.73 + site.rows, 0.5):
            yield from (struct.pack(kind, number) for kind in ("<d", ">d"))
        yield from (struct.pack(kind, site.rows) for kind in ("<q", ">q"))


def found(job: Job) -> int:
    """Return how many of them are in what the server reads."""
    read = b"".join(said for _, said in job.grid.seen)
    return sum(trace in read for trace in set(traces(job)))


def job_with_rows(folder: Path, **settings: Any) -> Job:
    job = Job(folder, 3, max_weight=1 << 34, **settings)
    for place, site in enumerate(job.sites):
        site.rows = ROWS + place
    return job


def test_the_search_finds_what_flower_sends_in_the_clear(tmp_path: Path) -> None:
    job = job_with_rows(tmp_path / "keys", mods=[])
    strategy: FedAvg = quiet_average()
    strategy.start(job.grid, record_of(START), num_rounds=2)
    assert found(job) >= 3 * 4 + 1  # of each client two arrays, rows and loss; the accuracy


@pytest.mark.parametrize("travels", ["weights", "updates"])
def test_nothing_of_clients_is_in_what_the_server_reads(tmp_path: Path, travels: Any) -> None:
    job = job_with_rows(tmp_path / "keys", mods=[EncryptedMod(travels=travels)])
    result = job.run(2)
    assert len(job.grid.seen) == 3 * 5
    assert found(job) == 0
    assert not result.train_metrics_clientapp
    assert not result.evaluate_metrics_clientapp
    sizes = {node: [len(said) for at, said in job.grid.seen if at == node] for node in (100, 101)}
    assert np.ptp([sizes[100], sizes[101]], axis=0).max() <= 64  # but for parameters and ids


def test_a_party_reveals_the_metrics_that_it_names(tmp_path: Path) -> None:
    job = job_with_rows(tmp_path / "keys", node={"privfed-reveal": "accuracy, num-examples"})
    result = job.run(1)
    assert dict(result.evaluate_metrics_clientapp[1]) == {"accuracy": 0.5}
    read = b"".join(said for _, said in job.grid.seen)
    assert struct.pack("<d", 0.5) in read
    assert all(_varint(site.rows) not in read for site in job.sites)  # even where it is named
    assert all(struct.pack("<d", 0.73 + site.rows) not in read for site in job.sites)


def test_parties_that_reveal_other_metrics_go_on(tmp_path: Path) -> None:
    job = Job(tmp_path / "keys", 3)
    job.grid.configs[0]["privfed-reveal"] = "accuracy,loss"
    job.grid.configs[1]["privfed-reveal"] = "accuracy"
    result = job.run(2)
    assert not result.train_metrics_clientapp
    assert not result.evaluate_metrics_clientapp
    job.grid.configs[2]["privfed-reveal"] = "accuracy"
    assert dict(job.run(1).evaluate_metrics_clientapp[1]) == {"accuracy": 0.5}


def failing(purpose: str) -> None:
    raise ValueError(TEXT)


def test_texts_of_an_applications_errors_stay_at_home(tmp_path: Path, told: list[str]) -> None:
    job = Job(tmp_path / "keys", 3)
    job.sites[0].before = failing
    with pytest.raises(QuorumError):
        job.run(1)
    assert any("the ClientApp raised ValueError" in line for line in told)
    app = job.sites[1].app([EncryptedMod()])

    @app.query()
    def query(message: Message, context: Context) -> Message:
        return Message(Error(7, TEXT), reply_to=message)

    job.grid.apps[101] = app
    asked = Message(RecordDict(), dst_node_id=101, message_type="query")
    (reply,) = job.grid.send_and_receive([asked])
    assert reply.has_error()
    assert "its own log says more" in str(reply.error)
    assert all(TEXT.encode() not in said for _, said in job.grid.seen)
    assert any(TEXT in line for line in told)  # its operator reads it


def test_an_error_of_ours_that_nobody_foresaw_says_nothing_to_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = Job(tmp_path / "keys", 2)

    def broken(*args: Any) -> None:
        raise KeyError(TEXT)

    monkeypatch.setattr("privfed.integrations.party.EmbeddedParty.upload", broken)
    with pytest.raises(PeerError, match="refused with PrivFedError: something went wrong there"):
        job.run(1)
    assert all(TEXT.encode() not in said for _, said in job.grid.seen)


def queried(job: Job, *contents: RecordDict) -> list[Message]:
    """Return what a client says to a query, if its application answers with some contents."""
    replies: list[Message] = []
    for content in contents:
        app = job.sites[0].app([EncryptedMod()])

        @app.query()
        def query(message: Message, context: Context, content: RecordDict = content) -> Message:
            return Message(content, reply_to=message)

        job.grid.apps[100] = app
        asked = Message(RecordDict(), dst_node_id=100, message_type="query")
        replies += job.grid.send_and_receive([asked])
    return replies


def test_queries_give_no_more_away_than_training(tmp_path: Path) -> None:
    job = Job(tmp_path / "keys", 2, node={"privfed-reveal": "age"})
    arrays, config, metrics = queried(
        job,
        RecordDict({"arrays": record_of(START)}),
        RecordDict({"config": ConfigRecord({"note": TEXT})}),
        RecordDict({"metrics": MetricRecord({"rows": ROWS, "age": 3.25})}),
    )
    assert list(arrays.content) == list(config.content) == ["privfed"]  # refused
    assert dict(metrics.content["metrics"]) == {"age": 3.25, "num-examples": 1}
    read = b"".join(said for _, said in job.grid.seen)
    assert TEXT.encode() not in read
    assert _varint(ROWS) not in read
    assert START["weight"].tobytes() not in read


def test_a_config_record_in_a_reply_is_refused(tmp_path: Path, told: list[str]) -> None:
    job = Job(tmp_path / "keys", 2)
    plain = job.sites[0].train

    def train(message: Message, context: Context) -> Message:
        reply = plain(message, context)
        reply.content["note"] = ConfigRecord({"note": TEXT})
        return reply

    job.sites[0].train = train  # type: ignore[method-assign]
    job.grid.apps[100] = job.sites[0].app([EncryptedMod()])
    with pytest.raises(PeerError, match=r"node 100 .* refused with ConfigError"):
        job.run(1)
    assert any("a ConfigRecord, which the server could read" in line for line in told)
    assert all(TEXT.encode() not in said for _, said in job.grid.seen)


def test_actions_of_an_application_are_trained_and_encrypted_too(tmp_path: Path) -> None:
    job = job_with_rows(tmp_path / "keys")
    apps = [site.app([EncryptedMod()]) for site in job.sites]
    for app, site in zip(apps, job.sites, strict=True):
        app.train("warm")(site.train)

    def renamed(node: int, message: Message) -> Message:
        if "arrays" in message.content and message.metadata.message_type == "train":
            message.metadata.message_type = "train.warm"
        return message

    grid = OneProcessGrid(apps, job.grid.configs)
    job.grid = grid
    grid.to_node = renamed
    job.run(1)
    assert all(site.sent for site in job.sites)
    assert found(job) == 0


def test_a_strategy_that_is_not_wrapped_gets_nothing(tmp_path: Path, told: list[str]) -> None:
    job = job_with_rows(tmp_path / "keys")
    with pytest.raises(InconsistentMessageReplies, match="Expected exactly one ArrayRecord"):
        quiet_average().start(job.grid, record_of(START), num_rounds=1)
    assert any("wrap it, EncryptedStrategy" in line for line in told)
    assert not any(site.trained for site in job.sites)
    assert found(job) == 0


def test_a_server_that_would_compute_on_updates_or_on_the_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="FedMedian computes on updates"):
        EncryptedStrategy(FedMedian())
    with pytest.raises(ConfigError, match="evaluate_fn needs the model"):
        EncryptedStrategy(FedAvg()).start(
            Job(tmp_path / "keys", 2).grid, record_of(START), evaluate_fn=lambda *_: None
        )
