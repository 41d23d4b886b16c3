"""`privfed benchmark`: what learning together gives, and what hiding it costs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from privfed import defaults
from privfed.cli.asked import command_line, last_parts
from privfed.errors import ConfigError

if TYPE_CHECKING:
    from privfed.data import Dataset, Encoding
    from privfed.experiment import Settings


_EPSILONS = ",".join(f"{each:g}" for each in defaults.EPSILONS)


def benchmark(
    context: typer.Context,
    data: Annotated[
        str, typer.Option(help="Path of a CSV or XLSX file, “openml”, or “surrogate”.")
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
    split: Annotated[
        str | None,
        typer.Option(
            help="overlapping (as in the paper), disjoint, deduplicated; or several: a,b."
        ),
    ] = None,
    encoding: Annotated[
        str, typer.Option(help="codes (the paper's integer codes) or onehot.")
    ] = defaults.ENCODING,
    arms: Annotated[
        str | None,
        typer.Option(
            help="Some of guest, host, party-3 …, overall, federated-float, federated, "
            "federated-he; private: federated-he-dp, single-party, local-noise, noise-shares, "
            "central-noise; separated by commas; all without it."
        ),
    ] = None,
    rounds: Annotated[
        int | None, typer.Option(help=f"Federated rounds of one local epoch ({defaults.ROUNDS}).")
    ] = None,
    private_rounds: Annotated[
        int | None,
        typer.Option(
            help=f"Rounds of the private arms ({defaults.PRIVATE_ROUNDS}, at most --rounds); "
            f"{defaults.STEPS_PER_PRIVATE_ROUND} single steps for each where every step is a round."
        ),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(help=f"How many seeds: 0, 1, 2 … ({defaults.SEEDS}).")
    ] = None,
    epsilon: Annotated[str, typer.Option(help="ε of the private arms, one run each.")] = _EPSILONS,
    delta: Annotated[float, typer.Option(help="δ of the private arms.")] = defaults.DELTA,
    uncentred: Annotated[
        bool,
        typer.Option("--uncentred", help="Private arms take features as encoded, not centred."),
    ] = False,
    parties: Annotated[int, typer.Option(help="How many parties.")] = defaults.PARTIES,
    out: Annotated[Path, typer.Option(help="Output folder.")] = Path("privfed-report"),
    quick: Annotated[
        bool, typer.Option("--quick", help=f"One seed and {defaults.QUICK_ROUNDS} rounds.")
    ] = False,
) -> None:
    """Train alone, pooled, federated, encrypted and private; compare; write a report.

    Writes results.json, report.html and the trained models to the output folder. Interrupted, it
    keeps what had finished and goes on from there when it is called again in the same way.

    Examples:
        privfed benchmark --quick

        privfed benchmark --data "Attribute DataSet.csv" --split overlapping,disjoint

        privfed benchmark --dataset digits --parties 10 --arms overall,federated-he,federated-he-dp
    """
    from privfed.data import load_dataset
    from privfed.experiment import Settings, jobs  # torch waits until there is work

    total = rounds if rounds is not None else defaults.QUICK_ROUNDS if quick else defaults.ROUNDS
    chosen = dataset or ("table" if label else defaults.DATASET)
    private = private_rounds if private_rounds is not None else min(defaults.PRIVATE_ROUNDS, total)
    settings = Settings(
        splits=_listed(
            split or ("overlapping" if chosen == "dresses" and parties == 2 else "disjoint")
        ),
        parties=parties,
        arms=_listed(arms) if arms is not None else None,
        rounds=total,
        private_rounds=private,
        private_steps=defaults.STEPS_PER_PRIVATE_ROUND * private,
        seeds=seeds if seeds is not None else defaults.QUICK_SEEDS if quick else defaults.SEEDS,
        epsilons=[_number(text) for text in _listed(epsilon)],
        delta=delta,
        centred=not uncentred,
    )
    work = sum(job.rounds for job in jobs(settings))  # refuses a wrong arm before data are read
    rows = load_dataset(
        chosen, data, encoding=cast("Encoding", encoding), label=label, id_column=id_column
    )
    _run(settings, rows, work, command_line(context), out)


def _run(settings: Settings, rows: Dataset, work: int, command: str, out: Path) -> None:
    from privfed.cli.alignment import PSIAligner
    from privfed.experiment import provenance, run_benchmark
    from privfed.report import findings, terminal_table, write_report

    console, aside = Console(), Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} rounds"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=aside,
        transient=True,
        disable=not aside.is_interactive,  # in a log even an erased bar leaves an empty line
    ) as progress:
        task = progress.add_task("preparing", total=work)
        results = run_benchmark(
            settings,
            rows,
            align=PSIAligner(),
            directory=out,
            provenance=provenance(settings, rows, command),
            advance=lambda title, done: progress.update(task, description=title, advance=done),
        )
        progress.update(task, description="drawing the report")
        page = write_report(results, out)
    console.print(f"{rows.name}: {rows.source}", markup=False, highlight=False, soft_wrap=True)
    console.print(terminal_table(results))
    for finding in findings(results):
        console.print(f"[bold]{finding.headline}[/] {finding.text}\n", highlight=False)
    numbers = last_parts(out / "results.json")
    console.print(f"Report: {last_parts(page)}\nNumbers: {numbers}", markup=False, soft_wrap=True)


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"--epsilon takes numbers such as 1,3,8, not {text!r}") from None
