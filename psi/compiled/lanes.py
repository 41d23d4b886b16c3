"""Unsigned 64-bit lanes as an LLVM vector, with a bound that is known while code is generated.

Formulas compute with `Lanes` as with numbers, and this generates code. Each `Lanes` knows the most
that any of its lanes can hold, whatever the input. Arithmetic that could wrap around raises while
code is generated, so generated code cannot overflow. LLVM translates the vectors to what the
processor has. There is no branch on a lane: a choice is a mask, all bits set or none.
"""

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir

__all__ = ["WORD", "Code", "Lanes"]

WORD = ir.IntType(64)
_ALL = (1 << 64) - 1


class Code:
    """Where instructions go, and how many lanes their vectors have."""

    def __init__(self, builder: Any, lanes: int) -> None:
        """Take an llvmlite IRBuilder."""
        self.builder, self.lanes = builder, lanes
        self.vector = ir.VectorType(WORD, lanes)

    def constant(self, number: int) -> "Lanes":
        """Return the same number in every lane."""
        return Lanes(self, ir.Constant(self.vector, [number] * self.lanes), number)

    def load(self, vectors: Any, index: Any, most: int = _ALL) -> "Lanes":
        """Return the vector at an index behind a pointer; the caller knows its bound."""
        at = self.builder.gep(vectors, [index])
        return Lanes(self, self.builder.load(at, align=8), most)

    def store(self, lanes: "Lanes", vectors: Any, index: Any) -> None:
        """Write to an index from a pointer to vectors."""
        self.builder.store(lanes.value, self.builder.gep(vectors, [index]), align=8)

    def call(
        self,
        name: str,
        formula: Callable[["Code", Sequence[Any]], Sequence["Lanes"]],
        arguments: Sequence[Any],
        results: int,
    ) -> list[Any]:
        """Call a formula as a function of the generated module; the first call generates it.

        Args:
            name: Name of the function.
            formula: Takes where its code goes and the values of its arguments.
            arguments: LLVM values, all of them vectors.
            results: How many lanes the formula returns.

        Returns:
            The LLVM values of the results.
        """
        function = self.builder.module.globals.get(name)
        if function is None:
            kind = ir.ArrayType(self.vector, results)
            signature = ir.FunctionType(kind, [self.vector] * len(arguments))
            function = ir.Function(self.builder.module, signature, name)
            function.linkage = "internal"
            function.attributes.add("noinline")
            builder = ir.IRBuilder(function.append_basic_block())
            packed = ir.Constant(kind, ir.Undefined)
            for index, lanes in enumerate(formula(Code(builder, self.lanes), function.args)):
                packed = builder.insert_value(packed, lanes.value, index)
            builder.ret(packed)
        packed = self.builder.call(function, arguments)
        return [self.builder.extract_value(packed, index) for index in range(results)]


class Lanes:
    """Numbers from 0 to `most`, one in each lane, in one LLVM value."""

    __slots__ = ("code", "most", "value")

    def __init__(self, code: Code, value: Any, most: int = _ALL) -> None:
        """Wrap a value of type `code.vector`, no lane of which exceeds `most`.

        Raises:
            OverflowError: `most` does not fit a lane.
        """
        if not 0 <= most <= _ALL:
            raise OverflowError("a lane holds 64 bits: reduce an operand first")
        self.code, self.value, self.most = code, value, most

    def __add__(self, other: "Lanes") -> "Lanes":
        return self._of(self.code.builder.add(self.value, other.value), self.most + other.most)

    def taken_from(self, number: int) -> "Lanes":
        """Return a number minus each lane.

        Raises:
            OverflowError: A lane can exceed the number.
        """
        if self.most > number:
            raise OverflowError("a difference is not negative: reduce an operand first")
        return self._of(self.code.builder.sub(self._splat(number), self.value), number)

    def times(self, other: "Lanes") -> "Lanes":
        """Return lane by lane the product of numbers below 2^32.

        Raises:
            OverflowError: A factor can be 2^32 or more.
        """
        if max(self.most, other.most) >> 32:
            raise OverflowError("a factor has at most 32 bits: reduce it first")
        # LLVM recognises the product of two low halves as one instruction.
        product = self.code.builder.mul(self.low(32).value, other.low(32).value)
        return self._of(product, self.most * other.most)

    def __lshift__(self, bits: int) -> "Lanes":
        return self._of(self.code.builder.shl(self.value, self._splat(bits)), self.most << bits)

    def __rshift__(self, bits: int) -> "Lanes":
        return self._of(self.code.builder.lshr(self.value, self._splat(bits)), self.most >> bits)

    def low(self, bits: int) -> "Lanes":
        """Return the lowest bits of each lane."""
        mask = (1 << bits) - 1
        value = self.code.builder.and_(self.value, self._splat(mask))
        return self._of(value, min(self.most, mask))

    def __or__(self, other: "Lanes") -> "Lanes":
        value = self.code.builder.or_(self.value, other.value)
        return self._of(value, _filled(self.most | other.most))

    def __xor__(self, other: "Lanes") -> "Lanes":
        value = self.code.builder.xor(self.value, other.value)
        return self._of(value, _filled(self.most | other.most))

    def __and__(self, other: "Lanes") -> "Lanes":
        value = self.code.builder.and_(self.value, other.value)
        return self._of(value, min(self.most, other.most))

    def __invert__(self) -> "Lanes":
        return self._of(self.code.builder.not_(self.value), _ALL)

    def where(self, mask: "Lanes", other: "Lanes") -> "Lanes":
        """Return this in the lanes of the mask, the other elsewhere."""
        value = ((self & mask) | (other & ~mask)).value
        return self._of(value, max(self.most, other.most))

    def is_zero(self) -> "Lanes":
        """Return the mask of the lanes that hold 0."""
        zero = self.code.builder.icmp_unsigned("==", self.value, self._splat(0))
        return self._of(self.code.builder.sext(zero, self.code.vector), _ALL)

    def hidden(self) -> "Lanes":
        """Return the same lanes through an empty instruction that LLVM cannot look through.

        It could otherwise find out that a mask stands for a condition, and branch on it.
        """
        opaque = ir.FunctionType(self.code.vector, [self.code.vector])
        value = self.code.builder.asm(opaque, "", "=x,0", [self.value], side_effect=False)
        return self._of(value, self.most)

    def is_odd(self) -> "Lanes":
        """Return the mask of the lanes that hold an odd number."""
        return self._of(self.code.builder.sub(self._splat(0), self.low(1).value), _ALL)

    def _splat(self, number: int) -> Any:
        return self.code.constant(number).value

    def _of(self, value: Any, most: int) -> "Lanes":
        return Lanes(self.code, value, most)


def _filled(number: int) -> int:
    """Return the greatest number with as many bits as this one."""
    return (1 << number.bit_length()) - 1
