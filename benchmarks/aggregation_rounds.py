"""One round of a scheme, ours or a peer's, with what each role spends on it."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.aggregation_peers import Update
from privfed import secagg
from privfed.secagg import wire
from privfed.secagg.parts import Parts

PHASES = ("prepare", "encrypt", "aggregate", "decrypt_prepare", "decrypt")
ROLES = {
    "client": ("prepare", "encrypt"),
    "server": ("aggregate",),
    "holder": ("decrypt_prepare", "decrypt"),
    "opener": ("open_prepare", "open"),
}
ONLINE = ("encrypt", "aggregate", "open", "decrypt")


@contextmanager
def quiet() -> Iterator[None]:
    """Keep TenSEAL's warnings, printed by C++ for every long vector, off the terminal."""
    with Path(os.devnull).open("w") as nowhere:
        kept = [os.dup(stream) for stream in (1, 2)]
        for stream in (1, 2):
            os.dup2(nowhere.fileno(), stream)
        try:
            yield
        finally:
            for stream, saved in zip((1, 2), kept, strict=True):
                os.dup2(saved, stream)
                os.close(saved)


def ticks() -> np.ndarray:
    """Return seconds of the wall's clock, and of the processor in all threads."""
    return np.array([time.perf_counter(), time.process_time()])


class Clock:
    """Seconds by phase of one round, on the wall's clock and of the processor."""

    def __init__(self) -> None:
        self.spent = {phase: np.zeros(2) for phase in (*PHASES, *ROLES["opener"])}

    @contextmanager
    def __call__(self, phase: str, share: int = 1) -> Iterator[None]:
        """Add the time inside to `phase`, divided by `share` parties."""
        start = ticks()
        yield
        self.spent[phase] += (ticks() - start) / share

    def figures(self) -> dict[str, float]:
        """Return the wall seconds of each phase and the processor seconds of each role."""
        wall, cpu = ({phase: float(each[i]) for phase, each in self.spent.items()} for i in (0, 1))
        return {
            **{f"{phase}_seconds": wall[phase] for phase in PHASES},
            **{
                f"{role}_cpu_seconds": sum(cpu[phase] for phase in phases)
                for role, phases in ROLES.items()
            },
            "wall_seconds": sum(wall[phase] for phase in ONLINE),
        }


@dataclass
class Outcome:
    """What one round of one scheme gave; sizes are bytes without and with contexts."""

    mean: Update
    upload: tuple[int, int]
    download: tuple[int, int]
    openers: int = 0
    opener_upload: int | None = None
    opener_download: int | None = None


class Ours:
    """One parameter set of privfed.secagg, round after round."""

    def __init__(self, job: secagg.Simulation, sent: list[Update], weights: list[int]) -> None:
        self._job, self._sent, self._weights, self._round = job, sent, weights, 0

    def run(self, clock: Clock) -> Outcome:
        """Run one round; offline work is timed apart."""
        self._round += 1
        clients = len(self._sent)
        self._job.prepare(self._round)
        result, traffic = self._job.average(self._sent, round_id=self._round, weights=self._weights)
        spent: dict[str, Any] = traffic.seconds  # pairs, since its clock is `ticks`
        clock.spent |= {
            "prepare": (spent["prepare"] + spent["announce"]) / clients,
            "encrypt": spent["encrypt"] / clients,
            "aggregate": spent["aggregate"],
        }
        mean = {name: mean.ravel() for name, mean in result.mean.items()}
        if self._job.params.download_mode != "opener":
            clock.spent |= {"decrypt_prepare": spent["expect"], "decrypt": spent["decrypt"]}
            upload, download = traffic.upload_bytes // clients, traffic.download_bytes // clients
            return Outcome(mean, (upload, upload), (download, download))
        clock.spent |= {
            "open_prepare": spent["expect"],
            "open": spent["decrypt"],
            "decrypt": spent["read"],
        }
        parts, openers = Parts(self._job.params), self._job.params.openers
        upload = sum(parts.message_bytes(part, wire.Kind.UPLOAD) for part in parts.all)
        signed = (traffic.upload_bytes - clients * upload) // openers
        return Outcome(
            mean,
            (upload, upload),
            (traffic.result_bytes, traffic.result_bytes),
            openers,
            upload + signed,
            traffic.total_bytes,
        )


class Peer:
    """One of the others, round after round."""

    def __init__(self, made: Any, sent: list[Update], weights: list[int]) -> None:
        self._peer, self._sent, self._weights = made, sent, weights

    def run(self, clock: Clock) -> Outcome:
        """Run one round; the others have no offline work."""
        with quiet():
            return self._run(clock)

    def _run(self, clock: Clock) -> Outcome:
        peer, clients = self._peer, len(self._sent)
        with clock("encrypt", clients):
            uploads = [
                peer.encrypt(update, weight)
                for update, weight in zip(self._sent, self._weights, strict=True)
            ]
        with clock("aggregate"):
            total = peer.aggregate(uploads, self._weights)
        with clock("decrypt"):
            mean = peer.decrypt(total)
        return Outcome(mean, peer.size_bytes(uploads[0]), peer.size_bytes(total))
