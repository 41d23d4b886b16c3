"""One company's whole job over a connection: train, score held-out rows, keep its half.

A job that breaks off leaves `Unfinished`, and goes on from there (`VerticalJob.resume`). It is done
when each company heard that the other's half is written, too: whoever no longer has the file knows
that both have a half of one model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from privfed.errors import ConfigError
from privfed.vertical.answered import ANSWERED_FILE, Answered
from privfed.vertical.halves import HALF_FILE, Half
from privfed.vertical.linear.terms import LinearChoice
from privfed.vertical.linear.training import LinearTraining
from privfed.vertical.outcome import KnownHalf
from privfed.vertical.queries import AnsweringQuery, AskingQuery
from privfed.vertical.talk import Talk
from privfed.vertical.terms import TrainingStep
from privfed.vertical.training import Training, VerticalJob
from privfed.vertical.trees.terms import OwnTrees, TreesChoice
from privfed.vertical.trees.training import TreesTraining
from privfed.vertical.unfinished import check_finished
from psi.network import Progress, TLSIdentity, connect, listen

if TYPE_CHECKING:
    from psi.network import Connection

__all__ = ["PartnerLine", "do_job"]

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
    guest = job.table.role == "guest"
    _check_out(job)
    training = _training_of(job)
    if job.resume:
        training.go_on()
    with line.opened(progress) as connection:
        talk = Talk(
            connection=connection,
            terms=partial(job.choice.terms, guest_listens=guest == line.listens, resume=job.resume),
            on_step=on_step or (lambda step: None),
        )
        if not job.resume:
            training.begin(talk, progress)
        with closing(training.unfinished) as unfinished:
            training.train(talk, progress)
            half = training.half()
            joint = _held_out(training, half, talk, progress)
            _write(job, half, unfinished.answered)
            talk.hear_written()
            unfinished.remove()
    return training.known(joint, talk.costs)


def _training_of(job: VerticalJob) -> Training:
    choice, own = job.choice, job.own
    if isinstance(choice, LinearChoice) and own is None:
        return LinearTraining(job, choice)
    if isinstance(choice, TreesChoice) and isinstance(own, OwnTrees | None):
        return TreesTraining(job, choice, own or OwnTrees())
    raise ConfigError("what a company chose for itself is of another model")


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
    training: Training, saved: Half, talk: Talk, progress: Progress | None
) -> Floats | None:
    """Score held-out rows; the guest gets what opens of them."""
    if not training.tests:
        return None
    talk.enter("predict")
    rows = training.rows[: training.tests]
    frame = training.job.table.features.iloc[rows].reset_index(drop=True)
    query = saved.query(frame, progress=progress)
    if isinstance(query, AnsweringQuery):
        query.charge_with(training.unfinished.count)
    talk.hold(query)
    return query.scores if isinstance(query, AskingQuery) else None


def _write(job: VerticalJob, half: Half, answered: int) -> None:
    job.out.mkdir(parents=True, exist_ok=True)
    if job.resume:  # of a session that had an end which one company alone heard of
        for name in (HALF_FILE, ANSWERED_FILE):
            (job.out / name).unlink(missing_ok=True)
    if half.role == "host":  # before the half: one without its count answers nothing
        counted = Answered(job.out / ANSWERED_FILE, half.model, half.predictions)
        counted.begin(answered)
    half.save(job.out / HALF_FILE)
