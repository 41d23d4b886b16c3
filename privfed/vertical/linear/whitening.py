"""What is done to a company's standardised features before training; all of it at home."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from privfed.errors import ConfigError, DecodeError
from privfed.vertical.encoding import Finite

_FLOOR = 1e-9  # of the largest eigenvalue: directions below it are rounding


class WhiteningFields(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A `Whitening` as data only."""

    matrix: tuple[tuple[Finite, ...], ...]
    format: Literal["privfed vertical whitening 1"] = "privfed vertical whitening 1"


@dataclass(frozen=True, eq=False)
class Whitening:
    """Directions in which a block's features are uncorrelated and of equal weight.

    Where X are standardised features, `X @ matrix` are whitened ones; weights v of these are the
    weights `matrix @ v` of X.

    Attributes:
        matrix: (features, directions); square unless features are collinear.
    """

    matrix: NDArray[np.float64] = field(repr=False)

    @classmethod
    def fit(cls, matrix: NDArray[np.float64], penalty: float) -> Whitening:
        """Whiten a block: (covariance + penalty)^(-1/2), symmetric where all directions vary.

        Directions that do not vary, as of features that are sums of others, are left out: no row
        tells anything of them.

        Args:
            matrix: (n, features), standardised.
            penalty: What is added to every eigenvalue, at least 0.

        Returns:
            The whitening.

        Raises:
            ConfigError: The penalty is negative or not finite, or there is nothing to whiten.
        """
        if not 0 <= penalty < np.inf:
            raise ConfigError(f"a penalty of {penalty}: give 0 or more")
        if not matrix.size:
            raise ConfigError("there is nothing to whiten: give rows and columns")
        values, vectors = np.linalg.eigh(matrix.T @ matrix / len(matrix))
        values = np.maximum(values, 0.0) + penalty
        kept = values > _FLOOR * values[-1]
        if not kept.any():
            raise ConfigError("no column varies: leave out constant columns")
        directions = vectors[:, kept] / np.sqrt(values[kept])
        return cls(directions @ vectors.T if kept.all() else directions)

    def to_fields(self) -> WhiteningFields:
        """Return the whitening as data, from which `from_fields` makes an equal one."""
        return WhiteningFields(tuple(map(tuple, self.matrix.tolist())))

    @classmethod
    def from_fields(cls, fields: WhiteningFields) -> Whitening:
        """Return the whitening that `to_fields` wrote.

        Raises:
            DecodeError: The rows have different lengths, or there are none.
        """
        lengths = {len(row) for row in fields.matrix}
        if len(lengths) != 1 or 0 in lengths:
            raise DecodeError("the saved whitening of a vertical model is no matrix")
        return cls(np.array(fields.matrix, dtype=np.float64))


def clip_rows(matrix: NDArray[np.float64], bound: float) -> tuple[NDArray[np.float64], float]:
    """Shorten each row that is longer than a public bound to it.

    Args:
        matrix: (n, columns).
        bound: The greatest length of a row, above 0.

    Returns:
        The rows, none longer than the bound, and the share of them that was.

    Raises:
        ConfigError: The bound is not positive, or a number is not finite.
    """
    if not 0 < bound < np.inf:
        raise ConfigError(f"a bound of {bound} on rows: give a number above 0")
    if not np.isfinite(matrix).all():
        raise ConfigError("a row holds a number that is not finite: remove it")
    norms = np.sqrt((matrix**2).sum(axis=1))
    over = norms > bound
    # Rounding may leave a product a last place above the bound, which is proven from.
    factors = np.where(over, bound / np.where(over, norms, 1.0) * (1 - 1e-12), 1.0)
    return matrix * factors[:, None], float(over.mean()) if len(over) else 0.0
