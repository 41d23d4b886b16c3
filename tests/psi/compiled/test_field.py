"""Vectorised field arithmetic against whole numbers, for both ways of multiplying."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("numba")

from llvmlite import ir
from numba import njit
from numba.core import types
from numba.extending import intrinsic

from psi.compiled.field import Element, P
from psi.compiled.field_32 import Element32
from psi.compiled.field_52 import Element52
from psi.compiled.lanes import WORD, Code, Lanes
from psi.compiled.ristretto_code import KIND

if KIND is None:
    pytest.skip("the processor lacks AVX2", allow_module_level=True)

# AVX2's way runs on every processor that has the other.
KINDS = [Element32] if KIND is Element32 else [Element32, Element52]
both = pytest.mark.parametrize("kind", KINDS)

# What may go wrong at the ends: around 0, p and 2p, and limbs of zeros and ones in either width.
EDGES = [
    *range(3), *range(P - 2, P + 20), 2 * P - 1, 2**255 - 1, 2**254, (P - 1) // 2, (P + 1) // 2,
    *(2**255 - 2**k for k in (26, 51, 77, 102, 204, 230)), *(2**k for k in (25, 51, 102, 153, 204)),
]  # fmt: skip
numbers = st.sampled_from(EDGES) | st.integers(0, 2**255 - 1)


def limbs_of(kind: type[Element], number: int) -> list[int]:
    return kind._cut(number)


def value_of(kind: type[Element], limbs: list[int]) -> int:
    starts = np.cumsum([0, *kind.widths]).tolist()
    return sum(limb << start for limb, start in zip(limbs, starts, strict=False))


def function(kind: type[Element], formula: Callable[..., Element | Lanes], arity: int) -> Any:
    """A formula as a function from the limbs of operands, (arity, limbs, lanes), to four words."""
    limbs = len(kind.widths)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        name = ir.FunctionType(ir.VoidType(), [WORD] * 2)
        inner = ir.Function(builder.module, name, "tested")
        code = Code(ir.IRBuilder(inner.append_basic_block()), kind.lanes)
        given_, out = (code.builder.inttoptr(a, code.vector.as_pointer()) for a in inner.args)
        result = formula(*(kind.load(code, given_, WORD(k * limbs)) for k in range(arity)))
        words = result.words() if isinstance(result, Element) else [result] * 4
        for k, word in enumerate(words):
            code.store(word, out, WORD(k))
        code.builder.ret_void()
        builder.call(inner, arguments)
        return context.get_dummy_value()

    def signature(typing_context: Any, operands: Any, out: Any) -> Any:
        return types.void(types.uintp, types.uintp), generate

    run: Any = intrinsic(signature)

    @njit
    def compiled(operands: Any, out: Any) -> None:
        run(operands.ctypes.data, out.ctypes.data)

    def call(*operands: list[list[int]]) -> list[int]:
        # Each operand: the limbs of each lane's number.
        given_ = np.array(operands, np.uint64).transpose(0, 2, 1)
        out = np.empty((4, kind.lanes), np.uint64)
        compiled(np.ascontiguousarray(given_), out)
        return [int.from_bytes(lane.tobytes(), "little") for lane in out.T]

    return call


OPERATIONS: dict[str, tuple[Callable[..., Any], Callable[..., int], int]] = {
    "itself": (lambda a: a, lambda a: a % P, 1),
    "product": (lambda a, b: a * b, lambda a, b: a * b % P, 2),
    "square": (lambda a: a.square(), lambda a: a * a % P, 1),
    "sum": (lambda a, b: a + b, lambda a, b: (a + b) % P, 2),
    "difference": (lambda a, b: a - b, lambda a, b: (a - b) % P, 2),
    "negative": (lambda a: -a, lambda a: -a % P, 1),
    "a long sum of products": (
        lambda a, b: (a * b - b.square()).doubled() * (-(a * a) - b) - (a + b).doubled(),
        lambda a, b: (2 * (a * b - b * b) * (-a * a - b) - 2 * (a + b)) % P,
        2,
    ),
    "squared five times": (lambda a: a.squared(5), lambda a: pow(a, 32, P), 1),
    "absolute": (lambda a: a.absolute(), lambda a: min(a % P, -a % P, key=lambda x: x & 1), 1),
    "is zero": (lambda a: a.is_zero(), lambda a: (2**256 - 1) * (a % P == 0), 1),
    "is negative": (lambda a: a.is_negative(), lambda a: (2**256 - 1) * (a % P & 1), 1),
    "a choice": (
        lambda a, b: a.where(b.is_negative(), b),
        lambda a, b: (a if b % P & 1 else b) % P,
        2,
    ),
}
_functions: dict[tuple[Any, str], Any] = {}


def checked(kind: type[Element], name: str, operands: list[list[list[int]]]) -> None:
    formula, expected, arity = OPERATIONS[name]
    if (kind, name) not in _functions:
        _functions[kind, name] = function(kind, formula, arity)
    found = _functions[kind, name](*operands[:arity])
    values = [[value_of(kind, limbs) for limbs in operand] for operand in operands[:arity]]
    assert found == [expected(*lane) for lane in zip(*values, strict=True)]


@both
@pytest.mark.parametrize("name", OPERATIONS)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_arithmetic_is_that_of_whole_numbers(
    kind: type[Element], name: str, data: st.DataObject
) -> None:
    drawn = data.draw(st.lists(numbers, min_size=2 * kind.lanes, max_size=2 * kind.lanes))
    limbs = [limbs_of(kind, number) for number in drawn]
    checked(kind, name, [limbs[: kind.lanes], limbs[kind.lanes :]])


@both
@pytest.mark.parametrize("name", OPERATIONS)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_limbs_at_their_bounds(kind: type[Element], name: str, data: st.DataObject) -> None:
    # An operand's limbs may exceed their widths a little; nothing overflows at the greatest.
    limb = [st.sampled_from([0, 1, bound - 1, bound]) for bound in kind._bounds()]
    operand = st.lists(st.tuples(*limb), min_size=kind.lanes, max_size=kind.lanes)
    checked(kind, name, [[list(one) for one in data.draw(operand)] for _ in range(2)])


@both
def test_all_limbs_at_their_bounds(kind: type[Element]) -> None:
    for name in OPERATIONS:
        checked(kind, name, [[kind._bounds()] * kind.lanes] * 2)


def lanes(most: int) -> Lanes:
    function = ir.Function(ir.Module(), ir.FunctionType(ir.VoidType(), []), "unused")
    code = Code(ir.IRBuilder(function.append_basic_block()), 8)
    return Lanes(code, code.constant(0).value, most)


def test_code_that_could_overflow_is_not_generated() -> None:
    one = lanes(2**63)
    with pytest.raises(OverflowError):
        one + one
    with pytest.raises(OverflowError):
        one << 1
    with pytest.raises(OverflowError):
        one.taken_from(2**63 - 1)
    with pytest.raises(OverflowError):
        one.times(one)
    assert one.taken_from(2**63).most == 2**63


def test_bounds_of_lanes_hold() -> None:
    five, nine = lanes(5), lanes(9)
    bounds = {
        "+": (five + nine).most,
        "<<": (five << 3).most,
        ">>": (nine >> 1).most,
        "low": nine.low(2).most,
        "|": (five | nine).most,
        "^": (five ^ nine).most,
        "&": (five & nine).most,
        "times": five.times(nine).most,
        "where": five.where(nine, nine).most,
    }
    assert bounds == {
        "+": 14, "<<": 40, ">>": 4, "low": 3, "|": 15, "^": 15, "&": 5, "times": 45, "where": 9,
    }  # fmt: skip
