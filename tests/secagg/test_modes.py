"""Work done ahead, masks, trees, and updates in several parts."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from privfed import secagg
from privfed.errors import (
    AuthenticationError,
    CapacityError,
    ConfigError,
    ContextMismatchError,
    DecodeError,
    QuorumError,
    ReplayError,
)
from privfed.he import planes, rlwe
from privfed.he.packing import MODULUS, MODULUS_BITS, pack
from privfed.secagg import rounds, wire
from privfed.secagg.masks import Masks
from privfed.secagg.parameters import SCHEMES
from privfed.secagg.schemes import Packed, ZeroEncryption, batched, packed, reference
from privfed.secagg.schemes.packed import PackedOpener
from tests.secagg.parties import (
    Arrays,
    Round,
    against,
    expected_mean,
    identities,
    parameters,
    updates,
)

SHAPES: dict[str, tuple[int, ...]] = {"w": (7, 5), "b": (5,)}
LONG: dict[str, tuple[int, ...]] = {"w": (100, 100), "b": (30,)}
INNER = secagg.generate_identity()
AGGREGATORS = (INNER.public, secagg.generate_identity().public)


def same(left: Arrays, right: Arrays) -> bool:
    return all(np.array_equal(left[name], right[name]) for name in right)


# Work ahead.


@pytest.mark.parametrize(
    ("scheme", "masks"),
    [*((scheme, False) for scheme in SCHEMES), ("packed", True), ("slots", True)],
)
def test_announced_seeds_give_the_same_result(scheme: str, masks: bool) -> None:
    params = parameters(3, SHAPES, scheme=scheme, adversary=against(masks))
    parties, sent = Round.of(params), updates(3, SHAPES)
    previous = b""
    for round_id in (1, 2):
        announced = [encryptor.announce(round_id) for encryptor in parties.encryptors]
        parties.decryptor.prepare(announced, round_id)
        result = parties.run(sent, [1, 2, 3], round_id, previous=previous)
        previous = result.transcript if masks else b""
        assert same(result.mean, expected_mean(params, sent, [1, 2, 3]))


def test_decrypting_after_announcements_expands_no_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    parties, sent = Round.of(parameters(3, SHAPES)), updates(3, SHAPES)
    parties.decryptor.prepare([each.announce(1) for each in parties.encryptors], 1)
    total = parties.total(parties.uploads(sent, [1, 2, 3]))
    monkeypatch.setattr(PackedOpener, "keystream", lambda *_: pytest.fail("expanded seeds again"))
    parties.decryptor.decrypt(total, 1)


def test_a_party_that_announced_and_dropped_out() -> None:
    parties, sent = Round.of(parameters(3, SHAPES)), updates(3, SHAPES)
    parties.decryptor.prepare([each.announce(1) for each in parties.encryptors], 1)
    total = parties.total(parties.uploads(sent, [1, 2, 3])[:2])
    result = parties.decryptor.decrypt(total, 1)
    assert same(result.mean, expected_mean(parties.params, sent[:2], [1, 2]))


def test_announcements_are_checked() -> None:
    parties = Round.of(parameters(3, SHAPES))
    first, second, _ = (each.announce(1) for each in parties.encryptors)
    prepare = parties.decryptor.prepare
    with pytest.raises(ReplayError):
        prepare([first, first], 1)
    with pytest.raises(ContextMismatchError):
        prepare([first], 2)
    for bad in (first[:-1], first + b"\0", b"", parties.uploads(updates(1, SHAPES), [1])[0]):
        with pytest.raises(DecodeError):
            prepare([bad], 1)
    for place in (140, 200, 250, 280, len(first) - 1):
        altered = bytearray(second)
        altered[place] ^= 1
        with pytest.raises(AuthenticationError):
            prepare([bytes(altered)], 1)


def test_an_announcement_is_no_upload_and_an_upload_is_no_announcement() -> None:
    """Signatures say what they are for: renaming the kind breaks them."""
    parties = Round.of(parameters(3, SHAPES))
    announced = bytearray(parties.encryptors[0].announce(1))
    announced[5] = wire.Kind.UPLOAD
    with pytest.raises((DecodeError, AuthenticationError)):
        secagg.Aggregator(parties.params, 1).add(bytes(announced))


@pytest.mark.parametrize("scheme", ["packed", "slots"])
def test_zeros_and_masks_made_ahead(scheme: str) -> None:
    params = parameters(3, SHAPES, scheme=scheme, adversary="lying-server+1")
    parties, sent = Round.of(params), updates(3, SHAPES)
    parties.encryptors[0].prepare(2, round_id=1)  # masks too
    parties.encryptors[1].prepare(3)  # zeros only
    assert [each.prepared for each in parties.encryptors] == [2, 3, 0]
    previous = b""
    for round_id in (1, 2, 3):
        result = parties.run(sent, [1, 2, 3], round_id, previous=previous)
        previous = result.transcript
        assert same(result.mean, expected_mean(params, sent, [1, 2, 3]))
    assert [each.prepared for each in parties.encryptors] == [0, 0, 0]
    with pytest.raises(ReplayError):
        parties.encryptors[0].prepare(1, round_id=3)


def test_a_prepared_zero_is_never_used_twice() -> None:
    parties = Round.of(parameters(3, SHAPES))
    encryptor, update = parties.encryptors[0], updates(1, SHAPES)[0]
    encryptor.prepare(1)
    [zeros] = encryptor._pool
    first = encryptor.encrypt(update, weight=1, round_id=1)
    assert zeros[0].words is None
    with pytest.raises(ReplayError):
        zeros[0].take()
    second = encryptor.encrypt(update, weight=1, round_id=2)
    assert first[334:398] != second[334:398]  # the seeds


# Masks.


def decrypted_alone(parties: Round, upload: bytes) -> np.ndarray:
    """What a key holder that taps one upload reads: its coefficients mod t."""
    scheme, packing = Packed(parties.params.packing, "seeds"), parties.params.packing
    part = parties.encryptors[0]._parts.all[0]
    body = memoryview(upload)[wire.PREFIX_BYTES + wire.ENTRY_BYTES :]
    split = scheme.seed_bytes(part.sealed)
    seeds, payload = bytes(body[:split]), body[split:]
    words = planes.decode(payload, scheme.words(part.sealed), packing.upload_bits)
    keystream = scheme.opener(parties.key).keystream([seeds], part.sealed)
    assert keystream is not None
    phase = rlwe.uncut(words, packing.upload_cut) + keystream
    return rlwe.scale_down(rlwe.reduce(phase), packing.plain_bits)[0]


def test_masks_hide_an_upload_from_another_key_holder() -> None:
    shapes, zero = {"w": (8000,)}, [{"w": np.zeros(8000)} for _ in range(3)]
    bare = Round.of(parameters(3, shapes, max_weight=None))
    read = decrypted_alone(bare, bare.uploads(zero)[0])
    assert not read[:3000].any()  # without masks: the update itself, here all zeros
    masked = Round.of(parameters(3, shapes, max_weight=None, adversary="lying-server+1"))
    read = decrypted_alone(masked, masked.uploads(zero)[0])
    plain_bits = masked.params.packing.plain_bits
    for bit in range(plain_bits):  # each bit of 4000 uniform words: half, within six deviations
        share = ((read >> np.uint64(bit)) & np.uint64(1)).mean()
        assert abs(share - 0.5) < 6 * 0.5 / len(read) ** 0.5
    assert len(np.unique(read)) > 0.99 * len(read)


@pytest.mark.parametrize("bits", [6, 8, 16, 24])
def test_of_a_masked_message_only_the_sum_mod_t_matters(bits: int) -> None:
    """Also its rounding: no residue of the message is left for a key holder to see.

    Two messages under two masks with one sum mod t, and the same zero: the same bytes.
    """
    chosen = parameters(3, SHAPES, bits=bits).packing
    scheme, rng = Packed(chosen, "seeds"), np.random.default_rng(0)
    words = rng.integers(0, MODULUS, scheme.words(500), np.uint64)
    key = secagg.SecretKey(bytes(32), bytes(32))
    mask = rng.integers(0, 2**chosen.plain_bits, len(words), np.uint64)
    values = rng.integers(-chosen.limit, chosen.limit, (2, 500), endpoint=True)
    shift = pack(values[0], chosen) - pack(values[1], chosen)
    masks = mask, (mask + shift) & np.uint64(2**chosen.plain_bits - 1)
    sealed = {
        scheme.sender(key).seal(ZeroEncryption(words.copy(), b"", mask=each), value)
        for each, value in zip(masks, values, strict=True)
    }
    assert len(sealed) == 1


def masks_of(parties: Round, place: int, of: rounds.RoundID) -> Masks:
    """A party's masks of a round."""
    found = parties.encryptors[place]._masks(of)
    assert found is not None
    return found


