"""Reading sums and entries: lengths and signatures first, payloads untouched."""

from privfed.errors import AuthenticationError, DecodeError, ReplayError
from privfed.secagg import wire
from privfed.secagg.parameters import Parameters
from privfed.secagg.parts import Part, Parts

Entries = dict[int, tuple[bytes, bytes]]  # by sender: the signed entry, and the seeds it names


def split(data: memoryview, size: int) -> tuple[memoryview, memoryview]:
    """Return the first ``size`` bytes and the rest.

    Raises:
        DecodeError: there are fewer.
    """
    if len(data) < size:
        raise DecodeError("the message is truncated")
    return data[:size], data[size:]


def verified(params: Parameters, prefix: wire.Prefix, raw: memoryview) -> wire.Entry:
    """Return a sender's entry whose signature is right.

    Raises:
        AuthenticationError: the sender is not on the roster, or did not sign this.
    """
    entry = wire.Entry.read(raw)
    if entry.sender >= len(params.roster):
        raise AuthenticationError("the sender is not on the roster")
    entry.verify(params.roster[entry.sender], prefix)
    return entry


def read_sum(
    parts: Parts, prefix: wire.Prefix, part: Part, data: memoryview
) -> tuple[Entries, memoryview, memoryview]:
    """Return (signed entries and seeds by sender, body, rest) of a total or partial sum.

    Raises:
        DecodeError: it is truncated, or counts more senders than a sum may have.
        AuthenticationError: an entry is not signed by its sender.
        ReplayError: a sender is in it twice.
    """
    _, after = split(data, wire.PREFIX_BYTES + wire.COUNT.size)
    (count,) = wire.COUNT.unpack_from(data, wire.PREFIX_BYTES)
    if not 1 <= count <= parts.params.max_clients:
        raise DecodeError("a sum over no parties, or over more than max_clients")
    _, rest = split(data, parts.sum_bytes(part, count, prefix.kind))
    entries: Entries = {}
    carried = parts.carried_seed_bytes(part, prefix.kind)
    for _ in range(count):
        raw, after = split(after, wire.ENTRY_BYTES)
        seeds, after = split(after, carried)
        entry = verified(parts.params, prefix, raw)
        if carried and wire.digest(seeds) != entry.seeds_hash:
            raise AuthenticationError("a signature does not verify")
        if entry.sender in entries:
            raise ReplayError("a sender is in the sum twice")
        entries[entry.sender] = (bytes(raw), bytes(seeds))
    return entries, after[: len(after) - len(rest)], rest
