"""Guest and host in one process, and the same training in numbers that nobody shares."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privfed.he.ring import PLAIN_MODULUS
from privfed.vertical.linear.guest import Guest
from privfed.vertical.linear.host import Host
from privfed.vertical.linear.plan import VerticalPlan
from privfed.vertical.linear.projections import Integers, projected, shared_values
from privfed.vertical.linear.rows import batch_matrix, integer_rows, with_intercept
from privfed.vertical.linear.state import TrainingState
from privfed.vertical.linear.whitening import Whitening
from privfed.vertical.roles import Family, Role

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Job:
    """What both sides bring.

    Attributes:
        plan: What they agreed on.
        guest: The guest's block, intercept last.
        host: The host's.
        whitenings: Of both.
        labels: The guest's.
        columns: Standardised columns of both, as a fit in the clear takes them.
    """

    plan: VerticalPlan
    guest: Floats
    host: Floats
    whitenings: tuple[Floats, Floats]
    labels: Floats
    columns: Floats

    def sides(
        self, guest: TrainingState | None = None, host: TrainingState | None = None
    ) -> tuple[Guest, Host]:
        """Fresh sessions of both."""
        own, theirs = self.whitenings
        return (
            Guest(self.plan, self.guest, own, self.labels, state=guest),
            Host(self.plan, self.host, theirs, state=host),
        )

    def rows(self, iteration: int) -> Floats:
        """An iteration's integers, both sides' columns, the penalty's rows last."""
        blocks: list[tuple[Role, Floats, Floats]] = [
            ("guest", self.guest, self.whitenings[0]),
            ("host", self.host, self.whitenings[1]),
        ]
        return np.hstack(
            [
                batch_matrix(
                    self.plan, role, integer_rows(self.plan, role, block), whitening, iteration
                )
                for role, block, whitening in blocks
            ]
        )

    def fitted(self, coefficients: Floats) -> Floats:
        """Coefficients of standardised columns, intercept last, of whitened ones."""
        own, theirs = self.whitenings
        end = self.plan.guest_columns
        guest, host = coefficients[: end - 1], coefficients[end:]
        return np.concatenate([own @ guest, theirs @ host, coefficients[end - 1 : end]])


def job(
    family: Family = "logistic",
    rows: int = 400,
    guest: int = 3,
    host: int = 2,
    *,
    seed: int = 0,
    strength: float = 1.0,
    **settings: Any,
) -> Job:
    """A job of correlated normal columns, whose labels they explain in part."""
    random = np.random.default_rng(seed)
    columns = random.normal(size=(rows, guest + host)) + 0.5 * random.normal(size=(rows, 1))
    columns = (columns - columns.mean(axis=0)) / columns.std(axis=0)
    scores = columns @ random.normal(size=guest + host)
    scores *= strength / scores.std()
    if family == "logistic":
        labels = (random.random(rows) < 1 / (1 + np.exp(-scores))).astype(float)
    elif family == "linear":
        labels = scores + random.normal(size=rows)
        labels = (labels - labels.mean()) / labels.std()
    else:
        labels = random.poisson(np.exp(scores / 2)).astype(float)
        labels /= labels.mean()
    ridge = settings.get("penalty", 0.0) * (4 if family == "logistic" else 1)
    own, theirs = columns[:, :guest], columns[:, guest:]
    matrices = (Whitening.fit(own, ridge).matrix, Whitening.fit(theirs, ridge).matrix)
    plan = VerticalPlan(
        family=family,
        rows=rows,
        guest_columns=guest + 1,
        host_columns=host,
        guest_names=guest,
        host_names=host,
        **settings,
    )
    blocks = with_intercept(own @ matrices[0]), theirs @ matrices[1]
    return Job(plan, *blocks, matrices, labels, columns)


def messages(guest: Guest, host: Host) -> Iterator[tuple[Guest | Host, bytes]]:
    """Each message with the side that gets it; it is delivered when the next one is asked for."""
    sides: tuple[Guest | Host, Guest | Host] = host, guest
    sent, _ = guest.start(), host.start()
    while sent is not None:
        taker, sides = sides[0], sides[::-1]
        yield taker, sent
        sent = taker.receive(sent)


def train(guest: Guest, host: Host, after: Callable[[], object] = lambda: None) -> None:
    """Let both talk to the end."""
    for _ in messages(guest, host):
        after()
    after()


def values_of(guest: TrainingState, host: TrainingState) -> dict[int, Integers]:
    """The coefficients, integers of either sign, before each iteration that both still have."""
    found = {}
    for iteration in sorted(set(guest.iterations) & set(host.iterations)):
        own, theirs = (
            np.array(state.shares[state.iterations.index(iteration)], np.uint64)
            for state in (guest, host)
        )
        found[iteration] = shared_values(PLAIN_MODULUS, own, theirs)
    return found


def history(guest: Guest, host: Host) -> dict[int, Integers]:
    """The coefficients before each iteration of a training."""
    found: dict[int, Integers] = {}
    train(guest, host, lambda: found.update(values_of(guest.state, host.state)))
    return found


def means(plan: VerticalPlan, scores: Floats, size: int) -> Floats:
    """What the link makes of scores of data rows, and the penalty of the rows after them."""
    data = plan.link.values(scores[:size], plan.period)
    penalty = plan.identity.values(scores[size:], plan.period) * plan.penalty_weight(size)
    return np.concatenate([data, penalty])


def moved(job: Job, iteration: int, coefficients: Integers) -> tuple[Floats, Floats]:
    """A step in numbers.

    Args:
        job: What both bring.
        iteration: Which step.
        coefficients: As integers.

    Returns:
        The coefficients after the step, before they are projected, and what one unit of every
        residual moves each of them, root of the sum of squares.
    """
    plan, rows = job.plan, job.rows(iteration)
    size, multiplier = plan.batch_size(iteration), plan.multiplier(iteration)
    scores = rows @ coefficients.astype(float) * (plan.period / PLAIN_MODULUS)
    part = plan.batch_rows(iteration)
    residuals = means(plan, scores, size)
    residuals[:size] -= job.labels[part.start : part.stop]
    gradient = rows.T @ (residuals * plan.residual_scale(iteration))
    return coefficients - multiplier * gradient, multiplier * np.linalg.norm(rows, axis=0)


def reference(job: Job) -> Floats:
    """All steps in numbers, coefficients of standardised columns."""
    plan = job.plan
    coefficients = np.zeros(plan.lanes, np.int64)
    for iteration in range(plan.iterations):
        stepped, _ = moved(job, iteration, coefficients)
        whole = np.rint(stepped).astype(np.int64)
        coefficients = projected(plan.projection, whole) << plan.drop
    return job.fitted(coefficients / plan.coefficient_scale)
