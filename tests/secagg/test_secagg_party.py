"""One company's side: its rounds, transcript and results, in one process and in the next."""

import contextlib
import copy
import json
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from secagg_parties import expected_mean, identities, parameters, updates

from privfed import secagg
from privfed.errors import (
    AuthenticationError,
    CapacityError,
    ConfigError,
    ContextMismatchError,
    DecodeError,
    ReplayError,
)
from privfed.secagg.schemes import Packed, packed

SHAPES = {"w": (7, 5), "b": (5,)}


class Job:
    """The parties of one job; the first one keeps its state in a folder."""

    def __init__(self, folder, count=3, **changes):
        self.params = parameters(count, SHAPES, **{"max_weight": None} | changes)
        self.key, self.folder = secagg.generate_keys(self.params), folder
        self.sent = updates(count, SHAPES)
        self.parties = [self.fresh(), *(self.party(place) for place in range(1, count))]

    def party(self, place, state=None):
        return secagg.Party(self.params, self.key, identities(place + 1)[place], state)

    def fresh(self):
        """The first party as another process makes it, once this one's is closed."""
        return self.party(0, self.folder)

    def uploads(self, **more):
        pairs = zip(self.parties, self.sent, strict=True)
        return [party.encrypt(update, **more) for party, update in pairs]

    def total(self, uploads, round_id, cohort=None):
        server = secagg.Aggregator(
            secagg.Parameters.from_bytes(self.params.to_bytes()), round_id, cohort
        )
        for upload in uploads:
            server.add(upload)
        return server.total()

    def round(self, round_id):
        total = self.total(self.uploads(), round_id)
        return total, [party.open(total) for party in self.parties]

    @property
    def record(self):
        return json.loads((self.folder / "rounds.json").read_text())


@pytest.fixture
def job(tmp_path):
    return Job(tmp_path / "state")


def same(left, right):
    return left.keys() == right.keys() and all(
        np.array_equal(left[name], right[name]) for name in right
    )


# Rounds and their chain.


def test_rounds_number_and_chain_themselves(job):
    seen = []
    for round_id in (1, 2, 3):
        total, results = job.round(round_id)
        for party, result in zip(job.parties, results, strict=True):
            assert same(result.mean, expected_mean(job.params, job.sent))
            assert (party.round_id, party.transcript) == (round_id, result.transcript)
        seen.append(results[0].transcript)
    assert len(set(seen)) == 3
    assert total[64:96] != bytes(32)  # the third total names the second one
    assert job.record["transcript"] == seen[-1].hex()
    assert [party.id for party in job.parties] == [each.id for each in job.params.roster]


def test_parties_that_saw_other_totals_do_not_add_up_in_the_next_round(job):
    uploads = job.uploads()
    job.parties[0].open(job.total(uploads, 1))
    for party in job.parties[1:]:
        party.open(job.total(uploads[:2], 1))
    first, second, _ = job.uploads()
    server = secagg.Aggregator(job.params, 2)
    server.add(first)
    with pytest.raises(ContextMismatchError, match="history"):
        server.add(second)


def test_a_party_that_missed_a_round_comes_back_unchained(job):
    late, others = job.parties[2], job.parties[:2]
    uploads = [party.encrypt(update) for party, update in zip(others, job.sent, strict=False)]
    total = job.total(uploads, 1)
    for party in others:
        party.open(total)
    chained = [
        party.encrypt(update, round_id=2)
        for party, update in zip(job.parties, job.sent, strict=True)
    ]
    server = secagg.Aggregator(job.params, 2)
    for upload in chained[:2]:
        server.add(upload)
    with pytest.raises(ContextMismatchError, match="history"):
        server.add(chained[2])
    total = job.total(job.uploads(chained=False), 3)
    for party in job.parties:
        assert same(party.open(total).mean, expected_mean(job.params, job.sent))
    assert late.transcript == others[0].transcript
    job.round(4)


def test_a_round_may_be_named_and_does_not_go_back(job):
    job.parties[0].encrypt(job.sent[0], round_id=7)
    assert job.parties[0].round_id == 7
    for earlier in (6, 7):
        with pytest.raises(ReplayError, match="not after round 7"):
            job.parties[0].encrypt(job.sent[0], round_id=earlier)
    job.parties[0].encrypt(job.sent[0])
    assert job.parties[0].round_id == 8


