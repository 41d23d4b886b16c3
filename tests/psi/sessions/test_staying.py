"""A side that stays up: several peers in turn, each under its own limits; its log, health, end."""

import contextlib
import json
import signal
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.psi.companies import Companies, column, companies, ended, identities, said

BOTH = ("bob", "carol")
SILENT_AT_HELLO = """
import time, psi.protocols.party as party
def silent(self):
    print("begun", flush=True)
    while True:
        time.sleep(60)
party.Party._hello = silent
"""


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return identities(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def place(tmp_path: Path, keys: Path) -> Iterator[Companies]:
    with companies(tmp_path, keys) as here:
        yield here


def events(place: Companies) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (place.folder / "log").read_text().splitlines()]


def test_several_peers_in_turn_each_under_its_own_limits(place: Companies) -> None:
    limits = "--ledger", "ledger", "--sessions-a-peer", "2", "--items-a-peer", "6"
    there = place.serve("--keep", "--out", "found.csv", "--log", "log", *limits, peers=BOTH)
    assert ended(place.join(there.address, "--out", "b1.csv"))[0] == 0
    assert ended(place.join(there.address, "--out", "c1.csv", name="carol"))[0] == 0
    assert ended(place.join(there.address, "--out", "b2.csv"))[0] == 0
    code, _, err = ended(place.join(there.address, "--out", "b3.csv"))
    assert (code, err) == (1, "psi: the other side stopped: QueryLimitError\n")
    assert ended(place.join(there.address, "--out", "c2.csv", name="carol"))[0] == 0
    said(there.process, "session 5 with carol")
    there.process.send_signal(signal.SIGTERM)
    code, out, err = ended(there.process)
    assert (code, out) == (0, "")
    assert err.endswith("stopped by SIGTERM, between sessions: 5 were begun\n")
    found = sorted(path.name for path in place.folder.glob("found*"))
    assert found == [f"found-{each}.csv" for each in ("bob-1", "bob-2", "carol-1", "carol-2")]
    for name, number in (("bob", 1), ("bob", 2), ("carol", 1), ("carol", 2)):
        theirs = column(place.folder / f"{name[0]}{number}.csv", "ID")
        assert column(place.folder / f"found-{name}-{number}.csv", "ID") == theirs
    assert not (place.folder / "b3.csv").exists()

    told = events(place)
    assert [one["event"] for one in told if one["event"].startswith("session")] == [
        "session begun", "session ended", "session begun", "session ended", "session begun",
        "session ended", "session begun", "session failed", "session begun", "session ended",
    ]  # fmt: skip
    (failed,) = (one for one in told if one["event"] == "session failed")
    assert (failed["peer"], failed["error"]) == ("bob", "QueryLimitError")
    assert (told[0]["event"], told[-1]["event"]) == ("listening", "stopped")
    assert stat.S_IMODE((place.folder / "log").stat().st_mode) == 0o600
    text = (place.folder / "log").read_text()
    assert not any(word in text for word in ("blue", "matching", "rows"))  # nothing of a result


def test_who_comes_while_another_is_there_waits_for_its_turn(place: Companies) -> None:
    there = place.serve("--keep", "--out", "found.csv", peers=BOTH)
    slow = place.join(there.address, before=SILENT_AT_HELLO)
    assert slow.stdout is not None
    assert slow.stdout.readline() == "begun\n"
    waiting = place.join(there.address, "--out", "c.csv", name="carol")
    hasty = place.start(
        *("join", "carol.csv", there.address, "--on", "ID", "--wait", "1"),
        *("--identity", "carol", "--peer", "alice.crt", "--unfinished", "of another try"),
    )
    code, _, err = ended(hasty)
    assert code == 1
    assert err.endswith("it is with another side; try again\n")
    slow.kill()
    assert "went away" in said(there.process, "session 1 with bob failed")
    assert ended(waiting)[0] == 0
    assert there.process.poll() is None


def test_a_stop_in_the_middle_of_a_session_is_heard_by_both(place: Companies) -> None:
    there = place.serve("--keep", "--out", "found.csv", "--log", "log")
    slow = place.join(there.address, before=SILENT_AT_HELLO)
    assert slow.stdout is not None
    slow.stdout.readline()
    marks = place.folder / "alice.unfinished"
    while not any(b" UTC" in mark.read_bytes() for mark in marks.glob("*.mark")):  # it has begun
        assert there.process.poll() is None
    there.process.send_signal(signal.SIGINT)
    code, out, err = ended(there.process)
    assert (code, out) == (130, "")
    words = "stopped by SIGINT in the middle of a session, which counts: it was session 1, with bob"
    assert err.endswith(f"psi: {words}\n")
    assert events(place)[-1]["message"] == words
    assert list(place.folder.glob("found*")) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_of_one_that_waits(place: Companies, number: signal.Signals) -> None:
    there = place.serve("--out", "found.csv")
    there.process.send_signal(number)
    code, out, err = ended(there.process)
    assert (code, out) == (128 + number, "")
    assert err == f"psi: stopped by {number.name} before a session began\n"
    names = sorted(path.name for path in place.folder.iterdir())
    assert names == sorted(
        f"{name}.{end}" for name in (*BOTH, "alice") for end in ("crt", "csv", "key")
    )