def test_masks_are_fresh_for_each_round_part_and_cohort() -> None:
    params = parameters(4, SHAPES, adversary="lying-server+1", noise_shares=True, max_weight=None)
    parties = Round.of(params)
    one, two, fewer = (
        rounds.RoundID.of(params, number, cohort)
        for number, cohort in ((1, None), (2, None), (1, (0, 1, 2)))
    )
    history = bytes(32)

    def agreed(of: rounds.RoundID, part: int, previous: bytes = history) -> bytes:
        return replace(parties.encryptors[0]._prefix(of, previous), part=part).to_bytes()

    first = masks_of(parties, 0, one).words(agreed(one, 0), 50, 2**39)
    assert np.array_equal(first, masks_of(parties, 0, one).words(agreed(one, 0), 50, 2**39))
    for of, name in (
        (two, agreed(two, 0)),
        (two, agreed(one, 0)),  # the round's key alone makes the difference
        (one, agreed(one, 1)),
        (one, agreed(one, 0, bytes(31) + b"x")),
        (fewer, agreed(fewer, 0)),
        (one, agreed(one, 0)[:-1] + b"x"),
    ):
        assert (first != masks_of(parties, 0, of).words(name, 50, 2**39)).sum() > 45


@pytest.mark.parametrize("modulus", [2**22, 2**39, 2**56, 549755731969, 2**22 - 3])
@pytest.mark.parametrize("cohort", [None, (0, 3, 4), (0, 1, 3, 4)])
def test_masks_of_a_cohort_cancel_and_of_fewer_do_not(
    modulus: int, cohort: tuple[int, ...] | None
) -> None:
    params = parameters(5, SHAPES, adversary="lying-server+1", noise_shares=True, max_weight=None)
    parties = Round.of(params)
    one = rounds.RoundID.of(params, 1, cohort)
    words = [
        masks_of(parties, place, one).words(b"name", 40_000, modulus)
        for place in cohort or range(5)
    ]
    assert max(each.max() for each in words) < modulus
    total = [sum(column) % modulus for column in zip(*(w.tolist() for w in words), strict=True)]
    assert not any(total)
    assert len(np.unique(words[0])) > 100


