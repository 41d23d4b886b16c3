"""Code of one's own, which only one's own command line names."""

from __future__ import annotations

import sys
from pathlib import Path


def from_here() -> None:
    """Let a module beside the user be imported, as `python -m` does."""
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
