"""The command, as a process of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

LEFT = "ID,colour\n3,red\n1,green\n2,blue\n"
RIGHT = "price,ID\n10,2\n20,3\n30,9\n"


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
    assert done.stdout == "left_row,right_row\n0,1\n2,0\n"
    assert "2 matching rows" in done.stderr


def test_rows_in_a_file(files: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    done = command("align", *files, "--on", "ID", "--out", out)
    assert (done.returncode, done.stdout) == (0, "")
    assert out.read_text() == "left_row,right_row\n0,1\n2,0\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read"),
        ("", "is empty"),
        ("ID,ID\n1,2\n", "twice"),
        ("name\nx\n", "no column 'ID'"),
        ("ID,x\n1\n", "line 2: 1 fields"),
        ("ID\n1\n1\n", 'choose duplicates="first"'),
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


def test_a_place_that_cannot_be_written(files: tuple[Path, Path], tmp_path: Path) -> None:
    done = command("align", *files, "--on", "ID", "--out", tmp_path / "absent" / "out.csv")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "absent" in done.stderr
