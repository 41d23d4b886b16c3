"""One side's rows as the integers that a plan multiplies: whitened, clipped, rounded."""

import numpy as np
from numpy.typing import NDArray

from privfed.errors import ConfigError
from privfed.vertical.linear.plan import VerticalPlan
from privfed.vertical.roles import Role

__all__ = ["batch_matrix", "clipped_share", "integer_rows", "with_intercept"]

Floats = NDArray[np.float64]


def with_intercept(whitened: Floats) -> Floats:
    """Return whitened columns and one of ones, whose coefficient is the intercept: the guest's."""
    return np.hstack([whitened, np.ones((len(whitened), 1))])


def integer_rows(plan: VerticalPlan, role: Role, block: Floats) -> Floats:
    """Return rows as integers in doubles; none is longer than the plan's bound on it.

    Args:
        plan: The plan.
        role: Whose rows they are.
        block: Shape (rows, columns of the plan): whitened; the guest's with its intercept.

    Raises:
        ConfigError: They are of another shape, or not finite.
    """
    columns, norm = _bounds(plan, role)
    if block.ndim != 2 or block.shape[1] != columns or not np.isfinite(block).all():
        raise ConfigError(f"the {role}'s rows are finite numbers in {columns} columns")
    scaled = block * plan.entry_scale
    # Rounding may add half a unit to each entry.
    most = plan.entry_scale * norm - np.sqrt(columns) / 2
    lengths = np.linalg.norm(scaled, axis=1)
    scaled *= np.minimum(1, most / np.maximum(lengths, most))[:, None]
    return np.rint(scaled)


def clipped_share(plan: VerticalPlan, role: Role, block: Floats) -> float:
    """Return the share of rows that the plan's bound shortens."""
    _, norm = _bounds(plan, role)
    lengths = np.linalg.norm(block * plan.entry_scale, axis=1)
    return float((lengths > plan.entry_scale * norm - np.sqrt(block.shape[1]) / 2).mean())


def batch_matrix(
    plan: VerticalPlan, role: Role, rows: Floats, whitening: Floats, iteration: int
) -> Floats:
    """Return the integers of an iteration: its rows of data, then the penalty's.

    Args:
        plan: The plan.
        role: Whose they are.
        rows: What `integer_rows` returned, of all rows.
        whitening: Shape (names, whitened columns): a whitened coefficient v is whitening @ v of
            standardised columns.
        iteration: Which rows take their turn.
    """
    part = plan.batch_rows(iteration)
    data = rows[part.start : part.stop]
    data = _bounded_covariance(plan, data)
    if not plan.penalty:
        return data
    columns = rows.shape[1]
    penalty = np.zeros((plan.penalty_rows, columns))
    entries = np.rint(plan.penalty_entry * plan.entry_scale * whitening)
    start = 0 if role == "guest" else plan.guest_names
    penalty[start : start + len(entries), : entries.shape[1]] = entries
    return np.vstack([data, penalty])


def _bounded_covariance(plan: VerticalPlan, data: Floats) -> Floats:
    """Return rows, all made shorter where their covariance would pass the plan's bound."""
    most = plan.covariance * plan.entry_scale**2
    while (largest := float(np.linalg.eigvalsh(data.T @ data)[-1]) / len(data)) > most:
        # No row becomes longer; what was cut off can tilt them towards one another, so look again.
        data = np.trunc(data * min(np.sqrt(most / largest), 1 - 1e-3))
    return data


def _bounds(plan: VerticalPlan, role: Role) -> tuple[int, float]:
    if role == "guest":
        return plan.guest_columns, plan.guest_norm
    return plan.host_columns, plan.host_norm
