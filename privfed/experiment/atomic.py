"""Files that a reader sees whole or not at all."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from privfed.errors import ConfigError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a path beside `path` to write to: it takes its place at the end, or goes on an error.

    Nobody may read the new file who could not read the one that it replaces.

    Raises:
        ConfigError: the folder cannot be written.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        if path.exists():
            partial.chmod(stat.S_IMODE(partial.stat().st_mode & path.stat().st_mode))
        partial.replace(path)
    except OSError as error:
        reason = error.strerror or "an error"
        raise ConfigError(
            f"cannot write {path} ({reason}): make room, or choose another folder with --out"
        ) from None
    finally:
        with suppress(OSError):  # no folder at all, as the error above says
            partial.unlink(missing_ok=True)
