"""Encryptions of zero that another process makes: used once, bounded, and never missed."""

import gc
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from privfed import secagg
from privfed.errors import ConfigError, ReplayError
from privfed.he import MODULUS, RING_DEGREE, rlwe, seal
from privfed.secagg.ahead import Ahead, ZeroBlock
from privfed.secagg.rounds import RoundID
from tests.secagg.parties import Arrays, expected_mean, identities, parameters, updates
from tests.waiting import LONG_SECONDS

SEED = bytes(range(64))
BLOCKS = 8
BLOCK_BYTES = 8 * RING_DEGREE + 64
SHAPES: dict[str, tuple[int, ...]] = {"w": (8 * 8192 - 64,)}  # and tags: eight blocks at two lanes


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever machine this is: what is tested is not speed."""
    monkeypatch.setattr("privfed.secagg.ahead._cores", lambda: 2)


def started(blocks: int = BLOCKS, *, expands: bool = False, most_bytes: int = 1 << 24) -> Ahead:
    ahead = Ahead(SEED, blocks, expands=expands, most_bytes=most_bytes)
    ahead.start()
    ahead.settle()
    return ahead


def pid_of(ahead: Ahead | None) -> int:
    assert ahead is not None
    assert ahead.pid is not None
    return ahead.pid


def ended(process: int) -> None:
    """Wait for a process that is no child of this one."""
    try:
        handle = os.pidfd_open(process)
    except ProcessLookupError:
        return
    try:
        assert select.select([handle], [], [], LONG_SECONDS)[0]
    finally:
        os.close(handle)


def seeds_of(ahead: Ahead, rounds: int) -> list[bytes]:
    """The seeds of as many rounds, all of them made by the other process."""
    seeds = list[bytes]()
    for _ in range(rounds):
        ahead.settle()
        taken = ahead.take(BLOCKS)
        assert len(taken) == BLOCKS
        seeds += [each.seed for each in taken]
    return seeds


def check_distinct(seeds: Sequence[bytes]) -> None:
    assert len(set(seeds)) == len(seeds)


def noise_of(block: ZeroBlock) -> int:
    """The largest magnitude in what a block decrypts to."""
    multiplier = seal.KeyMultiplier(seal.drawn_key(SEED))
    expanded = seal.expand_sum([block.seed])
    if block.c1 is not None:
        assert np.array_equal(block.c1, seal.second_half(expanded))
        expanded = seal.from_second_half(block.c1)
    phase = rlwe.reduce(block.c0 + multiplier.product(expanded))
    return int(np.minimum(phase, np.uint64(MODULUS) - phase).max())


def test_no_zero_comes_twice_over_fifty_rounds_and_a_restart() -> None:
    first, second = started(), started()
    seeds = [*seeds_of(first, 50), *seeds_of(second, 2)]
    first.close()
    check_distinct([*seeds, *seeds_of(started(), 1)])


def test_a_process_that_hands_out_a_zero_twice_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    instead(
        tmp_path,
        monkeypatch,
        "from privfed.he import seal; from privfed.secagg import ahead\n"
        "made = seal.encrypt_zeros(seal.drawn_key(bytes(range(64))), 1)\n"
        "seal.encrypt_zeros = lambda key, blocks: made\n"
        "ahead.make_blocks()",
    )
    seeds = seeds_of(started(), 1)
    with pytest.raises(AssertionError):
        check_distinct(seeds)


@pytest.mark.parametrize("expands", [False, True])
def test_each_is_a_fresh_encryption_of_zero_under_the_key(expands: bool) -> None:
    taken = started(expands=expands).take(2)
    assert [each.c1 is not None for each in taken] == [expands] * 2
    assert all(0 < noise_of(each) < 32 for each in taken)


@pytest.mark.parametrize(
    ("most", "ready", "two"), [(20, 8, True), (16, 8, True), (15, 15, False), (5, 5, False)]
)
def test_memory_is_bounded(most: int, ready: int, two: bool) -> None:
    ahead = started(most_bytes=most * BLOCK_BYTES)
    assert (ahead.ready, ahead.fits_two) == (ready, two)
    assert len(ahead.take(3)) == 3
    ahead.settle()
    assert ahead.ready == ready


@pytest.mark.parametrize(
    ("blocks", "most_bytes"), [(BLOCKS - 1, 1 << 24), (BLOCKS, 0), (BLOCKS, BLOCK_BYTES - 1)]
)
def test_nothing_starts_where_there_is_little_to_make_or_no_room(
    blocks: int, most_bytes: int
) -> None:
    ahead = started(blocks, most_bytes=most_bytes)
    assert ahead.pid is None
    assert not ahead.take(1)


def test_nothing_starts_on_one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("privfed.secagg.ahead._cores", lambda: 1)
    assert started().pid is None


def instead(folder: Path, monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    """Let another program run in the place of the process, under this Python."""
    script, python = folder / "program.py", folder / "python"
    script.write_text(program)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{script}"\n')
    python.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(python))


@pytest.mark.parametrize(
    "program",
    [
        "raise SystemExit",
        "print('a line that some start-up file prints', flush=True); input()",
        "import os; os.write(1, bytes(1 << 20)); input()",
        "import os; from privfed.secagg import ahead\n"
        "os.write(1, ahead._hello(bytes(range(64))) + b'\\xff' * 65600); input()",
    ],
    ids=["ends", "prints", "zeros", "words past q"],
)
def test_what_another_program_says_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    instead(tmp_path, monkeypatch, program)
    ahead = started()
    assert ahead.pid is None
    assert not ahead.take(BLOCKS)


def test_a_pipe_that_closes_between_a_look_and_a_question_is_no_error() -> None:
    ahead = started()
    ahead._pipes[0].close()  # as the thread does that reads, once the process has ended
    assert len(ahead.take(1)) == 1
    assert ahead.pid is None


@pytest.mark.parametrize("python", ["", "/nowhere/python3", "/bin/uwsgi"])
def test_a_program_that_is_no_python_starts_none(
    monkeypatch: pytest.MonkeyPatch, python: str
) -> None:
    monkeypatch.setattr(sys, "executable", python)
    assert started().pid is None


def test_it_ends_when_closed_and_when_collected() -> None:
    ahead, dropped = started(), started()
    processes = pid_of(ahead), pid_of(dropped)
    ahead.close()
    assert (ahead.pid, ahead.ready) == (None, 0)
    del dropped
    gc.collect()
    for process in processes:  # waited for, so that not even a number is left
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)


def test_it_ends_with_a_parent_that_is_killed_though_a_fork_of_it_lives() -> None:
    program = (
        "import os, privfed.secagg.ahead as a; a._cores = lambda: 2\n"
        "ahead = a.Ahead(bytes(64), 8, expands=False); ahead.start(); ahead.settle()\n"
        "fork = os.fork()\n"
        "if fork: print(ahead.pid, fork, flush=True)\n"
        "input()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        process, fork = map(int, parent.stdout.readline().split())
        parent.kill()
        ended(process)
        os.kill(fork, signal.SIGKILL)  # it was there all the while


def test_a_fork_takes_none_and_leaves_its_parent_all() -> None:
    ahead = started()
    fork = os.fork()
    if not fork:
        os._exit(bool(ahead.take(1)) or ahead.ready)
    assert os.waitstatus_to_exitcode(os.waitpid(fork, 0)[1]) == 0
    assert len(seeds_of(ahead, 2)) == 2 * BLOCKS


def test_it_is_not_pickled_and_shows_nothing() -> None:
    ahead = Ahead(SEED, BLOCKS, expands=False)
    with pytest.raises(ReplayError):
        ahead.__reduce_ex__(4)
    assert SEED.hex() not in repr(vars(started()))


class Job:
    """Three parties with masks; the first keeps its state in a folder, and works ahead."""

    def __init__(self, folder: Path, **changes: object) -> None:
        self.params = parameters(
            3, SHAPES, max_weight=None, **{"adversary": "lying-server+1"} | changes
        )
        self._key, self._folder = secagg.generate_keys(self.params), folder
        self.first = self.party(0)
        self._others = [self.party(1), self.party(2)]
        self.sent: list[Arrays] = list(updates(3, SHAPES))
        if self.params.masks:
            parties = [self.first, *self._others]
            messages = [each.start_epoch() for each in parties]
            for each in parties:
                each.enter_epoch(messages)

    def party(self, place: int) -> secagg.Party:
        who = self.params, self._key, identities(3)[place]
        return secagg.Party(*who, "memory" if place else self._folder)

    def round(self, meanwhile: Callable[[], object] = lambda: None) -> bytes:
        """Run a round, whose mean must be right; return the first one's upload."""
        parties = [self.first, *self._others]
        server = secagg.Aggregator(self.params, self.first.round_id + 1)
        uploads = [each.encrypt(sent) for each, sent in zip(parties, self.sent, strict=True)]
        meanwhile()
        for upload in uploads:
            server.add(upload)
        total = server.total()
        wanted = expected_mean(self.params, self.sent)
        for each in parties:
            assert np.array_equal(each.open(total).mean["w"], wanted["w"])
        return uploads[0]

    @property
    def ahead(self) -> Ahead:
        found = self.first._encryptor.ahead
        assert found is not None
        return found


