"""A party of ours: `psi serve` or `psi join` from Python, measured without its imports."""

import contextlib
import importlib
from pathlib import Path
from typing import Any

from benchmarks.worker import Work, measured


def load(task: dict[str, Any]) -> Work:
    """Import what a session of this size uses, and load compiled kernels from their cache."""
    import numpy as np

    from psi import kernels, network
    from psi.group.ristretto255 import FAST_FROM, Scalar, hash_to_group, multiply
    from psi.protocols.choice import chosen
    from psi.sessions import PairChoice, TableSession
    from psi.sessions.questions.question import Side
    from psi.tables.files import load_table, write_table

    with contextlib.suppress(ImportError):
        importlib.import_module("pyarrow.csv")
    chosen(task["protocol"])
    hash_to_group([b""], b"load libsodium")
    if task["protocol"] == "ecdh" and task["n"] >= FAST_FROM:
        multiply(Scalar.random(), hash_to_group([b""] * FAST_FROM, b"load the compiled group"))
    if task["n"] >= kernels.FAST_FROM and kernels.fast_available():
        kernels.load()
    folder = Path(task["folder"])
    names: tuple[Side, Side] = ("serve", "join")
    side = names[task["rank"]]
    credentials = {
        "identity": network.TLSIdentity.load(folder / side),
        "peer_certificate": network.load_certificate(folder / f"{names[1 - task['rank']]}.crt"),
    }
    address = f"127.0.0.1:{task['ports'][0]}"

    carry = getattr(network, side)  # which imports gRPC

    def work() -> int:
        table = load_table(Path(task["table"]))
        choice = PairChoice(side=side, protocol=task["protocol"])
        session = TableSession.prepare(table, choice, on="ID")
        traffic = carry(session.party, terms=session.terms, address=address, **credentials)
        rows: np.ndarray[Any, Any] = session.rows()
        write_table(Path(task["out"]), {"row": rows})
        return int(traffic.bytes_sent)

    return work


if __name__ == "__main__":
    measured(load)
