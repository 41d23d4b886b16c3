"""A key holder's side: the total of a round in, the mean out, once."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import numpy as np
import numpy.typing as npt

from privfed.errors import (
    AuthenticationError,
    CapacityError,
    ConfigError,
    ReplayError,
)
from privfed.he.keys import SecretKey
from privfed.he.packing import Integers
from privfed.secagg import wire
from privfed.secagg.checks import check_key, check_round
from privfed.secagg.opening import Opening, Prepared, TotalPart
from privfed.secagg.parameters import Parameters
from privfed.secagg.parts import Parts
from privfed.secagg.quantize import Quantizer
from privfed.secagg.state import Journal


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


@dataclass(frozen=True)
class IntegerResult:
    """The integer sums of a round.

    Attributes:
        sums: int64 arrays of the layout.
        senders: ids of the parties in the sums, in the roster's order.
        transcript: 32 bytes for the next round's ``previous``.
    """

    sums: dict[str, npt.NDArray[np.int64]] = field(repr=False)
    senders: tuple[str, ...]
    transcript: bytes


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
        self._prepared: dict[int, list[Prepared]] = {}  # by round: one a part

    def __repr__(self) -> str:
        return f"Decryptor(key={self._key.id.hex()}, last_round={self._journal.record.last_round})"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise ReplayError("a Decryptor is not pickled or copied: it would forget used rounds")

    def prepare(
        self,
        announcements: Iterable[bytes],
        round_id: int,
        cohort: Sequence[int] | None = None,
    ) -> None:
        """Do what of a round's decryption depends on the senders' seeds, before the sum arrives.

        It helps if just those parties are in the total; otherwise ``decrypt`` starts over.

        Args:
            announcements: what each party's ``Encryptor.announce`` returned.
            round_id: the round.
            cohort: with masks, the roster places of the round's parties (None: all).

        Raises:
            DecodeError: an announcement is truncated, extended or none.
            ContextMismatchError: it belongs to other parameters, key, round or cohort.
            AuthenticationError: its sender did not sign it, or is not on the roster.
            ReplayError: the round was decrypted already, or a party announces twice.
        """
        self._journal.check(check_round(round_id))
        opening = Opening(self._params, self._parts, self._key, round_id, cohort)
        seeds: list[dict[int, bytes]] = [{} for _ in self._parts.all]
        for announcement in announcements:
            for part, sender, each in opening.announced(memoryview(announcement)):
                if sender in seeds[part.index]:
                    raise ReplayError("a party announces twice")
                seeds[part.index][sender] = each
        if not seeds[0]:
            return
        scheme = self._parts.scheme
        self._prepared = {
            round_id: [
                Prepared(each, scheme.keystream(self._key, list(each.values()), part.sealed))
                for part, each in zip(self._parts.all, seeds, strict=True)
            ]
        }

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
        opening = Opening(self._params, self._parts, self._key, check_round(round_id), cohort)
        mean = np.empty(self._params.layout.size, np.float32)
        weight: int | None = None
        transcript = _transcript()
        digits = self._params.weight_digits
        for checked, sums in self._sums(opening, total):
            part = checked.part
            if part.index == 0:
                weight = self._checked_weight(self._quantizer.total_weight(sums), opening)
            skip = max(0, digits - part.start)
            into = mean[part.start + skip - digits : part.stop - digits]
            self._quantizer.mean(sums[skip:], weight, len(opening.senders), into)
            transcript.update(wire.digest(checked.message))
        self._journal.finish(transcript.digest())
        return Result(
            mean=self._params.layout.unflatten(mean),
            total_weight=weight,
            senders=self._ids(opening),
            transcript=transcript.digest(),
            max_error=self._quantizer.max_error(weight, len(opening.senders)),
        )

    def decrypt_sums(
        self,
        total: bytes | Iterable[bytes],
        round_id: int,
        cohort: Sequence[int] | None = None,
    ) -> IntegerResult:
        """Return the sums of a round as integers, for updates sent by ``encrypt_integers``.

        Arguments and errors are those of ``decrypt``.

        Raises:
            ConfigError: the parameters carry weights.
        """
        if self._params.max_weight is not None:
            raise ConfigError("integer sums carry no weights: set max_weight=None")
        opening = Opening(self._params, self._parts, self._key, check_round(round_id), cohort)
        flat = np.empty(self._params.layout.size, np.int64)
        transcript = _transcript()
        for checked, sums in self._sums(opening, total):
            flat[checked.part.start : checked.part.stop] = sums
            transcript.update(wire.digest(checked.message))
        self._journal.finish(transcript.digest())
        return IntegerResult(
            self._params.layout.unflatten(flat), self._ids(opening), transcript.digest()
        )

    def _sums(
        self, opening: Opening, total: bytes | Iterable[bytes]
    ) -> Iterator[tuple[TotalPart, Integers]]:
        """Yield each part of a total with its integer sums; uses the round up first."""
        self._journal.check_key()
        history = bytes.fromhex(self._journal.record.transcript)
        prepared: list[Prepared] | None = None
        for checked in opening.parts(total, history):
            if checked.part.index == 0:
                self._journal.advance(opening.round_id)  # before anything is decrypted
                prepared = self._prepared.pop(opening.round_id, None)
            sums = opening.open(checked, prepared[checked.part.index] if prepared else None)
            if sums is None:
                raise self._failure()
            yield checked, sums

    def _ids(self, opening: Opening) -> tuple[str, ...]:
        return tuple(self._params.roster[place].id for place in opening.senders)

    def _failure(self) -> AuthenticationError:
        """Count a failure; whatever its cause, what is said of it is the same."""
        self._journal.fail()
        return AuthenticationError("the total does not decrypt")

    def _checked_weight(self, weight: int | None, opening: Opening) -> int | None:
        clients = len(opening.senders)
        if weight is None:
            return None
        if not clients <= weight <= clients * (self._params.max_weight or 0):
            raise self._failure()
        error = self._quantizer.max_error(weight, clients)
        if error > self._params.tolerance * self._params.clip_range:
            raise CapacityError(
                f"weights far below max_weight={self._params.max_weight} leave an error above the "
                "tolerance: lower max_weight or use more bits"
            )
        return weight


def _transcript() -> "hashlib._Hash":
    return hashlib.sha256(b"privfed/1/transcript\x00")
