"""One company's side: its rounds, transcript and results, in one process and in the next."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from privfed import secagg
from privfed.errors import (
    AuthenticationError,
    CapacityError,
    ConfigError,
    ContextMismatchError,
    DecodeError,
    ReplayError,
)
from privfed.secagg.schemes import packed
from privfed.secagg.schemes.packed import PackedOpener, PackedSender
from tests.secagg.parties import against, expected_mean, identities, updates
from tests.secagg.party_jobs import SHAPES, Job, arrays_of, mean_of, same

# Rounds and their chain.


def test_rounds_number_and_chain_themselves(tmp_path: Path) -> None:
    job, seen = Job(tmp_path / "state", adversary="lying-server"), list[bytes]()
    for round_id in (1, 2, 3):
        total, results = job.round(round_id)
        for party, result in zip(job.parties, results, strict=True):
            assert same(result.mean, expected_mean(job.params, job.sent))
            assert (party.round_id, party.transcript) == (round_id, result.transcript)
        assert total[68:100] == (seen[-1] if seen else bytes(32))  # each total names the one before
        seen.append(results[0].transcript)
    assert len(set(seen)) == 3
    assert job.record["transcript"] == seen[-1].hex()
    assert [party.id for party in job.parties] == [each.id for each in job.params.roster]


def test_parties_that_saw_other_totals_do_not_add_up_in_the_next_round(tmp_path: Path) -> None:
    job = Job(tmp_path / "state", count=4, adversary="lying-server")
    uploads = job.uploads()
    job.parties[0].open(job.total(uploads, 1))
    for party in job.parties[1:]:
        party.open(job.total(uploads[:2], 1))
    first, second, *_ = job.uploads()
    server = secagg.Aggregator(job.params, 2)
    server.add(first)
    with pytest.raises(ContextMismatchError, match="history"):
        server.add(second)


def test_a_party_that_missed_a_round_opens_its_total_late(tmp_path: Path) -> None:
    job = Job(tmp_path / "state", count=4, adversary="lying-server")
    late, others = job.parties[3], job.parties[:3]
    uploads = [party.encrypt(update) for party, update in zip(others, job.sent, strict=False)]
    missed = job.total(uploads, 1)  # over the first two: the third waits for the late one
    for party in others:
        party.open(missed)
    chained = [
        party.encrypt(update, round_id=2)
        for party, update in zip(job.parties, job.sent, strict=True)
    ]
    server = secagg.Aggregator(job.params, 2)
    for upload in chained[:3]:
        server.add(upload)
    with pytest.raises(ContextMismatchError, match="history"):
        server.add(chained[3])
    total = server.total()
    for party in others:
        party.open(total)
    with pytest.raises(ContextMismatchError, match="history"):
        late.open(total, round_id=2)
    for number, each in enumerate((missed, total), 1):
        late.open(each, round_id=number)
    assert late.transcript == others[0].transcript
    job.round(3)


def test_where_the_server_is_trusted_a_party_comes_back_without_what_it_missed(job: Job) -> None:
    total = job.total(job.uploads()[:2], 1)
    for party in job.parties[:2]:
        party.open(total)
    _, results = job.round(2)
    assert all(len(result.senders) == 3 for result in results)


def test_a_round_may_be_named_and_does_not_go_back(job: Job) -> None:
    job.parties[0].encrypt(job.sent[0], round_id=7)
    assert job.parties[0].round_id == 7
    for earlier in (6, 7):
        with pytest.raises(ReplayError, match="not after round 7"):
            job.parties[0].encrypt(job.sent[0], round_id=earlier)
    job.parties[0].encrypt(job.sent[0])
    assert job.parties[0].round_id == 8


def test_nothing_is_sent_by_what_is_refused(job: Job) -> None:
    wrong = {name: array * 100 for name, array in job.sent[0].items()}
    for update in (wrong, {}, {**job.sent[0], "more": np.zeros(1)}):
        with pytest.raises((ConfigError, CapacityError)):
            job.parties[0].encrypt(update)
    assert job.parties[0].round_id == 0
    job.round(1)


# Ahead.


@pytest.mark.parametrize("masks", [False, True])
def test_what_is_announced_is_used_and_expanded_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, masks: bool
) -> None:
    job = Job(tmp_path / "state", adversary=against(masks))
    for round_id in (1, 2):
        announced = [party.announce() for party in job.parties]
        for party in job.parties:
            party.expect(announced)
        seeds = [each[-64:] for each in announced]
        uploads = job.uploads()
        assert all(seed in upload for seed, upload in zip(seeds, uploads, strict=True))
        total = job.total(uploads, round_id)
        with monkeypatch.context() as patched:
            patched.setattr(
                PackedOpener, "keystream", lambda *_: pytest.fail("expanded seeds again")
            )
            results = [party.open(total) for party in job.parties]
        assert all(same(each.mean, expected_mean(job.params, job.sent)) for each in results)


def test_announcements_that_come_after_the_upload(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    announced = [party.announce() for party in job.parties]
    total = job.total(job.uploads(), 1)
    job.parties[0].expect(announced)  # the round that is sent and not opened
    monkeypatch.setattr(PackedOpener, "keystream", lambda *_: pytest.fail("expanded seeds again"))
    job.parties[0].open(total)


def test_announcements_of_more_parties_than_came(job: Job) -> None:
    announced = [party.announce() for party in job.parties]
    job.parties[0].expect(announced)
    uploads = [party.encrypt(each) for party, each in zip(job.parties[:2], job.sent, strict=False)]
    mean = job.parties[0].open(job.total(uploads, 1)).mean
    assert same(mean, expected_mean(job.params, job.sent[:2]))


def test_zeros_made_ahead_go_with_the_next_updates(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    job.parties[0].prepare(2)
    monkeypatch.setattr(PackedSender, "prepare", lambda *_: pytest.fail("made another zero"))
    for _ in range(2):
        job.parties[0].encrypt(job.sent[0])
    with pytest.raises(pytest.fail.Exception, match="another zero"):
        job.parties[0].encrypt(job.sent[0])


# A total is decrypted once.

SECOND_PROCESS = """
import pathlib, sys
import numpy as np
from privfed import secagg
folder = pathlib.Path(sys.argv[1])
params = secagg.Parameters.from_bytes((folder / "params").read_bytes())
key = secagg.SecretKey.load(folder / "key")
identity = secagg.Identity.load(folder / "identity")
with secagg.Party(params, key, identity, folder / "state") as party:
    secagg.Decryptor.decrypt = secagg.Decryptor.decrypt_sums = None  # nothing is decrypted again
    sums = sys.argv[2] == "sums"
    total = (folder / "total").read_bytes()
    again = party.open_sums(total) if sums else party.open(total)
    assert party.opened().transcript == again.transcript == party.transcript
    np.savez(folder / "again.npz", **(again.sums if sums else again.mean))
    print(party.round_id, party.transcript.hex(), *again.senders)
    print("" if sums else again.max_error)
