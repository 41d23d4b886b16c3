"""Arithmetic on words, each with as few ANDs as is known: one for each bit that is added.

All of it is one idea, `add_columns`: bits by their weight, and three bits of one weight become one
of it and one of the next by a full adder of one AND (Kolesnikov and Schneider, ICALP 2008).
"""

from collections.abc import Sequence

from privfed.errors import ConfigError
from privfed.garbled.circuit import CircuitBuilder, Wire, Word

__all__ = [
    "absolute",
    "add",
    "add_columns",
    "add_lanes",
    "at_least",
    "clamp",
    "exceeds",
    "highest",
    "masked",
    "multiply",
    "negate",
    "reached_entry",
    "repeat",
    "select",
    "square",
    "subtract",
    "tournament",
    "xor_all",
]


def add_columns(circuit: CircuitBuilder, columns: Sequence[Sequence[Wire]], width: int) -> Word:
    """Return the sum of all bits modulo 2^width, shorter where the highest have none.

    Args:
        circuit: Where gates go.
        columns: The bits by their weight: column i holds those that count 2^i.
        width: How many bits the sum has at most.

    Raises:
        ConfigError: A column without bits stands below others.
    """
    left = [list(column) for column in columns] + [[] for _ in range(width - len(columns))]
    word = []
    for weight in range(width):
        column = left[weight]
        last = weight == width - 1
        while len(column) > 1:
            a, b = column.pop(0), column.pop(0)
            both = circuit.xor(a, b)
            if last:
                column.append(both)
                continue
            if column:
                c = column.pop(0)
                column.append(circuit.xor(both, c))
                carry = circuit.xor(circuit.conjunction(circuit.xor(a, c), circuit.xor(b, c)), c)
            else:
                column.append(both)
                carry = circuit.conjunction(a, b)
            left[weight + 1].append(carry)
        if not column:
            if any(left[weight + 1 : width]):
                raise ConfigError("a column without bits stands below others")
            break
        word.append(column[0])
    return word


def add(circuit: CircuitBuilder, a: Word, b: Word, width: int) -> Word:
    """Return the sum of two numbers modulo 2^width."""
    return add_columns(circuit, _columns(a[:width], b[:width]), width)


def subtract(circuit: CircuitBuilder, a: Word, b: Word) -> Word:
    """Return the difference modulo 2^(bits of the first number)."""
    # a - b = ~(~a + b)
    total = add(circuit, [circuit.inverted(bit) for bit in a], b, len(a))
    return [circuit.inverted(bit) for bit in total]


def absolute(circuit: CircuitBuilder, a: Word) -> Word:
    """Return the absolute value of a number in two's complement, with as many bits."""
    return select(circuit, a[-1], negate(circuit, a), a)


def negate(circuit: CircuitBuilder, a: Word) -> Word:
    """Return minus a number, in two's complement."""
    # Bits above the lowest 1 change; no borrow leaves the top.
    word, any_below = [a[0]], a[0]
    for weight, bit in enumerate(a[1:], 1):
        word.append(circuit.xor(bit, any_below))
        if weight < len(a) - 1:
            any_below = _either(circuit, any_below, bit)
    return word


def at_least(circuit: CircuitBuilder, a: Word, numbers: Sequence[int]) -> Wire:
    """Return whether the number in each lane is at least that lane's constant, above 0."""
    # Bits of a - constant: MAJ(a, ~constant, carry) is a OR or an AND with the carry.
    zero = circuit.xor(a[0], a[0])
    carry = circuit.inverted(zero)
    for weight, bit in enumerate(a):
        ors = [1 - (number >> weight & 1) for number in numbers]
        met = circuit.conjunction(circuit.flipped(bit, ors), circuit.flipped(carry, ors))
        carry = circuit.flipped(met, ors)
    fits = [int(number < 1 << len(a)) for number in numbers]
    if not all(fits):
        carry = circuit.conjunction(carry, circuit.flipped(zero, fits))
    return carry


def exceeds(circuit: CircuitBuilder, a: Word, b: Word) -> Wire:
    """Return whether the first number is above the second; both have no sign, and as many bits."""
    # The highest bit that differs decides: it replaces what those below said.
    above = circuit.conjunction(a[0], circuit.xor(a[0], b[0]))
    for x, y in zip(a[1:], b[1:], strict=True):
        said = circuit.conjunction(circuit.xor(x, y), circuit.xor(x, above))
        above = circuit.xor(above, said)
    return above


def tournament(contestants: int) -> list[int]:
    """Return the order in which `highest` takes numbers: which one stands at each place.

    There are parts, whose lengths are descending powers of two. Within a part the bits of a place,
    read backwards, are those of the number: so comparing its halves compares neighbours.
    """
    order: list[int] = []
    for bits in _parts(contestants):
        part = [0]
        for _ in range(bits):
            part = [2 * number for number in part] + [2 * number + 1 for number in part]
        order += [len(order) + number for number in part]
    return order


def highest(circuit: CircuitBuilder, a: Word, contestants: int) -> tuple[Word, Word]:
    """Return the largest of some numbers without sign, and which one it is: of equals the first.

    It takes one comparison less than there are numbers. For numbers of b bits that is about
    2b + 1 ANDs each, the last one to carry along which is ahead.

    Args:
        circuit: Where gates go.
        a: Groups of numbers. The lanes are those of all groups at the first place of `tournament`,
            then those of all groups at the second, and so on.
        contestants: How many numbers a group has, at least one.

    Returns:
        A lane for each group: its largest number, and which one of the group that is.
    """
    groups = a[0].lanes // contestants
    none = circuit.xor(a[0], a[0]).part(0, groups)
    digits = none, circuit.inverted(none)
    value: Word = []
    place: Word = []
    first = 0
    for bits in _parts(contestants):
        end = first + (1 << bits)
        found, number = _knockout(circuit, _lanes(a, first * groups, end * groups), bits)
        above = [digits[first >> bit & 1] for bit in range(bits, contestants.bit_length())]
        number = [*number, *above]
        if first:
            later = exceeds(circuit, found, value)
            found = select(circuit, later, found, value)
            number = select(circuit, later, number, place)
        value, place, first = found, number, end
    return value, place


