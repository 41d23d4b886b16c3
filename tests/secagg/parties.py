"""Parties for the tests: small updates, one key, one roster."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import msgspec
import numpy as np

from privfed import secagg
from privfed.secagg.state import State
from psi.storage import json_bytes

Arrays = Mapping[str, Any]
Shapes = Mapping[str, tuple[int, ...]]

DRESS_SHAPES: dict[str, tuple[int, ...]] = {
    "0.weight": (128, 12),
    "0.bias": (128,),
    "1.weight": (32, 128),
    "1.bias": (32,),
    "2.weight": (2, 32),
    "2.bias": (2,),
}


_made: list[secagg.Identity] = []


def identities(count: int) -> tuple[secagg.Identity, ...]:
    """The same identities for every test of a run: making them is no part of a test."""
    while len(_made) < count:
        _made.append(secagg.generate_identity())
    return tuple(_made[:count])


def state_text(record: dict[str, Any]) -> str:
    """A state as a party would have written it, whatever was changed in it."""
    state = msgspec.convert(record, State)
    state.sha256 = state.digest
    return json_bytes(state).decode()


def updates(
    count: int, shapes: Shapes, clip_range: float = 0.05, seed: int = 0
) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    return [
        {
            name: rng.uniform(-clip_range, clip_range, shape).astype(np.float32)
            for name, shape in shapes.items()
        }
        for _ in range(count)
    ]


def against(masks: bool) -> str:
    """Whom the parameters are to hold against, for a job with masks or without."""
    return "lying-server+1" if masks else "honest-server"


def parameters(clients: int = 3, shapes: Shapes | None = None, **changes: Any) -> secagg.Parameters:
    shapes = shapes or {"w": (7, 5), "b": (5,)}
    settings: dict[str, Any] = {
        "job": "test",
        "layout": secagg.Layout(tuple((name, tuple(shape)) for name, shape in shapes.items())),
        "clip_range": 0.05,
        "bits": 16,
        "max_clients": clients,
        "max_weight": 1024,
        "scheme": "packed",
        "roster": tuple(party.public for party in identities(clients)),
        "adversary": "honest-server",
    }
    return secagg.Parameters(**(settings | changes))


class Round(secagg.Simulation):
    """The parties of one parameter set, step by step, so that a test can come between."""

    @classmethod
    def of(cls, params: secagg.Parameters) -> Self:
        known = {party.public: party for party in identities(len(params.roster))}
        return cls(params, [known[public] for public in params.roster])

    def uploads(
        self,
        sent: Sequence[Arrays],
        weights: Sequence[int | None] | None = None,
        round_id: int = 1,
        **more: Any,
    ) -> list[bytes]:
        weights = weights or [None] * len(sent)
        return [
            encryptor.encrypt(update, weight=weight, round_id=round_id, **more)
            for encryptor, update, weight in zip(self.encryptors, sent, weights, strict=False)
        ]

    def total(self, uploads: Sequence[bytes], round_id: int = 1) -> bytes:
        aggregator = secagg.Aggregator(self.params, round_id)
        for upload in uploads:
            aggregator.add(upload)
        return aggregator.total()

    def run(
        self,
        sent: Sequence[Arrays],
        weights: Sequence[int | None] | None = None,
        round_id: int = 1,
        **more: Any,
    ) -> secagg.MeanResult:
        uploads = self.uploads(sent, weights, round_id, **more)
        return self.decryptor.decrypt(self.total(uploads, round_id), round_id)


def expected_mean(
    params: secagg.Parameters, sent: Sequence[Arrays], weights: Sequence[int] | None = None
) -> dict[str, np.ndarray]:
    """The mean of the quantised updates, by numpy's integers and the definition of the grid.

    Rounding may carry it past the range, at whose nearest float32 it ends.
    """
    top = np.float32(params.clip_range)
    limit = 2 ** (params.bits - 1) - 1
    step = params.clip_range / limit
    whole = params.max_weight or 1
    shares = [1.0] * len(sent) if weights is None else [w / whole for w in weights]
    mean = {}
    for name in sent[0]:
        integers = sum(
            np.clip(np.rint(update[name].astype(float) * (share / step)), -limit, limit).astype(
                np.int64
            )
            for update, share in zip(sent, shares, strict=True)
        )
        factor = step / len(sent)
        if weights is not None:
            factor = step * (whole / sum(weights))
        mean[name] = np.clip((integers * factor).astype(np.float32), -top, top)
    return mean
