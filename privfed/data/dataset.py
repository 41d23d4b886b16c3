"""What the rest of the project sees of data: encoded rows, their labels and their IDs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from privfed.data.cleaning import CleaningReport, clean, clean_ids, clean_labels, report
from privfed.data.encoding import Encoder
from privfed.data.labels import read_numbers, scaled
from privfed.data.owners import Owners
from privfed.data.schema import NumericColumn, shown
from privfed.data.understanding import ColumnReading, counted
from privfed.errors import ConfigError

DataKind = Literal["dresses", "digits", "breast-cancer", "table"]
"""What the rows are; "table" is a user's own, whatever it is called."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """A cleaned and encoded table, in its source's row order. Its repr shows no row.

    Attributes:
        kind: What the rows are.
        name: The same, for people; of a user's own table the stem of the file's name.
        source: Where it comes from, for people.
        is_surrogate: Whether it was made up by `privfed.data.surrogate`.
        sha256: Hash of the bytes read; of the canonical CSV where there was no file.
        ids: (n,) the rows' IDs, which may repeat; None where the source has none.
        features: (n, encoder.num_features) float32.
        labels: (n,) class numbers from 0, or where the label is a number float64 in its units.
        class_names: One name per class; none where the label is a number.
        encoder: What made the features, for new rows.
        cleaning: What was changed; None for data that need no cleaning.
        owners: Whose the rows are; None where the source does not say it.
        readings: How each column of the source was understood.
        number: What number the label is, whose range is public; None where it is classes.
    """

    kind: DataKind
    name: str
    source: str
    is_surrogate: bool
    sha256: str
    ids: NDArray[np.str_] | None = field(repr=False)
    features: NDArray[np.float32] = field(repr=False)
    labels: NDArray[Any] = field(repr=False)
    class_names: tuple[str, ...]
    encoder: Encoder = field(repr=False)
    cleaning: CleaningReport | None = field(repr=False)
    owners: Owners | None = None
    readings: tuple[ColumnReading, ...] = field(default=(), repr=False)
    number: NumericColumn | None = field(default=None, repr=False)

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.labels)

    @property
    def label_range(self) -> tuple[float, float] | None:
        """The public range of a label that is a number; None where it is classes."""
        return None if self.number is None else (self.number.low, self.number.high)

    @property
    def outputs(self) -> int:
        """How many scores a model gives a row: one a class, or one alone for a number."""
        return len(self.class_names) if self.number is None else 1

    @property
    def targets(self) -> NDArray[Any]:
        """(n,) what a model learns: class numbers, or a number's place in its range, -1 to 1."""
        return self.labels if self.label_range is None else scaled(self.labels, self.label_range)

    def require_classes(self, purpose: str) -> None:
        """Refuse a label that is a number, for a purpose that takes classes alone.

        Args:
            purpose: What takes them; the error message begins with it.

        Raises:
            ConfigError: The label is a number.
        """
        if self.number is not None:
            raise ConfigError(
                f"{purpose} takes classes, and the label {shown(self.number.name)} is a number: "
                "make a few classes of its values, or measure it with `run_benchmark`"
            )

    def centred(self) -> Dataset:
        """Return these rows with centred features, and the encoder that makes them of new rows.

        Private training takes them by default: docs/privacy.md says why.
        """
        encoder = replace(self.encoder, centred=True)
        features = self.features if self.encoder.centred else self.features - encoder.middles
        return replace(self, features=features, encoder=encoder)

    def require_ids(self, purpose: str) -> NDArray[np.str_]:
        """Return the IDs, for a purpose that needs them.

        Args:
            purpose: What needs them; the error message begins with it.

        Raises:
            ConfigError: The source has none.
        """
        if self.ids is not None:
            return self.ids
        if self.encoder.schema.id_column is not None:
            raise ConfigError(
                f"{purpose} needs Dress_IDs, and this copy of the data carries none (OpenML's "
                "leaves them out): download “Attribute DataSet” from "
                "https://archive.ics.uci.edu/dataset/289 and give its path"
            )
        raise ConfigError(f"{purpose} needs row IDs: name the table's ID column as `id_column`")


def assemble(
    raw: pd.DataFrame,
    encoder: Encoder,
    *,
    kind: DataKind,
    name: str,
    source: str,
    sha256: str,
    classes: Sequence[str],
    class_names: Sequence[str],
    where: str,
    is_surrogate: bool = False,
    readings: tuple[ColumnReading, ...] = (),
    number: NumericColumn | None = None,
) -> Dataset:
    """Clean and encode a table as its source wrote it.

    Args:
        raw: Text cells under the source's own headers.
        encoder: The public schema and encoding.
        kind: See `Dataset`.
        name: See `Dataset`.
        source: See `Dataset`.
        sha256: See `Dataset`.
        classes: What a label cell of class 0, 1, … says.
        class_names: What the classes are called.
        where: What to call the table in a message.
        is_surrogate: See `Dataset`.
        readings: See `Dataset`; without them, what cleaning counted.
        number: See `Dataset`; then there are no classes.

    Returns:
        The data set.

    Raises:
        ConfigError: Columns, IDs or labels are not as the schema needs them.
    """
    schema = encoder.schema
    if schema.label_column is None:
        raise ConfigError("a table to learn from needs a label column: name it as `label`")
    renamed = schema.match_headers(list(raw.columns), label=True, where=where)
    raw = raw.rename(columns=renamed)
    ids = None
    if schema.id_column in raw.columns:
        ids = clean_ids(list(raw[schema.id_column]), str(schema.id_column))
    cells = list(raw[schema.label_column])
    labels: NDArray[Any] = (
        clean_labels(cells, classes, schema.label_column)
        if number is None
        else read_numbers(cells, number)
    )
    cleaned = clean(raw, schema)
    return Dataset(
        kind=kind,
        name=name,
        source=source,
        is_surrogate=is_surrogate,
        sha256=sha256,
        ids=ids,
        features=encoder.features(cleaned),
        labels=labels,
        class_names=tuple(class_names),
        encoder=encoder,
        cleaning=report(cleaned, renamed, ids, labels),
        readings=readings or counted(schema.columns, cleaned.changes, cleaned.missing, len(labels)),
        number=number,
    )
