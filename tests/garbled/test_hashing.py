"""The hash is TMMO of AES-128, and its AES is that of FIPS 197."""

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from privfed.garbled.hashing import TweakableHash, key_stream

# FIPS 197, appendix C.1.
KEY = bytes(range(16))
PLAIN = bytes.fromhex("00112233445566778899aabbccddeeff")
CIPHERTEXT = bytes.fromhex("69c4e0d86a7b0430d8cdb78070b4c55a")


def aes(key: bytes, block: bytes) -> bytes:
    return Cipher(algorithms.AES(key), modes.ECB()).encryptor().update(block)  # noqa: S305


def exclusive_or(a: bytes, b: bytes) -> bytes:
    return bytes(x ^ y for x, y in zip(a, b, strict=True))


def hashed(key: bytes, block: bytes, tweak: int) -> bytes:
    """TMMO, one block at a time, as ePrint 2019/074 writes it."""
    once = aes(key, block)
    return exclusive_or(aes(key, exclusive_or(once, tweak.to_bytes(16, "little"))), once)


def test_the_permutation_is_aes() -> None:
    assert aes(KEY, PLAIN) == CIPHERTEXT
    block, tweak = np.frombuffer(PLAIN, np.uint64).reshape(1, 2), np.zeros(1, np.uint64)
    found = TweakableHash(KEY)(block, tweak)
    assert found.tobytes() == exclusive_or(aes(KEY, CIPHERTEXT), CIPHERTEXT)


def test_each_block_has_its_tweak() -> None:
    blocks = np.random.default_rng(1).integers(0, 2**64, (20, 2), np.uint64)
    tweaks = np.array([*range(18), 2**40, 2**64 - 1], np.uint64)
    found = TweakableHash(KEY)(blocks, tweaks)
    assert [row.tobytes() for row in found] == [
        hashed(KEY, block.tobytes(), tweak)
        for block, tweak in zip(blocks, tweaks.tolist(), strict=True)
    ]
    other = TweakableHash(KEY)(blocks, tweaks + np.uint64(1))
    assert not np.any(np.all(found == other, axis=1))


def test_a_stream_is_aes_in_counter_mode() -> None:
    found = key_stream(KEY, 3)
    assert found.tobytes() == b"".join(aes(KEY, number.to_bytes(16, "big")) for number in range(3))
