"""OpenML's copy of the dress data: `dresses-sales`, data set 23381.

It has the twelve attributes as V1 to V12 and the label as Class, 1 (290 rows) or 2 (210 rows),
which are UCI's Recommendation 0 and 1. It has no Dress_ID.
"""

from __future__ import annotations

import re
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import pandas as pd

from privfed.data.codebook import DRESSES
from privfed.errors import ConfigError

DRESSES_DATA_ID = 23381
_TIMEOUT_SECONDS = 20.0
_CLASSES = {"1": "0", "2": "1"}


def fetch_dresses() -> pd.DataFrame:
    """Fetch the copy, or take it from scikit-learn's cache, and set UCI's column names.

    Returns:
        (500, 13) text cells.

    Raises:
        ConfigError: OpenML cannot be reached, or what it sends is not the dress data.
    """
    from sklearn.datasets import fetch_openml  # a second, which other data do not wait for

    try:
        with _timeout(_TIMEOUT_SECONDS), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its retries; if they fail, the error below says so
            bunch = fetch_openml(
                data_id=DRESSES_DATA_ID, as_frame=True, parser="liac-arff", n_retries=1
            )
    except Exception as error:  # the network, gzip, JSON and ARFF readers each raise their own
        raise ConfigError(
            f"OpenML's data set {DRESSES_DATA_ID} cannot be fetched ({type(error).__name__}): try "
            "again later, or download https://archive.ics.uci.edu/dataset/289 and give its path"
        ) from None
    return parse_dresses(bunch.frame)


def parse_dresses(frame: pd.DataFrame) -> pd.DataFrame:
    """Rename the columns and labels of OpenML's table to UCI's.

    Args:
        frame: As `fetch_openml(as_frame=True).frame` gives it: V1 … V12 and Class.

    Returns:
        (n, 13) text cells, "" where missing.

    Raises:
        ConfigError: The columns or the classes are others.
    """
    attributes = [name for name in map(str, frame.columns) if re.fullmatch(r"V\d+", name)]
    names = [column.name for column in DRESSES.columns]
    if len(attributes) != len(names) or set(frame.columns) != {*attributes, "Class"}:
        raise ConfigError(
            f"OpenML's data set {DRESSES_DATA_ID} has other columns than V1 to V12 and Class: "
            "use UCI's file and give its path"
        )
    cells = {
        name: [_cell(value) for value in frame[header]]
        for header, name in zip(sorted(attributes, key=lambda v: int(v[1:])), names, strict=True)
    }
    labels = [_cell(value) for value in frame["Class"]]
    if not set(labels) <= _CLASSES.keys():
        raise ConfigError(
            f"OpenML's data set {DRESSES_DATA_ID} has other classes than 1 and 2: "
            "use UCI's file and give its path"
        )
    cells[str(DRESSES.label_column)] = [_CLASSES[label] for label in labels]
    return pd.DataFrame(cells, dtype=str)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:g}" if value == value else ""  # NaN is ARFF's `?`
    return "" if value is None else str(value)


@contextmanager
def _timeout(seconds: float) -> Iterator[None]:
    """Bound each wait for the network: scikit-learn asks without a time limit of its own."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
