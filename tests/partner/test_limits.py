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
from privfed.errors import ConfigError, DecodeError, PeerError
from privfed.partner.company import Company
from privfed.partner.messages import OVERHEAD_BYTES, Answer, Join, Post, decode, encode, longest
from privfed.partner.server import SERVICE, served
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
