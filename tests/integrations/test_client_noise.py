"""Client-level plans: clipped updates with shares of the noise, paid once a round."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Message
from scipy import stats

from privfed.dp import PrivacyPlan, calibrate
from privfed.errors import PeerError, QuorumError
from privfed.integrations import travels as codecs
from privfed.integrations.flower.records import message_in
from privfed.integrations.messages import Refused, read_answer
from privfed.secagg import parameters
from tests.integrations.grid import kill
from tests.integrations.jobs import Arrays, Job, ask_of, read_wire, same_bits
from tests.integrations.test_openers import asked, came

SIZE, CLIENTS = 400, 10
START: Arrays = {"w": np.zeros((SIZE - 1,), np.float32), "b": np.array(0.5)}


def plan(**settings: Any) -> PrivacyPlan:
    given: dict[str, Any] = {
        "noise": "shares",
        "rows": [1] * CLIENTS,
        "sampling_rates": [1.0] * CLIENTS,
        "rounds": 3,
        "l2_clip_norm": 1.0,
        "dimension": SIZE,
        "privacy_unit": "one client",
        "quorum": 8,
    }
    return calibrate(8.0, 1e-5, **(given | settings))


def job_of(folder: Path, **settings: Any) -> Job:
    return Job(folder, CLIENTS, start=START, plan=plan(**settings))


def flat(model: Arrays) -> Any:
    return np.concatenate([each.ravel().astype(np.float64) for each in model.values()])


def test_the_sum_has_the_noise_of_the_plan_and_all_have_one_model(tmp_path: Path) -> None:
    """Two-sided tests of spread, each with a false alarm in 10^6 runs."""
    made = plan()
    job = job_of(tmp_path / "keys")
    for site in job.sites:
        site.step = {name: each * 0 for name, each in site.step.items()}
    job.run(2)
    for site in job.sites:
        assert len(site.trained) == 2  # the application trains whatever its coin says
    after_one, after_two = job.sites[0].evaluated
    assert all(same_bits(site.evaluated[0], after_one) for site in job.sites)
    assert same_bits(job.models(), after_two)
    # All ten shares are there; the plan promises no less than those of quorum less colluders.
    std = made.share_grid_std * made.grid * np.sqrt(CLIENTS) / CLIENTS
    for before, after in ((START, after_one), (after_one, after_two)):
        noise = (flat(after) - flat(before)) / std
        low, high = stats.chi2.ppf([5e-7, 1 - 5e-7], SIZE)
        assert low < float(noise @ noise) < high
    least = made.noise_multiplier * made.l2_clip_norm / CLIENTS
    assert std >= least


def test_updates_are_clipped_and_what_is_not_finite_counts_as_nothing(tmp_path: Path) -> None:
    """The clipped mean within six standard deviations of the noise at each value."""
    job = job_of(tmp_path / "keys")
    made = plan()
    for place, site in enumerate(job.sites):
        site.step = {"w": np.full(SIZE - 1, 50.0, np.float32), "b": np.array(0.0)}
        if place in (2, 3):
            site.step["w"][7] = np.nan if place == 2 else np.inf
    site = job.sites[4]
    site.step = {"w": np.zeros(SIZE - 1, np.float32), "b": np.array(1e300)}
    job.run(1)
    moved = flat(job.models()) - flat(START)
    expected = np.r_[np.full(SIZE - 1, 7 / CLIENTS / np.sqrt(SIZE - 1)), 0.0]
    std = made.share_grid_std * made.grid * np.sqrt(CLIENTS) / CLIENTS
    assert np.abs(moved - expected)[:-1].max() < 6 * std + made.grid
    assert abs(moved[-1]) <= 1 / CLIENTS + 6 * std


def test_a_coin_decides_whose_update_counts(tmp_path: Path) -> None:
    """At rate .5 some of ten clients count, and some do not, but once in 500 runs a round."""
    made = plan(sampling_rates=[0.5] * CLIENTS)
    job = Job(tmp_path / "keys", CLIENTS, start=START, plan=made)
    drawn: list[bool] = []
    real = PrivacyPlan.draw_batch

    def draw(self: PrivacyPlan, party: int, randomness: Any) -> Any:
        coin = real(self, party, randomness)
        drawn.append(bool(coin[0]))
        return coin

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PrivacyPlan, "draw_batch", draw)
        for site in job.sites:
            site.step = {"w": np.full(SIZE - 1, 50.0, np.float32), "b": np.array(0.0)}
        job.run(3)
    assert len(drawn) == 3 * CLIENTS
    assert 0 < sum(drawn) < len(drawn)  # else once in 5 * 10^8 runs
    moved = flat(job.models()) - flat(START)
    got = float(moved[:-1].mean()) * np.sqrt(SIZE - 1)
    std = made.share_grid_std * made.grid * np.sqrt(CLIENTS) / 5 * np.sqrt(3)
    assert abs(got - sum(drawn) / 5) < 6 * std


def test_each_round_is_paid_for_before_it_and_no_more_than_planned(
    tmp_path: Path, told: list[str]
) -> None:
    job = job_of(tmp_path / "keys", rounds=2)
    files = [tmp_path / "keys" / str(place) / codecs.BUDGET for place in range(CLIENTS)]
    job.run(1)
    paid = [file.read_bytes() for file in files]
    result = job.run(1)
    assert all(file.read_bytes() != before for file, before in zip(files, paid, strict=True))
    trained = [len(site.trained) for site in job.sites]
    with pytest.raises(PeerError, match="BudgetExceededError: its privacy budget is spent"):
        job.run(1, start=result.arrays)
    assert [len(site.trained) for site in job.sites] == trained  # nobody's rows were touched


def test_the_same_question_again_is_not_paid_again(tmp_path: Path) -> None:
    """A server that repeats itself does not drain a budget."""
    job = job_of(tmp_path / "keys")
    job.run(2)
    asked = [read_wire(sent) for node, sent in job.grid.sent if node == 100]
    training = [each for each in asked if getattr(ask_of(each), "purpose", "") == "train"][-1]
    budget = (tmp_path / "keys" / "0" / codecs.BUDGET).read_bytes()
    said = job.grid.apps[100](training, job.grid.contexts[100])
    assert read_answer(message_in(said.content) or b"") == Refused("ReplayError")
    assert (tmp_path / "keys" / "0" / codecs.BUDGET).read_bytes() == budget
    assert len(job.sites[0].trained) == 2  # no row was touched again


def test_a_round_that_loses_a_client_is_lost_and_the_next_has_fewer(
    tmp_path: Path, told: list[str]
) -> None:
    job = job_of(tmp_path / "keys")
    job.sites[9].before = lambda purpose: kill() if purpose == "train" else None
    job.run(2)
    assert any("round 1 gives nothing" in line for line in told)
    assert any("9 parties are in the sum" in line for line in told)
    assert not same_bits(job.models(but=[9]), START)
    for place in (7, 8):
        job.sites[place].before = lambda purpose: kill() if purpose == "train" else None
    with pytest.raises(QuorumError):
        job.run(2, may_miss=True)


def test_who_comes_late_waits_for_the_next_run(tmp_path: Path, told: list[str]) -> None:
    """Masks are agreed on by those who were there; a latecomer ends nothing."""
    job = job_of(tmp_path / "keys")
    job.grid.dead = {109}
    seen: list[int] = []

    def revive(node: int, message: Message) -> Message:
        if job.sites[0].trained and node == 100:
            job.grid.dead.discard(109)
            seen.append(node)
        return message

    job.grid.to_node = revive
    job.run(3, may_miss=True)
    assert seen
    assert [len(job.sites[place].trained) for place in (0, 9)] == [3, 0]
    assert any("it waits for the next run" in line for line in told)


def test_from_so_many_clients_on_some_open_the_noisy_sum_for_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plan's parameters leave it to the number of clients."""
    monkeypatch.setattr(parameters, "OPENED_FROM", CLIENTS)
    job = job_of(tmp_path / "keys")
    job.run(2)
    assert not same_bits(job.models(), START)
    openers = asked(job)
    assert len(openers) == 2 * job.params.openers
    for node in job.grid.apps:
        assert came(job, node, results=False) == openers.count(node)
        assert came(job, node, results=True) == 2 - openers.count(node)
