"""Exact arithmetic mod a prime below 2^50 in doubles, by fused multiply and add.

A product of two integers is a rounded double and its error, both exact; what remains after the
nearest multiple of the prime is an integer below 2^53 again. A residue here is a signed integer,
bounded as a share of the prime. Written twice in the same words: `Floats` generates code for eight
lanes, the functions are inlined into loops that LLVM turns into lanes itself. There is neither a
branch nor an address that depends on a number.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba import float64, uint64
from numba.core import types
from numba.extending import intrinsic, register_jitable

__all__ = ["LANES", "PRIME_BITS", "Floats", "canonical", "count_ones", "product", "reduced"]

LANES = 8
PRIME_BITS = 50  # of a prime: eight of them fit a double's 53 bits
_VECTOR = ir.VectorType(ir.DoubleType(), LANES)


def _call(builder: Any, name: str, arguments: Sequence[Any]) -> Any:
    """Call LLVM's intrinsic whose arguments and result are of one type."""
    kind = arguments[0].type
    function = builder.module.globals.get(f"llvm.{name}")
    if function is None:
        signature = ir.FunctionType(kind, [kind] * len(arguments))
        function = ir.Function(builder.module, signature, f"llvm.{name}")
    return builder.call(function, arguments)


class Floats:
    """Eight doubles in one LLVM value: generates code as one computes with numbers."""

    __slots__ = ("_builder", "value")

    def __init__(self, builder: Any, value: Any) -> None:
        """Wrap a value of eight doubles."""
        self._builder, self.value = builder, value

    @classmethod
    def load(cls, builder: Any, address: Any) -> "Floats":
        """Return the eight doubles at an address."""
        pointer = builder.inttoptr(address, _VECTOR.as_pointer())
        return cls(builder, builder.load(pointer, align=8))

    @classmethod
    def splat(cls, builder: Any, number: Any) -> "Floats":
        """Return the same double in every lane."""
        undefined = ir.Constant(_VECTOR, ir.Undefined)
        first = builder.insert_element(undefined, number, ir.IntType(32)(0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        return cls(builder, builder.shuffle_vector(first, undefined, zeros))

    def store(self, address: Any) -> None:
        """Write to an address."""
        pointer = self._builder.inttoptr(address, _VECTOR.as_pointer())
        self._builder.store(self.value, pointer, align=8)

    def __add__(self, other: "Floats") -> "Floats":
        return self._of(self._builder.fadd(self.value, other.value))

    def __sub__(self, other: "Floats") -> "Floats":
        return self._of(self._builder.fsub(self.value, other.value))

    def __mul__(self, other: "Floats") -> "Floats":
        return self._of(self._builder.fmul(self.value, other.value))

    def __neg__(self) -> "Floats":
        return self._of(self._builder.fneg(self.value))

    def fused(self, factor: "Floats", addend: "Floats") -> "Floats":
        """Return this times a factor plus an addend, rounded once."""
        numbers = [self.value, factor.value, addend.value]
        return self._of(_call(self._builder, "fma.v8f64", numbers))

    def nearest(self) -> "Floats":
        """Return the nearest integers."""
        return self._of(_call(self._builder, "rint.v8f64", [self.value]))

    def times(self, factor: "Floats", ratio: "Floats", prime: "Floats") -> "Floats":
        """Return this times a constant mod the prime; up to A primes become 1/2 + A/8.

        Args:
            factor: The constant, at most half the prime.
            ratio: The constant over the prime.
            prime: The prime.
        """
        high = self * factor
        quotient = (self * ratio).nearest()
        return quotient.fused(-prime, high) + self.fused(factor, -high)

    def reduced(self, prime: "Floats", inverse: "Floats") -> "Floats":
        """Return this mod the prime: at most half of it, and a little."""
        return (self * inverse).nearest().fused(-prime, self)

    def _of(self, value: Any) -> "Floats":
        return Floats(self._builder, value)


def _generate_fused(typing_context: Any, x: Any, y: Any, z: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _call(builder, "fma.f64", arguments)

    return float64(float64, float64, float64), generate


def _generate_nearest(typing_context: Any, x: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _call(builder, "rint.f64", arguments)

    return float64(float64), generate


def _generate_ones(typing_context: Any, word: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _call(builder, "ctpop.i64", arguments)

    return types.uint64(uint64), generate


_fused: Any = intrinsic(_generate_fused)
_nearest: Any = intrinsic(_generate_nearest)
count_ones: Any = intrinsic(_generate_ones)


@register_jitable
def product(x: Any, y: Any, prime: Any, inverse: Any) -> Any:
    """Return x * y mod the prime; up to A and B primes become 1/2 + 3AB/8."""
    high = x * y
    quotient = _nearest(high * inverse)
    return _fused(-quotient, prime, high) + _fused(x, y, -high)


@register_jitable
def reduced(x: Any, prime: Any, inverse: Any) -> Any:
    """Return x mod the prime: at most half of it, and a little."""
    return _fused(-_nearest(x * inverse), prime, x)


@register_jitable
def canonical(x: Any, prime: Any) -> Any:
    """Return what is above -prime and below it, from 0 on."""
    return x + prime * np.float64(x < 0.0)
