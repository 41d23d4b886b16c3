"""What one hostile party can make the server hold, and what one folder is used for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from privfed.data import Dataset
from privfed.errors import ConfigError, DecodeError, PeerError, QuorumError
from privfed.partner.channel import connected
from privfed.partner.company import Company, round_work
from privfed.partner.messages import (
    OVERHEAD_BYTES,
    Answer,
    Join,
    Post,
    RoundUpdate,
    Stop,
    decode,
    encode,
    longest,
)
from privfed.partner.overlap_file import OverlapFile
from privfed.partner.server import SERVICE, Meeting, served
from psi.network import TLSIdentity
from psi.network.tls import secure_channel
from tests.partner.trainings import (
    ENCODER,
    Training,
    at_once,
    plan_of,
    private_training,
    start_model,
    training,
)


def in_session(job: Training) -> bytes:
    sessions = at_once(*(job.channel(place).join for place in range(job.parties)))
    assert len(set(sessions)) == 1
    return bytes(sessions[0])


def test_a_server_keeps_few_words_and_short_ones(tmp_path: Path) -> None:
    """A party that gives others fills no memory, and puts nobody else's out."""
    job = training(tmp_path)
    session = in_session(job)
    body = bytes(OVERHEAD_BYTES * 2 + 1)
    assert job.meeting.post(1, Post(session, "standing", body)).what == "refused"
    assert job.meeting.post(1, Post(session, "standing", body[:-1])).what == "waiting"
    assert job.meeting.post(1, Post(session, "total", body)).what == "waiting"
    with pytest.raises(DecodeError):
        decode(msgspec.msgpack.encode([session, "topic-17", b""]), Post)


def test_a_party_that_calls_all_the_time_keeps_nobody_out(tmp_path: Path) -> None:
    plan, params = (job := training(tmp_path)).plan, job.params
    own = [TLSIdentity.load(tmp_path / f"party-{place}") for place in range(2)]
    ports: list[int] = []

    def asked(place: int, nonces: list[bytes]) -> list[Answer]:
        """Call as often as there are nonces, at once."""
        certificate = plan.server.certificate.encode()
        where = f"localhost:{ports[0]}"
        with secure_channel(where, own[place], certificate, longest(plan, params)) as channel:
            join: Callable[..., Any] = channel.unary_unary(f"/{SERVICE}/Join")
            calls = [encode(Join(plan.fingerprint, nonce)) for nonce in nonces]
            waiting = [join.future(call, timeout=30) for call in calls]  # type: ignore[attr-defined]
            return [decode(each.result(), Answer) for each in waiting]

    with served(plan, params, own[0], address="localhost:0", on_listening=ports.append):
        crowd = asked(1, [b"n" * 16] * 40)
        refused = [each for each in crowd if each.what == "refused"]
        assert {each.reason for each in refused} == {"CapacityError"}
        assert len(refused) >= 40 - 2 * 3  # three wait; others may come after they were answered
        joined = at_once(lambda: asked(0, [b"a" * 16]), lambda: asked(1, [b"n" * 16] * 40))
    assert joined[0][0].what == "all"
    assert any(each.what == "all" for each in joined[1])


def rows(ids: list[str] | None = None) -> Dataset:
    features = np.zeros((4, 2), np.float32)
    return Dataset(
        "table", "test", "test", True, "0" * 64, None if ids is None else np.array(ids), features,
        np.array([0, 1, 0, 1]), ("no", "yes"), ENCODER, None,
    )  # fmt: skip


def test_one_process_trains_by_a_plan(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, 2)
    params, own = plan.parameters(), TLSIdentity.load(tmp_path / "party-1")
    waits = threading.Event()

    def train(tell: Callable[[str], None] = lambda line: None) -> Any:
        company = Company(plan, params, tmp_path / "party-1", None)
        return company.train(rows(), start_model(), own, wait_seconds=1, tell=tell)

    def second() -> Any:
        waits.wait()
        return train()

    first, other = at_once(lambda: train(lambda line: waits.set()), second)
    assert isinstance(first, PeerError)
    assert isinstance(other, ConfigError)
    assert "in use by another process" in str(other)