def test_masks_of_each_group_cancel() -> None:
    params = parameters(7, SHAPES, adversary="lying-server+1")
    parties, one = Round.of(params), rounds.RoundID.of(params, 1, None)
    words = [masks_of(parties, place, one).words(b"name", 500, 2**39) for place in range(7)]
    for group in params.groups:
        assert not (sum(words[place] for place in group) & np.uint64(2**39 - 1)).any()
    assert (sum(words[place] for place in range(3)) & np.uint64(2**39 - 1)).any()


def test_masks_need_a_cohort_that_is_one() -> None:
    parties = Round.of(
        parameters(4, SHAPES, adversary="lying-server+1", noise_shares=True, max_weight=None)
    )
    update = {name: np.zeros(shape, int) for name, shape in SHAPES.items()}
    for cohort in ([0, 1], [0, 1, 9], [1, 2, 3]):
        with pytest.raises(ConfigError, match=r"cohort"):
            parties.encryptors[0].encrypt_integers(update, round_id=1, cohort=cohort)
    with pytest.raises(ConfigError):
        secagg.Aggregator(parties.params, 1, cohort=[0, 1])


def test_after_a_dropout_the_same_round_is_not_sent_again() -> None:
    """Two sendings under masks of two cohorts differ by the missing party's mask."""
    parties = Round.of(
        parameters(4, SHAPES, adversary="lying-server+1", noise_shares=True, max_weight=None)
    )
    update = {name: np.zeros(shape, int) for name, shape in SHAPES.items()}
    parties.encryptors[0].encrypt_integers(update, round_id=1)
    with pytest.raises(ReplayError):
        parties.encryptors[0].encrypt_integers(update, round_id=1, cohort=[0, 1, 2])


@pytest.mark.parametrize("cohort", [(0, 1, 2), (0, 1, 2, 3, 4, 5, 6)])
def test_where_there_are_groups_no_cohort_is_named(cohort: tuple[int, ...]) -> None:
    parties = Round.of(parameters(7, SHAPES, adversary="lying-server+1"))
    for call in (
        lambda: parties.encryptors[0].encrypt(
            updates(1, SHAPES)[0], weight=1, round_id=1, cohort=cohort
        ),
        lambda: secagg.Aggregator(parties.params, 1, cohort),
    ):
        with pytest.raises(ConfigError, match="leave the cohort out"):
            call()


