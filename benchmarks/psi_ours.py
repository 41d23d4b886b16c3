"""A party of ours: `psi serve` or `psi join` from Python, measured without its imports."""

import contextlib
import importlib
from pathlib import Path
from typing import Any

from benchmarks.psi_worker import Work, measured


def load(task: dict[str, Any]) -> Work:
    """Import what a session of this size uses, and load compiled kernels from their cache."""
    import numpy as np

    from psi import kernels
    from psi.group.ristretto255 import FAST_FROM, Scalar, hash_to_group, multiply
    from psi.network import transport
    from psi.network.certificates import Identity, load_certificate
    from psi.protocols.choice import parties
    from psi.sessions.pair import Side, TableSession
    from psi.tables.files import read_table, write_table

    with contextlib.suppress(ImportError):
        importlib.import_module("pyarrow.csv")
    parties(task["protocol"])
    hash_to_group([b""], b"load libsodium")
    if task["protocol"] == "ecdh" and task["n"] >= FAST_FROM:
        multiply(Scalar.random(), hash_to_group([b""] * FAST_FROM, b"load the compiled group"))
    if task["n"] >= kernels.FAST_FROM and kernels.fast_available():
        kernels.load()
    folder = Path(task["folder"])
    names: tuple[Side, Side] = ("serve", "join")
    side = names[task["rank"]]
    credentials = {
        "identity": Identity.load(folder / side),
        "peer_certificate": load_certificate(folder / f"{names[1 - task['rank']]}.crt"),
    }
    address = f"127.0.0.1:{task['ports'][0]}"

    def work() -> int:
        table = read_table(Path(task["table"]))
        session = TableSession.prepare(table, side=side, on="ID", protocol=task["protocol"])
        carry = getattr(transport, side)
        link = carry(session.party, terms=session.terms, address=address, **credentials)
        rows: np.ndarray[Any, Any] = session.rows()
        write_table(Path(task["out"]), {"row": rows})
        return int(link.bytes_sent)

    return work


if __name__ == "__main__":
    measured(load)
