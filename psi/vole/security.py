"""How many bits each known attack on the code of a vector OLE needs, for any trees.

The receiver's vector is out = H·e over GF(2^128), half as long as e; e has t blocks of 2^depth
leaves with one random element each, a block from each of t trees. H = [1 | (B + F·B')·D·A]: A is a
convolution, D and F multiply rows with elements drawn for them, B and B' add one row of each of 12
and of each of 9 segments. Who tells out from random elements learns something of what the receiver
hides with it.

A bit is a factor of two in time divided by the chance of success. Costs favour the attacker: a step
of linear algebra is one operation, a search for collisions the root of what it goes through. What
is proved and what is a heuristic is told in docs/psi-vole.md.
"""

import math
from collections.abc import Iterator

from psi.vole.sizes import SPARE_TREES, VoleSizes

__all__ = [
    "algebraic_bits",
    "information_set_bits",
    "least_weight",
    "linear_test_bits",
    "security_bits",
    "solving_degree",
    "span_bits",
]

_FIELD_BITS = 128
_SEGMENTS = 21
_FACTORED = 9  # segments whose rows a factor multiplies
_SEED_BITS = 40  # light words may exist with probability 2^-40 over the code's seed


def information_set_bits(trees: int, depth: int) -> float:
    """Return the bits of decoding by information sets, with noise that is regular.

    Prange guesses half of the leaves to be zero and solves for the rest. With x leaves of a block
    of n guessed that is right with probability 1 - x/n, whose logarithm is concave: to take half of
    every block is best, and 2^-t. Allowing for p wrong guesses (Stern; regular noise as in Carozza,
    Couteau and Joux, ePrint 2023/1035, and Esser and Santini, 2023/1568), C(t, p) · (n/2)^p places
    have to be gone through: here for the root of that, and without their values of 128 bits, which
    make it worthless in truth.
    """
    return trees - max(
        (_log2_choose(trees, wrong) - wrong * (depth - 1)) / 2 for wrong in range(trees + 1)
    )


