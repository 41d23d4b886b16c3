"""Blocks against plain integers, OpenSSL and published answers; the code by its definition."""

import hashlib
import importlib
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from psi.kernels import blocks, fast_available
from tests.psi.plain import product

PORTABLE = 0
WIDTHS = (1, 2, 4)  # blocks that AES and products take at once, where the processor can
Blocks = NDArray[np.uint64]
Vectors = NDArray[np.uint64]

KEY = bytes(range(16))
SIZES = (0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 64, 100, 2047, 2048, 2049)


def host_lanes() -> int:
    if not fast_available():
        return PORTABLE
    lanes: int = importlib.import_module("psi.kernels.blocks_code").host_lanes()
    return lanes


@pytest.fixture(autouse=True, scope="module", params=(PORTABLE, *WIDTHS))
def way(request: pytest.FixtureRequest) -> Iterator[int]:
    """Every test of this file runs through every way that this machine has."""
    lanes: int = request.param
    if lanes > host_lanes():
        pytest.skip(f"no processor's AES and products of {lanes} blocks here, or no numba")
    with pytest.MonkeyPatch.context() as patch:
        if lanes == PORTABLE:
            patch.setattr(blocks, "fast_available", lambda: False)
        else:
            patch.setattr(blocks, "FAST_FROM", 0)
            patch.setattr("psi.kernels.blocks_code.host_lanes", lambda: lanes)
        yield lanes


elements = st.integers(0, 2**128 - 1) | st.sampled_from([0, 1, 2, 1 << 127, 2**128 - 1])


def as_blocks(numbers: list[int]) -> Blocks:
    data = b"".join(number.to_bytes(16, "little") for number in numbers)
    return np.frombuffer(data, np.uint64).reshape(-1, 2)


def as_integers(made: Blocks) -> list[int]:
    data = made.tobytes()
    return [int.from_bytes(data[at : at + 16], "little") for at in range(0, len(data), 16)]


def random_blocks(seed: int, *shape: int) -> Blocks:
    return np.random.default_rng(seed).integers(0, 2**64, (*shape, 2), np.uint64)


def one_product(a: int, b: int) -> int:
    (made,) = as_integers(blocks.multiply(as_blocks([a]), as_blocks([b])))
    return made


@given(elements, elements)
def test_products_are_those_of_polynomials(a: int, b: int) -> None:
    assert one_product(a, b) == product(a, b)


@given(elements, elements, elements)
def test_laws_of_a_field(a: int, b: int, c: int) -> None:
    assert one_product(a, b) == one_product(b, a)
    assert one_product(one_product(a, b), c) == one_product(a, one_product(b, c))
    assert one_product(a, b ^ c) == one_product(a, b) ^ one_product(a, c)
    assert one_product(a, 1) == a


def test_every_element_but_zero_has_an_inverse() -> None:
    # Of a field of 2^128 elements: a^(2^128 - 2) is it.
    a = random_blocks(1, 5)
    power, inverse = a, as_blocks([1] * 5)
    for _ in range(127):
        power = blocks.multiply(power, power)
        inverse = blocks.multiply(inverse, power)
    assert as_integers(blocks.multiply(a, inverse)) == [1] * 5


def test_a_known_product_of_gcm() -> None:
    # McGrew and Viega, "The Galois/Counter Mode of Operation (GCM)", appendix B, test case 2: the
    # ciphertext block times H is X1. There the first coefficient is the top bit of the first byte.
    h, ciphertext, x1 = (
        int(f"{int(digits, 16):0128b}"[::-1], 2)
        for digits in (
            "66e94bd4ef8a2c3b884cfa59ca342b2e",
            "0388dace60b6a392f328c2b971b2fe78",
            "5e2ec746917062882c85b0685353deb7",
        )
    )
    assert one_product(h, ciphertext) == x1


def test_a_known_product_of_polyval() -> None:
    # RFC 8452 section 7, "Field Operation Examples", modulo x^128 + x^127 + x^126 + x^121 + 1. That
    # is our modulus in 1/x, so an element with its bits reversed is ours times x^127.
    a, b, both = (
        int(f"{int.from_bytes(bytes.fromhex(digits), 'little'):0128b}"[::-1], 2)
        for digits in (
            "66e94bd4ef8a2c3b884cfa59ca342b2e",
            "ff000000000000000000000000000000",
            "37856175e9dc9df26ebc6d6171aa0ae9",
        )
    )
    assert one_product(a, b) == one_product(both, 1 << 127)


