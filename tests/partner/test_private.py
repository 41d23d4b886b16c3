"""Private rounds between companies: what is paid, what is let out, and what a server may do."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from scipy import stats

from privfed.dp import Noise, PrivacyPlan
from privfed.errors import BudgetExceededError, CapacityError, DecodeError, PeerError
from privfed.partner.adam import adam_step
from privfed.partner.messages import Answer, Join, Post, RoundUpdate, decode
from privfed.partner.noise import NoisySum
from privfed.partner.progress import Finished
from privfed.partner.server import Meeting, RoundSum
from privfed.training import Arrays, get_arrays, initial_model, weights_sha256
from tests.partner.test_rounds import Killed, killing
from tests.partner.trainings import ROUNDS, Training, build, private_training

NOISES: tuple[Noise, ...] = get_args(Noise)


def one_model(found: list[Any]) -> None:
    for each in found:
        assert isinstance(each, dict), found
    assert len({weights_sha256(each) for each in found}) == 1


def paid(job: Training) -> list[int]:
    private = job.plan.private
    assert private is not None
    return [job.budgets[place].rounds_spent(private) for place in range(job.parties)]


@pytest.mark.parametrize("parties", [2, 3])
@pytest.mark.parametrize("noise", NOISES)
def test_all_end_with_one_model_and_each_paid_for_its_rounds(
    tmp_path: Path, noise: Noise, parties: int
) -> None:
    job = private_training(tmp_path, noise, parties)
    found = job.all_run()
    one_model(found)
    assert weights_sha256(found[0]) != job.plan.start
    assert paid(job) == [ROUNDS] * parties
    again = Training(tmp_path, parties, job.plan)  # other processes
    for each in job.budgets.values():
        each.close()
    assert [again.trainer(place).rounds for place in range(parties)] == [ROUNDS] * parties
    assert paid(again) == [ROUNDS] * parties


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("point", ["trained", "encrypted", "kept", "total", "opened", "finished"])
@pytest.mark.parametrize("parties", [2, 3])
def test_a_lost_round_stays_paid_and_is_paid_anew(
    tmp_path: Path, noise: Noise, point: str, parties: int
) -> None:
    if noise == "central" and point in ("encrypted", "opened"):
        pytest.skip("nothing is encrypted")
    job = private_training(tmp_path, noise, parties)
    trainers = [job.trainer(place) for place in range(parties)]
    sent: list[tuple[int, int, bytes]] = []

    def watched(place: int) -> Callable[[str, bytes], bytes]:
        call = job.call(place)

        def act(method: str, request: bytes) -> bytes:
            if method == "Upload":
                ask = decode(request, RoundUpdate)
                sent.append((place, ask.round_id, ask.body))
            return call(method, request)

        return act

    def killed_and_back() -> Any:
        with pytest.MonkeyPatch.context() as patch:
            killing(trainers[1], point, 2, patch)
            with pytest.raises(Killed):
                trainers[1].run(job.channel(1, watched(1)))
        before = paid(job)[1]
        back = job.trainer(1)
        assert paid(job)[1] == before  # on disk
        return back.run(job.channel(1, watched(1)))

    acts: list[Callable[[], Any]] = [
        functools.partial(each.run, job.channel(place, watched(place)))
        for place, each in enumerate(trainers)
    ]
    acts[1] = killed_and_back
    one_model(job.run(acts))
    for place, count in enumerate(paid(job)):
        mine = {(number, body) for at, number, body in sent if at == place}
        # Each update that ever left, and each that was lost, was paid for by itself.
        assert len({number for number, _ in mine}) == len(mine) <= count <= ROUNDS + 2
    lost = {"trained": 1, "encrypted": 1, "kept": 0, "total": 0, "opened": 0, "finished": 0}
    masked = noise != "central" and parties > 2
    if not masked:  # with masks who is ahead may have begun a round with the old ones
        assert paid(job)[1] == ROUNDS + lost[point]


def test_what_does_not_pay_for_all_rounds_is_refused_before_any(tmp_path: Path) -> None:
    job = private_training(tmp_path, "shares", spare_rounds=0)
    private = job.plan.private
    assert private is not None
    job.trainer(1)
    job.budgets[1].spend_round(private)
    job.budgets.pop(1).close()
    with pytest.raises(BudgetExceededError, match="5 rounds are left and the budget pays for 4"):
        job.trainer(1)


def test_an_update_that_waits_is_paid(tmp_path: Path) -> None:
    """Without spare rounds, too, who was killed with one goes on."""
    job = private_training(tmp_path, "shares", spare_rounds=0)
    trainers = [job.trainer(place) for place in range(2)]

    def killed_and_back() -> Any:
        with pytest.MonkeyPatch.context() as patch:
            killing(trainers[1], "kept", 2, patch)
            with pytest.raises(Killed):
                trainers[1].run(job.channel(1))
        return job.trainer(1).run(job.channel(1))

    one_model(job.run([lambda: trainers[0].run(job.channel(0)), killed_and_back]))
    assert paid(job) == [ROUNDS] * 2


def test_a_party_whose_budget_ends_is_named_to_the_others(tmp_path: Path) -> None:
    job = private_training(tmp_path, "shares", spare_rounds=0)
    private = job.plan.private
    assert private is not None
    trainers = [job.trainer(place) for place in range(2)]
    job.budgets[1].spend_round(private)  # another training on the same rows
    told, stopped = job.all_run(trainers)
    assert isinstance(stopped, BudgetExceededError)
    assert isinstance(told, PeerError)
    assert "party-1 stopped: BudgetExceededError" in str(told)
    assert any("party-1 stopped" in line for line in job.told)
    assert trainers[0].rounds == ROUNDS - 1


# -- a server that is trusted with sums ------------------------------------------------------------


def central(tmp_path: Path) -> tuple[Training, PrivacyPlan]:
    job = private_training(tmp_path, "central")
    assert job.plan.private is not None
    return job, job.plan.private


def ask_twice(job: Training) -> tuple[bytes, bytes]:
    """Give one sum each, and come again for another noise on it; return both answers."""
    size = 8 * job.params.layout.size

    def total() -> bytes:
        nonces = [bytes([place]) * 16 for place in range(2)]
        joined = job.run(
            [
                functools.partial(
                    job.meeting.join, place, Join(job.plan.fingerprint, nonces[place])
                )
                for place in range(2)
            ]
        )
        assert joined[0].bodies == tuple(nonces)
        session = hashlib.sha256(b"".join(nonces)).digest()
        given = job.run(
            [
                functools.partial(job.meeting.upload, place, RoundUpdate(session, 1, bytes(size)))
                for place in range(2)
            ]
        )
        assert given[0].bodies == given[1].bodies
        return bytes(given[0].bodies[0])

    first = total()
    job.meeting.restart()
    return first, total()


def test_no_sum_gets_two_noises(tmp_path: Path) -> None:
    """Else a party that comes again and again averages the noise away."""
    job, _ = central(tmp_path)
    first, second = ask_twice(job)
    assert first == second


def test_an_attacker_gets_two_noises_from_a_server_that_forgets(tmp_path: Path) -> None:
    job, _ = central(tmp_path)

    class Forgetful(Meeting):
        def restart(self) -> None:
            super().restart()
            self._round, self._summed = None, 0

    job.meeting = Forgetful(job.plan, job.params, job.told.append, 0.1)
    first, second = ask_twice(job)
    assert first != second


def after_a_later_round(job: Training) -> list[Any]:
    """Get a round's total, begin the next one alone, come back, and ask for the first again."""
    body, answers = bytes(8 * job.params.layout.size), list[Any]()
    for nonce in (b"a", b"b"):
        nonces = [nonce * 15 + bytes([place]) for place in range(2)]
        joins = [Join(job.plan.fingerprint, each) for each in nonces]
        job.run([functools.partial(job.meeting.join, at, each) for at, each in enumerate(joins)])
        session = hashlib.sha256(b"".join(nonces)).digest()
        first = RoundUpdate(session, 1, body)
        answers += job.run([functools.partial(job.meeting.upload, at, first) for at in range(2)])
        assert job.meeting.upload(1, RoundUpdate(session, 2, body)).what == "waiting"
    return answers


