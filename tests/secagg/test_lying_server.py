"""A server that lies about a sum to learn the key.

It adds D*X^a to the sum of c1, which adds D times a coefficient of the secret key to every
coefficient of the noise, and moves one coefficient of c0 to where the sum decrypts unless that
key coefficient is 1. Masks and tags are right throughout: the linear hash is what is in its way.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from privfed import secagg
from privfed.errors import AuthenticationError
from privfed.he import Words, rlwe
from privfed.he.packing import MODULUS, RING_DEGREE
from privfed.secagg import linear_hash, wire
from tests.secagg.parties import Round, against, expected_mean, parameters, updates
from tests.secagg.totals import KeyUses, c0_bits, changed, ones_of_key, times

SHAPES: dict[str, tuple[int, ...]] = {"w": (40, 50)}
TESTED = 24
CLIENTS = 64
HOW: dict[str, dict[str, Any]] = {
    "summed": {"download": "summed"},
    "summed, c0": {"download": "summed", "cover_c0": True},
    "slots": {"scheme": "slots"},
}
SENT, WEIGHTS = updates(3, SHAPES), [900, 1000, 1024]
REFUSED = "not the sum of what its senders signed"


@pytest.fixture(params=HOW)
def params(request: pytest.FixtureRequest) -> secagg.Parameters:
    """Masks on; the first three parties are a group."""
    sizes = (3,) * 20 + (4,)
    against = {"adversary": "lying-server+1", "group_sizes": sizes}
    return parameters(CLIENTS, SHAPES, **against, **HOW[request.param])


def server(
    params: secagg.Parameters, parties: Round, round_id: int, holder: secagg.Decryptor
) -> secagg.Aggregator:
    """The server of a round whose parties saw what a holder saw before."""
    previous = bytes.fromhex(holder._journal.record.transcript)  # noqa: SLF001  (as a Party does)
    aggregator = secagg.Aggregator(params, round_id)
    for upload in parties.uploads(SENT, WEIGHTS, round_id, previous=previous):
        aggregator.add(upload)
    return aggregator


def asked(params: secagg.Parameters, aggregator: secagg.Aggregator, index: int) -> bytes:
    """The honest total, changed so that it decrypts unless key coefficient `index` is 1."""
    total, packing = aggregator.total(), params.packing
    slots, cut = params.scheme == "slots", packing.upload_cut
    bound = packing.noise_capacity if slots else packing.noise_bound
    unknown = 3 * (21 + 2**cut + 2) + 8  # at most: the honest noise
    step, known = 1 << cut, np.zeros(1, np.int64)
    if not params.covers_c0:  # the last cut is the server's own, which knows what it cut off
        accumulator: Any = aggregator._whole[0].accumulator  # noqa: SLF001  (the server's own)
        summed = accumulator._c0  # noqa: SLF001  (the server's own)
        step = 1 << packing.download_cut
        kept = rlwe.uncut(rlwe.cut(summed, packing.download_cut), packing.download_cut)
        known = kept.view(np.int64) - summed.view(np.int64)
    # Of these moves by whole steps, the one that is nearest to half way.
    change = bound - unknown - (step // 2 if not params.covers_c0 else 0)
    moves = known + step * max(1, (bound - change // 2) // step)
    place = int(np.argmin(np.abs(moves - (bound - change // 2))))
    moved = int(moves[place])
    assert moved + unknown < bound < moved + change - unknown

    def question(c0: Words, c1: Words) -> tuple[Words, Words]:
        c0, c1 = c0.copy(), rlwe.reduce(c1.copy())
        c0[place] = (int(c0[place]) + (moved - int(known[place])) // step) % 2 ** c0_bits(params)
        power = (place - index) % RING_DEGREE
        sign = 1 if index <= place else -1  # X^n = -1
        c1[power] = (int(c1[power]) + sign * change) % MODULUS
        return c0, c1

    return changed(params, total, question)


def answer(params: secagg.Parameters, holder: secagg.Decryptor, total: bytes, round_id: int) -> str:
    """What becomes of a total; a sum that is off, without tags, shows in what follows too."""
    try:
        mean = holder.decrypt(total, round_id).mean["w"]
    except AuthenticationError as error:
        return str(error)
    right = expected_mean(params, SENT, WEIGHTS)["w"]
    return "decrypted" if np.array_equal(mean, right) else "off"


def test_signs_of_the_key_are_read_where_the_hash_is_not_checked(
    params: secagg.Parameters, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The attack is one: right by arithmetic, never by luck, which has chance (2/3)^24."""
    monkeypatch.setattr(linear_hash, "authentic", lambda *_: True)
    parties = Round.of(params)
    holders, learned = [secagg.Decryptor(params, parties.key, "memory")], []
    for index in range(TESTED):
        total = asked(params, server(params, parties, index, holders[-1]), index)
        learned.append(answer(params, holders[-1], total, index) != "decrypted")
        if len(holders[-1].failed) == 3:
            holders.append(secagg.Decryptor(params, parties.key, "memory"))
    assert learned == ones_of_key(params, parties.key)[:TESTED]
    assert len(holders) <= CLIENTS  # one a party


