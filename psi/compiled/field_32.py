"""The field's multiplication by 32-bit products: ten limbs of 26 and 25 bits, four lanes.

For processors with AVX2 (vpmuludq) and without 52-bit products. Limb k counts 2^(25.5 k), rounded
up to a whole bit; so the product of two limbs with odd k counts twice.
"""

from collections.abc import Sequence

from psi.compiled.field import Element, times_19
from psi.compiled.lanes import Lanes

__all__ = ["Element32"]

_LIMBS = 10


class Element32(Element):
    """Elements of the field on processors with AVX2."""

    widths = (26, 25) * 5
    lanes = 4
    __slots__ = ()

    def __mul__(self, other: "Element32") -> "Element32":
        return self.of_values(self.code, self.called("multiply", _product, [self, other]))

    def square(self) -> "Element32":
        """Return this times itself: products of different limbs are taken once and count twice."""
        return self.of_values(self.code, self.called("square", _square, [self]))


def _product(a: Element32, b: Element32) -> Sequence[Lanes]:
    sums = [a.code.constant(0)] * _LIMBS
    for i in range(_LIMBS):
        for j in range(_LIMBS):
            sums[(i + j) % _LIMBS] += a.limbs[i].times(_scaled(b.limbs[j], i, j))
    return Element32(sums).operand().limbs


def _square(a: Element32) -> Sequence[Lanes]:
    sums, twice = [a.code.constant(0)] * _LIMBS, a.doubled()
    for i in range(_LIMBS):
        sums[2 * i % _LIMBS] += a.limbs[i].times(_scaled(a.limbs[i], i, i))
        for j in range(i + 1, _LIMBS):
            sums[(i + j) % _LIMBS] += twice.limbs[i].times(_scaled(a.limbs[j], i, j))
    return Element32(sums).operand().limbs


def _scaled(limb: Lanes, i: int, j: int) -> Lanes:
    """Scale limb j so that its product with limb i counts at limb i + j mod the number of limbs."""
    limb = limb << (i & j & 1)
    return limb if i + j < _LIMBS else times_19(limb)
