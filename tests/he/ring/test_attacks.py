"""What a key's holder tries on answers: each works on its planted fault, and not on the product.

The holder runs code of its own: it knows its secret and the errors that it drew.
"""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from privfed.errors import ConfigError
from privfed.he.ring import (
    PLAIN_MODULUS,
    PRIMES,
    Answers,
    Plaintexts,
    Products,
    RingKey,
    bounds,
    sampling,
    uniform_plain,
)
from privfed.he.ring.parameters import RING, Ring
from tests.he.ring.integers import MIDDLE, SMALL, composed

QUERIES = 150
LEVEL = 3  # primes of those, all of them kept: what switching adds would only hide more
FLOOD_BITS = 60  # the product's: 2^-40 and less of each coefficient, as `flood_distance` says


class Holder:
    """A key's holder that keeps what it draws."""

    def __init__(self, ring: Ring, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ring = ring
        drawn: dict[str, Any] = {}
        with monkeypatch.context() as patch:
            for name in ("ternary", "errors"):
                draw = getattr(sampling, name)

                def keep(*given: Any, name: str = name, draw: Any = draw) -> Any:
                    drawn[name] = draw(*given)
                    return drawn[name].copy()

                patch.setattr(sampling, name, keep)
            self.key = RingKey.generate(ring)
            self.secret = drawn["ternary"]
            zero = np.zeros((QUERIES, 1, ring.degree), np.uint64)
            self.sent, self.errors = [], np.empty((QUERIES, ring.degree))
            for query in range(QUERIES):
                self.sent.append(self.key.encrypt(zero[query], LEVEL))
                self.errors[query] = drawn["errors"][0]

    def noise(self, answers: Answers) -> NDArray[np.float64]:
        """What t is multiplied with in the phase of an answer that kept its primes."""
        c0, c1 = answers.halves()
        answers.read(0, c0, c1)
        secret = np.empty((1, LEVEL, self.ring.degree))
        secret[:] = self.secret
        values, primes = c1[np.newaxis], self.ring.primes[:LEVEL]
        self.ring.to_values(secret)
        self.ring.to_values(values)
        product = values.astype(np.uint64).astype(object) * secret.astype(np.uint64).astype(object)
        moduli = np.array(primes, object)[:, np.newaxis]
        back = (product % moduli).astype(float)
        self.ring.to_coefficients(back)
        phase = composed(back[0] + c0, primes)
        message = self.key.decrypt(answers)[0].astype(object)
        return np.asarray(((phase - message) // self.ring.plain_modulus).astype(float))


def transform(rows: NDArray[np.float64]) -> NDArray[Any]:
    """Complex values at which a product mod x^N + 1 is one of values."""
    twist = np.exp(1j * np.pi * np.arange(rows.shape[-1]) / rows.shape[-1])
    return np.fft.fft(rows * twist)


def averaged(errors: NDArray[np.float64], noise: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Least squares: the indicators that explain the noise best by the errors."""
    e, z = transform(errors), transform(noise)
    values = (e.conj() * z).sum(axis=0) / (abs(e) ** 2).sum(axis=0)
    twist = np.exp(-1j * np.pi * np.arange(len(values)) / len(values))
    return np.asarray((np.fft.ifft(values) * twist).real > 0.5)


@pytest.mark.parametrize(
    ("flood_bits", "least", "most"),
    [
        (1, 0.99, 1.0),  # planted: none
        (10, 0.9, 1.0),  # planted: a small one, 2^9 either way
        # Chance is 1/2, off by .1 or more once in 10^9: 6.4 deviations of 1024 coins.
        (FLOOD_BITS, 0.4, 0.6),
    ],
)
def test_averaging_the_same_indicators(
    flood_bits: int, least: float, most: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = Holder(MIDDLE, monkeypatch)
    indicators = np.random.default_rng(0).integers(0, 2, MIDDLE.degree)
    plain = Plaintexts.encode(indicators[np.newaxis, np.newaxis], LEVEL, ring=MIDDLE)
    noise = np.array(
        [
            holder.noise(
                holder.key.public.answer(
                    Products(plain, sent),
                    uniform_plain(1, ring=MIDDLE),
                    flood_bits,
                    kept_primes=LEVEL,
                )
            )
            for sent in holder.sent
        ]
    )
    correct = (averaged(holder.errors, noise) == indicators).mean()
    assert least <= correct <= most


def test_the_flood_of_that_test_is_what_a_plan_asks_for() -> None:
    row_sum = MIDDLE.degree
    assert bounds.flood_distance(row_sum, FLOOD_BITS, ring=MIDDLE) < 2**-40
    assert bounds.flood_distance(row_sum, 10, ring=MIDDLE) == 1
    bounds.check_capacity(row_sum, FLOOD_BITS, primes=LEVEL, kept_primes=LEVEL, ring=MIDDLE)


@pytest.mark.parametrize("planted", [True, False])
def test_dividing_by_ones_own_half(planted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second half of a product is one's own times the plaintext, unless it is made anew."""
    key = RingKey.generate()
    row = np.random.default_rng(1).integers(0, 2, RING.degree)
    sent = key.encrypt(uniform_plain(1), 2)
    products = Products(Plaintexts.encode(row[np.newaxis, np.newaxis], 2), sent)
    if planted:
        monkeypatch.setattr(sampling, "ternary", lambda stream, ring: np.zeros(ring.degree))
        monkeypatch.setattr(sampling, "errors", lambda _, *shape: np.zeros(shape))
    answers = key.public.answer(products, uniform_plain(1), 40, kept_primes=2)
    c0, c1 = answers.halves()
    answers.read(0, c0, c1)
    RING.to_values(c1[np.newaxis])
    prime = PRIMES[0]
    quotients = [
        int(one) * pow(int(own), -1, prime) % prime
        for one, own in zip(c1[0], sent.c1[0, 0], strict=True)
    ]
    read = np.array([[quotients]], float)
    RING.to_coefficients(read)
    correct = (read[0, 0] == row).mean()
    assert correct == 1 if planted else correct < 0.01


def test_a_plaintext_modulus_that_is_a_prime_opens_the_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Mod that prime t*e is 0, and what is sent says the key: such a ring is refused."""
    for plain in (PRIMES[0], PLAIN_MODULUS):
        primes = (PRIMES[0],)
        with monkeypatch.context() as patch:
            if plain == PRIMES[0]:
                with pytest.raises(ConfigError, match="the key opens"):
                    Ring(SMALL.degree, primes, plain)
                patch.setattr(Ring, "__post_init__", lambda self: None)
            ring = Ring(SMALL.degree, primes, plain)
        zero = RingKey.generate(ring).public.zero
        values = [
            -int(c0) * pow(int(c1), -1, PRIMES[0]) % PRIMES[0]
            for c0, c1 in zip(zero.c0[0, 0], zero.c1[0, 0], strict=True)
        ]
        secret = np.array([[values]], float)
        ring.to_coefficients(secret)
        is_ternary = bool(np.isin(secret, (0, 1, PRIMES[0] - 1)).all())
        assert is_ternary is (plain == PRIMES[0])
