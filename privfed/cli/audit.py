"""`privfed audit`: attack the project's own training, and check its noise against its claim."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from privfed import defaults
from privfed.cli.asked import command_line, last_parts


def audit(
    context: typer.Context,
    data: Annotated[
        str, typer.Option(help="Path of a CSV, XLSX or Parquet file, “openml”, or “surrogate”.")
    ] = defaults.SURROGATE,
    dataset: Annotated[
        str | None,
        typer.Option(help="dresses (default), digits, breast-cancer; table with --label."),
    ] = None,
    label: Annotated[
        str | None, typer.Option(help="Label column of a table of your own (--data FILE.csv).")
    ] = None,
    id_column: Annotated[
        str | None, typer.Option("--id", help="ID column of a table of your own.")
    ] = None,
    schema: Annotated[
        Path | None,
        typer.Option(help="Schema file of a table of your own, of `privfed inspect --write`."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Output folder.")] = Path("privfed-report"),
    seed: Annotated[
        int | None,
        typer.Option(help="Repeat an audit with seeded noise: a simulation, and marked as one."),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer shadow models: about a minute of one core.")
    ] = False,
) -> None:
    """Attack updates, ciphertexts and models; bound ε from below; plant faults and find them.

    Writes audit.json and audit.html to the output folder, whose report.html links to it. The page
    shows rows of the data in the clear. Exit status 1 says that something that must hold does not.

    Examples:
        privfed audit --quick

        privfed audit --data "Attribute DataSet.csv" --out privfed-report
    """
    from privfed.audit import AuditSettings, run_audit  # torch waits until there is work
    from privfed.data import load_dataset
    from privfed.report.audit import audit_tables, write_audit

    console, aside = Console(), Console(stderr=True)
    settings = AuditSettings.short(seed) if quick else AuditSettings(seed=seed)
    chosen = dataset or ("table" if label or schema else defaults.DATASET)
    rows, onehot = (
        load_dataset(
            chosen, data, encoding=encoding, label=label, id_column=id_column, schema=schema
        )
        for encoding in ("codes", "onehot")
    )
    other = onehot if onehot.features.shape != rows.features.shape else None
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=aside,
        transient=True,
        disable=not aside.is_interactive,  # in a log even an erased bar leaves an empty line
    ) as progress:
        task = progress.add_task("preparing", total=settings.work)
        results = run_audit(
            rows,
            settings,
            other_encoding=other,
            command=command_line(context),
            advance=lambda doing, done: progress.update(task, description=doing, advance=done),
        )
        progress.update(task, description="drawing the page")
        results.write(out / "audit.json")
        page = write_audit(results, out)
    console.print(f"{rows.name}: {rows.source}", markup=False, highlight=False, soft_wrap=True)
    console.print(audit_tables(results))
    for limit in results.limits[:2]:
        console.print(limit, highlight=False)
    numbers = last_parts(out / "audit.json")
    console.print(f"Page: {last_parts(page)}\nNumbers: {numbers}", markup=False, soft_wrap=True)
    if not results.held:
        raise typer.Exit(1)
