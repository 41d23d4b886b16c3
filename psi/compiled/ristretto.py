"""ristretto255 (RFC 9496) for many points at once, compiled by numba.

Eight points go through AVX-512 IFMA together, or four through AVX2: seven times and twice as fast
as libsodium. Import this only where `ristretto_code.KIND` says that the processor has either.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import config, types
from numba.extending import intrinsic
from numpy.typing import NDArray

from psi.compiled import field, field_32, field_52, lanes, ristretto_code, ristretto_points
from psi.compiled.compiling import array, code_fingerprint, compiled
from psi.compiled.field import WORDS
from psi.compiled.lanes import WORD, Code
from psi.compiled.ristretto_code import DIGIT_BITS, DIGITS, KIND

__all__ = ["are_valid", "from_uniform", "multiply", "preimages"]

_GROUPS_A_THREAD = 64  # at least: work of some milliseconds
_LANES = KIND.lanes
_SCALARS = array("uint8", 3)
_WORDS, _RESULT = array("uint64", 3), array("uint64", 3, write=True)


def _calling(generated: Callable[..., None], arity: int) -> tuple[Any, Any]:
    """Make an intrinsic's signature and code: it calls generated code with addresses of vectors."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [WORD] * arity)
        function = ir.Function(builder.module, kind, f"ristretto{generated.__name__}")
        function.linkage = "internal"
        function.attributes.add("noinline")
        code = Code(ir.IRBuilder(function.append_basic_block()), _LANES)
        pointer = code.vector.as_pointer()
        generated(code, *(code.builder.inttoptr(one, pointer) for one in function.args))
        code.builder.ret_void()
        builder.call(function, arguments)
        return context.get_dummy_value()

    return types.void(*[types.uintp] * arity), generate


def _generate_multiply(typing_context: Any, words: Any, digits: Any, out: Any, valid: Any) -> Any:
    return _calling(ristretto_code.multiply, 4)


def _generate_preimages(typing_context: Any, words: Any, slots: Any, out: Any, found: Any) -> Any:
    return _calling(ristretto_code.preimages, 4)


def _generate_map(typing_context: Any, words: Any, out: Any) -> Any:
    return _calling(ristretto_code.map_uniform, 2)


def _generate_check(typing_context: Any, words: Any, valid: Any) -> Any:
    return _calling(ristretto_code.check, 2)


_multiply_group: Any = intrinsic(_generate_multiply)
_preimages_group: Any = intrinsic(_generate_preimages)
_map_group: Any = intrinsic(_generate_map)
_check_group: Any = intrinsic(_generate_check)


def _loops(source: int) -> tuple[Any, Any, Any, Any]:
    """Return the loops over all points of the functions below. `source` is there for the cache."""

    @compiled(_SCALARS, _WORDS, _RESULT, _RESULT)
    def multiply(scalars: Any, words: Any, out: Any, valid: Any) -> None:
        _ = source
        # Digits from -8 to 8, the most significant first; no branch or address depends on a secret.
        digits = np.empty((DIGITS, 2, _LANES), np.int64)
        for group in range(len(words)):
            for lane in range(_LANES if group < len(scalars) else 0):  # or as in the group before
                carry = 0
                for index in range(DIGITS):
                    byte: Any = np.int64(scalars[group, lane, index >> 1])
                    digit: Any = ((byte >> (DIGIT_BITS * (index & 1))) & 15) + carry
                    carry = (digit + 8) >> DIGIT_BITS if index + 1 < DIGITS else 0
                    digit -= carry << DIGIT_BITS
                    sign = digit >> 63
                    digits[DIGITS - 1 - index, 0, lane] = (digit ^ sign) - sign
                    digits[DIGITS - 1 - index, 1, lane] = sign
            _multiply_group(
                words[group].ctypes.data,
                digits.ctypes.data,
                out[group].ctypes.data,
                valid[group].ctypes.data,
            )

    @compiled(_WORDS, _RESULT)
    def map_uniform(words: Any, out: Any) -> None:
        _ = source
        for group in range(len(words)):
            _map_group(words[group].ctypes.data, out[group].ctypes.data)

    @compiled(_WORDS, _RESULT)
    def check(words: Any, valid: Any) -> None:
        _ = source
        for group in range(len(words)):
            _check_group(words[group].ctypes.data, valid[group].ctypes.data)

    @compiled(_WORDS, _WORDS, _RESULT, _RESULT)
    def invert(words: Any, slots: Any, out: Any, found: Any) -> None:
        _ = source
        for group in range(len(words)):
            _preimages_group(
                words[group].ctypes.data,
                slots[group].ctypes.data,
                out[group].ctypes.data,
                found[group].ctypes.data,
            )

    return multiply, map_uniform, check, invert