@pytest.mark.parametrize("count", SIZES)
def test_products_at_every_width(count: int) -> None:
    a, b = random_blocks(count, count), random_blocks(count + 1, count)
    expected = [product(*pair) for pair in zip(as_integers(a), as_integers(b), strict=True)]
    assert as_integers(blocks.multiply(a, b)) == expected
    first = random_blocks(count + 2, 1)
    expected = [product(one, *as_integers(first)) for one in as_integers(a)]
    assert as_integers(blocks.multiply(a, first)) == expected
    assert as_integers(blocks.multiply(first, a)) == expected


def test_advanced_encryption_standard() -> None:
    # FIPS 197 appendix C.1; and SP 800-38A appendix F.1.1 (ECB) and F.5.1 (CTR), the first blocks.
    plain = np.frombuffer(bytes.fromhex("00112233445566778899aabbccddeeff"), np.uint64)
    made = blocks.encrypt(KEY, plain.reshape(1, 2))
    assert made.tobytes().hex() == "69c4e0d86a7b0430d8cdb78070b4c55a"
    key = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
    plain = np.frombuffer(bytes.fromhex("6bc1bee22e409f96e93d7e117393172a"), np.uint64)
    made = blocks.encrypt(key, plain.reshape(1, 2))
    assert made.tobytes().hex() == "3ad77bb40d7a3660a89ecaf32466ef97"
    first = int("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff", 16)
    stream = blocks.counter_blocks(key, 2, first)
    assert stream.tobytes().hex() == (
        "ec8cdf7398607cb0f2d21675ea9ea1e4" + "362b7c3c6773516318a077d7fc5073ae"
    )


@pytest.mark.parametrize("count", SIZES)
def test_encryption_is_openssl_s(count: int) -> None:
    data = random_blocks(count, count)
    encryptor = Cipher(algorithms.AES(KEY), modes.ECB()).encryptor()  # noqa: S305
    assert blocks.encrypt(KEY, data).tobytes() == encryptor.update(data.tobytes())
    for first in (0, 1, 2**32 - 2, 2**64 - 3, 2**128 - 1):
        stream = Cipher(algorithms.AES(KEY), modes.CTR(first.to_bytes(16))).encryptor()
        expected = stream.update(bytes(16 * count))
        assert blocks.counter_blocks(KEY, count, first).tobytes() == expected


@pytest.mark.parametrize("count", SIZES)
def test_hash_by_its_definition(count: int) -> None:
    data = random_blocks(count, count)
    # The key is made of pi's binary digits: 2^128 times its fraction, by Machin's formula.
    scale, digits = 1 << 200, 0
    for factor, divisor in ((16, 5), (-4, 239)):
        for index in range(200):
            term = factor * scale // divisor ** (2 * index + 1) // (2 * index + 1)
            digits += -term if index % 2 else term
    key = (digits % scale >> 72).to_bytes(16)
    left, right = data[:, 0], data[:, 1]
    spread = np.stack([left ^ right, left], axis=1)
    assert np.array_equal(blocks.hash_blocks(data), blocks.encrypt(key, spread) ^ spread)


def draws(seed: bytes, name: bytes, count: int, first: int = 0) -> Blocks:
    key = hashlib.blake2s(seed, digest_size=16, person=name).digest()
    return blocks.counter_blocks(key, count, first)


