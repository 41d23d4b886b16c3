"""SEAL's key and c1 of a seed, computed without SEAL: the source of privfed/he/seal/known.py.

`python -m tests.he.known_answers` prints them. From the sources of SEAL 4.1: a seed keys BLAKE2xb
(Aumasson, Neves, O'Hearn, Winnerlein 2016; BLAKE2b is RFC 7693), whose input is a counter and
whose outputs are 4096 bytes each. c1 takes 64 bits a word, drawn again where mod q would favour
small words. A coefficient of the key takes 32 bits x, and is floor(3x / 2^32) - 1: that is what
libstdc++ makes of them, under its rule before version 11 and its rule since; C++ asks for neither.
SEAL keeps a key transformed: its values at odd powers of the least 2n-th root of unity.
"""

import struct
from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np

from privfed.he.packing import MODULUS, RING_DEGREE
from privfed.he.seal.known import CKKS, RING, SEED, digest

RINGS = (  # degree, primes of a key, how many of them a fresh ciphertext has, answers
    (RING_DEGREE, (MODULUS,), 1, RING),
    (8192, (1152921504606748673, 1099511480321, 1152921504606830593), 2, CKKS),
)
_START = (
    0x6A09E667F3BCC908, 0xBB67AE8584CAA73B, 0x3C6EF372FE94F82B, 0xA54FF53A5F1D36F1,
    0x510E527FADE682D1, 0x9B05688C2B3E6C1F, 0x1F83D9ABFB41BD6B, 0x5BE0CD19137E2179,
)  # fmt: skip
_ORDERS = [
    "0123456789abcdef",
    "ea489fd61c02b753",
    "b8c052fdae367194",
    "7931dcbe265a40f8",
    "905724afe1bc683d",
    "2c6a0b834d75fe19",
    "c51fed4a0763928b",
    "db7ec13950f4862a",
    "6fe9b308c2d714a5",
    "a2847615fb9e3cd0",
]
_CORNERS = ["048c", "159d", "26ae", "37bf", "05af", "16bc", "278d", "349e"]
_MASK = 2**64 - 1
_BUFFER_BYTES = 4096


def _compressed(state: Sequence[int], block: bytes, count: int, last: bool) -> list[int]:
    words, work = struct.unpack("<16Q", block), [*state, *_START]
    work[12] ^= count
    work[14] ^= _MASK * last
    for turn in range(12):
        order = [int(digit, 16) for digit in _ORDERS[turn % 10]]
        for place, corners in enumerate(_CORNERS):
            a, b, c, d = (int(digit, 16) for digit in corners)
            for word, right, other in (
                (words[order[2 * place]], 32, 24),
                (words[order[2 * place + 1]], 16, 63),
            ):
                work[a] = (work[a] + work[b] + word) & _MASK
                work[d] = _rotated(work[d] ^ work[a], right)
                work[c] = (work[c] + work[d]) & _MASK
                work[b] = _rotated(work[b] ^ work[c], other)
    return [old ^ one ^ two for old, one, two in zip(state, work[:8], work[8:], strict=True)]


def _rotated(word: int, right: int) -> int:
    return (word >> right | word << (64 - right)) & _MASK


def blake2b(data: bytes, parameters: bytes, key: bytes = b"") -> bytes:
    """BLAKE2b of 64 bytes under any parameter block: hashlib's refuses those of BLAKE2xb."""
    data = key.ljust(128, b"\0") * bool(key) + data
    state = [a ^ b for a, b in zip(_START, struct.unpack("<8Q", parameters), strict=True)]
    for start in range(0, len(data), 128):
        block = data[start : start + 128]
        last = start + 128 >= len(data)
        state = _compressed(state, block.ljust(128, b"\0"), start + len(block), last)
    return struct.pack("<8Q", *state)


def parameters(
    key: int, fanout: int, depth: int, leaf: int, node: int, xof: int, inner: int
) -> bytes:
    """The parameter block of a hash of 64 bytes."""
    return struct.pack("<4BIII2B46x", 64, key, fanout, depth, leaf, node, xof, 0, inner)


def stream(seed: bytes) -> Iterator[bytes]:
    """The output of SEAL's generator, 8 bytes at a time."""
    counter = 0
    while True:
        block = parameters(len(seed), 1, 1, 0, 0, _BUFFER_BYTES, 0)
        root = blake2b(struct.pack("<Q", counter), block, seed)
        for node in range(_BUFFER_BYTES // 64):
            out = blake2b(root, parameters(0, 0, 0, 64, node, _BUFFER_BYTES, 64))
            yield from (out[at : at + 8] for at in range(0, 64, 8))
        counter += 1


def uniform(seed: bytes, degree: int, primes: Sequence[int]) -> list[int]:
    """c1: numbers mod each prime, one prime after the other."""
    numbers = (int.from_bytes(each, "little") for each in stream(seed))
    drawn, found = list(islice(numbers, degree * len(primes))), []
    for place, prime in enumerate(primes):
        for number in drawn[place * degree : (place + 1) * degree]:
            while number >= _MASK - _MASK % prime - 1:
                number = next(numbers)
            found.append(number % prime)
    return found


def ternary(seed: bytes, degree: int) -> list[int]:
    """The coefficients of a key: -1, 0 and 1."""
    drawn = b"".join(islice(stream(seed), degree // 2))
    return [3 * number // 2**32 - 1 for number in struct.unpack(f"<{degree}I", drawn)]


def transformed(coefficients: Sequence[int], prime: int) -> list[int]:
    """The values at odd powers of the least primitive 2n-th root of unity mod `prime`."""
    degree = len(coefficients)
    bits = degree.bit_length() - 1
    candidates = (pow(base, (prime - 1) // (2 * degree), prime) for base in range(2, prime))
    some = next(root for root in candidates if pow(root, degree, prime) == prime - 1)
    square = some * some % prime
    least, root = some, some
    for _ in range(degree):
        root = root * square % prime
        least = min(least, root)
    values, half, blocks = np.array(coefficients, object) % prime, degree // 2, 1
    while half:
        rows = values.reshape(blocks, 2, half)
        powers = [int(f"{blocks + row:0{bits}b}"[::-1], 2) for row in range(blocks)]
        factors = np.array([pow(least, power, prime) for power in powers], object)[:, None]
        low, high = rows[:, 0], rows[:, 1] * factors % prime
        values = np.stack([(low + high) % prime, (low - high) % prime], axis=1).reshape(-1)
        half, blocks = half // 2, blocks * 2
    found: list[int] = values.tolist()
    return found


def key_digest(degree: int, primes: Sequence[int]) -> str:
    key = ternary(SEED, degree)
    words = [word for prime in primes for word in transformed(key, prime)]
    return digest(np.array(words, "<u8").tobytes())


def c1_digest(degree: int, primes: Sequence[int]) -> str:
    return digest(np.array(uniform(SEED, degree, primes), "<u8").tobytes())


if __name__ == "__main__":
    for degree, primes, fresh, _ in RINGS:
        print(degree, "key", key_digest(degree, primes))
        print(degree, "c1", c1_digest(degree, primes[:fresh]))
