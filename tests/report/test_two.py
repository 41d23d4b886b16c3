"""Two benchmarks side by side: what was asked and what came out, paired where rows are the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from msgspec import structs

from privfed.errors import ConfigError
from privfed.experiment.results import Results
from privfed.experiment.summary import summarise
from privfed.report.two import ArmPair, in_words, terminal_two, two_results, write_two
from tests.report.samples import sample

NAMES = ("before", "after")
ARMS = ("guest", "federated", "noise-shares")


def moved(results: Results, arm: str, by: float) -> Results:
    """The same results where one arm does better in every seed, and has other weights."""
    runs = [
        structs.replace(r, test_accuracy=r.test_accuracy + by, weights_sha256="f" * 64)
        if r.arm == arm
        else r
        for r in results.runs
    ]
    return structs.replace(results, runs=runs, summaries=summarise(runs))


def before(**changes: object) -> Results:
    given = {"arms": ARMS, "rounds": 20, "epsilons": (1.0,), "splits": ("disjoint",)} | changes
    return sample(**given)  # type: ignore[arg-type]


def pair(pairs: list[ArmPair], arm: str) -> ArmPair:
    return next(each for each in pairs if each.line.arm == arm)


def test_equal_results_are_equal_bit_for_bit() -> None:
    two = two_results(before(), before(), NAMES)
    assert [(p.difference, p.equal_weights, p.seeds) for p in two.pairs] == [(0.0, 5, 5)] * 3
    assert (two.settings, two.alone) == ([], [])
    assert in_words(two).endswith("All their weights are equal, bit for bit.")


def test_a_difference_in_every_seed_is_sure_and_an_untouched_arm_is_not() -> None:
    first = before()
    two = two_results(first, moved(first, "federated", 0.05), NAMES)
    found = pair(two.pairs, "federated")
    assert found.difference == pytest.approx(0.05)
    assert found.interval == pytest.approx((0.05, 0.05))
    assert (found.seeds, found.equal_weights) == (5, 0)
    assert "1 of 3\u00a0differences is sure" in in_words(two)
    assert "federated, quantised, disjoint" in in_words(two)
    assert "Weights are equal, bit for bit, in 2." in in_words(two)


def test_intervals_hold_all_at_once() -> None:
    """Student's t for 2 seeds' freedom at 0.05 / (2 · 1): 4.3027, and for 3 arms at once 7.6488."""
    first = before(seeds=3)
    runs = [
        structs.replace(r, test_accuracy=r.test_accuracy + 0.01 * r.seed)
        if r.arm == "federated"
        else r
        for r in first.runs
    ]
    second = structs.replace(first, runs=runs)
    found = pair(two_results(first, second, NAMES).pairs, "federated")
    assert found.interval is not None
    half = (found.interval[1] - found.interval[0]) / 2
    assert half == pytest.approx(7.6488 * 0.01 / 3**0.5, rel=1e-4)


def test_other_rows_or_few_seeds_have_no_interval() -> None:
    first = before(seeds=2)
    assert all(p.interval is None for p in two_results(first, first, NAMES).pairs)
    runs = [structs.replace(run, test_rows_sha256="0" * 64) for run in before().runs]
    other = structs.replace(before(), runs=runs)
    two = two_results(before(), other, NAMES)
    assert [(p.seeds, p.interval) for p in two.pairs] == [(0, None)] * 3
    assert "No difference has an interval" in in_words(two)


def test_what_was_asked_differently_and_what_only_one_ran_is_told() -> None:
    other = before(arms=("federated", "overall"), rounds=30)
    two = two_results(before(), other, NAMES)
    assert ("settings.rounds", "20", "30") in two.settings
    assert two.alone == [
        (0, "guest alone, disjoint split"),
        (0, "gradients, noise shares, encrypted, ε\u00a0=\u00a01, disjoint split"),
        (1, "all rows pooled, disjoint split"),
    ]


def test_results_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(ConfigError, match="before is of dresses and after of digits"):
        two_results(before(), before(dataset="digits"), NAMES)
    with pytest.raises(ConfigError, match="no arm in common"):
        two_results(before(arms=("guest",)), before(arms=("host",)), NAMES)


def test_the_page_and_the_table_hold_the_same_with_the_terms_of_every_epsilon(
    tmp_path: Path,
) -> None:
    first = before()
    two = two_results(first, moved(first, "federated", 0.05), NAMES)
    page = write_two(two, tmp_path / "two.html").read_text("utf-8")
    for words in ("before and after", "1e-05", "zero-out of one unit"):
        assert words in page
    assert re.search(r"\+(4\.9|5\.0) to \+5\.[01] points", page)  # rounded outwards
    assert "1e-05" in str(terminal_two(two).caption)
    assert terminal_two(two).row_count == 4
    assert not re.search("https?://(?!www.w3.org)", page)
