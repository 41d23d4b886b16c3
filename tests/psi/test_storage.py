"""What is written, and what never is: real links, pipes, devices and full disks."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from psi import ConfigError, TagStore
from psi.ledger import Ledger
from psi.network.certificates import create_identity
from psi.storage import (
    Record,
    check_place,
    read_secret,
    read_whole,
    same_file,
    whole_file,
    write_new,
)
from psi.tables.files import write_table
from tests.waiting import LONG_SECONDS

LEFT = "ID,colour\n3,red\n1,green\n2,blue\n"
RIGHT = "ID,price\n2,10\n3,20\n9,30\n"
JOINED = "ID,colour,price\n3,red,20\n2,blue,10\n"
COMMAND = "import psi.cli; psi.cli.main()"
TEN_BYTES_LEFT = """
import resource, psi.tables.files
write = psi.tables.files.write_table
def write_limited(*given, **more):
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
    write(*given, **more)
psi.tables.files.write_table = write_limited
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.csv").write_text(LEFT)
    (tmp_path / "b.csv").write_text(RIGHT)
    return tmp_path


def psi_command(
    folder: Path, *arguments: str, before: str = "", stdout: int = subprocess.PIPE
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", before + COMMAND, *arguments],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        cwd=folder,
        # A process that may write no file cannot write down what it covered.
        env={name: value for name, value in os.environ.items() if "COVERAGE" not in name},
    )


def align(folder: Path, *options: str, **how: object) -> subprocess.CompletedProcess[str]:
    return psi_command(folder, "align", "a.csv", "b.csv", "--on", "ID", *options, **how)  # type: ignore[arg-type]


def refused(done: subprocess.CompletedProcess[str], words: str) -> None:
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


NAMES: dict[str, Callable[[Path], object]] = {
    "b.csv": lambda folder: None,
    "./../{name}/b.csv": lambda folder: None,
    "symbolic.csv": lambda folder: (folder / "symbolic.csv").symlink_to("b.csv"),
    "hard.csv": lambda folder: (folder / "hard.csv").hardlink_to(folder / "b.csv"),
}


@pytest.mark.parametrize("name", NAMES)
def test_the_input_is_never_replaced_by_any_name(folder: Path, name: str) -> None:
    NAMES[name](folder)
    out = name.format(name=folder.name)
    refused(align(folder, "--out", out, "--force"), "read or kept here and not replaced")
    assert (folder / "b.csv").read_text() == RIGHT


def test_a_file_that_is_there_stays_unless_forced_and_keeps_its_mode(folder: Path) -> None:
    out = folder / "out.csv"
    out.write_text("before")
    out.chmod(0o600)
    refused(align(folder, "--out", "out.csv"), "replace it with --force")
    assert out.read_text() == "before"
    assert align(folder, "--out", "out.csv", "--force").returncode == 0
    assert out.read_text() == JOINED
    assert out.stat().st_mode & 0o777 == 0o600


def test_a_symbolic_link_is_followed_and_stays(folder: Path) -> None:
    (folder / "there").mkdir()
    out, target = folder / "out.csv", folder / "there" / "target.csv"
    out.symlink_to(target)
    assert align(folder, "--out", "out.csv").returncode == 0
    assert out.is_symlink()
    assert target.read_text() == JOINED
    refused(align(folder, "--out", "out.csv"), "exists")


@pytest.mark.parametrize("name", ["fifo.csv", "fifo.parquet"])
def test_a_fifo_is_written_through(folder: Path, name: str) -> None:
    fifo = folder / name
    os.mkfifo(fifo)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(fifo.read_bytes()))
    reader.start()
    assert align(folder, "--out", name).returncode == 0
    reader.join()
    assert fifo.is_fifo()
    if name.endswith(".csv"):
        assert read == [JOINED.encode()]
    else:
        (folder / "read.parquet").write_bytes(read[0])
        table = pq.read_table(folder / "read.parquet")
        assert table.to_pydict()["price"] == ["20", "10"]


