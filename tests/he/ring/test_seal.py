"""SEAL says the same: one key, ciphertexts both ways, products word by word.

SEAL has BFV: what has its message in the low bits, times 1/t mod q, is BFV of -1/q times it.
SEAL takes the primes that we do (the greatest), and one more that it keeps to itself.
"""

import struct
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from privfed.he.ring import Answers, Ciphertexts, Plaintexts, Products, RingKey, sampling
from privfed.he.ring.parameters import RING, Ring
from privfed.he.seal.files import SEED_BYTES, framed, saved, seal, write
from tests.he import known_answers
from tests.he.ring.integers import packed

TREES = Ring(4096, RING.primes[:2], 1 << 24)
KINDS = [(RING, 2), (RING, 3), (RING, 4), (TREES, 2)]
SEED = bytes(range(SEED_BYTES))


@cache
def secret(degree: int) -> NDArray[np.float64]:
    """The key that SEAL draws of this seed, by its definition."""
    return np.array(known_answers.ternary(SEED, degree), float)


class Seal:
    """SEAL with a ring's first primes, and that key."""

    def __init__(self, ring: Ring, primes: int) -> None:
        lib = seal()
        self.ring, self.primes, self.modulus = ring, ring.primes[:primes], ring.modulus(primes)
        further = next(
            number.value()
            for number in lib.CoeffModulus.Create(ring.degree, [50] * (len(ring.primes) + 1))
            if number.value() not in ring.primes
        )
        parameters = lib.EncryptionParameters(lib.SCHEME_TYPE.BFV)
        parameters.set_poly_modulus_degree(ring.degree)
        parameters.set_coeff_modulus([lib.Modulus(p) for p in (*self.primes, further)])
        parameters.set_plain_modulus(lib.Modulus(ring.plain_modulus))
        parameters.set_random_generator(lib.Blake2xbPRNGFactory(list(struct.unpack("<8Q", SEED))))
        # Five primes are past the table, and only here.
        self.context = lib.SEALContext(parameters, True, lib.SEC_LEVEL_TYPE.NONE)
        assert self.context.parameters_set()
        self.key = lib.KeyGenerator(self.context).secret_key()
        self.encryptor = lib.Encryptor(self.context, self.key)
        self.evaluator = lib.Evaluator(self.context)

    def plaintext(self, coefficients: Any) -> Any:
        residues = [int(c) % self.ring.plain_modulus for c in coefficients]
        text = [f"{residue:X}x^{at}" for at, residue in enumerate(residues) if residue]
        return seal().Plaintext(" + ".join(reversed(text)) or "0")

    def load(self, body: bytes) -> Any:
        loaded = seal().Ciphertext()
        write(framed(body), lambda path: loaded.load(self.context, path))
        return loaded

    def fresh(self, message: Any) -> Any:
        return self.load(saved(self.encryptor.encrypt_symmetric(self.plaintext(message))))

    def words(self, ciphertext: Any) -> NDArray[np.uint64]:
        """Both halves: coefficients (2, primes, degree)."""
        size = 2 * len(self.primes) * self.ring.degree
        words = np.frombuffer(saved(ciphertext)[-8 * size :], "<u8").astype(np.uint64)
        return words.reshape(2, len(self.primes), self.ring.degree)

    def ciphertext(self, words: NDArray[Any]) -> Any:
        sample = saved(self.fresh([1]))
        data = words.astype("<u8").tobytes()
        return self.load(sample[: -len(data)] + data)

    def decrypt(self, ciphertext: Any) -> NDArray[Any]:
        plaintext = seal().Plaintext()
        seal().Decryptor(self.context, self.key).decrypt(ciphertext, plaintext)
        found = np.zeros(self.ring.degree, object)
        for term in plaintext.to_string().split(" + "):
            number, _, power = term.partition("x^")
            found[int(power or 0)] = int(number, 16)
        return found

    def scaled(self, words: NDArray[Any], factor: int) -> NDArray[np.uint64]:
        """Words (…, primes, degree) times a factor."""
        moduli = np.array(self.primes, object)[:, np.newaxis]
        exact = words.astype(np.uint64).astype(object) * factor % moduli
        return np.asarray(exact.astype(np.uint64))