def algebraic_bits(trees: int, depth: int) -> float:
    """Return the bits of the algebraic attack on regular noise (Briaud and Øygarden, 2023/176).

    Some leaves of some blocks are guessed to be zero; the rest is solved by linear algebra in all
    monomials of the degree that this takes. It costs the square of how many there are, in the
    variables that the outputs leave, or in all but without products of a block.
    """
    n, outputs = 1 << depth, trees << depth - 1
    best = math.inf
    for zeros in {max(1, n * share // 32) for share in range(1, 32)}:
        for guessed in range(0, trees + 1, max(1, trees // 96)):
            free = outputs - guessed * zeros
            chance = -guessed * math.log2(1 - zeros / n)
            if free <= 0 or chance >= best:
                break
            degree = solving_degree(trees, depth, guessed, zeros)
            powers = (-trees, n - 1, trees - guessed, n - zeros - 1, guessed)
            within = next(math.log2(value) for d, value in _series(*powers) if d == degree)
            best = min(best, chance + 2 * min(within, _log2_choose(free + degree, degree)))
    return best


def solving_degree(trees: int, depth: int, guessed: int = 0, zeros: int = 0) -> int:
    """Return the degree of the monomials among which linear algebra solves for regular noise.

    Two leaves of a block have the product zero. In a large field no more is known: neither that a
    leaf is its own square nor that a block adds up to one. With t blocks of n leaves, m outputs and
    g leaves in each of f blocks guessed to be zero, what is not yet known of degree d has as many
    dimensions as the coefficient of z^d says in

        (1 - z)^(m-t) · (1 + (n-1)·z)^(t-f) · (1 + (n-g-1)·z)^f,

    if the equations have no relations but those of all such equations, a heuristic. The degree is
    the first whose coefficient is not positive.
    """
    n, outputs = 1 << depth, trees << depth - 1
    powers = (outputs - trees, n - 1, trees - guessed, n - zeros - 1, guessed)
    return next(degree for degree, value in _series(*powers) if value <= 0)


def linear_test_bits(trees: int, depth: int, *, factored: bool = True) -> float:
    """Return the bits of the best linear test (Couteau, Rindal and Raghuraman, 2021/1150).

    A combination v·out is a word w = v·H times e. A block of n leaves of which h are not zero in w
    adds zero with probability 1 - h/n, and in a large field nothing else but a random element: the
    bias is the product, at most (1 - |w|/N)^t for a word of weight |w|. (In a field of two elements
    it is 1 - 2h/n.) The weight is the least that exists, found or not.
    """
    weight = least_weight(trees << depth - 1, factored=factored)
    return -trees * math.log2(1 - weight)


def least_weight(outputs: int, *, factored: bool = True) -> float:
    """Return the least weight of a word v·H, as a share of its length (Gilbert and Varshamov).

    The lightest are those of v in {0, 1}^m, or in {0, 1}^m divided by the rows' factors: v·(B +
    F·B') then is zero or one in the columns of B alone, or of B' alone. There are C(m, k) of weight
    k, and each is zero in s such columns with probability 2^-s; A runs through zeros until the
    first that is none, and then none of its rows is zero, as its inputs times D have no relation
    over {0, 1}. A word for which v takes 2^a values is rarer than it is lighter. So the weight is
    the least of (k + m - s)/2m for which C(m, k) · 2^-s is above 2^-40, where s is up to m · 9/21;
    without factors up to m. B has 21 ones a row; here it is taken for random.
    """
    most = _FACTORED / _SEGMENTS if factored else 1.0
    return min(
        (share + 1 - min(most, _entropy(share) + _SEED_BITS / outputs)) / 2
        for share in (k / 2000 for k in range(1, 1001))
    )


def span_bits(trees: int) -> float:
    """Return the bits of the attack for which the rows' factors are there: without them.

    With all of F one, Gaussian elimination gives about n words v in {0, 1}^m for which v·B·D·A is
    zero but before the first element of the second half. So v·out is in the span over {0, 1} of t/2
    elements; their rank is seen to be below 128 for t/2 < 128, and else with the probability that
    as many random elements do not span the field. All this takes polynomial time.
    """
    spare = trees // 2 - _FIELD_BITS
    if spare <= 0:
        return 0.0
    spans = math.fsum(math.log1p(-(2.0 ** -(spare + i))) for i in range(1, _FIELD_BITS + 1))
    return -math.log2(-math.expm1(spans))


def security_bits(sizes: VoleSizes, chunks: int = 1) -> float:
    """Return the bits of the cheapest attack on one of several chunks.

    The spare trees are not counted: a sender that tampers with trees learns r bits of the places
    of noise and is caught with probability 1 - 2^-r. (No attack here gains by that: to guess r bits
    at home succeeds as often.) Any of the chunks will do, so that each doubling costs a bit.
    """
    trees = sizes.trees - SPARE_TREES
    attacks = (information_set_bits, algebraic_bits, linear_test_bits)
    return min(attack(trees, sizes.depth) for attack in attacks) - math.log2(chunks)


def _series(poles: int, a: int, times_a: int, b: int, times_b: int) -> Iterator[tuple[int, int]]:
    """Yield exponents and coefficients of (1-z)^poles · (1+a·z)^times_a · (1+b·z)^times_b.

    With P' · (1-z)(1+az)(1+bz) = P · Q, each coefficient follows from the three before it.
    """
    below = (1, a + b - 1, a * b - a - b, -a * b)
    above = (
        -poles + a * times_a + b * times_b,
        -poles * (a + b) + a * times_a * (b - 1) + b * times_b * (a - 1),
        -a * b * (poles + times_a + times_b),
    )
    last = [1, 0, 0]
    for d in range(1, times_a + times_b + 2):
        total = sum(factor * value for factor, value in zip(above, last, strict=True))
        total -= sum(below[i] * (d - i) * last[i - 1] for i in range(1, 4) if i < d)
        last = [total // d, *last[:2]]
        yield d, last[0]


def _log2_choose(n: int, k: int) -> float:
    return (math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)) / math.log(2)


def _entropy(share: float) -> float:
    return -share * math.log2(share) - (1 - share) * math.log2(1 - share)
