"""Vectors in SEAL's slots, as bytes whose layout nobody here needs to know.

SEAL's loader aborts the process on some hostile bytes, so none reach it unless they are built
like SEAL's own: what does not vary among many fresh ciphertexts is structure, and must be equal;
only what varies may differ.
"""

import weakref
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from privfed.errors import DecodeError, LayoutError
from privfed.he.packing import MODULUS, RING_DEGREE, Words
from privfed.he.rlwe import reduce
from privfed.he.seal.files import (
    SEED_BYTES,
    context_of,
    framed,
    saved,
    seal,
    seeded_key,
    write,
)
from privfed.he.seal.known import CKKS, RING, SEED, KnownAnswers, check_c1, check_key, refusing
from privfed.keys import SecretKey

CKKS_DEGREE = 8192
CKKS_MODULUS_BITS = (60, 40, 60)  # the last prime is SEAL's own; one multiplication is left
CKKS_SCALE_BITS = 40

_POLY_BYTES = RING_DEGREE * 8
_SAMPLES = 48  # a byte with two random bits looks constant with chance 2^-94


class Template:
    """The structure of one kind of SEAL object: its length, and its bytes that never vary."""

    def __init__(self, sample: Callable[[], bytes]) -> None:
        first = np.frombuffer(sample(), np.uint8)
        fixed = np.ones(len(first), bool)
        for _ in range(_SAMPLES):
            fixed &= np.frombuffer(sample(), np.uint8) == first
        self.size = len(first)
        self._places = np.flatnonzero(fixed)
        self._bytes = first[self._places]

    def is_fixed(self, size: int) -> bool:
        """Return whether the first `size` bytes never vary."""
        return np.array_equal(self._places[:size], np.arange(size))

    def check(self, body: bytes | memoryview) -> None:
        """Refuse bytes that are not built like the samples.

        Raises:
            DecodeError: They are not.
        """
        if len(body) != self.size or not np.array_equal(
            np.frombuffer(body, np.uint8)[self._places], self._bytes
        ):
            raise DecodeError("a payload is no ciphertext of these parameters")


class Batches:
    """One SEAL context with its encoder; knows no key.

    Raises:
        LayoutError: SEAL makes another key or c1 of a seed than `answers` say.
        ConfigError: SEAL is not installed.
    """

    def __init__(self, parameters: Any, slots: int, answers: KnownAnswers) -> None:
        self._parameters, self._context = parameters, context_of(parameters)
        self.slots = slots
        with refusing():
            check_key(parameters, answers)
            check_c1(self._expanded_seed(), answers)
        self._keys: weakref.WeakKeyDictionary[SecretKey, Any] = weakref.WeakKeyDictionary()

    def _expanded_seed(self) -> bytes:
        """Return c1 of a fresh ciphertext whose seed, its last bytes, is the fixed one."""
        encryptor = seal().Encryptor(self._context, self._throwaway)
        fresh = saved(encryptor.encrypt_zero_symmetric())
        loaded = self._loaded(fresh[:-SEED_BYTES] + SEED)
        words = loaded.poly_modulus_degree() * loaded.coeff_modulus_size()
        return saved(loaded)[-8 * words :]

    @cached_property
    def upload(self) -> Template:
        """Structure of a fresh ciphertext, whose second polynomial is a seed."""
        return Template(lambda: self.encrypt(self._throwaway, np.zeros(1)))

    @cached_property
    def sum(self) -> Template:
        """Structure of a sum."""
        return Template(lambda: self.expanded(self.encrypt(self._throwaway, np.zeros(1))))

    @cached_property
    def _throwaway(self) -> Any:
        return seal().KeyGenerator(self._context).secret_key()

    def key(self, key: SecretKey, purpose: bytes) -> Any:
        """Return SEAL's form of a shared key, drawn once for as long as that lives."""
        drawn = self._keys.get(key)  # an equal key may vanish at any moment, with its entry
        if drawn is None:
            drawn = self._keys[key] = seeded_key(self._parameters, key.derive(purpose, SEED_BYTES))
        return drawn

    def encrypt(self, key: Any, values: npt.NDArray[Any]) -> bytes:
        """Return a fresh ciphertext of up to `slots` values, `upload.size` bytes."""
        plaintext = seal().Plaintext()
        self._encode(values.tolist(), plaintext)
        return saved(seal().Encryptor(self._context, key).encrypt_symmetric(plaintext))

    def load(self, body: memoryview, template: Template) -> Any:
        """Return the ciphertext in `body`.

        Raises:
            DecodeError: It is not built like `template`, or SEAL finds no ciphertext in it.
        """
        template.check(body)
        return self._loaded(body)

    def add(self, total: Any, loaded: Any) -> Any:
        """Return the sum of two loaded ciphertexts, a new one.

        Raises:
            DecodeError: SEAL refuses it, such as one whose second polynomial is zero.
        """
        added = seal().Ciphertext()
        try:
            seal().Evaluator(self._context).add(total, loaded, added)
        except (ValueError, RuntimeError):
            raise DecodeError("a payload does not add up with the others") from None
        return added

    def _loaded(self, body: bytes | memoryview) -> Any:
        loaded = seal().Ciphertext()
        try:
            write(framed(body), lambda path: loaded.load(self._context, path))
        except (ValueError, RuntimeError):
            raise DecodeError("a payload is no ciphertext of these parameters") from None
        return loaded

    def expanded(self, fresh: bytes | memoryview) -> bytes:
        """Return a fresh ciphertext of our own as a sum of that one: `sum.size` bytes."""
        return saved(self._loaded(fresh))

    def save(self, total: Any) -> bytes:
        """Return a sum, `sum.size` bytes."""
        return saved(total)

    def decrypt(self, key: Any, body: memoryview) -> npt.NDArray[Any]:
        """Return the values in all slots of a sum.

        Raises:
            DecodeError: It is no sum.
        """
        plaintext = seal().Plaintext()
        total = self.load(body, self.sum)
        seal().Decryptor(self._context, key).decrypt(total, plaintext)
        return self._decode(plaintext)

    def _encode(self, values: Sequence[Any], plaintext: Any) -> None:
        raise NotImplementedError

    def _decode(self, plaintext: Any) -> npt.NDArray[Any]:
        raise NotImplementedError


