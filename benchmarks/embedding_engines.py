"""One run of `benchmarks.embedding` in an engine: all that it starts ends with it."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from benchmarks.embedding_work import EXAMPLES, MARK, Cost, costs, start
from benchmarks.flower_deployment import Config, Deployment, write_app
from benchmarks.parties import ROOT, interpreter
from benchmarks.processes import end_marked

__all__ = ["METHODS", "PEERS", "Engine", "Method", "Task", "run"]

Engine = Literal["flower-deployment", "flower-simulation", "nvflare", "command"]
Method = Literal["plain", "privfed", "secagg+"]

METHODS: dict[Engine, tuple[Method, ...]] = {
    "flower-deployment": ("plain", "privfed", "secagg+"),
    "flower-simulation": ("plain", "privfed", "secagg+"),
    "nvflare": ("plain", "privfed"),
    "command": ("plain", "privfed"),
}
PEERS = "flower"  # the environment of Flower and NVFlare
HANG_SECONDS = 1800  # after which a simulation of NVFlare's is taken for dead
_APPS: dict[Method, str] = {
    "plain": "benchmarks.embedding_plain",
    "privfed": "benchmarks.embedding_privfed",
    "secagg+": "benchmarks.embedding_secagg",
}


@dataclass(frozen=True)
class Task:
    """A run.

    Attributes:
        engine: What carries messages.
        method: How updates are averaged.
        clients: How many there are.
        params: Values in the model.
        rounds: How many there are.
    """

    engine: Engine
    method: Method
    clients: int
    params: int
    rounds: int


def run(task: Task) -> list[Cost] | None:
    """Run once; return what rounds cost, or None if it did not end well."""
    if task.engine == "command":
        return command(task)
    with tempfile.TemporaryDirectory(prefix="embedding-") as name:
        return (nvflare if task.engine == "nvflare" else flower)(task, Path(name))


def flower(task: Task, folder: Path) -> list[Cost] | None:
    """Run a Flower app."""
    noted, app = folder / "costs.json", _APPS[task.method]
    deployed = task.engine == "flower-deployment"
    keys = folder / "keys"
    if task.method == "privfed":
        make_keys(keys, "0", range(task.clients), task.params)
    nodes: list[Config] = [
        {"partition-id": place, "privfed-keys": str(keys / str(place))}
        for place in range(task.clients)
    ]
    with Deployment(
        folder / "flower",
        nodes if deployed else [],
        simulated=0 if deployed else task.clients,
        environment={
            "PYTHONPATH": str(ROOT),
            "PRIVFED_KEYS": str(keys),
            "RAY_TMPDIR": str(folder),
            MARK: str(folder),
        },
        python=interpreter(PEERS),
    ) as deployment:
        written = write_app(
            *(folder / "app", f"{app}:server", f"{app}:client"),
            clients=task.clients,
            params=task.params,
            rounds=task.rounds,
            costs=str(noted),
        )
        ended = deployment.run(written)
        if ended.status == "finished:completed":
            return costs(json.loads(noted.read_text()), task.clients)
        print(ended.log[-2000:], file=sys.stderr)
        return None


def make_keys(folder: Path, array: str, clients: Iterable[object], params: int) -> None:
    """Make a keyring for each client, by its name; the engine says what the array is called."""
    from privfed.integrations import simulated_keys

    names = list(map(str, clients))
    model = {array: start(params)}
    simulated_keys(folder, model, parties=names, clip_range=1.0, max_weight=EXAMPLES)


def nvflare(task: Task, folder: Path) -> list[Cost] | None:
    """Run a job in NVFlare's simulator, whose meter sees one client alone."""
    told: dict[str, Any] = asdict(task) | {"folder": str(folder)}
    if task.method == "privfed":
        sites = (f"site-{place + 1}" for place in range(task.clients))
        make_keys(folder / "keys", "numpy_key", sites, task.params)
    process = subprocess.Popen(
        [interpreter(PEERS), "-m", "benchmarks.embedding_nvflare", json.dumps(told)],
        cwd=ROOT,
        env=os.environ | {MARK: str(folder), "PRIVFED_KEYS": str(folder / "keys")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for us, who end it
    )
    try:
        if process.wait(HANG_SECONDS) == 0:
            return costs(json.loads((folder / "costs.json").read_text()), 1)
    except subprocess.TimeoutExpired:
        print("NVFlare's simulator hangs", file=sys.stderr)
    finally:
        end_marked(MARK, str(folder))
        process.wait()
    return None


def command(task: Task) -> list[Cost] | None:
    """Train between processes of privfed's own."""
    from benchmarks import embedding_command  # which loads torch

    job = embedding_command.Adding.of(task.clients, task.params, task.rounds)
    try:
        return embedding_command.run(job, "plain" if task.method == "plain" else "encrypted")
    except SystemExit as error:
        print(error, file=sys.stderr)
        return None
