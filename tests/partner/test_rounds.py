"""Parties that come, leave at any point and come back end with the model of an undisturbed run."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from privfed.errors import ConfigError, PeerError
from privfed.partner.messages import Answer, Post, decode, encode
from privfed.partner.progress import Finished, Folder, Pending
from privfed.partner.trainer import FinishedRound, Trainer
from privfed.secagg import Party
from privfed.training import Arrays, weights_sha256
from tests.partner.trainings import (
    ROUNDS,
    Part,
    Pulls,
    Training,
    expected,
    plan_of,
    training,
    work_of,
)
from tests.waiting import LONG_SECONDS


class Killed(BaseException):
    """What ends a party at once: nothing catches it."""


def check(found: list[Any], parties: int) -> None:
    for each in found:
        assert isinstance(each, dict), found
    assert len({weights_sha256(each) for each in found}) == 1
    for name, values in expected(parties).items():
        np.testing.assert_allclose(found[0][name], values, atol=2e-3)  # the grid of 16 bits


@pytest.mark.parametrize("parties", [2, 3, 4])
def test_all_end_with_one_model_that_plain_averaging_gives(tmp_path: Path, parties: int) -> None:
    job = training(tmp_path, parties)
    check(job.all_run(), parties)
    assert not [line for line in job.told if "anew" in line]  # nothing was lost


def killing(trainer: Trainer, point: str, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """End this party before or after one of its steps, in its round of that number."""
    owner: dict[str, Any] = {
        "trained": work_of(trainer), "encrypted": Party, "kept": trainer.folder,
        "total": trainer.folder, "opened": Party, "finished": trainer.folder,
    }  # fmt: skip
    name = {
        "trained": "make", "encrypted": "encrypt", "kept": "send", "total": "keep_total",
        "opened": "open", "finished": "finish",
    }[point]  # fmt: skip
    if trainer.plan.method == "shares":
        name = {"encrypt": "encrypt_integers", "open": "open_sums"}.get(name, name)
    real, count = getattr(owner[point], name), 0

    def act(*given: Any, **named: Any) -> Any:
        nonlocal count
        mine = not isinstance(given[0] if given else None, Party) or given[0].place == trainer.place
        count += mine
        result = real(*given, **named)
        if mine and count == number:
            raise Killed
        return result

    monkeypatch.setattr(owner[point], name, act)


@pytest.mark.parametrize("parties", [2, 3])
@pytest.mark.parametrize("point", ["trained", "encrypted", "kept", "total", "opened", "finished"])
@pytest.mark.parametrize("number", [1, 3, ROUNDS])
def test_a_party_that_is_killed_goes_on(
    tmp_path: Path, parties: int, point: str, number: int
) -> None:
    job = training(tmp_path, parties)
    trainers = [job.trainer(place) for place in range(parties)]

    def killed_and_back() -> Arrays:
        with pytest.MonkeyPatch.context() as patch:
            killing(trainers[1], point, number, patch)
            with pytest.raises(Killed):
                trainers[1].run(job.channel(1))
        return job.trainer(1).run(job.channel(1))

    acts: list[Callable[[], Arrays]] = [
        functools.partial(each.run, job.channel(place)) for place, each in enumerate(trainers)
    ]
    acts[1] = killed_and_back
    check(job.run(acts), parties)


@pytest.mark.parametrize("parties", [2, 3])
@pytest.mark.parametrize("number", [1, ROUNDS])
def test_no_mean_is_added_twice(tmp_path: Path, parties: int, number: int) -> None:
    """A kill leaves the update beside the model that has it already."""
    job = training(tmp_path, parties)
    trainers = [job.trainer(place) for place in range(parties)]
    real, count = Path.unlink, 0

    def unlink(path: Path, missing_ok: bool = False) -> None:
        nonlocal count
        if path.name == "pending" and "party-1" in path.parts:
            count += 1
            if count == number:
                raise Killed
        real(path, missing_ok)

    def killed_and_back() -> Arrays:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Path, "unlink", unlink)
            with pytest.raises(Killed):
                trainers[1].run(job.channel(1))
        back = job.trainer(1)
        assert back.rounds == number
        return back.run(job.channel(1))

    acts: list[Callable[[], Arrays]] = [
        functools.partial(each.run, job.channel(at)) for at, each in enumerate(trainers)
    ]
    acts[1] = killed_and_back
    check(job.run(acts), parties)


@pytest.mark.parametrize("parties", [2, 3])
def test_all_start_anew_from_what_is_finished(tmp_path: Path, parties: int) -> None:
    """Every process ends after round 2, as at night."""
    job = training(tmp_path, parties)
    trainers = [job.trainer(place) for place in range(parties)]
    with pytest.MonkeyPatch.context() as patch:
        for each in trainers:
            real = each.folder.finish

            def stop(done: Any, real: Any = real) -> None:
                real(done)
                if done.rounds == 2:
                    raise Killed

            patch.setattr(each.folder, "finish", stop)
        assert all(isinstance(each, Killed) for each in job.all_run(trainers))
    again = Training(job.folder, parties, job.plan)  # another server, too
    trainers = [again.trainer(place) for place in range(parties)]
    assert [each.rounds for each in trainers] == [2] * parties
    check(again.all_run(trainers), parties)
    assert [work_of(each).pull.trained for each in trainers] == [ROUNDS - 2] * parties


def test_a_server_that_forgets_all_costs_nothing(tmp_path: Path) -> None:
    job, calls = training(tmp_path), 0
    own = job.call(0)

    def forgetful(method: str, request: bytes) -> bytes:
        nonlocal calls
        calls += method == "Upload"
        if method == "Upload" and calls in (2, 5):
            job.meeting.restart()
        return own(method, request)

    trainers = [job.trainer(0), job.trainer(1)]
    acts = [
        lambda: trainers[0].run(job.channel(0, forgetful)),
        lambda: trainers[1].run(job.channel(1)),
    ]
    check(job.run(acts), 2)
    assert calls > ROUNDS


def test_an_update_that_was_sent_is_sent_again_as_it_was(tmp_path: Path) -> None:
    """The party dies after the server has its update; nothing is trained or encrypted twice."""
    job = training(tmp_path)
    trainers = [job.trainer(place) for place in range(2)]
    sent: list[bytes] = []

    def dies(method: str, request: bytes) -> bytes:
        if method == "Upload":
            sent.append(request)
            raise Killed
        return job.call(1)(method, request)

    def killed_and_back() -> Arrays:
        with pytest.raises(Killed):
            trainers[1].run(job.channel(1, dies))
        back = job.trainer(1)
        waiting = Folder(job.folder / "party-1" / "training", job.plan.fingerprint).pending()
        assert isinstance(waiting, Pending)
        assert waiting.upload in sent[0]
        found = back.run(job.channel(1))
        assert work_of(back).pull.trained == ROUNDS - 1
        return found

    check(job.run([lambda: trainers[0].run(job.channel(0)), killed_and_back]), 2)


def test_a_party_that_stays_away_is_named(tmp_path: Path) -> None:
    job = training(tmp_path)
    with pytest.raises(PeerError, match="waited 0 s for party-1: start again"):
        job.trainer(0).run(job.channel(0, wait_seconds=0))


def test_an_older_copy_of_a_folder_is_named(tmp_path: Path) -> None:
    job = training(tmp_path)
    home = tmp_path / "party-1" / "training"
    trainers = [job.trainer(place) for place in range(2)]
    old: dict[str, bytes] = {}

    def keep(finished: FinishedRound) -> None:
        if finished.rounds == 2:
            old["finished"] = (home / "finished").read_bytes()

    trainers[1].on_round = keep
    check(job.all_run(trainers), 2)
    (home / "finished").write_bytes(old["finished"])
    again = Training(job.folder, 2, job.plan)
    ended, behind = again.all_run()
    assert isinstance(ended, dict)  # it has finished, whatever others do
    assert isinstance(behind, PeerError)
    assert "party-1 has finished 2 rounds and others 5" in str(behind)


@pytest.mark.parametrize("parties", [2, 3])
def test_a_party_that_is_killed_while_it_catches_up_goes_on(tmp_path: Path, parties: int) -> None:
    """The total that it was given is on its disk before it is opened."""
    job = training(tmp_path, parties)
    trainers = [job.trainer(place) for place in range(parties)]

    def dies(method: str, request: bytes) -> bytes:
        answer = job.call(1)(method, request)
        if method == "Upload" and decode(answer, Answer).what == "all":
            raise Killed  # the others have the total
        return answer

    def killed_twice_and_back() -> Arrays:
        with pytest.raises(Killed):
            trainers[1].run(job.channel(1, dies))
        again = job.trainer(1)
        with pytest.MonkeyPatch.context() as patch:
            killing(again, "opened", 1, patch)
            with pytest.raises(Killed):
                again.run(job.channel(1))
        assert again.rounds == 0
        return job.trainer(1).run(job.channel(1))

    acts: list[Callable[[], Arrays]] = [
        functools.partial(each.run, job.channel(at)) for at, each in enumerate(trainers)
    ]
    acts[1] = killed_twice_and_back
    check(job.run(acts), parties)


class Astray(Pulls):
    """A party that was led to another model in the last round, of which no other follows."""

    def take(self, done: Finished, moments: Arrays, opened: Arrays) -> tuple[Arrays, Arrays]:
        weights, moments = super().take(done, moments, opened)
        if done.rounds == ROUNDS - 1:
            weights = {name: each + 1 for name, each in weights.items()}
        return weights, moments


def test_two_models_in_the_last_round_are_noticed(tmp_path: Path) -> None:
    """A server and a party that signs two updates can lead two others to two models."""
    job = training(tmp_path, 3)
    trainers = [job.trainer(place) for place in range(3)]
    trainers[1] = job.trainer(1, settle=Part(Astray(job.plan, 1), 2))
    for each in job.all_run(trainers):
        assert isinstance(each, ConfigError)
        assert "after 5 rounds" in str(each)


def test_who_hears_no_last_word_is_told(tmp_path: Path) -> None:
    job = training(tmp_path)
    own = job.call(0)

    def silent(method: str, request: bytes) -> bytes:
        if method == "Post" and decode(request, Post).topic == "done":
            own(method, request)
            return encode(Answer("refused", reason="PeerError"))
        return own(method, request)

    trainers = [job.trainer(place) for place in range(2)]
    channels = [job.channel(0, silent), job.channel(1)]
    check(
        job.run(
            [functools.partial(each.run, at) for each, at in zip(trainers, channels, strict=True)]
        ),
        2,
    )
    assert any("compare its digest with theirs" in line for line in job.told)


def test_who_loses_an_update_is_named_to_those_who_train_anew(tmp_path: Path) -> None:
    job = training(tmp_path)
    trainers = [job.trainer(place) for place in range(2)]

    def killed_and_back() -> Arrays:
        with pytest.MonkeyPatch.context() as patch:
            killing(trainers[1], "encrypted", 2, patch)
            with pytest.raises(Killed):
                trainers[1].run(job.channel(1))
        return job.trainer(1).run(job.channel(1))

    check(job.run([functools.partial(trainers[0].run, job.channel(0)), killed_and_back]), 2)
    assert "round 2 is made anew: party-1 has no update of it" in job.told


def test_a_company_trains_with_others_afterwards(tmp_path: Path) -> None:
    """With one identity: with party 0 first, then with party 2, who makes the next key."""
    three = plan_of(tmp_path, 3)
    for others in ((0, 1), (2, 1)):
        plan = msgspec.structs.replace(
            three,
            job=f"with {others[0]}",
            parties=tuple(three.parties[each] for each in others),
            adversary="lying-server",
        )
        job = Training(tmp_path, 2, plan, homes=tuple(f"party-{each}" for each in others))
        trainers = [
            job.trainer(place, folder=Folder(tmp_path / home / plan.job, plan.fingerprint))
            for place, home in enumerate(job.homes or ())
        ]
        check(job.all_run(trainers), 2)


def test_zeros_are_made_while_a_party_trains(tmp_path: Path) -> None:
    """Training waits here until they are begun: one after the other it would wait for ever."""
    job, begun = training(tmp_path), [threading.Event() for _ in range(2)]
    prepare, seen = Party.prepare, list[bool]()

    def prepared(party: Party, count: int = 1) -> None:
        begun[party.place].set()
        prepare(party, count)

    class Waits(Pulls):
        def make(self, *given: Any) -> Any:
            seen.append(begun[self.pull.place].wait(LONG_SECONDS))
            begun[self.pull.place].clear()
            return super().make(*given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Party, "prepare", prepared)
        works = [Part(Waits(job.plan, place), place + 1) for place in range(2)]
        check(job.all_run([job.trainer(place, settle=works[place]) for place in range(2)]), 2)
    assert seen == [True] * (2 * ROUNDS)
