"""How updates become one mean: in the clear, or through `privfed.secagg` as bytes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from privfed import secagg
from privfed.training.model import Arrays


@dataclass(frozen=True)
class Exchange:
    """What one round's exchange cost.

    `upload_bytes` and `download_bytes` are of all parties together. `seconds` is by phase: noise,
    encrypt (work made ahead included), aggregate, decrypt, all parties one after the other.
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

    def average(self, round_id: int, updates: Sequence[Arrays]) -> Averaged:
        """Average one update of every party, weighted as agreed when this was made."""


class FloatAveraging:
    """Plain federated averaging in float32, as McMahan et al. write it (arXiv 1602.05629).

    Args:
        weights: one a party, such as its number of training rows.
    """

    def __init__(self, weights: Sequence[float]) -> None:
        self._shares = [np.float32(weight / sum(weights)) for weight in weights]

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

    The server's side is made anew each round from the bytes of the public parameters, so there is
    nothing else that it could hold. Each party decrypts the total for itself.

    Args:
        template: arrays in the shape of an update.
        weights: one whole number a party; None averages evenly and sends no weights.
        max_weight: public bound on a weight.
        clip_range: public bound on the magnitude of an update's values.
        scheme: "packed", or "reference" for the same integers in the clear; with
            `honest_server` also "slots" and "ckks".
        bits: precision of a value.
        out_of_range: "refuse" or "clip" values past the range.
        job: name of the job.
        honest_server: whether the parties trust the server to follow the protocol; see
            `privfed.secagg.Parameters`.
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
        honest_server: bool = False,
    ) -> None:
        identities = [secagg.generate_identity() for _ in range(parties)]
        self.parameters = secagg.Parameters(
            job=job,
            layout=secagg.Layout.of(template),
            clip_range=clip_range,
            bits=bits,
            max_clients=parties,
            min_clients=parties,
            max_weight=None if weights is None else max_weight,
            scheme=scheme,
            roster=tuple(identity.public for identity in identities),
            out_of_range=out_of_range,
            honest_server=honest_server,
        )
        key = secagg.generate_keys(self.parameters)
        self._weights = weights
        self._encryptors = [
            secagg.Encryptor(self.parameters, key, identity) for identity in identities
        ]
        self._decryptors = [secagg.Decryptor(self.parameters, key) for _ in identities]
        self._public = self.parameters.to_bytes()
        self._transcript = b""

    def average(self, round_id: int, updates: Sequence[Arrays]) -> Averaged:
        """Steps 2 to 4 of the paper: encrypt and upload, aggregate, return and decrypt."""
        clock = Clock()
        uploads = [self._encrypt(i, round_id, update) for i, update in enumerate(updates)]
        clock.lap("encrypt")
        total = serve_round(self._public, round_id, uploads)
        clock.lap("aggregate")
        results = [decryptor.decrypt(total, round_id=round_id) for decryptor in self._decryptors]
        clock.lap("decrypt")
        self._transcript = results[0].transcript
        return Averaged(
            mean=results[0].mean,
            upload_bytes=sum(map(len, uploads)),
            download_bytes=len(total) * len(updates),
            seconds=clock.seconds,
        )

    def _encrypt(self, party: int, round_id: int, update: Arrays) -> bytes:
        return self._encryptors[party].encrypt(
            update,
            weight=None if self._weights is None else self._weights[party],
            round_id=round_id,
            previous=self._transcript,
        )


def serve_round(
    public_parameters: bytes,
    round_id: int,
    uploads: Sequence[bytes],
    cohort: Sequence[int] | None = None,
) -> bytes:
    """Be the server for one round: everything that it is given are these bytes."""
    parameters = secagg.Parameters.from_bytes(public_parameters)
    aggregator = secagg.Aggregator(parameters, round_id=round_id, cohort=cohort)
    for upload in uploads:
        aggregator.add(upload)
    return aggregator.total()


class Clock:
    """Seconds by phase."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, phase: str) -> None:
        """Give the time since the last call to a phase."""
        now = time.perf_counter()
        self.seconds[phase] = now - self._last
        self._last = now


def subtract(after: Arrays, before: Arrays) -> Arrays:
    """Give the update: local minus global."""
    return {name: after[name] - before[name] for name in after}


def add(before: Arrays, mean: Arrays) -> Arrays:
    """Give the new global model."""
    return {name: before[name] + mean[name].astype(np.float32) for name in before}
