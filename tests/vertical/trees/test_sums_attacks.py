"""What a reader tries on answers to know the subsets: each works on its planted fault alone.

The reader runs code of its own: it knows its secret and the errors that it drew. Both primes of an
answer are kept here: the product drops one, which would only hide more.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from privfed.he.ring import Answers, Ciphertexts, kernels, sampling
from privfed.vertical.trees.subsets import Subsets
from privfed.vertical.trees.sums import SumsAnswerer, SumsLayout, SumsReader
from tests.he.ring.integers import composed

ROWS, SUBSETS, QUERIES = 32, 8, 150
DEGREE = 4096


def halves_of_rows() -> Subsets:
    """Subsets of about half of the rows each, of the largest weight."""
    codes = np.random.default_rng(5).integers(0, 2, (SUBSETS, ROWS)).astype(np.uint8)
    ones = np.ones(SUBSETS, np.uint8)
    column = np.arange(SUBSETS)
    return Subsets(codes, column, ones, ones, ones < 1, np.full(SUBSETS, 14))


@pytest.fixture
def layout(monkeypatch: pytest.MonkeyPatch) -> SumsLayout:
    monkeypatch.setattr(SumsLayout, "kept_primes", 2)
    found = SumsLayout(SUBSETS, ROWS, 14, 24, QUERIES * SUBSETS)
    assert (found.width, found.ciphertexts, found.answers) == (ROWS, 1, 1)
    return found


class Holder:
    """A reader that keeps what it draws."""

    def __init__(self, layout: SumsLayout, monkeypatch: pytest.MonkeyPatch) -> None:
        self.layout = layout
        drawn: dict[str, list[Any]] = {"ternary": [], "errors": []}
        with monkeypatch.context() as patch:
            for name, seen in drawn.items():
                draw = getattr(sampling, name)

                def keep(*given: Any, draw: Any = draw, seen: list[Any] = seen) -> Any:
                    seen.append(draw(*given))
                    return seen[-1].copy()

                patch.setattr(sampling, name, keep)
            self.reader = SumsReader(layout.plain_bits)
            drawn["errors"].clear()  # the public key's
            self.sent = self.reader.encrypted(layout, np.zeros((QUERIES, ROWS), np.int64))
        self.errors = np.concatenate(drawn["errors"])
        self.secret = np.empty((1, 2, DEGREE))
        self.secret[:] = drawn["ternary"][0]
        layout.ring.to_values(self.secret)

    def noise(self, answers: bytes) -> NDArray[np.float64]:
        """What t is multiplied with in the phases (queries, positions) of answers."""
        layout, ring = self.layout, self.layout.ring
        taken = Answers.from_bytes(
            answers, QUERIES, primes=2, kept_primes=2, positions=layout.positions, ring=ring
        )
        opened = self.reader.opened(layout, answers, QUERIES).astype(object)
        c0, c1 = taken.halves()
        found = np.empty(opened.shape)
        for query, message in enumerate(opened):
            taken.read(query, c0, c1)
            ring.to_values(c1[np.newaxis])
            product = np.zeros((1, 2, DEGREE))
            kernels.add_products(c1[np.newaxis], self.secret[0], 1.0, ring.moduli, product)
            ring.to_coefficients(product)
            phase = composed(product[0][:, layout.positions] + c0, ring.primes)
            found[query] = (phase - message) // ring.plain_modulus
        return found

    def seen_in(self, noise: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Least squares: the subsets (subsets, rows) that explain the noise best by the errors."""
        width = self.layout.width
        place = np.arange(SUBSETS)[:, np.newaxis] * width + width - 1 - np.arange(ROWS)
        index = self.layout.positions[:, np.newaxis] - place.reshape(-1)
        # x^N = -1: what stands before the first coefficient has the other sign.
        factors = self.errors[:, index % DEGREE] * np.where(index < 0, -1, 1)
        factors = factors.reshape(-1, place.size)
        fit = np.linalg.solve(factors.T @ factors, factors.T @ noise.reshape(-1))
        return np.asarray(fit.reshape(SUBSETS, ROWS) > 7)


@pytest.mark.parametrize(
    ("flood_bits", "least", "most"),
    [
        (None, 0.31, 0.69),  # the product: chance is 1/2, as far off once in 10^9 (256 coins)
        (2, 0.95, 1.0),  # planted: none to speak of
        (10, 0.7, 0.95),  # planted: a small one
    ],
)
def test_averaging_many_queries_of_the_same_subsets(
    flood_bits: int | None,
    least: float,
    most: float,
    layout: SumsLayout,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    holder, subsets = Holder(layout, monkeypatch), halves_of_rows()
    answerer = SumsAnswerer(layout, holder.reader.public, subsets, cache_bytes=0)
    if flood_bits is not None:
        monkeypatch.setitem(vars(layout), "flood_bits", flood_bits)
    answers, _ = answerer.answered(holder.sent, QUERIES)
    correct = (holder.seen_in(holder.noise(answers)) == (subsets.matrix() > 0)).mean()
    assert least <= correct <= most


@pytest.mark.parametrize("planted", [True, False])
def test_dividing_by_ones_own_half(
    planted: bool, layout: SumsLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second half of a product is one's own times the subsets, unless it is made anew."""
    reader, subsets, ring = SumsReader(layout.plain_bits), halves_of_rows(), layout.ring
    sent = reader.encrypted(layout, np.ones((1, ROWS), np.int64))
    answerer = SumsAnswerer(layout, reader.public, subsets, cache_bytes=0)
    if planted:
        monkeypatch.setattr(sampling, "ternary", lambda stream, ring: np.zeros(ring.degree))
        monkeypatch.setattr(sampling, "errors", lambda stream, *shape: np.zeros(shape))
    answers = Answers.from_bytes(
        answerer.answered(sent, 1)[0],
        1,
        primes=2,
        kept_primes=2,
        positions=layout.positions,
        ring=ring,
    )
    c0, c1 = answers.halves()
    answers.read(0, c0, c1)
    ring.to_values(c1[np.newaxis])
    own, prime = Ciphertexts.from_bytes(sent, 1, 2, ring=ring).c1[0, 0], ring.primes[0]
    quotients = [
        int(one) * pow(int(by), -1, prime) % prime for one, by in zip(c1[0], own, strict=True)
    ]
    read = np.array([[quotients]], float)
    ring.to_coefficients(read)
    found = read[0, 0, : SUBSETS * ROWS].reshape(SUBSETS, ROWS)[:, ::-1]
    correct = (found == subsets.matrix()).mean()
    assert correct == 1 if planted else correct < 0.01


def test_sums_that_are_not_masked_are_read(layout: SumsLayout) -> None:
    """What `masked=False` is for; with masks a reader's share alone is noise."""
    reader, subsets = SumsReader(layout.plain_bits), halves_of_rows()
    vectors = np.random.default_rng(6).integers(-15, 16, (QUERIES, ROWS))
    answerer = SumsAnswerer(layout, reader.public, subsets, cache_bytes=0)
    sent, most = reader.encrypted(layout, vectors), 2 * layout.half
    for masked in (False, True):
        answers, _ = answerer.answered(sent, QUERIES, masked=masked)
        read = reader.opened(layout, answers, QUERIES)
        right = (read.astype(np.int64) - subsets.sums(vectors)) % most == 0
        # Of 1200 uniform shares none is right but once in 14,000 runs, two once in 10^8.
        assert right.all() if not masked else right.sum() < 3
