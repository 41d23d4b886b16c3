"""The server's side: adds bytes it cannot read, with public parameters alone."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from privfed.errors import AuthenticationError, CapacityError, ConfigError, QuorumError, ReplayError
from privfed.keys import ID_BYTES
from privfed.secagg import wire
from privfed.secagg.parameters import Parameters
from privfed.secagg.parts import Parts
from privfed.secagg.reading import Bytes, Entries, MessageReader, PartMessage
from privfed.secagg.rounds import RoundID, check_history
from privfed.secagg.schemes import Accumulator


@dataclass
class _Sum:
    """The sum of one part, with what each sender signed."""

    accumulator: Accumulator
    entries: Entries = field(default_factory=dict)


class Aggregator:
    """Adds the uploads of one round. Several threads may add at once.

    Args:
        params: What all parties agreed on; no secret is needed, and none is taken.
        round_id: The round.
        cohort: With masks, the roster places of this round's parties (None: all).
        key_id: The key of the round (`SecretKey.id`, which is public). None takes the first
            upload's; then a hostile party who comes first shuts the others out.
        previous: Transcript that the uploads name, empty for none; None takes the first upload's.

    Raises:
        ConfigError: An argument is not as described.
    """

    def __init__(
        self,
        params: Parameters,
        round_id: int,
        cohort: Sequence[int] | None = None,
        *,
        key_id: bytes | None = None,
        previous: bytes | None = None,
    ) -> None:
        if not isinstance(params, Parameters):
            raise ConfigError("an Aggregator takes the public parameters and no secret")
        if key_id is not None and (not isinstance(key_id, bytes) or len(key_id) != ID_BYTES):
            raise ConfigError(f"key_id is {ID_BYTES} bytes: SecretKey.id")
        self._params, self._round = params, RoundID.of(params, round_id, cohort)
        self._parts = Parts(params)
        histories = None if previous is None else (check_history(previous),)
        self._readers = {
            kind: MessageReader(self._parts, self._round, kind, key_id=key_id, histories=histories)
            for kind in (wire.Kind.UPLOAD, wire.Kind.PARTIAL)
        }
        self._one = threading.RLock()
        self._common: wire.Prefix | None = None
        self._sums: dict[int, _Sum] = {}
        self._closed = False

    @property
    def senders(self) -> tuple[str, ...]:
        """Ids of the parties in the sum so far, in the roster's order."""
        with self._one:
            places = {place for each in self._sums.values() for place in each.entries}
        return tuple(self._params.roster[place].id for place in sorted(places))

    def add(self, message: bytes) -> None:
        """Add one party's upload, or some parts of one.

        All of `message` is added or, with an error, nothing of it.

        Raises:
            DecodeError: It is truncated, extended or no upload (or a secret key).
            ContextMismatchError: It belongs to other parameters, key, round, cohort or history.
            AuthenticationError: The sender is not on the roster or did not sign it.
            ReplayError: The sender is in the sum already, or the total was taken.
            CapacityError: More than `max_clients` parties.
        """
        self._add(message, wire.Kind.UPLOAD)

    def add_partial(self, message: bytes) -> None:
        """Add another aggregator's partial sum, checked as far as it can be.

        Take it only from the aggregators of the tree, over an authenticated channel. The senders
        signed the headers in it, but nobody signed the sum: a stranger who recorded one upload
        could shut out its sender, or spoil the round.

        Raises:
            DecodeError: It is truncated, extended or no partial sum (or a secret key).
            ContextMismatchError: It belongs to other parameters, key, round, cohort or history.
            AuthenticationError: A sender is not on the roster or did not sign its header.
            ReplayError: A sender is in the sum already, or the total was taken.
            CapacityError: More than `max_clients` parties.
        """
        self._add(message, wire.Kind.PARTIAL)

    def _add(self, data: bytes, kind: wire.Kind) -> None:
        if not isinstance(data, Bytes):
            raise ConfigError("an Aggregator adds bytes from an Encryptor, and takes no secret")
        with self._one:
            if self._closed:
                raise ReplayError("the total was taken: this round is closed")
            messages = list(self._readers[kind].read(data, self._common))
            self._check_new(messages)
            parsed = [(each, self._parsed(each)) for each in messages]
            added: dict[int, Accumulator] = {}
            for message, payload in parsed:
                place = message.part.index
                before = added.get(place) or self._accumulator(message)
                added[place] = before.plus(payload)  # may still be refused
            for message in messages:
                self._common = self._common or message.prefix
                place = message.part.index
                each = self._sums.setdefault(place, _Sum(added[place]))
                each.accumulator = added[place]
                each.entries.update(message.entries)

    def _accumulator(self, message: PartMessage) -> Accumulator:
        place = message.part.index
        if place in self._sums:
            return self._sums[place].accumulator
        return self._parts.scheme.accumulator(message.part.sealed)

    def _parsed(self, message: PartMessage) -> Any:
        scheme, values = self._parts.scheme, message.part.sealed
        if message.prefix.kind == wire.Kind.UPLOAD:
            return scheme.payload(message.body, values)
        return scheme.partial(message.body, values)

    def _check_new(self, messages: list[PartMessage]) -> None:
        """Refuse a sender twice in one part, or more senders than the sums can hold."""
        new: dict[int, set[int]] = {}
        for each in messages:
            place = each.part.index
            known = self._sums[place].entries.keys() if place in self._sums else set()
            seen = new.setdefault(place, set(known))
            if seen & each.entries.keys():
                raise ReplayError("a sender is in this round's sum already")
            seen.update(each.entries)
            if len(seen) > self._params.max_clients:
                raise CapacityError(f"more than max_clients={self._params.max_clients} parties")
            cohort = self._round.cohort
            if cohort is not None and not each.entries.keys() <= set(cohort):
                raise AuthenticationError("a sender is not in the round's cohort")

    def partial(self) -> bytes:
        """Return the sum so far for an aggregator further up; only the root cuts bits.

        Raises:
            QuorumError: A party sent only some of its parts, or nobody sent anything.
        """
        with self._one:
            return b"".join(self._written(wire.Kind.PARTIAL, least=1))

    def total(self) -> bytes:
        """Return the round's total for the decryptors, and close the round.

        Raises:
            QuorumError: Too few parties, one that sent only some of its parts, or, with masks, a
                cohort that is not complete: run the round anew.
        """
        return b"".join(self.total_blocks())

    def total_blocks(self) -> Iterator[bytes]:
        """Yield the total in parts of a few megabytes; see `total`."""
        with self._one:
            return self._written(wire.Kind.TOTAL, least=self._params.min_clients)

    def _written(self, kind: wire.Kind, least: int) -> Iterator[bytes]:
        groups = {frozenset(each.entries) for each in self._sums.values()}
        if len(groups) > 1 or (groups and len(self._sums) != len(self._parts)):
            raise QuorumError("a party sent only some of its parts: run the round anew")
        senders = next(iter(groups), frozenset())
        if len(senders) < least:
            raise QuorumError(f"{len(senders)} parties sent; the round needs {least}")
        if kind == wire.Kind.TOTAL:
            if self._round.cohort is not None and senders != set(self._round.cohort):
                raise QuorumError("with masks every party of the cohort must send: run it anew")
            self._closed = True
        return self._sum_messages(kind)

    def _sum_messages(self, kind: wire.Kind) -> Iterator[bytes]:
        if self._common is None:  # unreachable: there are senders
            raise QuorumError("nobody sent anything")
        for part in self._parts.all:
            each = self._sums[part.index]
            prefix = replace(self._common, kind=kind, part=part.index)
            pieces = [prefix.to_bytes(), wire.COUNT.pack(len(each.entries))]
            carried = self._parts.carried_seed_bytes(part, kind)
            entries = [entry for _, entry in sorted(each.entries.items())]
            for entry, seeds in entries:
                pieces += [entry, seeds[:carried]]
            with self._one:  # sums are reduced in place, and a total may be asked for twice
                if kind == wire.Kind.TOTAL:
                    pieces.append(each.accumulator.total([seeds for _, seeds in entries]))
                else:
                    pieces.append(each.accumulator.partial())
            yield b"".join(pieces)
