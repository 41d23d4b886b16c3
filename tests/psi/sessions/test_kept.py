"""A result that is computed is not lost: killed at any moment, on a full disk, sealed meanwhile."""

import contextlib
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from psi import ConfigError
from psi.network import TLSIdentity
from psi.sessions.keeping import ResultKeeper, file_digest
from tests.psi.companies import COMMAND, Companies, companies, ended, identities, said

KILL = """
import os, signal
def killed(*given, **more):
    os.kill(os.getpid(), signal.SIGKILL)
"""
# Where a side is killed, once its result is computed.
STAGES = {
    "sealed": "import psi.network.links as l; l.Link.say_done = killed",
    "it said that it is done": "import psi.network.links as l; l.Link.await_done = killed",
    "all are done": "import psi.cli.holding as h; h.put = killed",
    "half of it is written": (
        "import psi.tables.files as f; write = f.csv.writer\n"
        "class Half:\n"
        "    def __init__(self, file, **more): self.file = file\n"
        "    def writerow(self, row): self.file.write('ID,col'); self.file.flush(); killed()\n"
        "f.csv = type('csv', (), {'writer': Half})"
    ),
    "it is written": "import psi.sessions.keeping as k; k.ResultKeeper.finish = killed",
}
BEFORE_A_RESULT = {
    "begun": "import psi.protocols.party as p; p.Party.start = killed",
    "the last message came": "import psi.protocols.ecdh as e; e.Sender._on_finish = killed",
    "not yet sealed": "import psi.sessions.keeping as k; k.ResultKeeper.keep = killed",
}
SAYS_NOTHING_MORE = (
    "import psi.network.links as l, time; l.Link.say_done = lambda s: time.sleep(9e6)\n"
)
LEDGER = "--ledger", "ledger", "--sessions-a-peer"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return identities(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def place(tmp_path: Path, keys: Path) -> Iterator[Companies]:
    with companies(tmp_path, keys) as here:
        yield here


def rows(path: Path) -> list[str]:
    return sorted(path.read_text().splitlines())


def charged(place: Companies) -> int:
    with contextlib.closing(sqlite3.connect(place.folder / "ledger")) as database:
        return len(database.execute("SELECT * FROM sessions").fetchall())


def serve_again(place: Companies, *options: object) -> tuple[int, str, str]:
    """The same command, with nobody there to hold a session with."""
    return place.here(
        *("serve", "alice.csv", "--on", "ID", "--identity", "alice", "--peer", "bob.crt"),
        *("--listen", "127.0.0.1:0", "--wait", "0", *options),
    )


@pytest.mark.parametrize("stage", STAGES)
def test_killed_with_a_result_the_same_command_writes_it(place: Companies, stage: str) -> None:
    limit = (*LEDGER, "1")
    there = place.serve("--out", "a.csv", *limit, before=KILL + STAGES[stage] + "\n")
    joining = place.join(there.address, "--out", "b.csv")
    assert ended(there.process)[0] == -9
    code, _, err = ended(joining)
    if stage in ("sealed", "it said that it is done"):
        assert code in (0, 1), err  # nobody can make the last step happen on both sides at once
    else:
        assert (code, (place.folder / "b.csv").exists()) == (0, True)
    written = stage == "it is written"
    assert (place.folder / "a.csv").exists() == written
    (kept,) = (place.folder / "alice.unfinished").glob("*.result")
    for secret in (b"blue", b"green", b"matching"):
        assert secret not in kept.read_bytes()
    force = ("--force",) if written else ()
    code, _, err = serve_again(place, "--out", "a.csv", *limit, *force)
    assert (code, err.count("\n")) == (0, 1), err
    assert re.fullmatch(
        r"2 matching rows by the session of [-\d]{10} [:\d]{8} UTC, whose result was kept; no "
        r"other was held\n",
        err,
    )
    assert rows(place.folder / "a.csv") == ["2,blue", "3,red", "ID,colour"]
    assert charged(place) == 1
    assert not (place.folder / "alice.unfinished").exists()
    # It is given once: what comes next is another session.
    code, _, err = serve_again(place, "--out", "a.csv", "--force", *limit)
    assert (code, err.splitlines()[-1]) == (1, "psi: nobody joined within 0 s")


@pytest.mark.parametrize("stage", BEFORE_A_RESULT)
def test_killed_without_a_result_it_starts_again_is_charged_and_says_why(
    place: Companies, stage: str
) -> None:
    limit = (*LEDGER, "2")
    there = place.serve("--out", "a.csv", *limit, before=KILL + BEFORE_A_RESULT[stage] + "\n")
    joining = place.join(there.address, "--out", "b.csv")
    assert ended(there.process)[0] == -9
    assert ended(joining)[0] == 1
    assert charged(place) == (stage != "begun")
    again = place.start(
        *("serve", "alice.csv", "--on", "ID", "--identity", "alice", "--peer", "bob.crt"),
        *("--listen", "127.0.0.1:0", "--out", "a.csv", *limit),
    )
    assert again.stderr is not None
    why = again.stderr.readline()
    assert "a new session, which counts again; the last broke off, 20" in why
    assert "UTC: this program was killed, or its machine stopped" in why
    address = f"127.0.0.1:{said(again, 'listening').split()[-1]}"
    joining = place.join(address, "--out", "b.csv")
    code, _, err = ended(joining)
    assert (code, err.splitlines()[0]) == (
        0, next(line for line in err.splitlines() if "went away in the middle" in line)
    )  # fmt: skip
    assert ended(again)[0] == 0
    assert rows(place.folder / "a.csv") == ["2,blue", "3,red", "ID,colour"]
    assert charged(place) == 1 + (stage != "begun")


def test_a_session_that_the_other_side_refuses_leaves_no_result(place: Companies) -> None:
    refusing = (
        "import psi.protocols.party as p; from psi import DecodeError\n"
        "def no(self, data): raise DecodeError('no')\n"
        "p.Party._on_close = no\n"
    )
    there = place.serve("--out", "a.csv")
    joining = place.join(there.address, "--out", "b.csv", before=refusing)
    assert ended(joining)[0] == 1
    code, _, err = ended(there.process)
    assert (code, err) == (1, "psi: the other side stopped: DecodeError\n")
    assert list((place.folder / "alice.unfinished").glob("*.result")) == []
    code, _, err = serve_again(place, "--out", "a.csv")
    assert code == 1
    assert "the last broke off" in err
    assert "the other side stopped: DecodeError" in err


def test_a_side_that_does_not_hear_the_last_word_keeps_its_result(place: Companies) -> None:
    there = place.serve("--out", "a.csv")
    joining = place.join(there.address, before=SAYS_NOTHING_MORE)
    # Killed once alice has all she needs and waits for bob's last word.
    folder = place.folder / "alice.unfinished"
    while not list(folder.glob("*.result")):
        assert there.process.poll() is None
    joining.kill()
    code, _, err = ended(there.process)
    assert code == 1
    assert err == (
        "psi: the other side went away in the middle of the session; its result is kept, and the "
        "same command writes it\n"
    )
    assert serve_again(place, "--out", "a.csv")[0] == 0
    assert (place.folder / "a.csv").exists()


def test_a_full_disk_loses_nothing(place: Companies) -> None:
    """The output stands on a device without room; the second call writes it elsewhere."""
    there = place.serve("--out", "/dev/full", *LEDGER, "1")
    joining = place.join(there.address, "--out", "b.csv")
    assert ended(joining)[0] == 0
    code, _, err = ended(there.process)
    assert (code, len(err.splitlines())) == (2, 2)  # what was counted, and this
    assert "/dev/full cannot be written (No space left on device)" in err
    assert err.endswith(
        "the result is kept, and the same command writes it without another session\n"
    )
    assert serve_again(place, "--out", "/dev/full", *LEDGER, "1")[0] == 2  # as often as it takes
    assert serve_again(place, "--out", "a.csv", *LEDGER, "1")[0] == 0
    assert rows(place.folder / "a.csv") == ["2,blue", "3,red", "ID,colour"]
    assert charged(place) == 1


def test_standard_output_that_is_full_loses_nothing(place: Companies) -> None:
    there = place.serve("--out", "a.csv")
    with Path("/dev/full").open("w") as full:
        joining = subprocess.Popen(
            [sys.executable, "-c", COMMAND, "join", "bob.csv", there.address, "--on", "ID",
             "--identity", "bob", "--peer", "alice.crt", "--rows"],
            stdout=full, stderr=subprocess.PIPE, text=True, cwd=place.folder,
        )  # fmt: skip
        place.running.append(joining)
        code, _, err = ended(joining)
    assert (code, err.count("\n")) == (2, 1), err
    assert "standard output cannot be written: No space left on device; the result is kept" in err
    again = place.join("127.0.0.1:1", "--rows")
    code, out, err = ended(again)
    assert (code, sorted(out.split())) == (0, ["0", "1", "row"]), err


def test_a_disk_without_room_for_the_result_lets_no_session_begin(place: Companies) -> None:
    """Nothing is charged: the room is taken before this side's hello."""
    (place.folder / "bob.csv").write_text("ID\n" + "".join(f"{n}\n" for n in range(99)))
    small = (
        "import resource, psi.sessions.keeping as k; begin = k.ResultKeeper.begin\n"
        "def limited(self, rows):\n"
        "    import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "    before = resource.getrlimit(resource.RLIMIT_FSIZE)\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))\n"
        "    try: begin(self, rows)\n"
        "    finally: resource.setrlimit(resource.RLIMIT_FSIZE, before)\n"  # coverage writes, too
        "k.ResultKeeper.begin = limited\n"
    )
    there = place.serve("--out", "a.csv", *LEDGER, "1")
    joining = place.join(there.address, "--out", "b.csv", before=small)
    code, _, err = ended(joining)
    assert (code, err.count("\n")) == (2, 1)
    assert re.search(r"bob.unfinished has no room for \d+ bytes \(File too large\): make room", err)
    assert ended(there.process)[::2] == (1, "psi: the other side stopped: ConfigError\n")
    assert charged(place) == 0


