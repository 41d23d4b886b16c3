"""The field's multiplication by 52-bit products, AVX-512 IFMA: five limbs of 51 bits, eight lanes.

vpmadd52luq and vpmadd52huq add the low or the high 52 bits of a product of 52-bit numbers. With
limbs of 51 bits the high half counts twice at the next limb.
"""

from collections.abc import Sequence

from llvmlite import ir

from psi.compiled.field import Element, times_19
from psi.compiled.lanes import Lanes

__all__ = ["Element52"]

_BITS = 52
_LOW, _HIGH = "l", "h"


class Element52(Element):
    """Elements of the field on processors with AVX-512 IFMA."""

    widths = (51,) * 5
    lanes = 8
    __slots__ = ()

    def __mul__(self, other: "Element52") -> "Element52":
        a, b = self.operand().limbs, other.operand().limbs
        low, high = [self.code.constant(0)] * 10, [self.code.constant(0)] * 10
        for i in range(5):
            for j in range(5):
                low[i + j] = _plus(low[i + j], _LOW, a[i], b[j])
                high[i + j + 1] = _plus(high[i + j + 1], _HIGH, a[i], b[j])
        return _folded([x + (y << 1) for x, y in zip(low, high, strict=True)])

    def square(self) -> "Element52":
        """Return this times itself: products of different limbs are taken once and count twice."""
        a = self.operand().limbs
        once, twice, four = ([self.code.constant(0)] * 10 for _ in range(3))
        for i in range(5):
            once[2 * i] = _plus(once[2 * i], _LOW, a[i], a[i])
            twice[2 * i + 1] = _plus(twice[2 * i + 1], _HIGH, a[i], a[i])
            for j in range(i + 1, 5):
                twice[i + j] = _plus(twice[i + j], _LOW, a[i], a[j])
                four[i + j + 1] = _plus(four[i + j + 1], _HIGH, a[i], a[j])
        columns = zip(once, twice, four, strict=True)
        return _folded([x + ((y + (z << 1)) << 1) for x, y, z in columns])


def _plus(before: Lanes, half: str, a: Lanes, b: Lanes) -> Lanes:
    """Add the low or the high half of a product."""
    if max(a.most, b.most) >> _BITS:
        raise OverflowError("a factor has at most 52 bits: reduce it first")
    module, vector = a.code.builder.module, a.code.vector
    name = f"llvm.x86.avx512.vpmadd52{half}.uq.{64 * a.code.lanes}"
    function = module.globals.get(name)
    if function is None:
        function = ir.Function(module, ir.FunctionType(vector, [vector] * 3), name)
    product = a.most * b.most
    most = product >> _BITS if half == _HIGH else min(product, (1 << _BITS) - 1)
    value = a.code.builder.call(function, [before.value, a.value, b.value])
    return Lanes(a.code, value, before.most + most)


def _folded(columns: Sequence[Lanes]) -> Element52:
    return Element52([x + times_19(y) for x, y in zip(columns[:5], columns[5:], strict=True)])
