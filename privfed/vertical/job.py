"""One company's whole job over a connection: train, score held-out rows, keep its half.

A job that breaks off leaves `Unfinished`, and goes on from there (`VerticalJob.resume`). It is done
when each company heard that the other's half is written, too: whoever no longer has the file knows
that both have a half of one model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from privfed.errors import ConfigError
from privfed.vertical.answered import ANSWERED_FILE, Answered
from privfed.vertical.company import CompanyTable
from privfed.vertical.halves import HALF_FILE, Half
from privfed.vertical.linear.query import GuestQuery, HostQuery
from privfed.vertical.outcome import KnownHalf
from privfed.vertical.results import UsedTable
from privfed.vertical.terms import TrainingStep, VerticalChoice
from privfed.vertical.training import Talk, TrainedHalf, begin, go_on, train_half
from privfed.vertical.unfinished import Brought, Unfinished, check_finished
from psi.network import Progress, TLSIdentity, connect, listen

if TYPE_CHECKING:
    from psi.network import Connection

__all__ = ["PartnerLine", "VerticalJob", "do_job"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class PartnerLine:
    """How the other company is reached, and known.

    Attributes:
        identity: This side's key and certificate.
        peer_certificate: The other side's, PEM.
        listens: Whether this side waits for the other.
        address: HOST:PORT to listen on, or of the side that listens.
        wait_seconds: How long the other side may be missed.
        on_listening: Called with the port.
        on_turned_away: Called with what was wrong where the other side came with other choices.
    """

    identity: TLSIdentity
    peer_certificate: bytes
    listens: bool
    address: str
    wait_seconds: float
    on_listening: Callable[[int], None] | None = None
    on_turned_away: Callable[[str], None] | None = None

    @contextmanager
    def opened(self, progress: Progress | None) -> Iterator[Connection]:
        """Yield the connection."""
        if self.listens:
            with listen(
                address=self.address,
                identity=self.identity,
                peer_certificate=self.peer_certificate,
                wait_seconds=self.wait_seconds,
                on_listening=self.on_listening,
                on_turned_away=self.on_turned_away,
                progress=progress,
            ) as connection:
                yield connection
            return
        with connect(
            address=self.address,
            identity=self.identity,
            peer_certificate=self.peer_certificate,
            wait_seconds=self.wait_seconds,
            progress=progress,
        ) as connection:
            yield connection


@dataclass(frozen=True, kw_only=True)
class VerticalJob:
    """What a company brings.

    Attributes:
        table: Its table.
        name: What it is called.
        file: Where the table comes from.
        choice: What both chose.
        out: Its folder for the half.
        unfinished: Where the training is kept until both halves are written.
        resume: Whether to go on with what is there.
        charge: Counts what the other side asks.
        max_peer_items: The largest set the other side may bring.
    """

    table: CompanyTable
    name: str
    file: UsedTable
    choice: VerticalChoice
    out: Path
    unfinished: Path
    resume: bool = False
    charge: Callable[[int, int], None] | None = None
    max_peer_items: int | None = None

    @property
    def brought(self) -> Brought:
        """What the training goes on with, if it breaks off."""
        return Brought(
            role=self.table.role,
            table=self.file.sha256,
            id_columns=self.table.id_columns,
            label=self.table.label,
            normalise=self.table.normalise,
            choice=self.choice,
        )


def do_job(
    job: VerticalJob,
    line: PartnerLine,
    *,
    progress: Progress | None = None,
    on_step: Callable[[TrainingStep], None] | None = None,
) -> KnownHalf:
    """Train, score held-out rows, and write the half; no half is written before all is done.

    Returns:
        What this company knows.

    Raises:
        ConfigError: The table cannot train, or the folder holds a half or an unfinished training
            (with `resume`: none, or of something else).
        CapacityError: The plan does not fit.
        BudgetExceededError: Sessions that broke off may have answered too many held-out rows.
        PSIError: The other side is gone, or sent what is not acceptable.
    """
    table, guest = job.table, job.table.role == "guest"
    _check_out(job)
    begun = go_on(table, job.brought, job.unfinished) if job.resume else None
    with line.opened(progress) as connection:
        talk = Talk(
            connection=connection,
            choice=job.choice,
            guest_listens=guest == line.listens,
            resume=job.resume,
            on_step=on_step or (lambda step: None),
        )
        common, unfinished = begun or begin(
            table,
            job.brought,
            job.unfinished,
            talk,
            charge=job.charge,
            max_peer_items=job.max_peer_items,
            progress=progress,
        )
        with closing(unfinished):
            half = train_half(table, common, unfinished, talk, progress)
            saved = _half_of(job, half)
            joint = _held_out(job, half, saved, unfinished, talk, progress)
            _write(job, saved, unfinished.answered)
            talk.hear_written()
            unfinished.remove()
    return KnownHalf.of(half, name=job.name, joint=joint, label=table.label, file=job.file)


def _check_out(job: VerticalJob) -> None:
    if not job.resume:
        check_finished(job.unfinished)
    if any((job.out / name).exists() for name in (HALF_FILE, ANSWERED_FILE)):
        if not job.resume:
            raise ConfigError(f"{job.out} holds a half of a model: give another folder")
        if not job.unfinished.exists():
            raise ConfigError(
                f"{job.out} holds a half, and so does the other company's folder: this training "
                f"is done; if a {job.unfinished.name} is left there, it can be deleted"
            )


def _held_out(
    job: VerticalJob,
    half: TrainedHalf,
    saved: Half,
    unfinished: Unfinished,
    talk: Talk,
    progress: Progress | None,
) -> Floats | None:
    """Score held-out rows; the guest gets what opens of them."""
    common = half.common
    if not common.tests:
        return None
    talk.enter("predict")
    frame = job.table.features.iloc[common.rows[: common.tests]].reset_index(drop=True)
    query = saved.query(frame, progress=progress)
    if isinstance(query, HostQuery):
        query.charge_with(unfinished.count)
    talk.hold(query)
    return query.scores if isinstance(query, GuestQuery) else None


def _write(job: VerticalJob, half: Half, answered: int) -> None:
    job.out.mkdir(parents=True, exist_ok=True)
    if job.resume:  # of a session that had an end which one company alone heard of
        for name in (HALF_FILE, ANSWERED_FILE):
            (job.out / name).unlink(missing_ok=True)
    if half.role == "host":  # before the half: one without its count answers nothing
        counted = Answered(job.out / ANSWERED_FILE, half.model, half.plan.predictions)
        counted.begin(answered)
    half.save(job.out / HALF_FILE)


def _half_of(job: VerticalJob, half: TrainedHalf) -> Half:
    """Return what is kept of a trained half."""
    own, common = half.plan.coefficients == "own", half.common
    return Half(
        role=job.table.role,
        plan=half.plan,
        model=half.side.model.hex(),
        answers=job.choice.opened,
        encoder=common.encoder.to_fields(),
        whitening=common.whitening.to_fields(),
        id_columns=job.table.id_columns,
        normalise=job.table.normalise,
        label=job.table.label,
        classes=common.classes,
        middle=common.scale.middle,
        unit=common.scale.unit,
        coefficients=tuple(half.side.opened.tolist()) if own else None,
        shares=None if own else tuple(half.side.shares.tolist()),
    )
