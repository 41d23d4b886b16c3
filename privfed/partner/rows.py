"""A party's own table, encoded as the plan says."""

from __future__ import annotations

from pathlib import Path

from privfed.data import Dataset
from privfed.data.dataset import DataKind, assemble
from privfed.data.files import read_text_table
from privfed.errors import ConfigError
from privfed.partner.models import DRESS
from privfed.partner.plan import Plan


def load_rows(
    path: Path,
    plan: Plan,
    place: int,
    label: str | None = None,
    ids: str | None = None,
) -> Dataset:
    """Return the rows of a table; it stays untouched.

    Args:
        path: CSV or XLSX.
        plan: How columns are understood.
        place: This party's.
        label: The label column's name in this table; None: as in the plan.
        ids: The ID column's name in this table; None: as in the plan.

    Raises:
        ConfigError: The file cannot be read, columns do not fit, or there are more rows than the
            plan bounds, or others than its noise is made for.
    """
    table = read_text_table(path)
    encoder = plan.encoder_of_rows()
    frame, schema = table.frame, encoder.schema
    for given, agreed in ((label, schema.label_column), (ids, schema.id_column)):
        if given is None:
            continue
        if given not in frame.columns:
            raise ConfigError(f"{path} has no column {given!r}")
        if agreed is None:
            raise ConfigError(f"the plan has no such column as {given!r}: leave it out")
        frame = frame.rename(columns={given: agreed})
    kind: DataKind = "dresses" if plan.model == DRESS else "table"
    rows = assemble(
        frame,
        encoder,
        kind=kind,
        name=Path(path).stem,
        source=f"own table, {Path(path).name}",
        sha256=table.sha256,
        classes=plan.labels,
        class_names=plan.classes,
        where=str(path),
    )
    private = plan.private
    if private is not None and len(rows) != private.rows[place]:
        raise ConfigError(
            f"{path} has {len(rows)} rows and the plan's noise is made for {private.rows[place]}, "
            "which all parties know: bring those, or make a plan anew"
        )
    if len(rows) > plan.most_rows:
        raise ConfigError(
            f"{path} has {len(rows)} rows and the plan allows {plan.most_rows}: agree on a plan "
            "with more"
        )
    return rows
