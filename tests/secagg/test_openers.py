"""Parties that open a total for all, and those that read what these pass on."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from privfed import secagg
from privfed.errors import (
    AuthenticationError,
    ConfigError,
    ContextMismatchError,
    DecodeError,
    PrivFedError,
    QuorumError,
    ReplayError,
)
from privfed.secagg import openers as openers_module
from privfed.secagg import wire
from privfed.secagg.openers import ResultReader, SumsFormat, opening_order
from privfed.secagg.parts import Parts
from privfed.secagg.rounds import UNCHAINED, RoundID
from tests.secagg.parties import Round, expected_mean, identities, parameters, updates
from tests.secagg.party_jobs import SHAPES, Job, mean_of, same

OPENER: dict[str, Any] = {"download": "opener"}
WAYS: dict[str, dict[str, Any]] = {
    "seeds": {},
    "summed": {"count": 32},
    "slots": {"scheme": "slots"},
    "ckks": {"scheme": "ckks", "adversary": "honest-server"},
    "reference": {"scheme": "reference", "adversary": "honest-server"},
}


class Server:
    """A round's server, which asks some parties to open its total."""

    def __init__(self, job: Job, uploads: Sequence[bytes], round_id: int = 1) -> None:
        self.job = job
        self.sum = secagg.Aggregator(job.params, round_id)
        for upload in uploads:
            self.sum.add(upload)
        self.total = self.sum.total()

    @property
    def asked(self) -> list[secagg.Party]:
        by_id = {party.id: party for party in self.job.parties}
        return [by_id[each] for each in self.sum.openers]

    def result(self) -> bytes:
        """The result, once as many parties as must have opened the total."""
        for party in self.asked[: self.job.params.openers]:
            party.open(self.total)
            self.sum.add_result(party.result())
        return self.sum.result()


def job(tmp_path: Path, count: int = 4, **changes: Any) -> Job:
    settings = {"adversary": "lying-server+1"} | OPENER | changes
    return Job(tmp_path / "state", count=count, **settings)


@pytest.mark.parametrize("way", WAYS)
def test_who_reads_has_what_who_opens_has(tmp_path: Path, way: str) -> None:
    changes = dict(WAYS[way])
    against = {"adversary": "lying-server"} if way == "slots" else {}
    there = job(tmp_path, changes.pop("count", 4), **against, **changes)
    for round_id in (1, 2):
        server = Server(there, there.uploads(), round_id)
        result = server.result()
        opened = [party.opened() for party in server.asked[: there.params.openers]]
        read = [party.open(result) for party in server.asked[there.params.openers :]]
        for each in (*opened, *read):
            assert same(mean_of(each), mean_of(read[0]))
            assert each.transcript == read[0].transcript
            assert each.senders == read[0].senders
        assert {each.max_error for each in read} == {
            each.max_error for each in opened if isinstance(each, secagg.MeanResult)
        }
        if way != "ckks":
            assert same(read[0].mean, expected_mean(there.params, there.sent))
        assert {party.transcript for party in there.parties} == {read[0].transcript}


@pytest.mark.parametrize("end", [-1.0, 1.0])
@pytest.mark.parametrize("way", ["seeds", "ckks"])
def test_sums_at_an_end_of_the_range_are_passed_on_too(
    tmp_path: Path, way: str, end: float
) -> None:
    """At 32 bits CKKS's own error is some steps of the grid, and would carry a sum past it."""
    there = job(tmp_path, bits=32, **WAYS[way])
    top = np.float32(end * there.params.clip_range)
    there.sent = [{name: np.full(shape, top) for name, shape in SHAPES.items()}] * 4
    server = Server(there, there.uploads())
    result = server.result()
    first, *_, last = server.asked
    assert same(last.open(result).mean, mean_of(first.opened()))
    assert {float(each) for each in mean_of(last.opened())["w"].ravel()} == {float(top)}


def test_integer_sums_are_passed_on_too(tmp_path: Path) -> None:
    there = job(tmp_path)
    integers = [
        {name: np.full(shape, place - 2, np.int64) for name, shape in SHAPES.items()}
        for place in range(4)
    ]
    pairs = zip(there.parties, integers, strict=True)
    server = Server(there, [party.encrypt_integers(each) for party, each in pairs])
    first, second, third, last = server.asked
    for party in (first, second):
        party.open_sums(server.total)
        server.sum.add_result(party.result())
    read = third.open_sums(server.sum.result())
    assert all((each == -2).all() for each in read.sums.values())
    with pytest.raises(ConfigError, match="integer sums"):
        third.open(server.sum.result())
    assert last.open_sums(server.total).transcript == read.transcript


