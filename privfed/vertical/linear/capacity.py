"""How each product of a plan is laid out and hidden, and the proof that nothing wraps or shows.

All answers of a plan, those for new rows included, are within `FLOOD_DISTANCE` of ones that say
nothing of noise: each coefficient's distance is at most its worst noise over the flood's width
(uniform), and distances add up (docs/vertical.md).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import isqrt
from typing import TYPE_CHECKING

from privfed.errors import CapacityError
from privfed.he.ring import DEGREE, PLAIN_MODULUS, PRIMES, Answers, Ciphertexts, bounds
from privfed.vertical.linear.packing import MatrixPacking

if TYPE_CHECKING:
    from privfed.vertical.linear.plan import VerticalPlan

__all__ = [
    "FLOOD_DISTANCE",
    "MOST_SESSIONS",
    "ProductLayout",
    "check_capacity",
    "layouts_of",
    "prediction_layout",
]

FLOOD_DISTANCE = Fraction(1, 1 << 40)
MOST_SESSIONS = 8  # of one training: each after the first answers iterations again
_REPEATED = 2 * (MOST_SESSIONS - 1)  # the iteration that broke off, and one whose end was not kept
_KEPT_PRIMES = 2  # of answers: one prime cannot hold t and the rounding of its switch
_LEAST_SCALE = 16.0  # of sines and cosines, as integers


@dataclass(frozen=True)
class ProductLayout:
    """How one product with an encrypted vector is laid out and hidden.

    Attributes:
        packing: How matrix and vector become polynomials.
        row_sum: The most that an answer's plaintext coefficients sum to in size.
        primes: How many its ciphertexts have.
        flood_bits: How wide its answers are flooded.
        kept_primes: How many its answers have when they travel.
    """

    packing: MatrixPacking
    row_sum: int
    primes: int
    flood_bits: int
    kept_primes: int = _KEPT_PRIMES

    @property
    def ciphertexts_bytes(self) -> int:
        """The length of the encrypted vector."""
        return Ciphertexts.size_bytes(self.packing.ciphertexts, self.primes)

    @property
    def answers_bytes(self) -> int:
        """The length of the answers."""
        places = len(self.packing.positions)
        return Answers.size_bytes(self.packing.answers, self.kept_primes, places)


@dataclass(frozen=True)
class WavesLayout:
    """How sines and cosines of shared scores are laid out and hidden: slot by slot.

    Attributes:
        blocks: How many polynomials hold all rows.
        harmonics: K: an answer sums 2K products.
        primes: As of `ProductLayout`, and so the next ones.
        flood_bits: How wide its answers are flooded.
        kept_primes: How many its answers have when they travel.
    """

    blocks: int
    harmonics: int
    primes: int
    flood_bits: int
    kept_primes: int = _KEPT_PRIMES

    @property
    def ciphertexts_bytes(self) -> int:
        """The length of one block's ciphertexts."""
        return Ciphertexts.size_bytes(2 * self.harmonics, self.primes)

    @property
    def answer_bytes(self) -> int:
        """The length of one block's answer."""
        return Answers.size_bytes(1, self.kept_primes, DEGREE)


@dataclass(frozen=True)
class IterationLayouts:
    """The layouts of an iteration.

    Attributes:
        guest_forward: The guest's matrix times the host's shares of coefficients.
        host_forward: The host's matrix times the guest's shares.
        waves: The link.
        guest_backward: The guest's matrix, turned, times the host's shares of residuals.
        host_backward: The host's, times the guest's.
    """

    guest_forward: ProductLayout
    host_forward: ProductLayout
    waves: WavesLayout
    guest_backward: ProductLayout
    host_backward: ProductLayout


def layouts_of(plan: "VerticalPlan", iteration: int) -> IterationLayouts:
    """Return the layouts of an iteration."""
    return _layouts(plan, plan.batch_size(iteration))


