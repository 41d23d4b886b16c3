"""How signed integers share the coefficients of one ring element, so that sums stay exact.

A value of `bits` bits lies in [-limit, limit]. `lanes` of them are the digits of one
coefficient in radix M * 2 * limit + 1, so the sum over M clients never carries. What a
coefficient must hold and what noise it must survive are worst-case bounds: a packing that
exists decrypts every sum exactly, with no failure probability.

The scheme is Brakerski/Fan-Vercauteren (Fan and Vercauteren 2012, ePrint 2012/144) with values
in the coefficients. The ring is HomomorphicEncryption.org's: n = 4096 with ternary secrets allows
109 bits of modulus at 128-bit security (Homomorphic Encryption Standard 2018, table 1); one
58-bit prime is well inside. The noise bound 21 is SEAL's centred binomial (sum of 21 coins
minus 21 coins; Microsoft SEAL 4, `util/rlwe.cpp`).
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from privfed.errors import CapacityError, ConfigError

RING_DEGREE = 4096
MODULUS_BITS = 58
MODULUS_GAP = 581_631
MODULUS = 2**MODULUS_BITS - MODULUS_GAP  # the largest prime of 58 bits that is 1 mod 2n
FRESH_NOISE = 21
MAX_BITS = 32
MIN_BITS = 6
MAX_CLIENTS = 1024

SLOT_PRIME_GAP = 2**22  # the largest k-bit prime that is 1 mod 2n lies within this of 2^k
_ENCODE_ROUNDING = 2  # q*m/t, off by less than 1, and one to spare
_DECODE_ROUNDING = 8  # the key product is right to within 2, and numpy rounds down: see rlwe.py

Integers = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Packing:
    """Lanes, plain modulus and the low bits that may be cut, for one precision and client count.

    Attributes:
        bits: Precision of one value, 6 to 32.
        max_clients: Most uploads in one sum, 1 to 1024.
        lanes: Values in one coefficient.
        plain_bits: k; the plain modulus t is 2^k.
        upload_cut: Low bits of a coefficient that an upload leaves out.
        download_cut: Low bits of a coefficient that the total leaves out.
    """

    bits: int
    max_clients: int
    lanes: int
    plain_bits: int
    upload_cut: int
    download_cut: int

    def __post_init__(self) -> None:
        _check_ranges(self.bits, self.max_clients)
        if self.lanes < 1 or self.radix**self.lanes > 2**self.plain_bits:
            raise CapacityError(
                f"{self.lanes} lanes of {self.bits} bits summed over {self.max_clients} clients "
                f"do not fit in {self.plain_bits} bits: use fewer lanes, bits or clients"
            )
        if min(self.upload_cut, self.download_cut) < 0 or self.noise_bound > self.noise_capacity:
            raise CapacityError(
                f"noise of up to {self.noise_bound} exceeds the capacity {self.noise_capacity}: "
                "cut fewer bits, or use fewer lanes, bits or clients"
            )

    @property
    def limit(self) -> int:
        """Largest magnitude of one value: 2^(bits-1) - 1."""
        return (1 << (self.bits - 1)) - 1

    @property
    def radix(self) -> int:
        """Radix of the lanes; every sum of M values is one digit of it."""
        return _radix(self.bits, self.max_clients)

    @property
    def noise_bound(self) -> int:
        """Largest |noise| that a decryptor can meet when everybody is honest."""
        per_client: int = FRESH_NOISE + _ENCODE_ROUNDING + _half(self.upload_cut)
        return self.max_clients * per_client + _half(self.download_cut) + _DECODE_ROUNDING

    @property
    def noise_capacity(self) -> int:
        """Largest |noise| that rounding still removes: q/2t - 1."""
        return int(MODULUS >> (self.plain_bits + 1)) - 1

    @property
    def upload_bits(self) -> int:
        """Bits of one uploaded coefficient."""
        return MODULUS_BITS - self.upload_cut

    @property
    def download_bits(self) -> int:
        """Bits of one downloaded coefficient."""
        return MODULUS_BITS - self.download_cut

    @property
    def sum_bits(self) -> int:
        """Bits of a sum of uploaded coefficients as they are, mod q."""
        largest = self.max_clients * ((1 << self.upload_bits) - 1)
        return min(MODULUS_BITS, largest.bit_length())

    def coefficients(self, values: int) -> int:
        """Return how many coefficients `values` values take."""
        return -(-values // self.lanes)


def _check_ranges(bits: int, max_clients: int) -> None:
    if not MIN_BITS <= bits <= MAX_BITS:
        raise ConfigError(f"bits must be {MIN_BITS} to {MAX_BITS}, not {bits}")
    if not 1 <= max_clients <= MAX_CLIENTS:
        raise ConfigError(f"max_clients must be 1 to {MAX_CLIENTS}, not {max_clients}")


def _radix(bits: int, max_clients: int) -> int:
    return max_clients * 2 * ((1 << (bits - 1)) - 1) + 1


def _half(cut: int) -> int:
    return 1 << (cut - 1) if cut else 0


@cache
def choose(bits: int, max_clients: int) -> Packing:
    """Return the packing with the smallest upload, then the smallest download.

    Args:
        bits: Precision of one value, 6 to 32.
        max_clients: Most uploads in one sum, 1 to 1024.

    Raises:
        ConfigError: A number is out of its range.
        CapacityError: The modulus holds no such sum.
    """
    _check_ranges(bits, max_clients)
    radix = _radix(bits, max_clients)
    found = []
    for lanes in range(1, MODULUS_BITS // MIN_BITS + 1):
        plain_bits = (radix**lanes - 1).bit_length()
        for upload_cut in range(MODULUS_BITS - plain_bits, -1, -1):
            if packing := _with_largest_download_cut(
                bits, max_clients, lanes, plain_bits, upload_cut
            ):
                found.append(packing)
                break
    if not found:  # the error of one uncut lane names the bound that fails
        return Packing(bits, max_clients, 1, (radix - 1).bit_length(), 0, 0)
    return min(found, key=lambda p: (p.upload_bits / p.lanes, p.download_bits / p.lanes))


@cache
def choose_slots(bits: int, max_clients: int) -> Packing:
    """Return the packing for slots mod a prime of `plain_bits` bits: whole lanes, nothing cut.

    Raises:
        ConfigError: A number is out of its range.
        CapacityError: The modulus holds no such sum.
    """
    _check_ranges(bits, max_clients)
    radix = _radix(bits, max_clients)
    for lanes in range(MODULUS_BITS // MIN_BITS, 1, -1):
        plain_bits = (radix**lanes + SLOT_PRIME_GAP).bit_length()
        try:
            return Packing(bits, max_clients, lanes, plain_bits, 0, 0)
        except CapacityError:
            continue
    return Packing(bits, max_clients, 1, (radix + SLOT_PRIME_GAP).bit_length(), 0, 0)


def _with_largest_download_cut(
    bits: int, max_clients: int, lanes: int, plain_bits: int, upload_cut: int
) -> Packing | None:
    for download_cut in range(MODULUS_BITS - plain_bits, -1, -1):
        try:
            return Packing(bits, max_clients, lanes, plain_bits, upload_cut, download_cut)
        except CapacityError:
            continue
    return None


def pack(values: Integers, packing: Packing) -> Words:
    """Return the coefficients mod t that carry `values`, lane by lane.

    Lane l holds the l-th contiguous run of values. Packing is linear: what it returns for a sum
    is the sum of what it returns, mod t, even for values outside the range.
    """
    rows = packing.coefficients(len(values))
    out = np.zeros(rows, np.uint64)
    for lane in reversed(range(packing.lanes)):
        out *= np.uint64(packing.radix)
        run = values[lane * rows : (lane + 1) * rows].view(np.uint64)
        out[: len(run)] += run  # two's complement: the sum is right mod 2^64, hence mod t
    out &= np.uint64(2**packing.plain_bits - 1)
    return out


def unpack(coefficients: Words, count: int, packing: Packing) -> Integers | None:
    """Return the `count` sums in `coefficients` (mod t), or None where they hold no sums."""
    rows = packing.coefficients(count)
    half = packing.radix // 2
    offset = sum(half * packing.radix**lane for lane in range(packing.lanes))
    shifted = (coefficients + np.uint64(offset % 2**64)) & np.uint64(2**packing.plain_bits - 1)
    # The noise bound leaves 51 bits at most, so that quotients of doubles are exact after floor.
    rest = shifted.astype(np.float64)
    out = np.empty(rows * packing.lanes, np.int64)
    for lane in range(packing.lanes):
        above = np.floor(rest / packing.radix)
        rest -= above * packing.radix
        rest -= half
        out[lane * rows : (lane + 1) * rows] = rest
        rest = above
    if rest.any() or out[count:].any():
        return None
    return out[:count]
