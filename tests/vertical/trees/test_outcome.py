"""From halves of trees to results; the trees are grown in the clear here."""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.metrics import roc_auc_score

from privfed.vertical.company import LabelScale
from privfed.vertical.results import UsedTable
from privfed.vertical.roles import Family
from privfed.vertical.trees.bins import Binning
from privfed.vertical.trees.boosting import Boosting
from privfed.vertical.trees.collected import CollectedBits
from privfed.vertical.trees.growing import TreeSettings
from privfed.vertical.trees.objective import Objective
from privfed.vertical.trees.outcome import KnownTrees
from privfed.vertical.trees.plan import TreesPlan
from privfed.vertical.trees.references import ClearTrees, first_best
from privfed.vertical.trees.splits import MOST_WEIGHT
from privfed.vertical.trees.terms import OwnTrees
from tests.vertical.trees.plain import PlainHost, boost, scores_in_the_clear

ROWS, TESTS, ROUNDS = 900, 300, 5


def frame(columns: np.ndarray, first: int) -> pd.DataFrame:
    return pd.DataFrame(
        {f"c{first + n}": own.round(4).astype(str) for n, own in enumerate(columns)}
    )


@cache
def grown(family: Family = "logistic", *, classes: int = 2, held: int = 0) -> Any:
    """What guest and host know of trees: the host's second column alone matters to it."""
    draw = np.random.default_rng(5)
    x = draw.normal(size=(4, ROWS))
    score = x[0] + 2 * x[3]
    if family == "linear":
        labels = 50 + 9 * score
    elif family == "poisson":
        labels = draw.poisson(np.exp(score / 3)).astype(float)
    else:
        labels = np.digitize(score + draw.normal(size=ROWS), np.linspace(-1, 1, classes + 1)[1:-1])
        labels = labels.astype(float)
    outputs = classes if classes > 2 else 1
    scale = LabelScale.fit(labels[TESTS:], family) if family == "linear" else LabelScale()
    guest, host = frame(x[:2], 0), frame(x[2:], 2)
    binnings = [Binning.fit(each.iloc[TESTS:]) for each in (guest, host)]
    codes = [binning.codes(each) for binning, each in zip(binnings, (guest, host), strict=True)]
    plan = TreesPlan(
        family=family, outputs=outputs, rows=ROWS - TESTS, host_splits=len(binnings[1].splits),
        trees=ROUNDS, depth=3,
    )  # fmt: skip
    trained = scale.scaled(labels[TESTS:])
    weights = np.ones(ROWS - TESTS)
    objective = (
        Objective.of_classes(trained.astype(np.int64), outputs, weights)
        if outputs > 1
        else Objective(family, trained[:, None], weights)
    )
    held_back = np.arange(ROWS - TESTS) < held if held else None
    settings = TreeSettings(depth=3)
    train = [np.ascontiguousarray(each[:, TESTS:]) for each in codes]
    boosting = Boosting(
        settings, objective, binnings[0].splits, train[0], rounds=ROUNDS, most=plan.most_score,
        weight=MOST_WEIGHT, generator=np.random.default_rng(0), held_back=held_back, patience=2,
    )  # fmt: skip
    bits = plan.contest(1).bits
    hosts = boost(boosting, PlainHost(binnings[1].splits, train[1], plan.sums.plain_bits, bits))
    own, theirs = ((b.splits, each[:, :TESTS]) for b, each in zip(binnings, codes, strict=True))
    joint = scores_in_the_clear(boosting.base, boosting.best_trees, hosts, own, theirs)
    won = tuple(tree.owners.count("host") for tree in boosting.trees)
    shared: dict[str, Any] = {
        "fingerprint": plan.fingerprint(), "family": family, "plan": plan, "tests": TESTS,
        "opened": "class" if outputs > 1 else "score", "train_rows": plan.rows, "table_rows": ROWS,
        "costs": (), "file": UsedTable("t.csv", None), "kept": len(boosting.best_trees),
        "repeated_bits": 12,
    }  # fmt: skip
    names = tuple(f"class {n}" for n in range(classes)) if family == "logistic" else ()
    return (
        KnownTrees(
            role="guest", name="bank", labels=labels, classes=names, label="late",
            joint=joint.argmax(axis=1).astype(float) if outputs > 1 else joint[:, 0],
            own=OwnTrees(), binning=binnings[0], codes=codes[0], host_trees=(),
            guest_trees=tuple(boosting.trees), base=boosting.base, losses=tuple(boosting.losses),
            collected=CollectedBits(won, tuple(9 * n for n in won), (7,) * len(won)), scale=scale,
            reference=ClearTrees(settings=settings, objective=objective, rounds=ROUNDS,
                                 held_back=held_back, patience=2),
            **shared,
        ),
        KnownTrees(
            role="host", name="shop", labels=np.empty(0), classes=(), label=None, joint=None,
            own=OwnTrees(), binning=binnings[1], codes=codes[1], host_trees=tuple(hosts),
            guest_trees=(), base=np.empty(0), losses=(), scale=LabelScale(), reference=None,
            collected=CollectedBits(won, (999,) * len(won), (7,) * len(won)), **shared,
        ),
    )  # fmt: skip


@cache
def of_both(**chosen: Any) -> Any:
    guest, host = grown(**chosen)
    return guest.results_with(host, source="made up")


