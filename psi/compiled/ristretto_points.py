"""ristretto255 in vector lanes: the formulas of RFC 9496 section 4, written on field elements.

Nothing branches: where the RFC chooses, both values are computed and a mask selects. Points lie on
-x^2 + y^2 = 1 + d x^2 y^2 in the coordinates, and by the sums, of Hisil, Wong, Carter and Dawson
2008 (ePrint 2008/522).
"""

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

from psi.compiled.field import Element, P
from psi.compiled.lanes import Lanes

__all__ = [
    "Addend",
    "Point",
    "Product",
    "add",
    "decode",
    "double",
    "encode",
    "inverse_map",
    "map_to",
    "prepare",
]

# RFC 9496 section 4.1.
_D = -121665 * pow(121666, -1, P) % P
_SQRT_M1 = pow(2, (P - 1) // 4, P)
_SQRT_AD_MINUS_ONE = 25063068953384623474111414158702152701244531502492656460079210482610430750235
_INVSQRT_A_MINUS_D = 54469307008909316920995813868745141605393597292927456921205312896311721017578
_ONE_MINUS_D_SQ = (1 - _D**2) % P
_D_MINUS_ONE_SQ = (_D - 1) ** 2 % P
_DP1_OVER_DM1 = (_D + 1) * pow(_D - 1, -1, P) % P

_E = TypeVar("_E", bound=Element)


class Point(NamedTuple):
    """Extended coordinates: x = X/Z, y = Y/Z, x·y = T/Z."""

    x: Element
    y: Element
    z: Element
    t: Element


class Addend(NamedTuple):
    """A point prepared to be added: Y + X, Y - X, 2·Z, 2·d·T."""

    sum: Element
    difference: Element
    z: Element
    t: Element

    def negative_where(self, mask: Lanes) -> "Addend":
        """Return the point's negative in the lanes of the mask, the point elsewhere."""
        return Addend(
            self.difference.where(mask, self.sum),
            self.sum.where(mask, self.difference),
            self.z,
            (-self.t).where(mask, self.t),
        )


class Product(NamedTuple):
    """What a sum ends with: X = E·F, Y = G·H, Z = F·G, T = E·H."""

    e: Element
    f: Element
    g: Element
    h: Element

    def point(self) -> Point:
        """Multiply out; what nobody uses of it costs nothing, because LLVM leaves it out."""
        return Point(self.e * self.f, self.g * self.h, self.f * self.g, self.e * self.h)


def prepare(point: Point) -> Addend:
    """Make a point ready to be added."""
    x, y, z, t = point
    return Addend(y + x, y - x, z.doubled(), t * _constant(t, 2 * _D))


def add(point: Point, other: Addend) -> Product:
    """Return the sum of any two points (section 3.1; complete, because d is no square)."""
    x, y, z, t = point
    a, b = (y - x) * other.difference, (y + x) * other.sum
    c, d = t * other.t, z * other.z
    return Product(b - a, d - c, d + c, b + a)


def double(point: Point) -> Product:
    """Return twice a point, whose T is not used (section 3.3)."""
    x, y, z, _ = point
    a, b, c = x.square(), y.square(), z.square().doubled()
    g = b - a
    return Product((x * y).doubled(), g - c, g, -(a + b))


def decode(kind: type[Element], words: Sequence[Lanes]) -> tuple[Lanes, Point]:
    """Return the points of some encodings, and the mask of those that are valid (section 4.3.1)."""
    s = kind.from_words(words)
    one = _constant(s, 1)
    canonical = _equal(words, s.words()) & ~s.is_negative()
    ss = s.square()
    u1, u2 = one - ss, one + ss
    u2_sqr = u2.square()
    v = -(_constant(s, _D) * u1.square() + u2_sqr)
    was_square, invsqrt = _sqrt_ratio_m1(one, v * u2_sqr)
    den_x = invsqrt * u2
    den_y = invsqrt * den_x * v
    x, y = (s * den_x).doubled().absolute(), u1 * den_y
    t = x * y
    return canonical & was_square & ~t.is_negative() & ~y.is_zero(), Point(x, y, one, t)


def encode(point: Point) -> list[Lanes]:
    """Return the words of a point's encoding (section 4.3.2)."""
    x0, y0, z0, t0 = point
    u1, u2 = (z0 + y0) * (z0 - y0), x0 * y0
    _, invsqrt = _sqrt_ratio_m1(_constant(x0, 1), u1 * u2.square())
    den1, den2 = invsqrt * u1, invsqrt * u2
    z_inv = den1 * den2 * t0
    sqrt_m1 = _constant(x0, _SQRT_M1)
    rotate = (t0 * z_inv).is_negative()
    x, y = (y0 * sqrt_m1).where(rotate, x0), (x0 * sqrt_m1).where(rotate, y0)
    den_inv = (den1 * _constant(x0, _INVSQRT_A_MINUS_D)).where(rotate, den2)
    y = (-y).where((x * z_inv).is_negative(), y)
    return (den_inv * (z0 - y)).absolute().words()


def map_to(kind: type[Element], words: Sequence[Lanes]) -> Point:
    """Return the point that MAP makes of the words of 32 uniform bytes (section 4.3.4)."""
    t = kind.from_words(words)
    one, minus_one, d = (_constant(t, number) for number in (1, -1, _D))
    r = _constant(t, _SQRT_M1) * t.square()
    u, v = (r + one) * _constant(t, _ONE_MINUS_D_SQ), (minus_one - r * d) * (r + d)
    was_square, s = _sqrt_ratio_m1(u, v)
    s = s.where(was_square, -(s * t).absolute())
    c = minus_one.where(was_square, r)
    n = c * (r - one) * _constant(t, _D_MINUS_ONE_SQ) - v
    w0, w1 = (s * v).doubled(), n * _constant(t, _SQRT_AD_MINUS_ONE)
    ss = s.square()
    w2, w3 = one - ss, one + ss
    return Point(w0 * w3, w2 * w1, w1 * w3, w0 * w2)


def inverse_map(
    kind: type[Element], words: Sequence[Lanes], slots: Lanes
) -> tuple[Lanes, list[Lanes]]:
    """Return what MAP takes to some encodings, as words, and the mask of where there is something.

    The formulas, and what a slot is, are those of `psi.group.preimages`.
    """
    _, (x, y, one, _) = decode(kind, words)
    turned, opposite, dual = slots.is_odd(), (slots >> 1).is_odd(), (slots >> 2).is_odd()
    sqrt_m1, yy = _constant(x, _SQRT_M1), y.square()
    rest = one - yy
    _, root = _sqrt_ratio_m1(one, yy.square() * x.square() * rest)
    factor = (rest * _constant(x, _SQRT_M1 * _INVSQRT_A_MINUS_D)).where(turned, yy) * root
    along, across, unit = x.where(turned, y), y.where(turned, x), sqrt_m1.where(turned, one)
    factor = factor * (unit + along.where(opposite, -along))
    s, t = factor * across, _constant(x, -2 * _INVSQRT_A_MINUS_D) * unit * factor
    s, t = (-s).where(opposite ^ dual, s), (-t).where(dual, t)
    a, ss = (t + one) * _constant(x, _DP1_OVER_DM1), s.square()
    was_square, root = _sqrt_ratio_m1(one, (ss.square() - a.square()) * sqrt_m1)
    found = (a + (-ss).where(s.is_negative(), ss)) * root
    return was_square, found.absolute().words()


def _sqrt_ratio_m1(u: _E, v: _E) -> tuple[Lanes, _E]:
    """Return the mask of where u/v is a square, and the root that section 4.2 defines."""
    # A function of its own, as otherwise most of the generated code would be copies of it.
    mask, *root = u.called("sqrt_ratio_m1", _sqrt_ratio_m1_inline, [u, v], more=1)
    return Lanes(u.code, mask), u.of_values(u.code, root)


def _sqrt_ratio_m1_inline(u: Element, v: Element) -> list[Lanes]:
    u_v3 = u * v.square() * v
    u_v7 = u_v3 * v.square().square()
    root = u_v3 * _power_p58(u_v7)
    check, turned = v * root.square(), u * _constant(u, _SQRT_M1)
    correct, flipped = (check - u).is_zero(), (check + u).is_zero()
    flipped_i = (check + turned).is_zero()
    root = (root * _constant(u, _SQRT_M1)).where(flipped | flipped_i, root)
    return [correct | flipped, *root.absolute().operand().limbs]


def _power_p58(x: Element) -> Element:
    """Raise to the power of (p - 5) / 8 = 2^252 - 3."""
    x9 = x.squared(3) * x
    x22 = (x9 * x.square()).square()
    ones = {5: x22 * x9}  # by n: x to the power of 2^n - 1
    for more, total in ((5, 10), (10, 20), (20, 40), (10, 50), (50, 100), (100, 200), (50, 250)):
        ones[total] = ones[total - more].squared(more) * ones[more]
    return ones[250].squared(2) * x


def _constant(like: _E, number: int) -> _E:
    return like.constant(like.code, number)


def _equal(some: Sequence[Lanes], others: Sequence[Lanes]) -> Lanes:
    """Return the mask of the lanes where all words are equal."""
    first, *rest = (a ^ b for a, b in zip(some, others, strict=True))
    for difference in rest:
        first = first | difference
    return first.is_zero()
