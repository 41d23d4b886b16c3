"""A job whose first party keeps its state in a folder, for the suites of `Party`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from privfed import secagg
from tests.secagg.parties import Arrays, identities, parameters, updates

SHAPES: dict[str, tuple[int, ...]] = {"w": (7, 5), "b": (5,)}


class Job:
    """The parties of one job; the first one keeps its state in a folder."""

    def __init__(self, folder: Path, count: int = 3, **changes: Any) -> None:
        self.params = parameters(count, SHAPES, **{"max_weight": None} | changes)
        self.key, self.folder = secagg.generate_keys(self.params), folder
        self.sent = updates(count, SHAPES)
        self.parties = [self.fresh(), *(self.party(place) for place in range(1, count))]
        if self.params.masks:
            self.enter_epoch()

    def enter_epoch(self) -> None:
        """Exchange mask keys between all parties."""
        messages = [party.start_epoch() for party in self.parties]
        for party in self.parties:
            party.enter_epoch(messages)

    def party(self, place: int, state: Path | Literal["memory"] = "memory") -> secagg.Party:
        return secagg.Party(self.params, self.key, identities(place + 1)[place], state)

    def fresh(self) -> secagg.Party:
        """The first party as another process makes it, once this one's is closed."""
        return self.party(0, self.folder)

    def uploads(self, **more: Any) -> list[bytes]:
        pairs = zip(self.parties, self.sent, strict=True)
        return [party.encrypt(update, **more) for party, update in pairs]

    def total(
        self, uploads: Sequence[bytes], round_id: int, cohort: Sequence[int] | None = None
    ) -> bytes:
        server = secagg.Aggregator(
            secagg.Parameters.from_bytes(self.params.to_bytes()), round_id, cohort
        )
        for upload in uploads:
            server.add(upload)
        return server.total()

    def round(self, round_id: int) -> tuple[bytes, list[secagg.MeanResult]]:
        total = self.total(self.uploads(), round_id)
        return total, [party.open(total) for party in self.parties]

    @property
    def record(self) -> dict[str, Any]:
        return cast(dict[str, Any], json.loads((self.folder / "rounds.json").read_text()))


def mean_of(result: secagg.MeanResult | secagg.IntegerResult) -> dict[str, np.ndarray]:
    assert isinstance(result, secagg.MeanResult)
    return result.mean


def arrays_of(result: secagg.MeanResult | secagg.IntegerResult) -> dict[str, np.ndarray]:
    return result.mean if isinstance(result, secagg.MeanResult) else result.sums


def same(left: Arrays, right: Arrays) -> bool:
    return left.keys() == right.keys() and all(
        np.array_equal(left[name], right[name]) for name in right
    )
