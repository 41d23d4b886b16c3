"""What is encrypted, multiplied and answered opens to what integers say, in the worst case, too."""

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privfed.errors import CapacityError, ConfigError
from privfed.he.ring import (
    MAX_FLOOD_BITS,
    Answers,
    Ciphertexts,
    Plaintexts,
    Products,
    PublicKey,
    RingKey,
    bounds,
    centred,
    kernels,
    sampling,
    uniform_plain,
)
from privfed.he.ring.parameters import RING, Ring
from tests.he.ring.integers import EVEN, MIDDLE, ODD, SMALL, Integers, composed, multiplied
from tests.he.ring.integers import centred as middle

LEVELS = [(2, 2), (3, 2), (3, 3), (4, 2), (4, 3), (4, 4)]
SMALL_LEVELS = [(2, 1), (3, 1), *LEVELS]  # where t leaves room for what switching adds


def largest_flood(
    row_sum: int, primes: int, kept_primes: int, some: Ring, summands: int = 1
) -> int:
    """The most bits that a capacity check lets pass."""

    def fits(bits: int) -> bool:
        try:
            bounds.check_capacity(
                row_sum,
                bits,
                primes=primes,
                kept_primes=kept_primes,
                summands=summands,
                ring=some,
            )
        except CapacityError:
            return False
        return True

    return max(bits for bits in range(1, MAX_FLOOD_BITS + 1) if fits(bits))


def expected(
    plain: Any, messages: Any, masks: Any, t: int, positions: Any = slice(None)
) -> Integers:
    rows = [
        sum(multiplied(one, message) for one, message in zip(row, messages, strict=True))
        for row in plain
    ]
    return np.asarray((np.array(rows, object)[:, positions] + masks.astype(object)) % t)


@pytest.fixture(scope="module")
def keys() -> dict[Ring, RingKey]:
    return {some: RingKey.generate(some) for some in (SMALL, ODD, EVEN)}


@st.composite
def rings_and_levels(draw: st.DrawFn) -> tuple[Ring, int, int]:
    some = draw(st.sampled_from([SMALL, ODD, EVEN]))
    return some, *draw(st.sampled_from(SMALL_LEVELS if some is EVEN else LEVELS))


@settings(max_examples=40, deadline=None)
@given(
    rings_and_levels(), st.sampled_from([1, 2, 17]), st.integers(1, 5), st.integers(1, 2),
    st.integers(1, 4), st.integers(0, 2**32), st.booleans(),
)  # fmt: skip
def test_answers_open_to_the_sums_of_products(
    keys: dict[Ring, RingKey],
    where: tuple[Ring, int, int],
    rows: int,
    columns: int,
    vectors: int,
    summands: int,
    seed: int,
    part: bool,
) -> None:
    some, primes, kept_primes = where
    key, rng = keys[some], np.random.default_rng(seed)
    plain = rng.integers(-9, 10, (rows, columns, some.degree))
    shape = (vectors * columns, some.degree)
    messages = rng.integers(0, some.plain_modulus, shape, np.uint64)
    positions = rng.permutation(some.degree)[: rng.integers(1, some.degree)] if part else None
    places = some.degree if positions is None else len(positions)
    masks = uniform_plain(vectors * rows, places, ring=some)
    row_sum = int(np.abs(plain).sum(axis=(1, 2)).max())
    flood_bits = largest_flood(row_sum, primes, kept_primes, some, summands)
    sent = key.encrypt(messages, primes).to_bytes()
    count = vectors * columns
    assert len(sent) == Ciphertexts.size_bytes(count, primes, ring=some)
    received = Ciphertexts.from_bytes(sent, count, primes, ring=some)
    public = PublicKey.from_bytes(key.public.to_bytes(), ring=some)
    products = Products(Plaintexts.encode(plain, primes, ring=some), received)
    back = public.answer(
        products,
        masks,
        flood_bits,
        kept_primes=kept_primes,
        positions=positions,
        summands=summands,
    ).to_bytes()
    assert len(back) == Answers.size_bytes(len(masks), kept_primes, places, ring=some)
    answers = Answers.from_bytes(
        back, len(masks), primes=primes, kept_primes=kept_primes, positions=positions, ring=some
    )
    opened = slice(None) if positions is None else positions
    exact = [
        expected(plain, message, mask, some.plain_modulus, opened)
        for message, mask in zip(np.split(messages, vectors), np.split(masks, vectors), strict=True)
    ]
    assert np.array_equal(key.decrypt(answers), np.concatenate(exact))


