"""The findings' words follow from the numbers: other numbers, other words."""

from __future__ import annotations

import re

import pytest
from msgspec import structs

from privfed.experiment.measures import MeasureName
from privfed.experiment.results import Comparison, Results
from privfed.report import Finding, findings
from privfed.report.gains import Difference, gain, matches
from privfed.report.view import View
from tests.report.samples import LEVELS, sample

PLAIN = ("guest", "host", "overall", "federated", "federated-he")


def finding(results: Results, name: str) -> Finding:
    return next(found for found in findings(results) if found.name == name)


def names(results: Results) -> list[str]:
    return [found.name for found in findings(results)]


def test_the_papers_pattern_is_told_as_a_hypothesis() -> None:
    results = sample(arms=PLAIN, rounds=30)
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
    claim = finding(sample(arms=PLAIN, rounds=30, is_surrogate=True), "claim")
    assert "These are surrogate dresses" in claim.text


def test_a_gain_that_carries_over_is_not_put_down_to_memory() -> None:
    everywhere = {split: {"alone": (0.6, 0.62, 0.6), "all": (0.9, 0.91, 0.9)} for split in LEVELS}
    results = sample(arms=PLAIN, rounds=30, levels=everywhere)
    assert (
        "federated learning is better than always naming the majority"
        in finding(results, "unseen").headline
    )
    assert finding(results, "splits").headline.startswith("Elsewhere: a gain on the disjoint and")
    claim = finding(results, "claim")
    assert claim.headline == "The gain here is not only memory of shared rows."


def test_evidence_on_both_sides_is_called_mixed() -> None:
    levels = LEVELS | {"disjoint": {"alone": (0.55, None, 0.55), "all": (0.75, None, 0.75)}}
    claim = finding(sample(arms=PLAIN, rounds=30, levels=levels), "claim")
    assert "mixed" in claim.headline
    assert "there is a gain on the disjoint split too" in claim.text
    assert "the gain is gone on the deduplicated split" in claim.text


def test_without_a_gain_the_claim_is_left_open() -> None:
    flat = {split: {"alone": (0.55, 0.9, 0.5), "all": (0.55, 0.9, 0.5)} for split in LEVELS}
    results = sample(arms=PLAIN, rounds=30, levels=flat)
    assert "gains 2" not in finding(results, "gain").headline
    assert "says nothing about its cause" in finding(results, "claim").headline
    assert "30\u00a0rounds" in finding(results, "claim").text


def test_a_loss_is_called_one() -> None:
    worse = {split: {"alone": (0.8, 0.9, 0.5), "all": (0.5, 0.9, 0.5)} for split in LEVELS}
    results = sample(arms=PLAIN, rounds=30, levels=worse)
    assert "learning together costs" in finding(results, "gain").headline


def test_equal_weights_are_counted_run_by_run_and_round_by_round() -> None:
    text = finding(sample(arms=PLAIN, rounds=30), "exact").text
    assert "450 of 450\u00a0rounds" in text
    assert "15 of 15\u00a0runs" in text


def test_unequal_weights_are_called_broken() -> None:
    results = sample(arms=PLAIN, rounds=30, unequal=True)
    found = finding(results, "exact")
    assert "something is broken" in found.headline
    assert "435 of 450\u00a0rounds" in found.text
    (match,) = matches(View(results))
    assert (match.equal_runs, match.runs) == (0, 15)


def test_one_seed_says_that_it_counts_rows_only() -> None:
    text = finding(sample(arms=PLAIN, rounds=30, seeds=1), "gain").text
    assert "1\u00a0seed: test rows only" in text


def test_other_data_leave_the_paper_out() -> None:
    assert "claim" not in names(sample(arms=PLAIN, rounds=30, dataset="digits"))


@pytest.mark.parametrize("arm", ["guest", "overall", "federated", "federated-he"])
def test_a_single_arm_claims_no_comparison(arm: str) -> None:
    found = names(sample(arms=(arm,), rounds=30, splits=("disjoint",)))
    assert not {"gain", "pooled", "splits", "exact", "privacy"} & set(found)


def test_private_arms_are_held_against_the_majority_class() -> None:
    arms = ("federated", "federated-he-dp")
    found = finding(sample(arms=arms, rounds=60, epsilons=(1.0, 8.0)), "privacy")
    assert "no model here is surely better than the majority class" in found.headline
    assert "δ\u00a0=\u00a01e-05" in found.text
    # 0.5 + 0.02 log2(1 + ε) passes the majority class's 0.58 by far at so large an ε.
    found = finding(sample(arms=arms, rounds=60, epsilons=(2.0**12,)), "privacy")
    assert re.match(r"Differential privacy costs \d.* where it costs least: ", found.headline)


def test_nothing_finished_says_so() -> None:
    (only,) = findings(Results({}, [], [], [], [], [], []))
    assert only.headline == "No arm has finished yet."