def test_nothing_is_sent_by_what_is_refused(job):
    wrong = {name: array * 100 for name, array in job.sent[0].items()}
    for update in (wrong, {}, {**job.sent[0], "more": np.zeros(1)}):
        with pytest.raises((ConfigError, CapacityError)):
            job.parties[0].encrypt(update)
    assert job.parties[0].round_id == 0
    job.round(1)


# Ahead.


@pytest.mark.parametrize("masks", [False, True])
def test_what_is_announced_is_used_and_expanded_once(tmp_path, monkeypatch, masks):
    job = Job(tmp_path / "state", pairwise_masks=masks)
    for round_id in (1, 2):
        announced = [party.announce() for party in job.parties]
        for party in job.parties:
            party.expect(announced)
        seeds = [each[-64:] for each in announced]
        uploads = job.uploads()
        assert all(seed in upload for seed, upload in zip(seeds, uploads, strict=True))
        total = job.total(uploads, round_id)
        with monkeypatch.context() as patched:
            patched.setattr(Packed, "keystream", lambda *_: pytest.fail("expanded seeds again"))
            results = [party.open(total) for party in job.parties]
        assert all(same(each.mean, expected_mean(job.params, job.sent)) for each in results)


def test_announcements_that_come_after_the_upload(job, monkeypatch):
    announced = [party.announce() for party in job.parties]
    total = job.total(job.uploads(), 1)
    job.parties[0].expect(announced)  # the round that is sent and not opened
    monkeypatch.setattr(Packed, "keystream", lambda *_: pytest.fail("expanded seeds again"))
    job.parties[0].open(total)


def test_announcements_of_more_parties_than_came(job):
    announced = [party.announce() for party in job.parties]
    job.parties[0].expect(announced)
    uploads = [party.encrypt(each) for party, each in zip(job.parties[:2], job.sent, strict=False)]
    mean = job.parties[0].open(job.total(uploads, 1)).mean
    assert same(mean, expected_mean(job.params, job.sent[:2]))


def test_zeros_made_ahead_go_with_the_next_updates(job):
    job.parties[0].prepare(2)
    assert job.parties[0]._encryptor.prepared == 2
    job.round(1)
    job.round(2)
    assert job.parties[0]._encryptor.prepared == 0


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
def test_another_process_gets_the_result_that_was_kept(tmp_path, kind):
    (tmp_path / "state").mkdir(mode=0o700)
    job = Job(tmp_path / "state")
    (tmp_path / "params").write_bytes(job.params.to_bytes())
    job.key.save(tmp_path / "key")
    identities(1)[0].save(tmp_path / "identity")
    if kind == "sums":
        job.sent = [{name: np.full(shape, 5) for name, shape in SHAPES.items()} for _ in range(3)]
        pairs = zip(job.parties, job.sent, strict=True)
        total = job.total([party.encrypt_integers(each) for party, each in pairs], 1)
        first = job.parties[0].open_sums(total)
        arrays = first.sums
        assert all((array == 15).all() for array in arrays.values())
    else:
        total = job.total(job.uploads(), 1)
        first = job.parties[0].open(total)
        arrays = first.mean
    (tmp_path / "total").write_bytes(total)
    job.parties[0].close()
    printed = subprocess.run(
        [sys.executable, "-c", SECOND_PROCESS, str(tmp_path), kind],
        check=True, capture_output=True, text=True,
    ).stdout.splitlines()  # fmt: skip
    assert printed[0].split() == ["1", first.transcript.hex(), *first.senders]
    assert kind == "sums" or float(printed[1]) == first.max_error
    with np.load(tmp_path / "again.npz") as again:
        assert same(again, arrays)
        assert all(again[name].dtype == arrays[name].dtype for name in arrays)
    with job.fresh() as party:
        assert party.round_id == 1
        party.encrypt(updates(1, SHAPES)[0])
        assert party.round_id == 2


def opening(party, total, kind):
    return party.open(total) if kind == "mean" else party.open_sums(total)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("kind", ["mean", "sums"])
def test_the_same_total_again_and_no_other(tmp_path, monkeypatch, kind, restart, streamed):
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

    def given(total):
        return iter([total]) if streamed else total

    party = job.parties[0]
    first = opening(party, given(total), kind)
    if restart:
        party.close()
        party = job.fresh()
    before = job.record
    monkeypatch.setattr(Packed, "open", lambda *_: pytest.fail("decrypted again"))
    for _ in range(2):
        again = opening(party, given(total), kind)
        assert again.transcript == first.transcript
        arrays = first.mean if kind == "mean" else first.sums
        assert same(again.mean if kind == "mean" else again.sums, arrays)
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


