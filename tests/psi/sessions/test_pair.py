"""Two companies, two processes: results on both sides, and what is left when one of them dies."""

import csv
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import psi.cli
from psi.ledger import Ledger
from psi.network.certificates import create_identity
from tests.waiting import LONG_SECONDS

ALICE = "ID,colour\n3,red\n1,green\n2,blue\n,none\n"
BOB = "price;key\n10;2\n20;3\n30;9\n"
COMMAND = "import psi.cli; psi.cli.main()"
DIE_AT_MESSAGE = """
import os, psi.protocols.party
receive, left = psi.protocols.party.Party.receive, [{number}]
def dying(self, message):
    left[0] -= 1
    if left[0] < 0:
        os._exit(9)
    return receive(self, message)
psi.protocols.party.Party.receive = dying
"""


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    for name in ("alice", "bob"):
        create_identity(folder / name, unlocked=True)
    return folder


@dataclass
class Place:
    """A folder with both tables, and ways to start each side on it."""

    folder: Path
    keys: Path
    running: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self, *arguments: object, before: str = "") -> subprocess.Popen[str]:
        call = [sys.executable, "-c", before + COMMAND, *map(str, arguments)]
        process = subprocess.Popen(
            call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=self.folder
        )
        self.running.append(process)
        return process

    def serve(self, *options: object, before: str = "") -> "Serving":
        return self._serving("serve", "alice.csv", "--on", "ID", *options, before=before)

    def answer(self, *options: object) -> "Serving":
        return self._serving("answer", "store", *options)

    def _serving(self, *arguments: object, before: str = "") -> "Serving":
        process = self.start(
            *(*arguments[:2], "--listen", "127.0.0.1:0"),
            *("--identity", self.keys / "alice", "--peer", self.keys / "bob.crt"),
            *arguments[2:],
            before=before,
        )
        assert process.stderr is not None
        port = re.fullmatch(r"listening on port (\d+)\n", process.stderr.readline())
        assert port is not None
        return Serving(process, f"127.0.0.1:{port[1]}")

    def join(
        self, address: str, *options: object, before: str = "", table: str = "bob.csv"
    ) -> subprocess.Popen[str]:
        return self.start(
            *("join", table, address, "--on", "key", "--wait", str(LONG_SECONDS)),
            *("--identity", self.keys / "bob", "--peer", self.keys / "alice.crt"),
            *options,
            before=before,
        )

    def written(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())


@dataclass
class Serving:
    process: subprocess.Popen[str]
    address: str


@pytest.fixture
def place(tmp_path: Path, keys: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    (tmp_path / "alice.csv").write_text(ALICE)
    (tmp_path / "bob.csv").write_text(BOB)
    # Each test its own: beside a key lies what earlier sessions left.
    here = Place(tmp_path, Path(shutil.copytree(keys, tmp_path_factory.mktemp("own") / "keys")))
    yield here
    for process in here.running:
        process.kill()
        process.communicate()


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=LONG_SECONDS)
    return process.returncode, out, err


def failed(process: subprocess.Popen[str], *words: str) -> None:
    code, out, err = ended(process)
    assert (code, out) == (1, "")
    assert err.startswith("psi: ")
    assert err.count("\n") == 1
    for word in words:
        assert word in err


def turned_away(process: subprocess.Popen[str]) -> str:
    """What a side that serves says of a peer that came with other settings."""
    assert process.stderr is not None
    line = process.stderr.readline()
    start = "turned away, and waiting on: "
    assert line.startswith(start)
    return line.removeprefix(start).removesuffix("\n")


def column(path: Path, name: str) -> list[str]:
    with path.open() as file:
        return [row[name] for row in csv.DictReader(file)]


