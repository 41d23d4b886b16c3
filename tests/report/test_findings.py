"""The findings' words follow from the numbers: other numbers, other words."""

from __future__ import annotations

import pytest
from msgspec import structs

from privfed.experiment.results import Results
from privfed.report import Finding, findings
from privfed.report.gains import gain, matches, unseen_verdict
from privfed.report.view import View
from tests.report.samples import LEVELS, sample

PLAIN = ("guest", "host", "overall", "federated", "federated-he")


def finding(results: Results, name: str) -> Finding:
    return next(found for found in findings(results) if found.name == name)


def names(results: Results) -> list[str]:
    return [found.name for found in findings(results)]


def test_the_papers_pattern_is_told_as_a_hypothesis() -> None:
    results = sample(arms=PLAIN, paired=True, rounds=30)
    assert "learning together gains 2" in finding(results, "gain").headline
    assert (
        "not surely better than always naming the majority" in finding(results, "unseen").headline
    )
    assert "no gain" in finding(results, "splits").headline
    claim = finding(results, "claim")
    assert claim.headline.startswith("A hypothesis")
    assert "private and was not looked at" in claim.text
    assert "surrogate" not in claim.text


def test_a_claim_on_surrogate_rows_says_so() -> None:
    claim = finding(sample(arms=PLAIN, paired=True, rounds=30, is_surrogate=True), "claim")
    assert "These are surrogate dresses" in claim.text


def test_a_gain_that_carries_over_is_not_put_down_to_memory() -> None:
    everywhere = {split: {"alone": (0.6, 0.62, 0.6), "all": (0.9, 0.91, 0.9)} for split in LEVELS}
    results = sample(arms=PLAIN, paired=True, rounds=30, levels=everywhere)
    assert (
        "federated learning is better than always naming the majority"
        in finding(results, "unseen").headline
    )
    assert finding(results, "splits").headline.startswith("Elsewhere: a gain on the disjoint and")
    claim = finding(results, "claim")
    assert claim.headline == "The gain here is not only memory of shared rows."


def test_evidence_on_both_sides_is_called_mixed() -> None:
    levels = LEVELS | {"disjoint": {"alone": (0.55, None, 0.55), "all": (0.75, None, 0.75)}}
    claim = finding(sample(arms=PLAIN, paired=True, rounds=30, levels=levels), "claim")
    assert "mixed" in claim.headline
    assert "there is a gain on the disjoint split too" in claim.text
    assert "the gain is gone on the deduplicated split" in claim.text


def test_without_a_gain_the_claim_is_left_open() -> None:
    flat = {split: {"alone": (0.55, 0.9, 0.5), "all": (0.55, 0.9, 0.5)} for split in LEVELS}
    results = sample(arms=PLAIN, paired=True, rounds=30, levels=flat)
    assert "gains 2" not in finding(results, "gain").headline
    assert "says nothing about its cause" in finding(results, "claim").headline
    assert "30\u00a0rounds" in finding(results, "claim").text


def test_a_loss_is_called_one() -> None:
    worse = {split: {"alone": (0.8, 0.9, 0.5), "all": (0.5, 0.9, 0.5)} for split in LEVELS}
    results = sample(arms=PLAIN, paired=True, rounds=30, levels=worse)
    assert "learning together costs" in finding(results, "gain").headline


def test_equal_weights_are_counted_run_by_run_and_round_by_round() -> None:
    text = finding(sample(arms=PLAIN, paired=True, rounds=30), "exact").text
    assert "450 of 450\u00a0rounds" in text
    assert "15 of 15\u00a0runs" in text


def test_unequal_weights_are_called_broken() -> None:
    results = sample(arms=PLAIN, paired=True, rounds=30, unequal=True)
    found = finding(results, "exact")
    assert "something is broken" in found.headline
    assert "435 of 450\u00a0rounds" in found.text
    (match,) = matches(View(results))
    assert (match.equal_runs, match.runs) == (0, 15)


