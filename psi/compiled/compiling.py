"""How this room compiles: by numba, without the interpreter's lock, once a machine."""

import hashlib
import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeVar, cast

import numba
from numba.core import types

__all__ = ["array", "compiled", "fingerprint"]

_Function = TypeVar("_Function", bound=Callable[..., Any])


def array(kind: str, dimensions: int, layout: str = "C", *, write: bool = False) -> Any:
    """Return the type of an array argument; one that is only read takes writable arrays too."""
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


def fingerprint(*modules: ModuleType) -> int:
    """Return a number that changes with the modules' text, for a compiled function to close over.

    numba takes code from its cache if the function's own file has the date and size that it had,
    and what the function closes over is the same: it does not look at what generates its code.
    """
    try:
        text = "".join(inspect.getsource(module) for module in modules)
    except OSError:  # no source files: nothing is cached without them
        return 0
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7])
