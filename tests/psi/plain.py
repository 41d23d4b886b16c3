"""GF(2^128) by the book, in Python's integers: what the kernels are held to."""


def product(a: int, b: int) -> int:
    """The product modulo x^128 + x^7 + x^2 + x + 1."""
    total = 0
    for bit in range(128):
        total ^= a << bit if b >> bit & 1 else 0
    for bit in range(254, 127, -1):
        total ^= (1 << 128 | 0x87) << bit - 128 if total >> bit & 1 else 0
    return total
