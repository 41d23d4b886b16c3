"""Bounds in few digits that still hold as printed: upper ones rounded up, lower ones down.

The decimal is made from the float exactly, so what is printed is never on the wrong side of it.
If bounds were rounded to the nearest, half of them would claim a little more than was proved.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal

_DIGITS = 3


def at_most(value: float, digits: int = _DIGITS) -> str:
    """Write an upper bound, such as a spent ε or a δ, rounded up to that many digits."""
    return _shown(Context(prec=digits, rounding=ROUND_CEILING).create_decimal_from_float(value))


def at_least(value: float, digits: int = _DIGITS) -> str:
    """Write a lower bound rounded down to that many digits."""
    return _shown(Context(prec=digits, rounding=ROUND_FLOOR).create_decimal_from_float(value))


def as_given(value: float) -> str:
    """Write a number that somebody asked for in the same way: every digit, and no `.0`."""
    return repr(float(value)).removesuffix(".0")


def outwards(interval: Sequence[float], decimals: int, *, percent: bool = False) -> tuple[str, str]:
    """Write an interval with that many decimals: as printed it still covers all that it covered."""
    step = Decimal(1).scaleb(-decimals)
    low, high = (Decimal(bound).scaleb(2 if percent else 0) for bound in interval)
    return (
        str(low.quantize(step, ROUND_FLOOR) + 0),  # + 0: no "-0.0"
        str(high.quantize(step, ROUND_CEILING) + 0),
    )


def _shown(value: Decimal) -> str:
    if not value.is_finite() or not value:
        return str(float(value)).removesuffix(".0")
    exponent = value.adjusted()
    if -5 < exponent < 16:
        return f"{value.normalize():f}"
    return f"{value.scaleb(-exponent).normalize():f}e{exponent:+03d}"