def test_no_sum_gets_another_noise_once_a_later_round_began(tmp_path: Path) -> None:
    """One who has a total sends the next update and comes back; the other missed the total."""
    job, _ = central(tmp_path)
    assert [each.what for each in after_a_later_round(job)] == ["all", "all", "again", "again"]


def test_an_attacker_gets_two_noises_where_only_the_last_round_is_known(tmp_path: Path) -> None:
    job, _ = central(tmp_path)

    class Forgetful(Meeting):
        def upload(self, place: int, ask: RoundUpdate) -> Answer:
            self._summed = 0
            return super().upload(place, ask)

    job.meeting = Forgetful(job.plan, job.params, job.told.append, 0.1)
    one, _, other, _ = after_a_later_round(job)
    assert one.bodies != other.bodies


def test_another_process_of_the_server_never_gets_the_same_sum(tmp_path: Path) -> None:
    """It cannot know whether the first one let a noisy sum out: another batch is drawn.

    Of 40 rows two batches are the same once in 10^12 runs.
    """
    job = private_training(tmp_path, "central", rows=(40, 40), expected_batch_size=20)
    sent: list[bytes] = []

    def dies(method: str, request: bytes) -> bytes:
        if method == "Upload":
            sent.append(decode(request, RoundUpdate).body)
            raise Killed
        return job.call(1)(method, request)

    def other_server() -> Any:
        with pytest.raises(Killed):
            job.trainer(1).run(job.channel(1, dies))
        job.meeting = Meeting(job.plan, job.params, job.told.append, 0.1)
        first = job.call(1)

        def watch(method: str, request: bytes) -> bytes:
            if method == "Upload":
                sent.append(decode(request, RoundUpdate).body)
            return first(method, request)

        return job.trainer(1).run(job.channel(1, watch))

    one_model(job.run([lambda: job.trainer(0).run(job.channel(0)), other_server]))
    drawn = [each for each in sent if any(each)]  # a batch may be empty: then its sum is 0
    assert len(sent) == ROUNDS + 1
    assert len(set(drawn)) == len(drawn)
    assert paid(job)[1] == ROUNDS + 1


