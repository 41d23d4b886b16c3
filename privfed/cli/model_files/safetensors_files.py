"""Files of safetensors: eight bytes of a length, JSON of that length, then the values.

The format: https://github.com/huggingface/safetensors, "Format" in its README.
"""

from __future__ import annotations

import math
import os
from typing import Annotated, Any

import msgspec
import numpy as np
import numpy.typing as npt

from privfed.cli.model_files.bounded import MOST_AT_ONCE, BoundedFile, stand_in
from privfed.errors import ConfigError
from psi.storage import json_read

_TYPES = {
    **{f"F{bits}": f"float{bits}" for bits in (16, 32, 64)},
    **{f"I{bits}": f"int{bits}" for bits in (8, 16, 32, 64)},
    **{f"U{bits}": f"uint{bits}" for bits in (8, 16, 32, 64)},
    **{"BOOL": "bool", "C64": "complex64", "BF16": "bfloat16"},
    **{f"F8_{kind}": "float8" for kind in ("E4M3", "E5M2", "E8M0", "E4M3FNUZ", "E5M2FNUZ")},
}
_NONE_OF_NUMPYS = {"bfloat16": ("float32", 2), "float8": ("float32", 1)}

_Whole = Annotated[int, msgspec.Meta(ge=0)]


class _Described(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    dtype: str
    shape: tuple[_Whole, ...]
    data_offsets: tuple[_Whole, _Whole]


def read(file: BoundedFile) -> dict[str, npt.NDArray[Any]]:
    """Return arrays of the names, types and shapes of those in the file.

    Raises:
        ConfigError: It is damaged, or an array is of no type of real numbers.
    """
    size = os.fstat(file.fileno()).st_size
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    if length > min(MOST_AT_ONCE, size - 8):
        raise ConfigError("this is no file of safetensors, or a truncated one: save it again")
    try:
        described = json_read(file.read(length), dict[str, Any])
        described.pop("__metadata__", None)
        found = {name: msgspec.convert(each, _Described) for name, each in described.items()}
    except (ValueError, msgspec.ValidationError):
        raise ConfigError("the header is none of safetensors: save the file again") from None
    if max((each.data_offsets[1] for each in found.values()), default=0) != size - 8 - length:
        raise ConfigError("the file is longer or shorter than its arrays: save or copy it again")
    return {name: _array(name, each) for name, each in found.items()}


def _array(name: str, described: _Described) -> npt.NDArray[Any]:
    kind = _TYPES.get(described.dtype)
    if kind is None:
        raise ConfigError(
            f"array {name!r:.80} is {described.dtype!r:.40}, which is none that can be averaged: "
            "save it as floats"
        )
    kind, value_bytes = _NONE_OF_NUMPYS.get(kind) or (kind, np.dtype(kind).itemsize)
    array = stand_in(name, kind, described.shape)
    begin, end = described.data_offsets
    if end - begin != math.prod(described.shape) * value_bytes:
        raise ConfigError(f"array {name!r:.80} is not whole: save or copy the file again")
    return array
