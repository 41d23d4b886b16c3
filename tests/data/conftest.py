"""Files of the dresses' shape, made from the surrogate; the real ones where a folder is named."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from privfed.data import surrogate_tables

WriteCSV = Callable[..., Path]


@pytest.fixture(scope="session")
def raw_dresses() -> pd.DataFrame:
    return surrogate_tables()[0]


@pytest.fixture
def write_csv(tmp_path: Path) -> WriteCSV:
    def write(frame: pd.DataFrame, name: str = "dresses.csv", encoding: str = "utf-8-sig") -> Path:
        path = tmp_path / name
        frame.to_csv(path, index=False, encoding=encoding)
        return path

    return write


@pytest.fixture(scope="session")
def real_dresses() -> Path:
    folder = os.environ.get("PRIVFED_DRESSES")
    if not folder:
        pytest.skip("PRIVFED_DRESSES names no folder with UCI's Dresses_Attribute_Sales")
    return Path(folder)
