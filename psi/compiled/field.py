"""The field of 2^255 - 19 in vector lanes: everything but multiplication.

The number in each lane is cut into a few limbs. A subclass says how wide they are and how they are
multiplied. Sums, differences and products keep their limbs as they come out; carries are taken
only when something needs smaller limbs. Bounds are those of `Lanes`: they hold for any input, and
are checked while code is generated.
"""

from collections.abc import Callable, Sequence
from functools import reduce
from itertools import accumulate
from typing import Any, ClassVar, Self

from psi.compiled.lanes import WORD, Code, Lanes

__all__ = ["WORDS", "Element", "P", "times_19"]

P = 2**255 - 19
WORDS = 4  # 64-bit words of an encoding


class Element:
    """One element of the field in each lane; limb k counts 2^(the sum of the widths before k)."""

    widths: ClassVar[tuple[int, ...]]
    lanes: ClassVar[int]  # as many as are fastest
    __slots__ = ("_operand", "limbs")

    def __init__(self, limbs: Sequence[Lanes]) -> None:
        """Take one `Lanes` for each limb, the least significant first."""
        self.limbs = tuple(limbs)
        self._operand: Self | None = None

    @property
    def code(self) -> Code:
        """Where this element's instructions go."""
        return self.limbs[0].code

    # -- where elements come from, and where they go ------------------------------------------

    @classmethod
    def constant(cls, code: Code, number: int) -> Self:
        """Return the same number modulo p in every lane."""
        return cls([code.constant(limb) for limb in cls._cut(number % P)])

    @classmethod
    def of_values(cls, code: Code, values: Sequence[Any]) -> Self:
        """Return an operand, from the LLVM values of its limbs."""
        bounds = zip(values, cls._bounds(), strict=True)
        return cls([Lanes(code, value, most) for value, most in bounds])

    def values(self) -> list[Any]:
        """Return the LLVM values of the operand's limbs."""
        return [limb.value for limb in self.operand().limbs]

    @classmethod
    def load(cls, code: Code, vectors: Any, first: Any) -> Self:
        """Return what `store` wrote, from a pointer to vectors and the index of the first limb."""
        return cls(
            [
                code.load(vectors, code.builder.add(first, WORD(k)), most)
                for k, most in enumerate(cls._bounds())
            ]
        )

    def store(self, vectors: Any, first: Any) -> None:
        """Write the operand's limbs, a vector each."""
        for k, limb in enumerate(self.operand().limbs):
            self.code.store(limb, vectors, self.code.builder.add(first, WORD(k)))

    @classmethod
    def from_words(cls, words: Sequence[Lanes]) -> Self:
        """Return a little-endian encoding of four words a lane, without its top bit."""
        limbs, start = [], 0
        for width in cls.widths:
            word, shift = divmod(start, 64)
            limb, missing = words[word] >> shift, shift + width - 64
            if missing > 0:
                limb = limb | (words[word + 1].low(missing) << (width - missing))
            limbs.append(limb.low(width))
            start += width
        return cls(limbs)

    def words(self) -> list[Lanes]:
        """Return the canonical encoding: four little-endian words of the representative below p."""
        words: list[list[Lanes]] = [[] for _ in range(WORDS)]
        starts = accumulate(self.widths, initial=0)
        for limb, start, width in zip(self.canonical().limbs, starts, self.widths, strict=False):
            word, shift = divmod(start, 64)
            words[word].append(limb.low(min(width, 64 - shift)) << shift)
            if shift + width > 64:
                words[word + 1].append(limb >> (64 - shift))
        return [reduce(Lanes.__or__, parts) for parts in words]

    # -- arithmetic ---------------------------------------------------------------------------

    def __add__(self, other: Self) -> Self:
        return type(self)([a + b for a, b in zip(self.limbs, other.limbs, strict=True)])

    def __sub__(self, other: Self) -> Self:
        return self + (-other)

    def __neg__(self) -> Self:
        # Subtract from a multiple of p in which each limb is at least as large as this one's.
        limbs = list(zip(self.limbs, self._cut(P), strict=True))
        multiple = max(-(-limb.most // part) for limb, part in limbs)
        return type(self)([limb.taken_from(multiple * part) for limb, part in limbs])

    def __mul__(self, other: Self) -> Self:
        raise NotImplementedError

    def square(self) -> Self:
        """Return this times itself."""
        raise NotImplementedError

    def doubled(self) -> Self:
        """Return twice this."""
        return type(self)([limb << 1 for limb in self.limbs])

    def squared(self, times: int) -> Self:
        """Return this squared that many times, by a loop."""
        first, code = self.operand().limbs, self.code
        builder = code.builder
        before = builder.block
        loop, after = builder.append_basic_block(), builder.append_basic_block()
        builder.branch(loop)
        builder.position_at_end(loop)
        left = builder.phi(WORD)
        phis = [builder.phi(code.vector) for _ in first]
        values = self.of_values(code, phis).square().values()
        still = builder.sub(left, WORD(1))
        builder.cbranch(builder.icmp_unsigned("==", still, WORD(0)), after, loop)
        end = builder.block
        left.add_incoming(WORD(times), before)
        left.add_incoming(still, end)
        for phi, limb, value in zip(phis, first, values, strict=True):
            phi.add_incoming(limb.value, before)
            phi.add_incoming(value, end)
        builder.position_at_end(after)
        return self.of_values(code, values)

    def operand(self) -> Self:
        """Return the same elements in limbs that are small enough to be multiplied."""
        if self._operand is None:
            element, bounds = self, self._bounds()
            while any(x.most > most for x, most in zip(element.limbs, bounds, strict=True)):
                element = element._carry()
            self._operand = element
        return self._operand

    def canonical(self) -> Self:
        """Return the representatives below p, each limb below 2^width."""
        limbs, starts = list(self.operand().limbs), accumulate(self.widths, initial=0)
        if sum(limb.most << start for limb, start in zip(limbs, starts, strict=False)) >= 2 * P:
            raise OverflowError("an operand is below 2p")
        # It is below 2p. It is p or more exactly if adding 19 makes it 2^255 or more.
        over = self.code.constant(19)
        for limb, width in zip(limbs, self.widths, strict=True):
            over = (limb + over) >> width
        limbs[0] = limbs[0] + times_19(over.low(1))
        for k, width in enumerate(self.widths[:-1]):
            limbs[k + 1] = limbs[k + 1] + (limbs[k] >> width)
        return type(self)([x.low(width) for x, width in zip(limbs, self.widths, strict=True)])

    # -- choices ------------------------------------------------------------------------------

    def is_zero(self) -> Lanes:
        """Return the mask of the lanes that hold 0."""
        return reduce(Lanes.__or__, self.canonical().limbs).is_zero()

    def is_negative(self) -> Lanes:
        """Return the mask of the lanes whose representative is odd (RFC 9496 section 4.1)."""
        return self.canonical().limbs[0].is_odd()

    def where(self, mask: Lanes, other: Self) -> Self:
        """Return this in the lanes of the mask, the other elsewhere."""
        return type(self)([a.where(mask, b) for a, b in zip(self.limbs, other.limbs, strict=True)])

    def absolute(self) -> Self:
        """Return this or its negative, whichever is not negative (RFC 9496 section 4.1)."""
        return (-self).where(self.is_negative(), self)

    # -- limbs --------------------------------------------------------------------------------

    @classmethod
    def called(
        cls,
        name: str,
        formula: Callable[..., Sequence[Lanes]],
        elements: Sequence[Self],
        more: int = 0,
    ) -> list[Any]:
        """Call a formula on operands, as a function of the generated module (see `Code.call`).

        Args:
            name: Name of the function.
            formula: Takes elements; returns the limbs of an operand after `more` other lanes.
            elements: What it is called with.
            more: How many other lanes it returns.

        Returns:
            The LLVM values of what the formula returns.
        """
        limbs = len(cls.widths)

        def generate(code: Code, values: Sequence[Any]) -> Sequence[Lanes]:
            starts = range(0, len(values), limbs)
            return formula(*(cls.of_values(code, values[k : k + limbs]) for k in starts))

        arguments = [value for element in elements for value in element.values()]
        return elements[0].code.call(name, generate, arguments, more + limbs)

    @classmethod
    def _bounds(cls) -> list[int]:
        """Return the largest value of each limb of an operand."""
        return [(1 << width) + (1 << (width - 6)) for width in cls.widths]

    @classmethod
    def _cut(cls, number: int) -> list[int]:
        starts = accumulate(cls.widths, initial=0)
        pieces = zip(starts, cls.widths, strict=False)
        return [(number >> start) & ((1 << width) - 1) for start, width in pieces]

    def _carry(self) -> Self:
        parts = list(zip(self.limbs, self.widths, strict=True))
        carries = [limb >> width for limb, width in parts]
        coming = [times_19(carries[-1]), *carries[:-1]]
        return type(self)(
            [limb.low(width) + carry for (limb, width), carry in zip(parts, coming, strict=True)]
        )


def times_19(lanes: Lanes) -> Lanes:
    """Return 19 times a number, as 2^255 = 19 modulo p; by shifts, as it may exceed 32 bits."""
    return lanes + (lanes << 1) + (lanes << 4)