def key_of(ring: Ring, monkeypatch: pytest.MonkeyPatch) -> RingKey:
    """Ours, of SEAL's secret."""
    with monkeypatch.context() as patch:
        patch.setattr(sampling, "ternary", lambda stream, ring: secret(ring.degree).copy())
        return RingKey.generate(ring)


def coefficients(ciphertexts: Ciphertexts) -> NDArray[np.float64]:
    """The first one's halves (2, primes, degree)."""
    halves = np.array([ciphertexts.c0[0], ciphertexts.c1[0]])
    ciphertexts.ring.to_coefficients(halves)
    return halves


@pytest.mark.parametrize(("ring", "primes"), KINDS)
def test_seal_reads_ours_and_multiplies_alike(
    ring: Ring, primes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, t = key_of(ring, monkeypatch), ring.plain_modulus
    rng, other = np.random.default_rng(primes), Seal(ring, primes)
    inverse, factor = pow(t, -1, other.modulus), -pow(other.modulus, -1, t)
    message = rng.integers(0, t, ring.degree, np.uint64)
    sent = key.encrypt(message[np.newaxis], primes)
    theirs = other.ciphertext(other.scaled(coefficients(sent), inverse))
    assert (other.decrypt(theirs) == message.astype(object) * factor % t).all()
    plain = rng.integers(-64, 65, ring.degree)
    product = seal().Ciphertext()
    other.evaluator.multiply_plain(theirs, other.plaintext(plain), product)
    ours = np.empty((1, 1, 2, primes, ring.degree))
    plaintexts = Plaintexts.encode(plain[np.newaxis, np.newaxis], primes, ring=ring)
    Products(plaintexts, sent).write(0, ours)
    ring.to_coefficients(ours[0, 0])
    assert np.array_equal(other.words(product), other.scaled(ours[0, 0], inverse))


@pytest.mark.parametrize(("ring", "primes"), KINDS)
def test_we_read_seal_s(ring: Ring, primes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    key, t = key_of(ring, monkeypatch), ring.plain_modulus
    rng, other = np.random.default_rng(primes), Seal(ring, primes)
    message = rng.integers(0, t, ring.degree, np.uint64)
    words = other.scaled(other.words(other.fresh(message)), t)
    answers = Answers.from_bytes(packed(words), 1, primes=primes, kept_primes=primes, ring=ring)
    assert (key.decrypt(answers)[0] == message.astype(object) * -other.modulus % t).all()


@pytest.mark.parametrize(
    ("ring", "primes", "kept_primes"),
    [(RING, 2, 2), (RING, 3, 2), (RING, 4, 2), (RING, 4, 3), (TREES, 2, 1), (TREES, 2, 2)],
)
def test_seal_reads_our_answers(
    ring: Ring, primes: int, kept_primes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, t = key_of(ring, monkeypatch), ring.plain_modulus
    rng, other = np.random.default_rng(primes), Seal(ring, kept_primes)
    messages = rng.integers(0, t, (2, ring.degree), np.uint64)
    plain = np.zeros((1, 2, ring.degree), np.int64)
    plain[0, :, 0] = 3, -5
    products = Products(Plaintexts.encode(plain, primes, ring=ring), key.encrypt(messages, primes))
    mask = rng.integers(0, t, (1, ring.degree), np.uint64)
    answers = key.public.answer(products, mask, 40 * (primes - 1) - 10, kept_primes=kept_primes)
    halves = answers.halves()
    answers.read(0, *halves)
    inverse = pow(t, -1, other.modulus)
    found = other.decrypt(other.ciphertext(other.scaled(np.array(halves), inverse)))
    exact = messages[0].astype(object) * 3 - messages[1].astype(object) * 5 + mask[0]
    # -1/q for the primes that stay, and 1/q for those that were dropped: together all.
    assert (found == exact * -pow(ring.modulus(primes), -1, t) % t).all()
