"""A private mean: close to the mean, exact in what a row moves, and paid before it is taken."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest
import torch

from privfed.dp import PrivacyBudget, PrivacyPlan, SeededRandomness, calibrate
from privfed.errors import BudgetExceededError, ConfigError
from privfed.training import (
    CentralNoise,
    ClippedSum,
    LocalNoise,
    NoisySums,
    Released,
    SharedNoise,
    means,
    private_mean,
)

PARTIES, ROWS, SIZE = 3, 400, 5
NOISY = {"local": LocalNoise, "central": CentralNoise, "shares": SharedNoise}
LOW, HIGH = np.array([0.0, -1, 10, 5, -9]), np.array([1.0, 1, 30, 6, -1])
ROOT = math.sqrt(SIZE)


def plan(noise: str = "central", **other: Any) -> PrivacyPlan:
    how: dict[str, Any] = {
        "noise": noise, "rows": [ROWS] * PARTIES, "sampling_rates": [1.0] * PARTIES, "rounds": 1,
        "steps_per_round": [1] * PARTIES, "l2_clip_norm": ROOT, "dimension": SIZE,
    }  # fmt: skip
    return calibrate(1.0, 1e-5, **(how | other))


def budget(epsilon: float = 1.0) -> PrivacyBudget:
    return PrivacyBudget(epsilon, 1e-5, privacy_unit="one row")


@pytest.fixture(scope="module")
def rows() -> list[np.ndarray]:
    rng = np.random.default_rng(2)
    return [rng.uniform(LOW, LOW + 0.7 * (HIGH - LOW), (ROWS, SIZE)) for _ in range(PARTIES)]


class Recorded:
    """Noisy sums that note what they were given."""

    def __init__(self, inner: NoisySums) -> None:
        self.plan, self.inner, self.prepare = inner.plan, inner, inner.prepare
        self.given: list[ClippedSum] = []

    def release(self, round_id: int, sums: Any) -> Released:
        self.given += sums
        return self.inner.release(round_id, sums)


@pytest.mark.parametrize("noise", NOISY)
def test_the_mean_is_the_mean_and_the_noise_that_was_planned(noise: str, rows: Any) -> None:
    """Within six standard deviations of the noise in each column; seeded, so it stays so."""
    found = plan(noise)
    sources = [SeededRandomness(5, place) for place in range(1 if noise == "central" else PARTIES)]
    sums = NOISY[noise](found, sources, simulation=True)
    mean = private_mean(rows, (LOW, HIGH), sums, budget())
    parties = {"local": PARTIES, "central": 1, "shares": PARTIES / (PARTIES - 1)}[noise]
    deviation = found.noise_multiplier * ROOT * math.sqrt(parties) * 1.001
    error = (mean - np.concatenate(rows).mean(axis=0)) / (HIGH - LOW) * 2 * ROWS * PARTIES
    assert np.abs(error).max() <= 6 * deviation
    assert np.abs(error).max() >= deviation / 100  # there is noise


def test_one_row_moves_the_sum_by_its_own_clipped_vector(rows: Any) -> None:
    """Bit for bit, and by the clip norm at most; rows that are not finite add nothing."""
    found = plan(l2_clip_norm=0.8)

    def given(first: Any) -> list[ClippedSum]:
        changed = [rows[0].copy(), *rows[1:]]
        changed[0][0] = first
        sums = Recorded(CentralNoise(found))
        private_mean(changed, (LOW, HIGH), sums, budget())
        return sums.given

    middle, half = (LOW + HIGH) / 2, (HIGH - LOW) / 2
    nothing = given(middle)
    assert all(each.l2_sensitivity == 0.8 for each in nothing)
    for value in (LOW, HIGH, middle + half / 10, LOW - 1e6, np.full(SIZE, 1e300)):
        moved = given(value)[0].flat - nothing[0].flat
        centred = (value - middle) / half
        wanted = centred * min(1.0, 0.8 / float(np.linalg.norm(centred / 1e150)) / 1e150)
        assert np.linalg.norm(moved) <= 0.8
        if np.abs(value).max() < 1e150:
            assert np.allclose(moved, wanted, rtol=1e-5)
        else:
            assert not moved.any()  # too long to have a norm
    for value in (math.nan, math.inf):
        broken = HIGH.copy()
        broken[2] = value
        assert given(broken)[0].flat.tobytes() == nothing[0].flat.tobytes()


def test_it_is_paid_once_and_before_any_row_is_touched(
    rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = plan()
    sums = Recorded(CentralNoise(found))
    with monkeypatch.context() as patched:
        patched.setattr(means, "RowGrid", None)  # what clips rows
        with pytest.raises(BudgetExceededError):
            private_mean(rows, (LOW, HIGH), sums, budget(0.9))
    assert not sums.given
    one = budget()
    private_mean(rows, (LOW, HIGH), sums, one)
    assert one.spent_epsilon == pytest.approx(found.epsilon)
    with pytest.raises(BudgetExceededError):
        private_mean(rows, (LOW, HIGH), sums, one)
    assert len(sums.given) == PARTIES


def test_the_mean_and_the_training_after_it_share_one_budget(rows: Any) -> None:
    found = plan()
    training = plan(rounds=10, sampling_rates=[0.2] * PARTIES)
    together = budget(2.0)
    private_mean(rows, (LOW, HIGH), CentralNoise(found), together)
    for _ in range(10):
        together.spend_round(training)
    assert max(found.epsilon, training.epsilon) < together.spent_epsilon < 2.0


@pytest.mark.parametrize(
    ("how", "change"),
    [
        ({"rounds": 2}, {}),
        ({"sampling_rates": [0.5] * PARTIES}, {}),
        ({"noise": "local", "steps_per_round": [2] * PARTIES}, {}),
        ({"truncated_batch_sizes": [20] * PARTIES}, {}),
        ({"dimension": SIZE + 1}, {}),
        ({"rows": [ROWS + 1] * PARTIES}, {}),
        ({}, {"rows": 2}),
        ({}, {"ranges": (HIGH, LOW)}),
        ({}, {"ranges": (LOW, LOW)}),
        ({}, {"ranges": (LOW, math.inf)}),
        ({}, {"ranges": (LOW[1:], HIGH[1:])}),
        ({}, {"ranges": (0.0,)}),
        ({}, {"ranges": ("low", "high")}),
        ({}, {"ranges": (-(10**400), 10**400)}),
    ],
)
def test_what_does_not_fit_is_refused_before_it_is_paid(how: Any, change: Any, rows: Any) -> None:
    found = plan(**how)
    untouched = budget(50.0)
    given = rows[: change.get("rows", PARTIES)]
    with pytest.raises(ConfigError):
        private_mean(given, change.get("ranges", (LOW, HIGH)), NOISY[found.noise](found), untouched)
    assert untouched.spent_epsilon == 0


class Unreadable:
    """A cell that tells of itself wherever it is read."""

    def __float__(self) -> float:
        warnings.warn("Alice", UserWarning, stacklevel=2)
        raise ZeroDivisionError("Alice")


CELLS: dict[str, Any] = {
    "a number past doubles": 10**400,
    "text": "Alice",
    "nothing": None,
    "two numbers": [1.0, 2.0],
    "a complex number": np.complex128(1j),
    "what raises and warns": Unreadable(),
    "no number": math.nan,
    "infinity": -math.inf,
    "a wide number": np.longdouble("1e4000"),
}


def contributed(rows: list[Any]) -> list[bytes]:
    sums = Recorded(CentralNoise(plan()))
    private_mean(rows, (LOW, HIGH), sums, budget())
    return [each.flat.tobytes() for each in sums.given]


@pytest.mark.parametrize("what", CELLS)
def test_a_cell_that_is_no_finite_number_adds_nothing_and_raises_nothing(
    what: str, rows: Any
) -> None:
    """In a list or an array of objects; a warning here is an error."""
    nothing = [row.tolist() for row in rows[0]]
    nothing[3] = ((LOW + HIGH) / 2).tolist()
    bad = [list(row) for row in nothing]
    bad[3][1] = CELLS[what]
    wanted = contributed([nothing, *rows[1:]])
    assert contributed([bad, *rows[1:]]) == wanted
    objects = np.empty((ROWS, SIZE), object)
    for place, row in enumerate(bad):
        for column, cell in enumerate(row):
            objects[place, column] = cell
    assert contributed([objects, *rows[1:]]) == wanted
    with np.errstate(all="raise"):
        assert contributed([objects, *rows[1:]]) == wanted


@pytest.mark.parametrize(
    "bad", [[], [1.0], [1.0] * (SIZE + 1), 7.0, "Alice", None, [[1.0], [2.0, 3.0]]]
)
def test_a_row_of_another_form_adds_nothing(bad: Any, rows: Any) -> None:
    nothing = [*rows[0][:-1], (LOW + HIGH) / 2]
    assert contributed([[*rows[0][:-1], bad], *rows[1:]]) == contributed([nothing, *rows[1:]])


def test_a_masked_cell_is_no_number(rows: Any) -> None:
    masked = np.ma.masked_array(rows[0], mask=np.zeros((ROWS, SIZE), bool))
    assert contributed([masked, *rows[1:]]) == contributed(rows)
    masked[2, 1] = np.ma.masked
    nothing = rows[0].copy()
    nothing[2] = (LOW + HIGH) / 2
    assert contributed([masked, *rows[1:]]) == contributed([nothing, *rows[1:]])


@pytest.mark.parametrize("kind", [np.float32, np.int64, np.uint8, bool, np.longdouble, object])
def test_rows_are_arrays_of_any_number_type(kind: Any, rows: Any) -> None:
    whole = [np.rint(each).clip(0, 1).astype(kind) for each in rows]
    assert contributed(whole) == contributed([each.astype(np.float64) for each in whole])
    assert contributed([torch.ones(ROWS, SIZE), *rows[1:]]) == contributed(
        [np.ones((ROWS, SIZE)), *rows[1:]]
    )


@pytest.mark.parametrize(
    "bad",
    [
        np.full((ROWS, SIZE), "1.0"),
        np.ones((ROWS, SIZE), complex),
        np.full((ROWS, SIZE), "2020-01-01", "datetime64[D]"),
        np.ones((ROWS, SIZE + 1)),
        np.ones(ROWS),
        np.empty(ROWS, object),
        torch.ones(ROWS, SIZE, requires_grad=True),
        torch.ones(ROWS, SIZE, dtype=torch.bfloat16),
        7.0,
        iter([[1.0]]),
        [[1.0] * SIZE] * (ROWS - 1),
    ],
)
def test_a_form_that_is_public_is_refused_before_it_is_paid(bad: Any, rows: Any) -> None:
    untouched = budget()
    with pytest.raises(ConfigError):
        private_mean([bad, *rows[1:]], (LOW, HIGH), CentralNoise(plan()), untouched)
    assert untouched.spent_epsilon == 0


def test_ids_are_checked_against_the_placements_before_it_is_paid(rows: Any) -> None:
    names = [[f"{place} {row}" for row in range(ROWS)] for place in range(PARTIES)]
    one = budget()
    private_mean(rows, (LOW, HIGH), CentralNoise(plan()), one, ids=names)
    assert one.spent_epsilon > 0
    twice = [[*each] for each in names]
    twice[1][7] = twice[1][0]
    for ids, message in (
        (twice, "a unit has more rows here than the 1"),
        ([*names[:-1], names[-1][1:]], "IDs: give each row one"),
        (names[1:], "the plan has"),
    ):
        untouched = budget()
        with pytest.raises(ConfigError, match=message):
            private_mean(rows, (LOW, HIGH), CentralNoise(plan()), untouched, ids=ids)
        assert untouched.spent_epsilon == 0