def test_a_kept_result_is_of_one_table_and_one_peer(place: Companies) -> None:
    there = place.serve("--out", "/dev/full")
    assert ended(place.join(there.address, "--out", "b.csv"))[0] == 0
    assert ended(there.process)[0] == 2
    table = (place.folder / "alice.csv").read_text()
    bob = (place.folder / "bob.crt").read_bytes()
    carol = (place.folder / "carol.crt").read_bytes()
    for name, content in (("alice.csv", table.replace("3,", "9,").encode()), ("bob.crt", carol)):
        (place.folder / name).write_bytes(content)
        code, _, err = serve_again(place, "--out", "a.csv")
        assert (code, err.splitlines()[-1]) == (1, "psi: nobody joined within 0 s")
        (place.folder / "alice.csv").write_text(table)
        (place.folder / "bob.crt").write_bytes(bob)
    code, _, err = serve_again(place, "--out", "a.csv", "--learn", "cardinality")
    assert (code, err.splitlines()[-1]) == (1, "psi: nobody joined within 0 s")
    assert serve_again(place, "--out", "a.csv")[0] == 0


@pytest.mark.parametrize(
    "learn", [("--learn", "cardinality"), ("--learn", "ids"), ("--duplicates", "all")], ids=str
)
def test_every_kind_of_result_is_kept(place: Companies, learn: tuple[str, ...]) -> None:
    there = place.serve("--out", "/dev/full", *learn)
    assert ended(place.join(there.address, "--out", "b.csv", *learn))[0] == 0
    assert ended(there.process)[0] == 2
    assert serve_again(place, "--out", "a.csv", *learn)[0] == 0
    one, other = ((place.folder / f"{name}.csv").read_text() for name in "ab")
    if "ids" in learn:
        assert [line.split(",")[0] for line in one.split()] == [
            line.split(",")[0] for line in other.split()
        ]
        assert len(one.split()) == 1 + 4
    elif "all" in learn:
        assert sorted(one.split()) == ["2,blue", "3,red", "ID,colour"]
    else:
        assert one == other == "cardinality\n2\n"


