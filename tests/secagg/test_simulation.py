"""Many parties in one process: what they exchange, what it costs, and what is refused."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from privfed import secagg
from privfed.errors import ConfigError, QuorumError, ReplayError
from privfed.secagg import simulation
from privfed.secagg.schemes.packed import PackedOpener
from privfed.secagg.simulation import AHEAD
from tests.secagg.parties import against, expected_mean, identities, parameters, updates

SHAPES: dict[str, tuple[int, ...]] = {"w": (7, 5), "b": (5,)}
AFTER = ("encrypt", "aggregate", "decrypt")


def job(clients: int = 4, **changes: Any) -> secagg.Simulation:
    return secagg.simulate(clients, lambda roster: parameters(clients, roster=roster, **changes))


@pytest.mark.parametrize("masks", [False, True])
def test_the_mean_is_numpys_and_a_total_is_decrypted_once(
    masks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []
    decrypt = secagg.Decryptor.decrypt

    def counted(
        self: secagg.Decryptor, total: bytes, round_id: int, cohort: Sequence[int] | None = None
    ) -> secagg.MeanResult:
        opened.append(round_id)
        return decrypt(self, total, round_id, cohort)

    monkeypatch.setattr(secagg.Decryptor, "decrypt", counted)
    there, weights = job(adversary=against(masks)), [3, 500, 77, 1024]
    for round_id in (1, 2):
        sent = updates(4, SHAPES, seed=round_id)
        result, traffic = there.average(sent, round_id=round_id, weights=weights)
        wanted = expected_mean(there.params, sent, weights)
        assert all(np.array_equal(result.mean[name], wanted[name]) for name in wanted)
        assert traffic.upload_bytes % 4 == traffic.download_bytes % 4 == 0
        assert tuple(traffic.seconds) == AFTER
    assert opened == [1, 2]


def test_the_server_is_given_public_parameters_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    given, serve = [], simulation.serve

    def watched(params: secagg.Parameters, *more: Any) -> secagg.Aggregator:
        given.append(params)
        return serve(params, *more)

    monkeypatch.setattr(simulation, "serve", watched)
    there = job(max_weight=None)
    there.average(updates(4, SHAPES), round_id=1)
    assert given == [there.params]
    assert given[0] is not there.params


def test_what_was_made_ahead_is_told_by_phase_in_the_round_that_used_it() -> None:
    ticks = iter(range(1000))
    there = secagg.simulate(
        3,
        lambda roster: parameters(3, roster=roster, max_weight=None),
        clock=lambda: next(ticks),
    )
    sent = updates(3, SHAPES)
    there.prepare(1)
    assert [each.prepared for each in there.encryptors] == [1, 1, 1]
    _, first = there.average(sent, round_id=1)
    _, second = there.average(sent, round_id=2)
    assert first.seconds == dict.fromkeys(AHEAD + AFTER, 1)
    assert second.seconds == dict.fromkeys(AFTER, 1)
    with pytest.raises(ReplayError):
        there.prepare(2)


def test_a_decryptor_that_expects_a_round_expands_no_seed_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    there, sent = job(max_weight=None), updates(4, SHAPES)
    there.prepare(1)
    monkeypatch.setattr(
        PackedOpener,
        "keystream",
        lambda *_: pytest.fail("seeds were expanded after the sum arrived"),
    )
    there.average(sent, round_id=1)


def test_those_who_are_absent_are_left_out() -> None:
    there = job(clients=5, max_weight=None, min_clients=3)
    sent = dict(enumerate(updates(5, SHAPES)))
    there.prepare(1, cohort=(0, 2, 4))
    result, _ = there.average({place: sent[place] for place in (4, 0, 2)}, round_id=1)
    wanted = expected_mean(there.params, [sent[0], sent[2], sent[4]])
    assert all(np.array_equal(result.mean[name], wanted[name]) for name in wanted)
    assert result.senders == tuple(there.params.roster[place].id for place in (0, 2, 4))
    there = job(clients=6, max_weight=None, adversary="lying-server+1")
    sent = dict(enumerate(updates(6, SHAPES)))
    there.prepare(1)
    result, _ = there.average({place: sent[place] for place in (4, 0, 3, 5, 1)}, round_id=1)
    assert result.senders == tuple(there.params.roster[place].id for place in (3, 4, 5))
    there = job(clients=5, max_weight=None, min_clients=3)
    with pytest.raises(QuorumError):
        there.average({0: sent[0], 1: sent[1]}, round_id=1)


def test_a_quorum_may_be_larger_than_a_group() -> None:
    there = job(clients=7, max_weight=None, min_clients=7, adversary="lying-server+1")
    assert there.params.group_sizes == (4, 3)
    sent = updates(7, SHAPES)
    result, _ = there.average(sent, round_id=1)
    assert len(result.senders) == 7
    with pytest.raises(QuorumError, match="4 parties sent, 2 wait"):
        there.average(dict(enumerate(sent[:6])), round_id=2)


@pytest.mark.parametrize("sent", [updates(5, SHAPES), {4: {}}, {-1: {}}, {"guest": {}}])
def test_updates_of_nobody_are_refused(sent: Any) -> None:
    there = job(max_weight=None)
    with pytest.raises(ConfigError, match="by their places"):
        there.average(sent, round_id=1)
    with pytest.raises(ConfigError, match="by their places"):
        there.add_integers(sent, round_id=1)


@pytest.mark.parametrize("places", [(0, 1, 4), (0, 1, -1), ("guest",), 3])
def test_a_round_of_nobody_is_not_made_ahead(places: Any) -> None:
    for masks in (False, True):
        with pytest.raises(ConfigError):
            job(adversary=against(masks)).prepare(1, places)


@pytest.mark.parametrize("weights", [[1, 2, 3], [1] * 5])
def test_weights_are_one_a_party(weights: list[int]) -> None:
    with pytest.raises(ConfigError, match="weights for 4 parties"):
        job().average(updates(4, SHAPES), round_id=1, weights=weights)


def test_parties_of_another_roster_are_refused() -> None:
    with pytest.raises(ConfigError, match="roster"):
        secagg.Simulation(parameters(3), identities(4)[1:])
