"""One party of a measured session, in whatever environment has its tool: standard library only.

Says "ready" when everything is imported, waits for a line, works, and prints what it cost.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["MARK", "Work", "measured"]

MARK = "cost "  # before our line, among those that a tool may print of its own
Work = Callable[[], int | None]


def measured(load: Callable[[dict[str, Any]], Work]) -> None:
    """Run one party.

    Args:
        load: Takes the task (rank, table, out, ports, protocol, n), imports all that is needed
            and returns the work, which returns the bytes that this party sent, if it knows.
    """
    work = load(json.loads(sys.argv[1]))
    startup = time.process_time()
    print("ready", flush=True)
    sys.stdin.readline()
    sent = work()
    cost = {
        "cpu_seconds": time.process_time() - startup,
        "startup_cpu_seconds": startup,
        "peak_rss_bytes": _peak_rss_bytes(),
        "sent_bytes": sent,
    }
    print(MARK + json.dumps(cost), flush=True)


def _peak_rss_bytes() -> int:
    """Return this program's peak memory; getrusage would count that of its starter, too."""
    status = Path("/proc/self/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024
