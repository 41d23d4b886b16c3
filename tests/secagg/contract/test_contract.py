"""What every scheme does: one suite, run by each of them."""

import copy
import os
import pickle
from collections.abc import Callable
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
    PrecisionWarning,
    QuorumError,
    ReplayError,
)
from privfed.secagg import wire
from privfed.secagg.parameters import SCHEMES
from tests.secagg.parties import (
    DRESS_SHAPES,
    Arrays,
    Round,
    against,
    expected_mean,
    identities,
    parameters,
    updates,
)

REFUSALS = (DecodeError, ContextMismatchError, AuthenticationError, QuorumError, ReplayError)


@pytest.fixture(params=SCHEMES)
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["packed", "slots"])
def masking_scheme(request: pytest.FixtureRequest) -> str:
    """Schemes whose sums are exact mod t, so that masks cancel."""
    return str(request.param)


@pytest.fixture(
    params=[
        *((scheme, False) for scheme in SCHEMES),
        *((scheme, True) for scheme in ("packed", "slots")),
    ],
    ids=lambda case: f"{case[0]}-{'masks' if case[1] else 'plain'}",
)
def scheme_and_masks(request: pytest.FixtureRequest) -> tuple[str, bool]:
    scheme, masks = request.param
    return scheme, masks


def same(left: Arrays, right: Arrays) -> bool:
    return left.keys() == right.keys() and all(
        left[name].dtype == right[name].dtype and np.array_equal(left[name], right[name])
        for name in left
    )


@pytest.mark.parametrize("clients", [2, 3, 7])
@pytest.mark.parametrize("weighted", [False, True])
def test_mean_equals_the_sum_of_integers(
    scheme_and_masks: tuple[str, bool], clients: int, weighted: bool
) -> None:
    scheme, masks = scheme_and_masks
    if masks and clients == 2:
        pytest.skip("of two parties each has the other's update")
    weights = [100 + 7 * place for place in range(clients)] if weighted else None
    params = parameters(
        clients,
        DRESS_SHAPES,
        scheme=scheme,
        adversary=against(masks),
        max_weight=1024 if weighted else None,
    )
    sent = updates(clients, DRESS_SHAPES)
    result = Round.of(params).run(sent, weights)
    assert same(result.mean, expected_mean(params, sent, weights))
    assert result.total_weight == (sum(weights) if weights else None)
    assert result.senders == tuple(party.id for party in params.roster)
    for name in DRESS_SHAPES:
        shares = np.array(weights or [1] * clients, float)
        true = sum(w * u[name].astype(float) for w, u in zip(shares, sent, strict=True))
        error = np.abs(result.mean[name] - true / shares.sum()).max()
        assert error <= result.max_error * (1 + 1e-6)


def test_the_extremes_of_the_range_are_exact(scheme_and_masks: tuple[str, bool]) -> None:
    scheme, masks = scheme_and_masks
    params = parameters(3, {"w": (3,)}, scheme=scheme, adversary=against(masks), max_weight=None)
    top = np.float32(params.clip_range)
    sent = [{"w": np.array([top, -top, 0], np.float32)}] * 3
    mean = Round.of(params).run(sent).mean["w"]
    assert mean[2] == 0
    assert np.allclose(mean[:2], [0.05, -0.05], rtol=1e-7)


def test_rounds_chain_their_transcripts(scheme: str) -> None:
    parties, previous, seen = Round.of(parameters(scheme=scheme)), b"", set()
    sent = updates(3, {"w": (7, 5), "b": (5,)})
    for round_id in range(1, 4):
        previous = parties.run(sent, [1, 2, 3], round_id, previous=previous).transcript
        seen.add(previous)
    assert len(seen) == 3


