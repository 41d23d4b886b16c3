"""A user's own table whose rows belong to parties, or a table for each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from privfed.data.dataset import Dataset
from privfed.data.encoding import Encoding
from privfed.data.owners import PathLike, read_owned_table
from privfed.data.schema import shown
from privfed.data.schema_file import SchemaFile
from privfed.data.tables import load_own_table
from privfed.data.understanding import ColumnReading
from privfed.defaults import OWN_ENCODING
from privfed.errors import ConfigError

_MOST_NAMED = 3  # of the files in a sentence


def load_own_parties(
    paths: Sequence[PathLike],
    *,
    label: str | None,
    id_column: str | None = None,
    party_column: str | None = None,
    encoding: Encoding | None = None,
    schema: PathLike | None = None,
) -> Dataset:
    """Return the data set of several parties, as `load_own_table` returns that of one table.

    One schema is made from all rows, and counts as public.

    Args:
        paths: One file with a column that says whose each row is; or a file for each party, which
            is named by it, with the same columns in any order.
        label: The label column, as of `load_own_table`.
        id_column: The ID column, if there is one. It is never a feature.
        party_column: The column that says whose each row is. It is never a feature.
        encoding: "onehot" or "codes"; None: one-hot.
        schema: A schema file; what it says of the party column is not looked at.

    Raises:
        ConfigError: As of `load_own_table`; files differ in their columns or have one name; or a
            row has no party, or all have the same one.
    """
    if party_column is not None and party_column in (label, id_column):
        raise ConfigError(
            f"column {shown(party_column)} cannot be `party_column` and `label` or `id_column`, "
            "too: name another"
        )
    table, owners = read_owned_table(paths, party_column)
    data = load_own_table(
        table,
        label=label,
        id_column=id_column,
        encoding=encoding or OWN_ENCODING,
        schema=None if schema is None else SchemaFile.load(schema).without(party_column),
    )
    readings = data.readings
    if party_column is not None:  # it stands first, as nothing is learnt from it
        said = ColumnReading(
            name=party_column, role="party", kind="parties", values=len(data),
            done=f"{len(owners.names)} parties",
        )  # fmt: skip
        readings = (said, *readings)
    names = [Path(path).name for path in paths]
    more = [f"{len(names) - _MOST_NAMED} more"] if len(names) > _MOST_NAMED else []
    return replace(
        data,
        name=" + ".join([Path(name).stem for name in names[:_MOST_NAMED]] + more),
        source=f"own table{'s' if len(names) > 1 else ''}, {', '.join(names[:_MOST_NAMED] + more)}",
        owners=owners,
        readings=readings,
    )
