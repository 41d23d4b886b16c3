"""The server's side: adds bytes it cannot read, with public parameters alone."""

import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from privfed.errors import (
    AuthenticationError,
    CapacityError,
    ConfigError,
    ContextMismatchError,
    QuorumError,
    ReplayError,
)
from privfed.keys import ID_BYTES, Identity
from privfed.secagg import wire
from privfed.secagg.checks import check_identity
from privfed.secagg.groups import Places, check_whole
from privfed.secagg.openers import GatheredResults, ResultReader, opening_order
from privfed.secagg.parameters import Parameters
from privfed.secagg.parts import Parts
from privfed.secagg.reading import Bytes, Entries, MessageReader, PartMessage
from privfed.secagg.rounds import RoundID, check_epochs, check_history
from privfed.secagg.schemes import Accumulator


@dataclass
class _Sum:
    """The sum of one part, with what each sender signed."""

    accumulator: Accumulator
    entries: Entries = field(default_factory=dict)


class _Sums(dict[int, _Sum]):
    """The sums of some parties by part."""

    def senders(self, parts: int) -> set[int]:
        """Return the roster places of who sent all parts."""
        if len(self) < parts:
            return set()
        return set.intersection(*(set(each.entries) for each in self.values()))

    @property
    def heard(self) -> set[int]:
        """Roster places of who sent any part."""
        return {place for each in self.values() for place in each.entries}


