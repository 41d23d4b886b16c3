"""What one linear model costs two companies that hold different columns about the same rows.

    python -m benchmarks.vertical --json FILE [--rows 10000 --columns 100 --iterations 20]

All tools do one job (`benchmarks.vertical_job`): full-batch gradient descent for a logistic
regression, half of the columns on each side. Ours and spu run it whole, a process a party on
loopback; phe and sf-heu do one iteration of a slice of rows (`slice_of`), which is scaled to the
job. Peers come from `make bench-peers`, each in an environment of its own; those that are absent
are left out and named. Processor time is that of both parties together, system included, after
imports, compiled code and keys of peers; bytes are those of both directions. `metric` is the area
under the ROC curve of the model that came out, on its own rows, `reference` that of scikit-learn's
exact fit, and `coefficient_error` the largest difference between the two models' coefficients of
standardised columns; slices train nothing, so they have none. The task `predict` is the cost of
one row when `rows` rows are predicted at once, ours alone, with a model whose coefficients stay
shared (whose owners know theirs pays less); its `metric` is that of the rounded scores.
`spu-cheetah-t1` is spu with SecretFlow's default, a sigmoid cut from a line.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from benchmarks.parties import Session, free_ports, interpreter, processor, session
from benchmarks.rows import print_table
from benchmarks.vertical_job import Floats, tables
from benchmarks.vertical_ours import SIDES, keep_shares
from privfed.table import Table
from psi.network.certificates import create_identity

# Tool: its environment, its module, and what its workers are told besides the job.
TOOLS: dict[str, tuple[str, str, dict[str, str]]] = {
    "privfed-glm": ("", "vertical_ours", {}),
    "spu-cheetah": ("spu", "vertical_spu", {"sigmoid": "exact"}),
    "spu-cheetah-t1": ("spu", "vertical_spu", {"sigmoid": "t1"}),
    "phe": ("phe", "vertical_paillier", {"scheme": "phe"}),
    "heu-ou": ("heu", "vertical_paillier", {"scheme": "ou"}),
    "heu-zpaillier": ("heu", "vertical_paillier", {"scheme": "z-paillier"}),
}


@dataclass(frozen=True)
class Job:
    """What every tool is asked for; `columns` are those of both sides together."""

    rows: int
    columns: int
    iterations: int


@dataclass(frozen=True)
class Row:
    """What one tool cost.

    Attributes:
        task: "glm", the whole training, or "predict", one row of `rows`.
        tool: Its name.
        rows: Rows of the job.
        columns: Columns of both sides together.
        iterations: How often all rows were gone through.
        slice_of: Rows that were measured and scaled; None for a job that ran whole.
        cpu_seconds: Processor seconds of both parties together.
        bytes: What was sent, in both directions.
        wall_seconds: The session's time; other work on the machine stretches it.
        metric: Area under the ROC curve.
        reference: The same of the exact fit.
        coefficient_error: Largest difference to the exact fit's coefficients.
        load_average: 2 is this run alone; more is other work.
        peak_rss_bytes: The most memory that one party took, what it imports included.
    """

    task: str
    tool: str
    rows: int
    columns: int
    iterations: int
    slice_of: int | None
    cpu_seconds: float
    bytes: int
    wall_seconds: float
    metric: float | None = None
    reference: float | None = None
    coefficient_error: float | None = None
    load_average: float | None = None
    peak_rss_bytes: int | None = None


class Exact:
    """The exact fit of a job, and how far a model is from it."""

    def __init__(self, job: Job) -> None:
        drawn = tables(job.rows, job.columns)
        self._matrix, self._labels = np.hstack((drawn.guest, drawn.host)), drawn.labels
        model = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000)
        fit = model.fit(self._matrix, self._labels)
        self._coefficients = fit.coef_[0]
        self.area = self.area_of(self._coefficients)

    def error(self, coefficients: Floats) -> float:
        """Return the largest difference between coefficients."""
        return float(np.abs(coefficients - self._coefficients).max())

    def area_of(self, coefficients: Floats) -> float:
        """Return the area under the curve of these coefficients' scores."""
        return self.area_by(self._matrix @ coefficients)

    def area_by(self, scores: Floats) -> float:
        """Return the area under the curve of these scores."""
        return float(roc_auc_score(self._labels, scores))


def trained(tool: str, job: Job, folder: Path, exact: Exact) -> Row:
    """Run a job whole, a process a party."""
    ran, found = _both(tool, job, folder, "glm")
    return Row(
        task="glm",
        tool=tool,
        **asdict(job),
        slice_of=None,
        cpu_seconds=sum(cost["cpu_seconds"] for cost in ran.costs),
        bytes=sum(cost["sent_bytes"] for cost in ran.costs),
        wall_seconds=ran.wall_seconds,
        metric=exact.area_of(found),
        reference=exact.area,
        coefficient_error=exact.error(found),
        load_average=os.getloadavg()[0],
        peak_rss_bytes=max(cost["peak_rss_bytes"] for cost in ran.costs),
    )


