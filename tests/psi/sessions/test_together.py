"""Three companies, three processes: one command, rows in a common order, and clean ends."""

import csv
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import psi.cli
from psi import ConfigError
from psi.network.certificates import create_identity
from psi.network.roster import Roster
from tests.waiting import LONG_SECONDS

TABLES = {
    "alice": ("ID", "ID,colour\n3,red\n1,green\n2,blue\n4,grey\n,none\n"),
    "bob": ("key", "price;key\n10;2\n20;3\n30;9\n40;4\n"),
    "carol": ("n", "n,size\n2,L\n3,S\n1,M\n"),
}
COMMAND = "import psi.cli; psi.cli.main()"
DIE_AT_ROUND = """
import os, psi.protocols.kmprt.rounds as rounds
receive, left = rounds.MultiParty.receive, [{number}]
def dying(self, messages):
    left[0] -= 1
    if left[0] < 0:
        os._exit(9)
    return receive(self, messages)
rounds.MultiParty.receive = dying
"""
HOURS_GO_BY_AS_IT_BEGINS = """
import itertools, types, psi.network.mesh
psi.network.mesh.time = types.SimpleNamespace(monotonic=itertools.count(step=3600).__next__)
"""


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    for name in (*TABLES, "eve"):
        create_identity(folder / name, unlocked=True)
    return folder


@dataclass
class Place:
    """A folder with three tables, and a way to start each party on it."""

    folder: Path
    keys: Path
    ports: dict[str, int] = field(default_factory=dict)
    running: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self, name: str, *options: object, before: str = "") -> subprocess.Popen[str]:
        """Start a party; those that listen take a free port, and the next to start reads it."""
        self.roster()
        column, _ = TABLES[name]
        call = ["together", f"{name}.csv", "parties.toml", "--on", column]
        call += [
            "--wait",
            str(LONG_SECONDS),
            "--identity",
            str(self.keys / name),
            *map(str, options),
        ]
        if name != "carol":
            call += ["--listen", "127.0.0.1:0"]
        process = subprocess.Popen(
            [sys.executable, "-c", before + COMMAND, *call],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.folder,
        )
        self.running.append(process)
        assert process.stderr is not None
        assert process.stderr.readline() == f"this is {name}; alice leads\n"
        if name != "carol":
            port = re.fullmatch(r"listening on port (\d+)\n", process.stderr.readline())
            assert port is not None
            self.ports[name] = int(port[1])
        return process

    def all_start(
        self, *options: object, before: dict[str, str] | None = None
    ) -> list[subprocess.Popen[str]]:
        before = before or {}
        return [
            self.start(name, *options, "--out", f"{name}.out.csv", before=before.get(name, ""))
            for name in TABLES
        ]

    def limited(self, name: str) -> tuple[str, ...]:
        return ("--ledger", f"{name}.ledger", "--sessions-a-peer", "1")

    def roster(self, names: tuple[str, ...] = tuple(TABLES)) -> Path:
        path = self.folder / "parties.toml"
        path.write_text(
            "\n".join(
                f"[{name}]\ncertificate = '{self.keys / name}.crt'\n"
                f"address = '127.0.0.1:{self.ports.get(name, 1)}'\n"
                for name in names
            )
        )
        return path

    def written(self) -> list[str]:
        return sorted(path.name for path in self.folder.glob("*out*"))


@pytest.fixture
def place(tmp_path: Path, keys: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    for name, (_, content) in TABLES.items():
        (tmp_path / f"{name}.csv").write_text(content)
    # Each test its own: beside a key lies what earlier sessions left.
    here = Place(tmp_path, Path(shutil.copytree(keys, tmp_path_factory.mktemp("own") / "keys")))
    yield here
    for process in here.running:
        process.kill()
        process.communicate()


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=LONG_SECONDS)
    return process.returncode, out, err


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_all_get_their_rows_in_one_order(place: Place) -> None:
    for process in place.all_start("--pad-to", "10"):
        code, _, err = ended(process)
        assert code == 0, err
        assert "2 rows that all 3 have by kmprt" in err
    alice, bob, carol = (rows(place.folder / f"{name}.out.csv") for name in TABLES)
    assert (
        [row["ID"] for row in alice] == [row["key"] for row in bob] == [row["n"] for row in carol]
    )
    assert sorted((a["colour"], c["size"]) for a, c in zip(alice, carol, strict=True)) == [
        ("blue", "L"),
        ("red", "S"),
    ]


def test_only_the_leader_gets_the_result(place: Place) -> None:
    results = [
        place.start(name, "--result", "leader", "--rows", *place.limited(name)) for name in TABLES
    ]
    (code, out, _), *members = map(ended, results)
    assert (code, out) == (0, "row\n0\n2\n")
    assert all((code, out) == (0, "") for code, out, _ in members)
    assert all("no result at this side" in err for *_, err in members)
    # Each of the others has held its one session by now.
    for process in [place.start(name, *place.limited(name)) for name in TABLES]:
        code, _, err = ended(process)
        assert code == 1
        assert "held 1 sessions of the 1" in err or "stopped: " in err
    assert place.written() == []


