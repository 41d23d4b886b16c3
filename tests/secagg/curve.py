"""Edwards25519 by its formulas alone (RFC 8032, section 5.1), to make keys and signatures at will.

Slow and short: what the tests build by it is held against libcrypto and the product.
"""

import hashlib

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
Point = tuple[int, int]
NEUTRAL: Point = (0, 1)


def add(one: Point, other: Point) -> Point:
    (x1, y1), (x2, y2) = one, other
    product = D * x1 * x2 * y1 * y2 % P
    x = (x1 * y2 + y1 * x2) * pow(1 + product, -1, P)
    y = (y1 * y2 + x1 * x2) * pow(1 - product, -1, P)
    return x % P, y % P


def times(number: int, point: Point) -> Point:
    total = NEUTRAL
    for bit in bin(number)[2:]:
        total = add(total, total)
        total = add(total, point) if bit == "1" else total
    return total


def root(square: int) -> int | None:
    """The even square root mod P, if there is one."""
    x = pow(square, (P + 3) // 8, P)
    x = x if x * x % P == square % P else x * pow(2, (P - 1) // 4, P) % P
    if x * x % P != square % P:
        return None
    return min(x, P - x, key=lambda each: each & 1)


def point_of(y: int) -> Point | None:
    """The point with this y and an even x, if there is one."""
    x = root((y * y - 1) * pow(D * y * y + 1, -1, P) % P)
    return None if x is None else (x, y)


def encoded(point: Point, *, sign: int | None = None, more: int = 0) -> bytes:
    """RFC 8032's encoding; with another sign or with P added, one that is not canonical."""
    x, y = point
    return (y + more | (x & 1 if sign is None else sign) << 255).to_bytes(32, "little")


def challenge(r: bytes, a: bytes, message: bytes) -> int:
    return int.from_bytes(hashlib.sha512(r + a + message).digest(), "little") % L


def torsion() -> list[Point]:
    """The eight points of small order, as multiples of one of order 8."""
    for y in range(2, 1000):
        point = point_of(y)
        if point is not None:
            small = times(L, point)
            if times(4, small) != NEUTRAL:
                return [times(number, small) for number in range(8)]
    raise AssertionError("no point of order 8 found")


_four_fifths = point_of(4 * pow(5, -1, P) % P)
assert _four_fifths
BASE: Point = _four_fifths
TORSION = torsion()
EIGHTH = TORSION[1]


def encodings_of_small_order() -> list[bytes]:
    """All fourteen: eight canonical ones, and those with P added or a sign where x is 0."""
    found = set()
    for point in TORSION:
        for more in (0, P) if point[1] < 19 else (0,):
            signs = (0, 1) if point[0] == 0 else (point[0] & 1,)
            found |= {encoded(point, sign=sign, more=more) for sign in signs}
    return sorted(found)
