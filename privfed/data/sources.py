"""One function that loads every kind of data."""

from __future__ import annotations

import os

import pandas as pd

from privfed.data.dataset import Dataset
from privfed.data.dresses import load_dresses
from privfed.data.encoding import Encoding
from privfed.data.packaged import PACKAGED, load_packaged
from privfed.data.schema import shown
from privfed.data.tables import load_own_table
from privfed.defaults import DATASET, ENCODING, OWN_ENCODING, SURROGATE
from privfed.errors import ConfigError


def load_dataset(
    dataset: str = DATASET,
    data: str | os.PathLike[str] | pd.DataFrame = SURROGATE,
    *,
    encoding: Encoding | None = None,
    label: str | None = None,
    id_column: str | None = None,
    schema: str | os.PathLike[str] | None = None,
) -> Dataset:
    """Load a data set by name.

    Args:
        dataset: "dresses"; "digits" or "breast-cancer", which need no data; or "table", a user's
            own file.
        data: For dresses a path, "openml" or "surrogate"; for a table its path, or a data frame.
        encoding: "codes" or "onehot"; None: one-hot for a user's own table, else codes.
        label: The label column of a user's own table.
        id_column: The ID column of a user's own table.
        schema: The schema file of a user's own table, as `inspect_table` writes it.

    Returns:
        The cleaned and encoded rows; no row is dropped.

    Raises:
        ConfigError: A name is unknown, an argument does not belong to this data set, or the source
            is not usable; the message is one line that says what to do.
    """
    if dataset == "table":
        if isinstance(data, str) and data in (SURROGATE, "openml"):
            raise ConfigError(
                "a table of your own needs its path as `data` and its label column as `label`"
            )
        return load_own_table(
            data, label=label, id_column=id_column, encoding=encoding or OWN_ENCODING, schema=schema
        )
    if not (label is id_column is schema is None) or isinstance(data, pd.DataFrame):
        raise ConfigError(
            "`label`, `id_column`, `schema` and data frames belong to a table of your own, not to "
            f"{shown(dataset)}: leave them out, or choose the data set “table”"
        )
    encoding = encoding or ENCODING
    if dataset == "dresses":
        return load_dresses(data, encoding=encoding)
    for kind in PACKAGED:
        if kind == dataset:
            if data != SURROGATE:
                raise ConfigError(f"{dataset} ships inside scikit-learn: leave `data` out")
            return load_packaged(kind, encoding=encoding)
    raise ConfigError(
        f"unknown data set {shown(dataset)}: use dresses, {', '.join(PACKAGED)} or table"
    )