@pytest.mark.parametrize("download", ["seeds", "summed"])
def test_rounds_are_right_with_zeros_made_ahead(tmp_path: Path, download: str) -> None:
    job = Job(tmp_path, download=download)
    job.round()
    job.ahead.settle()
    before = [each.seed for each in job.ahead._inbox.blocks]
    job.round()  # takes them
    job.ahead.settle()
    upload = job.round()
    assert all(seed not in upload for seed in before)
    job.first.close()
    assert job.ahead.pid is None


def test_the_next_round_is_set_aside_with_its_masks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = Job(tmp_path)
    job.round()
    job.ahead.settle()
    job.round()
    assert job.first._encryptor.prepared == 1
    of, masked = RoundID.of(job.params, 3, None), list[object]()
    aside = job.first._encryptor._bound[of]
    assert aside.previous == job.first.transcript
    monkeypatch.setattr("privfed.secagg.schemes.ZeroEncryption.keep", masked.append)
    job.first.encrypt(job.sent[0])
    assert not masked
    assert all(zero.words is None for zero in aside.zeros)


def test_a_party_goes_on_where_the_process_is_killed(tmp_path: Path) -> None:
    job = Job(tmp_path)
    job.round()
    process = pid_of(job.ahead)
    job.round(lambda: os.kill(process, signal.SIGKILL))  # in the midst of making
    job.ahead.settle()
    assert job.ahead.pid is None
    job.round()
    job.round()