def test_a_mask_key_that_its_owner_did_not_sign_is_refused() -> None:
    first, second = (secagg.generate_identity().public for _ in range(2))
    with pytest.raises(AuthenticationError):
        secagg.PublicIdentity(first.verify_key, second.mask_key, second.mask_signature)


# Trees.


@pytest.mark.parametrize(
    "changes",
    [
        {"download": "seeds"},
        {"download": "summed"},
        {"download": "summed", "cover_c0": True},
        {"scheme": "slots"},
        {"adversary": "lying-server+1"},
        {"scheme": "slots", "adversary": "lying-server+1"},
    ],
    ids=str,
)
def test_a_tree_of_three_levels_gives_the_bytes_of_one_aggregator(changes: dict[str, Any]) -> None:
    params = parameters(9, SHAPES, aggregators=AGGREGATORS, **changes)
    parties, sent = Round.of(params), updates(9, SHAPES)
    weights = list(range(1, 10))
    uploads = parties.uploads(sent, weights)

    def node(uploads: Sequence[bytes], partials: Sequence[bytes] = ()) -> secagg.Aggregator:
        aggregator = secagg.Aggregator(params, 1, identity=INNER)
        for upload in uploads:
            aggregator.add(upload)
        for partial in partials:
            aggregator.add_partial(partial)
        return aggregator

    low = node(uploads[:3]).partial()
    middle = node(uploads[3:6], [low]).partial()
    root = node(uploads[6:], [middle])
    total = root.total()
    assert node([], [node(uploads[6:]).partial(), middle]).total() == total
    assert total == node(uploads).total()
    result = parties.decryptor.decrypt(total, 1)
    assert same(result.mean, expected_mean(params, sent, weights))


def test_partial_sums_are_checked_like_uploads() -> None:
    params = parameters(4, SHAPES, aggregators=AGGREGATORS)
    parties = Round.of(params)
    uploads = parties.uploads(updates(4, SHAPES), [1, 2, 3, 4])
    leaf = secagg.Aggregator(params, 1, identity=INNER)
    for upload in uploads[:2]:
        leaf.add(upload)
    partial = leaf.partial()
    root = secagg.Aggregator(params, 1)
    root.add_partial(partial)
    with pytest.raises(ReplayError):
        root.add_partial(partial)
    for again in uploads[:2]:
        with pytest.raises(ReplayError):
            root.add(again)
    for bad in (partial[:-1], partial + b"\0", partial[:140]):
        with pytest.raises(DecodeError):
            secagg.Aggregator(params, 1).add_partial(bad)
    forged = bytearray(partial)
    forged[140] ^= 1
    with pytest.raises(AuthenticationError):
        secagg.Aggregator(params, 1).add_partial(bytes(forged))
    with pytest.raises(DecodeError):
        parties.decryptor.decrypt(partial, 1)
    with pytest.raises(QuorumError):
        secagg.Aggregator(params, 1, identity=INNER).partial()
    with pytest.raises(ConfigError, match="identity"):
        root.partial()
    with pytest.raises(ConfigError, match="aggregators"):
        secagg.Aggregator(params, 1, identity=identities(1)[0])


def test_only_a_named_aggregator_hands_in_a_partial_sum() -> None:
    """A stranger, or a party, with an upload that it tapped, and its own signature."""
    params = parameters(4, SHAPES, aggregators=AGGREGATORS)
    parties = Round.of(params)
    uploads = parties.uploads(updates(4, SHAPES), [1, 2, 3, 4])
    leaf = secagg.Aggregator(params, 1, identity=INNER)
    leaf.add(uploads[0])
    honest = leaf.partial()
    inner = honest[: -wire.PARTIAL_END_BYTES]
    stranger = secagg.generate_identity()
    changed = bytearray(inner)
    changed[-1] ^= 0x55
    for place, data, by in (
        (0, inner, stranger),
        (1, inner, stranger),
        (9, inner, INNER),
        (0, bytes(changed), stranger),
    ):
        root = secagg.Aggregator(params, 1)
        with pytest.raises(AuthenticationError):
            root.add_partial(data + wire.signed_partial(data, place, by))
        with pytest.raises(AuthenticationError):
            root.add_partial(bytes(changed) + honest[-wire.PARTIAL_END_BYTES :])
        assert root.senders == ()
    root.add_partial(honest)


