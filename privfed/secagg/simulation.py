"""All parties and the server of a job in one process, exchanging nothing but bytes."""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from privfed.errors import ConfigError
from privfed.keys import Identity, PublicIdentity, SecretKey, generate_identity
from privfed.secagg.aggregator import Aggregator
from privfed.secagg.ahead import AHEAD_BYTES, Ahead
from privfed.secagg.checks import check_identity, check_params
from privfed.secagg.decryptor import Decryptor
from privfed.secagg.encryptor import Encryptor
from privfed.secagg.parameters import Parameters
from privfed.secagg.participants import MAX_ROSTER
from privfed.secagg.parts import Parts
from privfed.secagg.results import IntegerResult, MeanResult
from privfed.secagg.rounds import is_whole

AHEAD = ("prepare", "announce", "expect")
"""Phases of a round that need no update, in their order."""

Updates = Sequence[Mapping[str, Any]] | Mapping[int, Mapping[str, Any]]
"""One update per party, in the roster's order; or those of some, by roster place."""

Opened = TypeVar("Opened", MeanResult, IntegerResult)


@dataclass(frozen=True)
class RoundCost:
    """What one simulated round cost.

    Attributes:
        upload_bytes: Bytes that all parties together sent.
        download_bytes: Bytes that all parties together received: each the total; or, where some
            open for all, those the total and the others the result.
        seconds: By phase, of all parties one after the other. For rounds that were prepared:
            "prepare" (zeros and masks), "announce" (their seeds, signed) and "expect" (the part of
            opening that needs seeds alone). Then "encrypt", "aggregate" and "decrypt": one party
            opens the total. Where some open for all, "read": one of the others reads the result.
        total_bytes: Bytes of the total.
        result_bytes: Bytes of the result, where some parties open for all; else 0.
    """

    upload_bytes: int
    download_bytes: int
    seconds: dict[str, float] = field(default_factory=dict)
    total_bytes: int = 0
    result_bytes: int = 0


