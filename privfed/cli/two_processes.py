"""Guest and host of one vertical job on one machine: two processes that speak over a connection."""

from __future__ import annotations

import contextlib
import multiprocessing
import queue
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from privfed.errors import ConfigError, PrivFedError
from privfed.vertical.job import PartnerLine
from psi.cli.shared import progress_bar
from psi.errors import PSIError, TransportError
from psi.network import Progress, TLSIdentity, create_identity, load_certificate

_WAIT_SECONDS = 60.0
_LOOK_SECONDS = 0.2

Job = TypeVar("Job")
Known = TypeVar("Known")


def in_two_processes(
    work: Callable[[Job, PartnerLine, Progress], Known],
    jobs: Sequence[Job],
    names: tuple[str, str],
) -> tuple[Known, Known]:
    """Do the guest's and the host's job, each in a process of its own.

    Args:
        work: What each does with its job; a function of a module, as another process calls it.
        jobs: The guest's and the host's.
        names: What both are called.

    Returns:
        What each of them knows.

    Raises:
        ConfigError: A side cannot go on; names it.
        PSIError: The connection broke at both.
    """
    context = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory() as folder,
        progress_bar() as progress,
        context.Manager() as manager,
        ProcessPoolExecutor(2, mp_context=context) as pool,
    ):
        for name in names:
            create_identity(Path(folder, name), unlocked=True)
        told, ports = manager.Queue(), manager.Queue()
        ends = [_End(Path(folder), names, guest, ports, told) for guest in (True, False)]
        played = [pool.submit(_play, work, job, end) for job, end in zip(jobs, ends, strict=True)]
        while not all(one.done() for one in played):
            with contextlib.suppress(queue.Empty):
                progress(*told.get(timeout=_LOOK_SECONDS))
            if any(one.done() and one.exception() is not None for one in played):
                break
        return _both(played, names)


@dataclass(frozen=True)
class _End:
    """What a process is given to find the other one, and to tell how far it is."""

    folder: Path
    names: tuple[str, str]
    guest: bool
    ports: Any
    told: Any


def _play(work: Callable[[Job, PartnerLine, Progress], Known], job: Job, end: _End) -> Known:
    """Be one of both, in a process of its own: the host listens on a free port."""
    guest = end.guest
    own, other = end.names if guest else end.names[::-1]
    line = PartnerLine(
        identity=TLSIdentity.load(end.folder / own, None),
        peer_certificate=load_certificate(end.folder / f"{other}.crt"),
        listens=not guest,
        address=f"127.0.0.1:{end.ports.get(timeout=_WAIT_SECONDS) if guest else 0}",
        wait_seconds=_WAIT_SECONDS,
        on_listening=end.ports.put,
    )

    def progress(stage: str, done: int, total: int) -> None:
        if guest:
            end.told.put((stage, done, total))

    return work(job, line, progress)


def _both(played: Sequence[Future[Known]], names: Sequence[str]) -> tuple[Known, Known]:
    """Return what both know; where one failed, say so of the one that began it.

    Raises:
        ConfigError: A side cannot go on; names it.
        PSIError: The connection broke at both.
    """
    errors = [one.exception() for one in played]
    for name, error in zip(names, errors, strict=True):
        if error is not None and not isinstance(error, TransportError):
            if isinstance(error, PrivFedError | PSIError):
                raise ConfigError(f"{name}: {error}") from None
            raise error
    guest, host = (one.result() for one in played)
    return guest, host
