"""WOE and IV are the field's without noise, and what noise adds is not read as information."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from privfed.data import CategoricalColumn, Schema
from privfed.records import privacy_cost
from privfed.vertical.encoding import cleaned_features
from privfed.vertical.results import UsedTable
from privfed.vertical.scorecards.plan import ScorecardPlan
from privfed.vertical.scorecards.results import Scorecard, columns_of
from privfed.vertical.scorecards.texts import texts_of, unnamed
from privfed.vertical.scorecards.values import NoisyColumn
from privfed.vertical.trees.bins import Binning
from tests.vertical.scorecards.both import (
    binned_column,
    choice,
    counted_plainly,
    some_rows,
)


def test_the_file_has_what_pandas_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ScorecardPlan, "deviation", 0.0)
    codes, labels = some_rows()
    plan = ScorecardPlan(choice(), 500, 3)
    events, others = (counted_plainly(codes, labels == one, 6) for one in (1, 0))
    columns, total = columns_of(plan, events, others, unnamed(3, 6), None)
    assert total == labels.sum()
    for number, own in enumerate(codes):
        table = pd.crosstab(own, labels)
        shares = table / table.sum()
        woe = np.log(shares[1] / shares[0])
        iv = ((shares[1] - shares[0]) * woe).sum()
        column = next(each for each in columns if each.name == f"column {number + 1}")
        assert column.iv == pytest.approx(iv)
        assert column.by_noise == pytest.approx(0, abs=1e-12)
        assert [each.woe for each in column.bins] == pytest.approx(woe.tolist())
        assert [each.events for each in column.bins] == table[1].tolist()
    assert [each.iv for each in columns] == sorted((each.iv for each in columns), reverse=True)
    assert columns[0].bins[-1].text == "missing"


def test_a_bin_that_has_all_events_is_smoothed_by_one_half() -> None:
    column = NoisyColumn(
        np.array([10.0, 0.0]), np.array([0.0, 90.0]), 10, 90, 0.0, np.array([10.0, 90.0])
    )
    found = column.evidence(np.random.default_rng(0))
    assert found.woe == pytest.approx([math.log(1 / (0.5 / 90)), math.log((0.5 / 10) / 1)])


@pytest.mark.parametrize("host", [True, False])
def test_columns_that_say_nothing_are_above_noise_in_five_of_a_hundred(host: bool) -> None:
    """Of 400 such columns 20 are expected, deviation 4.4; beyond 6 of these by chance 1e-6 or so.

    Their IV as counted is mostly noise, and what is said of it afterwards is next to nothing.
    """
    rng = np.random.default_rng(1)
    rows, deviation = np.array([150.0, 300.0, 250.0, 200.0, 100.0]), 8.0
    alarms, measured, left = 0, [], []
    for _ in range(400):
        events = rng.multivariate_hypergeometric(rows.astype(int), 300).astype(float)
        noisy = events + np.rint(rng.normal(0, deviation, 5))
        rest = rows - noisy if host else rows - events + np.rint(rng.normal(0, deviation, 5))
        column = NoisyColumn(noisy, rest, 300, 700, deviation, rows if host else None)
        found = column.evidence(rng)
        alarms += found.measured > found.of_nothing
        measured.append(found.measured)
        left.append(found.measured - found.by_noise)
    assert alarms <= 20 + 6 * 4.4
    assert abs(np.mean(left)) < np.mean(measured) / 2


def test_noise_is_taken_off_a_column_that_says_something() -> None:
    """The mean over 200 draws of noise: it is nearer to the truth than what was counted."""
    rng = np.random.default_rng(2)
    rows, events = np.array([400.0] * 5), np.array([40.0, 60.0, 100.0, 140.0, 160.0])
    exact = NoisyColumn(events, rows - events, 500, 1500, 0.0, rows).evidence(rng)
    found = []
    for _ in range(200):
        noisy = events + np.rint(rng.normal(0, 20, 5))
        found.append(NoisyColumn(noisy, rows - noisy, 500, 1500, 20.0, rows).evidence(rng))
    with_noise = np.mean([each.measured for each in found])
    without = np.mean([each.iv for each in found])
    assert with_noise > exact.measured + 0.02
    assert abs(without - exact.measured) < (with_noise - exact.measured) / 3
    covered = np.mean([(each.low <= exact.woe) & (exact.woe <= each.high) for each in found])
    assert 0.9 < covered < 0.99  # 1,000 intervals of 95 %: outside by chance below 1e-8


def test_bins_that_may_be_empty_are_not_told_to_a_guest() -> None:
    plan = ScorecardPlan(choice(receiver="guest", bins=3), 2000, 1)
    events = np.array([[300, 200, 9, -4]])
    others = np.array([[700, 800, -20, 11]])
    (column,), total = columns_of(plan, events, others, unnamed(1, 3), 500)
    assert total == 500
    assert [each.woe is None for each in column.bins] == [False, False, True, True]


def test_bins_are_called_by_their_values() -> None:
    values = np.array([1.0, 2.0, 3.0, 4.0] * 10 + [np.nan] * 6)
    (texts,) = texts_of(binned_column(values, 4).columns, values[:, None], 5)
    assert texts.name == "size"
    assert texts.bins == ("up to 1.5", "1.5 to 2.5", "2.5 to 3.5", "above 3.5")


@pytest.mark.parametrize(
    ("least_rows", "last"), [(10, "Rome or others"), (0, "Oslo or Rome or Turin or other")]
)
def test_a_category_of_few_common_rows_is_not_named_to_the_other_company(
    least_rows: int, last: str
) -> None:
    """Turin has rows in the host's table, none of them common."""
    cells = ["Lyon"] * 40 + ["Paris"] * 40 + ["Rome"] * 12 + ["Oslo"] * 9
    schema = Schema(
        columns=(CategoricalColumn("city", ("Lyon", "Oslo", "Paris", "Rome", "Turin")),)
    )
    frame = pd.DataFrame({"city": cells})
    binning = Binning.fit(frame, schema=schema, bins=5, least_rows=10)
    (texts,) = texts_of(binning.columns, cleaned_features(frame, schema).values, least_rows)
    assert texts.bins == ("Lyon", "Paris", last)


def test_the_file_is_read_back(tmp_path: Path) -> None:
    plan = ScorecardPlan(choice(), 500, 3)
    codes, labels = some_rows()
    events, others = (counted_plainly(codes, labels == one, 6) for one in (1, 0))
    columns, total = columns_of(plan, events, others, unnamed(3, 6), None)
    card = Scorecard(
        role="host", company="shop", common_rows=500, events=total,
        privacy=privacy_cost(plan.privacy), deviation=plan.deviation, columns=columns, stages=(),
        files=(UsedTable("shop.csv", None),),
    )  # fmt: skip
    path = card.write(tmp_path)
    assert path.name == "scorecard.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert Scorecard.load(path) == card
    for said in ("δ = 1e-06", "zero-out of one unit: one row's label", "sampling: every row"):
        assert said in card.statement
