"""What two companies agree on before they train: one frozen plan, its fingerprint, and its proofs.

A plan is made only if its capacity holds: no score can leave half a period, no coefficient and no
noise can wrap, and what all answers together tell of the noise is at most 2^-40 (`capacity`).
"""

import hashlib
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

import msgspec

from privfed.errors import CapacityError, ConfigError
from privfed.he.ring import PLAIN_MODULUS
from privfed.vertical.linear.projections import Projection
from privfed.vertical.linear.series import Series, identity_series, link_series
from privfed.vertical.linear.steps import step_sizes
from privfed.vertical.roles import Family

__all__ = ["Coefficients", "VerticalPlan"]

Coefficients: TypeAlias = Literal["own", "shared"]

ENTRY_SCALE = 64  # of a matrix's entries: integers
_CLIP = 3.0  # beyond the root of its columns, which is a whitened row's usual norm
_BALL_BITS = 20  # behind the point of a coefficient that is projected
_OPENED_BITS = 15  # behind the point of one that opens
_LEAST_MULTIPLIER = 4  # of the smallest step: steps are multiples of a quarter of it
_MOST_ROWS = 1 << 22
_REACH_GRID = 16  # of what a step can reach
_SCORE_GRIDS: dict[Family, float] = {"logistic": 0.19, "linear": 0.0625, "poisson": 0.0625}


@dataclass(frozen=True)
class _Shape:
    """What a family needs: the period, its harmonics, and public bounds.

    `reach` is the share of half a period for which the series is fitted. Curvatures and the
    residual's norm (root mean square) are those with blocks whose covariance is at most 1.
    """

    period: float
    harmonics: int
    reach: float
    least_curvature: float
    most_curvature: float


_SHAPES: dict[Family, _Shape] = {
    "logistic": _Shape(96.0, 16, 0.75, 0.02, 0.52),
    "linear": _Shape(80.0, 12, 0.4, 0.15, 2.05),
    "poisson": _Shape(20.0, 12, 0.35, 0.6, 3.0),
}


class VerticalPlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that both sides must know alike; public.

    Attributes:
        family: The model: "logistic" for labels 0 and 1, "linear" for standardised ones, "poisson"
            for counts over their mean.
        rows: n, the common rows that train.
        guest_columns: Columns of the label holder's whitened block, its intercept among them.
        host_columns: Columns of the other side's whitened block.
        guest_names: The label holder's standardised columns, which the penalty counts.
        host_names: The other side's.
        penalty: L2: the loss is the mean over rows plus penalty/2 times the squared norm of the
            coefficients of standardised columns, without the intercept.
        iterations: How often every coefficient is changed.
        batches: In how many parts rows take turns; 1: every iteration takes all rows.
        coefficients: Whether each side gets its own at the end, rounded, or they stay shared.
        least_rows: On how many rows a column of the host must differ from its commonest value, if
            coefficients open.
        predictions: How many rows the model may ever answer, test rows included.
    """

    family: Family = "logistic"
    rows: int
    guest_columns: int
    host_columns: int
    guest_names: int
    host_names: int
    penalty: float = 0.0
    iterations: int = 20
    batches: int = 1
    coefficients: Coefficients = "own"
    least_rows: int = 10
    predictions: int = 100_000

    def __post_init__(self) -> None:
        from privfed.vertical.linear.capacity import check_capacity

        if self.family not in _SHAPES:
            raise ConfigError(f"the family is one of {', '.join(_SHAPES)}, not {self.family!r}")
        counts = (
            self.guest_columns,
            self.host_columns,
            self.guest_names,
            self.host_names,
            self.iterations,
            self.batches,
            self.least_rows,
        )
        if min(counts) < 1 or self.predictions < 0:
            raise ConfigError("columns, iterations, batches and least rows are 1 or more")
        if not 2 * self.batches <= self.rows <= _MOST_ROWS:
            raise ConfigError(f"{self.rows} common rows: from 2 a batch to {_MOST_ROWS} can train")
        if not (math.isfinite(self.penalty) and 0 <= self.penalty <= 1):
            raise ConfigError(f"the penalty is between 0 and 1, not {self.penalty:g}")
        check_capacity(self)

    def fingerprint(self) -> bytes:
        """Return 32 bytes that name the plan, the version of these rules, and what follows.

        Circuit and steps are rounded from doubles: two machines that round otherwise are told so.
        """
        steps = tuple(map(self.multiplier, range(self.iterations)))
        derived = repr((self.projection, steps)).encode()
        return hashlib.sha256(
            b"privfed vertical plan 1, " + msgspec.json.encode(self) + derived
        ).digest()

    # -- rows and coefficients -----------------------------------------------------------------

    @property
    def lanes(self) -> int:
        """How many coefficients there are: the guest's first."""
        return self.guest_columns + self.host_columns

    @property
    def penalty_rows(self) -> int:
        """How many rows follow the data's to count the penalty: guest's, then host's."""
        return self.guest_names + self.host_names if self.penalty else 0

    def batch_rows(self, iteration: int) -> range:
        """Return the data rows of an iteration."""
        part, parts = iteration % self.batches, self.batches
        return range(self.rows * part // parts, self.rows * (part + 1) // parts)

    @property
    def guest_norm(self) -> float:
        """The bound on the norm of the guest's part of a row; it clips what is longer."""
        return math.sqrt(self.guest_columns) + _CLIP

    @property
    def host_norm(self) -> float:
        """The bound on the norm of the host's part of a row."""
        return math.sqrt(self.host_columns) + _CLIP

    @property
    def entry_scale(self) -> int:
        """What a matrix's entry of 1 is as an integer."""
        return ENTRY_SCALE

    # -- scores ----------------------------------------------------------------------------------

    @property
    def period(self) -> float:
        """P: scores are angles of it."""
        return _SHAPES[self.family].period

    @property
    def harmonics(self) -> int:
        """K."""
        return _SHAPES[self.family].harmonics

    @property
    def score_bound(self) -> float:
        """What no score of a row can pass, either way: row norm times the ball's radius."""
        shape = _SHAPES[self.family]
        return shape.reach * shape.period / 2

    @property
    def ball(self) -> float:
        """The bound on the norm of all coefficients together."""
        return self.score_bound / math.hypot(self.guest_norm, self.host_norm)

    @property
    def link(self) -> Series:
        """The mean of a row, as a series."""
        return link_series(self.family, self.period, self.harmonics, self.score_bound)

    @property
    def identity(self) -> Series:
        """The score of a penalty row itself, as a series."""
        return identity_series(self.period, self.harmonics, self.identity_bound)

    @property
    def identity_bound(self) -> float:
        """Within which `identity` holds."""
        return 0.7 * self.period / 4

    @property
    def penalty_entry(self) -> float:
        """By what a coefficient is multiplied in its penalty row."""
        # Whitened with the penalty, a coefficient is at most ball / whitening_floor; a row's
        # integers are rounded.
        return (self.identity_bound / self.ball - self._rounded(1)) * self.whitening_floor

    @property
    def whitening_ridge(self) -> float:
        """What is added to each block's covariance before it is whitened, a multiple of 1."""
        return self.penalty / _curvature_of_mean(self.family)

    @property
    def whitening_floor(self) -> float:
        """The least singular value of a whitening's inverse."""
        return math.sqrt(self.whitening_ridge)

    # -- steps -----------------------------------------------------------------------------------

    @property
    def steps(self) -> tuple[float, ...]:
        """The step of each iteration."""
        shape = _SHAPES[self.family]
        if self.batches > 1:
            return (1 / shape.most_curvature,) * self.iterations
        return step_sizes(self.iterations, shape.least_curvature, shape.most_curvature)

    def batch_size(self, iteration: int) -> int:
        """Return how many data rows an iteration has."""
        return len(self.batch_rows(iteration))

    def residual_scale(self, iteration: int) -> float:
        """Return S, the scale of residuals: a step is a small multiple of what it makes a unit."""
        return self._residual_scale(self.batch_size(iteration))

    def _residual_scale(self, size: int) -> float:
        unit = min(self.steps) / _LEAST_MULTIPLIER
        return unit * PLAIN_MODULUS / (size * ENTRY_SCALE**2 * self.period)

    def multiplier(self, iteration: int) -> int:
        """Return the step as a multiple of that unit."""
        return round(_LEAST_MULTIPLIER * self.steps[iteration] / min(self.steps))

    @property
    def coefficient_scale(self) -> float:
        """What a coefficient of 1 is as an integer."""
        return PLAIN_MODULUS / (ENTRY_SCALE * self.period)

    # -- the projection --------------------------------------------------------------------------

    @property
    def residual_norm(self) -> float:
        """The most that the root mean square of residuals can be."""
        link = self.link
        error = link.error + link.rounding(self._residual_scale(-(-self.rows // self.batches)))
        if self.family == "logistic":
            return 1 + error
        # Of all rows it is at most the label's bound; one batch may have all that is large.
        labels = self.label_norm * math.sqrt(self.rows / (self.rows // self.batches))
        if self.family == "linear":
            return math.sqrt(2 * self.covariance) * self.ball + error + labels
        return math.exp(self.score_bound) + error + labels

    @property
    def label_norm(self) -> float:
        """The bound on the root mean square of labels; the guest checks its own."""
        return {"logistic": 1.0, "linear": 1.0, "poisson": 6.0}[self.family]

    @property
    def reach(self) -> float:
        """The most that the norm of all coefficients can be after a step, before the projection."""
        slope = math.sqrt(2 * self.covariance) * self.residual_norm
        if self.penalty:  # whitened with the penalty, its curvature is at most the mean's
            slope += self._penalty_slope
        longest = max(self.steps) * (1 + 0.5 / _LEAST_MULTIPLIER)  # a multiple is rounded
        return self.ball + longest * slope

    @property
    def _penalty_slope(self) -> float:
        """The most that the norm of the penalty's gradient can be, its rounding included."""
        weight = self.penalty_weight(-(-self.rows // self.batches))
        units = weight * self._residual_scale(-(-self.rows // self.batches))
        error = self.identity.error + self.identity.rounding(units)
        names = max(self.guest_names, self.host_names)
        # The norm of a side's rounded penalty rows, in units of penalty_entry / whitening_floor.
        longest = 1 + self._rounded(names) * self.whitening_floor / self.penalty_entry
        scores = longest * self.ball + error * math.sqrt(self.penalty_rows) * (
            self.whitening_floor / self.penalty_entry
        )
        return _curvature_of_mean(self.family) * longest * scores

    def _rounded(self, rows: int) -> float:
        """Return the most that rounding integers moves the norm of so many rows of a side."""
        return math.sqrt(rows * max(self.guest_columns, self.host_columns)) / (2 * ENTRY_SCALE)

    def penalty_weight(self, size: int) -> float:
        """Return what a penalty row's score counts beside so many rows of data."""
        return size * self.penalty / self.penalty_entry**2 if self.penalty else 0.0

    @property
    def covariance(self) -> float:
        """The bound on a block's largest eigenvalue over any batch; each side scales to it."""
        return 1.25 if self.batches == 1 else 2.0

    @property
    def drop(self) -> int:
        """How many low bits a projection rounds away."""
        return max(0, math.floor(math.log2(self.coefficient_scale)) - _BALL_BITS)

    @property
    def projection(self) -> Projection:
        """The circuit that keeps all coefficients in the ball."""
        return _projection(self)

    @property
    def score_drop(self) -> int:
        """How many low bits of a score, in units of 2^drop, are rounded away as it opens."""
        whole = _SCORE_GRIDS[self.family] * PLAIN_MODULUS / self.period
        return round(math.log2(whole)) - self.drop

    @property
    def score_bits(self) -> int:
        """How many bits it has; what lies beyond is taken to the nearest."""
        return 7 if self.family == "logistic" else 8

    @property
    def score_unit(self) -> float:
        """What a unit of it is: about .19 of log odds, 1/16 of a deviation or of a logarithm."""
        return float(2.0 ** (self.score_drop + self.drop) * self.period / PLAIN_MODULUS)

    @property
    def rounding(self) -> int:
        """How many bits a coefficient that opens is rounded by, beyond `drop`."""
        return _BALL_BITS - _OPENED_BITS


def _curvature_of_mean(family: Family) -> float:
    """Return the largest slope of the mean, or 1 where it has none."""
    return 0.25 if family == "logistic" else 1.0


@lru_cache(maxsize=16)
def _projection(plan: VerticalPlan) -> Projection:
    unit = 2.0**-plan.drop * plan.coefficient_scale
    # Each of them is rounded by half a unit; a coarse bound is the same on all machines.
    most = math.ceil(plan.reach * _REACH_GRID) / _REACH_GRID
    radius = math.floor(plan.ball * unit)
    reach = math.ceil(most * unit + math.sqrt(plan.lanes) / 2 + 1)
    value_bits = (reach << plan.drop).bit_length() + 1
    if value_bits >= PLAIN_MODULUS.bit_length():
        raise CapacityError("a step can take coefficients beyond t: take fewer iterations")
    bits = (reach // radius).bit_length() + 1
    return Projection.onto_ball(
        PLAIN_MODULUS, plan.lanes, value_bits, plan.drop, radius, reach, beta_bits=bits
    )