def test_weights_travel_with_the_sums(tmp_path: Path) -> None:
    params = parameters(4, SHAPES, adversary="lying-server+1", **OPENER)
    there = Round.of(params)
    sent, weights = updates(4, SHAPES), [0, 5, 1024, 1]
    result, cost = there.average(sent, round_id=1, weights=weights)
    assert result.total_weight == 1030
    assert same(result.mean, expected_mean(params, sent, weights))
    assert cost.download_bytes == 2 * cost.total_bytes + 2 * cost.result_bytes
    assert tuple(cost.seconds) == ("encrypt", "aggregate", "decrypt", "read")


def test_a_party_opens_a_total_or_reads_its_result_but_keeps_one_history(tmp_path: Path) -> None:
    there = job(tmp_path)
    server = Server(there, there.uploads())
    result = server.result()
    asked = server.asked
    before = asked[0].opened()
    again = asked[0].open(result)  # the same round, as others tell it
    assert same(again.mean, mean_of(before))
    read = asked[3].open(result)
    assert same(asked[3].open(result).mean, read.mean)
    with pytest.raises(ReplayError, match="another total"):
        asked[3].open(server.total)
    assert asked[2].open([server.total]).transcript == read.transcript  # in parts; nobody must read
    server = Server(there, there.uploads(), 2)
    assert asked[3].open([server.result()]).senders == read.senders


def test_it_survives_the_process(tmp_path: Path) -> None:
    there = job(tmp_path)
    server = Server(there, there.uploads())
    for party in [each for each in there.parties if each is not there.parties[0]][:2]:
        party.open(server.total)
        server.sum.add_result(party.result())
    result = server.sum.result()
    first = there.parties[0].open(result)
    there.parties[0].close()
    with there.fresh() as after:
        assert same(mean_of(after.opened()), first.mean)
        assert same(after.open(result).mean, first.mean)
        with pytest.raises(ConfigError, match="opened no total"):
            after.result()


def test_a_silent_opener_costs_nothing_but_a_next_one(tmp_path: Path) -> None:
    there = job(tmp_path, 6)
    server = Server(there, there.uploads())
    silent, *next_ones = server.asked
    for party in next_ones[:1]:
        party.open(server.total)
        server.sum.add_result(party.result())
    with pytest.raises(QuorumError, match="next of the openers"):
        server.sum.result()
    next_ones[1].open(server.total)
    server.sum.add_result(next_ones[1].result())
    assert same(silent.open(server.sum.result()).mean, mean_of(next_ones[0].opened()))


def test_the_order_goes_round_with_the_rounds_and_the_history() -> None:
    places = range(40)
    first = [opening_order(number, UNCHAINED, places)[0] for number in range(200)]
    assert len(set(first)) > 30  # of 40; fewer have chance below 10^-6
    order = opening_order(7, UNCHAINED, places)
    assert sorted(order) == list(places)
    assert order != opening_order(7, bytes([1]) * 32, places)


def test_only_where_the_parameters_say_so(tmp_path: Path) -> None:
    there = job(tmp_path, download="seeds")
    there.parties[0].open(Server(there, there.uploads()).total)
    with pytest.raises(ConfigError, match="download='opener'"):
        there.parties[0].result()
    passing = job(tmp_path / "other")
    server = Server(passing, passing.uploads())
    result = server.result()
    with pytest.raises(DecodeError, match="a result that another party opened"):
        there.parties[1].open(result)


# A server that lies, and parties that help it.


def test_one_party_too_few_passes_nothing_off(tmp_path: Path) -> None:
    there = job(tmp_path)
    server = Server(there, there.uploads())
    party, _, victim, _ = server.asked
    party.open(server.total)
    alone = party.result()
    with pytest.raises(QuorumError, match="1 parties signed the result, and 2 must"):
        victim.open(alone)
    assert victim.opened_round == 0  # nothing is used up
    assert victim.open(server.total).senders


def forged(
    there: Job,
    place: int,
    senders: Sequence[int] | None = None,
    key: secagg.SecretKey | None = None,
    weight: int | None = None,
) -> bytes:
    """Sums of its own choice, which a party with the key seals and signs."""
    params = there.params
    parts = Parts(params)
    writer = openers_module.ResultWriter(parts, key or there.key)
    prefix = wire.Prefix(wire.Kind.TOTAL, params.scheme, params.fingerprint, there.key.id, 1, 0,
                         UNCHAINED, RoundID.of(params, 1, None).cohort_hash)  # fmt: skip
    flat = np.concatenate([each.ravel() for each in LIE.values()])
    if weight is not None:
        flat = np.concatenate([[weight], flat])
    for part in parts.all:
        writer.take(part, replace(prefix, part=part.index), flat[part.start : part.stop])
    who = range(len(params.roster)) if senders is None else senders
    return writer.signed(identities(place + 1)[place], place, who, bytes(32))


