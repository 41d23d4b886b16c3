"""From trained halves to results: what one company knows, or what one run that played both does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from privfed.training.records import made_with
from privfed.vertical.company import LabelScale
from privfed.vertical.linear.plan import VerticalPlan
from privfed.vertical.linear.terms import LinearChoice
from privfed.vertical.linear.training import LinearTraining
from privfed.vertical.references import fit_exactly, shares_of_variance
from privfed.vertical.results import (
    Gain,
    Measured,
    SideOfModel,
    Stage,
    UsedTable,
    VerticalResults,
    compare,
)
from privfed.vertical.results import Role as Who
from privfed.vertical.roles import Role
from privfed.vertical.talk import StepCost

__all__ = ["KnownHalf", "results_of_both", "results_of_one"]

Floats = NDArray[np.float64]

_STEPS = {
    "align": "finding common rows",
    "shapes": "encoding and plan",
    "train": "training",
    "predict": "scoring held-out rows",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class KnownHalf:
    """What a company knows when training is done. Its repr shows no number.

    Attributes:
        role: Whose it is.
        name: What the company is called.
        plan: What both agreed on.
        names: Its standardised columns.
        coefficients: What these have; None: they stay shared.
        intercept: What the guest has besides; None: it stays shared, or this is the host.
        block: Its common rows, standardised.
        labels: The guest's, of all common rows.
        scale: How these were scaled.
        classes: What the labels 0 and 1 are called.
        tests: How many first rows are held out.
        joint: The guest's scores of held-out rows, as they opened.
        table_rows: How many its table has.
        clipped_share: Which part of its training rows was shortened.
        costs: What each step cost.
        label: The guest's label column.
        file: Its table.
    """

    role: Role
    name: str
    plan: VerticalPlan
    names: tuple[str, ...]
    coefficients: Floats | None = field(repr=False)
    intercept: float | None = field(repr=False)
    block: Floats = field(repr=False)
    labels: Floats = field(repr=False)
    scale: LabelScale = field(repr=False)
    classes: tuple[str, ...]
    tests: int
    joint: Floats | None = field(repr=False)
    table_rows: int
    clipped_share: float
    costs: Sequence[StepCost]
    label: str | None
    file: UsedTable

    @classmethod
    def of(
        cls, training: LinearTraining, joint: Floats | None, costs: Sequence[StepCost]
    ) -> KnownHalf:
        """Return what is known of a trained half.

        Args:
            training: What is done.
            joint: The guest's scores of held-out rows.
            costs: What each step cost.
        """
        job, plan, common = training.job, training.plan, training.common
        role = job.table.role
        coefficients, intercept = None, None
        if plan.coefficients == "own":
            opened = training.side.coefficients
            if role == "guest":
                opened, intercept = opened[:-1], float(opened[-1])
            coefficients = common.whitening.matrix @ opened
        return cls(
            role=role,
            name=job.name,
            plan=plan,
            names=common.encoder.names,
            coefficients=coefficients,
            intercept=intercept,
            block=common.block,
            labels=common.labels,
            scale=common.scale,
            classes=common.classes,
            tests=common.tests,
            joint=joint,
            table_rows=len(job.table.frame),
            clipped_share=training.clipped_share,
            costs=costs,
            label=job.table.label,
            file=job.file,
        )

    @property
    def side(self) -> SideOfModel:
        """This half, as results tell of it."""
        return SideOfModel(
            name=self.name,
            columns=len(self.names),
            table_rows=self.table_rows,
            names=self.names,
            coefficients=None if self.coefficients is None else tuple(self.coefficients.tolist()),
            clipped_share=self.clipped_share,
        )


def results_of_one(
    known: KnownHalf, choice: LinearChoice, *, other: str, source: str = ""
) -> VerticalResults:
    """Return what one company of two writes.

    Args:
        known: What it knows.
        choice: What both chose.
        other: What the other company is called.
        source: Where an embedded pair comes from.
    """
    theirs = SideOfModel(
        name=other,
        columns=known.plan.host_names if known.role == "guest" else known.plan.guest_names,
    )
    guest, host = (known.side, theirs) if known.role == "guest" else (theirs, known.side)
    unknown = (
        "a model on both tables in the clear is not here: nobody holds both"
        if known.role == "guest"
        else "how good the model is, the label holder alone can measure"
    )
    alone, joint, _ = _scores(known, None)
    return _results(
        known, known.role, choice, guest, host, _stages(known.costs, known.role),
        alone=alone, joint=joint, pooled=None, host_share=None, unknown=unknown,
        files=(known.file,), source=source,
    )  # fmt: skip


def results_of_both(
    guest: KnownHalf, host: KnownHalf, choice: LinearChoice, *, source: str = ""
) -> VerticalResults:
    """Return what a run that played both companies writes: the pooled reference, too."""
    alone, joint, pooled = _scores(guest, host)
    share = None
    if guest.coefficients is not None and host.coefficients is not None:
        parts = [
            half.block[half.tests :] @ half.coefficients
            for half in (host, guest)
            if half.coefficients is not None
        ]
        shares = shares_of_variance(*parts)
        share = None if shares is None else shares[0]
    stages = [
        Stage(
            name=one.name,
            wall_seconds=one.wall_seconds,
            guest_cpu_seconds=one.guest_cpu_seconds,
            host_cpu_seconds=two.host_cpu_seconds,
            guest_bytes=one.guest_bytes,
            host_bytes=two.host_bytes,
        )
        for one, two in zip(_stages(guest.costs, "guest"), _stages(host.costs, "host"), strict=True)
    ]
    return _results(
        guest, "both", choice, guest.side, host.side, stages,
        alone=alone, joint=joint, pooled=pooled, host_share=share, unknown="",
        files=(guest.file, host.file), source=source,
    )  # fmt: skip


def _scores(
    guest: KnownHalf, host: KnownHalf | None
) -> tuple[Floats | None, Floats | None, Floats | None]:
    """Return scores of held-out rows by the guest alone, together, and pooled."""
    if guest.role == "host" or guest.joint is None or not guest.tests:
        return None, None, None
    tests, family, penalty = guest.tests, guest.plan.family, guest.plan.penalty
    labels = guest.scale.scaled(guest.labels[tests:])
    found: list[Floats | None] = []
    for block in (guest.block, None if host is None else np.hstack([guest.block, host.block])):
        if block is None:
            found.append(None)
            continue
        fit = fit_exactly(block[tests:], labels, family, penalty)
        found.append(guest.scale.scores(fit.scores(block[:tests]), family))
    return found[0], guest.scale.scores(guest.joint, family), found[1]


def _stages(costs: Sequence[StepCost], role: Role) -> list[Stage]:
    stages = []
    for cost in costs:
        sent, received = cost.bytes_sent, cost.bytes_received
        guest, host = (sent, received) if role == "guest" else (received, sent)
        stages.append(
            Stage(
                name=_STEPS[cost.step],
                wall_seconds=cost.wall_seconds,
                guest_cpu_seconds=cost.cpu_seconds if role == "guest" else None,
                host_cpu_seconds=cost.cpu_seconds if role == "host" else None,
                guest_bytes=guest,
                host_bytes=host,
            )
        )
    return stages


def _results(
    known: KnownHalf,
    who: Who,
    choice: LinearChoice,
    guest: SideOfModel,
    host: SideOfModel,
    stages: Sequence[Stage],
    *,
    alone: Floats | None,
    joint: Floats | None,
    pooled: Floats | None,
    host_share: float | None,
    unknown: str,
    files: tuple[UsedTable, ...],
    source: str,
) -> VerticalResults:
    plan = known.plan
    measures: tuple[Measured, ...] = ()
    gains: tuple[Gain, ...] = ()
    if alone is not None and joint is not None:
        measures, gains = compare(
            plan.family,
            known.labels[: known.tests],
            alone,
            joint,
            pooled,
            classes_only=choice.opened == "class",
        )
    return VerticalResults(
        role=who,
        plan=plan.fingerprint().hex(),
        family=plan.family,
        penalty=plan.penalty,
        iterations=plan.iterations,
        label=known.label,
        classes=known.classes,
        source=source,
        guest=guest,
        host=host,
        common_rows=len(known.block),
        train_rows=plan.rows,
        test_rows=known.tests,
        terms=_terms(plan),
        scores_opened="classes" if choice.opened == "class" else "rounded scores",
        coefficients_opened="each to its owner" if plan.coefficients == "own" else "to nobody",
        measures=measures,
        gains=gains,
        unknown=unknown,
        host_share=host_share,
        stages=tuple(stages),
        files=files,
        provenance=made_with(),
    )


def _terms(plan: VerticalPlan) -> tuple[tuple[str, str], ...]:
    return (
        ("bound on every score, either way", f"{plan.score_bound:g} of {plan.period / 2:g}"),
        ("bound on all coefficients together", f"{plan.ball:.2f}, whitened"),
        ("harmonics of the link", f"{plan.harmonics}, off by up to {plan.link.error:.1g}"),
        ("rows that the model may ever answer", f"{plan.predictions:,}"),
        ("what all answers tell of noise", "a statistical distance of at most 2⁻⁴⁰"),
    )