def test_both_get_their_rows_in_one_order(place: Place) -> None:
    serving = place.serve("--out", "a.csv")
    joining = place.join(serving.address, "--out", "b.csv")
    assert ended(joining)[:2] == (0, "")
    code, _, err = ended(serving.process)
    assert code == 0
    assert "2 matching rows by ecdh" in err
    left, right = place.folder / "a.csv", place.folder / "b.csv"
    assert sorted(column(left, "colour")) == ["blue", "red"]
    assert column(left, "ID") == column(right, "key")
    price = {"2": "10", "3": "20"}
    assert column(right, "price") == [price[key] for key in column(left, "ID")]


@pytest.mark.parametrize(("result", "serves"), [("serve", True), ("join", False)])
def test_only_one_gets_the_result(place: Place, result: str, serves: bool) -> None:
    serving = place.serve("--result", result, "--rows")
    joining = place.join(serving.address, "--result", result, "--rows")
    (code, at_bob, err_bob), (other, at_alice, err_alice) = ended(joining), ended(serving.process)
    assert (code, other) == (0, 0)
    if serves:
        assert (sorted(at_alice.split()), at_bob) == (["0", "2", "row"], "")
        assert "no result at this side" in err_bob
    else:
        assert (sorted(at_bob.split()), at_alice) == (["0", "1", "row"], "")
        assert "no result at this side" in err_alice


def test_only_how_many(place: Place) -> None:
    serving = place.serve("--learn", "cardinality", "--out", "a.csv")
    joining = place.join(serving.address, "--learn", "cardinality")
    code, out, err = ended(joining)
    assert (code, out) == (0, "cardinality\n2\n")
    assert "2 matching IDs by ecdh-cardinality" in err
    assert ended(serving.process)[0] == 0
    assert (place.folder / "a.csv").read_text() == out


@pytest.mark.parametrize("result", ["both", "serve"])
def test_the_sum_of_the_other_sides_column(place: Place, result: str) -> None:
    options = ("--learn", "sum", "--minimum", "2", "--max-value", "99", "--result", result)
    serving = place.serve(*options)
    joining = place.join(serving.address, *options, "--column", "price")
    (code, at_bob, err), (other, at_alice, _) = ended(joining), ended(serving.process)
    assert (code, other) == (0, 0), err
    assert at_alice == "cardinality,sum\n2,30\n"
    assert at_bob == (at_alice if result == "both" else "")


def test_a_sum_under_the_minimum_for_one_side_is_not_told_to_the_other(place: Place) -> None:
    options = ("--learn", "sum", "--minimum", "3", "--result", "serve")
    serving = place.serve(*options)
    joining = place.join(serving.address, *options, "--column", "price")
    code, out, err = ended(joining)
    assert (code, out) == (0, "")
    assert "no result at this side" in err
    failed(serving.process, "fewer than 3 matches")


def test_a_sum_under_the_minimum(place: Place) -> None:
    options = ("--learn", "sum", "--minimum", "3")
    serving = place.serve(*options)
    joining = place.join(serving.address, *options, "--column", "price", "--out", "b.csv")
    failed(joining, "stopped: MinimumError")
    failed(serving.process, "fewer than 3 matches")
    assert place.written() == ["alice.csv", "bob.csv"]


def figures(table: str, name: str) -> tuple[int, int, int]:
    """A noisy figure and the ends of its interval."""
    (row,) = csv.DictReader(table.splitlines())
    return int(row[name]), int(row[f"{name}_low"]), int(row[f"{name}_high"])


def test_about_how_many(place: Place) -> None:
    serving = place.serve("--learn", "cardinality", "--epsilon", "2", "--out", "a.csv")
    joining = place.join(serving.address, "--learn", "cardinality", "--epsilon", "0.5")
    code, out, err = ended(joining)
    assert code == 0, err
    found, low, high = figures(out, "cardinality")
    assert (low, high) == (found - 1, found + 1)  # by alice's ε
    assert abs(found - 2) <= 11  # her largest noise
    assert f"about {found} ({low} to {high}) matching IDs (95 % intervals, for the other" in err
    assert "it cost each ID of this side ε=0.5 with δ=1e-09 (one ID replaced by another" in err
    assert ended(serving.process)[0] == 0
    found, low, high = figures((place.folder / "a.csv").read_text(), "cardinality")
    assert (low, high) == (found - 6, found + 6)  # by bob's


