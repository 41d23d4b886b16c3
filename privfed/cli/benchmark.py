"""`privfed benchmark`: what learning together gives, and what hiding it costs."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from privfed import defaults
from privfed.cli.asked import check_new_folder, command_line
from privfed.cli.party_options import PartiesOptions
from privfed.errors import ConfigError
from psi.cli.options import spread

if TYPE_CHECKING:
    from privfed.data import Encoding
    from privfed.data.dataset import DataKind
    from privfed.experiment import Settings
    from privfed.experiment.settings import PrivateModel


_EPSILONS = ",".join(f"{each:g}" for each in defaults.EPSILONS)


@spread
def benchmark(
    context: typer.Context,
    options: PartiesOptions,
    data: Annotated[
        list[str],
        typer.Option(
            help="Path of a CSV, XLSX or Parquet file, “openml”, or “surrogate”; or a file for "
            "each party."
        ),
    ] = [defaults.SURROGATE],  # noqa: B006 - typer copies it
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
    split: Annotated[
        str | None,
        typer.Option(
            help="overlapping (as in the paper), disjoint, deduplicated; or several: a,b. Rows "
            "whose party your table names are as-given."
        ),
    ] = None,
    encoding: Annotated[
        str | None,
        typer.Option(help="codes (the dresses', as in the paper) or onehot (a table of your own)."),
    ] = None,
    arms: Annotated[
        str | None,
        typer.Option(
            help="Some of guest, host, party-3 …, overall, federated-float, federated, "
            "federated-he; private: federated-he-dp, single-party, local-noise, noise-shares, "
            "central-noise; separated by commas, a name with a comma in quotation marks; all "
            "without it."
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
    private_model: Annotated[
        str | None,
        typer.Option(
            help="What the private arms train: dress, as all others, or linear (of digits and "
            "breast-cancer): a layer alone, with fewer weights for noise."
        ),
    ] = None,
    beside: Annotated[
        str | None,
        typer.Option(
            help="Data that can be learnt, on which private arms run too, ten parties: digits "
            "(beside all arms on dresses) or none."
        ),
    ] = None,
    reference: Annotated[
        bool,
        typer.Option(
            "--reference",
            help="scikit-learn's logistic regression, of numbers ridge regression, and boosting "
            "beside the arms.",
        ),
    ] = False,
    out: Annotated[Path, typer.Option(help="Output folder.")] = Path("privfed-report"),
    quick: Annotated[
        bool, typer.Option("--quick", help=f"One seed and {defaults.QUICK_ROUNDS} rounds.")
    ] = False,
    workers: Annotated[
        int, typer.Option("--jobs", min=1, help="How many runs go on at once, a process each.")
    ] = 1,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Show what would run and what it takes; write nothing."),
    ] = False,
) -> None:
    """Train alone, pooled, federated, encrypted and private; compare; write a report.

    First says what will run, and how long it will take. Writes results.json, report.html and the
    trained models to the output folder. Interrupted, it keeps what had finished and goes on from
    there when it is called again in the same way.

    Examples:
        privfed benchmark --quick

        privfed benchmark --data own.csv --label late --id customer

        privfed benchmark --data "Attribute DataSet.csv" --split overlapping,disjoint

        privfed benchmark --dataset digits --parties 10 --arms overall,federated-he,federated-he-dp

        privfed benchmark --data orders.csv --label late --id customer --party shop

        privfed benchmark --data north.csv --data south.csv --label late

        privfed benchmark --dataset digits --sizes 900,300,100 --skew labels=0.5
    """
    from privfed.cli.benchmark_parts import READING, Part, run_parts  # torch waits for work
    from privfed.cli.benchmark_progress import Pace, shown
    from privfed.data import load_dataset, load_own_parties
    from privfed.experiment import BESIDE, Settings, jobs, settings_beside, usual_private_model

    check_new_folder(out, files=("results.json", "report.html"), folders=("models", "runs", BESIDE))
    total = rounds if rounds is not None else defaults.QUICK_ROUNDS if quick else defaults.ROUNDS
    chosen = dataset or ("table" if label or schema else defaults.DATASET)
    private = private_rounds if private_rounds is not None else min(defaults.PRIVATE_ROUNDS, total)
    kind, encoded = cast("DataKind", chosen), cast("Encoding | None", encoding)
    read: dict[str, Any] = {
        "label": label,
        "id_column": id_column,
        "encoding": encoded,
        "schema": schema,
    }
    owned = None
    if options.are_given(data, chosen):  # their names are arms' names: settings need them
        with shown(Pace(READING)):
            owned = load_own_parties(data, party_column=options.party, **read)
    settings = Settings(
        **options.settings(
            _listed(split) if split else None, chosen, owned.owners if owned else None
        ),
        arms=_names(arms) if arms is not None else None,
        rounds=total,
        private_rounds=private,
        private_steps=defaults.STEPS_PER_PRIVATE_ROUND * private,
        seeds=seeds if seeds is not None else defaults.QUICK_SEEDS if quick else defaults.SEEDS,
        epsilons=[_number(text) for text in _listed(epsilon)],
        delta=delta,
        centred=not uncentred,
        private_model=cast("PrivateModel", private_model or usual_private_model(kind)),
        reference=reference,
    )
    jobs(settings)  # refuses a wrong arm before data are read
    command = command_line(context)
    parts = [Part(settings, lambda: owned or load_dataset(chosen, data[0], **read), out, command)]
    if _has_beside(beside, chosen, settings):
        more = settings_beside(settings)
        parts.append(Part(more, lambda: load_dataset(BESIDE), out / BESIDE, command))
    run_parts(parts, workers=workers, dry_run=dry_run)


def _has_beside(asked: str | None, chosen: str, settings: Settings) -> bool:
    """Return whether the private arms run on other data, too."""
    from privfed.experiment import BESIDE, jobs

    if asked not in (None, BESIDE, "none"):
        raise ConfigError(f"--beside takes {BESIDE} or none, not {asked!r}")
    if asked is None:
        return chosen == defaults.DATASET and settings.arms is None
    return asked == BESIDE and any(job.arm.private for job in jobs(settings))


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _names(text: str) -> list[str]:
    """Return names as a line of CSV has them: with quotation marks one may hold a comma."""
    (names,) = csv.reader([text], skipinitialspace=True)
    return [name.strip() for name in names if name.strip()]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"--epsilon takes numbers such as 1,3,8, not {text!r}") from None
