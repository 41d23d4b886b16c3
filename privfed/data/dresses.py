"""UCI's Dresses_Attribute_Sales, from a file, from OpenML or as the embedded surrogate.

Muhammad Usman and Adeel Ahmed, UCI Machine Learning Repository,
https://archive.ics.uci.edu/dataset/289, CC BY 4.0.
"""

from __future__ import annotations

import os
from pathlib import Path

from privfed.data import openml
from privfed.data.codebook import CLASS_NAMES, DRESSES
from privfed.data.dataset import Dataset, assemble
from privfed.data.encoding import Encoder, Encoding
from privfed.data.files import frame_sha256, read_text_table
from privfed.data.schema import named
from privfed.data.surrogate import surrogate_tables
from privfed.defaults import ENCODING, SURROGATE
from privfed.errors import ConfigError


def load_dresses(
    data: str | os.PathLike[str] = SURROGATE, *, encoding: Encoding = ENCODING
) -> Dataset:
    """Load the dress data.

    Args:
        data: The path of UCI's “Attribute DataSet” as CSV or XLSX, uncleaned; "openml"; or
            "surrogate".
        encoding: "codes" (12 features, the paper's) or "onehot".

    Returns:
        500 rows as UCI ships them; none is dropped. OpenML's have no IDs.

    Raises:
        ConfigError: The source cannot be read or is not the dress data.
    """
    if data == SURROGATE:
        raw, source = surrogate_tables()[0], "embedded surrogate (not real data)"
        sha256 = frame_sha256(raw)
    elif data == "openml":
        raw, source = openml.fetch_dresses(), f"OpenML data set {openml.DRESSES_DATA_ID}"
        sha256 = frame_sha256(raw)
    else:
        table = read_text_table(data)
        raw, sha256 = table.frame, table.sha256
        _check_dresses(list(raw.columns), str(data))
        source = f"UCI Dresses_Attribute_Sales, {Path(data).name}"
    return assemble(
        raw,
        Encoder(DRESSES, encoding),
        kind="dresses",
        name="dresses",
        source=source,
        sha256=sha256,
        classes=("0", "1"),
        class_names=CLASS_NAMES,
        where=str(data),
        is_surrogate=data == SURROGATE,
    )


def _check_dresses(headers: list[str], where: str) -> None:
    """Check that a table has most of the columns, so that it can be the dresses at all.

    Raises:
        ConfigError: It has not: whoever brings another table has to name its label.
    """
    known = {DRESSES.normal(column.name) for column in DRESSES.columns}
    if 2 * len(known & {DRESSES.normal(header) for header in headers}) < len(known):
        raise ConfigError(
            f"{where} is not the dress data: of a table of your own say which column is the label: "
            f"`label`, one of {named(headers)}"
        )
