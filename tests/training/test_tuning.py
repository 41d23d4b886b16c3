"""Tuning hands out the best run and nothing else, and all of it is paid before the first run."""

from __future__ import annotations

import math
import re
import traceback
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from privfed.dp import (
    FixedRuns,
    PrivacyBudget,
    PrivacyPlan,
    RandomRuns,
    SecretRandomness,
    SeededRandomness,
    TunedPlan,
)
from privfed.errors import BudgetExceededError, ConfigError
from privfed.training import (
    CentralNoise,
    LocalNoise,
    NoisySums,
    RecordGradients,
    train_private,
    tune_private,
    tuning,
)

ROWS, HELD = 300, 80


def plan(**other: Any) -> PrivacyPlan:
    settings: dict[str, Any] = {
        "noise": "central", "rows": (ROWS,), "sampling_rates": (0.2,), "rounds": 5,
        "steps_per_round": (1,), "l2_clip_norm": 1.0, "noise_multiplier": 2.0, "delta": 1e-5,
        "privacy_unit": "one row", "placements": ((1,),), "quorum": 1, "dimension": 22,
    }  # fmt: skip
    return PrivacyPlan(**(settings | other))


def score(**other: Any) -> PrivacyPlan:
    settings = {"rows": (HELD,), "sampling_rates": (1.0,), "rounds": 1, "dimension": 1}
    return plan(**(settings | {"noise_multiplier": 3.0} | other))


def tuned(runs: RandomRuns | FixedRuns, scored: bool = False) -> TunedPlan:
    return TunedPlan(plan=plan(), runs=runs, score=score() if scored else None, delta=1e-5)


def budget(epsilon: float = 100.0) -> PrivacyBudget:
    return PrivacyBudget(epsilon, 1e-5, privacy_unit="one row")


def sums() -> NoisySums:
    return CentralNoise(score())


class Told:
    """Runs that note what they were given; each candidate is its own score and result."""

    def __init__(self, *also: float) -> None:
        self.seen: list[float] = []
        self.budgets: list[PrivacyBudget] = []
        self.scores = dict(enumerate(also))

    def __call__(self, candidate: float, own: PrivacyBudget) -> tuple[str, float]:
        self.seen.append(candidate)
        self.budgets.append(own)
        return f"model of {candidate}, run {len(self.seen)}", self.scores.get(
            len(self.seen) - 1, candidate
        )


def test_a_fixed_number_takes_the_candidates_in_turn_and_the_best_is_returned() -> None:
    run = Told()
    found = tune_private(run, [3.0, 7.0, 5.0], tuned(FixedRuns(4)), budget())
    assert run.seen == [3.0, 7.0, 5.0, 3.0]
    assert found is not None
    assert (found.candidate, found.score, found.result) == (7.0, 7.0, "model of 7.0, run 2")
    assert "model" not in repr(found)


def test_a_random_number_draws_candidates_uniformly() -> None:
    """Numbers and candidates by their laws: chi-square, false alarms in 10,000; seeded."""
    counts: list[int] = []
    chosen: Counter[float] = Counter()
    source, law = SeededRandomness(6), RandomRuns(3)
    whole = tuned(law)
    for _ in range(400):
        run = Told()
        tune_private(run, [1.0, 2.0, 3.0, 4.0], whole, budget(), randomness=source, simulation=True)
        counts.append(len(run.seen))
        chosen.update(run.seen)
    assert stats.chisquare([chosen[each] for each in (1.0, 2.0, 3.0, 4.0)]).pvalue > 1e-4
    wanted = [400 * float(p) for _, p in law.law() if 400 * float(p) >= 10]
    seen = Counter(counts)
    found = [seen[number + 1] for number in range(len(wanted))]
    together = [*wanted, 400 - sum(wanted)], [*found, 400 - sum(found)]
    assert stats.chisquare(together[1], together[0]).pvalue > 1e-4


