"""One total, or the announcements before it, while it is checked and opened part after part."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from privfed.errors import AuthenticationError, ContextMismatchError, DecodeError, QuorumError
from privfed.he.keys import SecretKey
from privfed.he.packing import Integers
from privfed.secagg import wire
from privfed.secagg.masks import cohort_hash, cohort_of
from privfed.secagg.parameters import Parameters
from privfed.secagg.parts import Part, Parts
from privfed.secagg.reading import Entries, read_sum, split, verified


@dataclass(frozen=True)
class Prepared:
    """What the seeds of one part come to."""

    seeds: dict[int, bytes] = field(repr=False)
    keystream: Any = field(repr=False)  # of one sender alone, it tells the key


@dataclass(frozen=True)
class TotalPart:
    """One part of a total, checked as far as no key is needed."""

    part: Part
    message: memoryview
    entries: Entries
    body: memoryview


class Opening:
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

    def parts(self, total: bytes | Iterable[bytes], history: bytes) -> Iterator[TotalPart]:
        """Yield the parts in order; of a total in one piece, after all of them are checked."""
        if isinstance(total, bytes | bytearray | memoryview):
            return iter(list(self._checked([bytes(total)], history)))
        return self._checked(total, history)

    def _checked(self, stream: Iterable[bytes], history: bytes) -> Iterator[TotalPart]:
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
                entries, body, rest = read_sum(self._parts, prefix, part, data)
                self._check_senders(part, tuple(sorted(entries)))
                yield TotalPart(part, data[: len(data) - len(rest)], entries, body)
                data, done = rest, done + 1
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

    def _check_senders(self, part: Part, senders: tuple[int, ...]) -> None:
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

    def announced(self, data: memoryview) -> Iterator[tuple[Part, int, bytes]]:
        """Yield (part, sender, seeds) of one party's announcement, checked."""
        for expected in self._parts.all:
            prefix = wire.Prefix.read(data)
            if prefix.kind != wire.Kind.ANNOUNCEMENT:
                raise DecodeError("to prepare, a decryptor reads announcements, nothing else")
            wire.expect(prefix, self._expected(prefix, b""))
            if prefix.part != expected.index:
                raise DecodeError("a part of the announcement is missing or out of order")
            message, data = split(data, self._parts.announcement_bytes(expected))
            seeds = message[wire.PREFIX_BYTES + wire.ENTRY_BYTES :]
            entry = verified(self._params, prefix, message[wire.PREFIX_BYTES :])
            if wire.digest(seeds) != entry.seeds_hash:
                raise AuthenticationError("a signature does not verify")
            yield expected, entry.sender, bytes(seeds)
        if data:
            raise DecodeError("the announcement is extended")

    def open(self, checked: TotalPart, prepared: Prepared | None) -> Integers | None:
        """Return the integer sums of a part, or None where it does not decrypt."""
        scheme, sealed = self._parts.scheme, checked.part.sealed
        seeds = {sender: seeds for sender, (_, seeds) in checked.entries.items()}
        if prepared and prepared.seeds == seeds:
            keystream = prepared.keystream
        else:
            keystream = scheme.keystream(self._key, list(seeds.values()), sealed)
        sums = scheme.open(self._key, keystream, checked.body, sealed, len(self.senders))
        if sums is None:
            return None
        return self._parts.untagged(self._key, self.round_id, checked.part, self.senders, sums)
