"""Rounds of trees: derivatives, weights, classes, early stopping, what columns are worth."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from privfed.data.bank_and_shop import bank_and_shop
from privfed.errors import ConfigError
from privfed.vertical.measures import measure
from privfed.vertical.roles import Family
from privfed.vertical.trees.bins import Binning
from privfed.vertical.trees.boosting import Boosting
from privfed.vertical.trees.growing import TreeSettings
from privfed.vertical.trees.grown import HostTree
from privfed.vertical.trees.importance import gains_of_columns, gains_of_sides
from privfed.vertical.trees.objective import Objective, means
from privfed.vertical.trees.splits import MOST_WEIGHT
from tests.vertical.trees.plain import PlainHost, boost, scores_in_the_clear

Floats = NDArray[np.float64]
PLAIN_BITS = 24


def a_table(columns: Floats, first: int = 0) -> pd.DataFrame:
    return pd.DataFrame(
        {f"c{first + place}": [f"{x:.4f}" for x in own] for place, own in enumerate(columns)}
    )


@dataclasses.dataclass
class Job:
    """Two companies' rows, the guest's objective, and how many first rows train."""

    guest: pd.DataFrame
    host: pd.DataFrame
    objective: Objective
    train: int

    def boosted(
        self, rounds: int = 10, *, alone: bool = False, seed: int = 0, **chosen: object
    ) -> tuple[Boosting, list[HostTree], Floats]:
        """Boost, and return the scores of the rows that do not train, too."""
        parts = []
        for frame in (self.guest, self.host):
            binning = Binning.fit(frame.iloc[: self.train])
            codes = binning.codes(frame)
            parts.append((binning.splits, codes[:, : self.train].copy(), codes[:, self.train :]))
        (own, train, new), (theirs, host_train, host_new) = parts
        boosting = Boosting(
            TreeSettings(), self.objective, own, train, rounds=rounds,
            most=2 ** (PLAIN_BITS - 1) - 1, weight=MOST_WEIGHT,
            generator=np.random.default_rng(seed), **chosen,  # type: ignore[arg-type]
        )  # fmt: skip
        hosts = boost(boosting, None if alone else PlainHost(theirs, host_train, PLAIN_BITS, 16))
        host = None if alone else (theirs, host_new)
        scores = scores_in_the_clear(boosting.base, boosting.best_trees, hosts, (own, new), host)
        return boosting, hosts, scores


def a_job(family: Family, rows: int = 900, seed: int = 0) -> tuple[Job, Floats]:
    """A job of two and two columns, and the labels of its last third."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(4, rows))
    score = x[0] + 1.5 * x[2] - np.abs(x[3])
    if family == "logistic":
        labels = (rng.random(rows) < 1 / (1 + np.exp(-2 * score))).astype(float)
    elif family == "linear":
        labels = 100 + 20 * (score + 0.3 * rng.normal(size=rows))
    else:
        labels = rng.poisson(np.exp(score / 2 + 1)).astype(float)
    train = 2 * rows // 3
    objective = Objective(family, labels[:train, None], np.ones(train))
    return Job(a_table(x[:2]), a_table(x[2:], 2), objective, train), labels[train:]


@pytest.mark.parametrize("family", ["logistic", "linear", "poisson"])
def test_gradients_are_the_derivatives_of_the_loss(family: Family) -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, (9, 2)).astype(float)
    weights, scores = rng.random(9) + 0.1, rng.normal(size=(9, 2))
    objective, step = Objective(family, labels, weights), 1e-4
    for output in range(2):
        g, h = objective.gradients(scores[:, output], output)
        for row in range(9):
            moved = np.zeros_like(scores)
            moved[row, output] = step
            losses = [
                objective.loss(scores + way * moved, weights) * weights.sum() for way in (-1, 0, 1)
            ]
            assert g[row] == pytest.approx((losses[2] - losses[0]) / (2 * step), rel=1e-5)
            assert h[row] == pytest.approx(
                (losses[0] - 2 * losses[1] + losses[2]) / step**2, rel=1e-3
            )