def test_a_partial_sum_holds_whole_groups() -> None:
    params = parameters(6, SHAPES, aggregators=AGGREGATORS, adversary="lying-server+1")
    parties = Round.of(params)
    uploads = parties.uploads(updates(6, SHAPES), [1, 2, 3, 4, 5, 6])
    leaf = secagg.Aggregator(params, 1, identity=INNER)
    for upload in uploads[1:]:
        leaf.add(upload)
    assert leaf.senders == tuple(party.id for party in params.roster[3:])
    loose = parameters(6, SHAPES, aggregators=AGGREGATORS)
    assert loose.groups == ()
    root = secagg.Aggregator(params, 1)
    root.add_partial(leaf.partial())
    leaf._whole[0].entries.update(leaf._waiting[0, 1, 2][0].entries)  # the planted fault
    with pytest.raises(QuorumError, match="without one of its parties"):
        secagg.Aggregator(params, 1).add_partial(leaf.partial())


RESERVED = {
    wire.Kind.REQUEST: "a request",
    wire.Kind.REPLY: "a reply",
    wire.Kind.RESULT: "a result",
    wire.Kind.EPOCH: "a message of an epoch",
}


@pytest.mark.parametrize("kind", RESERVED)
def test_a_kind_that_is_not_expected_is_refused_by_its_name(kind: wire.Kind) -> None:
    """Also those that nothing writes yet: of a later version with the same prefix."""
    parties = Round.of(parameters(3, SHAPES))
    uploads = parties.uploads(updates(3, SHAPES), [1, 2, 3])
    total = bytearray(parties.total(uploads))
    total[5] = kind
    aggregator = secagg.Aggregator(parties.params, 1)
    readers: list[Callable[[bytes], object]] = [
        aggregator.add,
        aggregator.add_partial,
        lambda data: parties.decryptor.decrypt(data, 1),
        lambda data: parties.decryptor.prepare([data], 1),
    ]
    for read in readers:
        with pytest.raises(DecodeError, match=f"and this is {RESERVED[kind]}"):
            read(bytes(total))
    aggregator.add(uploads[0])


def test_a_stranger_with_a_tapped_upload_hands_in_no_partial_sum() -> None:
    """Nor an upload in the place of one, nor one among uploads."""
    parties = Round.of(parameters(3, SHAPES, aggregators=AGGREGATORS))
    uploads = parties.uploads(updates(3, SHAPES), [1, 2, 3])
    leaf = secagg.Aggregator(parties.params, 1, identity=INNER)
    leaf.add(uploads[0])
    forged = bytearray(leaf.partial())
    forged[-1] ^= 0x55
    root = secagg.Aggregator(parties.params, 1)
    for wrong in (bytes(forged), uploads[1] + bytes(forged)):
        with pytest.raises(DecodeError, match="add_partial"):
            root.add(wrong)
    for wrong in (uploads[0], leaf.partial() + uploads[1]):
        with pytest.raises(DecodeError, match="expected is a partial sum"):
            root.add_partial(wrong)
    assert root.senders == ()
    for upload in uploads:
        root.add(upload)
    parties.decryptor.decrypt(root.total(), 1)


def test_a_partial_sum_with_words_past_the_modulus_does_no_harm() -> None:
    params = parameters(3, SHAPES, aggregators=AGGREGATORS)
    parties = Round.of(params)
    leaf = secagg.Aggregator(params, 1, identity=INNER)
    leaf.add(parties.uploads(updates(1, SHAPES), [1])[0])
    partial = bytearray(leaf.partial()[: -wire.PARTIAL_END_BYTES])
    accumulator: Any = leaf._whole[0].accumulator
    words = len(accumulator._c0)
    size = planes.size_bytes(words, MODULUS_BITS)
    partial[-size:] = b"\xff" * size
    root = secagg.Aggregator(params, 1, identity=INNER)
    root.add_partial(bytes(partial) + wire.signed_partial(bytes(partial), 0, INNER))
    body = root.partial()[: -wire.PARTIAL_END_BYTES][-size:]
    assert max(planes.decode(body, words, MODULUS_BITS)) < MODULUS