@pytest.mark.parametrize(
    ("some", "levels"),
    [*((SMALL, one) for one in LEVELS), *((EVEN, one) for one in SMALL_LEVELS)],
)
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("summands", [1, 4])
def test_the_worst_case_opens(
    some: Ring,
    levels: tuple[int, int],
    sign: int,
    summands: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every error, key, flood and message at its bound, and the largest flood that is let pass."""
    primes, kept_primes = levels
    degree, t = some.degree, some.plain_modulus
    signs = np.ones((1, degree))
    signs[0, 1:] = -1  # so that the constant coefficient of a product sums all of them

    def words(stream: sampling.Stream, out: Any) -> None:
        out[:] = 0 if sign < 0 else np.iinfo(out.dtype).max

    monkeypatch.setattr(sampling, "ternary", lambda stream, ring: signs[0].copy())
    monkeypatch.setattr(sampling, "errors", lambda _, *shape: sign * 21.0 * np.ones(shape))
    key = RingKey.generate(some)
    plain = np.where(signs > 0, t // 2, -(t // 2)).astype(np.int64).reshape(1, 1, degree)
    if primes == 2:
        plain = plain // t * 3 + 1  # a product with slots needs a third prime
    row_sum = int(np.abs(plain).sum())
    messages = np.full((1, degree), t // 2 if sign > 0 else t - t // 2, np.uint64)
    masks = np.full((1, degree), t - 1 if sign > 0 else 0, np.uint64)
    flood_bits = largest_flood(row_sum, primes, kept_primes, some, summands)
    products = Products(Plaintexts.encode(plain, primes, ring=some), key.encrypt(messages, primes))
    assert products.ciphertexts.c1.any()  # expanded now, from a seed,
    assert key.public.zero.c1.any()
    monkeypatch.setattr(sampling.Stream, "fill", words)
    answers = key.public.answer(
        products, masks, flood_bits, kept_primes=kept_primes, summands=summands
    )
    assert np.array_equal(key.decrypt(answers), expected(plain, messages, masks, t))


def test_a_flood_past_the_bound_can_wrap(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check is not idle: two bits more, and the greatest flood opens to something else."""
    key = RingKey.generate(SMALL)
    zero = np.zeros((1, SMALL.degree), np.uint64)
    products = Products(
        Plaintexts.encode(np.zeros((1, 1, SMALL.degree), np.int64), 2, ring=SMALL),
        key.encrypt(zero, 2),
    )
    assert products.ciphertexts.c1.any()  # expanded now, from a seed,
    assert key.public.zero.c1.any()
    bits = largest_flood(0, 2, 2, SMALL)
    full = lambda stream, out: out.fill(np.iinfo(out.dtype).max)  # noqa: E731
    for more, right in ((0, True), (2, False)):
        with monkeypatch.context() as patch:
            errors, once = (
                sampling.errors(sampling.fresh(), 1, SMALL.degree),
                sampling.ternary(sampling.fresh(), SMALL),
            )
            patch.setattr(sampling, "errors", lambda *shape, drawn=errors: drawn)
            patch.setattr(sampling, "ternary", lambda stream, ring, drawn=once: drawn)
            patch.setattr(sampling.Stream, "fill", full)
            answers = key.public.answer(products, zero, bits + more, kept_primes=2)
        assert np.array_equal(key.decrypt(answers), zero) is right


@pytest.fixture
def secrets_seen(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every ternary polynomial that is drawn: the first one of a key is its secret."""
    seen: list[Any] = []
    draw = sampling.ternary

    def drawn(stream: sampling.Stream, ring: Ring) -> Any:
        seen.append(draw(stream, ring))
        return seen[-1].copy()

    monkeypatch.setattr(sampling, "ternary", drawn)
    return seen


def noise(c0: Any, c1: Any, secret: Any, messages: Any, some: Ring) -> Integers:
    """What t is multiplied with in a phase: c0 and c1 are coefficients (primes, degree)."""
    primes = some.primes[: len(c0)]
    first, second = composed(c0, primes), composed(c1, primes)
    phase = first + multiplied(second, secret)
    phase = middle(phase, some.modulus(len(c0)))
    rest = phase - messages.astype(object)
    assert not (rest % some.plain_modulus).any()
    return np.asarray(rest // some.plain_modulus)


def test_noise_stays_within_its_bounds(secrets_seen: list[Any]) -> None:
    rng = np.random.default_rng(0)
    t = SMALL.plain_modulus
    key = RingKey.generate(SMALL)
    messages = rng.integers(0, t, (4, SMALL.degree), np.uint64)
    fresh = key.encrypt(messages, 4)
    halves = [fresh.c0.copy(), fresh.c1.copy()]
    for half in halves:
        SMALL.to_coefficients(half)
    for row, message in enumerate(centred(messages, SMALL)):
        found = noise(halves[0][row], halves[1][row], secrets_seen[0], message, SMALL)
        assert 0 < abs(found).max() <= bounds.fresh_noise()
    plain = rng.integers(-(2**20), 2**20, (3, 4, SMALL.degree))
    masks = uniform_plain(3, ring=SMALL)
    products = Products(Plaintexts.encode(plain, 4, ring=SMALL), fresh)
    exact = expected(plain, messages, masks, t)
    row_sum = int(np.abs(plain).sum(axis=(1, 2)).max())
    for flood_bits in (1, 100):
        answers = key.public.answer(products, masks, flood_bits, kept_primes=4)
        for row, message in enumerate(exact):
            c0, c1 = answers.halves()
            answers.read(row, c0, c1)
            found = noise(c0, c1, secrets_seen[0], message, SMALL)
            most = bounds.answer_noise(row_sum, ring=SMALL)
            assert abs(found).max() <= most + 2 ** (flood_bits - 1)
            if flood_bits == 1:  # the bound is no idle one
                assert abs(found).max() > most / 2**10
            else:
                assert abs(found).max() > 2 ** (flood_bits - 3)


@pytest.mark.parametrize(
    ("t", "levels"),
    [
        *((MIDDLE.plain_modulus, levels) for levels in [(4, 2), (3, 2), (4, 3)]),
        *((t, levels) for t in (1 << 24, 1 << 36, 2, 3) for levels in [(4, 1), (2, 1)]),
    ],
)
def test_dropped_primes_divide(t: int, levels: tuple[int, int]) -> None:
    """By plain integers: exact, as near as promised, and times a number known mod t."""
    primes, kept_primes = levels
    rng = np.random.default_rng(1)
    words = np.array([rng.integers(0, p, MIDDLE.degree) for p in MIDDLE.primes[:primes]], float)
    words[:, 0], words[:, 1] = 0, 1
    words[:, 2] = [p - 1 for p in MIDDLE.primes[:primes]]
    before = composed(words, MIDDLE.primes[:primes])
    for last in range(primes - 1, kept_primes - 1, -1):
        q = MIDDLE.primes[last]
        share = [middle(pow(q, -1, p), p) for p in MIDDLE.primes[:last]]
        plain = np.array([t, 1 / t, middle(-pow(q, -1, t), t)])
        kernels.drop_last(plain, np.array(share, float), MIDDLE.moduli, last, words)
        after = composed(words[:last], MIDDLE.primes[:last])
        assert not ((after * q - before) % t).any()
        assert (2 * abs(after * q - before) < (t + 1) * q).all()
        before = after


def test_the_product_s_ring_at_full_size() -> None:
    rng = np.random.default_rng(2)
    t, degree = RING.plain_modulus, RING.degree
    key = RingKey.generate()
    values, others = rng.integers(0, t, (2, 2, degree), np.uint64)
    plain = centred(RING.to_slots(values))[np.newaxis]
    row_sum = int(np.abs(plain).astype(object).sum())
    bits = largest_flood(row_sum, 4, 2, RING)
    distance = bounds.flood_distance(row_sum, bits)
    assert distance < 2**-64  # of a coefficient: enough for 2^24 of them at 2^-40
    products = Products(Plaintexts.encode(plain, 4), key.encrypt(RING.to_slots(others), 4))
    masks = np.zeros((1, degree), np.uint64)
    answers = key.public.answer(products, masks, bits, kept_primes=2)
    found = RING.from_slots(key.decrypt(answers))
    exact = (values.astype(object) * others.astype(object)).sum(axis=0) % t
    assert np.array_equal(found[0], exact)


def test_another_key_reads_something_else(keys: dict[Ring, RingKey]) -> None:
    messages = np.arange(SMALL.degree, dtype=np.uint64)[np.newaxis]
    plain = np.zeros((1, 1, SMALL.degree), np.int64)
    plain[0, 0, 0] = 1
    products = Products(Plaintexts.encode(plain, 3, ring=SMALL), keys[SMALL].encrypt(messages, 3))
    answers = keys[SMALL].public.answer(products, 0 * messages, 40, kept_primes=2)
    assert np.array_equal(keys[SMALL].decrypt(answers), messages)
    assert (RingKey.generate(SMALL).decrypt(answers) == messages).sum() < 3


def test_nothing_is_drawn_twice(keys: dict[Ring, RingKey]) -> None:
    key, zero = keys[SMALL], np.zeros((1, SMALL.degree), np.uint64)
    one, other = key.encrypt(zero, 2), key.encrypt(zero, 2)
    assert one.seed != other.seed
    assert (one.c1 == other.c1).mean() < 0.1
    drawn = [RingKey.generate(SMALL).public.zero.c0 for _ in range(2)]
    assert not np.array_equal(drawn[0], drawn[1])
    plain = Plaintexts.encode(np.zeros((2, 1, SMALL.degree), np.int64), 2, ring=SMALL)
    masks = np.zeros((2, SMALL.degree), np.uint64)
    answers = key.public.answer(Products(plain, one), masks, 40, kept_primes=2)
    assert (answers.body[0] == answers.body[1]).mean() < 0.1


def test_a_key_is_neither_shown_nor_copied(keys: dict[Ring, RingKey]) -> None:
    key = keys[SMALL]
    assert repr(key) == "RingKey(...)"
    for copied in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="generate another one"):
            copied(key)
    assert not hasattr(key, "__dict__")


def test_what_does_not_fit_is_refused(keys: dict[Ring, RingKey]) -> None:
    key, t, degree = keys[SMALL], SMALL.plain_modulus, SMALL.degree
    zero, plain = np.zeros((1, degree), np.uint64), np.zeros((1, 1, degree), np.int64)
    fresh = key.encrypt(zero, 3)
    products = Products(Plaintexts.encode(plain, 3, ring=SMALL), fresh)

    def answered(
        masks: Any = zero, bits: int = 40, kept: int = 2, positions: Any = None, summands: int = 1
    ) -> None:
        key.public.answer(
            products, masks, bits, kept_primes=kept, positions=positions, summands=summands
        )

    answered()
    wrong: list[tuple[Any, str]] = [
        (lambda: key.encrypt(zero + np.uint64(t), 3), "residues mod t"),
        (lambda: key.encrypt(zero[:, 1:], 3), "residues mod t"),
        (lambda: key.encrypt(zero, 5), "1 to 4 primes"),
        (lambda: key.encrypt(zero, 0), "1 to 4 primes"),
        (lambda: Plaintexts.encode(plain + t + 1, 3, ring=SMALL), "taken mod t"),
        (lambda: Plaintexts.encode(plain - t - 1, 3, ring=SMALL), "taken mod t"),
        (lambda: Plaintexts.encode(plain[0], 3, ring=SMALL), r"\(rows, columns, 64\)"),
        (lambda: Products(Plaintexts.encode(plain, 2, ring=SMALL), fresh), "as it has columns"),
        (lambda: Products(Plaintexts.encode(plain.repeat(2, 1), 3, ring=SMALL), fresh), "columns"),
        (lambda: answered(masks=zero.repeat(2, 0)), "one row an answer"),
        (lambda: answered(masks=zero + np.uint64(t)), "one row an answer"),
        (lambda: answered(bits=0), "1 to 144 bits"),
        (lambda: answered(bits=145), "1 to 144 bits"),
        (lambda: answered(summands=0), "1 to 4 summands"),
        (lambda: answered(summands=5), "1 to 4 summands"),
        (lambda: answered(kept=4), "keep 1 to 3"),
        (lambda: answered(kept=0), "keep 1 to 3"),
        (lambda: answered(positions=[64]), "from 0 to 63"),
        (lambda: answered(positions=[-1]), "from 0 to 63"),
        (lambda: keys[ODD].public.answer(products, zero, 40, kept_primes=2), "one ring"),
        (lambda: keys[ODD].decrypt(key.public.answer(products, zero, 40, kept_primes=2)), "one"),
    ]
    for each, why in wrong:
        with pytest.raises(ConfigError, match=why):
            each()
