"""One company's whole job over a connection: train, score held-out rows, keep its half."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from privfed.vertical.answered import ANSWERED_FILE, Answered
from privfed.vertical.company import CompanyTable, Talk, TrainedHalf, train_half
from privfed.vertical.halves import HALF_FILE, Half
from privfed.vertical.outcome import KnownHalf
from privfed.vertical.query import GuestQuery
from privfed.vertical.results import UsedTable
from privfed.vertical.terms import TrainingStep, VerticalChoice
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
        charge: Counts what the other side asks.
        max_peer_items: The largest set the other side may bring.
    """

    table: CompanyTable
    name: str
    file: UsedTable
    choice: VerticalChoice
    out: Path
    charge: Callable[[int, int], None] | None = None
    max_peer_items: int | None = None


def do_job(
    job: VerticalJob,
    line: PartnerLine,
    *,
    progress: Progress | None = None,
    on_step: Callable[[TrainingStep], None] | None = None,
) -> KnownHalf:
    """Train, score held-out rows, and write the half; nothing is written before all is done.

    Returns:
        What this company knows.

    Raises:
        ConfigError: The table cannot train.
        CapacityError: The plan does not fit.
        PSIError: The other side is gone, or sent what is not acceptable.
    """
    guest = job.table.role == "guest"
    with line.opened(progress) as connection:
        talk = Talk(connection=connection, choice=job.choice, guest_listens=guest == line.listens)
        half = train_half(
            job.table,
            talk,
            charge=job.charge,
            max_peer_items=job.max_peer_items,
            progress=progress,
            on_step=on_step,
        )
        saved = _half_of(job, half)
        if on_step is not None:
            on_step("predict")
        joint = _held_out(job, half, saved, talk, progress)
    job.out.mkdir(parents=True, exist_ok=True)
    if not guest:  # before the half: one without its count answers nothing
        counted = Answered(job.out / ANSWERED_FILE, saved.model, saved.plan.predictions)
        counted.begin(half.tests)
    saved.save(job.out / HALF_FILE)
    return KnownHalf.of(half, name=job.name, joint=joint, label=job.table.label, file=job.file)


def _held_out(
    job: VerticalJob, half: TrainedHalf, saved: Half, talk: Talk, progress: Progress | None
) -> Floats | None:
    """Score held-out rows; the guest gets what opens of them."""
    if not half.tests:
        return None
    frame = job.table.features.iloc[half.rows[: half.tests]].reset_index(drop=True)
    query = saved.query(frame, progress=progress)
    talk.hold("predict", query)
    return query.scores if isinstance(query, GuestQuery) else None


def _half_of(job: VerticalJob, half: TrainedHalf) -> Half:
    """Return what is kept of a trained half."""
    own = half.plan.coefficients == "own"
    return Half(
        role=job.table.role,
        plan=half.plan,
        model=half.side.model.hex(),
        answers=job.choice.opened,
        encoder=half.encoder.to_fields(),
        whitening=half.whitening.to_fields(),
        id_columns=job.table.id_columns,
        normalise=job.table.normalise,
        label=job.table.label,
        classes=half.classes,
        middle=half.scale.middle,
        unit=half.scale.unit,
        coefficients=tuple(half.side.opened.tolist()) if own else None,
        shares=None if own else tuple(half.side.shares.tolist()),
    )