def test_a_fork_of_a_party_sends_nothing(tmp_path: Path) -> None:
    job = Job(tmp_path)
    job.round()
    job.ahead.settle()
    fork = os.fork()
    if not fork:
        try:
            job.first.encrypt(job.sent[0])
        except ReplayError:
            os._exit(0)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(fork, 0)[1]) == 0
    job.round()


def test_a_party_of_one_message_starts_no_process(tmp_path: Path) -> None:
    job = Job(tmp_path, adversary="honest-server")
    job.first.encrypt(job.sent[0])
    assert job.ahead.pid is None
    job.first.close()


@pytest.mark.parametrize("most", [-1, 1.5, "much", True])
def test_a_bound_is_a_number_of_bytes(tmp_path: Path, most: object) -> None:
    params = parameters(3, SHAPES, max_weight=None)
    with pytest.raises(ConfigError, match="ahead_bytes"):
        secagg.Party(
            params,
            secagg.generate_keys(params),
            identities(3)[0],
            tmp_path,
            ahead_bytes=most,  # type: ignore[arg-type]
        )


def test_a_simulation_takes_them_too() -> None:
    simulation = secagg.simulate(8, lambda roster: parameters(8, {"w": (5,)}, roster=roster))
    simulation.work_ahead()
    sent = updates(8, {"w": (5,)})
    for number in (1, 2, 3):
        simulation.prepare(number)
        shared = simulation.encryptors[0].ahead
        assert shared is not None
        shared.settle()
        assert (pid_of(shared), shared.ready) == (shared.pid, 8)
        result, _ = simulation.average(sent, round_id=number, weights=[1] * 8)
        wanted = expected_mean(simulation.params, sent, [1] * 8)
        assert np.array_equal(result.mean["w"], wanted["w"])
