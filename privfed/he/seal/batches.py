"""Vectors in SEAL's slots, as opaque bytes: nothing here depends on SEAL's byte layout.

Bytes from other parties reach SEAL's own loader, which checks them; a caller authenticates them
first. Their length varies with compression, so each lies in a cell of fixed size.
"""

import struct
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from privfed.errors import DecodeError
from privfed.he.keys import SecretKey
from privfed.he.packing import MODULUS, RING_DEGREE, Words
from privfed.he.seal.files import SEED_BYTES, context_of, read, seal, seeded_key, write

CKKS_DEGREE = 8192
CKKS_MODULUS_BITS = (60, 40, 60)  # the last prime is SEAL's own; one multiplication is left
CKKS_SCALE_BITS = 40

_LENGTH = struct.Struct("<I")


def cell_bytes(degree: int, primes: int, polynomials: int) -> int:
    """Return the size of a cell for a ciphertext of so many polynomials over so many primes."""
    words = 8 * degree * primes * polynomials
    return _LENGTH.size + words + words // 128 + 1024  # what incompressible bytes cost zstd


class Batches:
    """One SEAL context with its encoder; knows no key."""

    def __init__(self, parameters: Any, slots: int, primes: int) -> None:
        self._parameters, self._context = parameters, context_of(parameters)
        self._primes, self._degree = primes, parameters.poly_modulus_degree()
        self.slots = slots
        self._keys: weakref.WeakKeyDictionary[SecretKey, Any] = weakref.WeakKeyDictionary()

    @property
    def upload_cell(self) -> int:
        """Bytes of a fresh ciphertext, whose second polynomial is a seed."""
        return cell_bytes(self._degree, self._primes, 1)

    @property
    def sum_cell(self) -> int:
        """Bytes of a sum."""
        return cell_bytes(self._degree, self._primes, 2)

    def key(self, key: SecretKey, purpose: bytes) -> Any:
        """Return SEAL's form of a shared key, drawn once for as long as that lives."""
        if key not in self._keys:
            self._keys[key] = seeded_key(self._parameters, key.derive(purpose, SEED_BYTES))
        return self._keys[key]

    def encrypt(self, key: Any, values: npt.NDArray[Any]) -> bytes:
        """Return one cell that hides up to ``slots`` values."""
        plaintext = seal().Plaintext()
        self._encode(values.tolist(), plaintext)
        fresh = seal().Encryptor(self._context, key).encrypt_symmetric(plaintext)
        return _cell(read(fresh.save), self.upload_cell)

    def add(self, total: Any, cell: memoryview) -> Any:
        """Return ``total`` (None: nothing yet) plus the ciphertext in a cell.

        Raises:
            DecodeError: SEAL finds no ciphertext of two polynomials in it.
        """
        loaded = seal().Ciphertext()
        (length,) = _LENGTH.unpack_from(cell)
        if length > len(cell) - _LENGTH.size or any(cell[_LENGTH.size + length :]):
            raise DecodeError("a payload is no ciphertext of these parameters")
        try:
            body = cell[_LENGTH.size : _LENGTH.size + length]
            write(body, lambda path: loaded.load(self._context, path))
            if loaded.size() != 2 or loaded.parms_id() != self._context.first_parms_id():
                raise ValueError
            if total is None:
                return loaded
            seal().Evaluator(self._context).add_inplace(total, loaded)
        except (ValueError, RuntimeError):
            raise DecodeError("a payload is no ciphertext of these parameters") from None
        return total

    def save(self, total: Any) -> bytes:
        """Return a sum as one cell."""
        return _cell(read(total.save), self.sum_cell)

    def decrypt(self, key: Any, cell: memoryview) -> npt.NDArray[Any]:
        """Return the values in all slots of a sum.

        Raises:
            DecodeError: SEAL finds no ciphertext in the cell.
        """
        plaintext = seal().Plaintext()
        seal().Decryptor(self._context, key).decrypt(self.add(None, cell), plaintext)
        return self._decode(plaintext)

    def _encode(self, values: Sequence[Any], plaintext: Any) -> None:
        raise NotImplementedError

    def _decode(self, plaintext: Any) -> npt.NDArray[Any]:
        raise NotImplementedError


def _cell(blob: bytes, size: int) -> bytes:
    if len(blob) + _LENGTH.size > size:
        raise DecodeError("SEAL's ciphertext is larger than its cell")
    return _LENGTH.pack(len(blob)) + blob + bytes(size - _LENGTH.size - len(blob))


class SlotBatches(Batches):
    """BFV: 4096 numbers mod a prime of ``plain_bits`` bits, exact."""

    def __init__(self, plain_bits: int) -> None:
        prime = seal().PlainModulus.Batching(RING_DEGREE, plain_bits)
        parameters = seal().EncryptionParameters(seal().SCHEME_TYPE.BFV)
        parameters.set_poly_modulus_degree(RING_DEGREE)
        parameters.set_coeff_modulus([seal().Modulus(MODULUS)])
        parameters.set_plain_modulus(prime)
        super().__init__(parameters, RING_DEGREE, primes=1)
        self.plain_modulus: int = prime.value()
        self._encoder = seal().BatchEncoder(self._context)

    def _encode(self, values: Sequence[Any], plaintext: Any) -> None:
        # A value of the modulus or more would corrupt other slots; callers reduce.
        self._encoder.encode(values, plaintext)

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
        super().__init__(parameters, CKKS_DEGREE // 2, primes=len(CKKS_MODULUS_BITS) - 1)
        self._encoder = seal().CKKSEncoder(self._context)

    def _encode(self, values: Sequence[Any], plaintext: Any) -> None:
        self._encoder.encode(values, 2.0**CKKS_SCALE_BITS, plaintext)

    def _decode(self, plaintext: Any) -> npt.NDArray[np.float64]:
        return np.array(self._encoder.decode_double(plaintext), np.float64)