LIE = {name: np.full(shape, 9, np.int64) for name, shape in SHAPES.items()}


def test_a_party_that_helps_the_server_is_not_believed_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own signature, twice, or beside one that another party gave for other sums."""
    there = job(tmp_path)
    server = Server(there, there.uploads())
    helper, honest, victim, other = server.asked
    lie = forged(there, helper.place)
    honest.open(server.total)
    server.sum.add_result(lie)
    server.sum.add_result(lie)  # the same again counts once
    helper.open(server.total)
    with pytest.raises(ReplayError, match="two different results"):
        server.sum.add_result(helper.result())
    server.sum.add_result(honest.result())
    with pytest.raises(QuorumError):
        server.sum.result()
    at = wire.PREFIX_BYTES + wire.COUNT.size
    own, theirs = (each[at : at + wire.SIGNED_BYTES] for each in (lie, honest.result()))
    for second in (own, theirs, wire.COUNT.pack(victim.place) + own[2:]):
        made = bytearray(lie)
        made[wire.PREFIX_BYTES : at + wire.SIGNED_BYTES] = wire.COUNT.pack(2) + own + second
        with pytest.raises((ReplayError, AuthenticationError)):
            victim.open(bytes(made))
    assert victim.opened_round == 0
    # The planted fault: one signature is enough.
    monkeypatch.setattr(secagg.Parameters, "openers", property(lambda self: 1))
    assert (other.open(lie).mean["w"] != mean_of(honest.opened())["w"]).any()


def test_a_server_without_the_key_makes_no_result(tmp_path: Path) -> None:
    """Nobody else's key seals, and no bit of what was signed can change."""
    there = job(tmp_path, 2, adversary="lying-server")
    server = Server(there, there.uploads())
    victim, opener = there.parties
    opener.open(server.total)
    result = opener.result()
    for at in range(len(result)):
        changed = bytearray(result)
        changed[at] ^= 1 << (at % 8)
        with pytest.raises(PrivFedError):
            victim.open(bytes(changed))
    for cut in (0, 5, wire.PREFIX_BYTES, wire.PREFIX_BYTES + 1, len(result) - 1):
        with pytest.raises(PrivFedError):
            victim.open(result[:cut])
    with pytest.raises(PrivFedError):
        victim.open(result + b"\0")
    assert victim.opened_round == 0
    assert there.record["failed"] == []  # no key answered
    assert same(victim.open(result).mean, mean_of(opener.opened()))


def test_a_result_of_another_round_history_job_or_total(tmp_path: Path) -> None:
    there, elsewhere = job(tmp_path, 4), job(tmp_path / "other", 4, job="elsewhere")
    first = Server(there, there.uploads())
    result = first.result()
    for party in first.asked[2:]:
        party.open(result)
    second = Server(there, there.uploads(), 2)
    with pytest.raises(ContextMismatchError, match="another round"):
        there.parties[0].open(result, round_id=2)
    for party in first.asked[:2]:
        with pytest.raises(ContextMismatchError, match="another round"):
            second.sum.add_result(party.result())
    with pytest.raises(ContextMismatchError, match="other parameters"):
        elsewhere.parties[0].open(result, round_id=1)
    with pytest.raises(QuorumError, match="take it first"):
        secagg.Aggregator(there.params, 2).add_result(second.result())
    late = job(tmp_path / "late", 4)
    named = second.result()
    with pytest.raises(PrivFedError):  # another key, and a history that it does not have
        late.parties[0].open(named, round_id=2)


def test_two_totals_of_one_round_do_not_become_one_result(tmp_path: Path) -> None:
    """Of two groups and of one of them, each to one opener, and to a helper who signs both."""
    there = job(tmp_path, 9, adversary="lying-server+1")
    uploads = there.uploads()
    of_all = Server(there, uploads)
    of_some = secagg.Aggregator(there.params, 1)
    for upload in uploads[:6]:
        of_some.add(upload)
    some = of_some.total()
    there.parties[0].open(of_all.total)
    there.parties[1].open(some)
    of_all.sum.add_result(there.parties[0].result())
    with pytest.raises(ContextMismatchError, match="another total"):
        of_all.sum.add_result(there.parties[1].result())
    of_some.add_result(there.parties[1].result())
    for server in (of_all.sum, of_some):
        with pytest.raises(QuorumError):
            server.result()
    # What the server has of both tells it nothing: other keystreams, as nonces are synthetic.
    sums = 40 * 20 // 8
    one, other = (np.frombuffer(there.parties[at].result()[-sums:], np.uint8) for at in (0, 1))
    assert (one == other).mean() < 0.1  # 1 in 256 by chance; ten of a hundred have chance 10^-11


