"""How much an intersection of three costs: a process each on loopback, from CSV to row numbers.

    python -m benchmarks.psi_together --sizes 14,17,20 --json FILE

All parties get the result; a half of each table is in all tables, a quarter in one other. `bytes an
item and member` is what all parties sent together, for each item of a table and each party but the
leader: what the leader and one member send each other, and the few hundred bytes between members.
CPU time is that of a process after its imports, of the leader and the mean of the members. A size
is the logarithm of a number of IDs, or the number itself.
"""

import argparse
import json
import os
import random
import statistics
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.parties import free_ports, processor, session
from psi.network.certificates import create_identity

PARTIES = 3


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="14,17,1000000", help="IDs a party, or their log2")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = []
    for size in map(int, options.sizes.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            rows.append(run(Path(folder), 1 << size if size < 64 else size))
        row = rows[-1]
        print(
            f"{row['ids_a_party']:9} IDs a party  cpu {row['leader_cpu_seconds']:7.2f} s the leader"
            f" {row['member_cpu_seconds']:7.2f} s a member  wall {row['wall_seconds']:7.2f} s  "
            f"{row['bytes_an_item_and_member']:6.1f} bytes an item and member  "
            f"{row['peak_rss_bytes'] / 2**20:6.0f} MiB  "
            f"{'correct' if row['correct'] else 'WRONG'}",
            flush=True,
        )
    if options.json:
        machine = {"processor": processor(), "cores": os.cpu_count(), "parties": PARTIES}
        options.json.write_text(json.dumps({"rows": rows, **machine}, indent=1) + "\n")


def run(folder: Path, n: int) -> dict[str, Any]:
    """Run one session, and return what it cost."""
    ids = write_tables(folder, n)
    tasks: list[dict[str, Any]] = [
        {
            "rank": rank,
            "n": n,
            "folder": str(folder),
            "table": str(folder / f"{rank}.csv"),
            "out": str(folder / f"out{rank}.csv"),
        }
        for rank in range(PARTIES)
    ]
    ran = session("psi-together", "", "psi_member", tasks)
    shared = set.intersection(*map(set, ids))
    found = [
        [own[int(row)] for row in (folder / f"out{rank}.csv").read_text().splitlines()[1:]]
        for rank, own in enumerate(ids)
    ]
    aligned = all(one == found[0] for one in found)
    sent = [cost["sent_bytes"] for cost in ran.costs]
    leader, *members = [cost["cpu_seconds"] for cost in ran.costs]
    return {
        "ids_a_party": n,
        "leader_cpu_seconds": leader,
        "member_cpu_seconds": statistics.mean(members),
        "startup_cpu_seconds": statistics.mean(c["startup_cpu_seconds"] for c in ran.costs),
        "wall_seconds": ran.wall_seconds,
        "bytes_an_item_and_member": sum(sent) / n / (PARTIES - 1),
        "sent_bytes": sent,
        "peak_rss_bytes": max(cost["peak_rss_bytes"] for cost in ran.costs),
        "peak_rss_bytes_of_each": [cost["peak_rss_bytes"] for cost in ran.costs],
        "correct": aligned and set(found[0]) == shared and len(found[0]) == len(shared),
        "load_average": os.getloadavg()[0],
    }


def write_tables(folder: Path, n: int) -> list[list[str]]:
    """Write a table of n IDs of 28 characters for each party, and the roster."""
    draw = random.Random(n)  # noqa: S311 - test data
    blocks = [range(k * n // 4, (k + 1) * n // 4) for k in range(2)]
    beyond = [range(n + k * n, n + k * n + n // 4) for k in range(PARTIES)]
    ids, ports, roster = [], free_ports(), []
    for rank in range(PARTIES):
        parts = [*blocks, beyond[rank], beyond[(rank + 1) % PARTIES]]
        numbers = [number for part in parts for number in part]
        numbers += range(10 * n, 11 * n - len(numbers))  # what the quarters lack, in all tables
        own = [f"{number * 2654435761 % 2**64:028d}" for number in numbers]
        draw.shuffle(own)
        (folder / f"{rank}.csv").write_text("ID\n" + "\n".join(own) + "\n")
        create_identity(folder / f"party{rank}", unlocked=True)
        address = f"address = '127.0.0.1:{ports[rank]}'\n" if rank < PARTIES - 1 else ""
        roster.append(f"[party{rank}]\ncertificate = 'party{rank}.crt'\n{address}")
        ids.append(own)
    (folder / "parties.toml").write_text("\n".join(roster))
    return ids


if __name__ == "__main__":
    main()
