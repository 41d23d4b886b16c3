"""The command, as a process of its own."""

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console
from rich.progress import Progress, TaskID

import psi.cli
import psi.cli.alone
import psi.cli.shared
import psi.cli.words

LEFT = "ID,colour\n3,red\n1,green\n2,blue\n"
RIGHT = "price,ID\n10,2\n20,3\n30,9\n"
JOINED = "ID,colour,price\n3,red,20\n2,blue,10\n"
ROWS = "left_row,right_row\n0,1\n2,0\n"


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    call = [sys.executable, "-c", "import psi.cli; psi.cli.main()", *map(str, arguments)]
    return subprocess.run(call, capture_output=True, text=True, check=False)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    left, right = tmp_path / "a.csv", tmp_path / "b.csv"
    left.write_text(LEFT)
    right.write_text(RIGHT)
    return left, right


def test_rows_on_the_terminal(files: tuple[Path, Path]) -> None:
    done = command("align", *files, "--on", "ID")
    assert done.returncode == 0
    assert done.stdout == JOINED
    assert "2 matching rows" in done.stderr


def test_rows_in_a_file(files: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    done = command("align", *files, "--on", "ID", "--out", out)
    assert (done.returncode, done.stdout) == (0, "")
    assert out.read_text() == JOINED
    assert sorted(tmp_path.iterdir()) == sorted([*files, out])  # nothing temporary is left


def test_row_numbers(files: tuple[Path, Path]) -> None:
    assert command("align", *files, "--on", "ID", "--rows").stdout == ROWS


@pytest.mark.parametrize(("options", "protocol"), [((), "ecdh"), (("--protocol", "vole"), "vole")])
def test_the_protocol_of_tables_in_one_hand(
    files: tuple[Path, Path], options: tuple[str, ...], protocol: str
) -> None:
    done = command("align", *files, "--on", "ID", *options)
    assert done.stdout == JOINED
    assert done.stderr.startswith(f"2 matching rows by {protocol}, ")


def test_what_was_held_as_a_file_for_programs(files: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "held.json"
    done = command("align", *files, "--on", "ID", "--json", out)
    assert done.stdout == JOINED
    held = json.loads(out.read_text())
    assert held["reason"] in done.stderr
    assert held.keys() == {
        *("protocol", "reason", "rows", "matched", "bytes_sent", "bytes_received")
    }
    assert (held["protocol"], held["matched"]) == ("ecdh", 2)
    assert held["rows"] == [len(pd.read_csv(file).ID.dropna()) for file in files]
    for place in (out, files[0]):
        again = command("align", *files, "--on", "ID", "--json", place)
        assert (again.returncode, again.stdout) == (2, ""), "nothing is computed, nothing replaced"
    assert command("align", *files, "--on", "ID", "--json", out, "--force").returncode == 0


def test_composite_and_normalised_ids(tmp_path: Path) -> None:
    left, right = tmp_path / "a.csv", tmp_path / "b.csv"
    left.write_text("mail,tel,n\nAnna@Example.org,030 901820,1\nb@x.de,,2\n")
    right.write_text("tel;mail;m\n+49 30 90 18 20; anna@example.org;3\n")
    named = ["--normalise", "mail=email", "--normalise", "tel=phone:DE"]
    done = command("align", left, right, "--on", "mail", "--on", "tel", *named)
    assert done.stdout == "mail,tel,n,m\nAnna@Example.org,030 901820,1,3\n"


def test_parquet_in_and_out(files: tuple[Path, Path], tmp_path: Path) -> None:
    right, out = tmp_path / "b.parquet", tmp_path / "out.parquet"
    pq.write_table(pa.table({"ID": [2, 3, None], "price": [1.5, 2.5, 3.5]}), right)
    done = command("align", files[0], right, "--on", "ID", "--out", out)
    assert done.returncode == 0
    assert pq.read_table(out).to_pylist() == [
        {"ID": "3", "colour": "red", "price": 2.5},
        {"ID": "2", "colour": "blue", "price": 1.5},
    ]


def test_a_terminal_sees_what_goes_on(
    files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Console(file=io.StringIO(), force_terminal=True)
    for module in (psi.cli.shared, psi.cli.alone):
        monkeypatch.setattr(module, "messages", terminal)
    seen: list[str] = []
    update = Progress.update

    def watched(bar: Progress, task: TaskID, **changes: Any) -> None:
        update(bar, task, **changes)
        seen.append(bar.tasks[0].description)

    monkeypatch.setattr(Progress, "update", watched)
    monkeypatch.setattr(sys, "argv", ["psi", "align", *map(str, files), "--on", "ID"])
    with pytest.raises(SystemExit) as end:
        psi.cli.main()
    assert end.value.code == 0
    stages = ["reading a.csv", "reading b.csv", "encoding IDs", "blinding own IDs", "writing"]
    assert [stage for stage in stages if stage in seen] == stages


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--normalise", "upper"], "unknown normalisation 'upper'"),
        (["--normalise", "name=case"], "no column of the ID"),
        (["--normalise", "case", "--normalise", "space"], "given once"),
        (["--duplicates", "some"], "duplicates is"),
    ],
)
def test_wrong_options_are_one_line(
    files: tuple[Path, Path], options: list[str], words: str
) -> None:
    done = command("align", *files, "--on", "ID", *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "does not exist"),
        ("", "is empty"),
        ("ID,ID\n1,2\n", "twice"),
        ("name\nx\n", "no column 'ID'"),
        ("ID,x\n1\n", "line 2, has 1 cells"),
        ("ID\n1\n1\n", "choose --duplicates first"),
        (b"ID\n\xff\n", "UTF-8"),
    ],
)
def test_bad_input_is_one_line(
    files: tuple[Path, Path], tmp_path: Path, content: str | bytes | None, words: str
) -> None:
    bad, out = tmp_path / "bad.csv", tmp_path / "out.csv"
    if content is not None:
        bad.write_bytes(content if isinstance(content, bytes) else content.encode())
    done = command("align", files[0], bad, "--on", "ID", "--out", out)
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert not out.exists()


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ('choose result="both"', "choose --result both"),
        ("chose question=sum, this side ids:", "chose --learn sum, this side ids:"),
        (
            "chose column=join, this side serve:",
            "chose --column at the side that joins, this side at the one that serves:",
        ),
        ("lower max_value=99\n and wait", "lower --max-value 99 and wait"),
        ("or replace it by replace=True", "or replace it with --force"),
        ("a.csv has no column 'result'", "a.csv has no column 'result'"),
        ("the result=", "the result="),
    ],
)
def test_errors_are_put_into_the_command_s_words(message: str, words: str) -> None:
    assert psi.cli.words.in_words(message) == words


def test_words_for_missing_values_are_one_line(files: tuple[Path, Path]) -> None:
    files[0].write_text("ID,colour\nNULL,red\nnan,blue\n2,green\n")
    done = command("align", *files, "--on", "ID")
    assert (done.returncode, done.stdout) == (0, "ID,colour,price\n2,green,10\n")
    warning, result = done.stderr.splitlines()
    assert warning.startswith("psi: warning: left: 2 IDs read like a missing value ('NULL' 1, ")
    assert "1 matching rows" in result


def test_a_place_that_cannot_be_written(files: tuple[Path, Path], tmp_path: Path) -> None:
    done = command("align", *files, "--on", "ID", "--out", tmp_path / "absent" / "out.csv")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "absent" in done.stderr