def test_both_halves_become_one_result() -> None:
    guest, _ = grown()
    results = of_both()
    auc = results.measures[0]
    assert auc.name == "AUC"
    assert auc.together == pytest.approx(roc_auc_score(guest.labels[:TESTS], guest.joint))
    assert auc.together == pytest.approx(auc.pooled, abs=0.02)
    assert auc.together > auc.alone + 0.1
    assert [gain.of for gain in results.gains] == ["together", "pooled"]
    sides = results.guest.gain_share, results.host.gain_share
    assert sum(sides) == pytest.approx(1)
    assert sum(results.host.gain_shares) == pytest.approx(sides[1])
    assert results.host.gain_shares[1] > 0.5  # the column that matters
    assert sum(results.host.nodes_won) == sum(tree.won for tree in results.bits)
    assert results.kept_sides == results.sides_read == 9 * sum(results.host.nodes_won)
    assert (results.rounds, results.kept_rounds, results.trees_a_round) == (ROUNDS, ROUNDS, 1)
    assert results.repeated_bits == 12
    column = next(each for each in results.audit if each.name == "c3")
    assert 0 < column.by_scores < 1
    assert all(0 <= each.collected <= each.at_most <= 1 for each in results.audit)
    assert sum(each.nodes for each in results.audit) == sum(results.host.nodes_won)


def test_what_the_guest_read_is_less_than_all_sides() -> None:
    """At depth 3 no row passes all nodes of a tree: some of the sides are never read."""
    assert any(each.collected < each.at_most for each in of_both().audit)


def test_each_company_writes_what_it_knows() -> None:
    guest, host = grown()
    both = of_both()
    of_guest, of_host = guest.results(other="shop"), host.results(other="bank")
    assert of_guest.plan == of_host.plan == both.plan
    assert (of_guest.host.names, of_guest.host.nodes_won, of_guest.audit) == (None, None, None)
    assert of_guest.host.gain_share == pytest.approx(both.host.gain_share)
    assert of_guest.guest == both.guest
    assert of_guest.measures[0].pooled is None
    assert of_guest.measures[0].alone == both.measures[0].alone
    assert (of_host.guest.names, of_host.guest.splits, of_host.measures) == (None, None, ())
    assert (of_host.learning_rate, of_host.weighted, of_host.losses) == (None, None, ())
    assert of_host.host.gain_shares is None
    assert of_host.host.nodes_won == both.host.nodes_won
    assert not of_host.sides_exact
    assert of_guest.sides_exact
    assert [each.at_most for each in of_host.audit] == [each.at_most for each in both.audit]
    assert all(each.collected is each.by_scores is None for each in of_host.audit)


def test_several_classes_have_their_measures() -> None:
    guest, _ = grown(classes=3)
    both, one = of_both(classes=3), guest.results(other="shop")
    assert [each.name for each in both.measures] == ["accuracy", "mean AUC"]
    accuracy = (guest.joint == guest.labels[:TESTS]).mean()
    assert both.measures[0].together == pytest.approx(accuracy)
    assert both.measures[1].together == pytest.approx(both.measures[1].pooled, abs=0.03)
    assert [(each.name, each.together) for each in one.measures] == [
        ("accuracy", pytest.approx(accuracy))
    ]
    assert both.scores_opened == "classes"
    assert both.trees_a_round == 3
    assert len(both.bits) == 3 * ROUNDS


@pytest.mark.parametrize(("family", "name"), [("linear", "R²"), ("poisson", "D²")])
def test_numbers_are_measured_in_their_own_units(family: Family, name: str) -> None:
    first, error = of_both(family=family).measures
    assert first.name == name
    assert first.together == pytest.approx(first.pooled, abs=0.05)
    assert first.together > first.alone + 0.1
    assert error.together == pytest.approx(error.pooled, rel=0.15)


def test_rows_held_back_are_told_and_the_reference_stops_by_them() -> None:
    results = of_both(held=120)
    assert results.validation_rows == 120
    assert len(results.losses) == results.rounds
    assert results.kept_rounds == 1 + int(np.argmin(results.losses))


@pytest.mark.parametrize("family", ["logistic", "linear", "poisson"])
def test_the_reference_is_scikit_learn_with_the_same_settings(family: Family) -> None:
    guest, _ = grown(family)
    codes, objective = guest.codes.astype(float).T, guest.reference.objective
    chosen: dict[str, Any] = {
        "max_iter": ROUNDS, "max_depth": 3, "learning_rate": 0.3, "l2_regularization": 1.0,
        "min_samples_leaf": 10, "early_stopping": False, "max_leaf_nodes": None,
    }  # fmt: skip
    labels = objective.labels[:, 0]
    if family == "logistic":
        model = HistGradientBoostingClassifier(**chosen).fit(codes[TESTS:], labels)
        wanted = model.decision_function(codes[:TESTS])
    else:
        loss = "poisson" if family == "poisson" else "squared_error"
        model = HistGradientBoostingRegressor(loss=loss, **chosen).fit(codes[TESTS:], labels)
        found = model.predict(codes[:TESTS])
        wanted = np.log(found) if family == "poisson" else found
    scores = guest.reference.scores(
        guest.codes[:, TESTS:], guest.codes[:, :TESTS], [True] * len(guest.codes)
    )
    assert scores[:, 0] == pytest.approx(wanted)


def test_a_class_without_rows_has_the_same_score_everywhere() -> None:
    guest, _ = grown(classes=3)
    few = guest.reference.objective
    labels = few.labels.copy()
    labels[:, 2] = 0
    reference = dataclasses.replace(
        guest.reference, objective=dataclasses.replace(few, labels=labels)
    )
    scores = reference.scores(guest.codes[:, TESTS:], guest.codes[:, :TESTS], [True, True])
    assert len(np.unique(scores[:, 2])) == 1
    assert len(np.unique(scores[:, 0])) > 1


def test_the_first_best_round_is_kept() -> None:
    assert first_best([3, 2, 1, 2, 0], patience=3) == 5
    assert first_best([3, 2, 1, 2, 0], patience=1) == 3
    assert first_best([1, 1, 1], patience=5) == 1
