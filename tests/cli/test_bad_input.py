"""What is the user's to mend is one line on stderr and exit status 2, and leaves no file."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from privfed.data import surrogate_tables
from tests.cli.command import PRIVFED, Command, Done


def one_line(done: Done, says: str) -> None:
    assert done.status == 2
    assert done.out == ""
    assert done.err.startswith("privfed: ")
    assert done.err.count("\n") == 1
    assert done.err.endswith("\n")
    assert says in done.err
    assert "Traceback" not in done.err


def dresses(path: Path, **columns: Any) -> Path:
    surrogate_tables()[0].assign(**columns).to_csv(path, index=False)
    return path


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def own(path: Path, rows: int = 40) -> Path:
    table = pd.DataFrame({"x": [7 * n % 30 for n in range(rows)], "late": [0, 1] * (rows // 2)})
    table.to_csv(path, index=False)
    return path


Files = Callable[[Path], list[object]]

FILES: dict[str, tuple[Files, str]] = {
    "missing": (lambda p: ["--data", p / "absent.csv"], "absent.csv does not exist"),
    "folder": (lambda p: ["--data", p], "is a directory"),
    "odd cell": (
        lambda p: [
            *("--data", written(p / "a.csv", b"x,y\n1,a\n2,b\n12?,a\n"), "--label", "y"),
        ],
        "'12?' (line 4)",
    ),
    "empty": (lambda p: ["--data", written(p / "a.csv", b"")], "is empty"),
    "picture": (lambda p: ["--data", written(p / "a.csv", b"\x89PNG\r\n\x1a\n\0")], "not a CSV"),
    "no workbook": (lambda p: ["--data", written(p / "a.xlsx", b"PK\3\4")], "not a readable XLSX"),
    "other columns": (lambda p: ["--data", own(p / "a.csv")], "of a table of your own"),
    "one column more": (
        lambda p: ["--data", dresses(p / "a.csv", Colour="red")],
        "Colour",
    ),
    "one class": (
        lambda p: ["--data", dresses(p / "a.csv", Recommendation="1")],
        "at least two classes",
    ),
    "no label": (
        lambda p: ["--data", dresses(p / "a.csv", Recommendation="")],
        "each row needs a label",
    ),
    "a party of one class": (
        lambda p: ["--data", dresses(p / "a.csv", Recommendation=["1"] + ["0"] * 499)],
        "training rows of one class only",
    ),
    "twelve rows": (
        lambda p: ["--data", own(p / "a.csv", rows=12), "--label", "late"],
        "guest has 6 rows, too few to train and test on: bring more data",
    ),
    "a date as label": (
        lambda p: [
            *("--data", written(p / "a.csv", b"x,due\n1.5,2025-03-17\n2.5,2025-03-18\n")),
            *("--label", "due"),
        ],
        "column 'due' holds dates such as '2025-03-17', which are no classes: name another column",
    ),
    "as many categories as rows, twice": (
        lambda p: [
            "--data",
            written(
                p / "a.csv",
                "\n".join(["x,y", *(f"city {n % 1001},{n % 2}" for n in range(2002))]).encode(),
            ),
            "--label",
            "y",
        ],
        "column 'x' has 1001 different texts, at most 1000 can be categories: join what is alike",
    ),
    "thousands or decimals": (
        lambda p: [
            *("--data", written(p / "a.csv", b'x,y\n"1,050",a\n"2,300",b\n'), "--label", "y"),
        ],
        "'1,050' may be 1050 or 1.05: say which in a schema file, which `privfed inspect` makes",
    ),
    "a damaged Parquet file": (
        lambda p: ["--data", written(p / "a.parquet", b"PAR1 and no more"), "--label", "y"],
        "is no Parquet file",
    ),
    "an absent schema file": (
        lambda p: ["--data", own(p / "a.csv"), "--schema", p / "absent.toml"],
        "cannot be read (No such file or directory): write one with `privfed inspect`",
    ),
    "own table, no label": (
        lambda p: ["--dataset", "table", "--data", own(p / "a.csv")],
        "--label, one of",
    ),
    "own table, other label": (
        lambda p: ["--data", own(p / "a.csv"), "--label", "early"],
        "no column",
    ),
    "own table, other ID": (
        lambda p: ["--data", own(p / "a.csv"), "--label", "late", "--id", "who"],
        "no column",
    ),
    "split by ID without IDs": (
        lambda p: [
            *("--data", own(p / "a.csv"), "--label", "late", "--split", "deduplicated"),
        ],
        "--id",
    ),
}


@pytest.mark.parametrize("case", FILES)
def test_files_that_cannot_be_used(privfed: Command, tmp_path: Path, case: str) -> None:
    arguments, says = FILES[case]
    one_line(privfed("benchmark", *arguments(tmp_path), "--out", tmp_path / "out"), says)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--dataset", "shoes"], "unknown data set"),
        (["--dataset", "digits", "--data", "a.csv"], "leave --data out"),
        (["--label", "x"], "needs its path"),
        (["--dataset", "digits", "--label", "x"], "--label, --id, --schema and data frames belong"),
        (["--encoding", "binary"], "use codes or onehot"),
        (["--split", "sideways"], "unknown split 'sideways'"),
        (["--split", ","], "--split"),
        (["--split", "disjoint,disjoint"], "twice"),
        (["--split", "overlapping", "--parties", "3"], "use the disjoint split"),
        (["--arms", "guest,nobody"], "unknown arm 'nobody': choose from guest, host"),
        (["--arms", "party-3"], "unknown arm"),
        (["--arms", ""], "--arms"),
        (["--rounds", "0"], "--rounds must be at least 1"),
        (["--rounds", "many"], "--rounds"),
        (["--private-rounds", "-1"], "--private-rounds must be at least 1"),
        (["--seeds", "0"], "--seeds must be at least 1"),
        (["--epsilon", "0"], "--epsilon must hold positive numbers, not 0"),
        (["--epsilon", "1,-3"], "--epsilon must hold positive numbers, not -3"),
        (["--epsilon", "nan"], "--epsilon must hold positive numbers"),
        (["--epsilon", "1,e"], "--epsilon takes numbers such as 1,3,8"),
        (["--epsilon", "1,1.0"], "twice"),
        (["--epsilon", "", "--arms", "federated-he-dp"], "--epsilon"),
        (["--delta", "0"], "--delta must lie between 0 and 1"),
        (["--delta", "0.1"], "allows a row to be published"),
        (["--parties", "1"], "--parties must be at least 2"),
        (["--parties", "0"], "--parties must be at least 2"),
        (["--dataset", "breast-cancer", "--parties", "300"], "too few to train and test on"),
        (["--dataset", "breast-cancer", "--parties", "600"], "too few to train"),
        (["--colour"], "No such option"),
        (["further"], "unexpected extra argument"),
    ],
)
def test_settings_that_cannot_be_used(
    privfed: Command, tmp_path: Path, arguments: list[str], says: str
) -> None:
    out = tmp_path / "out"
    one_line(privfed("benchmark", "--rounds", "2", *arguments, "--out", out), says)
    assert not out.exists()


@pytest.mark.parametrize("place", ["file", "file/below", 300 * "x"])
def test_output_folders_that_cannot_be_written(
    privfed: Command, tmp_path: Path, place: str
) -> None:
    (tmp_path / "file").write_text("mine")
    done = privfed("benchmark", "--quick", "--arms", "guest", "--out", tmp_path / place)
    one_line(done, "--out")
    assert (tmp_path / "file").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("taken", ["models", "results.json", "report.html"])
def test_an_output_folder_with_something_in_the_way(
    privfed: Command, tmp_path: Path, taken: str
) -> None:
    (tmp_path / taken / "mine").mkdir(parents=True)
    if taken == "models":
        (tmp_path / taken / "mine").rmdir()
        (tmp_path / taken).rmdir()
        (tmp_path / taken).write_text("mine")
    arms = ["--arms", "guest", "--rounds", "1", "--seeds", "1"]
    one_line(privfed("benchmark", *arms, "--out", tmp_path), taken)
    assert (tmp_path / taken).exists()
    assert not list(tmp_path.rglob("*.partial"))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "there is no model at"),
        (b"", "is not a model"),
        (b"PK\3\4rest", "is not a model"),
        (b"\x80\x04K\x01.", "is not a model"),
    ],
)
def test_models_that_are_none(
    privfed: Command, tmp_path: Path, content: bytes | None, says: str
) -> None:
    model, rows = tmp_path / "m.npz", dresses(tmp_path / "new.csv")
    if content is not None:
        model.write_bytes(content)
    one_line(privfed("predict", "--model", model, rows), says)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "does not exist"),
        (b"", "is empty"),
        (b"Style,Price\nSexy,Low\n", "no column"),
    ],
)
def test_new_rows_that_cannot_be_judged(
    privfed: Command, finished: Path, tmp_path: Path, content: bytes | None, says: str
) -> None:
    rows = tmp_path / "new.csv"
    if content is not None:
        rows.write_bytes(content)
    model = finished / "models" / "overlapping-guest-seed0.npz"
    one_line(privfed("predict", "--model", model, rows), says)


@pytest.mark.parametrize("content", [None, b"", b"{}", b"[1", b"\xff"])
def test_results_that_are_none(privfed: Command, tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "results.json").write_bytes(content)
    one_line(privfed("report", tmp_path), "results.json")
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["benchmark", "--data", "absent.csv"],
        ["benchmark", "--dataset", "breast-cancer", "--parties", "300"],  # while the bar is up
        ["nonsense"],
    ],
)
def test_as_a_process_of_its_own(tmp_path: Path, arguments: list[str]) -> None:
    done = subprocess.run(
        [*PRIVFED, *arguments], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    one_line(Done(done.returncode, done.stdout, done.stderr), "")
    assert not list(tmp_path.iterdir())


WITHOUT = """
import importlib.machinery, sys