def spoilt(total: bytes) -> bytes:
    """A total that does not decrypt."""
    return total[:-40] + bytes(byte ^ 0xFF for byte in total[-40:-10]) + total[-10:]


def test_who_reads_hears_of_no_failures_and_who_opens_hears_of_all_before(tmp_path: Path) -> None:
    """So a server finds no party whose key it may ask again, by letting it read for some rounds."""
    there = job(tmp_path, 4, adversary="honest-server")
    reader = there.parties[0]
    for round_id in (1, 2, 3):
        server = Server(there, there.uploads(), round_id)
        victim = there.parties[round_id]
        with pytest.raises(AuthenticationError, match="does not decrypt"):
            victim.open(spoilt(server.total))
        opener = there.parties[round_id % 3 + 1]
        opener.open(server.total)
        server.sum.add_result(opener.result())
        reader.open(server.sum.result())
        assert there.record["failed"] == []
    server = Server(there, there.uploads(), 4)
    with pytest.raises(AuthenticationError, match="retired"):
        reader.open(server.total)
    assert len(there.record["failed"]) == 3


def in_parts(params: secagg.Parameters, result: bytes, signatures: int) -> list[bytes]:
    pieces, form = [], SumsFormat(params)
    for part in Parts(params).all:
        size = form.message_bytes(part, signatures)
        pieces.append(result[:size])
        result = result[size:]
    assert not result
    return pieces


