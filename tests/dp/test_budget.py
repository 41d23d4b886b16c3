"""What is spent stays spent: across plans, restarts, power cuts and forks."""

from __future__ import annotations

import copy
import dataclasses
import functools
import hashlib
import itertools
import json
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from dp_accounting.pld import privacy_loss_distribution as pld

from privfed.dp import PrivacyBudget, PrivacyPlan
from privfed.errors import BudgetExceededError, ConfigError, ReplayError
from privfed.rounding import as_given, at_most
from tests.places import ROOT

DELTA = 1e-5


def plan(**other: Any) -> PrivacyPlan:
    settings: dict[str, Any] = {
        "noise": "shares",
        "rows": (100, 80, 90),
        "sampling_rates": (0.2, 0.2, 0.2),
        "rounds": 20,
        "steps_per_round": (1, 1, 1),
        "l2_clip_norm": 1.0,
        "noise_multiplier": 2.0,
        "delta": DELTA,
        "privacy_unit": "one row",
        "placements": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
        "quorum": 3,
        "dimension": 10,
    }
    return PrivacyPlan(**(settings | other))


LOCAL = {"noise": "local", "sampling_rates": (0.1, 0.2, 0.1), "noise_multiplier": 3.0}


@pytest.fixture(scope="module")
def granted() -> float:
    """As much as twelve rounds of the plan."""
    return plan().spent(12) + 1e-6


def theirs(parts: list[tuple[float, float, int]]) -> float:
    """ε of (σ, rate, steps) by dp-accounting."""
    one = [
        pld.from_gaussian_mechanism(
            sigma,
            sampling_prob=rate,
            value_discretization_interval=5e-4,
            use_connect_dots=True,
        ).self_compose(steps)
        for sigma, rate, steps in parts
    ]
    together = functools.reduce(lambda a, b: a.compose(b), one)
    return float(together.get_epsilon_for_delta(DELTA))


def budget(epsilon: float, path: Path | None = None, **other: Any) -> PrivacyBudget:
    return PrivacyBudget(epsilon, DELTA, **({"privacy_unit": "one row", "path": path} | other))


def test_rounds_are_paid_until_the_next_would_be_too_much(granted: float) -> None:
    kept, training = budget(granted), plan()
    assert kept.spent_epsilon == 0
    assert kept.rounds_left(training) == 12
    for number in range(1, 13):
        assert kept.spend_round(training) == number
        assert kept.spent_epsilon == training.spent(number) <= granted
        assert kept.rounds_left(training) == 12 - number
    for _ in range(2):
        with pytest.raises(BudgetExceededError, match="round 13 would spend"):
            kept.spend_round(training)
    assert kept.rounds_spent(training) == 12
    assert kept.spent_epsilon == training.spent(12)


def test_no_round_beyond_the_plan() -> None:
    kept, training = budget(100.0), plan(rounds=2)
    assert [kept.spend_round(training) for _ in range(2)] == [1, 2]
    with pytest.raises(BudgetExceededError, match="2 rounds are spent"):
        kept.spend_round(training)
    assert kept.rounds_spent(training) == 2


def test_plans_compose_by_their_loss_distributions() -> None:
    """Shares, then local noise, then shares again: as dp-accounting composes them all at once."""
    kept, one, other = budget(100.0), plan(), plan(**LOCAL)
    for each, rounds in ((one, 7), (other, 9), (one, 4)):
        for _ in range(rounds):
            kept.spend_round(each)
    # Every row of the one is sampled by 0.2; of the other the worst are.
    direct = theirs([(2.0, 0.2, 11), (3.0, 0.2, 9)])
    assert kept.spent_epsilon == pytest.approx(direct, rel=2e-3)
    # Less than the sum of the two, more than either, and in any order.
    assert max(one.spent(11), other.spent(9)) < direct < one.spent(11) + other.spent(9)
    again = budget(100.0)
    for each, rounds in ((other, 9), (one, 11)):
        for _ in range(rounds):
            again.spend_round(each)
    assert again.spent_epsilon == pytest.approx(kept.spent_epsilon, rel=1e-9)


SEVERAL: dict[str, Any] = {
    "noise": "local",
    "sampling_rates": (0.05, 0.2, 0.6),
    "steps_per_round": (20, 15, 1),
    "noise_multiplier": 6.0,
    "rounds": 40,
}
OFTEN: dict[str, Any] = SEVERAL | {
    "sampling_rates": (0.6, 0.2, 0.05),
    "steps_per_round": (1, 5, 200),
}

