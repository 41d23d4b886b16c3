"""A key holder's side: the total of a round in, the mean out, once."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NoReturn

import numpy as np
import numpy.typing as npt

from privfed.errors import (
    AuthenticationError,
    CapacityError,
    ContextMismatchError,
    DecodeError,
    QuorumError,
    ReplayError,
)
from privfed.he.keys import SecretKey
from privfed.secagg import wire
from privfed.secagg.checks import check_key, check_round
from privfed.secagg.masks import cohort_hash, cohort_of
from privfed.secagg.parameters import Parameters
from privfed.secagg.parts import Part, Parts
from privfed.secagg.quantize import Quantizer
from privfed.secagg.reading import Entries, read_sum
from privfed.secagg.state import MAX_FAILURES, Journal


@dataclass(frozen=True)
class Result:
    """What a round gives.

    Attributes:
        mean: weighted mean of the updates, float32 arrays of the layout.
        total_weight: sum of the weights; None where there are none.
        senders: ids of the parties in the mean, in the roster's order.
        transcript: 32 bytes for the next round's ``previous``.
        max_error: largest error of one value of the mean that quantising can have caused.
    """

    mean: dict[str, npt.NDArray[np.float32]] = field(repr=False)
    total_weight: int | None
    senders: tuple[str, ...]
    transcript: bytes
    max_error: float


class Decryptor:
    """Decrypts one total a round, ever.

    Args:
        params: what all parties agreed on.
        key: the parties' shared key.
        state: file that remembers rounds, transcript and failures across restarts; None keeps
            them in memory, for simulation in one process only.

    Raises:
        ContextMismatchError: the key was made for other parameters.
        ConfigError: the state file cannot be used.
    """

    def __init__(self, params: Parameters, key: SecretKey, state: Path | None = None) -> None:
        check_key(params, key)
        self._params, self._key = params, key
        self._parts = Parts(params)
        self._quantizer = Quantizer(params)
        self._journal = Journal(state, b"decryptor", params.fingerprint + key.id)

    def __repr__(self) -> str:
        return f"Decryptor(key={self._key.id.hex()}, last_round={self._journal.record.last_round})"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise ReplayError("a Decryptor is not pickled or copied: it would forget used rounds")

    def decrypt(
        self,
        total: bytes | Iterable[bytes],
        round_id: int,
        cohort: Sequence[int] | None = None,
    ) -> Result:
        """Return the mean of a round.

        Args:
            total: what ``Aggregator.total`` returned, or the parts of ``total_blocks``.
            round_id: the round; each is decrypted once, in rising order, even if it fails.
            cohort: with masks, the roster places of the round's parties (None: all).

        Raises:
            DecodeError: the total is truncated, extended or no total.
            ContextMismatchError: it belongs to other parameters, key, round, cohort or history.
            QuorumError: fewer than ``min_clients`` distinct parties are in it.
            ReplayError: the round was decrypted already, or a party is in it twice.
            AuthenticationError: a signature is wrong, or the total is not the sum of what the
                senders signed; or that happened so often that the key is retired.
            CapacityError: the weights are too small for the agreed precision.
        """
        if self._journal.record.failures >= MAX_FAILURES:
            raise AuthenticationError(
                f"{MAX_FAILURES} totals in a row did not decrypt: the key is retired, make another"
            )
        opening = _Opening(self._params, self._parts, self._key, check_round(round_id), cohort)
        history = bytes.fromhex(self._journal.record.transcript)
        mean = np.empty(self._params.layout.size, np.float32)
        weight: int | None = None
        transcript = hashlib.sha256(b"privfed/1/transcript\x00")
        digits = self._params.weight_digits
        for part, message in opening.parts(total, history):
            if part.index == 0:
                self._journal.advance(opening.round_id)  # before anything is decrypted
            sums = opening.open(part, message)
            if sums is None:
                self._journal.fail()
                raise AuthenticationError("the total does not decrypt")
            if part.index == 0:
                weight = self._checked_weight(self._quantizer.total_weight(sums), opening)
            skip = max(0, digits - part.start)
            into = mean[part.start + skip - digits : part.stop - digits]
            self._quantizer.mean(sums[skip:], weight, len(opening.senders), into)
            transcript.update(wire.digest(message))
        self._journal.finish(transcript.digest())
        return Result(
            mean=self._params.layout.unflatten(mean),
            total_weight=weight,
            senders=tuple(self._params.roster[place].id for place in opening.senders),
            transcript=transcript.digest(),
            max_error=self._quantizer.max_error(weight, len(opening.senders)),
        )

    def _checked_weight(self, weight: int | None, opening: "_Opening") -> int | None:
        clients = len(opening.senders)
        if weight is None:
            return None
        if not clients <= weight <= clients * (self._params.max_weight or 0):
            self._journal.fail()
            raise AuthenticationError("the total does not decrypt")
        error = self._quantizer.max_error(weight, clients)
        if error > self._params.tolerance * self._params.clip_range:
            raise CapacityError(
                f"weights far below max_weight={self._params.max_weight} leave an error of "
                f"{error:.2g}, above the tolerance: lower max_weight or use more bits"
            )
        return weight


class _Opening:
    """One total while it is checked and opened, part after part."""

    def __init__(
        self,
        params: Parameters,
        parts: Parts,
        key: SecretKey,
        round_id: int,
        cohort: Sequence[int] | None,
    ) -> None:
        self._params, self._parts, self._key = params, parts, key
        self.round_id = round_id
        self._cohort = cohort_of(params, cohort) if params.masks else None
        self._cohort_hash = cohort_hash(params, cohort)
        self.senders: tuple[int, ...] = ()
        self._entries: Entries = {}

    def parts(
        self, total: bytes | Iterable[bytes], history: bytes
    ) -> Iterator[tuple[Part, memoryview]]:
        """Yield the parts in order, each checked as far as no key is needed."""
        stream = [total] if isinstance(total, bytes | bytearray | memoryview) else total
        done, common = 0, None
        for chunk in stream:
            data = memoryview(chunk)
            while data:
                prefix = wire.Prefix.read(data)
                if prefix.kind != wire.Kind.TOTAL:
                    raise DecodeError("a decryptor reads totals, nothing else")
                common = common or self._expected(prefix, history)
                wire.expect(prefix, common)
                part = self._parts.of(prefix)
                if part.index != done:
                    raise DecodeError("a part of the total is missing or out of order")
                size = self._check_senders(prefix, part, data)
                yield part, data[:size]
                data, done = data[size:], done + 1
        if done != len(self._parts):
            raise DecodeError("the total is truncated")

    def _expected(self, prefix: wire.Prefix, history: bytes) -> wire.Prefix:
        chained = any(prefix.previous) and history
        if chained and prefix.previous != history:
            raise ContextMismatchError("the senders saw another history of rounds than this party")
        return replace(
            prefix,
            scheme=self._params.scheme,
            fingerprint=self._params.fingerprint,
            key_id=self._key.id,
            round_id=self.round_id,
            cohort=self._cohort_hash,
        )

    def _check_senders(self, prefix: wire.Prefix, part: Part, data: memoryview) -> int:
        self._entries, self._body, rest = read_sum(self._parts, prefix, part, data)
        senders = tuple(sorted(self._entries))
        if len(senders) < self._params.min_clients:
            raise QuorumError(
                f"{len(senders)} parties are in the total, below "
                f"min_clients={self._params.min_clients}"
            )
        if self._cohort is not None and senders != self._cohort:
            raise QuorumError("with masks every party of the cohort must be in the total")
        if part.index and senders != self.senders:
            raise QuorumError("the parts of the total are over different parties")
        self.senders = senders
        return len(data) - len(rest)

    def open(self, part: Part, message: memoryview) -> npt.NDArray[np.int64] | None:
        """Return the integer sums of the part that was checked last."""
        scheme = self._parts.scheme
        seeds = [seeds for _, seeds in self._entries.values()]
        keystream = scheme.keystream(self._key, seeds, part.values)
        return scheme.open(self._key, keystream, self._body, part.values, len(self.senders))