def test_a_holder_that_saw_another_total_notices_in_the_next_round(masking_scheme: str) -> None:
    parties = Round.of(parameters(4, scheme=masking_scheme, adversary="lying-server"))
    other = secagg.Decryptor(parties.params, parties.key, "memory")
    sent = updates(4, {"w": (7, 5), "b": (5,)})
    uploads = parties.uploads(sent, [1, 2, 3, 4])
    all_of_them = parties.decryptor.decrypt(parties.total(uploads), 1)
    other.decrypt(parties.total(uploads[:2]), 1)
    uploads = parties.uploads(sent, [1, 2, 3, 4], 2, previous=all_of_them.transcript)
    total = parties.total(uploads, 2)
    with pytest.raises(ContextMismatchError, match="history"):
        other.decrypt(total, 2)
    parties.decryptor.decrypt(total, 2)


def test_no_round_begins_the_chain_anew(masking_scheme: str) -> None:
    parties = Round.of(parameters(2, scheme=masking_scheme, adversary="lying-server"))
    sent = updates(2, {"w": (7, 5), "b": (5,)})
    parties.run(sent, [1, 2])
    with pytest.raises(ContextMismatchError, match="history"):
        parties.run(sent, [1, 2], 2)


def test_some_of_the_parties_make_a_quorum(scheme: str) -> None:
    params = parameters(4, scheme=scheme)
    parties, sent = Round.of(params), updates(4, {"w": (7, 5), "b": (5,)})
    uploads = parties.uploads(sent, [5, 6, 7, 8])
    result = parties.decryptor.decrypt(parties.total([uploads[3], uploads[1]]), 1)
    assert result.senders == (params.roster[1].id, params.roster[3].id)
    assert same(result.mean, expected_mean(params, [sent[1], sent[3]], [6, 8]))


def test_too_few_parties(scheme: str) -> None:
    params = parameters(4, scheme=scheme, min_clients=3)
    parties = Round.of(params)
    uploads = parties.uploads(updates(2, {"w": (7, 5), "b": (5,)}), [1, 2])
    aggregator = secagg.Aggregator(params, 1)
    with pytest.raises(QuorumError):
        aggregator.total()
    for upload in uploads:
        aggregator.add(upload)
    with pytest.raises(QuorumError):
        aggregator.total()


def test_a_group_that_is_not_whole_is_left_out(masking_scheme: str) -> None:
    params = parameters(7, scheme=masking_scheme, adversary="lying-server+1")
    assert params.groups == ((0, 1, 2, 3), (4, 5, 6))
    parties, sent = Round.of(params), updates(7, {"w": (7, 5), "b": (5,)})
    uploads = parties.uploads(sent, [1, 2, 3, 4, 5, 6, 7])
    aggregator = secagg.Aggregator(params, 1)
    for place in (6, 1, 4, 0, 5, 3):
        aggregator.add(uploads[place])
    ids = [party.id for party in params.roster]
    assert aggregator.senders == tuple(ids[4:])
    assert aggregator.waiting == (ids[0], ids[1], ids[3])
    result = parties.decryptor.decrypt(aggregator.total(), 1)
    assert result.senders == tuple(ids[4:])
    assert same(result.mean, expected_mean(params, sent[4:], [5, 6, 7]))


def test_no_group_that_is_whole(masking_scheme: str) -> None:
    params = parameters(7, scheme=masking_scheme, adversary="lying-server+1")
    parties = Round.of(params)
    uploads = parties.uploads(updates(7, {"w": (7, 5), "b": (5,)}), [1, 2, 3, 4, 5, 6, 7])
    with pytest.raises(QuorumError, match="0 parties sent, 5 wait for others of their groups"):
        parties.total([*uploads[:3], *uploads[5:]])