def test_devices_are_written_through_and_stay(folder: Path) -> None:
    null = Path("/dev/null").stat()
    assert align(folder, "--out", "/dev/null").returncode == 0
    assert os.path.samestat(Path("/dev/null").stat(), null)
    assert align(folder, "--out", "/dev/stdout").stdout == JOINED
    done = align(folder, "--out", "/dev/full")
    refused(done, "No space left on device")


def test_standard_output_that_goes_to_a_file_is_added_to(folder: Path) -> None:
    with (folder / "log").open("w") as log:
        log.write("before\n")
        log.flush()
        done = align(folder, "--out", "/dev/stdout", stdout=log.fileno())
    assert done.returncode == 0
    assert (folder / "log").read_text() == "before\n" + JOINED


def test_folders_are_refused(folder: Path) -> None:
    refused(align(folder, "--out", ".", "--force"), "name a file")


@pytest.mark.parametrize("there", [None, "before"])
def test_a_disk_that_fills_up_leaves_what_was_there(folder: Path, there: str | None) -> None:
    """The process may not write more than ten bytes to a file, as on a disk with so much left."""
    out = folder / "out.csv"
    if there is not None:
        out.write_text(there)
    done = align(folder, "--out", "out.csv", "--force", before=TEN_BYTES_LEFT)
    refused(done, "out.csv cannot be written (File too large): what was there stays")
    assert sorted(path.name for path in folder.iterdir() if path != out) == ["a.csv", "b.csv"]
    assert (out.read_text() if out.exists() else None) == there


def test_too_little_room_is_told_before_the_work(tmp_path: Path) -> None:
    check_place(tmp_path / "out.csv", room_bytes=1)
    with pytest.raises(ConfigError, match="make room, or choose another folder"):
        check_place(tmp_path / "out.csv", room_bytes=1 << 62)


@pytest.mark.parametrize("early", [True, False])
def test_a_file_that_appears_meanwhile_stays_and_so_does_the_result(
    tmp_path: Path, early: bool
) -> None:
    out = tmp_path / "out.csv"
    check_place(out)

    def raced() -> None:
        if early:
            out.write_text("another's")
        with whole_file(out) as file:
            file.write(b"result")
            out.write_text("another's")

    with pytest.raises(ConfigError, match="is there by now") as error:
        raced()
    assert out.read_text() == "another's"
    assert Path(str(error.value).rpartition(" file is ")[2]).read_bytes() == b"result"


def test_the_longest_name_can_be_written(tmp_path: Path) -> None:
    out = tmp_path / ("x" * 255)
    check_place(out)
    write_table(out, {"a": [1]})
    assert out.read_text() == "a\n1\n"


