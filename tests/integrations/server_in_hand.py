"""Parties without an engine: each message is one call, so that a test can be any server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privfed.integrations import EmbeddedParty
from privfed.integrations.kept import digest_of_model
from privfed.integrations.messages import Assignment, Greet, PastRound, Travels
from privfed.secagg import Aggregator, Parameters
from tests.integrations.jobs import START, Arrays, keys_in

RUN = "run"


class Hand:
    """A server that does what a test says, and the parties' folders.

    Args:
        folder: Where keyrings are put.
        parties: How many.
        travels: What uploads hold.
        keys: Settings of the parameters.
    """

    def __init__(
        self, folder: Path, parties: int = 3, *, travels: Travels = "updates", **keys: Any
    ) -> None:
        self.folder, self.travels = folder, travels
        self.params: Parameters = keys_in(folder, arrays=START, parties=parties, **keys)
        self.places = list(range(parties))
        self.hellos: dict[int, bytes] = {}

    def party(self, place: int, run: str = RUN) -> EmbeddedParty:
        """Return a party, as a new process has it."""
        return EmbeddedParty(self.folder / str(place), run, travels=self.travels)

    def greet(
        self,
        place: int,
        start: bytes,
        past: Sequence[tuple[PastRound, bytes]] = (),
        *,
        first: int | None = None,
        run: str = RUN,
    ) -> bytes:
        """Return a party's hello; it is kept for the others."""
        ask = Greet(start, first, self.params.fingerprint, tuple(of for of, _ in past))
        with self.party(place, run) as party:
            hello = party.greet(ask, [total for _, total in past]).hello
        self.hellos[place] = hello
        return hello

    def greet_all(self, model: Mapping[str, NDArray[Any]] = START, run: str = RUN) -> None:
        """Greet all parties with one model to start from."""
        for place in self.places:
            self.greet(place, digest_of_model(model), run=run)

    def ask(
        self,
        place: int,
        purpose: Any,
        number: int = 0,
        *,
        model: Mapping[str, NDArray[Any]] | None = None,
        past: Sequence[tuple[PastRound, bytes]] = (),
        step: float = 0.0,
        trained: Arrays | None = None,
        run: str = RUN,
        hellos: Sequence[bytes] | None = None,
    ) -> tuple[Arrays, bytes]:
        """Return the model that a party works on, and its upload where it trains."""
        said = tuple(self.hellos.values()) if hellos is None else tuple(hellos)
        ask = Assignment(purpose, number, None, tuple(of for of, _ in past), said)
        with self.party(place, run) as party:
            got = party.receive(ask, model, [total for _, total in past])
            if purpose != "train":
                return got, b""
            after = trained or {name: each + np.float32(step) for name, each in got.items()}
            return got, party.upload(ask, after, None)

    def result(self, place: int, total: tuple[PastRound, bytes], run: str = RUN) -> bytes:
        """Return what a party signs of a round's total, which it is asked to open."""
        of, data = total
        with self.party(place, run) as party:
            ask = Assignment("open", of.round_id, of.cohort, (of,), ())
            party.receive(ask, None, [data])
            return party.result(ask)

    def joined(
        self, number: int, uploads: Sequence[bytes], places: Sequence[int]
    ) -> tuple[PastRound, bytes]:
        """Return what some parties sign of a round's total, in its place."""
        together = Aggregator(self.params, number)
        for upload in uploads:
            together.add(upload)
        total = PastRound(number), together.total()
        for place in places:
            together.add_result(self.result(place, total))
        return PastRound(number), together.result()

    def total(self, number: int, uploads: Sequence[bytes]) -> tuple[PastRound, bytes]:
        """Return a round's total, as an honest server makes it."""
        together = Aggregator(self.params, number)
        for upload in uploads:
            together.add(upload)
        return PastRound(number), together.total()

    def round(
        self,
        number: int,
        past: Sequence[tuple[PastRound, bytes]] = (),
        *,
        model: Mapping[str, NDArray[Any]] | None = None,
        run: str = RUN,
    ) -> tuple[PastRound, bytes]:
        """Run a round of all as an honest server does; each adds a step of its own."""
        uploads = [
            self.ask(place, "train", number, model=model, past=past, step=0.125 * place, run=run)[1]
            for place in self.places
        ]
        return self.total(number, uploads)