def test_the_servers_noise_is_the_plans(tmp_path: Path) -> None:
    """A chi-square of 3,000 rounds' noise; a false alarm once in a million runs."""
    _, private = central(tmp_path)
    added = NoisySum(private)
    for place in range(2):
        added.add(np.full(6, place + 1.0).astype("<f8").tobytes())
    draws = np.concatenate([np.frombuffer(added.total(), "<f8") for _ in range(3000)]) - 3
    deviation = private.noise_multiplier * private.l2_clip_norm
    square = float(np.sum((draws / deviation) ** 2))
    assert stats.chi2.ppf(5e-7, len(draws)) < square < stats.chi2.isf(5e-7, len(draws))


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", DecodeError),
        (bytes(47), DecodeError),
        (np.full(6, np.nan).tobytes(), DecodeError),
        (np.full(6, 1e300).tobytes(), CapacityError),
        (np.full(6, 4.1).tobytes(), CapacityError),  # of 4 rows, clipped to 1
    ],
)
def test_what_is_no_sum_is_refused_and_leaves_nothing(
    tmp_path: Path, data: bytes, error: type[Exception]
) -> None:
    _, private = central(tmp_path)
    added: RoundSum = NoisySum(private)
    with pytest.raises(error):
        added.add(data)
    deviation = private.noise_multiplier * private.l2_clip_norm
    assert np.abs(np.frombuffer(added.total(), "<f8")).max() < 8 * deviation


# -- the step that all take ------------------------------------------------------------------------


def test_the_step_is_adams() -> None:
    """As torch's in float64, over ten steps."""
    model = initial_model(build, 3)
    weights, moments = get_arrays(model), Arrays()
    theirs = model.double()
    adam = torch.optim.Adam(theirs.parameters(), lr=0.05, foreach=False)
    random = np.random.default_rng(1)
    for _ in range(10):
        gradient = random.normal(size=6)
        weights, moments = adam_step(weights, moments, gradient, 0.05)
        for each, part in zip(theirs.parameters(), np.split(gradient, [4]), strict=True):
            each.grad = torch.from_numpy(part).reshape(each.shape)
        adam.step()
        for own, other in zip(weights.values(), theirs.parameters(), strict=True):
            np.testing.assert_allclose(own, other.detach().numpy(), rtol=2e-6, atol=1e-7)


def test_who_is_equally_far_has_the_same_model(tmp_path: Path) -> None:
    job = private_training(tmp_path, "shares")
    trainers = [job.trainer(place) for place in range(2)]
    weights = {name: each + 1 for name, each in get_arrays(initial_model(build, 3)).items()}
    trainers[1].folder.finish(Finished(0, weights, {}))
    trainers[1] = job.trainer(1)
    found = job.all_run(trainers)
    assert "has another model than this party" in str(found[0])


def test_a_post_of_all_is_answered_though_somebody_stopped(tmp_path: Path) -> None:
    job = private_training(tmp_path, "shares")
    channels = [job.channel(place) for place in range(2)]
    sessions = job.run([each.join for each in channels])
    assert sessions[0] == sessions[1]

    def says_and_stops() -> Any:
        said = channels[1].exchange("key", b"one")
        channels[1].stop(BudgetExceededError())
        return said

    told, own = job.run([lambda: channels[0].exchange("key", b"zero"), says_and_stops])
    assert told == own == (b"zero", b"one")
    with pytest.raises(PeerError, match="party-1 stopped: BudgetExceededError"):
        channels[0].exchange("epoch", b"")
    assert job.meeting.post(0, Post(sessions[0], "epoch", b"")).what == "stopped"
