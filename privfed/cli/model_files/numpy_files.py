"""Files of numpy.savez: zip files of arrays, each with its shape at its beginning."""

from __future__ import annotations

import io
import zipfile
from tokenize import TokenError
from typing import Any

import numpy as np
import numpy.typing as npt

from privfed.cli.model_files.bounded import first_bytes, stand_in
from privfed.errors import ConfigError

_END = ".npy"
_HEADER_BYTES = 1000  # 500 tell of 32 sides, and numpy's own 10,000 take 5 ms an array
_MAGIC_BYTES = 12


def read(archive: zipfile.ZipFile) -> dict[str, npt.NDArray[Any]]:
    """Return arrays of the names, types and shapes of those in the file.

    Raises:
        ConfigError: It is no file of numpy.savez.
    """
    names = archive.namelist()
    if not names or not all(name.endswith(_END) for name in names):
        raise ConfigError(
            "this zip file is neither of numpy.savez nor a state_dict of torch.save: save the "
            "model's arrays as one of these"
        )
    return {name.removesuffix(_END): _array(archive, name) for name in names}


def _array(archive: zipfile.ZipFile, name: str) -> npt.NDArray[Any]:
    header = io.BytesIO(first_bytes(archive, name, _HEADER_BYTES + _MAGIC_BYTES))
    try:
        version = np.lib.format.read_magic(header)
        readers = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }
        # Version 3 is version 2 with names of fields in UTF-8: no array of numbers has any.
        shape, _, dtype = readers[version](header)
    except (ValueError, KeyError, TypeError, SyntaxError, TokenError, MemoryError, RecursionError):
        raise ConfigError(f"array {name!r:.80} has no header of numpy's: save it again") from None
    if dtype.kind not in "fiubc":  # objects are pickles
        raise ConfigError(f"array {name!r:.80} holds {dtype!s:.40}, not real numbers")
    return stand_in(name, dtype.str, shape)
