"""From a trained half of a linear model to results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from privfed.vertical.company import LabelScale
from privfed.vertical.linear.plan import VerticalPlan
from privfed.vertical.linear.results import LinearResults, SideOfLinear
from privfed.vertical.outcome import KnownHalf, ModelScores
from privfed.vertical.references import fit_exactly, shares_of_variance
from privfed.vertical.talk import StepCost

if TYPE_CHECKING:
    from privfed.vertical.linear.training import LinearTraining

__all__ = ["KnownLinear"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class KnownLinear(KnownHalf):
    """What a company knows of a linear model. Its repr shows no number.

    Attributes:
        plan: What both agreed on.
        names: Its standardised columns.
        coefficients: What these have; None: they stay shared.
        intercept: What the guest has besides; None: it stays shared, or this is the host.
        block: Its common rows, standardised.
        scale: How the guest's labels were scaled.
        clipped_share: Which part of its training rows was shortened.
    """

    plan: VerticalPlan
    names: tuple[str, ...]
    coefficients: Floats | None = field(repr=False)
    intercept: float | None = field(repr=False)
    block: Floats = field(repr=False)
    scale: LabelScale = field(repr=False)
    clipped_share: float

    @classmethod
    def of(
        cls, training: LinearTraining, joint: Floats | None, costs: Sequence[StepCost]
    ) -> KnownLinear:
        """Return what is known of a trained half; arguments as of `Training.known`."""
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
            fingerprint=plan.fingerprint(),
            family=plan.family,
            opened=job.choice.opened,
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
            train_rows=plan.rows,
            table_rows=len(job.table.frame),
            clipped_share=training.clipped_share,
            costs=costs,
            label=job.table.label,
            file=job.file,
        )

    @property
    def side(self) -> SideOfLinear:
        """This half, as results tell of it."""
        return SideOfLinear(
            name=self.name,
            columns=len(self.names),
            table_rows=self.table_rows,
            names=self.names,
            coefficients=None if self.coefficients is None else tuple(self.coefficients.tolist()),
            clipped_share=self.clipped_share,
        )

    def results(self, *, other: str, source: str = "") -> LinearResults:
        """Return what this company of two writes; as of `KnownHalf`."""
        guest = self.role == "guest"
        theirs = SideOfLinear(
            name=other, columns=self.plan.host_names if guest else self.plan.guest_names
        )
        sides = (self.side, theirs) if guest else (theirs, self.side)
        return self._results(None, *sides, host_share=None, source=source)

    def results_with(self, host: KnownLinear, *, source: str = "") -> LinearResults:
        """Return what a run that played both companies writes; as of `KnownHalf`."""
        share = None
        if self.coefficients is not None and host.coefficients is not None:
            parts = [
                half.block[half.tests :] @ half.coefficients
                for half in (host, self)
                if half.coefficients is not None
            ]
            shares = shares_of_variance(*parts)
            share = None if shares is None else shares[0]
        return self._results(host, self.side, host.side, host_share=share, source=source)

    def _results(
        self,
        other: KnownLinear | None,
        guest: SideOfLinear,
        host: SideOfLinear,
        *,
        host_share: float | None,
        source: str,
    ) -> LinearResults:
        plan = self.plan
        return LinearResults(
            **self._fields(
                other, self._scores(other), source=source, classes_only=self.opened == "class"
            ),
            guest=guest,
            host=host,
            penalty=plan.penalty,
            iterations=plan.iterations,
            terms=_terms(plan),
            coefficients_opened="each to its owner" if plan.coefficients == "own" else "to nobody",
            host_share=host_share,
        )

    def _scores(self, host: KnownLinear | None) -> ModelScores:
        """Return scores of held-out rows by the guest alone, together, and pooled."""
        if self.role == "host" or self.joint is None or not self.tests:
            return ModelScores()
        tests, family, penalty = self.tests, self.family, self.plan.penalty
        labels = self.scale.scaled(self.labels[tests:])

        def fitted(block: Floats) -> Floats:
            fit = fit_exactly(block[tests:], labels, family, penalty)
            return self.scale.scores(fit.scores(block[:tests]), family)

        return ModelScores(
            alone=fitted(self.block),
            together=self.scale.scores(self.joint, family),
            pooled=None if host is None else fitted(np.hstack([self.block, host.block])),
        )


def _terms(plan: VerticalPlan) -> tuple[tuple[str, str], ...]:
    return (
        ("bound on every score, either way", f"{plan.score_bound:g} of {plan.period / 2:g}"),
        ("bound on all coefficients together", f"{plan.ball:.2f}, whitened"),
        ("harmonics of the link", f"{plan.harmonics}, off by up to {plan.link.error:.1g}"),
        ("rows that the model may ever answer", f"{plan.predictions:,}"),
        ("what all answers tell of noise", "a statistical distance of at most 2⁻⁴⁰"),
    )