def test_what_was_handed_out_may_be_changed(tmp_path):
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
        assert same(job.parties[0].opened().mean, expected_mean(job.params, job.sent))


def test_a_failed_round_leaves_the_one_before(job):
    _, results = job.round(1)
    wrong = bytearray(job.total(job.uploads(), 2))
    wrong[-20] ^= 0xFF
    with pytest.raises(AuthenticationError, match="does not decrypt"):
        job.parties[0].open(bytes(wrong))
    assert job.record["failures"] == 1
    assert job.parties[0].opened().transcript == results[0].transcript == job.parties[0].transcript
    with pytest.raises(ReplayError):
        job.parties[0].opened(2)
    with pytest.raises(ReplayError):
        job.parties[0].open(bytes(wrong))
    job.parties[0].close()
    with job.fresh() as again:
        assert same(again.opened().mean, results[0].mean)


def test_a_round_opened_within_another_does_not_go_back(job):
    """A stream of parts that opens a later round while it is read."""
    first = job.total(job.uploads(chained=False), 1)
    second = job.total(job.uploads(chained=False), 2)
    opened = []

    def parts():
        yield first
        opened.append(job.parties[0].open(second, round_id=2))

    with pytest.raises(ReplayError, match="meanwhile"):
        job.parties[0].open(parts(), round_id=1)
    assert job.parties[0].opened().transcript == opened[0].transcript == job.parties[0].transcript
    assert job.record["opened"] == 2


def test_updates_in_several_parts(tmp_path, monkeypatch):
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


def test_a_cohort_is_remembered_until_the_total_comes(tmp_path):
    job = Job(tmp_path / "state", count=4, pairwise_masks=True)
    cohort = [0, 2, 3]
    uploads = [job.parties[place].encrypt(job.sent[place], cohort=cohort) for place in cohort]
    total = job.total(uploads, 1, cohort)
    job.parties[0].close()
    with job.fresh() as again:
        assert same(
            again.open(total).mean, expected_mean(job.params, [job.sent[p] for p in cohort])
        )
        assert job.record["cohort"] == cohort
    assert job.parties[2].open(total).senders == tuple(job.params.roster[p].id for p in cohort)
    with pytest.raises(ConfigError, match="sent no round"):
        job.parties[1].open(total)
    with pytest.raises(ContextMismatchError, match="cohort"):
        job.parties[1].open(total, round_id=1)
    job.parties[1].open(total, round_id=1, cohort=cohort)
    for party in (job.parties[1], job.parties[2]):
        party.encrypt(job.sent[0], round_id=2)


# Lives and copies.


def test_a_closed_party_does_nothing(job):
    total, _ = job.round(1)
    with job.parties[0] as party:
        assert party is job.parties[0]
    party.close()
    for act in (
        party.prepare,
        party.announce,
        lambda: party.expect([]),
        lambda: party.encrypt(job.sent[0]),
        lambda: party.encrypt_integers(
            {name: np.ones(shape, int) for name, shape in SHAPES.items()}
        ),
        lambda: party.open(total),
        lambda: party.open_sums(total),
        party.opened,
    ):
        with pytest.raises(ConfigError, match="closed"):
            act()
    assert party._encryptor.prepared == 0
    assert not party._decryptor._prepared
    job.fresh().close()


def test_a_party_is_not_copied(job):
    for copied in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(ReplayError, match="not pickled or copied"):
            copied(job.parties[0])