def test_nobody_hears_that_a_unit_has_too_many_rows(tmp_path: Path) -> None:
    """It is refused before the first call: that a party stops would tell of its rows."""
    plan = private_training(tmp_path, "shares", per_id=2).plan
    company = Company(plan, plan.parameters(), tmp_path / "party-1", None)
    own, told = TLSIdentity.load(tmp_path / "party-1"), list[str]()

    def train(ids: list[str]) -> Any:
        return company.train(rows(ids), start_model(), own, wait_seconds=0, tell=told.append)

    with pytest.raises(ConfigError, match="more rows here than the 2"):
        train(["a", "a", "a", "b"])
    assert not told
    with pytest.raises(PeerError, match="waited 0 s for the server"):
        train(["a", "a", "b", "b"])


def test_what_the_server_answers_to_what_is_out_of_turn(tmp_path: Path) -> None:
    job = training(tmp_path)
    session = in_session(job)
    assert job.meeting.post(1, Post(session, "standing", b"one")).what == "waiting"
    other = job.meeting.post(1, Post(session, "standing", b"another"))
    assert (other.what, other.reason) == ("refused", "ReplayError")
    sums = iter(range(9))
    meeting = Meeting(job.plan, job.params, job.told.append, 0.1, begin=lambda number: Sum(sums))
    job.meeting = meeting
    session = in_session(job)
    assert meeting.upload(0, RoundUpdate(session, 5, b"")).what == "waiting"
    assert meeting.upload(0, RoundUpdate(session, 4, b"")).what == "again"
    failed = meeting.upload(1, RoundUpdate(session, 5, b""))
    assert (failed.what, failed.reason) == ("refused", "QuorumError")
    assert "round 5 has no total: none today" in job.told


class Sum:
    """A round's sum that never comes to a total."""

    def __init__(self, sums: Any) -> None:
        self.number = next(sums)

    def add(self, data: bytes) -> None:
        """Take all."""

    def total(self) -> bytes:
        raise QuorumError("none today")


def test_who_joins_again_with_the_same_words_is_in_the_same_session(tmp_path: Path) -> None:
    """As when an answer was lost on the way; a party that stopped is said to be back."""
    job = training(tmp_path)
    ask = [Join(job.plan.fingerprint, bytes([place]) * 16) for place in range(2)]
    first = at_once(*(lambda place=place: job.meeting.join(place, ask[place]) for place in (0, 1)))
    assert job.meeting.join(1, ask[1]) == first[1]
    assert job.meeting.stop(1, Stop("BudgetExceededError")).what == "all"
    assert job.meeting.join(0, ask[0]).what == "stopped"
    assert job.meeting.join(1, ask[1]).what == "all"
    assert "party-1 is back" in job.told


def test_bytes_that_are_no_message_are_refused_over_the_network(tmp_path: Path) -> None:
    plan, params = (job := training(tmp_path)).plan, job.params
    own = TLSIdentity.load(tmp_path / "party-1")
    ports: list[int] = []
    with served(
        plan, params, TLSIdentity.load(tmp_path / "party-0"), address="localhost:0",
        on_listening=ports.append,
    ):  # fmt: skip
        certificate, where = plan.server.certificate.encode(), f"localhost:{ports[0]}"
        with secure_channel(where, own, certificate, longest(plan, params)) as channel:
            join: Callable[..., bytes] = channel.unary_unary(f"/{SERVICE}/Join")
            answer = decode(join(b"no message", timeout=30), Answer)
    assert (answer.what, answer.reason) == ("refused", "DecodeError")


def test_a_server_with_another_certificate_is_named(tmp_path: Path) -> None:
    """Whoever listens at the plan's address is not trusted for it."""
    plan = plan_of(tmp_path, 2)
    stranger = TLSIdentity.load(tmp_path / "party-1")
    ports: list[int] = []
    with (
        served(plan, plan.parameters(), stranger, address="localhost:0", on_listening=ports.append),
        connected(
            plan, plan.parameters(), stranger, address=f"localhost:{ports[0]}", wait_seconds=0
        ) as channel,
        pytest.raises(PeerError, match="a server with the plan's certificate"),
    ):
        channel.join()


def test_work_that_is_private_has_a_budget(tmp_path: Path) -> None:
    job = private_training(tmp_path, "shares")
    with pytest.raises(ConfigError, match="is paid from a budget"):
        round_work(job.plan, 0, job.rows(0), start_model(), None)


def test_an_overlap_that_cannot_be_removed_is_named(tmp_path: Path) -> None:
    (tmp_path / "overlap.json").mkdir()
    file = OverlapFile(tmp_path / "overlap.json", plan_of(tmp_path / "keys", 2), None)
    with pytest.raises(ConfigError, match="cannot remove"):
        file.begin_search()