class Aggregator:
    """Adds the uploads of one round. Several threads may add at once.

    Where the parameters have groups, the sum of each is kept apart until all of its parties have
    sent; groups that are not whole are left out of the total.

    Args:
        params: What all parties agreed on; no secret is needed, and none is taken.
        round_id: The round.
        cohort: Where rounds name their parties, their roster places (None: all).
        key_id: The key of the round (`SecretKey.id`, which is public). None takes the first
            upload's; then a hostile party who comes first shuts the others out.
        previous: Transcript that the uploads name, empty for none; None takes the first upload's.
        identity: Where servers make a tree, this one's, which signs its `partial`.

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
        identity: Identity | None = None,
    ) -> None:
        if not isinstance(params, Parameters):
            raise ConfigError("an Aggregator takes the public parameters and no secret")
        if key_id is not None and (not isinstance(key_id, bytes) or len(key_id) != ID_BYTES):
            raise ConfigError(f"key_id is {ID_BYTES} bytes: SecretKey.id")
        if identity is not None and check_identity(identity).public not in params.aggregators:
            raise ConfigError("this identity is not among the parameters' aggregators")
        self._params, self._round = params, RoundID.of(params, round_id, cohort)
        self._parts, self._identity = Parts(params), identity
        histories = None if previous is None else (check_history(previous),)
        self._readers = {
            kind: MessageReader(self._parts, self._round, kind, key_id=key_id, histories=histories)
            for kind in (wire.Kind.UPLOAD, wire.Kind.PARTIAL)
        }
        self._one = threading.RLock()
        self._common: wire.Prefix | None = None
        self._whole = _Sums()  # of whole groups; of all, where there are none
        self._waiting: dict[Places, _Sums] = {}
        self._heard: dict[int, set[int]] = {}  # by part, who is in any of these sums
        self._epochs: dict[Places, bytes] = {}
        self._closed = False
        self._results = GatheredResults(params)

    @property
    def senders(self) -> tuple[str, ...]:
        """Ids of the parties in the sum so far, in the roster's order."""
        with self._one:
            return self._ids(self._whole.heard)

    @property
    def waiting(self) -> tuple[str, ...]:
        """Ids of those who sent, and wait for the others of their group."""
        with self._one:
            return self._ids({place for each in self._waiting.values() for place in each.heard})

    def _ids(self, places: set[int]) -> tuple[str, ...]:
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
        """Add the partial sum of another aggregator, one that the parameters name.

        Raises:
            DecodeError: It is truncated, extended or no partial sum (or a secret key).
            ContextMismatchError: It belongs to other parameters, key, round, cohort or history.
            AuthenticationError: None of the parameters' aggregators signed it, or a sender did not
                sign its header.
            QuorumError: It holds a part of a group.
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
            epochs = self._check_new(messages)
            parsed = [(each, self._parsed(each)) for each in messages]
            added: dict[tuple[Places, int], Accumulator] = {}
            for message, payload in parsed:
                where = self._where(message)
                before = added.get(where) or self._accumulator(message)
                added[where] = before.plus(payload)  # may still be refused
            for message in messages:
                self._common = self._common or message.prefix
                where = self._where(message)
                each = self._sums(where[0]).setdefault(where[1], _Sum(added[where]))
                each.accumulator = added[where]
                each.entries.update(message.entries)
                self._heard.setdefault(where[1], set()).update(message.entries)
            self._epochs = epochs
            for group in {group for group, _ in added if group}:
                self._gather(group)

    def _where(self, message: PartMessage) -> tuple[Places, int]:
        """Return the group whose sum a message is added to, or none, and its part."""
        alone = message.prefix.kind == wire.Kind.UPLOAD
        group = self._params.group_of(next(iter(message.entries))) if alone else ()
        return group, message.part.index

    def _sums(self, group: Places) -> _Sums:
        return self._waiting.setdefault(group, _Sums()) if group else self._whole

    def _gather(self, group: Places) -> None:
        """Add a group that is whole to the others."""
        sums = self._waiting[group]
        if sums.senders(len(self._parts)) != set(group):
            return
        if self._whole:
            # All parts before any: a scheme that may refuse one leaves the sums as they were.
            added = {
                index: each.accumulator.plus_sum(sums[index].accumulator)
                for index, each in self._whole.items()
            }
            for index, each in self._whole.items():
                each.accumulator = added[index]
                each.entries.update(sums[index].entries)
        else:
            self._whole.update(sums)
        del self._waiting[group]

    def _accumulator(self, message: PartMessage) -> Accumulator:
        group, part = self._where(message)
        sums = self._waiting.get(group) if group else self._whole
        if sums and part in sums:
            return sums[part].accumulator
        return self._parts.scheme.accumulator(message.part.sealed)

    def _parsed(self, message: PartMessage) -> Any:
        scheme, values = self._parts.scheme, message.part.sealed
        if message.prefix.kind == wire.Kind.UPLOAD:
            return scheme.payload(message.body, values)
        return scheme.partial(message.body, values)

    def _check_new(self, messages: list[PartMessage]) -> dict[Places, bytes]:
        """Refuse what cannot be added to what is there; return the epochs that are then in use."""
        new, coming = defaultdict[int, set[int]](set), defaultdict[int, set[int]](set)
        epochs = dict(self._epochs)
        for each in messages:
            group, place = self._where(each)
            heard = self._heard.get(place, set())
            if not (heard.isdisjoint(each.entries) and new[place].isdisjoint(each.entries)):
                raise ReplayError("a sender is in this round's sum already")
            new[place].update(each.entries)
            # A group that waits takes no room; where all of it would have none, it is refused.
            coming[place].update(group or each.entries)
            known = self._whole.get(place)
            if len(known.entries if known else ()) + len(coming[place]) > self._params.max_clients:
                raise CapacityError(f"more than max_clients={self._params.max_clients} parties")
            cohort = self._round.cohort
            if cohort is not None and not each.entries.keys() <= set(cohort):
                raise AuthenticationError("a sender is not in the round's cohort")
            if each.prefix.kind == wire.Kind.PARTIAL:
                check_whole(self._params.groups, each.entries)
            named = {at: wire.Entry.read(raw).epoch for at, (raw, _) in each.entries.items()}
            check_epochs(self._params, named, epochs)
        return epochs

    def partial(self) -> bytes:
        """Return the sum so far for an aggregator further up; only the root cuts bits.

        Raises:
            ConfigError: This aggregator was given no identity to sign it with.
            QuorumError: Nobody sent anything, a party only some of its parts, or no group is whole.
        """
        if self._identity is None:
            raise ConfigError(
                "a partial sum is signed: give this Aggregator the identity of one of the "
                "parameters' aggregators"
            )
        with self._one:
            return b"".join(self._written(wire.Kind.PARTIAL, least=1))

    def total(self) -> bytes:
        """Return the round's total for the decryptors, and close the round.

        Groups that are not whole are left out; their parties send again in the next round.

        Raises:
            QuorumError: Too few parties or whole groups; without groups also a party that sent
                only some of its parts, or a cohort that is not complete: run the round anew.
        """
        return b"".join(self.total_blocks())

    def total_blocks(self) -> Iterator[bytes]:
        """Yield the total in parts of a few megabytes; see `total`."""
        with self._one:
            return self._written(wire.Kind.TOTAL, least=self._params.quorum)

    @property
    def openers(self) -> tuple[str, ...]:
        """Ids of the parties in the sum, in the order in which they are asked to open the total.

        Where some open for all, the first `Parameters.openers` get it; the next ones, where one is
        silent or says another result.
        """
        with self._one:
            senders = sorted(self._whole.heard)
            if self._common is None or not senders:
                return ()
            order = opening_order(self._round.number, self._common.previous, senders)
            return tuple(self._params.roster[place].id for place in order)

    def add_result(self, message: bytes) -> None:
        """Add what a party that opened the total passes on; the same again changes nothing.

        Args:
            message: What `Party.result` returned there.

        Raises:
            DecodeError: It is truncated, extended or no result.
            ContextMismatchError: It belongs to other parameters, key, round, cohort or history, or
                to another total.
            AuthenticationError: Its party is not on the roster or did not sign it.
            ReplayError: The party passed on another result already.
            QuorumError: The total was not taken yet.
        """
        with self._one:
            if self._common is None or not self._closed:
                raise QuorumError("results are of a total: take it first")
            known = self._common
            reader = ResultReader(self._parts, self._round, known.key_id, (known.previous,))
            passed = list(reader.whole([message]))
            if passed[0].senders != tuple(sorted(self._whole.heard)):
                raise ContextMismatchError("the result is of another total")
            self._results.add(passed)

    def result(self) -> bytes:
        """Return the result that enough parties signed alike, for all who did not open the total.

        Raises:
            QuorumError: They are too few yet: give the total to the next of `openers`.
        """
        with self._one:
            return self._results.joined()

    def _written(self, kind: wire.Kind, least: int) -> Iterator[bytes]:
        senders, heard = self._whole.senders(len(self._parts)), self._whole.heard
        if senders != heard:
            raise QuorumError("a party sent only some of its parts: run the round anew")
        if len(senders) < least:
            waiting = f", {len(self.waiting)} wait for others of their groups" * bool(self._waiting)
            raise QuorumError(f"{len(senders)} parties sent{waiting}; the round needs {least}")
        if kind == wire.Kind.TOTAL:
            if self._round.cohort is not None and senders != set(self._round.cohort):
                raise QuorumError("with masks every party of the cohort must send: run it anew")
            self._closed = True
        return self._sum_messages(kind)

    def _sum_messages(self, kind: wire.Kind) -> Iterator[bytes]:
        if self._common is None:  # unreachable: there are senders
            raise QuorumError("nobody sent anything")
        for part in self._parts.all:
            each = self._whole[part.index]
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
            yield self._signed(kind, b"".join(pieces))

    def _signed(self, kind: wire.Kind, message: bytes) -> bytes:
        if kind != wire.Kind.PARTIAL or self._identity is None:
            return message
        place = self._params.aggregators.index(self._identity.public)
        return message + wire.signed_partial(message, place, self._identity)