@pytest.mark.parametrize("result", ["both", "serve"])
def test_about_the_sum_of_the_other_sides_column(place: Place, result: str) -> None:
    options = ("--learn", "sum", "--minimum", "1", "--max-value", "99", "--result", result)
    noise = ("--epsilon", "20", "--delta", "1e-6")
    serving = place.serve(*options, *noise)
    joining = place.join(serving.address, *options, *noise, "--column", "price")
    (code, at_bob, err), (other, at_alice, _) = ended(joining), ended(serving.process)
    assert (code, other) == (0, 0), err
    for told in (at_alice, at_bob) if result == "both" else (at_alice,):
        assert abs(figures(told, "cardinality")[0] - 2) <= 2
        found, low, high = figures(told, "sum")
        assert abs(found - 30) <= 300
        assert (low, high) == (found - 30, found + 30)
    assert result == "both" or at_bob == ""


def test_one_side_alone_asks_with_noise(place: Place) -> None:
    serving = place.serve("--learn", "cardinality", "--epsilon", "2")
    words = "the other side chose {}, this side {}: choose the same on both sides"
    exact, noisy = "exact", "with noise (--epsilon)"
    joining = place.join(serving.address, "--learn", "cardinality")
    failed(joining, words.format(f"figures {noisy}", f"{exact} ones"))
    assert turned_away(serving.process) == words.format(f"{exact} figures", f"those {noisy}")


def test_what_sessions_cost_adds_up_over_all_peers(place: Place) -> None:
    limit = ("--ledger", "ledger", "--epsilon-in-all", "2.5")
    noise = ("--learn", "cardinality", "--epsilon", "1")
    ledger = Ledger(place.folder / "ledger", epsilon_in_all=2.5)
    ledger.charge("another peer", 5, 1.0, 1e-7)
    serving = place.serve(*noise, *limit)
    assert ended(place.join(serving.address, *noise))[0] == 0
    code, _, err = ended(serving.process)
    assert code == 0
    assert "ε=1 with δ=1e-09, all sessions with all peers ε=2 with δ=1.01e-07 (one" in err
    for options, words in (
        (noise, "where 0.5 of 2.5 is left, over all peers: choose a smaller --epsilon"),
        (
            ("--learn", "cardinality", "--epsilon", "0.1", "--delta", "1e-6"),
            "where 8.99e-07 of 1e-06 is left, over all peers: choose a smaller --delta, or raise "
            "--delta-in-all",
        ),
        ((), "a session without noise costs an unlimited ε where 2.5 is allowed in all: add --eps"),
    ):
        refused = place.start(
            *("serve", "alice.csv", "--on", "ID", "--identity", place.keys / "alice"),
            *("--peer", place.keys / "bob.crt", *options, *limit),
        )
        failed(refused, words)  # before anybody comes
    assert ledger.spent() == (2.0, 1.01e-7)


def test_no_side_has_the_column(place: Place) -> None:
    serving = place.serve("--learn", "sum")
    words = (
        "the other side chose --column at the side that {}s, this side at the one that {}s: "
        "choose the same on both sides"
    )
    failed(place.join(serving.address, "--learn", "sum"), words.format("join", "serve"))
    assert turned_away(serving.process) == words.format("serve", "join")
    assert serving.process.poll() is None  # it waits for one who agrees


