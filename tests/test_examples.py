"""Every example runs as its first lines say, and checks its own result."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.places import ROOT
from tests.waiting import LONG_SECONDS

EXAMPLES = sorted((ROOT / "examples").glob("*.*"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_it_runs(example: Path) -> None:
    program = {".py": sys.executable, ".sh": "sh"}[example.suffix]
    done = subprocess.run(
        [program, example],
        capture_output=True,
        text=True,
        timeout=LONG_SECONDS,
        env=os.environ | {"PYTHON": sys.executable, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert not done.stderr
    command = {".py": "python", ".sh": "sh"}[example.suffix]
    assert f"Run: {command} examples/{example.name}" in example.read_text("utf-8")