class Without:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in {hidden!r}:
            return None
        return importlib.machinery.PathFinder.find_spec(name, path, target)

sys.meta_path[:] = [
    Without if finder is importlib.machinery.PathFinder else finder
    for finder in sys.meta_path
    if not (isinstance(finder, type) and finder.__module__.startswith("__editable__"))
]
sys.path.insert(0, {root!r})
from privfed.cli import main
main()
"""


@pytest.mark.parametrize(
    ("hidden", "arguments"),
    [
        (["torch"], ["benchmark", "--quick", "--arms", "guest"]),
        (["torch", "pandas", "sklearn", "scipy", "opacus"], ["benchmark"]),
    ],
)
def test_without_an_extra_it_says_which(
    tmp_path: Path, hidden: list[str], arguments: list[str]
) -> None:
    program = WITHOUT.format(hidden=hidden, root=str(Path(__file__).parents[2]))
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True, text=True, cwd=tmp_path, check=False,
    )  # fmt: skip
    one_line(Done(done.returncode, done.stdout, done.stderr), "pip install 'privfed[train]'")
    assert done.stderr.split()[1] in hidden
    assert not list(tmp_path.iterdir())


def test_without_torch_help_and_version_work() -> None:
    program = WITHOUT.format(hidden=["torch", "pandas"], root=str(Path(__file__).parents[2]))
    for argument in ("--help", "--version"):
        done = subprocess.run(
            [sys.executable, "-c", program, argument], capture_output=True, text=True, check=True
        )
        assert done.stdout
