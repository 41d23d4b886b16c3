"""The one place where messages of others are read: lengths and signatures first, payloads never.

What a message must be follows from the parameters and the round alone; nothing in it is believed
before its length, its place and its senders' signatures are right.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace

from privfed.errors import AuthenticationError, ConfigError, DecodeError, ReplayError
from privfed.secagg import wire
from privfed.secagg.parameters import Parameters
from privfed.secagg.parts import Parts, UpdatePart
from privfed.secagg.rounds import RoundID

Bytes = bytes | bytearray | memoryview
Entries = dict[int, tuple[bytes, bytes]]  # by sender: the signed entry, and the seeds it names

_CALLED = {
    wire.Kind.UPLOAD: "an upload",
    wire.Kind.PARTIAL: "a partial sum, for add_partial()",
    wire.Kind.TOTAL: "a total",
    wire.Kind.ANNOUNCEMENT: "an announcement",
    wire.Kind.REQUEST: "a request for replies, for the senders of a total",
    wire.Kind.REPLY: "a reply to a request, for the opener of a total",
    wire.Kind.RESULT: "a result that another party opened",
    wire.Kind.EPOCH: "a message of an epoch, for enter_epoch()",
}


@dataclass(frozen=True)
class PartMessage:
    """A message about one part, whose signatures are right.

    Attributes:
        part: The part.
        prefix: Where it belongs.
        entries: What each sender signed, and the seeds that came with it.
        body: The payload or the sum, which nothing has looked at.
        data: All of its bytes.
    """

    part: UpdatePart
    prefix: wire.Prefix
    entries: Entries
    body: memoryview
    data: memoryview


@dataclass(frozen=True)
class Place:
    """Where messages have to belong.

    Attributes:
        params: What all parties agreed on.
        of: The round.
        key_id: Id of the round's key; None: that of the first message.
        histories: Transcripts that the senders may name; None: that of the first message.
    """

    params: Parameters
    of: RoundID
    key_id: bytes | None
    histories: Collection[bytes] | None

    def check(self, prefix: wire.Prefix, like: wire.Prefix | None) -> None:
        """Refuse a message that does not belong here.

        Args:
            prefix: Its prefix.
            like: The prefix of an earlier message of the round, with which it must agree.

        Raises:
            ContextMismatchError: It belongs to another round, key, job or history.
        """
        previous = prefix.previous
        if like is not None:
            previous = like.previous
        elif self.histories is not None and previous not in self.histories:
            previous = next(iter(self.histories))
        wanted = replace(
            prefix,
            scheme=self.params.scheme,
            fingerprint=self.params.fingerprint,
            key_id=self.key_id or (like or prefix).key_id,
            round_id=self.of.number,
            cohort=self.of.cohort_hash,
            previous=previous,
        )
        wire.expect(prefix, wanted)


class MessageReader:
    """Reads the messages of one kind that belong to one round.

    Args:
        parts: The parts of an update.
        of: The round.
        kind: The only kind that is read.
        key_id: Id of the round's key; None: that of the first message.
        histories: Transcripts that the senders may name; None: that of the first message.
    """

    def __init__(
        self,
        parts: Parts,
        of: RoundID,
        kind: wire.Kind,
        *,
        key_id: bytes | None,
        histories: Collection[bytes] | None,
    ) -> None:
        self._parts, self._kind = parts, kind
        self._place = Place(parts.params, of, key_id, histories)
        self._alone = kind in wire.OF_ONE_SENDER

    def whole(self, stream: Iterable[bytes]) -> Iterator[PartMessage]:
        """Yield all parts of one update's messages, in order; none may be missing.

        Raises:
            ConfigError: It is no sequence of bytes.
            DecodeError: A part is missing, out of order, cut or extended, or of another kind.
            ContextMismatchError: A part belongs to another round, key, job or history.
            AuthenticationError: A sender is not on the roster, or did not sign it.
            ReplayError: A sender is in it twice.
        """
        done, like = 0, None
        for chunk in self.several(stream):
            for message in self.read(chunk, like):
                if message.part.index != done:
                    raise DecodeError(f"a part of {self._called} is missing or out of order")
                done, like = done + 1, message.prefix
                yield message
        if done != len(self._parts):
            raise DecodeError(f"{self._called} is truncated")

    def several(self, messages: Iterable[bytes]) -> Iterable[bytes]:
        """Return messages, after checking that they come as several.

        Raises:
            ConfigError: They are one message, or no sequence.
        """
        if isinstance(messages, str | Bytes) or not isinstance(messages, Iterable):
            raise ConfigError(f"give a list of bytes, each of them {self._called} or a part of one")
        return messages

    def read(self, data: Bytes, like: wire.Prefix | None) -> Iterator[PartMessage]:
        """Yield the messages that stand one after another in `data`, of any parts.

        Args:
            data: What came in.
            like: The prefix of an earlier message of the round, with which these must agree.

        Raises:
            ConfigError: It is no bytes.
            DecodeError: A message is cut, extended, or of another kind.
            ContextMismatchError: It belongs to another round, key, job or history.
            AuthenticationError: A sender is not on the roster, or did not sign it.
            ReplayError: A sender is in it twice.
        """
        if not isinstance(data, Bytes):
            raise ConfigError(f"{self._called} is bytes, not {type(data).__name__}")
        rest = memoryview(bytes(data))  # a copy: the caller's buffer may change after the checks
        if not rest:
            raise DecodeError("the message is truncated")
        while rest:
            message = self._first(rest, like)
            rest, like = rest[len(message.data) :], message.prefix
            yield message

    @property
    def _called(self) -> str:
        return _CALLED[self._kind]

    def _first(self, data: memoryview, like: wire.Prefix | None) -> PartMessage:
        prefix = wire.Prefix.read(data)
        if prefix.kind != self._kind:
            raise DecodeError(f"expected is {self._called}, and this is {_CALLED[prefix.kind]}")
        self._place.check(prefix, like)
        part = self._parts.of(prefix)
        after = data[wire.PREFIX_BYTES :]
        count = 1
        if not self._alone:
            head, after = split_off(after, wire.COUNT.size)
            (count,) = wire.COUNT.unpack(head)
            if not 1 <= count <= self._parts.params.max_clients:
                raise DecodeError("a sum over no parties, or over more than max_clients")
        message, _ = split_off(data, self._parts.message_bytes(part, self._kind, count))
        inner = message
        if self._kind == wire.Kind.PARTIAL:
            inner = wire.verify_partial(message, self._parts.params.aggregators)
        carried = self._parts.carried_seed_bytes(part, self._kind)
        entries: Entries = {}
        for _ in range(count):
            raw, after = split_off(after, self._parts.entry_bytes(self._kind))
            seeds, after = split_off(after, carried)
            entry = self._verified(prefix, raw)
            if (carried or self._alone) and wire.digest(seeds) != entry.seeds_hash:
                raise AuthenticationError("a signature does not verify")
            if entry.sender in entries:
                raise ReplayError("a sender is in the sum twice")
            entries[entry.sender] = (bytes(raw), bytes(seeds))
        body = after[: len(after) - (len(data) - len(inner))]
        if self._alone and wire.digest(body) != entry.payload_hash:
            raise AuthenticationError("a signature does not verify")
        return PartMessage(part, prefix, entries, body, message)

    def _verified(self, prefix: wire.Prefix, raw: memoryview) -> wire.Entry:
        entry, roster = wire.Entry.read(raw), self._parts.params.roster
        if entry.sender >= len(roster):
            raise AuthenticationError("the sender is not on the roster")
        entry.verify(roster[entry.sender], prefix)
        return entry


def split_off(data: memoryview, size: int) -> tuple[memoryview, memoryview]:
    """Return the first `size` bytes, and the rest.

    Raises:
        DecodeError: There are fewer.
    """
    if len(data) < size:
        raise DecodeError("the message is truncated")
    return data[:size], data[size:]
