"""How large a set another side may announce where no limit is given: what this machine can hold."""

import contextlib
import resource
from pathlib import Path

from psi.protocols.parameters import MAX_PEER_ITEMS

__all__ = ["available_bytes", "items_that_fit"]

_LEAST_ITEMS = 1_000  # below, the machine is not what decides
_SYSTEM, _GROUPS = Path("/proc"), Path("/sys/fs/cgroup")


def items_that_fit(item_bytes: int) -> int:
    """Return how many items of so many bytes fit into the memory that is left, at most 2^25."""
    left = available_bytes()
    if left is None:
        return MAX_PEER_ITEMS
    return max(_LEAST_ITEMS, min(left // item_bytes, MAX_PEER_ITEMS))


def available_bytes() -> int | None:
    """Return the memory that this process may still take; None if nothing tells.

    The least of what the system, the container (cgroups) and the process's own limit leave.
    """
    known = [_of_system(), _of_group(), _of_process()]
    return min((left for left in known if left is not None), default=None)


def _of_system() -> int | None:
    return _line(_SYSTEM / "meminfo", "MemAvailable:", 1024)


def _of_group() -> int | None:
    """Return what the control group leaves, of version 2 or 1; files that it caches can go."""
    name = ""
    with contextlib.suppress(OSError):
        for line in (_SYSTEM / "self" / "cgroup").read_text().splitlines():
            if line.startswith("0::"):
                name = line.removeprefix("0::/")
    for folder, limit, used, cached in (
        (_GROUPS / name, "memory.max", "memory.current", "inactive_file"),
        (_GROUPS, "memory.max", "memory.current", "inactive_file"),
        (
            _GROUPS / "memory",
            "memory.limit_in_bytes",
            "memory.usage_in_bytes",
            "total_inactive_file",
        ),
    ):
        most, now = _number(folder / limit), _number(folder / used)
        if most is not None and now is not None:
            return max(most - now + (_line(folder / "memory.stat", cached, 1) or 0), 0)
    return None


def _of_process() -> int | None:
    most, _ = resource.getrlimit(resource.RLIMIT_AS)
    taken = _line(_SYSTEM / "self" / "status", "VmSize:", 1024)
    return None if most == resource.RLIM_INFINITY or taken is None else max(most - taken, 0)


def _number(path: Path) -> int | None:
    with contextlib.suppress(OSError, ValueError):  # "max" is no number
        return int(path.read_text())
    return None


def _line(path: Path, name: str, unit: int) -> int | None:
    with contextlib.suppress(OSError, ValueError):
        for line in path.read_text().splitlines():
            if line.split(maxsplit=1)[:1] == [name]:
                return int(line.split()[1]) * unit
    return None
