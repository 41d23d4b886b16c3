"""Every example runs as its first lines say, and checks its own result."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.places import ROOT
from tests.waiting import LONG_SECONDS

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_it_runs(example: Path) -> None:
    done = subprocess.run(
        [sys.executable, example], capture_output=True, text=True, timeout=LONG_SECONDS
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert not done.stderr
    assert f"Run: python examples/{example.name}" in example.read_text("utf-8")
