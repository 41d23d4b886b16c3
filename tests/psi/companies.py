"""Companies with a table each and a way to start a command as one of them: real processes."""

import contextlib
import csv
import io
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import psi.cli
from psi.network.certificates import create_identity
from tests.waiting import LONG_SECONDS

__all__ = ["COMMAND", "Companies", "Served", "column", "companies", "ended", "identities", "said"]

TABLES = {
    "alice": "ID,colour\n3,red\n1,green\n2,blue\n",
    "bob": "ID,price\n2,10\n3,20\n9,30\n",
    "carol": "ID,size\n1,L\n8,M\n",
}
COMMAND = "import psi.cli; psi.cli.main()"


@dataclass
class Served:
    """One that listens, and where."""

    process: subprocess.Popen[str]
    address: str


@dataclass
class Companies:
    """A folder with all tables and keys."""

    folder: Path
    running: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self, *arguments: object, before: str = "") -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", before + COMMAND, *map(str, arguments)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=self.folder,
        )  # fmt: skip
        self.running.append(process)
        return process

    def here(self, *arguments: object) -> tuple[int, str, str]:
        """Run a command in this process, which saves the start of another; as `ended`."""
        out, err, argv = io.StringIO(), io.StringIO(), sys.argv
        showwarning = warnings.showwarning
        try:
            sys.argv = ["psi", *map(str, arguments)]
            with (
                contextlib.chdir(self.folder),
                contextlib.redirect_stdout(out),
                contextlib.redirect_stderr(err),
                pytest.raises(SystemExit) as end,
            ):
                psi.cli.main()
        finally:
            sys.argv, warnings.showwarning = argv, showwarning
        return int(end.value.code or 0), out.getvalue(), err.getvalue()

    def serve(
        self, *options: object, before: str = "", peers: tuple[str, ...] = ("bob",)
    ) -> Served:
        named = [word for peer in peers for word in ("--peer", f"{peer}.crt")]
        process = self.start(
            *("serve", "alice.csv", "--on", "ID", "--identity", "alice"),
            *("--listen", "127.0.0.1:0", *named, *options),
            before=before,
        )
        line = said(process, "listening on port")
        return Served(process, f"127.0.0.1:{line.split()[-1]}")

    def join(
        self, address: str, *options: object, name: str = "bob", before: str = ""
    ) -> subprocess.Popen[str]:
        return self.start(
            *("join", f"{name}.csv", address, "--on", "ID", "--wait", LONG_SECONDS),
            *("--identity", name, "--peer", "alice.crt", *options),
            before=before,
        )


def identities(folder: Path) -> Path:
    """Make a key for each."""
    for name in TABLES:
        create_identity(folder / name, unlocked=True)
    return folder


@contextmanager
def companies(folder: Path, keys: Path) -> Iterator[Companies]:
    """Yield all of them; whoever still runs at the end is killed."""
    for name, content in TABLES.items():
        (folder / f"{name}.csv").write_text(content)
        for ending in ("key", "crt"):
            shutil.copy(keys / f"{name}.{ending}", folder)
    here = Companies(folder)
    try:
        yield here
    finally:
        for process in here.running:
            process.kill()
            process.communicate()


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Wait for a process; return its status, its output and its lines."""
    out, err = process.communicate(timeout=LONG_SECONDS)
    return process.returncode, out, err


def said(process: subprocess.Popen[str], words: str) -> str:
    """Read a process's lines up to one that has these words, and return it."""
    assert process.stderr is not None
    before = []
    for line in process.stderr:
        if re.search(words, line):
            return line
        before.append(line)
    raise AssertionError(f"ended without {words}: {before}")


def column(path: Path, name: str) -> list[str]:
    """Return a column of a CSV file."""
    with path.open() as file:
        return [row[name] for row in csv.DictReader(file)]