def test_a_cohort_of_some_of_the_roster(masking_scheme: str) -> None:
    params = parameters(
        4, scheme=masking_scheme, adversary="lying-server+1", noise_shares=True, max_weight=None
    )
    parties, cohort = Round.of(params), [0, 1, 3]
    integers = [{"w": np.full((7, 5), place), "b": np.full(5, 3 * place)} for place in range(4)]
    aggregator = secagg.Aggregator(params, 1, cohort=cohort)
    for place in cohort:
        aggregator.add(
            parties.encryptors[place].encrypt_integers(integers[place], round_id=1, cohort=cohort)
        )
        if place != 3:
            with pytest.raises(QuorumError):
                aggregator.total()
    sums = parties.decryptor.decrypt_sums(aggregator.total(), 1, cohort=cohort).sums
    assert (sums["w"] == 4).all()
    assert (sums["b"] == 12).all()
    whole = parties.encryptors[2].encrypt_integers(integers[2], round_id=1)
    with pytest.raises(ContextMismatchError, match="cohort"):
        secagg.Aggregator(params, 1, cohort=cohort).add(whole)


def test_a_sender_counts_once(scheme: str) -> None:
    parties = Round.of(parameters(scheme=scheme))
    upload = parties.uploads(updates(1, {"w": (7, 5), "b": (5,)}), [1])[0]
    aggregator = secagg.Aggregator(parties.params, 1)
    aggregator.add(upload)
    with pytest.raises(ReplayError):
        aggregator.add(upload)
    assert len(aggregator.senders) == 1


def test_more_senders_than_the_sum_holds(scheme: str) -> None:
    params = parameters(2, scheme=scheme, roster=tuple(party.public for party in identities(3)))
    parties = Round.of(params)
    uploads = parties.uploads(updates(3, {"w": (7, 5), "b": (5,)}), [1, 2, 3])
    with pytest.raises(CapacityError):
        parties.total(uploads)


def test_a_round_is_sent_and_decrypted_once(scheme: str) -> None:
    parties, sent = Round.of(parameters(scheme=scheme)), updates(3, {"w": (7, 5), "b": (5,)})
    uploads = parties.uploads(sent, [1, 2, 3], 5)
    parties.decryptor.decrypt(parties.total(uploads, 5), 5)
    for round_id in (5, 4):
        with pytest.raises(ReplayError):
            parties.uploads(sent[:1], [1], round_id)
    with pytest.raises(ReplayError):
        parties.decryptor.decrypt(parties.total(uploads[:2], 5), 5)


def test_messages_of_another_round_key_or_job(scheme: str) -> None:
    params = parameters(scheme=scheme)
    parties, sent = Round.of(params), updates(3, {"w": (7, 5), "b": (5,)})
    uploads = parties.uploads(sent, [1, 2, 3])
    with pytest.raises(ContextMismatchError, match="another round"):
        secagg.Aggregator(params, 2).add(uploads[0])
    other_job = parameters(scheme=scheme, job="other")
    with pytest.raises(ContextMismatchError, match="other parameters"):
        secagg.Aggregator(other_job, 1).add(uploads[0])
    other_key = Round.of(params)
    aggregator = secagg.Aggregator(params, 1)
    aggregator.add(uploads[0])
    with pytest.raises(ContextMismatchError, match="another key"):
        aggregator.add(other_key.uploads(sent, [1, 2, 3])[1])
    with pytest.raises(ContextMismatchError, match="another key"):
        other_key.decryptor.decrypt(parties.total(uploads), 1)
    with pytest.raises(ContextMismatchError, match="another round"):
        parties.decryptor.decrypt(parties.total(uploads), 2)
    with pytest.raises(ContextMismatchError):
        secagg.Encryptor(other_job, parties.key, identities(1)[0], "memory")