def test_the_number_is_secret_unless_simulation_is_meant() -> None:
    with pytest.raises(ConfigError, match="seeded"):
        tune_private(Told(), [1.0], tuned(RandomRuns(3)), budget(), randomness=SeededRandomness(1))
    lengths, whole = set(), tuned(RandomRuns(20))
    for _ in range(12):
        run = Told()
        tune_private(run, [1.0], whole, budget(), randomness=SecretRandomness())
        lengths.add(len(run.seen))
    assert len(lengths) > 1  # 12 equal ones of a geometric law of mean 20: less than 1e-12


def test_no_run_gives_nothing() -> None:
    source, whole = SeededRandomness(0), tuned(RandomRuns(1, math.inf))
    found = [
        tune_private(Told(), [1.0], whole, budget(), randomness=source, simulation=True)
        for _ in range(60)
    ]
    nothing = sum(each is None for each in found)
    assert 8 < nothing < 38  # of 60 with chance 1/e each: less than 1e-4 outside


def test_the_first_of_equals_and_no_score_that_is_none() -> None:
    run = Told(math.nan, 2.0, 2.0, 1.0)
    found = tune_private(run, [1.0], tuned(FixedRuns(4)), budget())
    assert found is not None
    assert found.result.endswith("run 2")
    found = tune_private(Told(math.nan), [1.0], tuned(FixedRuns(1)), budget())
    assert found is not None
    assert found.score == -math.inf


def test_all_runs_are_paid_before_the_first() -> None:
    whole = tuned(FixedRuns(3))
    run, small = Told(), budget(whole.epsilon * 0.9)
    with pytest.raises(BudgetExceededError):
        tune_private(run, [1.0], whole, small)
    assert not run.seen
    enough = budget(whole.epsilon * 1.01)

    def looks(candidate: float, own: PrivacyBudget) -> tuple[None, float]:
        assert enough.rounds_spent(whole) == 1
        return None, candidate

    tune_private(looks, [1.0], whole, enough)
    with pytest.raises(BudgetExceededError):
        tune_private(run, [1.0], whole, enough)
    assert not run.seen


def test_each_run_has_the_plans_rounds_and_no_more() -> None:
    run = Told()
    tune_private(run, [1.0], tuned(FixedRuns(2)), budget())
    for own in run.budgets:
        for _ in range(5):
            own.spend_round(plan())
        with pytest.raises(BudgetExceededError):
            own.spend_round(plan())
        with pytest.raises(BudgetExceededError):
            own.spend_round(score())  # which this tuning has none of


