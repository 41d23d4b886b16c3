"""Guest and host of a scorecard in one process."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from privfed.data import NumericColumn, Schema
from privfed.vertical.scorecards.counting import CountingGuest, CountingHost
from privfed.vertical.scorecards.terms import ScorecardChoice
from privfed.vertical.trees.bins import Binning
from privfed.vertical.trees.subsets import MISSING

Codes = NDArray[np.uint8]
Labels = NDArray[np.int64]


def choice(**settings: Any) -> ScorecardChoice:
    return ScorecardChoice(**{"bins": 6, **settings})


def some_rows(rows: int = 500, columns: int = 3, bins: int = 6) -> tuple[Codes, Labels]:
    """Codes, of which some are missing and the last column's are of two bins; labels by the first
    column."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, bins, (columns, rows)).astype(np.uint8)
    codes[-1] = rng.random(rows) < 0.3
    codes[0, : rows // 10] = MISSING
    labels = (rng.random(rows) < 0.2 + 0.1 * (codes[0] % 5)).astype(np.int64)
    return codes, labels


def counted_plainly(codes: Codes, which: NDArray[np.bool_], bins: int) -> Labels:
    """Rows of each bin, missing last, by pandas."""
    order = [*range(bins), MISSING]
    found = [pd.Series(own[which]).value_counts().reindex(order, fill_value=0) for own in codes]
    return np.array([one.to_numpy() for one in found])


def talk(host: CountingHost, guest: CountingGuest) -> list[bytes]:
    """Let both talk to the end; every message."""
    sent: bytes | None = host.start()
    guest.start()
    said = list[bytes]()
    sides: tuple[CountingHost | CountingGuest, ...] = (guest, host)
    while sent is not None:
        said.append(sent)
        sent, sides = sides[0].receive(sent), sides[::-1]
    return said


def binned_column(values: NDArray[np.float64], bins: int) -> Binning:
    cells = ["" if np.isnan(value) else f"{value:g}" for value in values]
    schema = Schema(columns=(NumericColumn("size", low=0, high=1000),))
    return Binning.fit(pd.DataFrame({"size": cells}), schema=schema, bins=bins, least_rows=5)
