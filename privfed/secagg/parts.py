"""How an update is cut into parts that fit in memory; sizes follow from the parameters alone."""

from dataclasses import dataclass

from privfed.errors import DecodeError
from privfed.secagg import wire
from privfed.secagg.parameters import Parameters
from privfed.secagg.schemes import Scheme, scheme_of


@dataclass(frozen=True)
class Part:
    """Integers ``start`` to ``stop`` of the update (weight digits first)."""

    index: int
    start: int
    stop: int

    @property
    def values(self) -> int:
        """Number of integers in the part."""
        return self.stop - self.start


class Parts:
    """The parts of an update under one parameter set, and the lengths of their messages."""

    def __init__(self, params: Parameters) -> None:
        self.params = params
        self.scheme: Scheme = scheme_of(params)
        size = self.scheme.values_per_part
        self.all = tuple(
            Part(index, start, min(start + size, params.values))
            for index, start in enumerate(range(0, params.values, size))
        )

    def __len__(self) -> int:
        return len(self.all)

    def of(self, prefix: wire.Prefix) -> Part:
        """Return the part that a message is about.

        Raises:
            DecodeError: there is no such part.
        """
        if prefix.part >= len(self.all):
            raise DecodeError("the message is about a part that the update does not have")
        return self.all[prefix.part]

    def upload_bytes(self, part: Part) -> int:
        """Return the length of one party's message about a part."""
        body = self.scheme.seed_bytes(part.values) + self.scheme.payload_bytes(part.values)
        return wire.PREFIX_BYTES + wire.ENTRY_BYTES + body

    def announcement_bytes(self, part: Part) -> int:
        """Return the length of the announcement of a part's seeds."""
        return wire.PREFIX_BYTES + wire.ENTRY_BYTES + self.scheme.seed_bytes(part.values)

    def carried_seed_bytes(self, part: Part) -> int:
        """Return the bytes of seeds that sums carry for each sender."""
        return self.scheme.seed_bytes(part.values) if self.scheme.download == "seeds" else 0

    def sum_bytes(self, part: Part, senders: int, kind: wire.Kind) -> int:
        """Return the length of a total or partial sum of a part over ``senders`` senders."""
        size = self.scheme.total_bytes if kind == wire.Kind.TOTAL else self.scheme.partial_bytes
        each = wire.ENTRY_BYTES + self.carried_seed_bytes(part)
        head = wire.PREFIX_BYTES + wire.COUNT.size
        return head + senders * each + size(part.values)