# Parts.


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of a few thousand values, so that small updates have several."""
    monkeypatch.setattr(packed, "_BLOCKS_PER_PART", 1)
    monkeypatch.setattr(batched, "_BLOCKS_PER_PART", 1)
    monkeypatch.setattr(reference.Reference, "values_per_part", 4000)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.usefixtures("small_parts")
def test_an_update_in_several_parts(scheme: str, streamed: bool) -> None:
    params = parameters(3, LONG, scheme=scheme, adversary=against(scheme in ("packed", "slots")))
    parties, sent = Round.of(params), updates(3, LONG)
    aggregator = secagg.Aggregator(params, 1)
    streams = [
        encryptor.encrypt_blocks(update, weight=weight, round_id=1)
        for encryptor, update, weight in zip(parties.encryptors, sent, [5, 6, 7], strict=True)
    ]
    if streamed:
        for row in zip(*streams, strict=True):  # parts of the parties arrive interleaved
            for part in row:
                aggregator.add(part)
        result = parties.decryptor.decrypt(aggregator.total_blocks(), 1)
    else:
        for stream in streams:
            aggregator.add(b"".join(stream))
        result = parties.decryptor.decrypt(aggregator.total(), 1)
    assert len(list(aggregator.total_blocks())) >= 2
    assert same(result.mean, expected_mean(params, sent, [5, 6, 7]))
    assert result.total_weight == 18


@pytest.mark.usefixtures("small_parts")
def test_a_party_that_sends_only_some_parts_fails_the_round() -> None:
    params = parameters(3, LONG, aggregators=AGGREGATORS)
    parties, sent = Round.of(params), updates(3, LONG)
    aggregator = secagg.Aggregator(params, 1, identity=INNER)
    for upload in parties.uploads(sent[:2], [1, 1]):
        aggregator.add(upload)
    stream = parties.encryptors[2].encrypt_blocks(sent[2], weight=1, round_id=1)
    aggregator.add(next(stream))
    for take in (aggregator.total, aggregator.partial):
        with pytest.raises(QuorumError, match="parts"):
            take()
    for part in stream:
        aggregator.add(part)
    aggregator.total()
    with pytest.raises(ReplayError, match="closed"):
        aggregator.add(b"")


@pytest.mark.usefixtures("small_parts")
def test_a_party_that_sends_only_some_parts_takes_its_group_along() -> None:
    params = parameters(6, LONG, adversary="lying-server+1")
    parties, sent = Round.of(params), updates(6, LONG)
    aggregator = secagg.Aggregator(params, 1)
    aggregator.add(next(parties.encryptors[0].encrypt_blocks(sent[0], weight=1, round_id=1)))
    for upload in [
        parties.encryptors[place].encrypt(sent[place], weight=1, round_id=1)
        for place in range(1, 6)
    ]:
        aggregator.add(upload)
    assert aggregator.waiting == tuple(party.id for party in params.roster[:3])
    result = parties.decryptor.decrypt(aggregator.total(), 1)
    assert result.senders == tuple(party.id for party in params.roster[3:])
    assert same(result.mean, expected_mean(params, sent[3:], [1, 1, 1]))


@pytest.mark.usefixtures("small_parts")
def test_parts_of_a_total_over_different_parties() -> None:
    params = parameters(3, LONG)
    parties, sent = Round.of(params), updates(3, LONG)
    uploads = parties.uploads(sent, [1, 2, 3])
    blocks = []
    for chosen in (uploads, uploads[:2]):
        aggregator = secagg.Aggregator(params, 1)
        for upload in chosen:
            aggregator.add(upload)
        blocks.append(list(aggregator.total_blocks()))
    mixed = blocks[0][:1] + blocks[1][1:]
    with pytest.raises(QuorumError, match="different parties"):
        parties.decryptor.decrypt(b"".join(mixed), 1)
    for bad in (blocks[0][1:], blocks[0][:-1], blocks[0][::-1], blocks[0] + blocks[0][:1]):
        with pytest.raises(DecodeError):
            parties.decryptor.decrypt(b"".join(bad), 1)
    parties.decryptor.decrypt(b"".join(blocks[0]), 1)


@pytest.mark.usefixtures("small_parts")
def test_nothing_of_a_message_is_added_if_a_later_part_is_bad() -> None:
    params = parameters(3, LONG)
    parties = Round.of(params)
    upload = parties.uploads(updates(1, LONG), [1])[0]
    aggregator = secagg.Aggregator(params, 1)
    bad = bytearray(upload)
    bad[-1] ^= 1
    with pytest.raises(AuthenticationError):
        aggregator.add(bytes(bad))
    aggregator.add(upload)
    assert len(aggregator.senders) == 1


def test_an_encrypted_update_too_many() -> None:
    with pytest.raises(CapacityError, match="fewer"):
        parameters(1024, SHAPES, bits=32, scheme="slots")
