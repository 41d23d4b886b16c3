"""Known answers of SEAL's draws: two machines that hold one seed must get one key and one c1.

SEAL stretches a seed with BLAKE2xb, which is the same everywhere. A ternary key it draws from that
with `std::uniform_int_distribution`, whose output C++ leaves to the library: another build may
make another key of the same seed, without a word, and parties would read noise. So each ring has a
known answer for the fixed seed 0, 1 … 63, of the key and of c1, and is refused where it differs.

The answers are those of tenseal 0.3.18, and of the definition: `python -m tests.he.known_answers`
computes and prints them without SEAL.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from privfed.errors import ConfigError, LayoutError
from privfed.he.seal.files import SEED_BYTES, saved, seeded_key

SEED = bytes(range(SEED_BYTES))


@dataclass(frozen=True)
class KnownAnswers:
    """What the fixed seed gives in one ring, as SHA-256 of the words, 8 bytes each.

    Attributes:
        key: That of the ternary key mod each prime, transformed as SEAL keeps it.
        c1: That of the second half of a fresh ciphertext.
    """

    key: str
    c1: str


RING = KnownAnswers(  # n = 4096 and our prime: packed and slots
    key="a3d1c83def8b1119300a25b12abe5f0fda4958f6be8237a234c901ac8eb22736",
    c1="73f2ed90ec844a0fd753572d5544787d5f46cd723d5ad0d0f5da0589a6cc074f",
)
CKKS = KnownAnswers(  # n = 8192 and SEAL's own primes: three of a key, two of a fresh ciphertext
    key="962c4d1285593fca3273549577cc9177756127abc8606ea55654b4aa1beccdd2",
    c1="ec3aa977446a8b9301824e7608c8eb9922f060e124381deb7b80968d43086146",
)


@contextmanager
def refusing(remedy: str = "install tenseal==0.3.18") -> Iterator[None]:
    """Make every error within that of a SEAL which is not the known one.

    Raises:
        LayoutError: There was an error; says what to do.
        ConfigError: SEAL is not installed.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, ConfigError) and not isinstance(error, LayoutError):
            raise  # SEAL is missing, which is no change of what it does
        raise LayoutError(f"this TenSEAL's SEAL is not the known one ({error}): {remedy}") from None


def key_words(parameters: Any) -> bytes:
    """Return the words of the key that the fixed seed draws."""
    words = parameters.poly_modulus_degree() * len(parameters.coeff_modulus())
    return saved(seeded_key(parameters, SEED))[-8 * words :]


def digest(words: bytes) -> str:
    """Return SHA-256 of words."""
    return hashlib.sha256(words).hexdigest()


def check_key(parameters: Any, answers: KnownAnswers) -> None:
    """Check that a seed draws the key that it draws everywhere.

    Raises:
        LayoutError: It draws another one.
    """
    if digest(key_words(parameters)) != answers.key:
        raise LayoutError("a seed draws another key")


def check_c1(words: bytes, answers: KnownAnswers) -> None:
    """Check that c1 of the fixed seed is what it is everywhere.

    Raises:
        LayoutError: It is another one.
    """
    if digest(words) != answers.c1:
        raise LayoutError("a seed expands to another c1")
