"""Choose the best of several private trainings; the whole choice is paid before the first one.

`privfed.dp.tuning` says what it costs and who must see nothing of the runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice, repeat
from typing import Generic, TypeVar

from numpy.typing import ArrayLike

from privfed.dp import FixedRuns, PrivacyBudget, SecretRandomness, TunedPlan
from privfed.dp.randomness import NoiseSource, require_secret
from privfed.dp.runs import Runs, below
from privfed.errors import ConfigError
from privfed.training.means import private_mean
from privfed.training.noisy_sums import NoisySums

Candidate = TypeVar("Candidate")
Result = TypeVar("Result")
Scores = float | Sequence[ArrayLike]
"""A run's score, read off what it released; or for each party the scores of its rows, (n, 1)."""


@dataclass(frozen=True)
class Best(Generic[Candidate, Result]):
    """The best run, and nothing of the others.

    Attributes:
        candidate: Its settings.
        result: What it gave, such as its model.
        score: Its score, with the noise that was paid for.
    """

    candidate: Candidate
    result: Result = field(repr=False)
    score: float


def tune_private(
    run: Callable[[Candidate, PrivacyBudget], tuple[Result, Scores]],
    candidates: Sequence[Candidate],
    tuned: TunedPlan,
    budget: PrivacyBudget,
    *,
    score_sums: Callable[[], NoisySums] | None = None,
    score_range: tuple[float, float] = (0.0, 1.0),
    randomness: NoiseSource | None = None,
    simulation: bool = False,
) -> Best[Candidate, Result] | None:
    """Run trainings, each with settings of its own, and return the one with the largest score.

    With a random number of runs each draws its settings uniformly from the candidates, so that all
    are runs of one mechanism; a fixed number takes them in turn. Nothing of a run may leave but by
    what this returns: what `run` prints, keeps or sends, and the time it all takes, would be
    protected by nothing. A `run` that raises ends the tuning, which has been paid for.

    A traceback that shows variables shows of this function the settings of the run that raised, and
    neither how many runs there are or were nor what others gave. That covers nothing else: not
    what `run` keeps in variables of its own, nor who interrupts the draw of the number, nor a
    debugger, nor that there was an error.

    Args:
        run: Trains with the settings on the budget that it is given, which allows one run of the
            plan and its score; returns what it made, and its score. If the scores are private,
            each party's rows' scores, such as 1 where a row held out was told right.
        candidates: Settings to choose from, fixed without the rows; at least one.
        tuned: What a run releases, and how many there are.
        budget: Pays for all runs at once.
        score_sums: Makes the noisy sum of private scores, whose plan is the tuning's `score`.
        score_range: The least and the largest score of a row; public.
        randomness: Where the number of runs and their settings come from; None: fresh and secret.
        simulation: Whether a seeded source is meant.

    Returns:
        The best run; the first of several. None if there was none, as Poisson's law allows.

    Raises:
        BudgetExceededError: The tuning would exceed the budget, or is paid and done; nothing ran.
        ConfigError: There is no candidate; scores are private and their sum is not that of the
            tuning, or are not and it has one; or the randomness is seeded.
    """
    source = SecretRandomness() if randomness is None else randomness
    require_secret([source], simulation)
    if not candidates:
        raise ConfigError("tuning needs at least one candidate")
    if (tuned.score is None) != (score_sums is None):
        raise ConfigError(
            "give score_sums if and only if the tuning has a plan for its score: a score of "
            "private rows must be paid for"
        )
    if score_sums is not None and score_sums().plan != tuned.score:
        raise ConfigError("score_sums follow another plan than the tuning's score: use that one")
    budget.spend_round(tuned)
    kept: _Kept[Candidate, Result] = _Kept()
    for candidate in _settings(candidates, tuned.runs, source):
        own = tuned.budget_of_a_run()
        kept.take(candidate, run(candidate, own), score_sums, score_range, own)
    return kept.best


class _Kept(Generic[Candidate, Result]):
    """The best run so far, of which a traceback that shows variables shows nothing."""

    def __init__(self) -> None:
        self.best: Best[Candidate, Result] | None = None

    def __repr__(self) -> str:
        return "<the best run so far>"

    def take(
        self,
        candidate: Candidate,
        made: tuple[Result, Scores],
        score_sums: Callable[[], NoisySums] | None,
        score_range: tuple[float, float],
        own: PrivacyBudget,
    ) -> None:
        """Score a run, and keep it if it is better."""
        result, given = made
        score = _score(given, score_sums, score_range, own)
        if self.best is None or score > self.best.score:
            self.best = Best(candidate, result, score)


def _settings(
    candidates: Sequence[Candidate], runs: Runs, source: NoiseSource
) -> Iterator[Candidate]:
    """Yield each run's settings. How many there are, and were, is in no variable."""
    if isinstance(runs, FixedRuns):
        yield from islice(cycle(candidates), runs.count)
        return
    for _ in repeat(None, runs.draw(source)):
        yield candidates[below(source, len(candidates))]


def _score(
    given: Scores,
    score_sums: Callable[[], NoisySums] | None,
    score_range: tuple[float, float],
    own: PrivacyBudget,
) -> float:
    if score_sums is None:
        if not isinstance(given, int | float):
            raise ConfigError("a run's score is a number: scores of rows need score_sums")
        return -math.inf if math.isnan(given) else float(given)
    if isinstance(given, int | float):
        raise ConfigError("scores are private: return those of the rows, which get noise here")
    return float(private_mean(given, score_range, score_sums(), own)[0])
