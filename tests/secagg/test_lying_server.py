"""What docs/threat-model.md admits of a server that lies: it reads the key, or compares rounds.

Under `summed` c1 is not authenticated, which is why that needs `honest_server`.

The server adds D*X^a to the sum of c1, which adds D times a coefficient of the secret key to
every coefficient of the noise, and moves one coefficient of c0 to where the sum decrypts unless
that key coefficient is 1. Masks and tags are right throughout.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from privfed import secagg
from privfed.errors import AuthenticationError
from privfed.he import planes, rlwe
from privfed.he.packing import MODULUS, MODULUS_BITS, RING_DEGREE
from privfed.he.seal import zeros
from tests.secagg.parties import Arrays, Round, parameters, updates

SHAPES: dict[str, tuple[int, ...]] = {"w": (7, 5), "b": (5,)}
COHORT = (0, 1, 2)
TESTED = 24
# The server's cut of c0 is known to it, the rest of three honest parties' noise is below this.
UNKNOWN = 3 * (21 + 2**6 + 2) + 8


def asked(params: secagg.Parameters, aggregator: secagg.Aggregator, index: int) -> bytes:
    """The honest total, changed so that it decrypts unless key coefficient `index` is 1."""
    total, packing = aggregator.total(), params.packing
    accumulator: Any = aggregator._sums[0].accumulator  # noqa: SLF001  (a server that lies)
    c0 = accumulator._c0  # noqa: SLF001  (a server that lies)
    size = planes.size_bytes(len(c0), packing.download_bits)
    c1_size = planes.size_bytes(RING_DEGREE, MODULUS_BITS)
    head, body = total[: -size - c1_size], memoryview(total)[-size - c1_size :]
    words = planes.decode(body[:size], len(c0), packing.download_bits)
    c1 = rlwe.reduce(planes.decode(body[size:], RING_DEGREE, MODULUS_BITS))

    step = 1 << packing.download_cut
    cut = rlwe.uncut(words, packing.download_cut).view(np.int64) - c0.view(np.int64)
    change = packing.noise_bound - (step // 2 + UNKNOWN)  # fails nowhere by itself
    middle = packing.noise_bound - change // 2
    place = int(np.argmin(np.abs(cut + step - middle)))
    assert packing.noise_bound - change + UNKNOWN < cut[place] + step
    assert cut[place] + step < packing.noise_bound - UNKNOWN

    words[place] = (int(words[place]) + 1) % 2**packing.download_bits
    power = (place - index) % RING_DEGREE
    sign = 1 if index <= place else -1  # X^n = -1
    c1[power] = (int(c1[power]) + sign * change) % MODULUS
    changed = planes.encode(words, packing.download_bits) + planes.encode(c1, MODULUS_BITS)
    return head + changed


def decrypts(holder: secagg.Decryptor, total: bytes, round_id: int) -> bool:
    try:
        holder.decrypt(total, round_id, COHORT)
    except AuthenticationError:
        return False
    return True


def test_a_lying_server_reads_signs_of_the_key_from_summed_totals_under_masks() -> None:
    """Right by arithmetic, never by luck; guesses would all be right with chance (2/3)^24."""
    params = parameters(
        64, SHAPES, download="summed", pairwise_masks=True, max_weight=None, honest_server=True
    )
    parties = Round.of(params)
    one = np.zeros(RING_DEGREE, np.uint64)
    one[0] = 2**20
    reader = zeros.KeyMultiplier(zeros.cached_key(parties.key))
    product = reader.product(zeros.from_second_half(one))
    is_one = np.abs(product.view(np.int64) - 2**20)[:TESTED] < 10

    holders, learned = [secagg.Decryptor(params, parties.key)], []
    for index in range(TESTED):
        aggregator = secagg.Aggregator(params, index, COHORT)
        for upload in parties.uploads(updates(3, SHAPES), round_id=index, cohort=COHORT):
            aggregator.add(upload)
        decrypted = decrypts(holders[-1], asked(params, aggregator, index), index)
        learned.append(not decrypted)
        if not decrypted and sum(learned) % 3 == 0:  # a holder's three failures are used up
            holders.append(secagg.Decryptor(params, parties.key))
    assert learned == is_one.tolist()
    assert len(holders) <= 64  # one a party


def sums_of(
    job: secagg.Simulation,
    cohorts: Sequence[tuple[int, ...]],
    sent: Sequence[Arrays],
    first_round: int,
) -> list[np.ndarray]:
    """What a party sees of rounds over these cohorts, in each of which all send the same again."""
    seen = []
    for number, places in enumerate(cohorts, first_round):
        result, _ = job.average({place: sent[place] for place in places}, round_id=number)
        seen.append(len(places) * result.mean["w"].astype(float))
    return seen


def test_rounds_that_are_compared_show_one_partys_update_under_masks() -> None:
    """The limits that the page states: whoever mends them turns this test around."""
    layout = secagg.Layout((("w", (200,)),))
    job = secagg.simulate(
        4,
        lambda roster: secagg.Parameters(
            job="compared", layout=layout, clip_range=0.05, bits=24, max_clients=4, min_clients=3,
            max_weight=None, roster=roster, colluders=1,
        ),
    )  # fmt: skip
    assert job.params.masks
    sent = updates(4, {"w": (200,)})
    dropped = sums_of(job, [(0, 1, 2, 3), (0, 1, 2)], sent, 1)
    assert np.abs(dropped[0] - dropped[1] - sent[3]["w"]).max() < 1e-7
    with_1_2, with_1_3, with_2_3 = (
        total - sent[0]["w"]  # the server works with party 0, which knows its own
        for total in sums_of(job, [(0, 1, 2), (0, 1, 3), (0, 2, 3)], sent, 3)
    )
    assert np.abs((with_1_2 + with_1_3 - with_2_3) / 2 - sent[1]["w"]).max() < 1e-7
