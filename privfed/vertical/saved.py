"""A half of whatever model, from its file."""

from __future__ import annotations

from pathlib import Path

from privfed.errors import ConfigError
from privfed.vertical.halves import MOST_HALF_BYTES, Half
from privfed.vertical.linear.halves import LinearHalf
from privfed.vertical.sealed import is_sealed
from privfed.vertical.trees.halves import TreesHalf
from psi.storage import read_secret

__all__ = ["load_half"]


def load_half(path: Path) -> Half:
    """Return the half that training wrote.

    Args:
        path: Where it is.

    Raises:
        ConfigError: There is no such file, or others may read it.
        DecodeError: It is no half, of another version, or damaged.
    """
    data = read_secret(path, most=MOST_HALF_BYTES, refusal=ConfigError)
    kind = TreesHalf if is_sealed(TreesHalf.KIND, data) else LinearHalf
    return kind.read(path, data)
