"""A party that is cut at any write goes on in the next process, or refuses with a named error.

What it sends and shows goes to a log, as it would to a server and to a model: nothing that is
there may be contradicted by a later process.
"""

import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from privfed import secagg
from privfed.errors import ReplayError
from tests.secagg.crash_points import Cut, killed, refused, stepped
from tests.secagg.parties import expected_mean, identities, parameters, state_text, updates

SHAPES: dict[str, tuple[int, ...]] = {"w": (3, 2), "b": (2,)}


@pytest.fixture(params=[killed, refused], ids=["kill", "full disk"])
def cut(request: pytest.FixtureRequest) -> Cut:
    return cast(Cut, request.param)


@cache
def others(scheme: str) -> tuple[Any, ...]:
    """A job, its other party's uploads for rounds 1 to 3, and what round each should give."""
    params = parameters(2, SHAPES, scheme=scheme, max_weight=None)
    key = secagg.generate_keys(params)
    sent = updates(2, SHAPES)
    integers = {name: np.full(shape, 7) for name, shape in SHAPES.items()}
    with secagg.Party(params, key, identities(2)[1], "memory") as other:
        uploads = {
            1: other.encrypt(sent[1], round_id=1),
            2: other.encrypt_integers(integers, round_id=2),
            3: other.encrypt(sent[1], round_id=3),
        }
        second = secagg.Party(params, key, identities(2)[1], "memory")
        again = {1: second.encrypt(sent[0], round_id=1)}
    return params, key, sent, integers, uploads, again


class Life:
    """A party's first three rounds, in a folder that the next process finds as they left it."""

    def __init__(self, folder: Path, scheme: str, streamed: bool) -> None:
        folder.mkdir(exist_ok=True)
        self.log, self.state = folder / "log", folder / "state"
        self.streamed = streamed
        self.params, self.key, self.sent, self.integers, self.others, self.again = others(scheme)

    def party(self) -> secagg.Party:
        return secagg.Party(self.params, self.key, identities(1)[0], self.state)

    def say(self, **what: object) -> None:
        with self.log.open("a") as log:
            log.write(json.dumps(what) + "\n")

    def said(self, kind: str) -> dict[int, dict[str, Any]]:
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return {line["round"]: line for line in map(json.loads, lines) if line["kind"] == kind}

    def total(self, upload: bytes, round_id: int, others: dict[int, bytes] | None = None) -> bytes:
        server = secagg.Aggregator(self.params, round_id)
        server.add(upload)
        server.add((others or self.others)[round_id])
        return server.total()

    def given(self, total: bytes) -> bytes | Iterator[bytes]:
        return iter([total]) if self.streamed else total

    def send(self, party: secagg.Party, round_id: int) -> None:
        if round_id == 2:
            upload = party.encrypt_integers(self.integers, round_id=2)
        else:
            upload = party.encrypt(self.sent[0], round_id=round_id)
        assert round_id not in self.said("sent")
        self.say(kind="sent", round=round_id, upload=upload.hex())

    def open(self, party: secagg.Party, round_id: int) -> None:
        total = self.total(bytes.fromhex(self.said("sent")[round_id]["upload"]), round_id)
        if round_id == 2:
            result: secagg.MeanResult | secagg.IntegerResult
            result = summed = party.open_sums(self.given(total), round_id=2)
            assert all((array == 14).all() for array in summed.sums.values())
        else:
            result = opened = party.open(self.given(total), round_id=round_id)
            arrays, wanted = opened.mean, expected_mean(self.params, self.sent)
            assert all(np.array_equal(arrays[name], wanted[name]) for name in wanted)
        if round_id == party.round_id:
            assert party.transcript == result.transcript
        self.say(kind="opened", round=round_id, transcript=result.transcript.hex())

    def live(self) -> None:
        with self.party() as party:
            for round_id in (1, 2):
                self.send(party, round_id)
                self.open(party, round_id)

    def record(self) -> dict[str, Any]:
        return cast(dict[str, Any], json.loads((self.state / "rounds.json").read_text()))

    def check(self) -> list[str]:
        """Be the process that comes after the cut; return what it could do."""
        sent, opened, did = self.said("sent"), self.said("opened"), []
        with self.party() as party:
            before = self.record()
            assert before["sent"] >= max(sent, default=-1)
            assert before["opened"] >= max(opened, default=-1)
            assert before["failed"] == []
            if before["opened"] in opened and not before["opening"]:
                assert before["transcript"] == opened[before["opened"]]["transcript"]
            for round_id in sent:  # no upload of a round is sent twice
                with pytest.raises(ReplayError):
                    party.encrypt(self.sent[0], round_id=round_id)
            lost = []
            for round_id in sorted(sent):
                try:
                    self.open(party, round_id)  # the mean is right, or nothing comes
                    did.append("opened")
                except ReplayError:
                    did.append("refused")
                    lost.append(round_id)
            # Rounds before the last one, or a stream that was used up half-read.
            used_up = sent.keys() - opened.keys() if self.streamed else set()
            assert all(each < before["opened"] or each in used_up for each in lost)
            if 1 in sent:  # and of no round is a second total opened
                upload = bytes.fromhex(sent[1]["upload"])
                if "opened" in did or before["opened"] >= 1:
                    with pytest.raises(ReplayError):
                        party.open(self.total(upload, 1, self.again), round_id=1)
            assert party.round_id <= 2
            self.send(party, 3)
            self.open(party, 3)
        after = self.record()
        assert after["sent"] == after["opened"] == 3
        return did


@pytest.mark.parametrize("streamed", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_two_rounds_are_cut_anywhere(tmp_path: Path, cut: Cut, streamed: bool) -> None:
    seen: list[str] = []

    def prepare(folder: Path) -> tuple[Callable[[], None], Life]:
        life = Life(folder, "reference", streamed)
        return life.live, life

    def check(folder: Path, life: Life) -> None:
        seen.extend(life.check())

    stepped(cut, prepare, check, tmp_path)
    assert "opened" in seen
    assert len(list(tmp_path.iterdir())) > 40  # every write has its steps


def test_another_process_finishes_what_was_kept_and_not_noted(tmp_path: Path) -> None:
    """Cut between the last two writes, of a total in one piece and of one in parts."""
    for streamed in (False, True):
        life = Life(tmp_path / str(streamed), "packed", streamed)
        with life.party() as party:
            life.send(party, 1)
            before = (life.state / "rounds.json").read_text()
            life.open(party, 1)
            after = life.record()
        cut = state_text(after | {"opening": True, "transcript": ""})
        (life.state / "rounds.json").write_text(cut)
        assert before != cut
        with life.party() as party:
            assert party.transcript == b""
            assert party.opened().transcript.hex() == after["transcript"]
            assert party.transcript.hex() == after["transcript"]
        assert life.record() == after
