"""What scorecards of a table cost is counted across runs, and a second one is not made silently."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from privfed.dp import dp_sgd_epsilon
from privfed.errors import BudgetExceededError, ConfigError
from privfed.vertical.scorecards.plan import ScorecardPlan, combined_privacy
from privfed.vertical.scorecards.spent import ScorecardsSpent
from tests.vertical.scorecards.both import choice

ONE = ScorecardPlan(choice(), 1000, 5).privacy


def test_a_second_scorecard_is_refused_with_what_both_cost(tmp_path: Path) -> None:
    path = tmp_path / "bank.csv.spent.json"
    ScorecardsSpent(path).check(ONE)
    assert not path.exists()
    assert ScorecardsSpent(path).charge(ONE).epsilon <= 1 + 1e-6
    for again in (ScorecardsSpent(path).check, ScorecardsSpent(path).charge):
        with pytest.raises(
            BudgetExceededError, match=r"1 earlier scorecard .* ε = 1\.4\d .* δ = 1"
        ):
            again(ONE)
    total = ScorecardsSpent(path, 1.5).charge(ONE)
    assert 1.4 < total.epsilon < 1.5
    assert path.stat().st_mode & 0o777 == 0o600


def test_releases_together_cost_what_as_many_steps_do(tmp_path: Path) -> None:
    """Five equal releases, against the accountant's own composition of five."""
    together = combined_privacy(ONE, [ONE.noise_multiplier] * 4).epsilon
    five = dp_sgd_epsilon(
        ONE.noise_multiplier, sampling_rates=[1.0], steps=[5], placement=(1,), delta=ONE.delta
    )
    assert math.isclose(together, five, rel_tol=1e-3)


def test_a_changed_count_or_another_unit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "spent.json"
    ScorecardsSpent(path).charge(ONE)
    other = ScorecardPlan(choice(receiver="guest"), 1000, 5).privacy
    with pytest.raises(ConfigError, match="another file"):
        ScorecardsSpent(path, 9.0).charge(other)
    path.write_text(path.read_text().replace("4.", "9.", 1))
    with pytest.raises(ConfigError, match="damaged"):
        ScorecardsSpent(path, 9.0).charge(ONE)


def test_a_count_that_is_no_json_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bank.csv.spent.json"
    path.write_text("{")
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="spent"):
        ScorecardsSpent(path).charge(ONE)
