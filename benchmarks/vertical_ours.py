"""A party of ours, rank 0 the guest: both whiten, train, and get their own coefficients.

Over psi's connection on loopback. What is compiled is loaded before: by the training of a small
model in this process alone.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.vertical_job import Tables, tables
from benchmarks.worker import Work, measured

SIDES = ("serve", "join")


def load(task: dict[str, Any]) -> Work:
    """Import what a session uses, and load compiled code from its cache."""
    from privfed.vertical.guest import Guest
    from privfed.vertical.host import Host
    from privfed.vertical.plan import VerticalPlan
    from privfed.vertical.rows import with_intercept
    from privfed.vertical.whitening import Whitening
    from psi import network

    def side(rank: int, drawn: Tables, iterations: int) -> tuple[Guest | Host, NDArray[np.float64]]:
        rows, columns = drawn.guest.shape
        plan = VerticalPlan(
            rows=rows,
            guest_columns=columns + 1,
            host_columns=columns,
            guest_names=columns,
            host_names=columns,
            iterations=iterations,
        )
        own = (drawn.guest, drawn.host)[rank]
        change = Whitening.fit(own, plan.whitening_ridge).matrix
        if rank:
            return Host(plan, own @ change, change), change
        return Guest(plan, with_intercept(own @ change), change, drawn.labels), change

    guest, host = (side(rank, tables(200, 4), 2)[0] for rank in (0, 1))
    message = guest.start()
    while message is not None:
        answer = host.receive(message)
        assert answer is not None  # the guest hears last
        message = guest.receive(answer)
    name, other = SIDES[task["rank"]], SIDES[1 - task["rank"]]
    carry, folder = getattr(network, name), Path(task["folder"])
    drawn = tables(task["rows"], task["columns"])

    def work() -> int:
        party, change = side(task["rank"], drawn, task["iterations"])
        traffic = carry(
            party,
            terms=network.Terms(),
            address=f"127.0.0.1:{task['ports'][0]}",
            identity=network.TLSIdentity.load(folder / name),
            peer_certificate=network.load_certificate(folder / f"{other}.crt"),
        )
        coefficients = change @ party.coefficients[: change.shape[1]]
        Path(task["out"]).write_text(json.dumps(coefficients.tolist()))
        return int(traffic.bytes_sent)

    return work


if __name__ == "__main__":
    measured(load)
