"""Where the tests find what is not code of theirs."""

from pathlib import Path

__all__ = ["DOCS", "ROOT", "VECTORS"]

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
VECTORS = ROOT / "tests" / "vectors"