def test_names_of_a_file_that_is_not_there_yet(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("new")
    assert same_file(tmp_path / "new", tmp_path / "x" / ".." / "new")
    assert same_file(tmp_path / "link", tmp_path / "new")
    assert not same_file(tmp_path / "new", tmp_path / "other")


def test_a_write_new_is_new_and_its_mode_the_one_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "key"
    write_new(path, b"secret", mode=0o600)
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(ConfigError, match="never written over"):
        write_new(path, b"other")
    assert path.read_bytes() == b"secret"


def test_half_an_identity_is_none(tmp_path: Path) -> None:
    (tmp_path / "carol.crt").write_text("another's")
    with pytest.raises(ConfigError, match=r"carol\.crt exists"):
        create_identity(tmp_path / "carol", unlocked=True)
    assert [path.name for path in tmp_path.iterdir()] == ["carol.crt"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--out", "b.csv", "--force"], "not replaced"),
        (["--out", "alice.key", "--force"], "not replaced"),
        (["--out", "bob.crt", "--force"], "not replaced"),
        (["--out", "ledger", "--ledger", "ledger", "--sessions-a-peer", "1"], "not replaced"),
        (["--out", "there.csv"], "--force"),
        (["--keep", "b.csv"], "not replaced"),
        (["--keep", "alice.key"], "not replaced"),
        (["--out", "kept", "--keep", "kept"], "not replaced"),
        (["--keep", "there.csv"], "holds no tags of an earlier request"),
    ],
)
def test_a_session_does_not_begin(folder: Path, options: list[str], words: str) -> None:
    create_identity(folder / "alice", unlocked=True)
    create_identity(folder / "bob", unlocked=True)
    (folder / "there.csv").write_text("before")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    join = ["join", "b.csv", "127.0.0.1:1", "--on", "ID", "--identity", "alice"]
    asking = ["--learn", "unbalanced", "--result", "join"]
    refused(psi_command(folder, *join, "--peer", "bob.crt", *asking, *options), words)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_store_is_replaced_and_nothing_beside_it(folder: Path) -> None:
    (folder / "link").symlink_to("store")
    publish = ["publish", "a.csv", "--on", "ID", "--store"]
    assert psi_command(folder, *publish, "store").returncode == 0
    refused(psi_command(folder, *publish, "store"), "exists")
    refused(psi_command(folder, *publish, "a.csv", "--replace"), "exists")
    before = TagStore(folder / "store").public_key
    assert psi_command(folder, *publish, "link", "--replace").returncode == 0
    assert (folder / "link").is_symlink()
    assert TagStore(folder / "store").public_key != before
    for name in ("keys.csv", "used-cars.csv", "tags.txt", "terms.json.old"):
        (folder / "store" / name).write_text("precious")
        refused(psi_command(folder, *publish, "store", "--replace"), f"holds {name} beside")
        (folder / "store" / name).unlink()
    (folder / "store" / "a.csv").write_text(LEFT)
    inside = ["publish", "store/a.csv", "--on", "ID", "--store", "store", "--replace"]
    refused(psi_command(folder, *inside), "holds a.csv beside a store")
    assert (folder / "store" / "a.csv").read_text() == LEFT


def test_a_disk_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    write_table(tmp_path / "out.csv", {"a": [1]})
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]


def test_an_interrupt_between_two_stores_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = TagStore.create(tmp_path / "store", [b"a"])
    rename = Path.rename

    def interrupted(self: Path, target: Path) -> Path:
        if target == tmp_path / "store":
            monkeypatch.setattr(Path, "rename", rename)
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        TagStore.create(tmp_path / "store", [b"b"], replace=True)
    assert TagStore(tmp_path / "store").terms == store.terms
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_a_file_that_is_replaced_does_not_run_as_who_replaces_it(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    out.write_text("another's")
    out.chmod(0o6775)
    with whole_file(out, replace=True) as file:
        file.write(b"mine")
    assert out.stat().st_mode & 0o7777 == 0o775


@pytest.mark.parametrize("member", [True, False])
def test_another_group_than_that_of_the_file_replaced_reads_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, member: bool
) -> None:
    """Another's file, shared with a group: its mode was for that group, not for one's own."""
    out = tmp_path / "out.csv"
    out.write_text("another's")
    out.chmod(0o660)
    asked: list[tuple[int, int]] = []

    def fchown(descriptor: int, owner: int, group: int) -> None:
        asked.append((owner, group))
        if owner != -1 or not member:
            raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "fchown", fchown)
    with whole_file(out, replace=True) as file:
        file.write(b"mine")
    found = out.stat()
    assert found.st_mode & 0o777 == (0o660 if member else 0o600)
    assert asked[-1] == (-1, found.st_gid)


# Records and secrets: what is in their place, beside them, and in a fork.


def read_record(path: Path) -> str | None:
    with Record(path) as record:
        return record.read()