def in_a_fork(act):
    """Run ``act`` in a fork; return what it returned, or the name of what it raised."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            answer = act()
        except BaseException as error:
            answer = type(error).__name__
        os.write(writing, str(answer).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        told = answer.read()
    os.waitpid(child, 0)
    return told


def test_a_fork_is_refused_and_leaves_the_lock_alone(job):
    total = job.total(job.uploads(), 1)
    party = job.parties[0]
    party.prepare()
    for act in (
        party.prepare, party.announce, party.opened, lambda: party.expect([]),
        lambda: party.encrypt(job.sent[0]), lambda: party.open(total),
        lambda: party.open_sums(total),
    ):  # fmt: skip
        assert in_a_fork(act) == "ReplayError"
    assert in_a_fork(party.close) == "None"
    with pytest.raises(ConfigError, match="in use"):  # the fork's close was its own
        job.fresh()
    party.open(total)


def test_a_fork_made_while_another_thread_encrypts_does_not_hang(job):
    """The lock that it has belongs to a thread that it has not."""
    held, done = threading.Event(), threading.Event()

    def hold():
        with job.parties[0]._journal.alone():
            held.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    try:
        party = job.parties[0]
        for act in (party.prepare, lambda: party.encrypt(job.sent[0]), party.opened):
            assert in_a_fork(act) == "ReplayError"
        assert in_a_fork(party.close) == "None"
    finally:
        done.set()
        thread.join()


def test_a_fork_that_lives_on_does_not_keep_the_folder(job):
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(writing)
        os.read(reading, 1)
        os._exit(0)
    try:
        job.parties[0].close()
        job.fresh().close()
    finally:
        os.close(writing)
        os.close(reading)
        os.waitpid(child, 0)


# The folder.


def test_the_folder_is_for_one_party_with_one_key(job):
    job.parties[0].close()
    others = [
        lambda: job.party(1, job.folder),
        lambda: secagg.Party(
            job.params, secagg.generate_keys(job.params), identities(1)[0], job.folder
        ),
        lambda: Job(job.folder, job="another"),
    ]
    for other in others:
        with pytest.raises(ConfigError, match="another key or role"):
            other()
    with job.fresh(), pytest.raises(ConfigError, match="in use"):
        job.fresh()
    job.fresh().close()  # none of them holds the lock


def test_a_result_left_by_another_key_is_none(job):
    """The files of a job that went before, of which only the record was deleted."""
    job.round(1)
    job.parties[0].close()
    (job.folder / "rounds.json").unlink()
    again = Job(job.folder)
    with pytest.raises(ReplayError, match="no round's result is kept"):
        again.parties[0].opened()
    wrong = bytearray(again.total(again.uploads(), 1))
    wrong[-20] ^= 0xFF
    with pytest.raises(AuthenticationError):
        again.parties[0].open(bytes(wrong))
    for asked in (None, 1):
        with pytest.raises(ReplayError, match="no round's result is kept"):
            again.parties[0].opened(asked)


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o720])
def test_a_folder_that_others_may_write_to(job, mode):
    job.parties[0].close()
    job.folder.chmod(mode)
    with pytest.raises(ConfigError, match="chmod 700"):
        job.fresh()
    job.folder.chmod(0o700)
    job.fresh().close()


def test_a_folder_that_is_none(tmp_path):
    (tmp_path / "file").write_text("x")
    for folder in (
        tmp_path / "file",
        tmp_path / "file" / "in",
        Path("a\0b"),
        str(tmp_path),
        b"x",
        5,
    ):
        with pytest.raises(ConfigError):
            Job(folder)


def test_files_are_private_and_none_is_left_over(job):
    job.round(1)
    files = sorted(path.name for path in job.folder.iterdir())
    assert files == ["rounds.json", "rounds.json.lock", "rounds.opened"]
    assert job.folder.stat().st_mode & 0o777 == 0o700
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in job.folder.iterdir())


def test_a_party_stays_in_its_folder_wherever_its_program_goes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    job = Job(Path("state"))
    job.round(1)
    monkeypatch.chdir(tmp_path / "elsewhere")
    _, results = job.round(2)
    assert same(job.parties[0].opened(2).mean, results[0].mean)
    job.parties[0].close()
    monkeypatch.chdir(tmp_path)
    assert list((tmp_path / "elsewhere").iterdir()) == []
    with job.fresh() as again:
        assert again.opened().transcript == results[0].transcript


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "",
        lambda text: text[:-3],
        lambda text: "[]",
        lambda text: "5",
        lambda text: '"last_round"',
        lambda text: '{"last_round": 1, "owner": 5}',
        lambda text: '{"last_round": 1}',
        lambda text: "[" * 100_000,
        lambda text: "\xff",
        lambda text: text.replace('"failures": 0', '"failures": -1000'),
        lambda text: text.replace('"failures": 0', '"failures": false'),
        lambda text: text.replace('"failures": 0', '"failures": "0"'),
        lambda text: text.replace('"failures": 0', '"failures": 0, "more": 1'),
        lambda text: text.replace('"sent": 1', '"sent": -7'),
        lambda text: text.replace('"sent": 1', '"sent": 1e400'),
        lambda text: text.replace('"opened": 1', '"opened": 1.5'),
        lambda text: text.replace('"transcript": "', '"transcript": "00'),
        lambda text: text.replace('"cohort": null', '"cohort": [-1]'),
        lambda text: text.replace('"cohort": null', '"cohort": ["a"]'),
        lambda text: text.replace('"cohort": null', '"cohort": ""'),
        lambda text: text.replace('"cohort": null', '"cohort": {}'),
        lambda text: text.replace('"opening": ""', '"opening": "zz"'),
        lambda text: text.replace('"opening": ""', '"opening": null'),
    ],
)
def test_a_damaged_record_is_named(job, change):
    job.round(1)
    job.parties[0].close()
    path = job.folder / "rounds.json"
    good = path.read_text()
    assert change(good) != good
    path.write_text(change(good), encoding="latin-1")
    for _ in range(2):  # and no lock is left
        with pytest.raises(ConfigError, match="no state file"):
            job.fresh()
    path.write_text(good)
    job.fresh().close()


def test_a_damaged_result_is_named_and_the_rounds_go_on(job):
    total, _ = job.round(1)
    path = job.folder / "rounds.opened"
    good = path.read_bytes()
    rng = np.random.default_rng(0)
    flipped = [bytearray(good) for _ in range(200)]
    for each in flipped:
        each[rng.integers(len(each))] ^= 1 << rng.integers(8)
    for wrong in (b"", b"\0" * 40, good[:-1], good + b"\0", good[32:], *map(bytes, flipped)):
        path.write_bytes(wrong)
        for act in (job.parties[0].opened, lambda: job.parties[0].open(total)):
            with pytest.raises(DecodeError, match=r"rounds\.opened is damaged.*delete it"):
                act()
    _, results = job.round(2)
    assert same(job.parties[0].opened(2).mean, results[0].mean)
    path.unlink()
    with pytest.raises(ReplayError, match="no round's result is kept"):
        job.parties[0].opened()
    path.symlink_to("/etc/passwd")
    with pytest.raises(ConfigError, match="cannot read"):
        job.parties[0].opened()


@pytest.mark.parametrize("role", ["encryptor", "decryptor"])
def test_state_files_from_before_one_record_held_both_roles(tmp_path, role):
    params = parameters(3, SHAPES, max_weight=None)
    key, path = secagg.generate_keys(params), tmp_path / "state"
    owner = f"{role}:{(params.fingerprint + key.id).hex()}"
    old = {"owner": owner, "last_round": 4, "transcript": "", "failures": 0}
    if role == "decryptor":
        old |= {"failures": 2, "transcript": "ab" * 32}
    path.write_text(json.dumps(old))
    update = updates(1, SHAPES)[0]
    if role == "encryptor":
        with secagg.Encryptor(params, key, identities(1)[0], path) as encryptor:
            with pytest.raises(ReplayError, match="not after round 4"):
                encryptor.encrypt(update, round_id=4)
            encryptor.encrypt(update, round_id=5)
        assert json.loads(path.read_text())["sent"] == 5
    else:
        with secagg.Decryptor(params, key, path) as decryptor:
            with pytest.raises(ReplayError, match="not after round 4"):
                decryptor.prepare([], 4)
            assert decryptor._journal.record.failures == 2
            assert decryptor._journal.record.transcript == "ab" * 32
    other = secagg.Decryptor if role == "encryptor" else secagg.Encryptor
    own = [identities(1)[0]] if role == "decryptor" else []
    with pytest.raises(ConfigError, match="another key or role"):
        other(params, key, *own, path)


def test_a_party_of_a_keyring(tmp_path):
    rings = [secagg.Keyring.create(tmp_path / name) for name in "ab"]
    params = parameters(2, SHAPES, roster=tuple(ring.identity.public for ring in rings))
    sealed = rings[0].make(params)
    rings[1].accept(sealed[rings[1].identity.public.id], params)
    sent = updates(2, SHAPES)
    with contextlib.ExitStack() as stack:
        parties = [stack.enter_context(secagg.Party.load(tmp_path / name)) for name in "ab"]
        total = secagg.simulation.serve(
            params,
            1,
            [p.encrypt(each, weight=1) for p, each in zip(parties, sent, strict=True)],
        )
        first = parties[0].open(total)
        with pytest.raises(ConfigError, match="in use"):
            secagg.Party.load(tmp_path / "a")
    with secagg.Party.load(tmp_path / "a") as again:
        assert same(again.open(total).mean, first.mean)
    rings[0].rotate()
    with secagg.Party.load(tmp_path / "a") as fresh:
        assert fresh.round_id == 0
    with pytest.raises(ConfigError, match="no keyring"):
        secagg.Party.load(tmp_path / "c")
