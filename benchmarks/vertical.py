"""What one model costs two companies that hold different columns about the same rows.

    python -m benchmarks.vertical --json FILE [--rows 10000 --columns 100 --iterations 20]

All tools do one job (`benchmarks.vertical_job`), half of the columns on each side. The task `glm`
is full-batch gradient descent for a logistic regression. Ours and spu run it whole, a process a
party on loopback; phe and sf-heu do one iteration of a slice of rows (`slice_of`), which is scaled
to the job. Peers come from `make bench-peers`, each in an environment of its own; those that are
absent are left out and named. Processor time is that of both parties together, system included,
after imports, compiled code and keys of peers; bytes are those of both directions. `metric` is the
area under the ROC curve of the model that came out, on its own rows, `reference` that of
scikit-learn's exact fit, and `coefficient_error` the largest difference between the two models'
coefficients of standardised columns; slices train nothing, so they have none. The task `predict` is
the cost of one row when `rows` rows are predicted at once, ours alone, with a model whose
coefficients stay shared (whose owners know theirs pays less); its `metric` is that of the rounded
scores. `spu-cheetah-t1` is spu with SecretFlow's default, a sigmoid cut from a line.

The tasks of boosted trees: `histogram` sums gradients and hessians (integers of 16 bits) of all
rows over 32 bins of each of the host's columns, once, both sides in one process; of ours a key and
the transforms of bins count, which a model makes once. `tree` is one tree, 4 deep: of ours, three
are grown over the connection and divided by three. phe and sf-heu do a slice of rows as
SecureBoost+ does it (`benchmarks.vertical_trees_paillier`), in which the guest reads every
histogram; a tree counts no network and half of the work below the root. `exact` tells whether all
sums are those of plain integers. Further rows of `tree` are of `--data`, trained once a seed in one
process (`benchmarks.vertical_trees_quality`): `metric` is then the mean AUC of rows held out,
`reference` XGBoost's on both tables in one place, `alone` XGBoost's on the guest's. The job's own
are in its row, up to 20,000 rows.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from benchmarks import vertical_trees
from benchmarks.parties import interpreter, processor, session
from benchmarks.rows import print_table
from benchmarks.vertical_common import TOOLS, Job, Row, both
from benchmarks.vertical_job import Floats, tables
from benchmarks.vertical_ours import keep_shares
from benchmarks.vertical_trees_quality import ENVIRONMENT, SOURCES, judged
from privfed.table import Table


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
    ran, found = both(tool, job, folder, "glm")
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
    ran, found = both(tool, job, folder, "predict")
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
    parser.add_argument("--data", default="job," + ",".join(SOURCES), help="that trees are good on")
    parser.add_argument(
        "--seeds", type=int, default=6, help="at least 2; small tables get four times as many"
    )
    parser.add_argument("--tools", default=",".join(TOOLS))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    job = Job(options.rows, options.columns, options.iterations)
    exact = Exact(job)
    data = options.data.split(",") if options.data else []
    rows: list[Row] = []
    absent = []
    for tool in options.tools.split(","):
        environment, module, _ = TOOLS[tool]
        if not interpreter(environment).exists():
            absent.append(tool)
            continue
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            if module == "vertical_paillier":
                rows.append(sliced(tool, job, place, options.slice))
                rows += vertical_trees.sliced(tool, job, place, options.slice)
            elif module == "vertical_trees_ours":
                rows.append(vertical_trees.histogram(tool, job, place))
                rows.append(vertical_trees.tree(tool, job, place))
                rows += judged(rows.pop(), job, data, options.seeds, place)
            else:
                rows.append(trained(tool, job, place, exact))
        if module == "vertical_ours":
            with tempfile.TemporaryDirectory() as folder:
                rows.append(predicted(tool, job, Path(folder), exact))
    if any(row.seeds for row in rows) and not interpreter(ENVIRONMENT).exists():
        absent.append(ENVIRONMENT)
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
            row.data or "job",
            shown(row.slice_of, ","),
            figure(row.cpu_seconds),
            figure(row.wall_seconds),
            figure(row.bytes / 1e6),
            shown(row.metric, ".4f"),
            shown(row.reference, ".4f"),
            shown(row.alone, ".4f"),
            "–" if row.exact is None else "yes" if row.exact else "no",
            shown(row.coefficient_error, ".1e"),
            shown(row.peak_rss_bytes and row.peak_rss_bytes / 1e6, ",.0f"),
        ]
        for row in rows
    ]
    head = (
        *("tool", "task", "data", "slice", "cpu s", "wall s", "MB", "AUC", "reference", "alone"),
        *("exact", "error", "MB RSS"),
    )
    return Table(head, cells)


if __name__ == "__main__":
    main()