_multiply, _map, _check, _invert = _loops(
    code_fingerprint(lanes, field, field_32, field_52, ristretto_points, ristretto_code)
)


def multiply(
    scalars: NDArray[np.uint8], points: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return each point times its scalar, and which results are valid.

    Args:
        scalars: One for all points or one each, shape (1, 32) or (n, 32), little-endian; the top
            bit is ignored.
        points: Encodings, shape (n, 32).

    Returns:
        Encodings, shape (n, 32); and a mask, shape (n,), of the rows whose given encoding is valid
        and whose result is not the identity (so the given point is not the identity either). Other
        rows have no meaning.
    """
    words = _to_lanes(points)
    out, valid = np.empty_like(words), np.empty((len(words), 1, _LANES), np.uint64)
    common = len(scalars) == 1
    rows = np.zeros(((1 if common else len(words)) * _LANES, scalars.shape[1]), np.uint8)
    rows[: None if common else len(scalars)] = scalars
    rows[:, -1] &= 0x7F
    secrets = rows.reshape(-1, _LANES, scalars.shape[1])
    if common:
        _in_threads(_multiply, secrets, (words, out, valid))
    else:
        _in_threads(_multiply, None, (secrets, words, out, valid))
    return _from_lanes(out, len(points)), _flags(valid, len(points))


def preimages(
    points: NDArray[np.uint8], slots: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return the field element in one slot of each point (`psi.group.preimages`).

    Args:
        points: Encodings of valid elements, shape (n, 32).
        slots: From 0 to 7, shape (n,).

    Returns:
        Little-endian numbers that are not negative, shape (n, 32); and a mask, shape (n,), of the
        rows whose slot holds one. Other rows have no meaning.
    """
    words = _to_lanes(points)
    numbers = np.zeros((len(words), 1, _LANES), np.uint64)
    numbers.reshape(-1)[: len(slots)] = slots
    out, found = np.empty_like(words), np.empty_like(numbers)
    _in_threads(_invert, None, (words, numbers, out, found))
    return _from_lanes(out, len(points)), _flags(found, len(points))


def from_uniform(uniform: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the element that RFC 9496 section 4.3.4 derives from each row of uniform bytes.

    Args:
        uniform: Shape (n, 64).

    Returns:
        Encodings, shape (n, 32).
    """
    words = _to_lanes(uniform)
    out = np.empty((len(words), WORDS, _LANES), np.uint64)
    _in_threads(_map, None, (words, out))
    return _from_lanes(out, len(uniform))


def are_valid(points: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return which rows are valid encodings (RFC 9496 section 4.3.1) and not the identity's.

    Returns:
        A mask of shape (n,).
    """
    words = _to_lanes(points)
    valid = np.empty((len(words), 1, _LANES), np.uint64)
    _in_threads(_check, None, (words, valid))
    return _flags(valid, len(points))


def _in_threads(run: Any, first: Any, arrays: Sequence[NDArray[Any]]) -> None:
    settings: Any = config
    groups = len(arrays[0])
    threads = max(1, min(settings.NUMBA_NUM_THREADS, groups // _GROUPS_A_THREAD))
    common = () if first is None else (first,)
    bounds = [groups * k // threads for k in range(threads + 1)]
    with ThreadPoolExecutor(threads) as pool:
        done = [
            pool.submit(run, *common, *(array[start:end] for array in arrays))
            for start, end in pairwise(bounds)
        ]
        for future in done:
            future.result()


def _to_lanes(rows: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Return little-endian words by group, word and lane; rows that the last group lacks are 0."""
    groups, width = -(-len(rows) // _LANES), rows.shape[1]
    padded = np.zeros((groups * _LANES, width), np.uint8)
    padded[: len(rows)] = rows
    words = padded.view("<u8").reshape(groups, _LANES, width // 8)
    return np.ascontiguousarray(words.transpose(0, 2, 1))


def _from_lanes(words: NDArray[np.uint64], count: int) -> NDArray[np.uint8]:
    rows = np.ascontiguousarray(words.transpose(0, 2, 1)).view(np.uint8)
    return rows.reshape(-1, 8 * words.shape[1])[:count]


def _flags(masks: NDArray[np.uint64], count: int) -> NDArray[np.bool_]:
    return np.not_equal(masks.reshape(-1)[:count], 0)