def test_the_other_side_of_a_stopped_one_hears_why(place: Companies) -> None:
    there = place.serve("--out", "found.csv", before=SILENT_AT_HELLO)
    joining = place.join(there.address)
    assert there.process.stdout is not None
    assert there.process.stdout.readline() == "begun\n"
    there.process.send_signal(signal.SIGTERM)
    assert ended(joining)[::2] == (1, "psi: the other side stopped: StoppedError\n")
    code, _, err = ended(there.process)
    assert code == 143
    assert "stopped by SIGTERM in the middle of a session" in err


def test_health(place: Companies) -> None:
    there = place.serve("--keep", "--out", "found.csv")
    for who, more in (("alice", ()), ("bob", ("--peer", "alice.crt"))):
        asked = place.here("health", there.address, "--identity", who, *more)
        assert asked == (0, "serving\n", "")
    stranger = "health", there.address, "--identity", "carol", "--peer", "alice.crt"
    code, out, err = place.here(*stranger)
    assert (code, out) == (1, "")
    assert "was given this side's certificate" in err
    assert place.here("health", "127.0.0.1:1", "--identity", "alice")[::2] == (
        1,
        "psi: cannot reach the server at 127.0.0.1:1: nothing listens there; check the address, "
        "and that it serves\n",
    )


def test_a_result_without_a_place_is_written_when_there_is_one(place: Companies) -> None:
    """Meanwhile the server says that it is not well, and holds no other session."""
    shelf = place.folder / "shelf"
    shelf.mkdir()
    before = "import psi.cli.serving as serving; serving._AGAIN_SECONDS = 0.05\n"
    take_away = (
        "import pathlib, psi.network.links as links; tell = links.Link.say_done\n"
        "def away(self): pathlib.Path('shelf').rename('elsewhere'); tell(self)\n"
        "links.Link.say_done = away\n"
    )
    there = place.serve("--keep", "--out", "shelf/found.csv", before=before + take_away)
    assert ended(place.join(there.address, "--out", "b.csv"))[0] == 0
    said(there.process, "cannot be written .* the result is kept, .* trying again")
    code, _, err = place.here("health", there.address, "--identity", "alice")
    assert (code, "cannot hold a session now" in err) == (1, True)
    (place.folder / "elsewhere").rename(shelf)
    said(there.process, "2 matching rows in shelf/found-bob-1.csv")
    assert column(shelf / "found-bob-1.csv", "ID") == column(place.folder / "b.csv", "ID")


def test_a_store_that_stays(place: Companies) -> None:
    made = place.start("publish", "alice.csv", "--on", "ID", "--store", "store")
    assert ended(made)[0] == 0
    answering = place.start(
        *("answer", "store", "--identity", "alice", "--listen", "127.0.0.1:0", "--keep"),
        *("--peer", "bob.crt", "--peer", "carol.crt", "--log", "log"),
    )
    address = f"127.0.0.1:{said(answering, 'listening').split()[-1]}"
    learn = "--learn", "unbalanced", "--result", "join", "--rows"
    for name, rows in (("bob", 2), ("carol", 1), ("bob", 2)):
        code, out, err = ended(place.join(address, *learn, name=name))
        assert (code, len(out.splitlines())) == (0, 1 + rows), err
    said(answering, "session 3 with bob: answered; it may ask 9994 more")
    answering.terminate()
    assert ended(answering)[0] == 0
    assert [one["peer"] for one in events(place) if one["event"] == "session ended"] == [
        "bob", "carol", "bob"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--peer", "carol.crt"], "served in turn, by a side that stays: add --keep"),
        (["--keep"], "give --out"),
        (["--keep", "--result", "join", "--out", "x.csv"], "leave out --out"),
        (["--keep", "--out", "absent/x.csv"], "cannot be written"),
        (["--peer", "bob.crt"], "are called bob: rename one"),
    ],
)
def test_what_one_that_stays_needs(place: Companies, options: list[str], words: str) -> None:
    serve = ["serve", "alice.csv", "--on", "ID", "--identity", "alice", "--peer", "bob.crt"]
    code, out, err = place.here(*serve, *options)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert words in err


def test_a_log_that_takes_nothing_ends_nothing(place: Companies) -> None:
    with contextlib.suppress(FileNotFoundError):
        (place.folder / "log").unlink()
    (place.folder / "log").mkdir()
    there = place.serve("--rows", "--log", "log")
    assert ended(place.join(there.address, "--rows"))[0] == 0
    assert ended(there.process)[0] == 0


def test_a_file_for_programs_is_of_one_session(place: Companies) -> None:
    there = place.serve("--out", "a.csv", "--json", "a.json")
    joining = place.join(there.address, "--out", "b.csv", "--json", "b.json", "--bandwidth", "7.5")
    assert ended(joining)[0] == ended(there.process)[0] == 0
    one, other = (json.loads((place.folder / f"{name}.json").read_text()) for name in "ab")
    assert one["matched"] == other["matched"] == 2
    assert one["reason"] == other["reason"] != ""
    assert " over 7.5 Mbit/s " in one["reason"]
    assert (one["bytes_sent"], one["bytes_received"]) == (
        other["bytes_received"],
        other["bytes_sent"],
    )
    code, _, err = place.here(
        *("serve", "alice.csv", "--on", "ID", "--identity", "alice", "--peer", "bob.crt"),
        *("--keep", "--out", "c.csv", "--json", "c.json"),
    )
    assert (code, err) == (2, "psi: --json is of one session: with --keep there is --log\n")
