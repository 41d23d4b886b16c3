"""The linear hash is GHASH of GCM: known answers, plain integers, and its laws."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from psi.kernels import blocks
from psi.vole.hashing import LinearHash
from tests.psi.plain import product
from tests.psi.protocols.vole_reference import aes, numbers_of
from tests.psi.vole.dealing import Blocks, random_blocks

# McGrew and Viega, "The Galois/Counter Mode of Operation (GCM)", appendix B, test case 3 (also of
# NIST's GCM specification): key, ciphertext, len(A) || len(C), and GHASH of all of it.
KEY = bytes.fromhex("feffe9928665731c6d6a8f9467308308")
CIPHERTEXT = bytes.fromhex(
    "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e"
    "21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091473f5985"
)
LENGTHS = bytes.fromhex("00000000000000000000000000000200")
GHASH = bytes.fromhex("7f1b32b81b820d02614f8895ac1d4eac")


def turned(data: bytes) -> list[int]:
    """Elements as GCM writes them: the first coefficient is the top bit of the first byte."""
    return numbers_of(bytes(int(f"{byte:08b}"[::-1], 2) for byte in data))


def point_of(key: bytes) -> int:
    (encrypted,) = aes(key, 0)
    (point,) = turned(encrypted.to_bytes(16, "little"))
    return point


def hashed(key: bytes, elements: list[int]) -> int:
    """w_1·h^(n+1) + ... + w_n·h^2 by Horner's rule."""
    point, total = point_of(key), 0
    for one in elements:
        total = product(total ^ one, point)
    return product(total, point)


def as_blocks(elements: list[int]) -> Blocks:
    data = b"".join(one.to_bytes(16, "little") for one in elements)
    return np.frombuffer(data, np.uint64).reshape(-1, 2)


def test_known_answer_of_gcm() -> None:
    made = LinearHash(KEY, 4).of(as_blocks(turned(CIPHERTEXT)))
    (lengths,), (expected,) = turned(LENGTHS), turned(GHASH)
    assert numbers_of(made.tobytes()) == [expected ^ product(lengths, point_of(KEY))]


@given(
    st.binary(min_size=16, max_size=16),
    st.lists(st.integers(0, 2**128 - 1), min_size=1, max_size=6),
)
def test_hashes_are_polynomials_at_the_point(key: bytes, elements: list[int]) -> None:
    made = LinearHash(key, len(elements)).of(as_blocks(elements))
    assert numbers_of(made.tobytes()) == [hashed(key, elements)]


@pytest.mark.parametrize("count", [1, 2, 100])
def test_it_is_linear_over_the_field(count: int) -> None:
    a, b, factor = random_blocks(count), random_blocks(count), random_blocks(1)
    one = LinearHash(KEY, count)
    combined = one.of(blocks.multiply(a, factor) ^ b)
    assert np.array_equal(combined, blocks.multiply(one.of(a), factor) ^ one.of(b))
    assert not one.of(np.zeros((count, 2), np.uint64)).any()