@pytest.mark.parametrize(
    "options", [("--duplicates", "all"), ("--learn", "sum", "--minimum", "2")], ids=str
)
def test_padded_sizes_change_no_result(place: Place, options: tuple[str, ...]) -> None:
    serving = place.serve(*options, "--pad-to", "20")
    column = ("--column", "price") if "sum" in options else ()
    joining = place.join(serving.address, *options, *column, "--pad-to", "30", "--rows")
    (code, at_bob, err), (other, _, _) = ended(joining), ended(serving.process)
    assert (code, other) == (0, 0), err
    expected = "cardinality,sum\n2,30\n" if column else "row\n0\n1\n"
    assert sorted(at_bob.split()) == sorted(expected.split())


def test_a_small_side_asks_a_store(place: Place) -> None:
    made = place.start(
        *("publish", "alice.csv", "--on", "ID", "--store", "store", "--items-a-peer", "7")
    )
    code, key, _ = ended(made)
    assert code == 0
    learn = ("--learn", "unbalanced", "--result", "join", "--rows", "--keep", "kept")
    for number, left in enumerate((4, 1, None)):
        serving = place.answer()
        joining = place.join(serving.address, *learn, "--key", key.strip())
        if left is None:
            failed(joining, "stopped: QueryLimitError")
            failed(serving.process, "1 more of 7")
            continue
        code, out, err = ended(joining)
        assert (code, sorted(out.split())) == (0, ["0", "1", "row"]), err
        assert f"under the key {key.strip()}" in err
        assert f"may ask {left} more" in ended(serving.process)[2], number
    assert place.written() == ["alice.csv", "bob.csv", "kept", "store"]


def test_a_store_answers_several_requests(place: Place) -> None:
    place.start("publish", "alice.csv", "--on", "ID", "--store", "store").communicate()
    serving = place.answer("--requests", "2")
    learn = ("--learn", "unbalanced", "--result", "join", "--rows")
    first = place.join(serving.address, *learn)
    assert ended(first)[0] == 0
    assert serving.process.stderr is not None
    assert "9997 more IDs" in serving.process.stderr.readline()
    assert ended(place.join(serving.address, *learn))[0] == 0
    code, _, err = ended(serving.process)
    assert code == 0
    assert "9994 more IDs" in err


def test_a_store_of_another_normalisation(place: Place) -> None:
    place.start("publish", "alice.csv", "--on", "ID", "--store", "store").communicate()
    serving = place.answer()
    options = ("--learn", "unbalanced", "--result", "join", "--normalise", "case")
    failed(place.join(serving.address, *options), "stopped: ParameterMismatchError")
    failed(serving.process, "other settings")


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_private_ids_line_up(place: Place, ending: str) -> None:
    serving = place.serve("--learn", "ids", "--out", "a.csv")
    bob = place.folder / "bob.parquet"
    pq.write_table(pa.table({"price": ["10", "20", "30"], "key": ["2", "3", "9"]}), bob)
    out = f"b.{ending}"
    joining = place.join(serving.address, "--learn", "ids", "--out", out, table=f"bob.{ending}")
    code, _, err = ended(joining)
    assert code == 0, err
    assert "4 IDs of the union, 3 with a row here, by ecdh-private-ids" in err
    assert ended(serving.process)[0] == 0
    left = place.folder / "a.csv"
    right = {"private_id": column(left, "private_id")}
    if ending == "csv":
        right = {name: column(place.folder / out, name) for name in ("private_id", "key", "price")}
    else:
        right = pq.read_table(place.folder / out).to_pydict()
        right = {name: [value or "" for value in values] for name, values in right.items()}
    assert right["private_id"] == column(left, "private_id") == sorted(right["private_id"])
    lines = zip(column(left, "ID"), right["key"], strict=True)
    assert sorted(lines) == [("", "9"), ("1", ""), ("2", "2"), ("3", "3")]
    assert sorted(zip(right["key"], right["price"], strict=True))[1:] == [
        ("2", "10"), ("3", "20"), ("9", "30")
    ]  # fmt: skip


