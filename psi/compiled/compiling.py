"""How this room compiles: by numba, without the interpreter's lock, once on each machine."""

import hashlib
import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeVar, cast

import numba
from numba.core import types

__all__ = ["array", "code_fingerprint", "compiled"]

_Function = TypeVar("_Function", bound=Callable[..., Any])


def array(kind: str, dimensions: int, layout: str = "C", *, write: bool = False) -> Any:
    """Return the type of an array argument; one that is only read accepts writable arrays, too."""
    make: Any = types.Array
    return make(getattr(types, kind), dimensions, layout, readonly=not write)


def compiled(
    *arguments: Any, result: Any = types.void, **options: Any
) -> Callable[[_Function], _Function]:
    """Compile for these types of arguments, once on each machine: numba keeps the code on disk."""

    def compile_now(function: _Function) -> _Function:
        signature = result(*arguments)
        try:
            made = numba.njit(signature, cache=True, nogil=True, **options)(function)
        except RuntimeError:  # no folder can keep it: compile once in each process
            made = numba.njit(signature, nogil=True, **options)(function)
        return cast("_Function", made)

    return compile_now


def code_fingerprint(*modules: ModuleType) -> int:
    """Return a number that changes with the modules' text; a compiled function closes over it.

    numba takes code from its cache if the function's own file has the same date and size as before,
    and the function closes over the same values. It does not look at what generates the code.
    """
    try:
        text = "".join(inspect.getsource(module) for module in modules)
    except OSError:  # without source files nothing is cached
        return 0
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7])
