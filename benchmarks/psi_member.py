"""A party of three and more: `psi together` from Python, measured without its imports."""

import contextlib
import importlib
from pathlib import Path
from typing import Any

from benchmarks.worker import Work, measured


def load(task: dict[str, Any]) -> Work:
    """Import what a session of this size uses, and load compiled code from its cache."""
    from psi import kernels
    from psi.group.agreement import draw_messages
    from psi.group.ristretto255 import FAST_FROM
    from psi.network import Roster, TLSIdentity
    from psi.network.mesh import meet
    from psi.sessions import GroupChoice, TableSession
    from psi.tables.files import load_table, write_table

    with contextlib.suppress(ImportError):
        importlib.import_module("pyarrow.csv")
    draw_messages(FAST_FROM if task["n"] >= FAST_FROM else 1)
    if task["n"] >= kernels.FAST_FROM and kernels.fast_available():
        kernels.load()
    folder = Path(task["folder"])
    identity = TLSIdentity.load(folder / f"party{task['rank']}")
    roster = Roster.load(folder / "parties.toml")

    def work() -> int:
        table = load_table(Path(task["table"]))
        choice = GroupChoice(roster=roster, number=task["rank"])
        session = TableSession.prepare(table, choice, on="ID")
        traffic = meet(session.party, terms=session.terms, roster=roster, identity=identity)
        write_table(Path(task["out"]), {"row": session.rows()})
        return int(traffic.bytes_sent)

    return work


if __name__ == "__main__":
    measured(load)
