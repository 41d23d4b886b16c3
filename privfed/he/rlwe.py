"""Arithmetic of ciphertext coefficients mod q in numpy: no key, no parser, no library of HE.

Every function bounds its rounding error, counted by `packing.Packing.noise_bound`.
"""

import numpy as np

from privfed.he.packing import MODULUS, MODULUS_BITS, MODULUS_GAP, Words

_Q = np.uint64(MODULUS)
_GAP = np.uint64(MODULUS_GAP)
SAFE_ADDITIONS = 2 ** (64 - MODULUS_BITS) - 1  # of numbers below 2^58 to one below 2^58


def reduce_once(words: Words) -> Words:
    """Reduce numbers below 2q mod q, in place."""
    # Where a number is below q, subtracting wraps to a huge one: the smaller is the remainder.
    np.minimum(words, words - _Q, out=words)
    return words


def reduce(words: Words) -> Words:
    """Reduce any 64-bit numbers mod q, in place."""
    # 2^58 = gap mod q: fold the high bits twice, then subtract q once.
    for _ in range(2):
        high = words >> np.uint64(MODULUS_BITS)
        high *= _GAP
        words &= np.uint64(2**MODULUS_BITS - 1)
        words += high
    return reduce_once(words)


def scale_up(messages: Words, plain_bits: int) -> Words:
    """Return q*m/t for m < t = 2^plain_bits, off by less than 1 either way."""
    # q*m/t = m * 2^(58-k) - gap*m/2^k; the product needs more than 64 bits for large k.
    drop = max(0, plain_bits + MODULUS_GAP.bit_length() - 64)
    loss = ((messages >> np.uint64(drop)) * _GAP) >> np.uint64(plain_bits - drop)
    scaled: Words = (messages << np.uint64(MODULUS_BITS - plain_bits)) - loss
    return scaled


def scale_down(phases: Words, plain_bits: int) -> tuple[Words, Words]:
    """Return (m, |noise|): the messages nearest to `phases` mod q, and how far off these are.

    The noise is exact up to 3 and a share of 2^-38 of itself.
    """
    shift = np.uint64(MODULUS_BITS - plain_bits)
    # x*t/q = (x + x*gap/2^58 + less than 1) / 2^(58-k), as gap^2 < 2^58.
    spread = phases + (((phases >> np.uint64(20)) * _GAP) >> np.uint64(MODULUS_BITS - 20))
    messages = (spread + (np.uint64(1) << (shift - np.uint64(1)))) >> shift
    distance = (spread - (messages << shift)).view(np.int64)
    messages &= np.uint64(2**plain_bits - 1)
    return messages, np.abs(distance).view(np.uint64)


def cut(words: Words, bits: int) -> Words:
    """Return words (mod q) without their low `bits` bits, rounded: below 2^(58-bits)."""
    if not bits:
        return words
    rounded = reduce_once(words + np.uint64(1 << (bits - 1)))
    rounded >>= np.uint64(bits)
    return rounded


def shift(words: Words, bits: int) -> Words:
    """Multiply words below q by 2^bits mod q, in place."""
    at_once = 64 - MODULUS_BITS
    while bits:
        step = min(bits, at_once)
        words <<= np.uint64(step)
        reduce(words)
        bits -= step
    return words


def uncut(words: Words, bits: int) -> Words:
    """Return cut words scaled back to coefficients, in [0, 2^58): off by up to half a cut."""
    return words << np.uint64(bits)