def _judged(name: str, difference: float, error: float) -> Comparison:
    """Federated learning beside one party alone, known to many degrees of freedom."""
    return Comparison(
        "disjoint", "all", "accuracy", "federated", None, name, None, 0.7, 0.7 - difference,
        difference, (difference - 1.96 * error, difference + 1.96 * error), error, 1e6, None, 1,
        100, 100,
    )  # fmt: skip


def _gain(*comparisons: Comparison) -> Difference:
    arms = ("guest", "host", "party-3")[: len(comparisons)]
    results = sample(arms=(*arms, "federated"), splits=("disjoint",), rounds=2, seeds=1)
    found = gain(View(structs.replace(results, comparisons=list(comparisons))), "disjoint")
    assert found is not None
    return found


def test_a_gain_is_over_the_best_party_whichever_that_is() -> None:
    # Normal quantiles as in any table: 1.959964, and for three at once 2.393980 at 0.05 / 6.
    three = [
        _judged(name, d, 0.01) for name, d in [("guest", 0.05), ("host", 0.02), ("party-3", 0.03)]
    ]
    found = _gain(*three)
    assert found.other.arm == "host"
    assert found.interval == pytest.approx((0.02 - 0.01959964, 0.02 + 0.0239398), abs=1e-6)
    assert found.verdict == "gain"
    # The one that is surest to be small counts, not the one that looks smallest.
    found = _gain(_judged("guest", 0.03, 0.02), _judged("host", 0.02, 0.001))
    assert found.other.arm == "host"
    assert found.verdict == "none"


def test_a_loss_to_one_of_many_parties_takes_more() -> None:
    """Of ten parties one looks better by luck: the best is chosen on the rows that judge it."""
    assert _gain(_judged("guest", -0.021, 0.01)).verdict == "loss"
    others = [_judged("host", 0.0, 0.01), _judged("party-3", 0.01, 0.01)]
    assert _gain(_judged("guest", -0.021, 0.01), *others).verdict == "none"
    assert _gain(_judged("guest", -0.025, 0.01), *others).verdict == "loss"


def test_without_one_of_the_parties_no_best_is_named() -> None:
    results = sample(arms=PLAIN, splits=("disjoint",), rounds=2, seeds=1)
    kept = [each for each in results.comparisons if each.beside != "host"]
    less = structs.replace(results, comparisons=kept)
    assert "not compared: the test rows do not allow it" in finding(less, "gain").headline


def test_each_party_reads_what_it_gains_on_its_own_rows() -> None:
    results = sample(arms=PLAIN, rounds=2)
    own = [x for x in results.comparisons if (x.split, x.rows) == ("overlapping", "own")]
    assert [x.beside for x in own] == ["guest", "host"]
    found = finding(results, "own")
    assert found.headline == (
        "On each party’s own test rows, guest and host gain by learning together."
    )
    for each in own:
        assert f"{each.beside}: {each.value:.1%}".replace("%", "\u00a0%") in found.text
    one = structs.replace(results, comparisons=[_own_loss(x) for x in results.comparisons])
    assert "guest gains and host loses by" in finding(one, "own").headline


def _own_loss(each: Comparison) -> Comparison:
    if (each.rows, each.beside) != ("own", "host"):
        return each
    return structs.replace(each, difference=-0.3)


@pytest.mark.parametrize(
    ("measures", "said"),
    [
        (["accuracy", "balanced accuracy", "AUC"], "as the classes are even."),
        (["AUC", "balanced accuracy", "accuracy"], "as the classes are uneven: how often a row"),
        (["R²", "MAE"], "as the label is a number: the share"),
    ],
)
def test_the_measure_is_named_with_its_reason(measures: list[MeasureName], said: str) -> None:
    results = sample(arms=PLAIN, rounds=2, seeds=3, splits=("disjoint",))
    renamed = [structs.replace(x, measure=measures[0]) for x in results.comparisons]
    found = findings(structs.replace(results, measures=measures, comparisons=renamed))
    gained = next(each for each in found if each.name == "gain")
    assert f"Judged by {measures[0]}, {said}" in gained.text
    own = next(each for each in found if each.name == "own")
    assert own.text.startswith(f"{measures[0]} (95\u00a0%, all at once): ")


def test_unseen_rows_are_judged_by_the_paired_figures() -> None:
    results = sample(arms=PLAIN, rounds=2, splits=("overlapping",))
    for difference, words in [(0.3, "better than"), (0.0, "not surely"), (-0.3, "worse than")]:
        moved = [
            structs.replace(x, difference=difference) if x.rows == "unseen" else x
            for x in results.comparisons
        ]
        changed = structs.replace(results, comparisons=moved)
        assert f"federated learning is {words}" in finding(changed, "unseen").headline
