"""Guest and host that grow trees in one process, and the same trees grown by who sees all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privfed.vertical.roles import Family
from privfed.vertical.trees.boosting import Boosting
from privfed.vertical.trees.growing import LevelQuestion, TreeSettings
from privfed.vertical.trees.grown import HostTree
from privfed.vertical.trees.guest import TreesGuest
from privfed.vertical.trees.host import TreesHost
from privfed.vertical.trees.objective import Objective
from privfed.vertical.trees.plan import TreesPlan
from privfed.vertical.trees.splits import MOST_WEIGHT, Codes, Splits
from privfed.vertical.trees.state import GuestTreesState, HostTreesState
from privfed.vertical.trees.subsets import MISSING
from tests.vertical.trees.plain import PlainHost

Floats = NDArray[np.float64]
Side = TreesGuest | TreesHost
BINS = 6


@dataclass(frozen=True)
class TreesJob:
    """What both sides bring.

    Attributes:
        plan: What they agreed on.
        guest: The guest's codes.
        host: The host's.
        objective: What the guest learns.
        held_back: The guest's rows that tell when to stop.
        least_rows: How many rows a side of a split has at least.
    """

    plan: TreesPlan
    guest: Codes
    host: Codes
    objective: Objective
    held_back: NDArray[np.bool_] | None = None
    least_rows: int = 5

    def splits(self, codes: Codes) -> Splits:
        """All splits of a side."""
        return Splits.between(codes, [BINS] * len(codes), [True] * len(codes), self.least_rows)

    def boosting(self, seed: int = 1) -> Boosting:
        """The guest's rounds, none grown."""
        return Boosting(
            TreeSettings(depth=self.plan.depth, least_rows=self.least_rows),
            self.objective,
            self.splits(self.guest),
            self.guest,
            rounds=self.plan.trees,
            most=self.plan.most_score,
            weight=MOST_WEIGHT,
            generator=np.random.default_rng(seed),
            held_back=self.held_back,
            patience=2,
        )

    def sides(
        self,
        guest: GuestTreesState | None = None,
        host: HostTreesState | None = None,
        *,
        tell_guest: Callable[[GuestTreesState], None] | None = None,
        tell_host: Callable[[HostTreesState], None] | None = None,
    ) -> tuple[TreesGuest, TreesHost]:
        """Fresh sessions of both."""
        return (
            TreesGuest(self.plan, self.boosting(), state=guest, on_state=tell_guest),
            TreesHost(self.plan, self.splits(self.host), self.host, state=host, on_state=tell_host),
        )

    @property
    def plain_host(self) -> PlainHost:
        """A host that compares whole scores, and sees them."""
        bits = self.plan.sums.plain_bits
        return PlainHost(self.splits(self.host), self.host, bits, bits)


def trees_job(
    family: Family = "logistic",
    rows: int = 120,
    columns: int = 2,
    *,
    seed: int = 0,
    outputs: int = 1,
    missing: float = 0.0,
    weighted: bool = False,
    validation: int = 0,
    **settings: Any,
) -> TreesJob:
    """A job of normal columns of both sides, which explain the labels in part."""
    random = np.random.default_rng(seed)
    own, theirs = (random.normal(size=(columns, rows)) for _ in range(2))
    scores = 2 * own[0] + 2 * theirs[0] * theirs[-1] + theirs[0]
    weights = random.integers(0, 4, rows).astype(float) if weighted else np.ones(rows)
    if outputs > 1:
        classes = np.clip(np.digitize(scores, [-1.5, 1.5]), 0, outputs - 1)
        objective = Objective.of_classes(classes, outputs, weights)
    else:
        labels = {
            "logistic": scores + random.normal(size=rows) > 0,
            "linear": scores + random.normal(size=rows),
            "poisson": random.poisson(np.exp(scores / 4)),
        }[family]
        objective = Objective(family, labels.astype(float)[:, None], weights)
    guest, host = (
        np.where(random.random(block.shape) < missing, MISSING, coded(block)).astype(np.uint8)
        for block in (own, theirs)
    )
    first = TreesJob(
        TreesPlan(rows=rows, host_splits=1),
        guest,
        host,
        objective,
        np.arange(rows) < validation if validation else None,
    )
    plan = TreesPlan(
        family=family,
        outputs=outputs,
        rows=rows,
        host_splits=len(first.splits(host)),
        **{"trees": 1, "depth": 2, "predictions": 1000, **settings},
    )
    return replace(first, plan=plan)


def coded(block: Floats) -> Codes:
    """Columns in bins that are alike full."""
    at = np.arange(1, BINS) / BINS
    return np.array([np.searchsorted(np.quantile(own, at), own) for own in block], np.uint8)


def messages(guest: TreesGuest, host: TreesHost) -> Iterator[tuple[Side, bytes]]:
    """Each message with the side that gets it; it is delivered when the next one is asked for."""
    sides: tuple[Side, Side] = host, guest
    sent, _ = guest.start(), host.start()
    while sent is not None:
        taker, sides = sides[0], sides[::-1]
        yield taker, sent
        sent = taker.receive(sent)


def hold(guest: TreesGuest, host: TreesHost) -> list[bytes]:
    """Let both talk to the end."""
    return [message for _, message in messages(guest, host)]


@dataclass
class FollowedHost:
    """A host that sees questions, and checks that who chose without seeing chose as well.

    Scores are compared in units, of which the contest loses up to two (`contest`); where they open
    they are compared as they are.

    Attributes:
        job: What both bring.
        trees: What the host chose.
    """

    job: TreesJob
    trees: list[HostTree]

    def answer(self, question: LevelQuestion, tree: int, level: int) -> NDArray[np.int64]:
        """The splits that were chosen at a level, checked."""
        plan = self.job.plan
        unit = 1 << plan.contest(1).dropped if plan.reveal == "sides" else 0
        splits = self.job.splits(self.job.host).subsets(self.job.host)
        scores = np.abs(splits.sums(question.vectors))
        first = 2**level - 1
        chosen = np.array(self.trees[tree].splits[first : 2 * first + 1])
        for node, split in enumerate(chosen):
            if split < 0:
                assert scores[node].max() <= question.best[node] + 2 * unit
            else:
                assert scores[node, split] >= scores[node].max() - 2 * unit
                assert scores[node, split] > question.best[node] - unit
        return chosen


def follow(job: TreesJob, host_trees: list[HostTree], boosting: Boosting) -> Boosting:
    """Grow the trees that the host's choices make, in the clear."""
    host = FollowedHost(job, host_trees)
    splits = job.splits(job.host)
    while not boosting.done:
        tree = boosting.tree()
        for level in range(job.plan.depth):
            chosen = host.answer(tree.question(), len(boosting.trees), level)
            left = np.ones(job.plan.rows, np.bool_)
            for node in np.flatnonzero(chosen >= 0).tolist():
                own = tree.node_of_row == node
                left[own] = splits.left(job.host, int(chosen[node]))[own]
            tree.answered(chosen >= 0, left)
        boosting.grown(tree)
    return boosting