@lru_cache(maxsize=16)
def _layouts(plan: "VerticalPlan", batch: int) -> IterationLayouts:
    rows = batch + plan.penalty_rows
    bits = _distance_bits(plan)
    guest, host = (plan.guest_columns, plan.guest_norm), (plan.host_columns, plan.host_norm)
    sums = [_entry_sum(plan, *side) for side in (guest, host)]
    blocks = -(-rows // DEGREE)
    # A slot's product has polynomials whose coefficients are anything mod t.
    wave_sum = 2 * plan.harmonics * DEGREE * (PLAIN_MODULUS // 2)
    primes, flood = _hidden(wave_sum, bits)
    return IterationLayouts(
        _forward(rows, guest[0], sums[0], bits),
        _forward(rows, host[0], sums[1], bits),
        WavesLayout(blocks, plan.harmonics, primes, flood),
        _backward(rows, guest[0], sums[0], bits),
        _backward(rows, host[0], sums[1], bits),
    )


@lru_cache(maxsize=16)
def prediction_layout(plan: "VerticalPlan", side: str, rows: int) -> ProductLayout:
    """Return how rows of one side's matrix times the other's shares are laid out."""
    columns, norm = (
        (plan.guest_columns, plan.guest_norm)
        if side == "guest"
        else (plan.host_columns, plan.host_norm)
    )
    return _forward(rows, columns, _entry_sum(plan, columns, norm), _distance_bits(plan))


def check_capacity(plan: "VerticalPlan") -> None:
    """Check everything that could wrap or show, for all iterations and predictions.

    Raises:
        CapacityError: Something can.
    """
    total = repeated = Fraction(0)
    for iteration in range(plan.iterations):
        answered = Fraction(0)
        layouts = layouts_of(plan, iteration)
        for layout, row_sum, places in _answered(layouts):
            bounds.check_capacity(
                row_sum, layout.flood_bits, primes=layout.primes, kept_primes=layout.kept_primes
            )
            answered += places * bounds.flood_distance(row_sum, layout.flood_bits)
        total, repeated = total + answered, max(repeated, answered)
        if plan.residual_scale(iteration) < _LEAST_SCALE**2:
            raise CapacityError(
                f"{plan.batch_size(iteration)} rows at once leave no room for a sine's digits: "
                f"take {2 * plan.batches} batches or more"
            )
    total += _REPEATED * repeated
    if plan.coefficients == "shared" and plan.predictions:
        for side in ("guest", "host"):
            prediction_layout(plan, side, 1)  # makes the check for every width
        total += Fraction(_predicted_places(plan), 1 << _distance_bits(plan))
    if total > FLOOD_DISTANCE:
        raise CapacityError("so many answers could not be hidden: take fewer")
    _ = plan.projection  # makes its own checks


def _answered(layouts: IterationLayouts) -> Iterator[tuple[ProductLayout | WavesLayout, int, int]]:
    for one in (layouts.guest_forward, layouts.host_forward):
        yield one, one.row_sum, one.packing.answers * len(one.packing.positions)
    waves = layouts.waves
    row_sum = 2 * waves.harmonics * DEGREE * (PLAIN_MODULUS // 2)
    yield waves, row_sum, waves.blocks * DEGREE
    for one in (layouts.guest_backward, layouts.host_backward):
        yield one, one.row_sum, one.packing.answers * len(one.packing.positions)


@lru_cache(maxsize=16)
def _distance_bits(plan: "VerticalPlan") -> int:
    """Return how much wider than its worst noise a flood is: for all answers together."""
    rows = max(map(plan.batch_size, range(plan.batches))) + plan.penalty_rows + DEGREE
    each = 3 * rows + plan.lanes + 2 * DEGREE
    total = (plan.iterations + _REPEATED) * each + _predicted_places(plan)
    return (FLOOD_DISTANCE.denominator * total).bit_length()


def _predicted_places(plan: "VerticalPlan") -> int:
    """Return how many coefficients all predictions answer, at most.

    Each side's answers have a place a row, and as their last polynomial is sent whole, fewer than
    as many again.
    """
    return 4 * plan.predictions


def _entry_sum(plan: "VerticalPlan", columns: int, norm: float) -> int:
    """Return the most that a row's integers, each rounded, sum to in size."""
    longest = max(norm, plan.identity_bound / plan.ball if plan.penalty else 0.0)
    return isqrt(int(plan.entry_scale * longest) ** 2 * columns) + columns + 1


def _forward(rows: int, columns: int, entry_sum: int, bits: int) -> ProductLayout:
    return _smallest(rows, columns, bits, lambda one: one.rows_each * entry_sum)


def _backward(rows: int, columns: int, entry_sum: int, bits: int) -> ProductLayout:
    # An answer holds some columns; a row's part of them is at most all of the row.
    return _smallest(columns, rows, bits, lambda one: rows * entry_sum)


def _smallest(
    rows: int, columns: int, bits: int, row_sum: Callable[[MatrixPacking], int]
) -> ProductLayout:
    """Return the layout that sends the fewest bytes."""
    layouts = []
    for width in (1 << power for power in range(DEGREE.bit_length())):
        packing = MatrixPacking(rows, columns, width)
        most = row_sum(packing)
        layouts.append(ProductLayout(packing, most, *_hidden(most, bits)))
    return min(layouts, key=lambda one: one.ciphertexts_bytes + one.answers_bytes)


def _hidden(row_sum: int, bits: int) -> tuple[int, int]:
    """Return the fewest primes for a product, and its flood's bits.

    Raises:
        CapacityError: All primes are too few.
    """
    flood = bounds.answer_noise(row_sum).bit_length() + bits
    for primes in range(_KEPT_PRIMES, len(PRIMES) + 1):
        try:
            bounds.check_capacity(row_sum, flood, primes=primes, kept_primes=_KEPT_PRIMES)
        except CapacityError:
            continue
        return primes, flood
    raise CapacityError(
        f"a flood of {flood} bits does not fit the ring: take fewer rows, iterations or predictions"
    )
