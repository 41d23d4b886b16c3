"""The default of how many items another side may bring: what memory is left, whoever limits it."""

import subprocess
import sys
from pathlib import Path

import pytest

from psi import SizeLimitError
from psi.protocols.parameters import MAX_PEER_ITEMS
from psi.sessions import PairChoice, TableSession, memory
from tests.psi.peers import run

GIB = 1 << 30


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of files, with 8 GiB left and nothing else known."""
    (tmp_path / "proc" / "self").mkdir(parents=True)
    (tmp_path / "cgroup" / "mine").mkdir(parents=True)
    (tmp_path / "proc" / "meminfo").write_text(
        f"MemTotal: 16 kB\nMemAvailable:   {8 * GIB // 1024} kB\n"
    )
    monkeypatch.setattr(memory, "_SYSTEM", tmp_path / "proc")
    monkeypatch.setattr(memory, "_GROUPS", tmp_path / "cgroup")
    return tmp_path


def limit(folder: Path, most: object, used: int, cached: str, names: tuple[str, str]) -> None:
    folder.mkdir(exist_ok=True)
    (folder / names[0]).write_text(f"{most}\n")
    (folder / names[1]).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(cached)


def test_the_least_of_all_limits_decides(machine: Path) -> None:
    assert memory.available_bytes() == 8 * GIB
    second = "memory.max", "memory.current"
    limit(machine / "cgroup" / "mine", 3 * GIB, 2 * GIB, f"inactive_file {GIB}\n", second)
    (machine / "proc" / "self" / "cgroup").write_text("0::/mine\n")
    assert memory.available_bytes() == 2 * GIB  # cached files can go
    limit(machine / "cgroup" / "mine", "max", 2 * GIB, "", second)
    assert memory.available_bytes() == 8 * GIB
    first = "memory.limit_in_bytes", "memory.usage_in_bytes"
    limit(machine / "cgroup" / "memory", GIB, 2 * GIB, "", first)
    assert memory.available_bytes() == 0
    assert memory.items_that_fit(1_200) == 1_000


def test_a_machine_that_tells_nothing_has_the_old_limit(machine: Path) -> None:
    (machine / "proc" / "meminfo").unlink()
    assert memory.available_bytes() is None
    assert memory.items_that_fit(1_200) == MAX_PEER_ITEMS


def test_a_process_with_a_limit_of_its_own_takes_fewer() -> None:
    script = (
        "import resource, psi.sessions.memory as m; fit = lambda: m.items_that_fit(1_200);"
        "before = fit();"
        "size = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize();"
        "resource.setrlimit(resource.RLIMIT_AS, (size + 10**9,) * 2); print(before > fit() > 10**5)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert done.stdout == b"True\n"


@pytest.mark.parametrize("protocol", ["auto", "ecdh"])
def test_the_default_refuses_what_does_not_fit(
    protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("psi.sessions.session.items_that_fit", lambda item_bytes: 2)
    serve, join = (
        PairChoice(side="serve", protocol=protocol),
        PairChoice(side="join", protocol=protocol),
    )
    one = TableSession.prepare(["a", "b"], serve).party
    other = TableSession.prepare(["a", "b", "c"], join).party
    with pytest.raises(SizeLimitError, match="brings 3 items, this side allows 2"):
        run(other, one)
