"""The inverse of MAP (RFC 9496 section 4.3.4): field elements that are mapped to a group element.

MAP is Elligator 2 (Bernstein, Hamburg, Krasnova and Lange 2013, ePrint 2013/325) on the Jacobi
quartic of Decaf (Hamburg 2015, ePrint 2015/673). A group element is a coset of eight points (s, t)
of that quartic, each of which has one preimage up to its sign, or none: these are the slots. The
formulas are those of Lizard in Signal's curve25519-dalek. `psi.compiled.ristretto_points` has the
same in vector lanes; this is for few elements.
"""

__all__ = ["SLOTS", "preimage"]

SLOTS = 8

_P = 2**255 - 19
# RFC 9496 section 4.1.
_D = -121665 * pow(121666, -1, _P) % _P
_SQRT_M1 = pow(2, (_P - 1) // 4, _P)
_INVSQRT_A_MINUS_D = 54469307008909316920995813868745141605393597292927456921205312896311721017578
_DP1_OVER_DM1 = (_D + 1) * pow(_D - 1, -1, _P) % _P
_ROOT = (3 + 7 * ((_P - 5) // 8)) % (_P - 1)


def preimage(encoding: bytes, slot: int) -> int | None:
    """Return the non-negative field element in one slot of a group element, or None.

    Args:
        encoding: 32 bytes of a valid element other than the identity.
        slot: 0 to 7.
    """
    s, t = _quartic(int.from_bytes(encoding, "little"), slot)
    a = (t + 1) * _DP1_OVER_DM1 % _P
    s2 = s * s % _P
    is_square, root = _inverse_root((s2 * s2 - a * a) * _SQRT_M1)
    return _absolute((a + (-s2 if s & 1 else s2)) * root) if is_square else None


def _quartic(encoded: int, slot: int) -> tuple[int, int]:
    """Return the point (s, t) of a slot: bits of its number say which of two, three times."""
    square = encoded * encoded % _P
    u1, u2 = 1 - square, 1 + square
    v = -_D * u1 * u1 - u2 * u2
    _, root = _inverse_root(v * u2 * u2)
    den_x = root * u2 % _P
    x, y = _absolute(2 * encoded * den_x), u1 * root * den_x * v % _P
    _, root = _inverse_root((y * y % _P * x % _P) ** 2 * (1 - y * y))
    if slot & 1:  # the element's representative after a quarter turn
        factor = (1 - y * y) * _SQRT_M1 * _INVSQRT_A_MINUS_D * root
        along, across, unit = x, y, _SQRT_M1
    else:
        factor, along, across, unit = y * y * root, y, x, 1
    factor = factor * (unit + along if slot & 2 else unit - along) % _P
    s, t = factor * across, -2 * _INVSQRT_A_MINUS_D * unit * factor
    if slot & 2:
        s = -s
    return (-s % _P, -t % _P) if slot & 4 else (s % _P, t % _P)


def _inverse_root(v: int) -> tuple[bool, int]:
    """Return SQRT_RATIO_M1(1, v) of section 4.2."""
    v %= _P
    root = pow(v, _ROOT, _P)
    check = v * root * root % _P
    if check in (_P - 1, -_SQRT_M1 % _P):
        root = root * _SQRT_M1 % _P
    return check in (1, _P - 1), _absolute(root)


def _absolute(number: int) -> int:
    number %= _P
    return _P - number if number & 1 else number