def test_parts_of_a_result_are_of_one_total_and_one_signer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each part is signed as it should be, by an honest party: of all, and of one group."""
    monkeypatch.setattr("privfed.secagg.schemes.packed._BLOCKS_PER_PART", 1)
    params = parameters(4, {"w": (20_000,)}, adversary="lying-server", max_weight=None, **OPENER)
    key = secagg.generate_keys(params)
    parties = [secagg.Party(params, key, each, "memory") for each in identities(4)]
    sent = updates(4, {"w": (20_000,)})
    uploads = [party.encrypt(update) for party, update in zip(parties, sent, strict=True)]
    results, of_all = [], secagg.Aggregator(params, 1)
    for opener, some in zip(parties[:2], (uploads, uploads[:2]), strict=True):
        server = secagg.Aggregator(params, 1)
        for upload in some:
            server.add(upload)
        opener.open(server.total())
        results.append(in_parts(params, opener.result(), 1))
    whole, other = results
    assert len(whole) == 3
    for upload in uploads:
        of_all.add(upload)
    total = [of_all.total(), *of_all.total_blocks()][1:]
    reader, stopped = parties[2:]
    wrong: list[Sequence[bytes]] = [
        [whole[0], other[1], whole[2]],
        [whole[0], total[1], whole[2]],
        [whole[1], whole[0], whole[2]],
        [whole[0], *whole],
        whole[:2],
        [*whole, whole[2]],
    ]
    for pieces in wrong:
        with pytest.raises((ContextMismatchError, DecodeError)):
            reader.open(b"".join(pieces))
        with pytest.raises((ContextMismatchError, DecodeError)):
            stopped.open(pieces)
    assert (reader.opened_round, stopped.opened_round) == (0, 1)  # as with a total in parts
    with pytest.raises(ReplayError):
        stopped.open(total)
    wanted = expected_mean(params, sent)["w"]
    for party in (reader, stopped):
        assert np.array_equal(party.open(whole).mean["w"], wanted)
    second = secagg.Party(params, key, identities(4)[2], "memory")
    second.open(total, round_id=1)
    mixed = [whole[0], *in_parts(params, second.result(), 1)[1:]]
    with pytest.raises(AuthenticationError, match="different parties"):
        of_all.add_result(b"".join(mixed))


def test_under_a_retired_key_no_result_is_read_either(tmp_path: Path) -> None:
    there = job(tmp_path)
    victim = there.parties[0]
    for round_id in (1, 2, 3):
        server = Server(there, there.uploads(), round_id)
        with pytest.raises(AuthenticationError, match="decrypt"):
            victim.open(spoilt(server.total))
    others = [party for party in server.asked if party is not victim]
    for party in others[:2]:
        party.open(server.total)
        server.sum.add_result(party.result())
    with pytest.raises(AuthenticationError, match="retired"):
        victim.open(server.sum.result(), round_id=4)


def test_senders_who_make_no_round_are_refused_whoever_signed(tmp_path: Path) -> None:
    """Two that lie, where one was assumed, pass off their sums, and still no part of a group."""
    there = job(tmp_path, 6)
    reader = ResultReader(Parts(there.params), RoundID.of(there.params, 1, None),
                          there.key.id, (UNCHAINED,))  # fmt: skip
    results = openers_module.GatheredResults(there.params)
    for place in (0, 1):
        results.add(reader.whole([forged(there, place)]))
        for few in ([0, 1], [0, 1, 2, 3], []):
            with pytest.raises(QuorumError):
                list(reader.whole([forged(there, place, few)]))
    assert there.parties[5].open(results.joined(), round_id=1).mean["w"].any()


def test_what_only_a_party_that_lies_can_sign_is_refused_and_uses_nothing_up(
    tmp_path: Path,
) -> None:
    """Sums that the others cannot unseal, weights that no parties have, a signer from nowhere."""
    there = job(tmp_path, 2, adversary="lying-server", max_weight=1000)
    assert there.params.weight_digits == 1
    victim, liar = there.parties[0], 1
    sealed = forged(there, liar, key=secagg.SecretKey.generate(there.params.fingerprint), weight=1)
    with pytest.raises(AuthenticationError, match="holds no sums under this key"):
        victim.open(sealed, round_id=1)
    stranger = bytearray(forged(there, liar, weight=1))
    at = wire.PREFIX_BYTES + wire.COUNT.size
    stranger[at : at + 2] = wire.COUNT.pack(2)
    with pytest.raises(AuthenticationError, match="signer of the result is not on the roster"):
        victim.open(bytes(stranger), round_id=1)
    with pytest.raises(ConfigError, match="a result is bytes"):
        victim.open([forged(there, liar, weight=1), None], round_id=1)  # type: ignore[list-item]
    assert there.record["opened"] == 1  # in parts, the first one was read
    for weight in (2001, -1):
        other = job(tmp_path / str(weight), 2, adversary="lying-server", max_weight=1000)
        with pytest.raises(AuthenticationError, match="holds sums that no parties have"):
            other.parties[0].open(forged(other, liar, weight=weight), round_id=1)
        assert other.record["failed"] == []  # no key answered


def test_before_anybody_sent_nobody_is_asked() -> None:
    assert secagg.Aggregator(parameters(4, SHAPES, **OPENER), 1).openers == ()


# How sums travel.


@examples(max_examples=60, deadline=None)
@given(bits=st.integers(6, 24), shares=st.lists(st.floats(-1, 1), min_size=1, max_size=70))
def test_any_sum_comes_back(bits: int, shares: list[float]) -> None:
    params = parameters(11, {"w": (len(shares),)}, bits=bits, max_weight=None, scheme="reference")
    largest = params.packing.limit * 11
    sums = np.rint(np.array([*shares[1:], 1.0 if shares[0] > 0 else -1.0]) * largest)
    part, form = Parts(params).all[0], SumsFormat(params)
    data = form.to_bytes(sums.astype(np.int64))
    read = form.read(data, part)
    assert read is not None
    assert np.array_equal(read, sums)
    places = sorted({int(abs(each) * 10) for each in shares})
    assert form.senders(form.senders_to_bytes(places)) == tuple(places)
    assert form.message_bytes(part, 1) == wire.PREFIX_BYTES + 2 + 66 + 2 + 32 + 16 + len(data)


def test_words_past_the_largest_sum_are_no_sums() -> None:
    params = parameters(3, {"w": (9,)}, max_weight=None)
    form, part = SumsFormat(params), Parts(params).all[0]
    data = form.to_bytes(np.zeros(9, np.int64))
    assert form.read(b"\xff" * len(data), part) is None
    with pytest.raises(DecodeError, match="not on the roster"):
        form.senders(b"\xff")


def test_a_round_at_many_clients_is_read_at_less_than_float32() -> None:
    params = parameters(32, {"w": (300, 100)}, adversary="lying-server+1")
    there = Round.of(params)
    sent, weights = updates(32, {"w": (300, 100)}), list(range(1, 33))
    result, cost = there.average(sent, round_id=1, weights=weights)
    assert same(result.mean, expected_mean(params, sent, weights))
    assert cost.result_bytes < 0.72 * 120_000 < cost.total_bytes