@pytest.mark.parametrize(
    ("name", "number"), [("alice", 0), ("alice", 1), ("bob", 0), ("bob", 1), ("carol", 2)]
)
def test_one_that_dies_at_any_round_stops_all(place: Place, name: str, number: int) -> None:
    processes = place.all_start(before={name: DIE_AT_ROUND.format(number=number)})
    for process, party in zip(processes, TABLES, strict=True):
        code, out, err = ended(process)
        assert out == ""
        if party == name:
            assert code == 9
        else:
            assert code == 1
            assert re.fullmatch(
                r"psi: \w+ (went away in the middle of the session|stopped: \w+)"
                r"(; its result is kept, and the same command writes it)?\n",
                err,
            )
    assert place.written() == []


def test_one_that_does_not_come(place: Place) -> None:
    """The words say how long it was to wait, not what was left once it listened."""
    pytest.importorskip("grpc")  # which the process meets before it can say which extra it lacks
    before = HOURS_GO_BY_AS_IT_BEGINS + "\n"
    alice = place.start("alice", "--wait", "1200.5", "--out", "alice.out.csv", before=before)
    assert ended(alice)[::2] == (1, "psi: not all (bob, carol) joined within 1200.5 s\n")
    assert place.written() == []


def test_another_roster_stops_all(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    alice = place.start("alice")
    names = ("alice", "bob", "eve")
    roster = place.roster
    monkeypatch.setattr(place, "roster", lambda: roster(names))
    code, _, err = ended(place.start("bob"))
    assert code == 1
    assert re.fullmatch(
        r"psi: alice chose roster=[0-9a-f]{16}, this side [0-9a-f]{16}: choose the same on both "
        r"sides\n",
        err,
    )
    assert alice.stderr is not None
    assert alice.stderr.readline().startswith("turned away, and waiting on: bob chose roster=")
    assert alice.poll() is None  # it waits for one who agrees


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read"),
        ("[alice", "no TOML file"),
        ("alice = 'alice.crt'", "alice: a party has a certificate"),
        ("[alice]\naddress = 'a:1'", "alice: a party has a certificate"),
        ("[alice]\ncertificate = 'alice.crt'\nport = 3", "alice: a party has a certificate"),
        ("[alice]\ncertificate = 'nobody.crt'", "nobody.crt cannot be read"),
        ("[alice]\ncertificate = 'alice.crt'", "names 1 parties: for two take serve"),
        ("alice alice carol", "two parties one certificate"),
        ("alice bob carol", "alice needs an address HOST:PORT"),
        ("['']\ncertificate = 'alice.crt'", "a party is named '': choose"),
        ('["a\\u001b[31m"]\ncertificate = "alice.crt"', r"named 'a\\x1b\[31m': choose"),
        ('["a\\nb"]\ncertificate = "alice.crt"', r"named 'a\\nb': choose"),
    ],
)
def test_rosters_that_are_none(keys: Path, content: str | None, words: str) -> None:
    path = keys / "roster.toml"
    path.unlink(missing_ok=True)
    if content is not None:
        if "=" not in content and "[" not in content:
            entries = enumerate(content.split())
            content = "".join(f"[p{i}]\ncertificate = '{name}.crt'\n" for i, name in entries)
            words = words.replace("alice needs", "p0 needs")
        path.write_text(content)
    with pytest.raises(ConfigError, match=words):
        Roster.load(path)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--identity", "eve"], "none of the parties': check --identity"),
        (["--duplicates", "all"], "choose --duplicates first"),
        (["--result", "bob"], "to all, or to the leader"),
        (["--result", "leader", "--out", "b.csv"], "leave out --out"),
        (["--out", "bob.csv", "--force"], "read or kept here and not replaced"),
        (["--out", "parties.toml", "--force"], "read or kept here and not replaced"),
        (["--out", "{keys}/carol.crt", "--force"], "read or kept here and not replaced"),
    ],
)
def test_bad_input_is_one_line(
    place: Place,
    options: list[str],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    place.roster()
    monkeypatch.chdir(place.folder)
    identity = [] if "--identity" in options else ["--identity", str(place.keys / "bob")]
    options = [str(place.keys / option) if option == "eve" else option for option in options]
    options = [option.format(keys=place.keys) for option in options]
    call = ["psi", "together", "bob.csv", "parties.toml", "--on", "key", *identity, *options]
    monkeypatch.setattr(sys, "argv", call)
    with pytest.raises(SystemExit) as end:
        psi.cli.main()
    assert end.value.code == 2
    err = capsys.readouterr().err
    assert words in err.splitlines()[-1]