RARELY: dict[str, Any] = SEVERAL | {
    "sampling_rates": (0.01, 0.02, 0.05),
    "steps_per_round": (100, 50, 20),
    "noise_multiplier": 1.0,
}


def spend(kept: PrivacyBudget, *what: tuple[PrivacyPlan, int]) -> float:
    for each, rounds in what:
        for _ in range(rounds):
            kept.spend_round(each)
    return kept.spent_epsilon


@pytest.mark.parametrize("noise", ["shares", "central"])
def test_a_release_of_all_parties_is_charged_as_one(noise: str) -> None:
    """A person's rows at two parties are in one sum: two coins, and up to two clip norms."""
    settings = {"noise": noise, "placements": ((1, 1, 0), (0, 0, 1)), "colluders": 0}
    one, other = plan(**settings), plan(noise="local", noise_multiplier=5.0)
    mixture = pld.from_mixture_gaussian_mechanism(
        2.0,
        sensitivities=[0, 1, 2],
        sampling_probs=[0.64, 0.32, 0.04],
        value_discretization_interval=5e-4,
        use_connect_dots=True,
    )
    alone = pld.from_gaussian_mechanism(
        5.0, sampling_prob=0.2, value_discretization_interval=5e-4, use_connect_dots=True
    )
    direct = mixture.self_compose(5).compose(alone.self_compose(8))
    found = spend(budget(100.0), (one, 5), (other, 8))
    assert found == pytest.approx(direct.get_epsilon_for_delta(DELTA), rel=2e-3)
    apart = theirs([(2.0, 0.2, 10), (5.0, 0.2, 8)])  # as if each party's sum were released
    assert found > 1.1 * apart


@pytest.mark.parametrize("rounds", [(1, 30), (30, 1), (12, 10)])
def test_the_worst_of_all_kinds_together_is_charged(rounds: tuple[int, int]) -> None:
    """Neither the kind that comes first in either plan, nor the one that loses least."""
    one, other = plan(**SEVERAL), plan(**OFTEN)
    found = spend(budget(100.0), (one, rounds[0]), (other, rounds[1]))
    each = [
        theirs([(6.0, q, rounds[0] * n), (6.0, r, rounds[1] * m)])
        for (q, n), (r, m) in itertools.product(
            [(0.6, 1), (0.2, 15), (0.05, 20)], [(0.6, 1), (0.2, 5), (0.05, 200)]
        )
    ]
    assert found == pytest.approx(max(each), rel=2e-3)
    assert found > 1.01 * each[0]
    assert found > 1.01 * min(each)