"""


@pytest.mark.parametrize("kind", ["mean", "sums"])
def test_another_process_gets_the_result_that_was_kept(tmp_path: Path, kind: str) -> None:
    (tmp_path / "state").mkdir(mode=0o700)
    job = Job(tmp_path / "state")
    (tmp_path / "params").write_bytes(job.params.to_bytes())
    job.key.save(tmp_path / "key", unlocked=True)
    identities(1)[0].save(tmp_path / "identity", unlocked=True)
    if kind == "sums":
        job.sent = [{name: np.full(shape, 5) for name, shape in SHAPES.items()} for _ in range(3)]
        pairs = zip(job.parties, job.sent, strict=True)
        total = job.total([party.encrypt_integers(each) for party, each in pairs], 1)
        first: secagg.MeanResult | secagg.IntegerResult = job.parties[0].open_sums(total)
        arrays = arrays_of(first)
        assert all((array == 15).all() for array in arrays.values())
    else:
        total = job.total(job.uploads(), 1)
        first = job.parties[0].open(total)
        arrays = mean_of(first)
    (tmp_path / "total").write_bytes(total)
    job.parties[0].close()
    printed = subprocess.run(
        [sys.executable, "-c", SECOND_PROCESS, str(tmp_path), kind],
        check=True, capture_output=True, text=True,
    ).stdout.splitlines()  # fmt: skip
    assert printed[0].split() == ["1", first.transcript.hex(), *first.senders]
    if isinstance(first, secagg.MeanResult):
        assert float(printed[1]) == first.max_error
    with np.load(tmp_path / "again.npz") as again:
        assert same(again, arrays)
        assert all(again[name].dtype == arrays[name].dtype for name in arrays)
    with job.fresh() as party:
        assert party.round_id == 1
        party.encrypt(updates(1, SHAPES)[0])
        assert party.round_id == 2


def opening(
    party: secagg.Party, total: bytes | Iterator[bytes], kind: str
) -> secagg.MeanResult | secagg.IntegerResult:
    return party.open(total) if kind == "mean" else party.open_sums(total)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("kind", ["mean", "sums"])
def test_the_same_total_again_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, restart: bool, streamed: bool
) -> None:
    job = Job(tmp_path / "state")
    if kind == "sums":
        job.sent = [{name: np.full(shape, 5) for name, shape in SHAPES.items()} for _ in range(3)]
        pairs = zip(job.parties, job.sent, strict=True)
        uploads = [party.encrypt_integers(each) for party, each in pairs]
    else:
        uploads = job.uploads()
    server = secagg.Aggregator(job.params, 1)
    for upload in uploads:
        server.add(upload)
    total, other = server.total(), job.total(uploads[:2], 1)

    def given(total: bytes) -> bytes | Iterator[bytes]:
        return iter([total]) if streamed else total

    party = job.parties[0]
    first = opening(party, given(total), kind)
    if restart:
        party.close()
        party = job.fresh()
    before = job.record
    monkeypatch.setattr(PackedOpener, "open", lambda *_: pytest.fail("decrypted again"))
    for _ in range(2):
        again = opening(party, given(total), kind)
        assert again.transcript == first.transcript
        assert type(again) is type(first)
        assert same(arrays_of(again), arrays_of(first))
        assert party.opened().senders == party.opened(1).senders == first.senders
        with pytest.raises(ReplayError, match="another total of round 1"):
            opening(party, given(other), kind)
        with pytest.raises(ConfigError, match="opened as"):
            opening(party, given(total), "mean" if kind == "sums" else "sums")
        with pytest.raises(DecodeError):
            opening(party, given(total[:-1]), kind)
    with pytest.raises(ReplayError, match="round 2's result is not kept; round 1's is"):
        party.opened(2)
    assert job.record == before


def test_what_was_handed_out_may_be_changed(tmp_path: Path) -> None:
    """In-place arithmetic on a mean must not change what the next caller gets."""
    for folder in (None, tmp_path / "state"):
        job = Job(tmp_path / "other" if folder is None else folder)
        if folder is None:
            job.parties[0].close()
            job.parties[0] = job.party(0)
        total = job.total(job.uploads(), 1)
        for array in job.parties[0].open(total).mean.values():
            array *= 0
        for array in job.parties[0].open(total).mean.values():
            array *= 0
        assert same(mean_of(job.parties[0].opened()), expected_mean(job.params, job.sent))


def test_a_failed_round_leaves_the_one_before(job: Job) -> None:
    _, results = job.round(1)
    wrong = bytearray(job.total(job.uploads(), 2))
    wrong[-20] ^= 0xFF
    with pytest.raises(AuthenticationError, match="does not decrypt"):
        job.parties[0].open(bytes(wrong))
    assert len(job.record["failed"]) == 1
    assert job.parties[0].opened().transcript == results[0].transcript == job.parties[0].transcript
    with pytest.raises(ReplayError):
        job.parties[0].opened(2)
    with pytest.raises(ReplayError):
        job.parties[0].open(bytes(wrong))
    job.parties[0].close()
    with job.fresh() as again:
        assert same(mean_of(again.opened()), results[0].mean)


def test_a_round_opened_within_another_does_not_go_back(job: Job) -> None:
    """A stream of parts that opens a later round while it is read."""
    first = job.total(job.uploads(), 1)
    second = job.total(job.uploads(), 2)
    opened = []

    def parts() -> Iterator[bytes]:
        yield first
        opened.append(job.parties[0].open(second, round_id=2))

    with pytest.raises(ReplayError, match="meanwhile"):
        job.parties[0].open(parts(), round_id=1)
    assert job.parties[0].opened().transcript == opened[0].transcript == job.parties[0].transcript
    assert job.record["opened"] == 2


def test_updates_in_several_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "_BLOCKS_PER_PART", 1)
    monkeypatch.setitem(SHAPES, "w", (300, 100))
    job = Job(tmp_path / "state")
    server = secagg.Aggregator(job.params, 1)
    for upload in job.uploads():
        server.add(upload)
    blocks = list(server.total_blocks())
    assert len(blocks) > 1
    first = job.parties[0].open(iter(blocks))
    job.parties[0].close()
    with job.fresh() as again:
        for total in (iter(blocks), b"".join(blocks)):
            assert same(again.open(total).mean, first.mean)
        with pytest.raises(DecodeError):
            again.open(iter(blocks[:-1]))


# Cohorts.


def test_a_cohort_is_remembered_until_the_total_comes(tmp_path: Path) -> None:
    job = Job(tmp_path / "state", count=4, adversary="lying-server+1", noise_shares=True)
    cohort, integers = [0, 2, 3], {name: np.full(shape, 7) for name, shape in SHAPES.items()}
    uploads = [job.parties[place].encrypt_integers(integers, cohort=cohort) for place in cohort]
    total = job.total(uploads, 1, cohort)
    job.parties[0].close()
    with job.fresh() as again:
        assert all((array == 21).all() for array in again.open_sums(total).sums.values())
        assert job.record["cohort"] == cohort
    opened = job.parties[2].open_sums(total)
    assert opened.senders == tuple(job.params.roster[p].id for p in cohort)
    with pytest.raises(ConfigError, match="sent no round"):
        job.parties[1].open_sums(total)
    with pytest.raises(ContextMismatchError, match="cohort"):
        job.parties[1].open_sums(total, round_id=1)
    job.parties[1].open_sums(total, round_id=1, cohort=cohort)