def test_the_hash_refuses_before_the_key_is_used(
    params: secagg.Parameters, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every answer is the same one, so that nothing is learned; and no round is lost by it."""
    parties = Round.of(params)
    ones = ones_of_key(params, parties.key)[:TESTED]
    assert 0 < sum(ones) < TESTED  # whoever reads nothing cannot be right
    uses, holder = KeyUses(monkeypatch), secagg.Decryptor(params, parties.key, "memory")
    for index in range(TESTED):
        aggregator = server(params, parties, index, holder)
        total = asked(params, aggregator, index)
        assert REFUSED in answer(params, holder, total, index)
        assert uses.count == index  # of the honest totals alone
        assert answer(params, holder, aggregator.total(), index) == "decrypted"
        assert uses.count == index + 1
    assert holder.failed == ()


@pytest.mark.parametrize("masks", [False, True])
@pytest.mark.parametrize("how", HOW)
def test_other_sums_are_refused_before_the_key_is_used(
    how: str, masks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = parameters(4, SHAPES, adversary=against(masks), **HOW[how])
    parties = Round.of(params)
    sent, weights = updates(4, SHAPES), [900, 1000, 1024, 7]
    uploads, again = (parties.uploads(sent, weights, number) for number in (1, 2))

    def body(senders: Sequence[bytes], round_id: int = 1) -> tuple[Words, Words]:
        """The words of a total over these uploads, of which a masked server makes any set."""
        aggregator, found = secagg.Aggregator(params, round_id), []
        for upload in senders:
            aggregator.add(upload)
        for sums in aggregator._waiting.values():  # noqa: SLF001  (without its checks)
            aggregator._whole.update(sums)  # noqa: SLF001  (as above)
        messages = aggregator._sum_messages(wire.Kind.TOTAL)  # noqa: SLF001  (as above)
        total = b"".join(messages)

        def keep(c0: Words, c1: Words) -> tuple[Words, Words]:
            found.append((c0, c1))
            return c0, c1

        changed(params, total, keep)
        return found[0]

    honest = parties.total(uploads)
    lone, three, other = body(uploads[:1]), body(uploads[:3]), body(again, 2)
    rng = np.random.default_rng(0)

    def flipped(c0: Words, c1: Words) -> tuple[Words, Words]:
        """One bit of what the hash covers."""
        halves = [c0.copy(), c1.copy()]
        half = int(rng.integers(2)) if params.covers_c0 else 1
        bits = 58 if half else c0_bits(params)
        halves[half][rng.integers(len(halves[half]))] ^= np.uint64(1 << int(rng.integers(bits)))
        return halves[0], halves[1]

    def past_q(c0: Words, c1: Words) -> tuple[Words, Words]:
        c1 = c1.copy()
        c1[7] = MODULUS  # where the honest word is another
        return c0, c1

    lies = {
        "one party's": lambda c0, c1: lone,
        "without one": lambda c0, c1: three,
        "another round's": lambda c0, c1: other,
        "doubled": lambda c0, c1: (times(c0, 2), times(c1, 2)),
        "negated": lambda c0, c1: (times(c0, -1), times(c1, -1)),
        "nothing": lambda c0, c1: (times(c0, 0), times(c1, 0)),
        "past q": past_q,
        **{f"bit {number}": flipped for number in range(20)},
    }
    uses = KeyUses(monkeypatch)
    for name, lie in lies.items():
        with pytest.raises(AuthenticationError, match=REFUSED):
            parties.decryptor.decrypt(changed(params, honest, lie), 1)
        assert (uses.count, parties.decryptor.failed) == (0, ()), name
    assert parties.decryptor.decrypt(honest, 1).senders == tuple(p.id for p in params.roster)
    assert uses.count


@pytest.mark.parametrize("how", ["summed, c0", "slots"])
def test_where_the_hash_covers_all_the_noise_cannot_be_asked_for(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The smallest move of c0, which leaves c1 right, is refused; by seeds it is answered."""

    def moved(c0: Words, c1: Words) -> tuple[Words, Words]:
        c0 = c0.copy()
        c0[3] += np.uint64(1)
        return c0, c1

    params = parameters(3, SHAPES, **HOW[how])
    parties = Round.of(params)
    honest = parties.total(parties.uploads(SENT, WEIGHTS))
    uses = KeyUses(monkeypatch)
    with pytest.raises(AuthenticationError, match=REFUSED):
        parties.decryptor.decrypt(changed(params, honest, moved), 1)
    assert uses.count == 0
    open_c0 = Round.of(replace(params, scheme="packed", download="summed", cover_c0=False))
    honest = open_c0.total(open_c0.uploads(SENT, WEIGHTS))
    open_c0.decryptor.decrypt(changed(open_c0.params, honest, moved), 1)
    assert uses.count == 1


def test_a_refused_part_of_a_stream_is_no_failure(
    params: secagg.Parameters, monkeypatch: pytest.MonkeyPatch
) -> None:
    parties = Round.of(params)
    holder = secagg.Decryptor(params, parties.key, "memory")
    aggregator = server(params, parties, 1, holder)
    total = asked(params, aggregator, 5)
    uses = KeyUses(monkeypatch)
    with pytest.raises(AuthenticationError, match=REFUSED):
        holder.decrypt(iter([total]), 1)
    assert (uses.count, holder.failed) == (0, ())
    holder.decrypt(aggregator.total_blocks(), 1)