def test_a_server_that_stays_writes_what_it_kept_when_it_comes_up_again(place: Companies) -> None:
    options = "--keep", "--out", "found.csv", *LEDGER, "1"
    before = KILL + "import psi.cli.serving as s; s.put = killed\n"
    there = place.serve(*options, before=before)
    assert ended(place.join(there.address, "--out", "b.csv"))[0] == 0
    assert ended(there.process)[0] == -9
    again = place.start(
        *("serve", "alice.csv", "--on", "ID", "--identity", "alice", "--peer", "bob.crt"),
        *("--listen", "127.0.0.1:0", *options),
    )
    said(again, "2 matching rows by the session of .*, whose result was kept")
    said(again, "listening")
    assert rows(place.folder / "found-bob-1.csv") == ["2,blue", "3,red", "ID,colour"]
    assert charged(place) == 1


# -- the keeper by itself -------------------------------------------------------------------------

COLUMNS = {"row": np.array([5, 3, 1 << 40]), "name": ["x", "y", "z"]}


@pytest.fixture
def secret(keys: Path) -> bytes:
    return TLSIdentity.load(keys / "alice").derive(b"results")


def test_what_is_kept_comes_back_as_it_was_and_once(tmp_path: Path, secret: bytes) -> None:
    with ResultKeeper(tmp_path / "kept", secret, {"peer": "bob"}) as keeper:
        assert (keeper.found(), keeper.broke_off()) == (None, None)
        keeper.begin(3)
        keeper.keep(COLUMNS, "3 rows")
        with pytest.raises(ConfigError, match="in use by another process"):
            ResultKeeper(tmp_path / "kept", secret, {"peer": "bob"})
    with ResultKeeper(tmp_path / "kept", secret, {"peer": "bob"}) as keeper:
        found = keeper.found()
        assert found is not None
        assert list(found.columns) == ["row", "name"]
        assert found.columns["row"].tolist() == [5, 3, 1 << 40]
        assert (found.columns["name"], found.words) == (["x", "y", "z"], "3 rows")
        assert "x" not in repr(found)
        keeper.finish()
        assert keeper.found() is None
    assert not (tmp_path / "kept").exists()


