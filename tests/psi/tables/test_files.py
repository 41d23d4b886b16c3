"""Files in and out: the dirt of real CSV files, and files that appear whole or not at all."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import psi
from psi import ConfigError
from psi.cli.shared import network
from psi.storage import whole_file
from psi.tables.files import joined, load_table, taken, write_table
from psi.tables.normalise import Normaliser, _phonenumbers


@pytest.mark.parametrize(
    ("content", "table"),
    [
        ("ID,x\n1,a\n", {"ID": ["1"], "x": ["a"]}),
        ("\ufeffID;x\r\n1;a,b\r\n\r\n", {"ID": ["1"], "x": ["a,b"]}),
        ("ID\tx\n1\ta\n", {"ID": ["1"], "x": ["a"]}),
        ('ID,x\n1,"a\n""b"",c"\n', {"ID": ["1"], "x": ['a\n"b",c']}),
        ("ID\n", {"ID": []}),
        ("ID\n1\n2", {"ID": ["1", "2"]}),
    ],
)
def test_csv(tmp_path: Path, content: str, table: dict[str, list[str]]) -> None:
    path = tmp_path / "t.csv"
    path.write_text(content, encoding="utf-8", newline="")
    for _ in range(2):
        assert {name: list(column) for name, column in load_table(path).items()} == table
        write_table(path, table, replace=True)


def test_parquet(tmp_path: Path) -> None:
    table = pa.table({"ID": [1, 2], "x": ["a", None]})
    write_table(tmp_path / "t.parquet", taken(table, np.array([1, 0, 1])))
    assert pq.read_table(tmp_path / "t.parquet").to_pydict() == {
        "ID": [2, 1, 2],
        "x": [None, "a", None],
    }


def test_a_csv_file_called_parquet(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    path.write_text("ID\n1\n")
    with pytest.raises(ConfigError, match="no Parquet file"):
        load_table(path)


def test_names_that_clash() -> None:
    left = {"ID": [1], "x": [2], "x_right": [3]}
    right = {"x": [4], "ID": [1], "y": [5]}
    assert joined(left, right, ["ID"]) == {
        "ID": [1],
        "x": [2],
        "x_right": [3],
        "x_right_right": [4],
        "y": [5],
    }


def test_an_interrupted_write_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("before")

    def interrupted() -> None:
        with whole_file(path, replace=True) as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_columns_of_different_length_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        write_table(tmp_path / "out.csv", {"a": [1, 2], "b": [1]})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("module", "extra", "use"),
    [
        ("pyarrow", "psi-tables", lambda folder: load_table(folder / "t.parquet")),
        ("phonenumbers", "psi-tables", lambda folder: Normaliser.parse("phone:DE")),
        ("grpc", "psi-network", lambda folder: network("transport")),
    ],
)
def test_a_missing_extra_is_named(
    module: str,
    extra: str,
    use: Callable[[Path], object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _phonenumbers.cache_clear()
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules, "psi.network.transport", raising=False)
    monkeypatch.delattr(psi, "transport", raising=False)
    with pytest.raises(ConfigError, match=rf"privfed\[{extra}\]"):
        use(tmp_path)