@pytest.mark.parametrize("rounds", [(1, 8), (8, 1), (5, 5)])
@pytest.mark.parametrize(("settings", "looser"), [(SEVERAL, 0.09), (RARELY, 0.01)])
def test_many_kinds_are_bounded_by_one_distribution_a_plan(
    settings: dict[str, Any],
    looser: float,
    rounds: tuple[int, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = OFTEN if settings is SEVERAL else RARELY | {"noise_multiplier": 1.2}
    what = (plan(**settings), rounds[0]), (plan(**other), rounds[1])
    exact = spend(budget(100.0), *what)
    monkeypatch.setattr("privfed.dp.spending._COMBINATIONS", 1)
    bound = spend(budget(100.0), *what)
    assert exact * (1 - 1e-3) <= bound <= (1 + looser) * exact


def test_twenty_plans_of_several_kinds_are_composed() -> None:
    """3^20 combinations: no less than any plan's worst kind in all, and far less than their sum."""
    plans = [plan(**(SEVERAL | {"noise_multiplier": 8.0 + n / 10})) for n in range(20)]
    found = spend(budget(100.0), *((each, 1) for each in plans))
    least = theirs([(8.0 + n / 10, 0.2, 15) for n in range(20)])
    assert least * (1 - 1e-3) <= found < 0.5 * sum(each.spent(1) for each in plans)


def test_plans_in_turn_end_where_the_next_round_would_be_too_much() -> None:
    one, other = plan(), plan(**LOCAL)
    kept, turns = budget(2.0), 0
    while kept.rounds_left((one, other)[turns % 2]) > 0:
        kept.spend_round((one, other)[turns % 2])
        turns += 1
    with pytest.raises(BudgetExceededError):
        kept.spend_round((one, other)[turns % 2])
    done = kept.rounds_spent(one), kept.rounds_spent(other)
    assert sum(done) == turns > 8
    following = (done[0] + 1, done[1]) if turns % 2 == 0 else (done[0], done[1] + 1)
    assert (
        kept.spent_epsilon <= 2.0 < spend(budget(9.0), *zip((one, other), following, strict=True))
    )


def test_one_plan_in_two_trainings_shares_its_rounds(granted: float) -> None:
    """Two runs at once with the same plan get different rounds, or none."""
    kept = budget(granted)
    runs = [plan(), plan()]
    numbers = [kept.spend_round(runs[turn % 2]) for turn in range(12)]
    assert numbers == list(range(1, 13))
    for each in runs:
        with pytest.raises(BudgetExceededError):
            kept.spend_round(each)


def test_a_budget_at_another_delta_is_the_composed_one() -> None:
    kept, training = PrivacyBudget(100.0, 1e-7, privacy_unit="one row"), plan()
    for _ in range(5):
        kept.spend_round(training)
    same = dataclasses.replace(training, delta=1e-7)
    assert kept.spent_epsilon == pytest.approx(same.spent(5), rel=1e-3)
    assert kept.spent_epsilon > training.spent(5)


def test_what_others_spent_is_taken_from_what_is_left(granted: float) -> None:
    kept, one, other = budget(granted), plan(), plan(**LOCAL)
    before = kept.rounds_left(one), kept.rounds_left(other)
    for _ in range(6):
        kept.spend_round(other)
    left = kept.rounds_left(one)
    assert 0 < left < before[0]
    for _ in range(left):
        kept.spend_round(one)
    assert kept.spent_epsilon <= granted
    with pytest.raises(BudgetExceededError):
        kept.spend_round(one)
    assert kept.rounds_left(other) < before[1] - 6


def test_a_restart_goes_on(tmp_path: Path, granted: float) -> None:
    path, training = tmp_path / "budget.json", plan()
    kept = budget(granted, path)
    for _ in range(5):
        kept.spend_round(training)
    kept.spend_round(plan(**LOCAL))
    spent, left = kept.spent_epsilon, kept.rounds_left(training)
    del kept
    kept = budget(granted, path)
    assert kept.spent_epsilon == spent
    assert kept.rounds_spent(training) == 5
    assert kept.rounds_left(training) == left
    assert kept.spend_round(training) == 6


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tests.dp.test_budget import budget, plan
kept = budget(float(sys.argv[2]), Path(sys.argv[3]))
while True:
    number = kept.spend_round(plan())
    print(number, flush=True)
    if number == int(sys.argv[4]):
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_process_has_paid_for_its_round(tmp_path: Path, granted: float) -> None:
    """Each start is killed without warning right after a payment; twelve rounds in all."""
    path = tmp_path / "budget.json"
    began: list[int] = []
    for dies_at in (3, 4, 9, 100):
        done = subprocess.run(
            [
                *(sys.executable, "-c", KILLED, str(ROOT)),
                *(repr(granted), str(path), str(dies_at)),
            ],
            capture_output=True,
            text=True,
        )
        began += map(int, done.stdout.split())
        killed = dies_at < 100
        assert done.returncode == (-signal.SIGKILL if killed else 1)
        assert ("BudgetExceededError" in done.stderr) == (not killed)
    assert began == list(range(1, 13))
    assert budget(granted, path).rounds_spent(plan()) == 12


def test_a_write_cut_short_leaves_the_last_state(
    tmp_path: Path, granted: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The power fails in the midst of a write: the round was refused, the file is whole."""
    path, training = tmp_path / "budget.json", plan()
    kept = budget(granted, path)
    kept.spend_round(training)

    def cut(descriptor: int) -> None:
        os.ftruncate(descriptor, 17)
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", cut)
        with pytest.raises(ConfigError, match="cannot write"):
            kept.spend_round(training)
    assert kept.rounds_spent(training) == 2  # begun or not, nobody knows: it counts
    del kept
    assert budget(granted, path).rounds_spent(training) == 1


def test_one_owner_at_a_time(tmp_path: Path, granted: float) -> None:
    path = tmp_path / "budget.json"
    kept = budget(granted, path)
    alias = tmp_path / "alias.json"
    alias.symlink_to(path)
    (tmp_path / "folder").symlink_to(tmp_path)
    for name in (path, tmp_path / "folder" / "budget.json", tmp_path / "." / "budget.json"):
        with pytest.raises(ConfigError, match="in use"):
            budget(granted, name)
    with pytest.raises(ConfigError, match="symbolic link"):
        budget(granted, alias)
    del kept
    budget(granted, path)


def spend_here(kept: PrivacyBudget, results: Any) -> None:
    try:
        results.put(kept.spend_round(plan()))
    except ReplayError as error:
        results.put(str(error))


@pytest.mark.parametrize("on_disk", [True, False])
def test_the_other_side_of_a_fork_cannot_spend(
    tmp_path: Path, granted: float, on_disk: bool
) -> None:
    """A lock on a file is inherited by a fork; both sides would pay for the same round once."""
    kept = budget(granted, tmp_path / "budget.json" if on_disk else None)
    assert kept.spend_round(plan()) == 1
    forking = multiprocessing.get_context("fork")
    results = forking.SimpleQueue()
    child = forking.Process(target=spend_here, args=(kept, results))
    child.start()
    assert "forked" in str(results.get())
    child.join()
    assert kept.spend_round(plan()) == 2


@pytest.mark.parametrize("copied", [copy.deepcopy, pickle.dumps])
def test_a_budget_is_not_doubled(granted: float, copied: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError):
        copied(budget(granted))


def test_threads_never_share_a_round(granted: float) -> None:
    kept, training = budget(100.0), plan()
    start = threading.Barrier(4)

    def run() -> list[int]:
        start.wait()
        return [kept.spend_round(training) for _ in range(5)]

    with ThreadPoolExecutor(4) as pool:
        numbers = [
            each for future in [pool.submit(run) for _ in range(4)] for each in future.result()
        ]
    assert sorted(numbers) == list(range(1, 21))


def test_another_grant_is_refused(tmp_path: Path, granted: float) -> None:
    path = tmp_path / "budget.json"
    budget(granted, path).spend_round(plan())
    for other in ({"epsilon": 2 * granted}, {"delta": 1e-4}, {"privacy_unit": "one person"}):
        asked: dict[str, Any] = {
            "epsilon": granted,
            "delta": DELTA,
            "privacy_unit": "one row",
        } | other
        with pytest.raises(ConfigError, match="ask for the same"):
            PrivacyBudget(**asked, path=path)
    assert budget(granted, path).rounds_spent(plan()) == 1


def test_another_unit_is_refused(granted: float) -> None:
    kept = budget(granted)
    for use in (kept.spend_round, kept.rounds_left):
        with pytest.raises(ConfigError, match="'one person'"):
            use(plan(privacy_unit="one person"))
    assert kept.spent_epsilon == 0


def changed(text: str, **other: Any) -> str:
    return json.dumps(json.loads(text) | other)


def spent_as(text: str, **other: Any) -> str:
    kept = json.loads(text)
    kept["spent"][0] |= other
    return json.dumps(kept)


def signed(text: str, **other: Any) -> str:
    """Another budget's file, whole, or one by an editor that makes the digest, too."""
    kept = json.loads(text) | other
    kept["sha256"] = ""
    kept["sha256"] = hashlib.sha256(json.dumps(kept).encode()).hexdigest()
    return json.dumps(kept)


def signed_plan(text: str, **other: Any) -> str:
    spent = json.loads(text)["spent"]
    spent[0]["plan"] |= other
    return signed(text, spent=spent)


DAMAGE: dict[str, Callable[[str], str]] = {
    "empty": lambda text: "",
    "cut": lambda text: text[: len(text) // 2],
    "no JSON": lambda text: text.replace("{", "[", 1),
    "a list": lambda text: "[]",
    "a number": lambda text: "7",
    "version": functools.partial(changed, version=3),
    "another adjacency": functools.partial(signed, adjacency="replace one unit"),
    "a plan for others": lambda text: signed_plan(text, privacy_unit="one person"),
    "a plan twice": lambda text: signed(text, spent=json.loads(text)["spent"] * 2),
    "fewer rounds": functools.partial(spent_as, rounds=0),
    "less noise": lambda text: text.replace('"noise_multiplier": 2.0', '"noise_multiplier": 9.0'),
    "a larger grant": lambda text: text.replace('"epsilon": ', '"epsilon": 1'),
    "nothing of it spent": functools.partial(changed, spent=[]),
    "nothing spent": functools.partial(changed, spent=None),
    "no plan": functools.partial(spent_as, plan={}),
    "another plan": functools.partial(spent_as, plan=[1, 2]),
    "negative": functools.partial(spent_as, rounds=-1),
    "beyond the plan": functools.partial(spent_as, rounds=21),
    "half a round": functools.partial(spent_as, rounds=1.5),
    "no rounds": functools.partial(spent_as, rounds=None),
    "binary": lambda text: text.replace('"version"', '"\udcff"'),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_refused(tmp_path: Path, granted: float, damage: str) -> None:
    """Never taken for an empty one, which would forget what is spent."""
    path = tmp_path / "budget.json"
    budget(granted, path).spend_round(plan())
    damaged = DAMAGE[damage](path.read_text()).encode(errors="surrogateescape")
    path.write_bytes(damaged)
    with pytest.raises(ConfigError, match="no privacy budget"):
        budget(granted, path)
    assert path.read_bytes() == damaged


def test_a_file_of_before_there_was_a_digest_goes_on(tmp_path: Path, granted: float) -> None:
    path = tmp_path / "budget.json"
    budget(granted, path).spend_round(plan())
    kept = json.loads(path.read_text()) | {"version": 1}
    del kept["sha256"]
    path.write_text(json.dumps(kept))
    assert budget(granted, path).spend_round(plan()) == 2
    assert "sha256" in json.loads(path.read_text())


@pytest.mark.parametrize("what", ["lock deleted", "lock replaced", "removed", "older", "another"])
def test_a_file_that_others_touch_in_use_is_noticed(
    tmp_path: Path, granted: float, what: str
) -> None:
    path, lock = tmp_path / "budget.json", tmp_path / "budget.json.lock"
    kept = budget(granted, path)
    older = path.read_text()
    kept.spend_round(plan())
    newer = path.read_text()
    if "lock" in what:
        lock.unlink()
        if what == "lock replaced":  # another process spends the same rounds
            budget(granted, path).spend_round(plan())
    elif what == "removed":
        path.unlink()
    else:
        path.write_text(older if what == "older" else signed(newer, privacy_unit="one person"))
    before = path.read_text() if path.exists() else None
    with pytest.raises(ConfigError, match="deleted while" if "lock" in what else "somebody else"):
        kept.spend_round(plan())
    assert (path.read_text() if path.exists() else None) == before


def test_a_folder_that_is_not_there(tmp_path: Path, granted: float) -> None:
    with pytest.raises(ConfigError, match="cannot use"):
        budget(granted, tmp_path / "none" / "budget.json")


@pytest.mark.parametrize(
    ("epsilon", "delta"),
    [(0.0, 1e-5), (-1.0, 1e-5), (float("nan"), 1e-5), (float("inf"), 1e-5), (1.0, 0.0), (1.0, 1.0)],
)
def test_wrong_grants_are_refused(epsilon: float, delta: float) -> None:
    with pytest.raises(ConfigError, match="epsilon above 0"):
        PrivacyBudget(epsilon, delta, privacy_unit="one row")


def test_an_epsilon_comes_with_what_it_means(granted: float) -> None:
    kept = budget(granted)
    assert "no round yet" in kept.statement()
    kept.spend_round(plan())
    said = kept.statement()
    for part in (
        f"{at_most(kept.spent_epsilon)} of {as_given(granted)}",
        "δ = 1e-05",
        "zero-out of one unit",
    ):
        assert part in said
    assert "one row" in said
    assert "Poisson" in said
    assert "one row" in repr(kept)


def test_a_closed_budget_is_anothers_to_open(tmp_path: Path, granted: float) -> None:
    path, kept_error = tmp_path / "budget.json", None
    with budget(granted, path) as kept:
        kept.spend_round(training := plan(rounds=3))
        try:
            raise KeyError("kept, with every frame that led to it")
        except KeyError as error:
            kept_error = error
    with pytest.raises(ConfigError, match="closed"):
        kept.spend_round(training)
    assert kept.rounds_spent(training) == 1
    with budget(granted, path) as again:
        assert again.spend_round(training) == 2
    assert kept_error is not None