def test_private_scores_get_their_noise_and_are_paid() -> None:
    """Rows' scores leave through the noisy sum alone; a run that has spent it cannot be scored."""
    whole = tuned(FixedRuns(60), scored=True)
    exact = np.repeat([[1.0], [0.0]], HELD // 2, axis=0)
    scores = []

    def run(candidate: int, own: PrivacyBudget) -> tuple[int, list[np.ndarray]]:
        return candidate, [exact]

    for _ in range(30):
        best = tune_private(run, [0], TunedPlan(
            plan=plan(), runs=FixedRuns(1), score=score(), delta=1e-5
        ), budget(), score_sums=sums)  # fmt: skip
        assert best is not None
        scores.append(best.score)
    deviation = 3.0 / 2 / HELD  # of the clip norm, in units of half the range, over the rows
    assert abs(np.mean(scores) - 0.5) < 6 * deviation / math.sqrt(30)
    assert 0.3 * deviation < np.std(scores) < 2 * deviation
    highest = tune_private(run, [0], whole, budget(500.0), score_sums=sums)
    assert highest is not None
    assert highest.score > 0.5 + deviation  # the best of 60 draws of noise

    def spends(candidate: int, own: PrivacyBudget) -> tuple[int, list[np.ndarray]]:
        own.spend_round(score())
        return candidate, [exact]

    with pytest.raises(BudgetExceededError):
        tune_private(spends, [0], whole, budget(500.0), score_sums=sums)


def test_scores_and_their_plan_go_together() -> None:
    def rows(candidate: float, own: PrivacyBudget) -> tuple[None, list[np.ndarray]]:
        return None, [np.ones((HELD, 1))]

    untouched = budget()
    for whole, given in ((tuned(FixedRuns(1)), sums), (tuned(FixedRuns(1), True), None)):
        with pytest.raises(ConfigError, match="score_sums if and only if"):
            tune_private(Told(), [1.0], whole, untouched, score_sums=given)
    other = score(noise_multiplier=2.0)
    with pytest.raises(ConfigError, match="another plan"):
        tune_private(
            rows, [1.0], tuned(FixedRuns(1), True), untouched,
            score_sums=lambda: CentralNoise(other),
        )  # fmt: skip
    with pytest.raises(ConfigError, match="candidate"):
        tune_private(Told(), [], tuned(FixedRuns(1)), untouched)
    assert untouched.spent_epsilon == 0
    with pytest.raises(ConfigError, match="number"):
        tune_private(rows, [1.0], tuned(FixedRuns(1)), budget())
    with pytest.raises(ConfigError, match="private"):
        tune_private(Told(), [1.0], tuned(FixedRuns(1), True), budget(), score_sums=sums)


def test_a_learning_rate_is_chosen_by_rows_held_out() -> None:
    """The whole way, with real training: the rate that learns wins over the one that does not."""
    torch.manual_seed(0)
    x = torch.randn(ROWS + HELD, 10)
    y = (x[:, 0] + 0.5 * x[:, 1] > 0).long()
    training = plan(rounds=12, noise_multiplier=1.0)
    whole = TunedPlan(plan=training, runs=FixedRuns(2), score=score(), delta=1e-5)

    def run(rate: float, own: PrivacyBudget) -> tuple[nn.Linear, list[np.ndarray]]:
        model = nn.Linear(10, 2)
        rows = RecordGradients(model, x[:ROWS], y[:ROWS], training, 0, SecretRandomness())
        optimizer = torch.optim.SGD(model.parameters(), lr=rate)
        train_private(model, [rows], CentralNoise(training), own, optimizer)
        right = (model(x[ROWS:]).argmax(dim=1) == y[ROWS:]).double()
        return model, [right[:, None].numpy()]

    best = tune_private(run, [1e-9, 2.0], whole, budget(), score_sums=sums)
    assert best is not None
    assert best.candidate == 2.0  # by some twelve standard deviations of the noise
    assert best.score > 0.7


def test_local_noise_scores_at_one_party() -> None:
    local = score(noise="local")
    whole = TunedPlan(plan=plan(), runs=FixedRuns(1), score=local, delta=1e-5)
    found = tune_private(
        lambda candidate, own: (candidate, [np.ones((HELD, 1))]), [0], whole, budget(),
        score_sums=lambda: LocalNoise(local),
    )  # fmt: skip
    assert found is not None
    assert abs(found.score - 1) < 0.2


class Breaks:
    """Runs of which one raises."""

    def __init__(self, at: int) -> None:
        self.left = at

    def __call__(self, candidate: float, own: PrivacyBudget) -> tuple[str, float]:
        self.left -= 1
        if not self.left:
            raise RuntimeError("it broke")
        return f"model before {self.left}", 1000.0 + self.left

    def __repr__(self) -> str:
        return "Breaks()"


@pytest.mark.parametrize("runs", [FixedRuns(9), RandomRuns(900)])
def test_a_traceback_with_variables_tells_of_no_other_run(runs: FixedRuns | RandomRuns) -> None:
    """Neither how many there are or were; by their repr, as python, rich and pytest show them."""
    whole, shown = tuned(runs), []
    for fails in (1, 7):
        source = SeededRandomness(fails)
        with pytest.raises(RuntimeError) as raised:
            tune_private(Breaks(fails), [5.0], whole, budget(), randomness=source, simulation=True)
        frames = traceback.TracebackException.from_exception(raised.value, capture_locals=True)
        own = [frame for frame in frames.stack if frame.filename == tuning.__file__]
        assert [frame.name for frame in own] == ["tune_private"]
        assert own[0].locals is not None
        assert own[0].locals["candidate"] == "5.0"
        shown.append(
            {name: re.sub("0x[0-9a-f]+", "", each) for name, each in own[0].locals.items()}
        )
    assert shown[0] == shown[1]