@pytest.mark.parametrize("learn", ["intersection", "cardinality"])
def test_a_peer_may_hold_so_many_sessions(place: Place, learn: str) -> None:
    limits = ("--learn", learn, "--ledger", "ledger", "--sessions-a-peer", "1")
    for allowed in (True, False):
        serving = place.serve(*limits, "--out", "a.csv")
        joining = place.join(serving.address, "--learn", learn)
        if allowed:
            assert (ended(joining)[0], ended(serving.process)[0]) == (0, 0)
            (place.folder / "a.csv").unlink()
        else:
            failed(joining, "stopped: QueryLimitError")
            failed(serving.process, "held 1 sessions of the 1", "raise the limit")
    assert place.written() == ["alice.csv", "bob.csv", "ledger"]


@pytest.mark.parametrize(
    ("options", "chose"),
    [
        (("--learn", "cardinality"), "--learn {}, this side {}"),
        (("--result", "join"), "--result {}, this side {}"),
        (("--protocol", "vole"), "--protocol {}, this side {}"),
    ],
)
def test_another_wish_is_told_at_both_sides(
    place: Place, options: tuple[str, str], chose: str
) -> None:
    serving = place.serve()
    default = {"--learn": "intersection", "--result": "both", "--protocol": "auto"}[options[0]]
    words = f"the other side chose {chose}: choose the same on both sides"
    code, out, err = ended(place.join(serving.address, *options))
    assert (code, out) == (1, "")
    assert err.splitlines()[-1] == f"psi: {words.format(default, options[1])}"
    assert turned_away(serving.process) == words.format(options[1], default)
    joining = place.join(serving.address)  # it waited for one who agrees
    assert (ended(joining)[0], ended(serving.process)[0]) == (0, 0)


def test_all_pairs_of_repeated_and_messy_ids(place: Place) -> None:
    (place.folder / "alice.csv").write_text("ID,n\nA@x.org,1\nb@x.org,2\na@X.org ,3\n")
    (place.folder / "bob.csv").write_text("key,m\na@x.org,4\nc@x.org,5\na@x.org,6\n")
    options = ("--duplicates", "all", "--normalise", "email")
    serving = place.serve(*options, "--out", "a.parquet")
    joining = place.join(serving.address, *options, "--out", "b.csv")
    assert ended(joining)[0] == ended(serving.process)[0] == 0
    left = pq.read_table(place.folder / "a.parquet").column("n").to_pylist()
    right = column(place.folder / "b.csv", "m")
    assert sorted(zip(left, right, strict=True)) == [
        ("1", "4"), ("1", "6"), ("3", "4"), ("3", "6")
    ]  # fmt: skip


def test_other_settings_stop_both(place: Place) -> None:
    serving = place.serve("--out", "a.csv")
    joining = place.join(serving.address, "--normalise", "case", "--out", "b.csv")
    failed(joining, "stopped: ParameterMismatchError")
    failed(serving.process, "other settings")
    assert place.written() == ["alice.csv", "bob.csv"]


@pytest.mark.parametrize("number", range(3))
def test_the_joining_side_dies_at_any_message(place: Place, number: int) -> None:
    serving = place.serve("--out", "a.csv")
    dying = place.join(serving.address, before=DIE_AT_MESSAGE.format(number=number))
    assert ended(dying)[0] == 9
    failed(serving.process, "went away")
    assert place.written() == ["alice.csv", "bob.csv"]


