"""Generated code that multiplies, maps or checks as many points as there are lanes.

The scalar is secret, and points may be. No branch and no address depends on either: the number of
steps is fixed, each digit reads every entry of its table, and masks choose. LLVM cannot see what a
digit's mask stands for; otherwise it could turn it into a branch. Neither numba nor LLVM promises
more, and memory is not wiped.
"""

from collections.abc import Sequence
from functools import reduce
from typing import Any

from numba.core import cgutils, codegen, config

from psi.compiled.field import WORDS, Element
from psi.compiled.field_32 import Element32
from psi.compiled.field_52 import Element52
from psi.compiled.lanes import WORD, Code, Lanes
from psi.compiled.ristretto_points import (
    Addend,
    Point,
    Product,
    add,
    decode,
    double,
    encode,
    inverse_map,
    map_to,
    prepare,
)

__all__ = ["DIGITS", "DIGIT_BITS", "KIND", "check", "map_uniform", "multiply", "preimages"]

DIGITS, DIGIT_BITS = 64, 4  # of a scalar, from -8 to 8
_GREATEST_DIGIT = 8


def _kind() -> type[Element] | None:
    settings: Any = config
    generator: Any = codegen
    # Those that numba is told to compile for, or else those that the processor has.
    features = settings.CPU_FEATURES
    if features is None:
        features = generator.get_host_cpu_features()
    if "+avx512ifma" in features.split(","):
        return Element52
    return Element32 if "+avx2" in features.split(",") else None


KIND: Any = _kind()  # None where libsodium is faster than anything that could be compiled


class _Memory:
    """Rows of four elements on the stack of the function that is being generated."""

    def __init__(self, code: Code, rows: int) -> None:
        self._code, self._limbs = code, len(KIND.widths)
        self._vectors = code.builder.alloca(code.vector, size=WORD(rows * 4 * self._limbs))

    def store(self, row: Any, elements: Sequence[Element]) -> None:
        for element, first in zip(elements, self._places(row), strict=True):
            element.store(self._vectors, first)

    def load(self, row: Any) -> list[Element]:
        return [KIND.load(self._code, self._vectors, first) for first in self._places(row)]

    def _places(self, row: Any) -> list[Any]:
        start = self._code.builder.mul(row, WORD(4 * self._limbs))
        return [self._code.builder.add(start, WORD(k * self._limbs)) for k in range(4)]


def multiply(code: Code, words: Any, digits: Any, out: Any, valid: Any) -> None:
    """Multiply encoded points, each by its lane's digits; mark what is valid, not the identity."""
    table, state, only = _Memory(code, _GREATEST_DIGIT + 1), _Memory(code, 1), WORD(0)
    zero, one = KIND.constant(code, 0), KIND.constant(code, 1)
    decoded, point = decode(KIND, _loaded(code, words, WORDS))
    step = prepare(point)
    state.store(only, Product(zero, one, one, one))
    table.store(WORD(0), prepare(Point(zero, one, one, zero)))
    with cgutils.for_range(code.builder, WORD(_GREATEST_DIGIT)) as entry:
        multiple = add(Product(*state.load(only)).point(), step)
        state.store(only, multiple)
        table.store(code.builder.add(entry.index, WORD(1)), prepare(multiple.point()))
    state.store(only, Product(zero, one, one, one))
    with cgutils.for_range(code.builder, WORD(DIGITS)) as digit:
        with cgutils.for_range(code.builder, WORD(DIGIT_BITS)):
            state.store(only, double(Product(*state.load(only)).point()))
        chosen = _chosen(code, table, digits, digit.index)
        state.store(only, add(Product(*state.load(only)).point(), chosen))
    encoded = encode(Product(*state.load(only)).point())
    _store(code, encoded, out)
    _store(code, [decoded & ~_is_identity(encoded)], valid)


def _chosen(code: Code, table: _Memory, digits: Any, index: Any) -> Addend:
    """Return each lane's entry for its digit's magnitude, or the negative where its sign says."""
    place = code.builder.mul(index, WORD(2))
    magnitude = code.load(digits, place).hidden()
    negative = code.load(digits, code.builder.add(place, WORD(1))).hidden()
    chosen = table.load(WORD(0))
    for entry in range(1, _GREATEST_DIGIT + 1):
        mask = (magnitude ^ code.constant(entry)).is_zero()
        both = zip(table.load(WORD(entry)), chosen, strict=True)
        chosen = [one.where(mask, other) for one, other in both]
    return Addend(*chosen).negative_where(negative)


def map_uniform(code: Code, words: Any, out: Any) -> None:
    """Apply the one-way map of section 4.3.4 to the words of 64 uniform bytes."""
    loaded = _loaded(code, words, 2 * WORDS)
    one, other = map_to(KIND, loaded[:WORDS]), map_to(KIND, loaded[WORDS:])
    _store(code, encode(add(one, prepare(other)).point()), out)


def preimages(code: Code, words: Any, slots: Any, out: Any, found: Any) -> None:
    """Invert the map's half for encoded points, each in one of its slots; mark where that is."""
    loaded = _loaded(code, words, WORDS)
    mask, strings = inverse_map(KIND, loaded, code.load(slots, WORD(0)))
    _store(code, strings, out)
    _store(code, [mask], found)


def check(code: Code, words: Any, valid: Any) -> None:
    """Mark the encodings that are valid and not the identity's."""
    loaded = _loaded(code, words, WORDS)
    decoded, _ = decode(KIND, loaded)
    _store(code, [decoded & ~_is_identity(loaded)], valid)


def _loaded(code: Code, vectors: Any, count: int) -> list[Lanes]:
    return [code.load(vectors, WORD(k)) for k in range(count)]


def _store(code: Code, lanes: Sequence[Lanes], vectors: Any) -> None:
    for k, one in enumerate(lanes):
        code.store(one, vectors, WORD(k))


def _is_identity(words: Sequence[Lanes]) -> Lanes:
    return reduce(Lanes.__or__, words).is_zero()
