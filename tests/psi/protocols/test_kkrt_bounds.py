"""The failure bound of docs/psi-kkrt.md, term by term: together below 2^-40 at every size."""

import math

import numpy as np
import pytest

from psi.protocols.kkrt.layout import SessionSizes, bins_for, bucket_items, kkrt_tag_bytes

LARGEST = 1 << 27
SIZES = sorted(
    {*range(4, 200, 7), *(int(2 ** (step / 8)) for step in range(16, 160)), 3035, 3036, 3037}
)


def log2_of_no_placement(n: int, n_bins: int) -> float:
    """Bound of the probability that n items fit no assignment, in bits.

    Some k items have k - 1 bins together, each of them used at least twice (a minimal violation
    of Hall's condition, which needs k >= 4 as each item has three different bins). With M bins
    in a third, for each k and every z > 0 that is at most

        C(n, k) · C(3M, k - 1) · (e^z - 1 - z)^(k-1) · (k! / z^k)^3 / M^(3k).
    """
    if n < 4:
        return -math.inf
    third = n_bins // 3
    factorials = np.concatenate(([0.0], np.cumsum(np.log(np.arange(1, max(n, n_bins) + 1)))))
    k = np.arange(4, n + 1)
    choices = factorials[n] - factorials[k] - factorials[n - k]
    choices += factorials[n_bins] - factorials[k - 1] - factorials[n_bins - k + 1]
    twice = np.full(len(k), np.inf)
    for z in np.exp(np.linspace(math.log(0.02), math.log(20), 60)):
        with_z = (k - 1) * math.log(math.expm1(z) - z) + 3 * (factorials[k] - k * math.log(z))
        twice = np.minimum(twice, with_z)
    terms = choices + twice - 3 * k * math.log(third)
    largest = terms.max()
    return float((largest + math.log(np.exp(terms - largest).sum())) / math.log(2))


def log2_of_close_codes(pairs: int) -> float:
    """That two of the code words compared differ in fewer than 128 of 512 bits."""
    close = sum(math.comb(512, distance) for distance in range(128))
    return math.log2(pairs * close) - 512


@pytest.mark.parametrize("n", SIZES)
def test_placing_fails_with_less_than_2_to_the_minus_43(n: int) -> None:
    assert log2_of_no_placement(n, bins_for(n)) < -43


@pytest.mark.deep(normal=200, stated=4_200)
def test_placing_fails_with_less_than_2_to_the_minus_43_at_every_small_size(count: int) -> None:
    assert all(log2_of_no_placement(n, bins_for(n)) < -43 for n in range(4, count))


@pytest.mark.slow
@pytest.mark.parametrize("n", [1 << 20, (1 << 22) + 1])
def test_placing_large_sets(n: int) -> None:
    assert log2_of_no_placement(n, bins_for(n)) < -80


BUCKETS = [2**power for power in range(1, 11)]


@pytest.mark.parametrize("buckets", BUCKETS)
def test_placing_in_all_buckets_fails_with_less_than_2_to_the_minus_43(buckets: int) -> None:
    # The worst size is where the fewest bins begin to grow; a bucket has 2^17 items and a few.
    for n in (5, 60, 3036, 10_000, 12_000, 12_142, 12_143, 14_000, 40_000, 140_000):
        bound = log2_of_no_placement(n, bins_for(n, buckets)) + math.log2(buckets)
        assert bound < -43


@pytest.mark.parametrize("buckets", BUCKETS)
@pytest.mark.parametrize("mean", [0, 1, 50, 1000, 1 << 16, 1 << 17])
def test_some_bucket_overflows_with_at_most_2_to_the_minus_44(buckets: int, mean: int) -> None:
    n = max(mean * buckets, 1)
    room = bucket_items(n, buckets)
    if room == n:
        return
    # Chernoff's bound, which Bernstein's implies: room = (1 + d) m, (e^d / (1 + d)^(1 + d))^m.
    exact = n / buckets
    above = room / exact - 1
    nats = exact * (above - (1 + above) * math.log1p(above))
    assert nats / math.log(2) + math.log2(buckets) < -44


def test_one_bucket_for_each_131072_items() -> None:
    assert SessionSizes.of(1 << 17, 1 << 17).buckets == 1
    assert SessionSizes.of(1 << 17, 1 << 17).sender_items == 1 << 17
    assert (
        SessionSizes.of((1 << 17) + 1, 3).buckets == SessionSizes.of(3, (1 << 17) + 1).buckets == 2
    )
    assert SessionSizes.of(1 << 20, 1 << 20).buckets == 8
    assert SessionSizes.of(LARGEST, 1).buckets == 1024
    large = SessionSizes.of(1 << 20, 1 << 20)
    assert 1 << 17 < large.sender_items == large.receiver_items < 1.03 * (1 << 17)
    assert large.rows % 64 == 0
    assert large.rows - large.bins >= 128


@pytest.mark.parametrize("n1", [0, 1, 500, 1 << 20, LARGEST])
@pytest.mark.parametrize("n2", [0, 1, 500, 1 << 20, LARGEST])
def test_everything_together_fails_with_less_than_2_to_the_minus_40(n1: int, n2: int) -> None:
    layout = SessionSizes.of(n1, n2)
    # Dummies count as items here.
    pairs = layout.buckets * layout.receiver_items * layout.sender_items
    tags = pairs / 2 ** (8 * layout.tag_bytes)
    assert tags <= 2**-42
    assert layout.tag_bytes == kkrt_tag_bytes(n1, n2)
    digests = (n1 + n2) ** 2 / 2**129
    codes = 2 ** log2_of_close_codes(3 * n2) if n2 else 0
    assert codes < 2**-65
    overflow = 2 * 2**-44
    assert 2**-43 + tags + digests + codes + overflow < 2**-40


def test_bins_come_in_thirds_and_suffice() -> None:
    for n in (0, 1, 4096, 10**6, LARGEST):
        assert bins_for(n) % 3 == 0
        assert bins_for(n) >= max(4098, 1.35 * n)
        assert bins_for(n) < 2**32
