"""A key holder's side: the total of a round in, the mean out, once."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Literal, NoReturn, Self

import numpy as np

from privfed.errors import CapacityError, ConfigError, ReplayError
from privfed.keys import Identity, SecretKey
from privfed.secagg import wire
from privfed.secagg.checks import check_identity, check_key, file_of
from privfed.secagg.opening import (
    Holder,
    Prepared,
    RoundOpening,
    named_by,
    opening_of,
)
from privfed.secagg.parameters import Parameters
from privfed.secagg.parts import Parts
from privfed.secagg.quantize import Quantizer
from privfed.secagg.results import IntegerResult, Kept, MeanResult
from privfed.secagg.rounds import UNCHAINED, RoundID
from privfed.secagg.state import Journal


class Decryptor:
    """Decrypts one total per round, never a second one. Safe under threads; a context manager.

    Args:
        params: What all parties agreed on.
        key: The parties' shared key.
        state: File that remembers rounds, transcript and failures across restarts; "memory" keeps
            them in memory, for simulation in one process only.

    Raises:
        ContextMismatchError: The key was made for other parameters.
        ConfigError: The state file cannot be used.
    """

    def __init__(
        self, params: Parameters, key: SecretKey, state: Path | Literal["memory"] | Journal
    ) -> None:
        check_key(params, key)
        self._params, self._key = params, key
        parts = Parts(params)
        self._quantizer = Quantizer(params)
        self._prepared: dict[int, list[Prepared]] = {}  # by round: one per part
        self._to_pass_on: Callable[[Identity, int], bytes] | None = None
        if not isinstance(state, Journal):
            state = Journal(file_of(state), "decryptor", params.fingerprint + key.id)
        self._journal = state
        self._holder = Holder(params, key, parts, parts.scheme.opener(key), state)

    def __repr__(self) -> str:
        return f"Decryptor(key={self._key.id.hex()}, last_round={self._journal.record.opened})"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise ReplayError("a Decryptor is not pickled or copied: it would forget used rounds")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *problem: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the state file; nothing can be decrypted any more."""
        self._journal.close()
        self._prepared, self._to_pass_on = {}, None

    @property
    def failed(self) -> tuple[bytes, ...]:
        """Marks of totals under this key that did not decrypt, for `Encryptor.encrypt`.

        Those of this holder, and those that others named in their uploads; at most three.
        """
        return tuple(map(bytes.fromhex, self._journal.record.failed))

    def prepare(
        self,
        announcements: Iterable[bytes],
        round_id: int,
        cohort: Sequence[int] | None = None,
    ) -> None:
        """Do ahead the part of a round's decryption that needs the senders' seeds, but no sum.

        It helps if just those parties are in the total; otherwise `decrypt` starts over. Where
        totals carry the sum of c1, hash keys are all there is to make: no announcements are needed.

        Args:
            announcements: What each party's `Encryptor.announce` returned.
            round_id: The round.
            cohort: Where rounds name their parties, their roster places (None: all).

        Raises:
            DecodeError: An announcement is truncated or extended, or the bytes are no announcement.
            ContextMismatchError: It belongs to other parameters, key, round or cohort.
            AuthenticationError: Its sender did not sign it, or is not on the roster.
            ReplayError: The round was decrypted already, or a party announces twice.
        """
        of = RoundID.of(self._params, round_id, cohort)
        with self._journal.alone():
            self._journal.check_unopened(of.number)
            holder = self._holder
            expected = range(len(self._params.roster)) if of.cohort is None else of.cohort
            holder.parts.prepare(self._key, of.number, expected)
            seeds = self._announced(announcements, of)
            if not seeds[0]:
                return
            opener, parts = holder.opener, holder.parts.all
            self._prepared = {
                of.number: [
                    Prepared(each, opener.keystream(list(each.values()), part.sealed))
                    for part, each in zip(parts, seeds, strict=True)
                ]
            }

    def _announced(self, announcements: Iterable[bytes], of: RoundID) -> list[dict[int, bytes]]:
        """Return the seeds by sender, for each part."""
        seeds: list[dict[int, bytes]] = [{} for _ in self._holder.parts.all]
        reader = self._holder.reader(of, wire.Kind.ANNOUNCEMENT, (UNCHAINED,))
        for announcement in reader.several(announcements):
            for message in reader.whole([announcement]):
                known = seeds[message.part.index]
                for sender, (_, each) in message.entries.items():
                    if sender in known:
                        raise ReplayError("a party announces twice")
                    known[sender] = each
        return seeds

    def decrypt(
        self,
        total: bytes | Iterable[bytes],
        round_id: int,
        cohort: Sequence[int] | None = None,
    ) -> MeanResult:
        """Return the mean of a round.

        Args:
            total: What `Aggregator.total` returned, or the parts of `total_blocks`; or, where
                some parties open for all, what `Aggregator.result` returned.
            round_id: The round; each is decrypted once, in rising order, even if it fails.
            cohort: Where rounds name their parties, their roster places (None: all).

        Raises:
            DecodeError: The total is truncated, extended or no total.
            ContextMismatchError: It belongs to other parameters, key, round, cohort or history.
            QuorumError: Fewer than `min_clients` distinct parties are in it, or not whole groups;
                or too few signed a result.
            ReplayError: The round was decrypted already, or a party is in it twice.
            AuthenticationError: A signature is wrong, or the total is not the sum of what the
                senders signed. Where a linear hash says so, the key was not used, and the round
                is not used up; where the total does not decrypt, both, and it counts: three such
                totals, here or at other parties, retire the key.
            CapacityError: The weights are too small for the agreed precision, or all 0.
        """
        of = RoundID.of(self._params, round_id, cohort)
        with self._journal.alone():
            opening = opening_of(self._holder, of, total, self._prepared)
            mean = np.empty(self._params.layout.size, np.float32)
            weight: int | None = None
            digits = self._params.weight_digits
            for part, sums in opening.sums():
                clients = len(opening.senders)
                if part.index == 0:
                    weight = self._quantizer.total_weight(sums)
                    weight = self._checked_weight(weight, clients, opening)
                skip = max(0, digits - part.start)
                first = part.start + skip - digits
                into = mean[first : part.stop - digits]
                self._quantizer.mean(sums[skip:], first, weight, clients, into)
            result = MeanResult(
                mean=self._params.layout.unflatten(mean),
                total_weight=weight,
                senders=self._ids(opening),
                transcript=opening.transcript,
                max_errors=self._quantizer.max_errors(weight, len(opening.senders)),
            )
            self._finish(of, opening, result)
            return result

    def decrypt_sums(
        self,
        total: bytes | Iterable[bytes],
        round_id: int,
        cohort: Sequence[int] | None = None,
    ) -> IntegerResult:
        """Return the sums of a round as integers, for updates sent by `encrypt_integers`.

        Arguments and errors are those of `decrypt`.

        Raises:
            ConfigError: The parameters carry weights.
        """
        if self._params.max_weight is not None:
            raise ConfigError("integer sums carry no weights: set max_weight=None")
        of = RoundID.of(self._params, round_id, cohort)
        with self._journal.alone():
            opening = opening_of(self._holder, of, total, self._prepared)
            flat = np.empty(self._params.layout.size, np.int64)
            for part, sums in opening.sums():
                flat[part.start : part.stop] = sums
            arrays = self._params.layout.unflatten(flat)
            result = IntegerResult(arrays, self._ids(opening), opening.transcript)
            self._finish(of, opening, result)
            return result

    def _ids(self, opening: RoundOpening) -> tuple[str, ...]:
        return tuple(self._params.roster[place].id for place in opening.senders)

    def _finish(
        self, of: RoundID, opening: RoundOpening, result: MeanResult | IntegerResult
    ) -> None:
        self._journal.finish(Kept(of.number, opening.digest, result))
        written, senders, transcript = opening.written, opening.senders, opening.transcript
        self._to_pass_on = None
        if written is not None:
            self._to_pass_on = partial(written.signed, senders=senders, transcript=transcript)

    def result(self, identity: Identity) -> bytes:
        """Return the sums of the total that was opened last, for those who do not open it.

        Args:
            identity: The party's own, which signs them.

        Raises:
            ConfigError: The parameters do not say that some parties open for all, this object
                opened no total, or the identity is not on the roster.
        """
        place = self._params.index_of(check_identity(identity).public)
        with self._journal.alone():
            self._journal.check()
            if self._to_pass_on is None:
                if self._params.download_mode != "opener":
                    raise ConfigError(
                        "all parties open totals themselves: download='opener' in the parameters "
                        "lets some open for all"
                    )
                raise ConfigError("this party opened no total yet: there are no sums to pass on")
            return self._to_pass_on(identity, place)

    def named(
        self,
        total: bytes | Iterable[bytes],
        round_id: int,
        cohort: Sequence[int] | None = None,
    ) -> tuple[bytes, bytes]:
        """Return what stands for a round's bytes, and the transcript that a result names.

        Nothing is decrypted. Arguments and errors are those of `decrypt`, except that any history
        is accepted; the transcript of a total is not known, and empty.
        """
        return named_by(self._holder, RoundID.of(self._params, round_id, cohort), total)

    def _checked_weight(
        self, weight: int | None, clients: int, opening: RoundOpening
    ) -> int | None:
        if weight is None:
            return None
        if not 0 <= weight <= clients * (self._params.max_weight or 0):
            raise opening.refusal()
        if weight == 0:
            raise CapacityError(
                "all weights are 0, so the round has no mean: keep the model as it is, and start "
                "the next round when a party has rows"
            )
        if not self._quantizer.keeps_tolerance(weight, clients):
            raise CapacityError(
                f"weights far below max_weight={self._params.max_weight} leave an error above the "
                "tolerance: lower max_weight or use more bits"
            )
        return weight