def _words(body: bytes | memoryview) -> Words:
    return np.frombuffer(body[-2 * _POLY_BYTES :], "<u8").astype(np.uint64)


class SlotBatches(Batches):
    """BFV: 4096 numbers mod a prime of `plain_bits` bits, exact."""

    def __init__(self, plain_bits: int) -> None:
        prime = seal().PlainModulus.Batching(RING_DEGREE, plain_bits)
        parameters = seal().EncryptionParameters(seal().SCHEME_TYPE.BFV)
        parameters.set_poly_modulus_degree(RING_DEGREE)
        parameters.set_coeff_modulus([seal().Modulus(MODULUS)])
        parameters.set_plain_modulus(prime)
        super().__init__(parameters, RING_DEGREE, RING)
        self.plain_modulus: int = prime.value()
        self._encoder = seal().BatchEncoder(self._context)

    def words(self, body: bytes | memoryview) -> Words:
        """Return both halves of a sum: 8192 words, below q if it is an honest one.

        Raises:
            DecodeError: It is not built like one.
            LayoutError: This SEAL's sums do not hold those words.
        """
        if not self._holds_words:
            raise LayoutError("this TenSEAL's SEAL is not the known one: install tenseal==0.3.18")
        self.sum.check(body)
        return _words(body)

    @cached_property
    def _holds_words(self) -> bool:
        """Whether a sum is bytes that never vary and then words mod q: seen by adding two."""
        one, other = (self.encrypt(self._throwaway, np.arange(count)) for count in (3, 4))
        total = self.save(self.add(self._loaded(one), self._loaded(other)))
        first, second = (_words(self.expanded(each)) for each in (one, other))
        adds = np.array_equal(_words(total), reduce(first + second))
        return adds and self.sum.is_fixed(len(total) - 2 * _POLY_BYTES)

    def _encode(self, values: Sequence[Any], plaintext: Any) -> None:
        # A value of the modulus or more would corrupt other slots; callers reduce.
        self._encoder.encode([int(value) for value in values], plaintext)

    def _decode(self, plaintext: Any) -> Words:
        return np.array(self._encoder.decode_uint64(plaintext), np.uint64)


class CKKSBatches(Batches):
    """CKKS: 4096 real numbers, approximate."""

    def __init__(self) -> None:
        parameters = seal().EncryptionParameters(seal().SCHEME_TYPE.CKKS)
        parameters.set_poly_modulus_degree(CKKS_DEGREE)
        parameters.set_coeff_modulus(
            seal().CoeffModulus.Create(CKKS_DEGREE, list(CKKS_MODULUS_BITS))
        )
        super().__init__(parameters, CKKS_DEGREE // 2, CKKS)
        self._encoder = seal().CKKSEncoder(self._context)

    def _encode(self, values: Sequence[Any], plaintext: Any) -> None:
        self._encoder.encode(values, 2.0**CKKS_SCALE_BITS, plaintext)

    def _decode(self, plaintext: Any) -> npt.NDArray[np.float64]:
        return np.array(self._encoder.decode_double(plaintext), np.float64)