@pytest.mark.parametrize("family", ["logistic", "linear", "poisson"])
def test_boosting_begins_near_the_best_constant(family: Family) -> None:
    rng = np.random.default_rng(2)
    objective = Objective(
        family, rng.integers(0, 2, (5000, 1)).astype(float), rng.integers(0, 3, 5000).astype(float)
    )
    base = np.tile(objective.base, (5000, 1))
    least = objective.loss(base, objective.weights)
    for away in (-0.01, 0.01):
        assert objective.loss(base + away, objective.weights) > least


def test_scores_stay_finite_where_all_rows_have_one_label() -> None:
    for family in ("logistic", "poisson"):
        objective = Objective(family, np.zeros((50, 1)), np.ones(50))
        assert np.isfinite(objective.base).all()
        g, h = objective.gradients(np.full(50, -800.0), 0)
        assert np.isfinite(g).all()
        assert (h > 0).all()
        assert np.isfinite(objective.gradients(np.full(50, 800.0), 0)).all()


def test_weights_that_are_none_are_refused() -> None:
    for weights in (np.zeros(3), np.array([1, -1, 1.0]), np.array([1, np.nan, 1])):
        with pytest.raises(ConfigError, match="weight"):
            Objective("linear", np.zeros((3, 1)), weights)


@pytest.mark.parametrize(
    ("family", "name", "least"),
    [("logistic", "AUC", 0.85), ("linear", "R²", 0.8), ("poisson", "D²", 0.5)],
)
def test_each_family_is_learned_and_the_host_s_columns_help(
    family: Family, name: str, least: float
) -> None:
    job, labels = a_job(family)
    boosting, hosts, scores = job.boosted(20)
    alone = job.boosted(20, alone=True)[2]
    both = measure(name, labels, scores[:, 0], family)
    own = measure(name, labels, alone[:, 0], family)
    assert both is not None
    assert own is not None
    assert both > least
    assert both > own + 0.1
    assert len(boosting.trees) == len(hosts) == 20
    gains = gains_of_sides(boosting.trees)
    assert gains["host"] > gains["guest"] > 0


def test_a_mean_count_changes_by_a_factor_of_two_at_most_in_a_whole_step() -> None:
    job, _ = a_job("poisson")
    labels = np.where(np.arange(600)[:, None] == 3, 1e6, job.objective.labels)
    job.objective = Objective("poisson", labels, np.ones(600))
    leaves = [leaf for tree in job.boosted(3, alone=True)[0].trees for leaf in tree.leaves]
    assert np.abs(leaves).max() == pytest.approx(0.7 * TreeSettings().learning_rate)


def test_of_several_classes_each_is_told_from_the_rest() -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(4, 900))
    classes = np.argmax([x[0] + x[2], x[3] - x[0], x[1] - x[3]], axis=0)
    job = Job(
        a_table(x[:2]), a_table(x[2:], 2), Objective.of_classes(classes[:600], 3, np.ones(600)), 600
    )
    boosting, _, scores = job.boosted(8)
    assert len(boosting.trees) == 24
    assert boosting.scores.shape == (600, 3)
    # Each output's trees are those of a model of its class alone, but for rounding.
    for output in range(3):
        labels = (classes[:600, None] == output).astype(float)
        one = dataclasses.replace(job, objective=Objective("logistic", labels, np.ones(600)))
        losses = [
            one.objective.loss(found, np.ones(600))
            for found in (boosting.scores[:, output : output + 1], one.boosted(8)[0].scores)
        ]
        assert losses[0] == pytest.approx(losses[1], rel=0.05)
    shares = means("logistic", scores)
    assert shares.sum(axis=1) == pytest.approx(np.ones(300))
    assert (shares.argmax(axis=1) == classes[600:]).mean() > 0.8