@pytest.mark.parametrize("of", ["upload", "total"])
def test_truncated_extended_or_altered(scheme: str, of: str) -> None:
    parties = Round.of(parameters(scheme=scheme))
    uploads = parties.uploads(updates(3, {"w": (7, 5), "b": (5,)}), [1, 2, 3])
    good = uploads[0] if of == "upload" else parties.total(uploads)

    def read(data: bytes) -> dict[str, np.ndarray]:
        if of == "upload":
            secagg.Aggregator(parties.params, 1).add(data)
            return {}
        return secagg.Decryptor(parties.params, parties.key, "memory").decrypt(data, 1).mean

    honest = read(good)
    for bad in (b"", good[:10], good[:-1], good + b"\0", good[:200]):
        with pytest.raises(DecodeError):
            read(bad)
    accepted = 0
    for place in range(0, len(good), max(1, len(good) // 150)):
        altered = bytearray(good)
        altered[place] ^= 1 << (place % 8)
        try:
            # The low bits of an encrypted sum are noise: there a flip may change nothing.
            assert same(read(bytes(altered)), honest)
        except REFUSALS:
            continue
        accepted += 1
    assert accepted == 0 or (of == "total" and scheme in ("packed", "slots"))


def test_strangers(scheme: str) -> None:
    params = parameters(scheme=scheme)
    stranger = identities(4)[3]
    with pytest.raises(ConfigError, match="roster"):
        secagg.Encryptor(params, secagg.generate_keys(params), stranger, "memory")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers(scheme: str, bad: float) -> None:
    parties = Round.of(parameters(scheme=scheme, out_of_range="clip"))
    sent = updates(1, {"w": (7, 5), "b": (5,)})[0]
    sent["b"][3] = bad
    with pytest.raises(ConfigError, match="NaN or infinite"):
        parties.encryptors[0].encrypt(sent, weight=1, round_id=1)
    sent["b"][3] = 0
    parties.encryptors[0].encrypt(sent, weight=1, round_id=1)  # the refusal used nothing up


def test_values_past_the_range(scheme: str) -> None:
    sent = updates(3, {"w": (7, 5), "b": (5,)})
    sent[0]["b"][3] = 0.0501
    with pytest.raises(CapacityError, match=r"a value of 'b' is past its range of 0\.05: clip it"):
        Round.of(parameters(scheme=scheme)).uploads(sent, [1, 2, 3])
    params = parameters(scheme=scheme, out_of_range="clip", max_weight=None)
    with pytest.warns(PrecisionWarning, match="'b': 20 % of its values are clipped"):
        mean = Round.of(params).run(sent).mean
    clipped = [{name: np.clip(a, -0.05, 0.05) for name, a in each.items()} for each in sent]
    assert same(mean, expected_mean(params, clipped))


@pytest.mark.parametrize("weight", [-1, 1025, None, 1.5, True, "1"])
def test_weights_out_of_range(scheme: str, weight: Any) -> None:
    parties = Round.of(parameters(scheme=scheme))
    sent = updates(1, {"w": (7, 5), "b": (5,)})[0]
    with pytest.raises(ConfigError, match="weight"):
        parties.encryptors[0].encrypt(sent, weight=weight, round_id=1)


def test_no_weights_where_none_are_agreed(scheme: str) -> None:
    parties = Round.of(parameters(scheme=scheme, max_weight=None))
    sent = updates(1, {"w": (7, 5), "b": (5,)})[0]
    with pytest.raises(ConfigError, match="weight"):
        parties.encryptors[0].encrypt(sent, weight=3, round_id=1)


def test_a_party_of_weight_0_takes_part_and_nobody_sees_that_it_does_not_count(scheme: str) -> None:
    params = parameters(scheme=scheme, tolerance=1.0)
    parties, sent = Round.of(params), updates(3, {"w": (7, 5), "b": (5,)})
    uploads = parties.uploads(sent, [900, 0, 700])
    assert len({len(upload) for upload in uploads}) == 1
    result = parties.decryptor.decrypt(parties.total(uploads), 1)
    assert len(result.senders) == 3
    assert result.total_weight == 1600
    assert same(result.mean, expected_mean(params, sent, [900, 0, 700]))
    for name, mean in result.mean.items():
        exact = np.average([each[name] for each in sent], axis=0, weights=[900, 0, 700])
        assert np.abs(mean - exact).max() <= result.max_error * (1 + 1e-6)


def test_a_round_in_which_nobody_counts_says_so(scheme: str) -> None:
    parties, sent = Round.of(parameters(scheme=scheme)), updates(3, {"w": (7, 5), "b": (5,)})
    with pytest.raises(CapacityError, match=r"all weights are 0.*next round"):
        parties.run(sent, [0, 0, 0])
    assert parties.decryptor.failed == ()  # it decrypted: the key is none the worse
    assert parties.run(sent, [1024, 0, 1024], 2).total_weight == 2048


def test_weights_too_small_for_the_precision(scheme: str) -> None:
    params = parameters(scheme=scheme, max_weight=10**6, tolerance=0.01)
    parties, sent = Round.of(params), updates(3, {"w": (7, 5), "b": (5,)})
    with pytest.raises(CapacityError, match="max_weight"):
        parties.run(sent, [300, 300, 300])
    assert parties.run(sent, [300_000] * 3, 2).max_error < 0.01 * params.clip_range


@pytest.mark.parametrize(
    "change", [lambda u: u.pop("b"), lambda u: u.update(c=u["b"]), lambda u: u.update(b=u["w"])]
)
def test_arrays_outside_the_layout(
    scheme: str, change: Callable[[dict[str, np.ndarray]], object]
) -> None:
    parties = Round.of(parameters(scheme=scheme))
    sent = updates(1, {"w": (7, 5), "b": (5,)})[0]
    change(sent)
    with pytest.raises(ConfigError):
        parties.encryptors[0].encrypt(sent, weight=1, round_id=1)


def test_one_value_is_enough(scheme: str) -> None:
    params = parameters(2, {"w": ()}, scheme=scheme)
    sent = [{"w": np.float32(0.01)}, {"w": np.float32(0.03)}]
    mean = Round.of(params).run(sent, [1024, 1024]).mean["w"]
    assert mean.shape == ()
    assert abs(mean - 0.02) < 2e-6


def test_the_server_takes_no_secret(scheme: str) -> None:
    params = parameters(scheme=scheme)
    key = secagg.generate_keys(params)
    for secret in (key, identities(1)[0]):
        with pytest.raises(ConfigError, match="secret"):
            secagg.Aggregator(secret, 1)  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match="secret"):
            secagg.Aggregator(params, 1).add(secret)  # type: ignore[arg-type]
    with pytest.raises(DecodeError, match="secret"):
        secagg.Aggregator(params, 1).add(key.to_bytes())


def test_nothing_secret_is_shown_pickled_or_copied(scheme: str) -> None:
    parties = Round.of(parameters(scheme=scheme))
    secrets = [parties.key, parties.encryptors[0], parties.decryptor, identities(1)[0]]
    root = parties.key.to_bytes()[-32:].hex()
    for thing in secrets:
        assert root not in repr(thing)
        for copied in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises((ConfigError, ReplayError)):
                copied(thing)


def test_a_forked_encryptor_is_refused(scheme: str) -> None:
    parties = Round.of(parameters(scheme=scheme))
    sent = updates(1, {"w": (7, 5), "b": (5,)})[0]
    parties.encryptors[0].prepare(1)
    child = os.fork()
    if child == 0:
        try:
            parties.encryptors[0].encrypt(sent, weight=1, round_id=1)
        except ReplayError:
            os._exit(17)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 17


def test_lying_server_returns_one_client(scheme: str) -> None:
    parties = Round.of(parameters(scheme=scheme, min_clients=2))
    uploads = parties.uploads(updates(3, {"w": (7, 5), "b": (5,)}), [1, 2, 3])
    lax = secagg.Aggregator(parties.params, 1)
    lax.add(uploads[0])
    lone = next(iter(lax._sum_messages(wire.Kind.TOTAL)))  # noqa: SLF001  (a server that lies)
    with pytest.raises(QuorumError):
        parties.decryptor.decrypt(lone, 1)