def plain_code(vector: list[int], rows: int, seed: bytes) -> list[int]:
    """(B + F·B')·D·A of the code times a vector, straight from the definition."""
    some = -(-rows // 4)
    taps = draws(seed, b"taps", some).view("<u4").ravel().tolist()
    diagonal = as_integers(draws(seed, b"diagonal", rows))
    mixed: list[int] = []
    for i in range(rows):
        value = vector[i]
        for back in (25, *(24 - bit for bit in range(24) if taps[i] >> bit & 1)):
            value ^= mixed[i - back] if i >= back else 0
        mixed.append(value)
    mixed = [product(d, z) if z else 0 for d, z in zip(diagonal, mixed, strict=True)]
    factors = as_integers(draws(seed, b"factors", rows))
    out = [0] * rows
    for segment in (*range(12, 21), *range(12)):
        if segment == 0:
            out = [product(f, z) if z else 0 for f, z in zip(factors, out, strict=True)]
        start, end = segment * rows // 21, (segment + 1) * rows // 21
        words = draws(seed, b"indices", some, segment * some).view("<u4").ravel().tolist()
        for i in range(rows if start < end else 0):
            out[i] ^= mixed[start + (words[i] * (end - start) >> 32)]
    return out


@pytest.mark.parametrize("rows", [1, 2, 3, 20, 21, 22, 25, 26, 27, 47])
def test_code_is_its_dense_matrix(rows: int) -> None:
    units = [[int(i == j) for i in range(rows)] for j in range(rows)]
    columns = [plain_code(unit, rows, KEY) for unit in units]
    vectors = random_blocks(rows, 2 * rows, 1)
    expected, given = as_integers(vectors[:rows, 0]), as_integers(vectors[rows:, 0])
    for value, column in zip(given, columns, strict=True):
        expected = [
            e ^ product(value, c) if c else e for e, c in zip(expected, column, strict=True)
        ]
    assert as_integers(blocks.encode(vectors, KEY)) == expected


@pytest.mark.parametrize("rows", [0, 64, 101, 392, 509, 517, 1029])
def test_code_by_its_definition(rows: int) -> None:
    vectors = random_blocks(rows, 2 * rows, 2)
    made = blocks.encode(vectors, KEY)
    assert made.shape == (rows, 2, 2)
    for column in range(2):
        values = as_integers(vectors[:, column])
        coded = plain_code(values[rows:], rows, KEY)
        assert as_integers(made[:, column]) == [
            a ^ b for a, b in zip(values[:rows], coded, strict=True)
        ]
        alone = blocks.encode(vectors[:, column : column + 1], KEY)
        assert np.array_equal(alone[:, 0], made[:, column])


@pytest.mark.parametrize("rows", [8191, 8192, 8197, 16_386])
def test_ways_give_the_same_bytes_at_the_bounds_of_tiles(rows: int) -> None:
    vectors = random_blocks(rows, 2 * rows, 2)
    made = blocks.encode(vectors, KEY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "fast_available", lambda: False)
        assert np.array_equal(blocks.encode(vectors, KEY), made)


def test_the_code_stays_what_it_is() -> None:
    # Two sides of different versions must have one code: 392 rows of the code of one seed.
    stream = blocks.counter_blocks(KEY, 784).reshape(784, 1, 2)
    digest = hashlib.sha256(blocks.encode(stream, bytes(16)).tobytes()).hexdigest()
    assert digest == "5415e1199e77c50c2373b0b66284598a174eb8a2512bd728eae42f1030d33a11"


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 300), st.integers(0, 2**32))
def test_code_is_linear_over_the_field(rows: int, seed: int) -> None:
    a, b = random_blocks(seed, 2 * rows, 1), random_blocks(seed + 1, 2 * rows, 1)
    factor = random_blocks(seed + 2, 1)
    combined = blocks.multiply(a[:, 0], factor)[:, None] ^ b
    coded = blocks.multiply(blocks.encode(a, KEY)[:, 0], factor)[:, None] ^ blocks.encode(b, KEY)
    assert np.array_equal(blocks.encode(combined, KEY), coded)


def test_the_code_is_its_seed_s() -> None:
    vectors = random_blocks(1, 600, 1)
    assert np.array_equal(blocks.encode(vectors, KEY), blocks.encode(vectors, KEY))
    assert not np.array_equal(blocks.encode(vectors, KEY), blocks.encode(vectors, bytes(16)))


@pytest.mark.parametrize(
    "run",
    [
        lambda data: blocks.multiply(data, data),
        lambda data: blocks.encrypt(KEY, data),
        lambda data: blocks.hash_blocks(data),
        lambda data: blocks.encode(data[:, None], KEY),
    ],
)
def test_inputs_may_be_read_only_and_lie_apart(run: Callable[[Blocks], Blocks]) -> None:
    wide = random_blocks(3, 3 * 84)
    apart = wide[::3]
    together = apart.copy()
    together.flags.writeable = False
    before = wide.copy()
    assert np.array_equal(run(apart), run(together))
    reversed_words = np.ascontiguousarray(together[:, ::-1])[:, ::-1]
    assert np.array_equal(run(reversed_words), run(together))
    assert np.array_equal(wide, before)
    assert run(together).flags.writeable


@pytest.mark.parametrize(
    "run",
    [
        lambda: blocks.multiply(random_blocks(1, 2), random_blocks(2, 3)),
        lambda: blocks.multiply(random_blocks(1, 2), random_blocks(2, 0)),
        lambda: blocks.hash_blocks(random_blocks(1, 2, 2)),
        lambda: blocks.hash_blocks(np.zeros((3, 4), np.uint64)),
        lambda: blocks.encrypt(bytes(24), random_blocks(1, 2)),
        lambda: blocks.counter_blocks(bytes(32), 2),
        lambda: blocks.encode(random_blocks(1, 3, 1), KEY),
        lambda: blocks.encode(random_blocks(1, 4, 3), KEY),
        lambda: blocks.encode(random_blocks(1, 4), KEY),
        lambda: blocks.encode(random_blocks(1, 4, 1), bytes(15)),
    ],
)
def test_other_shapes_are_refused(run: Callable[[], Blocks]) -> None:
    with pytest.raises(ValueError, match=r"block|factors|a key has 16 bytes"):
        run()
