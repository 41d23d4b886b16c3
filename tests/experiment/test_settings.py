"""What may be asked, and the runs that follow from it."""

from __future__ import annotations

import math
from typing import Any

import pytest

from privfed.errors import ConfigError
from privfed.experiment import Settings, choose_arms, jobs, party_names


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"splits": ["sideways"]}, "unknown split 'sideways': choose from overlapping, disjoint"),
        ({"splits": []}, "`splits`"),
        ({"splits": ["disjoint", "disjoint"]}, "twice"),
        ({"arms": []}, "`arms`"),
        ({"parties": 1}, "`parties` must be at least 2"),
        ({"rounds": 0}, "`rounds` must be at least 1"),
        ({"private_rounds": 0}, "`private_rounds` must be at least 1"),
        ({"seeds": 0}, "`seeds` must be at least 1"),
        ({"epsilons": [1.0, 0.0]}, "`epsilons` must hold positive numbers, not 0"),
        ({"epsilons": [-1.0]}, "`epsilons`"),
        ({"epsilons": [math.nan]}, "`epsilons`"),
        ({"epsilons": [math.inf]}, "`epsilons`"),
        ({"epsilons": [1.0, 1]}, "twice"),
        ({"delta": 0.0}, "`delta`"),
        ({"delta": 1.0}, "`delta`"),
        ({"delta": math.nan}, "`delta`"),
        ({"expected_batch_size": 0}, "batch size"),
        ({"l2_clip_norm": 0.0}, "clip norm"),
        ({"l2_clip_norm": math.nan}, "clip norm"),
        ({"private_learning_rate": -1.0}, "learning rate"),
        ({"private_learning_rate": math.inf}, "learning rate"),
    ],
)
def test_wrong_settings(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        Settings(**wrong)
    assert "\n" not in str(caught.value)


def test_parties_have_the_papers_names() -> None:
    assert party_names(2) == ("guest", "host")
    assert party_names(4) == ("guest", "host", "party-3", "party-4")


PRIVATE = ["federated-he-dp", "single-party", "local-noise", "noise-shares", "central-noise"]


def test_all_arms_in_order() -> None:
    arms = choose_arms(None, party_names(2))
    assert [arm.name for arm in arms] == [
        *("guest", "host", "overall", "federated-float", "federated", "federated-he"),
        *PRIVATE,
    ]
    assert [arm.name for arm in arms if arm.private] == PRIVATE
    assert [arm.noise for arm in arms if arm.noise] == ["local", "shares", "central"]
    assert len({arm.who_sees for arm in arms}) == len(arms)
    assert all(arm.who_sees.endswith(".") and arm.who_sees.count(". ") == 0 for arm in arms)


def test_some_arms_run_in_the_same_order_and_once() -> None:
    arms = choose_arms(["overall", "party-3", "guest", "overall"], party_names(3))
    assert [arm.name for arm in arms] == ["guest", "party-3", "overall"]


@pytest.mark.parametrize("name", ["party-3", "Guest", "federated-he-dp "])
def test_unknown_arms(name: str) -> None:
    with pytest.raises(ConfigError, match=r"unknown arm .*choose from guest, host, overall"):
        choose_arms(["guest", name], party_names(2))


def test_jobs_are_every_arm_on_every_split_with_every_seed() -> None:
    settings = Settings(
        splits=("disjoint", "overlapping"),
        arms=("guest", "federated-he-dp", "noise-shares"),
        rounds=50,
        private_rounds=4,
        private_steps=9,
        seeds=2,
        epsilons=(1.0, 0.5),
    )
    found = [(j.split, j.seed, j.arm.name, j.epsilon, j.rounds) for j in jobs(settings)]
    assert found == [
        (split, seed, *arm)
        for split in ("disjoint", "overlapping")
        for seed in (0, 1)
        for arm in [
            ("guest", None, 50),
            ("federated-he-dp", 1.0, 4),
            ("federated-he-dp", 0.5, 4),
            ("noise-shares", 1.0, 9),
            ("noise-shares", 0.5, 9),
        ]
    ]
    assert jobs(settings)[2].title == "disjoint, seed 0: federated-he-dp ε=0.5"


def test_private_arms_need_an_epsilon() -> None:
    with pytest.raises(ConfigError, match="`epsilons`"):
        jobs(Settings(arms=["federated-he-dp"], epsilons=[]))
    assert jobs(Settings(arms=["guest"], epsilons=[], seeds=1))
