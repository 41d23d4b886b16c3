"""What a round costs where privfed is embedded: in Flower, in NVFlare, and over its own transport.

Run: python -m benchmarks.embedding --json FILE [--engines nvflare,command --methods plain,privfed]

A model of --params float32 values goes round and nothing is trained: each client adds a constant to
every value, and it is checked that the mean of all comes back. Engines run as they come, without
evaluation: "flower-deployment" is a SuperLink and SuperNodes as processes on loopback, with TLS and
node authentication; "flower-simulation" is Ray; "nvflare" its simulator; "command" is `privfed
train`. All but the last run in an environment of their own: make bench-peers. An engine's methods
take turns, as the machine may be shared: compare within one file.

A round goes from its start to the next one's; a run's first and last are left out. Seconds are the
median; bytes are those of a client, of arrays and settings as they are in messages, without what a
transport adds; processor time is that of all processes together.
"""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, median
from typing import get_args

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.embedding_engines import METHODS, PEERS, Engine, Method, Task, run
from benchmarks.embedding_work import Cost
from benchmarks.parties import interpreter
from benchmarks.rows import print_table, write
from privfed.table import Table

CLIENTS: dict[Engine, tuple[int, ...]] = {
    "flower-deployment": (3,),
    "flower-simulation": (3, 10),
    "nvflare": (3,),
    "command": (3,),
}
PACKAGES: tuple[str, ...] = ("flwr", "ray", "nvflare", "privfed", "numpy", "tenseal")


@dataclass(frozen=True)
class Row:
    """What a round cost; see above.

    Attributes:
        engine: What carries messages.
        method: How updates are averaged.
        clients: How many there are.
        params: Values in the model.
        round_seconds: From its start to the next one's.
        upload_bytes: What a client sends.
        download_bytes: What it receives.
        cpu_seconds: What all processes use.
        finished: Whether all runs ended well, with the right means; else there are no figures.
        rounds: How many a run had.
        runs: How many there were.
        load_average: While they ran, in the last minute of each; what else the machine did counts.
    """

    engine: Engine
    method: Method
    clients: int
    params: int
    round_seconds: float | None
    upload_bytes: int | None
    download_bytes: int | None
    cpu_seconds: float | None
    finished: bool
    rounds: int
    runs: int
    load_average: float


def tasks(
    engines: Sequence[str], methods: Sequence[str], clients: str, params: int, rounds: int
) -> Iterator[list[Task]]:
    """Yield the runs that take turns.

    Args:
        engines: Whose.
        methods: Whose, where an engine has them.
        clients: How many, comma-separated; "": what `CLIENTS` has.
        params: Values in the model.
        rounds: How many a run has.

    Yields:
        Those of one engine and one number of clients.
    """
    for engine in get_args(Engine):
        if engine in engines:
            for count in map(int, clients.split(",")) if clients else CLIENTS[engine]:
                yield [
                    Task(engine, method, count, params, rounds)
                    for method in METHODS[engine]
                    if method in methods
                ]


def row(task: Task, runs: Sequence[list[Cost] | None], loads: Sequence[float]) -> Row:
    """Return a row.

    Args:
        task: What ran.
        runs: What the rounds of each run cost.
        loads: The machine's load at the end of each run.
    """
    rounds = [each for one in runs for each in one or ()]
    finished = all(one is not None for one in runs)

    def mean(key: str) -> float | None:
        return fmean(each[key] for each in rounds) if finished else None

    upload, download = mean("upload_bytes"), mean("download_bytes")
    return Row(
        **asdict(task),
        round_seconds=median(each["round_seconds"] for each in rounds) if finished else None,
        upload_bytes=None if upload is None else round(upload),
        download_bytes=None if download is None else round(download),
        cpu_seconds=mean("cpu_seconds"),
        finished=finished,
        runs=len(runs),
        load_average=median(loads),
    )


def measure(turns: Sequence[Task], runs: int, advance: Callable[[Task], None]) -> list[Row]:
    """Run tasks in turn; return a row for each."""
    found: dict[Task, list[list[Cost] | None]] = {task: [] for task in turns}
    loads: dict[Task, list[float]] = {task: [] for task in turns}
    for _ in range(runs):
        for task in turns:
            advance(task)
            found[task].append(run(task))
            loads[task].append(os.getloadavg()[0])
    return [row(task, found[task], loads[task]) for task in turns]


def table(rows: Sequence[Row]) -> Table:
    """Return the rows for a terminal."""
    head = ("engine", "method", "clients", "round s", "up MB", "down MB", "cpu s", "finished")
    cells = [
        (
            each.engine,
            each.method,
            str(each.clients),
            _shown(each.round_seconds, 1, 2),
            _shown(each.upload_bytes, 1e6, 3),
            _shown(each.download_bytes, 1e6, 3),
            _shown(each.cpu_seconds, 1, 2),
            "yes" if each.finished else "no",
        )
        for each in rows
    ]
    return Table(head, cells)


def _shown(figure: float | None, unit: float, places: int) -> str:
    return "–" if figure is None else f"{figure / unit:.{places}f}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engines", default=",".join(get_args(Engine)))
    parser.add_argument("--methods", default=",".join(get_args(Method)))
    parser.add_argument("--clients", default="", help="comma-separated; 3, and 10 in simulation")
    parser.add_argument("--params", type=int, default=1_000_000)
    parser.add_argument(
        "--rounds", type=int, default=6, help="of a run; the first and the last are left out"
    )
    parser.add_argument("--runs", type=int, default=2, help="of each method, in turn")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args(arguments)
    engines, python, packages = asked.engines.split(","), interpreter(PEERS), PACKAGES
    if not python.exists():
        print("Flower and NVFlare are left out; to have them: make bench-peers", file=sys.stderr)
        engines, python, packages = ["command"], Path(sys.executable), PACKAGES[-3:]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))  # what was started ends, too
    groups = list(
        tasks(
            engines,
            asked.methods.split(","),
            asked.clients,
            asked.params,
            asked.rounds,
        )
    )
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    rows: list[Row] = []
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True)) as bar:
        shown = bar.add_task("starting", total=asked.runs * sum(map(len, groups)))

        def advance(task: Task) -> None:
            what = f"{task.engine}, {task.clients} clients, {task.method}"
            bar.update(shown, advance=1, description=what)

        for turns in groups:
            rows += measure(turns, asked.runs, advance)
    print_table(table(rows))
    if asked.json:
        write(asked.json, rows, packages, python)


if __name__ == "__main__":
    main()
