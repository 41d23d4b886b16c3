"""What the tasks of benchmarks.vertical share: tools, jobs, rows, sessions of two parties."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.parties import Session, free_ports, session
from benchmarks.vertical_job import Floats
from benchmarks.vertical_ours import SIDES
from psi.network.certificates import create_identity

# Tool: its environment, its module, and what its workers are told besides the job.
TOOLS: dict[str, tuple[str, str, dict[str, str]]] = {
    "privfed-glm": ("", "vertical_ours", {}),
    "privfed-trees": ("", "vertical_trees_ours", {}),
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
        task: "glm", the whole training, or "predict", one row of `rows`; of trees "histogram", one
            of them, or "tree", one tree.
        tool: Its name.
        rows: Rows of the job.
        columns: Columns of both sides together; of a histogram the host's, which it is of.
        iterations: How often all rows were gone through; of a tree its depth.
        slice_of: Rows that were measured and scaled; None for a job that ran whole.
        cpu_seconds: Processor seconds of both parties together.
        bytes: What was sent, in both directions.
        wall_seconds: The session's time; other work on the machine stretches it.
        metric: Area under the ROC curve.
        reference: The same of the exact fit.
        coefficient_error: Largest difference to the exact fit's coefficients.
        load_average: 2 is this run alone; more is other work.
        peak_rss_bytes: The most memory that one party took, what it imports included.
        exact: Whether all sums that came out are those of plain integers.
        data: What the next ones are of: "job", or the name of a table.
        seeds: How often it was trained, on other rows each time; all that follow are means.
        alone: What the guest reaches with its own columns, in the clear.
        metric_interval: Student's t, 95 %, over the seeds.
        reference_interval: The same for the reference.
        alone_interval: The same for the guest alone.
        gain_interval: That of the metric less alone, seed by seed; corrected where seeds share
            rows.
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
    exact: bool | None = None
    data: str | None = None
    seeds: int | None = None
    alone: float | None = None
    metric_interval: tuple[float, float] | None = None
    reference_interval: tuple[float, float] | None = None
    alone_interval: tuple[float, float] | None = None
    gain_interval: tuple[float, float] | None = None


def both(tool: str, job: Job, folder: Path, what: str, **more: int) -> tuple[Session, Floats]:
    """Run both parties of a task; return what it cost, and what both found."""
    environment, module, told = TOOLS[tool]
    task = asdict(job) | told | more | {"task": what, "ports": free_ports(), "folder": str(folder)}
    for name in SIDES:
        create_identity(folder / name, unlocked=True)
    outs = [folder / f"{tool}{rank}.json" for rank in (0, 1)]
    tasks = [task | {"rank": rank, "out": str(out)} for rank, out in enumerate(outs)]
    ran = session(tool, environment, module, tasks)
    return ran, np.hstack([json.loads(out.read_text()) for out in outs])
