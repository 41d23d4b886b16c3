"""A party of ours, rank 0 the guest, over psi's connection on loopback.

The task `glm`: both whiten, train, and get their own coefficients. The task `predict`: the guest
gets the rounded scores of all rows, of a model whose coefficients stay shared (`keep_shares`). What
is compiled is loaded before: by a small model in this process alone.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.vertical_job import Tables, tables
from benchmarks.worker import Work, measured

SIDES = ("serve", "join")
Floats = NDArray[np.float64]


class Party:
    """One side of a job: its plan, its rows, and what it brings to training or to queries."""

    def __init__(self, rank: int, drawn: Tables, iterations: int, task: str) -> None:
        from privfed.vertical.linear.plan import VerticalPlan
        from privfed.vertical.linear.rows import with_intercept
        from privfed.vertical.linear.whitening import Whitening

        rows, columns = drawn.guest.shape
        self.plan = VerticalPlan(
            rows=rows,
            guest_columns=columns + 1,
            host_columns=columns,
            guest_names=columns,
            host_names=columns,
            iterations=iterations,
            coefficients="own" if task == "glm" else "shared",
        )
        self.labels = drawn.labels
        own = (drawn.guest, drawn.host)[rank]
        self.change = Whitening.fit(own, self.plan.whitening_ridge).matrix
        self.block = own @ self.change if rank else with_intercept(own @ self.change)
        self._rank = rank

    def training(self) -> Any:
        """Return the side of a training."""
        from privfed.vertical.linear.guest import Guest
        from privfed.vertical.linear.host import Host

        if self._rank:
            return Host(self.plan, self.block, self.change)
        return Guest(self.plan, self.block, self.change, self.labels)

    def query(self, shares: NDArray[np.uint64]) -> Any:
        """Return the side of a query of all rows."""
        from privfed.vertical.linear.query import GuestQuery, HostQuery, query_numbers

        numbers = query_numbers(self.plan, opened=None, shares=shares)
        return (GuestQuery, HostQuery)[self._rank](self.plan, bytes(32), numbers, self.block)


def hold(guest: Any, host: Any) -> int:
    """Hold a conversation in this process alone; return the bytes of both directions."""
    message, host_began = guest.start(), host.start()
    assert host_began is None  # the guest speaks first
    listener, speaker, sent = host, guest, 0
    while message is not None:
        sent += len(message)
        message = listener.receive(message)
        listener, speaker = speaker, listener
    return sent


def keep_shares(drawn: Tables, iterations: int, folder: Path) -> None:
    """Train a model whose coefficients stay shared, and write each side's shares."""
    guest, host = (Party(rank, drawn, iterations, "predict").training() for rank in (0, 1))
    hold(guest, host)
    for rank, side in enumerate((guest, host)):
        np.save(folder / f"shares{rank}.npy", side.shares)


def load(task: dict[str, Any]) -> Work:
    """Import what a session uses, and load compiled code from its cache."""
    from psi import network

    rank, folder, what = task["rank"], Path(task["folder"]), task["task"]
    drawn = tables(task["rows"], task["columns"])
    small = [Party(each, tables(200, 4), 2, what) for each in (0, 1)]
    trained = [party.training() for party in small]
    hold(*trained)
    if what == "predict":
        queries = [party.query(side.shares) for party, side in zip(small, trained, strict=True)]
        hold(*queries)
    name, other = SIDES[rank], SIDES[1 - rank]
    carry = getattr(network, name)

    def work() -> int:
        party = Party(rank, drawn, task["iterations"], what)
        shares = folder / f"shares{rank}.npy"
        side = party.training() if what == "glm" else party.query(np.load(shares))
        traffic = carry(
            side,
            terms=network.Terms(),
            address=f"127.0.0.1:{task['ports'][0]}",
            identity=network.TLSIdentity.load(folder / name),
            peer_certificate=network.load_certificate(folder / f"{other}.crt"),
        )
        if what == "glm":
            found: Floats = party.change @ side.coefficients[: party.change.shape[1]]
        else:
            found = np.empty(0) if rank else side.scores
        Path(task["out"]).write_text(json.dumps(found.tolist()))
        return int(traffic.bytes_sent)

    return work


if __name__ == "__main__":
    measured(load)
