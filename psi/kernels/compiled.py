"""How this room compiles: by numba, without the interpreter's lock, cached on disk if it can be."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

__all__ = ["compiled"]

_Function = TypeVar("_Function", bound=Callable[..., Any])


def compiled(function: _Function) -> _Function:
    """Compile a function when it is first called, or load it from numba's cache."""
    try:
        return cast("_Function", numba.njit(cache=True, nogil=True)(function))
    except RuntimeError:  # no folder can be written to: compile in each process
        return cast("_Function", numba.njit(nogil=True)(function))
