"""Two sides of a small training in one process, and everything that they send."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from privfed.he.ring import PLAIN_MODULUS
from privfed.vertical.guest import Guest
from privfed.vertical.host import Host
from privfed.vertical.plan import VerticalPlan
from privfed.vertical.rows import integer_rows, with_intercept
from privfed.vertical.state import TrainingState
from privfed.vertical.whitening import Whitening
from psi.network import Dialogue

Floats = NDArray[np.float64]
Family = Literal["logistic", "linear", "poisson"]


@dataclass(frozen=True)
class Tables:
    """Standardised columns of both sides, and labels as they are trained on."""

    guest: Floats
    host: Floats
    labels: Floats
    family: Family = "logistic"


def tables(family: Family = "logistic", rows: int = 600, seed: int = 3) -> Tables:
    """Correlated Gaussian columns, three and two of them."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(rows, 1))
    columns = 0.5 * common + rng.normal(size=(rows, 5))
    columns = (columns - columns.mean(0)) / columns.std(0)
    scores = columns @ np.array([0.5, -0.4, 0.2, 0.6, -0.3]) - 0.3
    if family == "logistic":
        labels = (rng.random(rows) < 1 / (1 + np.exp(-scores))).astype(float)
    elif family == "linear":
        labels = scores + rng.normal(size=rows)
        labels = (labels - labels.mean()) / labels.std()
    else:
        labels = rng.poisson(np.exp(0.4 * scores)).astype(float)
        labels /= labels.mean()
    return Tables(columns[:, :3], columns[:, 3:], labels, family)


class Pair:
    """Both sides, and what they were made of."""

    def __init__(self, data: Tables, penalty: float = 0.0, **choices: Any) -> None:
        ridge = penalty * (4 if data.family == "logistic" else 1)
        whitenings = [Whitening.fit(block, ridge).matrix for block in (data.guest, data.host)]
        self.data, self.whitenings = data, whitenings
        self.plan = VerticalPlan(
            family=data.family,
            rows=len(data.labels),
            guest_columns=whitenings[0].shape[1] + 1,
            host_columns=whitenings[1].shape[1],
            guest_names=data.guest.shape[1],
            host_names=data.host.shape[1],
            penalty=penalty,
            **choices,
        )
        self.blocks = (with_intercept(data.guest @ whitenings[0]), data.host @ whitenings[1])
        self.fresh()

    def fresh(self, guest: TrainingState | None = None, host: TrainingState | None = None) -> None:
        """Make both sides anew, from states or from the beginning."""
        self.guest = Guest(
            self.plan, self.blocks[0], self.whitenings[0], self.data.labels, state=guest
        )
        self.host = Host(self.plan, self.blocks[1], self.whitenings[1], state=host)

    @property
    def coefficients(self) -> Floats:
        """The opened coefficients of standardised columns, and the intercept last."""
        guest, host = self.guest.coefficients, self.host.coefficients
        parts = [self.whitenings[0] @ guest[:-1], self.whitenings[1] @ host, guest[-1:]]
        return np.concatenate(parts)

    @property
    def integer_rows(self) -> Floats:
        """Both sides' rows side by side, as integers."""
        roles: tuple[Literal["guest", "host"], ...] = ("guest", "host")
        return np.hstack(
            [integer_rows(self.plan, role, b) for role, b in zip(roles, self.blocks, strict=True)]
        )


def whole(guest: TrainingState, host: TrainingState) -> NDArray[np.int64]:
    """The coefficients that two states share, from -t/2 to t/2; the last iteration of both."""
    assert guest.iterations[-1] == host.iterations[-1]
    pairs = zip(guest.shares[-1], host.shares[-1], strict=True)
    sums = [(one + other) % PLAIN_MODULUS for one, other in pairs]
    return np.array([s - PLAIN_MODULUS if s > PLAIN_MODULUS // 2 else s for s in sums], np.int64)


def converse(
    first: Dialogue, second: Dialogue, watch: Callable[[int, bytes], bytes | None] | None = None
) -> list[bytes]:
    """Carry messages until the end; `watch` may change one, or end it all by returning None."""
    sent: list[bytes] = []
    message, sides = first.start(), (second, first)
    second.start()
    while message is not None:
        sent.append(message)
        carried = message if watch is None else watch(len(sent) - 1, message)
        if carried is None:
            break
        message = sides[(len(sent) - 1) % 2].receive(carried)
    return sent