def predicted(tool: str, job: Job, folder: Path, exact: Exact) -> Row:
    """Score all rows at once, a process a party, and return what one row cost."""
    keep_shares(tables(job.rows, job.columns), job.iterations, folder)
    ran, found = _both(tool, job, folder, "predict")
    return Row(
        task="predict",
        tool=tool,
        **asdict(job),
        slice_of=None,
        cpu_seconds=sum(cost["cpu_seconds"] for cost in ran.costs) / job.rows,
        bytes=round(sum(cost["sent_bytes"] for cost in ran.costs) / job.rows),
        wall_seconds=ran.wall_seconds / job.rows,
        metric=exact.area_by(found),
        reference=exact.area,
        load_average=os.getloadavg()[0],
        peak_rss_bytes=max(cost["peak_rss_bytes"] for cost in ran.costs),
    )


def _both(tool: str, job: Job, folder: Path, what: str) -> tuple[Session, Floats]:
    """Run both parties of a task; return what it cost, and what both found."""
    environment, module, told = TOOLS[tool]
    task = asdict(job) | told | {"task": what, "ports": free_ports(), "folder": str(folder)}
    for name in SIDES:
        create_identity(folder / name, unlocked=True)
    outs = [folder / f"{tool}{rank}.json" for rank in (0, 1)]
    tasks = [task | {"rank": rank, "out": str(out)} for rank, out in enumerate(outs)]
    ran = session(tool, environment, module, tasks)
    return ran, np.hstack([json.loads(out.read_text()) for out in outs])


def sliced(tool: str, job: Job, folder: Path, rows: int) -> Row:
    """Run one iteration of a slice of rows, and scale it to the job."""
    environment, module, told = TOOLS[tool]
    out = folder / f"{tool}.json"
    rows = min(rows, job.rows)
    task = told | {"slice": rows, "columns": job.columns, "out": str(out)}
    ran = session(tool, environment, module, [task])
    cost = json.loads(out.read_text())
    seconds = job.iterations * (job.rows * cost["row_seconds"] + cost["decryption_seconds"])
    ciphertexts = job.iterations * (2 * job.rows + job.columns)
    return Row(
        task="glm",
        tool=tool,
        **asdict(job),
        slice_of=rows,
        cpu_seconds=seconds,
        bytes=round(ciphertexts * cost["ciphertext_bytes"]),
        wall_seconds=seconds * ran.wall_seconds / ran.costs[0]["cpu_seconds"],
        load_average=os.getloadavg()[0],
        peak_rss_bytes=max(cost["peak_rss_bytes"] for cost in ran.costs),
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--columns", type=int, default=100, help="of both sides together")
    parser.add_argument("--iterations", type=int, default=20)
    parser.add_argument("--slice", type=int, default=100, help="rows that Paillier's tools run")
    parser.add_argument("--tools", default=",".join(TOOLS))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    job = Job(options.rows, options.columns, options.iterations)
    exact = Exact(job)
    rows: list[Row] = []
    absent = []
    for tool in options.tools.split(","):
        environment, module, _ = TOOLS[tool]
        if not interpreter(environment).exists():
            absent.append(tool)
            continue
        with tempfile.TemporaryDirectory() as folder:
            if module == "vertical_paillier":
                rows.append(sliced(tool, job, Path(folder), options.slice))
                continue
            rows.append(trained(tool, job, Path(folder), exact))
        if module == "vertical_ours":
            with tempfile.TemporaryDirectory() as folder:
                rows.append(predicted(tool, job, Path(folder), exact))
    print_table(table(rows))
    for tool in absent:
        print(f"{tool} not installed: make bench-peers")
    if options.json:
        machine = {"processor": processor(), "cores": os.cpu_count(), "absent": absent}
        document = {"rows": [asdict(row) for row in rows], **machine}
        options.json.write_text(json.dumps(document, indent=1) + "\n")


def table(rows: Sequence[Row]) -> Table:
    """Return what is printed."""

    def shown(value: float | None, form: str) -> str:
        return "–" if value is None else format(value, form)

    def figure(value: float) -> str:
        return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"

    cells = [
        [
            row.tool,
            row.task,
            shown(row.slice_of, ","),
            figure(row.cpu_seconds),
            figure(row.wall_seconds),
            figure(row.bytes / 1e6),
            shown(row.metric, ".4f"),
            shown(row.reference, ".4f"),
            shown(row.coefficient_error, ".1e"),
            shown(row.peak_rss_bytes and row.peak_rss_bytes / 1e6, ",.0f"),
        ]
        for row in rows
    ]
    head = ("tool", "task", "slice", "cpu s", "wall s", "MB", "AUC", "exact", "error", "MB RSS")
    return Table(head, cells)


if __name__ == "__main__":
    main()
