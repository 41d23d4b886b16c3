"""The parties of a measured session: a process each, in the environment that has their tool."""

import json
import platform
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.worker import MARK

__all__ = ["Session", "free_ports", "interpreter", "processor", "session"]

ROOT = Path(__file__).parent.parent
PEERS = ROOT / "build" / "peers"
LOOPBACK = Path("/sys/class/net/lo/statistics/rx_bytes")


@dataclass(frozen=True)
class Session:
    """What a session cost.

    Attributes:
        costs: What each party's `benchmarks.worker.measured` printed.
        wall_seconds: From the word to begin until the last party ended.
        loopback_bytes: What the loopback interface carried meanwhile, with headers and whatever
            else ran on this machine.
    """

    costs: list[dict[str, Any]]
    wall_seconds: float
    loopback_bytes: int


def interpreter(environment: str) -> Path:
    """Return the interpreter of a peer's environment from `make bench-peers`; "" is our own."""
    return PEERS / environment / "bin" / "python" if environment else Path(sys.executable)


def session(tool: str, environment: str, module: str, tasks: Sequence[dict[str, Any]]) -> Session:
    """Run a party of `benchmarks.MODULE` for each task; all begin when all have their imports.

    Args:
        tool: Its name, for the error.
        environment: The peer's, or "".
        module: The worker's module.
        tasks: What each party is told.

    Returns:
        What it cost.

    Raises:
        SystemExit: A party failed.
    """
    processes = [
        subprocess.Popen(
            [interpreter(environment), "-m", f"benchmarks.{module}", json.dumps(task)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for task in tasks
    ]
    for process in processes:
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            raise SystemExit(f"{tool} failed: run its worker by hand to see why")
    carried, start = int(LOOPBACK.read_text()), time.perf_counter()
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    printed = [process.communicate()[0].splitlines() for process in processes]
    wall = time.perf_counter() - start
    costs = [
        json.loads(line.removeprefix(MARK))
        for lines in printed
        for line in lines
        if line.startswith(MARK)
    ]
    if len(costs) < len(processes):
        raise SystemExit(f"{tool} failed: run its worker by hand to see why")
    return Session(costs, wall, int(LOOPBACK.read_text()) - carried)


def processor() -> str:
    """Return the processor's name, as far as the system tells."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def free_ports() -> list[int]:
    """Return two ports that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as b:
        return [one.getsockname()[1], b.getsockname()[1]]
