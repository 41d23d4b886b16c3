"""What a side makes of its view: each attack works on a planted fault, and not on the product.

A view is simulated from a side's own input and output: all that it decrypts is uniform, and its new
shares are. The distinguisher is Pearson's chi-square, told the other side's secret matrix, too.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.stats import chi2_contingency, chisquare

from privfed.errors import ConfigError
from privfed.he.ring import (
    DEGREE,
    PLAIN_MODULUS,
    Answers,
    Plaintexts,
    Products,
    RingKey,
    from_slots,
    uniform_plain,
)
from privfed.vertical.encoding import BlockEncoder
from privfed.vertical.linear.capacity import layouts_of
from privfed.vertical.linear.host import Host
from privfed.vertical.linear.rows import with_intercept
from privfed.vertical.linear.shares import matrix_product, negative, plus
from privfed.vertical.linear.waves import constants
from privfed.vertical.linear.whitening import Whitening
from tests.vertical.machines import Job, job, train

Residues = NDArray[np.uint64]
T = PLAIN_MODULUS
ROWS, SESSIONS = 200, 20
FALSE_ALARM = 1e-9  # of one test; on a planted fault chi-square must be as sure the other way
BINS = 8

# -- labels from the host's own coefficients ------------------------------------------------------


def one_row_columns(seed: int, targets: int) -> tuple[Job, NDArray[np.int64]]:
    """A host with a column of its own for each row whose label it wants."""
    base = job(rows=300, host=targets, seed=seed, iterations=12, least_rows=1)
    rows = np.arange(targets) * 7
    columns = np.zeros((300, targets))
    columns[rows, np.arange(targets)] = 1
    columns = (columns - columns.mean(axis=0)) / columns.std(axis=0)
    whitening = Whitening.fit(columns, 0.0).matrix
    own = base.whitenings[0]
    return dataclasses.replace(base, host=columns @ whitening, whitenings=(own, whitening)), rows


def test_a_coefficient_of_one_row_would_be_its_label() -> None:
    """The planted fault: a plan whose host's columns may tell one row apart."""
    right = total = 0
    for seed in range(3):
        given, rows = one_row_columns(seed, 12)
        guest, host = given.sides()
        train(guest, host)
        guessed = given.whitenings[1] @ host.coefficients > 0
        right += int(np.sum(guessed == (given.labels[rows] > 0)))
        total += len(rows)
    assert right >= 0.95 * total


def test_such_columns_do_not_reach_the_training() -> None:
    """Neither numbers nor categories that tell few rows from the others, by whatever way."""
    given, _ = one_row_columns(0, 12)
    for least in (2, 10):
        plan = msgspec.structs.replace(given.plan, least_rows=least)
        with pytest.raises(ConfigError, match=f"column 0 .* on 1 rows, {least} are needed"):
            Host(plan, given.host, given.whitenings[1])
    shared = msgspec.structs.replace(given.plan, least_rows=10, coefficients="shared")
    assert Host(shared, given.host, given.whitenings[1]).plan.least_rows == 10
    flags = np.zeros(300, int)
    flags[7] = 1
    words = np.where(np.arange(300) == 7, "rare", np.where(np.arange(300) % 2, "a", "b"))
    frame = pd.DataFrame({"flag": flags.astype(str), "word": words})
    encoder = BlockEncoder.fit(frame, least_rows=10)
    assert encoder.rare_columns(10) == ("flag",)
    matrix = BlockEncoder.fit(frame[["word"]], least_rows=10).matrix(frame[["word"]])
    for column in matrix.T:
        commonest = np.unique(column, return_counts=True)[1].max()
        assert len(column) - commonest >= 10


# -- the matrix, from answers to chosen vectors ---------------------------------------------------