@pytest.mark.parametrize("number", range(3))
def test_the_serving_side_dies_at_any_message(place: Place, number: int) -> None:
    dying = place.serve(before=DIE_AT_MESSAGE.format(number=number))
    joining = place.join(dying.address, "--out", "b.csv")
    failed(joining, "went away")
    assert ended(dying.process)[0] == 9
    assert place.written() == ["alice.csv", "bob.csv"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--out", "absent/a.csv"], "absent/a.csv cannot be written"),
        (["--out", "a.csv", "--result", "join"], "leave out --out"),
        (["--result", "everybody"], "both, serve or join"),
        (["--learn", "everything"], "one of intersection, cardinality"),
        (["--pad-to", "2"], "3 items do not fit"),
        (["--sessions-a-peer", "2"], "add --ledger FILE"),
        (["--ledger", "ledger"], "at least one positive number"),
        (["--ledger", "alice.csv", "--items-a-peer", "9"], "cannot count"),
        (["--column", "ID"], "--column goes with --learn sum: choose that"),
        (["--epsilon", "1"], "--epsilon goes with --learn cardinality or sum: choose that"),
        (["--learn", "ids", "--delta", "1e-8"], "--delta goes with --learn cardinality or sum"),
        (["--learn", "cardinality", "--delta", "1e-8"], "--delta goes with --epsilon"),
        *(
            (["--learn", learn, "--epsilon", number], "--epsilon lies between 0.001 and 20")
            for learn in ("cardinality", "sum")
            for number in ("0", "-1", "nan", "inf", "21")
        ),
        (
            ["--learn", "sum", "--epsilon", "1", "--delta", "nan"],
            "--delta lies between 1e-15 and 0.0001",
        ),
        (["--epsilon-in-all", "1"], "add --ledger FILE"),
        (
            ["--ledger", "ledger", "--items-a-peer", "9", "--delta-in-all", "1e-6"],
            "--delta-in-all goes with --epsilon-in-all",
        ),
        (["--ledger", "ledger", "--epsilon-in-all", "nan"], "at least one positive number"),
        (["--learn", "sum", "--column", "colour"], "row 0: a sum takes whole numbers"),
        (["--learn", "sum", "--column", "price"], "no column 'price'"),
        (["--learn", "sum", "--column", "ID", "--result", "serve"], "choose --result both"),
        (["--learn", "sum", "--minimum", "0"], "at least 1 match"),
        (["--learn", "ids", "--result", "serve"], "private IDs go to both"),
        (["--learn", "unbalanced"], "choose --result join; for the large side psi publish makes"),
        (["--learn", "cardinality", "--duplicates", "all"], "choose --duplicates first"),
        (["--identity", "nobody"], "cannot read nobody.key"),
        (["--passphrase-file", "absent"], "cannot read a passphrase from absent"),
        (["--passphrase-file", "bob.csv", "--out", "bob.csv", "--force"], "and not replaced"),
        (["--peer", "alice.csv"], "holds no certificate: psi keygen"),
        (["--peer", "."], ". is a folder: pass the certificate in it, tls.crt"),
        (["--listen", "256.0.0.1:1"], "cannot listen on 256.0.0.1:1"),
    ],
)
def test_bad_input_is_one_line(
    place: Place,
    options: list[str],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(place.folder)
    call = ["psi", "serve", "alice.csv", "--on", "ID", "--identity", str(place.keys / "alice")]
    monkeypatch.setattr(sys, "argv", [*call, "--peer", str(place.keys / "bob.crt"), *options])
    with pytest.raises(SystemExit) as end:
        psi.cli.main()
    assert end.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err
    assert err.count("\n") == 1


def test_keygen(tmp_path: Path) -> None:
    call = [sys.executable, "-c", COMMAND, "keygen", "--unlocked", str(tmp_path / "carol")]
    done = subprocess.run(call, capture_output=True, text=True, check=True)
    assert re.fullmatch(r"SHA-256 ([0-9a-f]{2}:){31}[0-9a-f]{2}\n", done.stdout)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["carol.crt", "carol.key"]
    again = subprocess.run(call, capture_output=True, text=True, check=False)
    assert again.returncode == 2
    assert again.stderr.count("\n") == 1
    call[-1] += "[bold]:key:"
    shown = subprocess.run(call, capture_output=True, text=True, check=True).stderr
    assert f"keep {call[-1]}.key; give" in shown  # a name is no markup