@pytest.mark.parametrize("read", [read_whole, read_secret, read_record])
def test_nobody_waits_for_what_is_no_file(tmp_path: Path, read: Callable[[Path], object]) -> None:
    os.mkfifo(tmp_path / "fifo", 0o600)
    (tmp_path / "folder").mkdir()
    before = len(list(Path("/proc/self/fd").iterdir()))

    def waited(*_: object) -> None:
        raise TimeoutError("it waits for the FIFO's other end")

    earlier = signal.signal(signal.SIGALRM, waited)
    signal.alarm(LONG_SECONDS)
    for name in ("fifo", "folder"):
        with pytest.raises(ConfigError, match="no regular file"):
            read(tmp_path / name)
    signal.alarm(0)
    signal.signal(signal.SIGALRM, earlier)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_secret_is_read_whole_or_not_at_all(tmp_path: Path) -> None:
    """Half of one would be taken for another."""
    write_new(tmp_path / "secret", bytes(100_000))
    with pytest.raises(ConfigError, match="larger than 65536 bytes"):
        read_secret(tmp_path / "secret")
    assert read_secret(tmp_path / "secret", most=100_000) == bytes(100_000)


@pytest.mark.parametrize("read", [read_whole, read_secret, Record])
def test_what_is_no_name_of_a_file(read: Callable[[Path], object]) -> None:
    with pytest.raises(ConfigError, match="null"):
        read(Path("a\0b"))


def test_a_record_is_not_what_lies_beside_another(tmp_path: Path) -> None:
    """The record "state" would replace "state.new", and be locked by what "state.lock" says."""
    for name in ("state.new", "state.lock", ".new"):
        with pytest.raises(ConfigError, match="rename it"):
            Record(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_record_that_is_removed_leaves_nothing(tmp_path: Path) -> None:
    record = Record(tmp_path / "count")
    record.write("1")
    record.remove()
    assert not list(tmp_path.iterdir())
    for refused in (record.remove, lambda: record.write("2")):
        with pytest.raises(ConfigError, match="was closed"):
            refused()
    with Record(tmp_path / "count") as again:
        assert again.read() is None


def test_a_record_that_somebody_else_changed_is_not_removed(tmp_path: Path) -> None:
    with Record(tmp_path / "count") as record:
        record.write("1")
        (tmp_path / "count").write_text("2")
        with pytest.raises(ConfigError, match="changed or removed by somebody else"):
            record.remove()
    assert (tmp_path / "count").read_text() == "2"


def test_a_fork_neither_writes_a_record_nor_gives_it_free(tmp_path: Path) -> None:
    record = Record(tmp_path / "state")
    record.write("here")
    heard, hear = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            record.write("there")
        except ConfigError as error:
            os.write(hear, str(error).encode())
        record.close()
        os._exit(0)
    os.waitpid(child, 0)
    os.close(hear)
    assert b"forked from" in os.read(heard, 4096)
    os.close(heard)
    with pytest.raises(ConfigError, match="in use"):
        Record(tmp_path / "state")
    assert record.read() == "here"
    record.close()


def test_a_lock_is_given_free_although_a_fork_lives(tmp_path: Path) -> None:
    record = Record(tmp_path / "state")
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(tell)
        os.read(told, 1)
        os._exit(0)
    try:
        record.close()
        again = Record(tmp_path / "state")
        assert again.read() is None
        again.close()
    finally:
        os.close(tell)
        os.waitpid(child, 0)


def test_a_program_that_goes_elsewhere_keeps_its_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
        monkeypatch.chdir(folder)
        TagStore.create(Path("store"), [b"a"])
        ledger = Ledger(Path("ledger"), items_a_peer=9)
    monkeypatch.chdir(here)
    ledger, store = Ledger(Path("ledger"), items_a_peer=9), TagStore(Path("store"))
    monkeypatch.chdir(there)
    ledger.charge("peer", 2)
    store.ledger.charge("peer", 2)
    monkeypatch.chdir(here)
    assert Ledger(Path("ledger"), items_a_peer=9).items_left("peer") == 7
    assert TagStore(Path("store")).ledger.items_left("peer") == 9_998
