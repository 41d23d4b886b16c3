"""What a histogram, and a tree, of boosted trees cost two companies: ours, and Paillier's."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.parties import Session, session
from benchmarks.vertical_common import TOOLS, Job, Row, both
from benchmarks.vertical_job import BINS, DEPTH, tables
from benchmarks.vertical_trees_ours import are_sums, parties
from privfed.vertical.trees.plan import TreesPlan

_TREES = 3  # of a training that is measured, and divided by them


def histogram(tool: str, job: Job, folder: Path) -> Row:
    """Run one histogram of the host's columns, both sides in one process."""
    ran, cost = _one(tool, folder, {"task": "histogram", "rows": job.rows, "columns": _host(job)})
    return _row(
        tool,
        "histogram",
        job,
        ran,
        **{name: cost[name] for name in ("cpu_seconds", "wall_seconds", "bytes", "exact")},
    )


def tree(tool: str, job: Job, folder: Path) -> Row:
    """Train some trees, a process a party, and return what one cost."""
    ran, _ = both(tool, job, folder, "tree", trees=_TREES)
    return _row(
        tool,
        "tree",
        job,
        ran,
        cpu_seconds=sum(cost["cpu_seconds"] for cost in ran.costs) / _TREES,
        bytes=round(sum(cost["sent_bytes"] for cost in ran.costs) / _TREES),
        wall_seconds=ran.wall_seconds / _TREES,
        exact=are_exact(job, folder),
    )


def sliced(tool: str, job: Job, folder: Path, rows: int) -> list[Row]:
    """Run a slice of rows of one histogram, and scale it to a whole one and to a tree.

    A tree encrypts once. Below its root, of two sisters one is summed and the other is the rest, so
    that half of the rows, at best, and half of the nodes are worked on.

    Returns:
        Both rows.
    """
    _, _, told = TOOLS[tool]
    rows = min(rows, job.rows)
    task = told | {"slice": rows, "columns": _host(job), "bins": BINS}
    ran, cost = _one(tool, folder, task, module="vertical_trees_paillier")
    found = []
    for what, passes, opened in (
        ("histogram", 1.0, 1),
        ("tree", 1 + (DEPTH - 1) / 2, 2 ** (DEPTH - 1)),
    ):
        encrypted = job.rows * cost["encryption_seconds"]
        summed = passes * job.rows * cost["sum_seconds"]
        seconds = encrypted + summed + opened * cost["decryption_seconds"]
        ciphertexts = job.rows + opened * _host(job) * BINS
        row = _row(
            tool,
            what,
            job,
            ran,
            cpu_seconds=seconds,
            bytes=round(ciphertexts * cost["ciphertext_bytes"]),
            wall_seconds=seconds * ran.wall_seconds / ran.costs[0]["cpu_seconds"],
            exact=cost["exact"],
        )
        found.append(replace(row, slice_of=rows))
    return found


def _host(job: Job) -> int:
    return job.columns - job.columns // 2


def _one(
    tool: str, folder: Path, task: dict[str, Any], module: str | None = None
) -> tuple[Session, dict[str, Any]]:
    """Run a worker that does both sides' work, and return what it found."""
    environment, own, _ = TOOLS[tool]
    out = folder / f"{tool}.json"
    ran = session(tool, environment, module or own, [task | {"out": str(out)}])
    found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    return ran, found


def _row(tool: str, what: str, job: Job, ran: Session, **measured: Any) -> Row:
    whole = what == "tree"
    return Row(
        task=what,
        tool=tool,
        rows=job.rows,
        columns=job.columns if whole else _host(job),
        iterations=DEPTH if whole else 1,
        slice_of=None,
        load_average=os.getloadavg()[0],
        peak_rss_bytes=max(cost["peak_rss_bytes"] for cost in ran.costs),
        data="job",
        **measured,
    )


def are_exact(job: Job, folder: Path) -> bool:
    """Tell whether what both sides kept of a training adds up to plain sums of what was asked."""
    host = parties(tables(job.rows, job.columns))[1]
    plan = TreesPlan(rows=job.rows, host_splits=len(host.splits), trees=_TREES, depth=DEPTH)
    theirs, asked, ours = (np.load(folder / f"kept{name}.npy") for name in ("10", "00", "01"))
    sums = host.splits.subsets(host.codes).sums(asked)
    return are_sums(ours + theirs, sums, plan.sums.plain_bits)
