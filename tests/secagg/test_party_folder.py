"""A party's life: closed, copied, forked, moved; and its folder, private, damaged or another's."""

import contextlib
import copy
import os
import pickle
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from privfed import secagg
from privfed.errors import (
    AuthenticationError,
    ConfigError,
    DecodeError,
    ReplayError,
)
from tests.secagg.parties import identities, parameters, updates
from tests.secagg.party_jobs import SHAPES, Job, mean_of, same

# Lives and copies.


def test_a_closed_party_does_nothing(job: Job) -> None:
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
    assert party._encryptor.prepared == 0  # noqa: SLF001  (that it holds nothing more)
    assert not party._decryptor._prepared  # noqa: SLF001  (that it holds nothing more)
    job.fresh().close()


def test_a_party_is_not_copied(job: Job) -> None:
    for copied in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(ReplayError, match="not pickled or copied"):
            copied(job.parties[0])


def in_a_fork(act: Callable[[], object]) -> str:
    """Run `act` in a fork; return what it returned, or the name of what it raised."""
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


def test_a_fork_is_refused_and_leaves_the_lock_alone(job: Job) -> None:
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


def test_a_fork_made_while_another_thread_encrypts_does_not_hang(job: Job) -> None:
    """The lock that it has belongs to a thread that it has not."""
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with job.parties[0]._journal.alone():  # noqa: SLF001  (as a thread does)
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


def test_a_fork_that_lives_on_does_not_keep_the_folder(job: Job) -> None:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(writing)
        os.read(reading, 1)
        os._exit(0)
    try:
        job.parties[0].close()
        with job.fresh() as again:
            assert again.round_id == 0
    finally:
        os.close(writing)
        os.close(reading)
        os.waitpid(child, 0)


# The folder.


def test_the_folder_is_for_one_party_with_one_key(job: Job) -> None:
    job.parties[0].close()
    others: list[Callable[[], object]] = [
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


def test_a_result_left_by_another_key_is_none(job: Job) -> None:
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
def test_a_folder_that_others_may_write_to(job: Job, mode: int) -> None:
    job.parties[0].close()
    job.folder.chmod(mode)
    with pytest.raises(ConfigError, match="chmod 700"):
        job.fresh()
    job.folder.chmod(0o700)
    job.fresh().close()


def test_a_folder_that_is_none(tmp_path: Path) -> None:
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
            Job(folder)  # type: ignore[arg-type]


def test_files_are_private_and_none_is_left_over(job: Job) -> None:
    job.round(1)
    files = sorted(path.name for path in job.folder.iterdir())
    assert files == ["rounds.json", "rounds.json.lock", "rounds.opened"]
    assert job.folder.stat().st_mode & 0o777 == 0o700
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in job.folder.iterdir())


def test_a_party_stays_in_its_folder_wherever_its_program_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    job = Job(Path("state"))
    job.round(1)
    monkeypatch.chdir(tmp_path / "elsewhere")
    _, results = job.round(2)
    assert same(mean_of(job.parties[0].opened(2)), results[0].mean)
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
        lambda text: '{"owner": 5}',
        lambda text: text.replace('"failed": []', '"failures": 0'),
        lambda text: "[" * 100_000,
        lambda text: "\xff",
        lambda text: text.replace('"failed": []', '"failed": -1000'),
        lambda text: text.replace('"failed": []', '"failed": ["0123"]'),
        lambda text: text.replace('"failed": []', '"failed": [7]'),
        lambda text: text.replace('"failed": []', '"failed": "0123456789abcdef"'),
        lambda text: text.replace('"failed": []', '"failed": [], "more": 1'),
        lambda text: text.replace('"sent": 1', '"sent": -7'),
        lambda text: text.replace('"sent": 1', '"sent": 1e400'),
        lambda text: text.replace('"opened": 1', '"opened": 1.5'),
        lambda text: text.replace('"transcript": "', '"transcript": "00'),
        lambda text: text.replace('"cohort": null', '"cohort": [-1]'),
        lambda text: text.replace('"cohort": null', '"cohort": ["a"]'),
        lambda text: text.replace('"cohort": null', '"cohort": ""'),
        lambda text: text.replace('"cohort": null', '"cohort": {}'),
        lambda text: text.replace('"opening": false', '"opening": "zz"'),
        lambda text: text.replace('"opening": false', '"opening": null'),
        lambda text: text.replace('"total": "', '"total": "0'),
        lambda text: text.replace('"epoch": null', '"epoch": {}'),
        lambda text: text.replace('"starting": null', '"starting": {"first": 0, "sealed": "x"}'),
    ],
)
def test_a_damaged_record_is_named(job: Job, change: Callable[[str], str]) -> None:
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


def test_a_damaged_result_is_named_and_the_rounds_go_on(job: Job) -> None:
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
    assert same(mean_of(job.parties[0].opened(2)), results[0].mean)
    path.unlink()
    with pytest.raises(ReplayError, match="no round's result is kept"):
        job.parties[0].opened()
    path.symlink_to("/etc/passwd")
    with pytest.raises(ConfigError, match="cannot read"):
        job.parties[0].opened()


def test_a_party_of_a_keyring(tmp_path: Path) -> None:
    rings = [secagg.Keyring.create(tmp_path / name, unlocked=True) for name in "ab"]
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
        ).total()
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


def test_what_a_party_kept_under_a_retired_key_goes_with_it(tmp_path: Path) -> None:
    """Mask keys of rounds that were never sent, and the last mean in the clear."""
    rings = [secagg.Keyring.create(tmp_path / name, "words") for name in ("first", "second")]
    params = parameters(2, SHAPES, roster=tuple(ring.identity.public for ring in rings))
    first, second = rings
    sealed = first.make(params)[second.identity.public.id]
    second.accept(sealed, params)
    with secagg.Party.load(tmp_path / "second", "words") as party:
        old = tmp_path / "second" / "rounds" / second.current
        assert (old / "rounds.json").exists()
        second.accept(first.rotate()[second.identity.public.id], params)
        assert party.round_id == 0
        assert (old / "rounds.json").exists()  # in use
    with secagg.Party.load(tmp_path / "second", "words"):
        assert not old.exists()
        assert (tmp_path / "second" / "rounds" / second.current / "rounds.json").exists()