def test_one_seed_says_that_it_counts_rows_only() -> None:
    text = finding(sample(arms=PLAIN, paired=True, rounds=30, seeds=1), "gain").text
    assert "with 1\u00a0seed it counts test rows only" in text


def test_other_data_leave_the_paper_out() -> None:
    assert "claim" not in names(sample(arms=PLAIN, paired=True, rounds=30, dataset="digits"))


@pytest.mark.parametrize("arm", ["guest", "overall", "federated", "federated-he"])
def test_a_single_arm_claims_no_comparison(arm: str) -> None:
    found = names(sample(arms=(arm,), rounds=30, splits=("disjoint",)))
    assert not {"gain", "pooled", "splits", "exact", "privacy"} & set(found)


def test_private_arms_are_held_against_the_majority_class() -> None:
    arms = ("federated", "federated-he-dp")
    found = finding(sample(arms=arms, rounds=60, epsilons=(1.0, 8.0)), "privacy")
    assert "no model here is surely better than the majority class" in found.headline
    assert "They train 3\u00a0rounds" in found.text
    assert "δ\u00a0=\u00a01e-05" in found.text
    # 0.5 + 0.02 log2(1 + ε) passes the majority class's 0.58 by far at so large an ε.
    found = finding(sample(arms=arms, rounds=60, epsilons=(2.0**12,)), "privacy")
    assert "Differential privacy costs at least" in found.headline


def test_nothing_finished_says_so() -> None:
    (only,) = findings(Results({}, [], [], [], []))
    assert only.headline == "No arm has finished yet."


def _with_accuracies(accuracies: dict[str, list[float]]) -> View:
    results = sample(arms=("guest", "federated"), splits=("disjoint",), rounds=2, paired=True)
    seeds = len(next(iter(accuracies.values())))
    runs = [
        structs.replace(run, test_accuracy=accuracies[run.arm][run.seed], test_rows=100)
        for run in results.runs
        if run.seed < seeds
    ]
    return View(structs.replace(results, runs=runs))


def test_the_interval_over_seeds_is_students_t() -> None:
    # Differences 0.1, 0.2, 0.3: mean 0.2, standard deviation 0.1; t(2, 0.975) = 4.302653 as in
    # any table, so half the interval is 4.302653 * 0.1 / sqrt(3) = 0.248414.
    view = _with_accuracies({"guest": [0.5, 0.5, 0.5], "federated": [0.6, 0.7, 0.8]})
    found = gain(view, "disjoint")
    assert found is not None
    assert found.difference == pytest.approx(0.2)
    assert found.interval == pytest.approx((0.2 - 0.248414, 0.2 + 0.248414), abs=1e-6)
    assert found.verdict == "none"


def test_the_interval_of_few_seeds_is_that_of_two_proportions() -> None:
    # 0.5 and 0.9 on 100 rows each: 1.959964 * sqrt(0.25 / 100 + 0.09 / 100) = 0.114285.
    view = _with_accuracies({"guest": [0.5], "federated": [0.9]})
    found = gain(view, "disjoint")
    assert found is not None
    assert found.interval == pytest.approx((0.4 - 0.114285, 0.4 + 0.114285), abs=1e-6)
    assert found.verdict == "gain"


def test_a_majority_that_is_low_by_chance_makes_no_model_better() -> None:
    # 24 of 38 right, and the majority class on 17 of the same 38: the interval of the first,
    # 47 to 77 %, lies above the second's share, but the second is a count of few rows too.
    view = View(sample(arms=PLAIN, rounds=10))
    line = view.federated("overlapping")
    assert line is not None
    summary = view.summary("overlapping", line)
    for right, majority, n, verdict in [
        (24, 17, 38, "around"),
        (240, 170, 380, "above"),
        (170, 240, 380, "below"),
        (348, 30, 360, "above"),
    ]:
        changed = structs.replace(
            summary, unseen_accuracy=right / n, unseen_majority=majority / n, unseen_n=n
        )
        view.summary = lambda *_, changed=changed: changed  # type: ignore
        assert unseen_verdict(view, "overlapping", line) == verdict
