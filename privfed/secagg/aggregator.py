"""The server's side: adds bytes it cannot read, with public parameters alone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from privfed.errors import (
    AuthenticationError,
    CapacityError,
    ConfigError,
    DecodeError,
    QuorumError,
    ReplayError,
)
from privfed.he.keys import ID_BYTES
from privfed.secagg import wire
from privfed.secagg.checks import check_round
from privfed.secagg.masks import cohort_hash, cohort_of
from privfed.secagg.parameters import Parameters
from privfed.secagg.parts import Part, Parts
from privfed.secagg.reading import Entries, read_sum, split, verified
from privfed.secagg.schemes import Accumulator


@dataclass
class _Sum:
    """The sum of one part, with what each sender signed."""

    accumulator: Accumulator
    entries: Entries = field(default_factory=dict)


@dataclass
class _Message:
    """An upload or partial sum whose signatures were checked."""

    part: Part
    prefix: wire.Prefix
    entries: Entries  # sender: signed entry, seeds
    body: memoryview


class Aggregator:
    """Adds the uploads of one round.

    Args:
        params: what all parties agreed on; no secret is needed, and none is taken.
        round_id: the round.
        cohort: with masks, the roster places of this round's parties (None: all).
        key_id: the key of the round (``SecretKey.id``, which is public); None takes the first
            upload's, so that a hostile party who is first shuts the others out.
        previous: transcript that the uploads name, empty for none; None takes the first upload's.

    Raises:
        ConfigError: an argument is not what it says.
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
        self._params = params
        self._round_id = check_round(round_id)
        self._cohort = cohort_of(params, cohort) if params.masks else None
        self._cohort_hash = cohort_hash(params, cohort)
        self._parts = Parts(params)
        self._key_id = _exactly(key_id, ID_BYTES, "key_id")
        history = bytes(wire.HASH_BYTES) if previous == b"" else previous
        self._previous = _exactly(history, wire.HASH_BYTES, "previous")
        self._common: wire.Prefix | None = None
        self._sums: dict[int, _Sum] = {}
        self._closed = False

    @property
    def senders(self) -> tuple[str, ...]:
        """Ids of the parties in the sum so far, in the roster's order."""
        places = {place for each in self._sums.values() for place in each.entries}
        return tuple(self._params.roster[place].id for place in sorted(places))

    def add(self, message: bytes) -> None:
        """Add one party's upload, or some parts of one.

        All of ``message`` is checked before any of it is added; only SEAL itself, under "slots" and
        "ckks", may still refuse a block after others were added, and then the round is spoilt.

        Raises:
            DecodeError: it is truncated, extended or no message (or a secret key).
            ContextMismatchError: it belongs to other parameters, key, round, cohort or history.
            AuthenticationError: the sender is not on the roster or did not sign it.
            ReplayError: the sender is in the sum already, or the total was taken.
            CapacityError: more than ``max_clients`` parties.
        """
        self._add(message, wire.Kind.UPLOAD)

    def add_partial(self, message: bytes) -> None:
        """Add another aggregator's partial sum, checked as far as it can be.

        Take it only from the aggregators of the tree, over an authenticated channel: the senders
        signed the headers in it and nobody the sum, so that a stranger with one upload that it
        tapped can shut the upload's sender out, or spoil the round.

        Raises:
            DecodeError: it is truncated, extended or no partial sum (or a secret key).
            ContextMismatchError: it belongs to other parameters, key, round, cohort or history.
            AuthenticationError: a sender is not on the roster or did not sign its header.
            ReplayError: a sender is in the sum already, or the total was taken.
            CapacityError: more than ``max_clients`` parties.
        """
        self._add(message, wire.Kind.PARTIAL)

    def _add(self, message: bytes, kind: wire.Kind) -> None:
        if not isinstance(message, bytes | bytearray | memoryview):
            raise ConfigError("an Aggregator adds bytes from an Encryptor, and takes no secret")
        if self._closed:
            raise ReplayError("the total was taken: this round is closed")
        checked = list(self._messages(memoryview(message), kind))
        self._check_new(checked)
        for each in checked:
            self._common = self._common or each.prefix
            self._accumulate(each)

    def _messages(self, data: memoryview, kind: wire.Kind) -> Iterator[_Message]:
        common = self._common
        while True:
            prefix = wire.Prefix.read(data)
            if prefix.kind != kind:
                raise DecodeError("add() takes uploads, add_partial() partial sums, nothing else")
            like = common or prefix
            wanted = replace(
                like,
                scheme=self._params.scheme,
                fingerprint=self._params.fingerprint,
                round_id=self._round_id,
                cohort=self._cohort_hash,
                key_id=self._key_id or like.key_id,
                previous=self._previous or like.previous,
            )
            wire.expect(prefix, wanted)
            common, part = common or prefix, self._parts.of(prefix)
            read = self._upload if kind == wire.Kind.UPLOAD else self._partial
            message, data = read(prefix, part, data)
            yield message
            if not data:
                return

    def _upload(
        self, prefix: wire.Prefix, part: Part, data: memoryview
    ) -> tuple[_Message, memoryview]:
        message, rest = split(data, self._parts.upload_bytes(part))
        raw = message[wire.PREFIX_BYTES : wire.PREFIX_BYTES + wire.ENTRY_BYTES]
        body = message[wire.PREFIX_BYTES + wire.ENTRY_BYTES :]
        seeds = body[: self._parts.scheme.seed_bytes(part.sealed)]
        payload = body[len(seeds) :]
        entry = verified(self._params, prefix, raw)
        if wire.digest(seeds) != entry.seeds_hash or wire.digest(payload) != entry.payload_hash:
            raise AuthenticationError("a signature does not verify")
        entries = {entry.sender: (bytes(raw), bytes(seeds))}
        return _Message(part, prefix, entries, payload), rest

    def _partial(
        self, prefix: wire.Prefix, part: Part, data: memoryview
    ) -> tuple[_Message, memoryview]:
        entries, body, rest = read_sum(self._parts, prefix, part, data)
        return _Message(part, prefix, entries, body), rest

    def _check_new(self, messages: list[_Message]) -> None:
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
            if self._cohort is not None and not each.entries.keys() <= set(self._cohort):
                raise AuthenticationError("a sender is not in the round's cohort")

    def _accumulate(self, message: _Message) -> None:
        place = message.part.index
        if place not in self._sums:
            self._sums[place] = _Sum(self._parts.scheme.accumulator(message.part.sealed))
        into = self._sums[place]
        into.entries.update(message.entries)
        if message.prefix.kind == wire.Kind.UPLOAD:
            into.accumulator.add(message.body)
        else:
            into.accumulator.merge(message.body)

    def partial(self) -> bytes:
        """Return the sum so far for an aggregator further up; only the root cuts bits.

        Raises:
            QuorumError: a party sent only some of its parts, or nobody sent anything.
        """
        return b"".join(self._written(wire.Kind.PARTIAL, least=1))

    def total(self) -> bytes:
        """Return the round's total for the decryptors, and close the round.

        Raises:
            QuorumError: too few parties, one that sent only some of its parts, or, with masks, a
                cohort that is not complete: run the round anew.
        """
        return b"".join(self.total_blocks())

    def total_blocks(self) -> Iterator[bytes]:
        """Yield the total in parts of a few megabytes; see ``total``."""
        return self._written(wire.Kind.TOTAL, least=self._params.min_clients)

    def _written(self, kind: wire.Kind, least: int) -> Iterator[bytes]:
        groups = {frozenset(each.entries) for each in self._sums.values()}
        if len(groups) > 1 or (groups and len(self._sums) != len(self._parts)):
            raise QuorumError("a party sent only some of its parts: run the round anew")
        senders = next(iter(groups), frozenset())
        if len(senders) < least:
            raise QuorumError(f"{len(senders)} parties sent; the round needs {least}")
        if kind == wire.Kind.TOTAL:
            if self._cohort is not None and senders != set(self._cohort):
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
            if kind == wire.Kind.TOTAL:
                pieces.append(each.accumulator.total([seeds for _, seeds in entries]))
            else:
                pieces.append(each.accumulator.partial())
            yield b"".join(pieces)


def _exactly(value: bytes | None, length: int, name: str) -> bytes | None:
    if value is not None and (not isinstance(value, bytes) or len(value) != length):
        raise ConfigError(f"{name} is {length} bytes")
    return value