def test_scores_of_training_rows_are_those_that_their_trees_give() -> None:
    job, _ = a_job("logistic")
    boosting, hosts, _ = job.boosted(5)
    own, theirs = (Binning.fit(frame.iloc[:600]) for frame in (job.guest, job.host))
    scores = scores_in_the_clear(
        boosting.base, boosting.trees, hosts,
        (own.splits, own.codes(job.guest.iloc[:600])),
        (theirs.splits, theirs.codes(job.host.iloc[:600])),
    )  # fmt: skip
    assert scores == pytest.approx(boosting.scores)


def test_rows_held_back_stop_it_and_only_that() -> None:
    job, _ = a_job("logistic")
    held = np.arange(600) % 4 == 0
    boosting, _, _ = job.boosted(40, held_back=held, patience=3)
    rounds = len(boosting.trees)
    assert rounds == len(boosting.losses) < 40
    assert boosting.best_rounds == rounds - 3 == 1 + int(np.argmin(boosting.losses))
    assert len(boosting.best_trees) == boosting.best_rounds
    assert min(boosting.losses) < boosting.losses[0]
    # What they are labelled moves the end alone.
    labels = job.objective.labels.copy()
    labels[held] = 1 - labels[held]
    job.objective = dataclasses.replace(job.objective, labels=labels)
    other, _, _ = job.boosted(40, held_back=held, patience=3)
    assert other.trees == boosting.trees[: len(other.trees)]
    assert other.best_rounds == 1


def test_rounds_that_cannot_be_are_refused() -> None:
    job, _ = a_job("logistic")
    with pytest.raises(ConfigError, match="give 1 or more"):
        job.boosted(0)
    with pytest.raises(ConfigError, match="held back"):
        job.boosted(held_back=np.zeros(600, np.bool_))
    with pytest.raises(ConfigError, match="nothing to learn"):
        job.boosted(held_back=np.ones(600, np.bool_))


def test_a_column_s_worth_is_the_gain_of_its_splits() -> None:
    job, _ = a_job("linear")
    boosting, _, _ = job.boosted(5)
    binning = Binning.fit(job.guest.iloc[:600])
    columns, sides = gains_of_columns(boosting.trees, binning), gains_of_sides(boosting.trees)
    assert list(columns) == ["c0", "c1"]  # the label does not depend on the second
    assert columns["c0"] > 5 * columns["c1"]
    assert sum(columns.values()) == pytest.approx(sides["guest"])
    # A tree's gains are what its leaves take from a squared error, but for the penalty.
    one = job.boosted(1)[0]
    base = np.tile(one.base, (600, 1))
    whole = base + (one.scores - base) / TreeSettings().learning_rate
    losses = [600 * job.objective.loss(scores, np.ones(600)) for scores in (base, whole)]
    assert sum(one.trees[0].gains) == pytest.approx(losses[0] - losses[1], rel=0.05)


def test_a_bank_gains_by_a_shop() -> None:
    bank, shop = bank_and_shop(1.0, customers=3000, seed=4)
    keys = [frame.iloc[:, 0].str.strip().str.lower() for frame in (bank, shop)]
    tables = [
        frame.iloc[:, 1:].set_index(key) for frame, key in zip((bank, shop), keys, strict=True)
    ]
    once = [table[~table.index.duplicated()] for table in tables]
    common = once[0].index.intersection(once[1].index).sort_values()
    guest, host = (table.reindex(common).reset_index(drop=True) for table in once)
    labels = np.array(guest.pop("paid_late") == "yes", dtype=np.float64)
    train = len(labels) * 7 // 10
    job = Job(guest, host, Objective("logistic", labels[:train, None], np.ones(train)), train)
    both, alone = (
        measure("AUC", labels[train:], job.boosted(15, alone=way)[2][:, 0], "logistic")
        for way in (False, True)
    )
    assert both is not None
    assert alone is not None
    assert both > alone + 0.08
