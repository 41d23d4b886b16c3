"""All sizes of a session; both sides derive them from the sizes of the two sets.

docs/psi-kkrt.md derives the numbers; together they fail with probability below 2^-40.
"""

import math
from dataclasses import dataclass
from typing import Self

__all__ = [
    "HASHES",
    "MOST_ITEMS",
    "ROW_BYTES",
    "TRANSFERS",
    "SessionSizes",
    "bins_for",
    "bucket_items",
    "kkrt_tag_bytes",
]

HASHES = 3
MOST_ITEMS = 1 << 27  # the bound on failures holds up to here
TRANSFERS = 512
ROW_BYTES = TRANSFERS // 8
_BUCKET_ITEMS = 1 << 17  # the work on one bucket fits the processor's caches
_BINS_AN_ITEM = (27, 20)  # 1.35
_FEWEST_BINS = 4098
_CONFIRMATIONS = 128
_FALSE_MATCH_BITS = 42
_OVERFLOW_BITS = 44


@dataclass(frozen=True)
class SessionSizes:
    """The sizes of one session.

    Attributes:
        buckets: How many parts a hash cuts the sets into; a power of two.
        receiver_items: The most items of the receiver that a bucket takes.
        sender_items: The items of the sender in each bucket, with dummies.
        bins: The receiver's bins in each bucket.
        rows: Rows of a bucket's matrix: the bins, at least 128 for the known element, and what
            fills up a multiple of 64.
        tag_bytes: Length of a tag.
    """

    buckets: int
    receiver_items: int
    sender_items: int
    bins: int
    rows: int
    tag_bytes: int

    @classmethod
    def of(cls, n_receiver: int, n_sender: int) -> Self:
        """Return the layout for sets of these sizes."""
        parts = -(-max(n_receiver, n_sender) // _BUCKET_ITEMS)
        buckets = 1 << max(parts - 1, 0).bit_length()
        receiver_items = bucket_items(n_receiver, buckets)
        bins = bins_for(receiver_items, buckets)
        return cls(
            buckets=buckets,
            receiver_items=receiver_items,
            sender_items=bucket_items(n_sender, buckets),
            bins=bins,
            rows=-(-(bins + _CONFIRMATIONS) // 64) * 64,
            tag_bytes=kkrt_tag_bytes(n_receiver, n_sender),
        )


def bucket_items(n_items: int, buckets: int) -> int:
    """Return the room for the items of each bucket: one needs more with probability ≤ 2^-44.

    By Bernstein's inequality for n draws of probability 1/buckets, over all buckets; in whole
    numbers, so that both sides compute the same.
    """
    if buckets == 1:
        return n_items
    mean = -(-n_items // buckets)
    nats = -(-(_OVERFLOW_BITS + buckets.bit_length()) * 7 // 10)  # ln 2 < 7/10
    above = (nats + math.isqrt(nats * nats + 18 * nats * mean) + 1) // 3 + 1
    return min(n_items, mean + above)


def bins_for(n_items: int, buckets: int = 1) -> int:
    """Return how many bins a bucket of n items needs; divisible by 3.

    With probability at least 1 - 2^-43 the items of all buckets fit.
    """
    numerator, denominator = _BINS_AN_ITEM
    # Small tables fail most often, and with more buckets one fails more often: these are larger.
    fewest = _FEWEST_BINS if buckets == 1 else 4 * _FEWEST_BINS
    return max(fewest, HASHES * -(-n_items * numerator // (HASHES * denominator)))


def kkrt_tag_bytes(n_receiver: int, n_sender: int) -> int:
    """Return a tag's length: two different items share one with probability at most 2^-42.

    Each of the receiver's items is compared with one tag of each of the sender's.
    """
    pair_bits = (n_receiver * n_sender).bit_length()
    return -(-(_FALSE_MATCH_BITS + pair_bits) // 8)