def test_sealed_for_another_purpose_or_changed_it_is_refused(tmp_path: Path, secret: bytes) -> None:
    with ResultKeeper(tmp_path, secret, {"peer": "bob"}) as keeper:
        keeper.begin(3)
        keeper.keep(COLUMNS, "3 rows")
        good = keeper.path.read_bytes()
        for bad in (b"", good[:-1], good + b"x", good[:40], bytes([good[0] ^ 1]) + good[1:],
                    good[:-20] + bytes([good[-20] ^ 1]) + good[-19:]):  # fmt: skip
            keeper.path.write_bytes(bad)
            with pytest.raises(ConfigError, match="changed or damaged: remove it"):
                keeper.found()
    with ResultKeeper(tmp_path, secret, {"peer": "carol"}) as other:
        other.path.write_bytes(good)
        with pytest.raises(ConfigError, match="changed or damaged"):
            other.found()
    with ResultKeeper(tmp_path, bytes(32), {"peer": "bob"}) as another_key:
        assert another_key.found() is None  # not even its name is known
    assert other.path.stat().st_mode & 0o077 == 0 or os.geteuid() == 0


def test_what_a_mark_says_is_shown_as_one_line(tmp_path: Path, secret: bytes) -> None:
    with ResultKeeper(tmp_path, secret, {}) as keeper:
        keeper.begin(0)
        assert not keeper.break_off("line\x1b[31m\nbreak", void=False)
    with ResultKeeper(tmp_path, secret, {}) as keeper:
        why = keeper.broke_off()
        assert why is not None
        assert why.endswith("UTC: line[31mbreak")
        (mark,) = tmp_path.glob("*.mark")
        mark.write_text("no mark")
    with ResultKeeper(tmp_path, secret, {}) as keeper:
        assert keeper.broke_off() == "at an unknown time, and why is not known"


def test_a_digest_is_of_the_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "table"
    path.write_bytes(b"a" * 3_000_000)
    before = file_digest(path)
    path.write_bytes(b"a" * 2_999_999 + b"b")
    assert file_digest(path) != before
    with pytest.raises(ConfigError, match="does not exist"):
        file_digest(tmp_path / "absent")