def _parts(contestants: int) -> list[int]:
    """Return the exponents of the powers of two that a number is the sum of, descending."""
    return [bit for bit in reversed(range(contestants.bit_length())) if contestants >> bit & 1]


def _knockout(circuit: CircuitBuilder, value: Word, rounds: int) -> tuple[Word, Word]:
    """Return the largest of 2^rounds numbers, and which one it is."""
    place: Word = []
    for _ in range(rounds):
        lanes = value[0].lanes
        half = lanes // 2
        early, late = _lanes(value, 0, half), _lanes(value, half, lanes)
        later = exceeds(circuit, late, early)
        value = select(circuit, later, late, early)
        before = select(circuit, later, _lanes(place, half, lanes), _lanes(place, 0, half))
        place = [*before, later]
    return value, place


def _lanes(word: Word, start: int, stop: int) -> Word:
    return [bit.part(start, stop) for bit in word]


def select(circuit: CircuitBuilder, condition: Wire, a: Word, b: Word) -> Word:
    """Return the first number where the condition holds, else the second."""
    return [
        circuit.xor(y, circuit.conjunction(condition, circuit.xor(x, y)))
        for x, y in zip(a, b, strict=True)
    ]


def masked(circuit: CircuitBuilder, condition: Wire, a: Word) -> Word:
    """Return a number where the condition holds, else 0."""
    return [circuit.conjunction(condition, bit) for bit in a]


def multiply(circuit: CircuitBuilder, a: Word, b: Word) -> Word:
    """Return the product of two numbers without sign."""
    columns: list[list[Wire]] = [[] for _ in range(len(a) + len(b))]
    for shift, bit in enumerate(b):
        for weight, product in enumerate(masked(circuit, bit, a)):
            columns[weight + shift].append(product)
    return add_columns(circuit, columns, len(columns))


def square(circuit: CircuitBuilder, a: Word) -> Word:
    """Return the square of a number without sign, for about half the ANDs of a product."""
    columns: list[list[Wire]] = [[] for _ in range(2 * len(a))]
    for i, bit in enumerate(a):
        columns[2 * i].append(bit)
        for j in range(i):
            columns[i + j + 1].append(circuit.conjunction(bit, a[j]))
    columns[1].append(circuit.xor(a[0], a[0]))  # 0: no square is 2 or 3 mod 4
    return add_columns(circuit, columns, len(columns))


def add_lanes(circuit: CircuitBuilder, a: Word) -> Word:
    """Return the sum over all lanes, in one lane."""
    rest = []
    while (lanes := a[0].lanes) > 1:
        half = lanes // 2
        if lanes % 2:
            rest.append([bit.part(lanes - 1, lanes) for bit in a])
        low, high = ([bit.part(start, start + half) for bit in a] for start in (0, half))
        a = add(circuit, low, high, len(a) + 1)
    for other in rest:
        a = add(circuit, a, other, len(a) + 1)
    return a


def reached_entry(
    circuit: CircuitBuilder, reached: Wire, numbers: Sequence[int], bits: int
) -> Word:
    """Return the number of the last level that is reached, in one lane and without an AND.

    Args:
        circuit: Where gates go.
        reached: A lane for each level; a level is reached only if all before it are.
        numbers: The number of each level; without any, the number is 0.
        bits: How many bits the numbers have.
    """
    steps = [a ^ b for a, b in zip(numbers, [0, *numbers], strict=False)]
    levels = [reached.part(level, level + 1) for level in range(len(numbers))]
    zero = circuit.xor(levels[0], levels[0])
    return [
        xor_all(
            circuit, [zero, *(a for a, step in zip(levels, steps, strict=True) if step >> i & 1)]
        )
        for i in range(bits)
    ]


def clamp(circuit: CircuitBuilder, a: Word, bits: int) -> Word:
    """Return a signed number, or the nearest one that has so many bits."""
    sign = a[-1]
    if bits >= len(a):
        return [*a, *[sign] * (bits - len(a))]
    beyond = circuit.xor(a[bits - 1], sign)
    for bit in a[bits:-1]:
        beyond = _either(circuit, beyond, circuit.xor(bit, sign))
    most = [circuit.inverted(sign)] * (bits - 1)
    return [*select(circuit, beyond, most, a[: bits - 1]), sign]


def repeat(word: Word, lanes: int) -> Word:
    """Return the first lane of a number in so many lanes."""
    return [bit.repeated(lanes) for bit in word]


def xor_all(circuit: CircuitBuilder, wires: Sequence[Wire]) -> Wire:
    """Return the exclusive or of at least one wire."""
    total = wires[0]
    for wire in wires[1:]:
        total = circuit.xor(total, wire)
    return total


def _either(circuit: CircuitBuilder, a: Wire, b: Wire) -> Wire:
    return circuit.xor(circuit.xor(a, b), circuit.conjunction(a, b))


def _columns(*words: Word) -> list[list[Wire]]:
    width = max(map(len, words))
    return [[word[i] for word in words if i < len(word)] for i in range(width)]
