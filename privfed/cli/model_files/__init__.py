"""Names and shapes of the arrays in a model's file; no value is read, and nothing in it is run.

A file may come from anybody: each reader takes a bounded amount of memory and time, and a file
that it does not understand is refused with what to do. Which format it is, its first bytes say.
"""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from privfed.cli.model_files import numpy_files, safetensors_files, torch_files
from privfed.cli.model_files.bounded import BoundedFile, open_archive
from privfed.errors import ConfigError

if TYPE_CHECKING:
    from privfed.secagg import Layout

__all__ = ["layout_in"]

_ZIP, _PICKLE = b"PK\x03\x04", b"\x80"


def layout_in(path: Path, keys: Sequence[str] = ()) -> Layout:
    """Return the layout of the arrays in a file, as `Layout.of` returns it of the arrays.

    Args:
        path: A file of numpy.savez, of safetensors, or of torch.save with a state_dict.
        keys: Where in a checkpoint the state_dict lies: its key, or keys from the outside in.

    Raises:
        ConfigError: The file cannot be read, is none of these, or holds more than arrays.
    """
    from privfed.secagg import Layout

    if not path.is_file():  # a pipe would be waited for
        raise ConfigError(f"cannot read {path}: there is no such file")
    try:
        # Its readers warn of headers of Python 2, and of odd escapes.
        with BoundedFile(path) as file, warnings.catch_warnings(action="ignore"):
            return Layout.of(_arrays(file, keys))
    except zipfile.BadZipFile:
        raise ConfigError(f"{path}: the file is damaged: save or copy it again") from None
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}") from None
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def _arrays(file: BoundedFile, keys: Sequence[str]) -> torch_files.Arrays:
    start = file.read(9)
    if start.startswith(_ZIP):
        with open_archive(file) as archive:
            if torch_files.is_one(archive):
                return torch_files.read(archive, keys)
            arrays = numpy_files.read(archive)
    elif start[8:] == b"{":
        arrays = safetensors_files.read(file)
    elif start.startswith(_PICKLE):
        raise ConfigError(
            "this is a pickle by itself, or of a torch before 1.6, and cannot be read without "
            "running it: save model.state_dict() with a newer torch.save"
        )
    else:
        raise ConfigError(
            "this is no file of numpy.savez, of safetensors or of torch.save: save the model's "
            "arrays as one of these"
        )
    if keys:
        raise ConfigError("a key is one of a checkpoint of torch, and this file is none: leave it")
    return arrays
