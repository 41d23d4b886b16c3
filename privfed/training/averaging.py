"""How updates become one mean: in the clear, or through `privfed.secagg` as bytes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from privfed import secagg
from privfed.secagg.adversary import HONEST_SERVER
from privfed.secagg.simulation import AHEAD
from privfed.training.model import Arrays


@dataclass(frozen=True)
class Exchange:
    """What one round's exchange cost.

    `upload_bytes` and `download_bytes` are of all parties together. `seconds` is by phase: prepare
    (what `prepare` made ahead), noise, encrypt (with what was not made ahead), aggregate, decrypt.
    It adds up all parties; one of them decrypts for all.
    """

    upload_bytes: int
    download_bytes: int
    seconds: dict[str, float]


@dataclass(frozen=True)
class Averaged(Exchange):
    """One round's mean and what it cost."""

    mean: Arrays


class Averaging(Protocol):
    """Averages the parties' updates of one round."""

    def prepare(self, round_id: int) -> None:
        """Do the work that needs no update yet; called before parties train, or not at all."""

    def average(self, round_id: int, updates: Sequence[Arrays]) -> Averaged:
        """Average one update of every party, weighted as agreed when this was made."""


class FloatAveraging:
    """Plain federated averaging in float32, as McMahan et al. write it (arXiv 1602.05629).

    Args:
        weights: One per party, such as its number of training rows.
    """

    def __init__(self, weights: Sequence[float]) -> None:
        self._shares = [np.float32(weight / sum(weights)) for weight in weights]

    def prepare(self, round_id: int) -> None:
        """Do nothing: there is nothing to make ahead."""

    def average(self, round_id: int, updates: Sequence[Arrays]) -> Averaged:
        """Add weight · update over the parties."""
        start = time.perf_counter()
        mean = {
            name: np.asarray(
                sum(share * u[name] for share, u in zip(self._shares, updates, strict=True)),
                dtype=np.float32,
            )
            for name in updates[0]
        }
        size = sum(array.nbytes for array in mean.values()) * len(updates)
        return Averaged(size, size, {"aggregate": time.perf_counter() - start}, mean)


class SecureAveraging:
    """Every party and the server of `privfed.secagg`, exchanging nothing but bytes.

    The server is made again for each round from the bytes of the parameters: it can hold nothing
    else. All parties would decrypt a total to the same mean, so one of them does.

    Args:
        template: Arrays in the shape of an update.
        weights: One whole number per party; None averages evenly and sends no weights.
        max_weight: Public bound on a weight.
        clip_range: Public bound on the magnitude of an update's values.
        scheme: "packed", "slots", or "reference" for the same integers in the clear; for an
            honest server also "ckks".
        bits: Precision of a value.
        out_of_range: "refuse" or "clip" values past the range.
        job: Name of the job.
        adversary: Against whom it is to hold, as `privfed.secagg.Parameters` has it; None: what
            it has for so many parties, or an honest server in the clear.
    """

    def __init__(
        self,
        template: Arrays,
        parties: int,
        *,
        weights: Sequence[int] | None,
        max_weight: int | None,
        clip_range: float,
        scheme: str,
        bits: int = 16,
        out_of_range: str = "refuse",
        job: str = "privfed benchmark",
        adversary: str | None = None,
    ) -> None:
        if adversary is None and scheme == "reference":
            adversary = HONEST_SERVER
        self._simulation = secagg.simulate(
            parties,
            lambda roster: secagg.Parameters(
                job=job,
                layout=secagg.Layout.of(template),
                clip_range=clip_range,
                bits=bits,
                max_clients=parties,
                min_clients=parties,
                max_weight=None if weights is None else max_weight,
                scheme=scheme,
                roster=roster,
                out_of_range=out_of_range,
                adversary=adversary,
            ),
        )
        self.parameters = self._simulation.params
        self._simulation.work_ahead()
        self._weights = weights

    def prepare(self, round_id: int) -> None:
        """Make ahead the encryptions of zero and masks of all parties."""
        self._simulation.prepare(round_id, announces=False)  # one machine does all the work

    def average(self, round_id: int, updates: Sequence[Arrays]) -> Averaged:
        """Do steps 2 to 4 of the paper: encrypt and upload, aggregate, return and decrypt."""
        result, traffic = self._simulation.average(
            updates, round_id=round_id, weights=self._weights
        )
        return Averaged(**cost_of(traffic), mean=result.mean)


def cost_of(traffic: secagg.RoundCost) -> dict[str, Any]:
    """Return the fields of an `Exchange`; all that was made ahead is one phase."""
    seconds = dict(traffic.seconds)
    ahead = [seconds.pop(phase) for phase in AHEAD if phase in seconds]
    if ahead:
        seconds = {"prepare": sum(ahead), **seconds}
    seconds["decrypt"] += seconds.pop("read", 0.0)
    return {
        "upload_bytes": traffic.upload_bytes,
        "download_bytes": traffic.download_bytes,
        "seconds": seconds,
    }


def subtract(after: Arrays, before: Arrays) -> Arrays:
    """Return the update: local minus global."""
    return {name: after[name] - before[name] for name in after}


def add(before: Arrays, mean: Arrays) -> Arrays:
    """Return the new global model."""
    return {name: before[name] + mean[name].astype(np.float32) for name in before}
