"""How much an intersection costs: two processes on loopback, from CSV to row numbers written.

    python -m benchmarks.psi --sizes 10,14,17,20 --json FILE [--plot FILE] [--plot-lines FILE]
                            [--tools psi-vole]

Runs of all tools alternate, because the machine may be shared: compare within one run. Peers
come from `make bench-peers`, each in an environment of its own; those that are absent are left
out and named. Results are compared with Python sets. CPU time is that of a process after its
imports, all threads, mean of the two parties; start-up is what came before. Bytes are payloads of
both directions for ours and openmined-psi; spu does not tell, so that its bytes are what the
loopback interface carried meanwhile, with headers and whatever else ran on this machine. `cold` is
`psi align` of two tables of 500 IDs as a process of its own, imports included. With `--add` the
file's rows of other sizes and tools stay, so that the largest can be measured apart.
"""

import argparse
import json
import os
import random
import statistics
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.parties import free_ports, interpreter, processor, session
from benchmarks.psi_cold import cold_align
from psi.network.certificates import create_identity

# Tool: its environment, its module, its protocol, who gets the result.
TOOLS = {
    "psi-vole": ("", "psi_ours", "vole", (0, 1)),
    "psi-ecdh": ("", "psi_ours", "ecdh", (0, 1)),
    "openmined-psi": ("openmined-psi", "psi_openmined", "ecdh", (1,)),
    "spu-ecdh": ("spu", "psi_spu", "ecdh", (0, 1)),
    "spu-kkrt": ("spu", "psi_spu", "kkrt", (0, 1)),
    "spu-rr22": ("spu", "psi_spu", "rr22", (0, 1)),
}

# Those that keep what they promise against a side that cheats.
MALICIOUS = frozenset({"psi-vole", "psi-ecdh"})


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="10,14,17,20", help="log2 of IDs a side")
    parser.add_argument("--tools", default=",".join(TOOLS))
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--add", action="store_true", help="keep the file's other rows")
    parser.add_argument("--plot", type=Path, help="a picture of time and bytes against size")
    parser.add_argument("--plot-lines", type=Path, help="a picture of time against line speed")
    options = parser.parse_args()
    chosen = options.tools.split(",")
    absent = [tool for tool in chosen if not interpreter(TOOLS[tool][0]).exists()]
    rows = []
    for log2_size in map(int, options.sizes.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            ids = write_tables(Path(folder), 1 << log2_size)
            runs: dict[str, list[dict[str, Any]]] = {}
            for _ in range(options.repeats):
                for tool in chosen:
                    if tool not in absent:
                        runs.setdefault(tool, []).append(run(tool, Path(folder), ids))
        for tool, results in runs.items():
            row = {
                "tool": tool,
                "log2_size": log2_size,
                "malicious": tool in MALICIOUS,
                **summary(results, 1 << log2_size),
            }
            rows.append(row)
            print(
                f"{tool:14} 2^{log2_size:<2} cpu {row['cpu_seconds_per_party']:8.3f} s a party "
                f"(+{row['startup_cpu_seconds']:.2f} start-up)  wall {row['wall_seconds']:8.3f} s  "
                f"{row['bytes_per_item']:6.1f} bytes an item  "
                f"{row['peak_rss_bytes'] / 2**20:6.0f} MiB  "
                f"{'correct' if row['correct'] else 'WRONG'}",
                flush=True,
            )
    for tool in absent:
        print(f"{tool:14} not installed: make bench-peers")
    with tempfile.TemporaryDirectory() as folder:
        cold = cold_align(Path(folder))
    print(
        f"psi align, {cold['ids']} IDs, cold: {cold['wall_seconds']:.3f} s wall, "
        f"{cold['cpu_seconds']:.3f} s cpu, {'correct' if cold['correct'] else 'WRONG'}"
    )
    if options.add and options.json and options.json.exists():
        measured = {(row["tool"], row["log2_size"]) for row in rows}
        before = json.loads(options.json.read_text())["rows"]
        rows += [row for row in before if (row["tool"], row["log2_size"]) not in measured]
        rows.sort(key=lambda row: row["log2_size"])
    if options.json:
        machine = {"processor": processor(), "cores": os.cpu_count(), "absent": absent}
        options.json.write_text(
            json.dumps({"rows": rows, "cold": cold, **machine}, indent=1) + "\n"
        )
    if options.plot:
        from benchmarks.psi_plots import draw

        draw(rows, options.plot)
    if options.plot_lines:
        from benchmarks.psi_plots import draw_lines

        draw_lines(rows, options.plot_lines)


def write_tables(folder: Path, n: int) -> list[list[str]]:
    """Write two tables of n IDs of 28 characters, half of them shared, in two orders."""
    draw = random.Random(n)  # noqa: S311 - test data
    ids = []
    for rank, first in enumerate((0, n // 2)):
        own = [f"{number * 2654435761 % 2**64:028d}" for number in range(first, first + n)]
        draw.shuffle(own)
        (folder / f"{rank}.csv").write_text("ID\n" + "\n".join(own) + "\n")
        ids.append(own)
    for name in ("serve", "join"):
        create_identity(folder / name, unlocked=True)
    return ids


def run(tool: str, folder: Path, ids: list[list[str]]) -> dict[str, Any]:
    """Run one session of one tool."""
    environment, module, protocol, with_result = TOOLS[tool]
    task = {"protocol": protocol, "n": len(ids[0]), "folder": str(folder), "ports": free_ports()}
    tasks = []
    for rank in (0, 1):
        out = folder / f"out{rank}.csv"
        out.unlink(missing_ok=True)
        tasks.append(task | {"rank": rank, "table": str(folder / f"{rank}.csv"), "out": str(out)})
    ran = session(tool, environment, module, tasks)
    sent = [cost["sent_bytes"] for cost in ran.costs]
    total = ran.loopback_bytes if None in sent else sum(sent)
    shared = set(ids[0]) & set(ids[1])
    found = [read_result(folder / f"out{rank}.csv", ids[rank]) for rank in with_result]
    aligned = all(one == found[0] for one in found) or environment == "spu"  # sorted by itself
    correct = aligned and all(set(one) == shared and len(one) == len(shared) for one in found)
    load = os.getloadavg()[0]  # 2 is this run alone; more is other work
    return {
        "wall": ran.wall_seconds,
        "bytes": total,
        "correct": correct,
        "costs": ran.costs,
        "load": load,
    }


def read_result(path: Path, ids: list[str]) -> list[str]:
    """Return the IDs that a party found, whether it wrote them or the numbers of their rows."""
    header, *lines = path.read_text().splitlines()
    return [ids[int(line)] for line in lines] if header == "row" else [x.strip('"') for x in lines]


def summary(runs: list[dict[str, Any]], n: int) -> dict[str, Any]:
    """Return the median of some runs."""

    def median(key: str) -> float:
        means = [statistics.mean(cost[key] for cost in run["costs"]) for run in runs]
        return float(statistics.median(means))

    return {
        "cpu_seconds_per_party": median("cpu_seconds"),
        "startup_cpu_seconds": median("startup_cpu_seconds"),
        "wall_seconds": statistics.median(run["wall"] for run in runs),
        "bytes_per_item": statistics.median(run["bytes"] for run in runs) / n,
        "peak_rss_bytes": max(c["peak_rss_bytes"] for run in runs for c in run["costs"]),
        "correct": all(run["correct"] for run in runs),
        "runs": len(runs),
        "load_average": statistics.median(run["load"] for run in runs),
        "cpu_seconds_of_each_party": [[c["cpu_seconds"] for c in run["costs"]] for run in runs],
    }


if __name__ == "__main__":
    main()
