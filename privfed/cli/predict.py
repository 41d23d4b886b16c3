"""`privfed predict`: put a trained model to use."""

from __future__ import annotations

import csv
import io
import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from privfed.cli.own_code import from_here


def predict(
    rows: Annotated[
        Path, typer.Argument(help="CSV, XLSX or Parquet file with the columns of the training.")
    ],
    model: Annotated[
        Path,
        typer.Option(help="A model (.npz) from the output folder of a training or a benchmark."),
    ],
    code: Annotated[
        str | None,
        typer.Option(
            help="The module:function that makes the network, where the training's was your own."
        ),
    ] = None,
    ids: Annotated[
        str | None,
        typer.Option("--id", help="This table's ID column; called as in the training without it."),
    ] = None,
    label: Annotated[
        str | None,
        typer.Option(
            help="A label column of this table, which is not read; called as in the training "
            "without it."
        ),
    ] = None,
) -> None:
    """Predict for new rows: a CSV on standard output, remarks on standard error.

    A class and the probability of each, or of a label that is a number the number in its units.
    """
    from privfed.data import NumericColumn
    from privfed.experiment import load_model
    from privfed.experiment import predict as judge

    if code is not None:
        from_here()
    trained = load_model(model, code)
    schema = trained.encoder.schema
    called = replace(
        schema, id_column=ids or schema.id_column, label_column=label or schema.label_column
    )
    encoder = replace(trained.encoder, schema=called)
    found = judge(replace(trained, encoder=encoder), rows)
    ranges = {each.name: each for each in encoder.columns if isinstance(each, NumericColumn)}
    remarks = Console(stderr=True, highlight=False, soft_wrap=True)
    remarks.print(f"model: {trained.trained_on}", markup=False)
    for row, column, value in found.unseen:
        known = ranges.get(column)
        why = "was never seen; taken as unknown"
        if known is not None:
            low, high = map(known.notation.written, (known.low, known.high))
            why = f"is outside {low} to {high}; taken as the nearest of these"
            if math.isnan(known.notation.read(value)):
                why = "is no number; taken as missing"
        remarks.print(f"row {row + 1}: {column} {value!r} {why}", markup=False)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["id", "prediction", *(f"probability of {name}" for name in trained.class_names)]
    )
    said = found.classes if found.numbers is None else [f"{x:.6g}" for x in found.numbers]
    for number, (name, chances) in enumerate(zip(said, found.probabilities, strict=True)):
        own = found.ids[number] if found.ids is not None else str(number + 1)
        writer.writerow([own, name, *(f"{chance:.4f}" for chance in chances)])
    sys.stdout.write(text.getvalue())
