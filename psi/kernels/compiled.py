"""How this room compiles: by numba, without the interpreter's lock, once a machine."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
from numba.core import types

__all__ = ["array", "compiled"]

_Function = TypeVar("_Function", bound=Callable[..., Any])


def array(kind: str, dimensions: int, layout: str = "C", *, write: bool = False) -> Any:
    """The type of an array argument; one that is only read takes writable arrays too."""
    make: Any = types.Array
    return make(getattr(types, kind), dimensions, layout, readonly=not write)


def compiled(*arguments: Any, result: Any = types.void) -> Callable[[_Function], _Function]:
    """Compile for these types of arguments, once a machine: numba keeps the code on disk."""

    def compile_now(function: _Function) -> _Function:
        signature = result(*arguments)
        try:
            made = numba.njit(signature, cache=True, nogil=True)(function)
        except RuntimeError:  # there is no folder to keep it in: once a process, then
            made = numba.njit(signature, nogil=True)(function)
        return cast("_Function", made)

    return compile_now