def column_read(given: Job, masks: Residues) -> float:
    """Ask a host for its matrix times a unit vector; return how many signs of a column it tells."""
    layout = layouts_of(given.plan, 0).host_forward
    packing, rows = layout.packing, given.rows(0)[:, given.plan.guest_columns :]
    key = RingKey.generate()
    unit = np.zeros(packing.columns, np.uint64)
    unit[0] = 1
    products = Products(
        Plaintexts.encode(packing.matrix(rows.astype(np.int64)), layout.primes),
        key.encrypt(packing.vector(unit), layout.primes),
    )
    answers = key.public.answer(
        products,
        masks[: packing.answers, : len(packing.positions)],
        layout.flood_bits,
        kept_primes=layout.kept_primes,
        positions=packing.positions,
    )
    read = packing.results(key.decrypt(answers)).astype(np.int64)
    read -= T * (read > T // 2)
    return float(np.mean(np.sign(read) == np.sign(rows[:, 0])))


def test_an_answer_without_a_mask_is_the_matrix() -> None:
    given = job(rows=2000, iterations=1)
    answers = layouts_of(given.plan, 0).host_forward.packing.answers
    assert column_read(given, np.zeros((answers, DEGREE), np.uint64)) == 1
    # A fair coin is as far from a half once in 10^9; rows whose entry is 0 are never told.
    assert abs(column_read(given, uniform_plain(answers)) - 0.5) < 6.1 * 0.5 / 2000**0.5 + 0.02


# -- views, by simulation -------------------------------------------------------------------------


class View(NamedTuple):
    """What a session of one iteration gave each side to decrypt, and its new shares.

    Attributes:
        scores: The guest's: the host's matrix times its own shares.
        host_scores: The host's: the guest's matrix times its own.
        residuals: The guest's shares of them.
        host_slopes: The host's: the guest's matrix, turned, times its residuals.
        slopes: The guest's: the host's matrix, turned, times its own residuals.
        untold: That less what it would be without a mask: the distinguisher knows the matrix.
        new: The host's new shares of coefficients.
        fresh: The guest's.
    """

    scores: Residues
    host_scores: Residues
    residuals: Residues
    host_slopes: Residues
    slopes: Residues
    untold: Residues
    new: Residues
    fresh: Residues


def view(given: Job, monkeypatch: pytest.MonkeyPatch) -> View:
    """Run a session; decryption is watched, which is what a side itself can do."""
    read: list[Residues] = []
    decrypt = RingKey.decrypt

    def watched(key: RingKey, answers: Answers) -> Residues:
        opened = decrypt(key, answers)
        read.append(opened)
        return opened

    guest, host = given.sides()
    with monkeypatch.context() as patch:
        patch.setattr(RingKey, "decrypt", watched)
        train(guest, host)
    scores, host_scores, linked, host_slopes, slopes = read
    residuals = from_slots(linked)[0]
    known = constants(given.plan, 0, given.labels)
    rows = given.rows(0)[:, given.plan.guest_columns :]
    told = matrix_product(np.ascontiguousarray(rows.T), plus(residuals[: len(known)], known))
    packing = layouts_of(given.plan, 0).host_backward.packing
    return View(
        scores.reshape(-1),
        host_scores.reshape(-1),
        residuals,
        host_slopes.reshape(-1),
        slopes.reshape(-1),
        plus(packing.results(slopes), negative(told)),
        host.shares,
        guest.shares,
    )


def views(given: Job, sessions: int, monkeypatch: pytest.MonkeyPatch) -> View:
    """All sessions' values together."""
    each = [view(given, monkeypatch) for _ in range(sessions)]
    return View(*map(np.concatenate, zip(*each, strict=True)))


def counted(values: Residues) -> NDArray[np.int64]:
    """How many values lie in each of equal parts of 0 to t."""
    return np.bincount((values.astype(float) * (BINS / T)).astype(np.int64), minlength=BINS)


def chance(values: Residues) -> float:
    """How often uniform values would be as uneven."""
    return float(chisquare(counted(values)).pvalue)


def two_worlds() -> tuple[Job, Job]:
    """Jobs that differ in both sides' rows and in labels."""
    settings: Any = {"iterations": 1, "coefficients": "shared", "guest": 9, "host": 9}
    given = job(rows=ROWS, seed=1, **settings)
    ones = np.ones((ROWS, 9))
    other = dataclasses.replace(
        given, guest=with_intercept(ones), host=-ones, labels=1 - given.labels
    )
    return given, other


def test_views_are_those_of_the_simulator(monkeypatch: pytest.MonkeyPatch) -> None:
    """Uniform, and the same whatever the other side has; 24 tests, each wrong once in 10^9."""
    found = [views(given, SESSIONS, monkeypatch) for given in two_worlds()]
    for name, one, other in zip(View._fields, *found, strict=True):
        assert len(one) >= 5 * BINS, name
        assert chance(one) > FALSE_ALARM, name
        assert chance(other) > FALSE_ALARM, name
        table = np.array([counted(one), counted(other)])
        assert chi2_contingency(table).pvalue > FALSE_ALARM, name


def test_views_without_masks_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault: answers are not masked. The same distinguisher is sure."""

    def zeros(count: int, places: int = DEGREE) -> Residues:
        return np.zeros((count, places), np.uint64)

    monkeypatch.setattr("privfed.vertical.linear.products.uniform_plain", zeros)
    monkeypatch.setattr("privfed.vertical.linear.host.uniform_plain", zeros)
    found = views(two_worlds()[0], 3, monkeypatch)
    for name in ("scores", "host_scores", "residuals", "host_slopes", "untold"):
        assert chance(getattr(found, name)) < FALSE_ALARM, name


def test_one_mask_for_two_sessions_would_tell_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault: masks are used again, so what is decrypted differs by what they hide."""
    masks: dict[tuple[int, int], Residues] = {}
    given = two_worlds()[0]

    def again(count: int, places: int) -> Residues:
        return masks.setdefault((count, places), uniform_plain(count, places))

    differences = []
    for planted in (True, False):
        with monkeypatch.context() as patch:
            if planted:
                patch.setattr("privfed.vertical.linear.products.uniform_plain", again)
            one, other = (view(given, monkeypatch) for _ in range(2))
        differences.append(plus(one.scores, negative(other.scores)))
    assert chance(differences[0]) < FALSE_ALARM
    assert chance(differences[1]) > FALSE_ALARM