class Simulation:
    """M parties that share one key, and a server that has the public parameters alone.

    The server is made again for each round, from the bytes of the public parameters: it can hold
    nothing else. All parties would open the same total to the same mean, so one of them does; and
    where some open for all, one of the others reads what these sign. Everything is kept in memory:
    for real parties there is `Party`.

    Args:
        params: What all parties agreed on.
        identities: Those of the roster, in its order.
        key: The parties' shared key; None: a fresh one.
        clock: Gives the seconds that `RoundCost` tells.

    Attributes:
        params: What all parties agreed on.
        key: The parties' shared key.
        encryptors: One per party, in the roster's order.
        decryptor: That of the one party that opens totals.
        epoch_bytes: Bytes of the messages by which all parties agree on mask keys, once a job.

    Raises:
        ConfigError: The identities are not those of the roster.
    """

    def __init__(
        self,
        params: Parameters,
        identities: Sequence[Identity],
        key: SecretKey | None = None,
        *,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        check_params(params)
        parties = tuple(map(check_identity, _several(identities, "the identities")))
        if tuple(identity.public for identity in parties) != params.roster:
            raise ConfigError("the identities are not those of the roster, in its order")
        self.params = params
        self.key = SecretKey.generate(params.fingerprint) if key is None else key
        self.encryptors = tuple(Encryptor(params, self.key, each, "memory") for each in parties)
        self.decryptor = Decryptor(params, self.key, "memory")
        self._identities = parties
        self._reader: Decryptor | None = None
        if params.download_mode == "opener":
            self._reader = Decryptor(params, self.key, "memory")
        self.epoch_bytes = 0
        if params.masks:
            self._enter_epoch()
        self._public = Parameters.from_bytes(params.to_bytes())
        self._clock = clock
        self._transcript, self._ahead = b"", dict[str, float]()
        self._elsewhere: Ahead | None = None
        self._shared: Parts | None = None

    def work_ahead(self, most_bytes: int = AHEAD_BYTES) -> None:
        """Spend less time than parties would: what all derive is derived once a round.

        And another process makes their encryptions of zero, once a round was prepared.

        Args:
            most_bytes: Most memory for those of two rounds; 0: there is no process.
        """
        self._shared = Parts(self.params)
        self._elsewhere = self.encryptors[0].makes_ahead(most_bytes, len(self.encryptors))
        for each in self.encryptors:
            each.share(self._shared, self._elsewhere)

    def _enter_epoch(self) -> None:
        """Exchange mask keys, as parties do before their first round."""
        messages = [each.start_epoch(0) for each in self.encryptors]
        self.epoch_bytes = sum(map(len, messages))
        for place, each in enumerate(self.encryptors):
            group = self.params.group_of(place) or range(len(messages))
            each.enter_epoch([messages[other] for other in group])

    def prepare(
        self, round_id: int, cohort: Sequence[int] | None = None, *, announces: bool = True
    ) -> None:
        """Make ahead what a round needs at every party of it: zeros, masks and announcements.

        Args:
            round_id: The round.
            cohort: Roster places of its parties; None: all.
            announces: Whether parties announce their seeds: where totals carry them that is less to
                do once the total is there, and more in all.

        Raises:
            ConfigError: The round or the cohort is not valid.
            ReplayError: The round was run already.
        """
        places = range(len(self.encryptors)) if cohort is None else self._among(cohort)
        cohort = places if self.params.names_cohorts else None
        with self._timed(self._ahead, "prepare"):
            if self._shared is not None:
                self._shared.prepare(self.key, round_id, places)
            for place in places:
                self.encryptors[place].prepare(1, round_id, cohort, self._previous)
            if self._elsewhere is not None:
                self._elsewhere.start()
        if not announces:
            return
        with self._timed(self._ahead, "announce"):
            announcing = places if self.params.totals == "seeds" else ()  # nothing to say elsewhere
            announced = [
                self.encryptors[place].announce(round_id, cohort, self._previous)
                for place in announcing
            ]
        with self._timed(self._ahead, "expect"):
            self.decryptor.prepare(announced, round_id, cohort)

    def average(
        self, updates: Updates, *, round_id: int, weights: Sequence[int] | None = None
    ) -> tuple[MeanResult, RoundCost]:
        """Run a round: encrypt, upload, aggregate, and decrypt the total once.

        Args:
            updates: One per party; by roster place where only some take part.
            round_id: The round; its number is higher than the last one's.
            weights: One per party of the roster, where the parameters carry weights.

        Returns:
            The mean with what is said of it, and what the round cost.

        Raises:
            ConfigError: An update or weight does not fit the parameters.
            CapacityError: A value is past the clip range, and the parameters say refuse.
            QuorumError: Too few parties take part.
            ReplayError: The round was run already.
        """
        if weights is not None and len(_several(weights, "weights")) != len(self.encryptors):
            raise ConfigError(f"{len(weights)} weights for {len(self.encryptors)} parties")

        def upload(place: int, update: Any, cohort: Sequence[int] | None) -> bytes:
            return self.encryptors[place].encrypt(
                update,
                weight=None if weights is None else weights[place],
                round_id=round_id,
                previous=self._previous,
                cohort=cohort,
                failed=self.decryptor.failed,
            )

        return self._round(updates, round_id, upload, Decryptor.decrypt)

    def add_integers(self, updates: Updates, *, round_id: int) -> tuple[IntegerResult, RoundCost]:
        """Run a round of integer updates, which are summed as they are.

        Arguments and errors are those of `average`.

        Returns:
            The sums with what is said of them, and what the round cost.
        """

        def upload(place: int, update: Any, cohort: Sequence[int] | None) -> bytes:
            return self.encryptors[place].encrypt_integers(
                update,
                round_id=round_id,
                previous=self._previous,
                cohort=cohort,
                failed=self.decryptor.failed,
            )

        return self._round(updates, round_id, upload, Decryptor.decrypt_sums)

    def _round(
        self,
        updates: Updates,
        round_id: int,
        upload: Callable[[int, Any, Sequence[int] | None], bytes],
        decrypt: Callable[[Decryptor, bytes, int, Sequence[int] | None], Opened],
    ) -> tuple[Opened, RoundCost]:
        if isinstance(updates, Mapping):
            present = dict(updates)
        else:
            present = dict(enumerate(_several(updates, "the updates, one a party,")))
        places = self._among(present)
        cohort = places if self.params.names_cohorts else None
        seconds, self._ahead = self._ahead, {}
        with self._timed(seconds, "encrypt"):
            uploads = [upload(place, present[place], cohort) for place in places]
        with self._timed(seconds, "aggregate"):
            server = serve(self._public, round_id, uploads, cohort)
            total = server.total()
        with self._timed(seconds, "decrypt"):
            opened = decrypt(self.decryptor, total, round_id, cohort)
        self._transcript = opened.transcript
        sent, received, read = sum(map(len, uploads)), len(total) * len(present), 0
        if self._reader is not None:
            openers = self.params.openers
            results = self._passed_on(server, seconds)
            with self._timed(seconds, "aggregate"):
                for each in results:
                    server.add_result(each)
                result = server.result()
            with self._timed(seconds, "read"):
                opened = decrypt(self._reader, result, round_id, cohort)
            sent, read = sent + sum(map(len, results)), len(result)
            received = len(total) * openers + read * (len(present) - openers)
        return opened, RoundCost(sent, received, seconds, len(total), read)

    def _passed_on(self, server: Aggregator, seconds: dict[str, float]) -> list[bytes]:
        """Return what each opener signs: all would open the same, so one did, and all sign."""
        asked = set(server.openers[: self.params.openers])
        signing = [each for each in self._identities if each.public.id in asked]
        with self._timed(seconds, "decrypt"):
            first = self.decryptor.result(signing[0])
        return [first, *(self.decryptor.result(each) for each in signing[1:])]

    @property
    def _previous(self) -> bytes:
        return self._transcript if self.params.assumed.lies else b""

    def _among(self, places: Collection[int]) -> list[int]:
        everyone = range(len(self.encryptors))
        if (
            not isinstance(places, Collection)
            or isinstance(places, str | bytes | bytearray)
            or not all(is_whole(each) and each in everyone for each in places)
        ):
            raise ConfigError(f"name parties by their places on the roster, 0 to {everyone[-1]}")
        return sorted({int(each) for each in places})

    @contextmanager
    def _timed(self, seconds: dict[str, float], phase: str) -> Iterator[None]:
        start = self._clock()
        yield
        seconds[phase] = seconds.get(phase, 0.0) + self._clock() - start


def simulate(
    parties: int,
    parameters: Callable[[tuple[PublicIdentity, ...]], Parameters],
    *,
    clock: Callable[[], float] = time.perf_counter,
) -> Simulation:
    """Return a job of fresh parties in one process.

    Args:
        parties: How many.
        parameters: Makes the parameters from their roster.
        clock: Gives the seconds that `RoundCost` tells.

    Raises:
        ConfigError: `parameters` returns no parameters, or not for this roster.
    """
    if not is_whole(parties) or not 0 < parties <= MAX_ROSTER:
        raise ConfigError(f"parties must be a whole number from 1 to {MAX_ROSTER}")
    if not callable(parameters):
        raise ConfigError("parameters is a function that makes Parameters from a roster")
    identities = [generate_identity() for _ in range(parties)]
    params = parameters(tuple(each.public for each in identities))
    return Simulation(params, identities, clock=clock)


def serve(
    params: Parameters,
    round_id: int,
    uploads: Sequence[bytes],
    cohort: Sequence[int] | None = None,
) -> Aggregator:
    """Be the server for one round: it is given public parameters and bytes."""
    aggregator = Aggregator(params, round_id, cohort)
    for upload in uploads:
        aggregator.add(upload)
    return aggregator


def _several(values: Any, called: str) -> Sequence[Any]:
    if isinstance(values, Sequence) and not isinstance(values, str | bytes | bytearray):
        return values
    raise ConfigError(f"{called} come as a list, not {type(values).__name__}")
