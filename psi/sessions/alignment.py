"""Align two tables in one process: both roles of the protocol, run against each other."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psi.defaults import DUPLICATES
from psi.protocols.auto import OFFERED, cheapest
from psi.protocols.choice import AUTO, chosen
from psi.protocols.conversation import Dialogue, Progress
from psi.protocols.parameters import SessionParameters
from psi.tables.columns import key_columns, key_names
from psi.tables.keys import Duplicates, index_keys
from psi.tables.normalise import Normalise, normalisers

__all__ = ["Alignment", "align"]


@dataclass(frozen=True)
class Alignment:
    """Which row of one table belongs to which row of the other.

    Attributes:
        left_rows: Row numbers of the left table, counted from 0, shape (matches,).
        right_rows: Row numbers of the right table, shape (matches,): right_rows[i] has the ID
            of left_rows[i].
        bytes_exchanged: Bytes that both sides together sent.
        protocol: The protocol that ran.
        reason: Why it was chosen; empty if it was named.
        rows: How many rows with an ID took part, of the left table and of the right.
    """

    left_rows: NDArray[np.intp]
    right_rows: NDArray[np.intp]
    bytes_exchanged: int
    protocol: str
    reason: str = ""
    rows: tuple[int, int] = (0, 0)


def align(
    left: Any,
    right: Any,
    *,
    on: str | Sequence[str] | None = None,
    duplicates: Duplicates = DUPLICATES,
    normalise: Normalise = None,
    protocol: str = AUTO,
    progress: Progress | None = None,
) -> Alignment:
    """Find the rows of two tables that have the same ID, by running the real protocol.

    Missing IDs (None, NaN, empty text; one part of a composite ID suffices) match nothing.

    Args:
        left: A list, array, Series, data frame, Arrow table, mapping of columns, or the path of
            a CSV or Parquet file.
        right: The same; the two need not be of one type.
        on: The column or columns that hold the ID, where the inputs are tables.
        duplicates: What to do with an ID that a table repeats: "error" refuses, "first" keeps
            its first row, "all" gives every pair of its rows.
        normalise: How to make messy IDs comparable, on both sides: steps as in
            "nfkc,case,space" (see `psi.tables.normalise`), steps by column as in
            {"mail": "email"}, or a function from text to text; None compares exactly.
        protocol: The name of one of `psi.protocols.choice`; "auto" is the cheapest for these sizes.
        progress: Called with a stage, the items done and their number.

    Returns:
        The matching rows, ordered by left row, then right row.

    Raises:
        ConfigError: An input is no table, lacks a column, or holds values that are no IDs; or
            there is no such protocol.
        DuplicateIDError: An ID is repeated under "error".
    """
    functions = normalisers(normalise, key_names(on))
    if progress is not None:
        progress("encoding IDs", 0, 0)
    left_index, right_index = (
        index_keys(
            key_columns(table, on, name), duplicates=duplicates, normalise=functions, name=name
        )
        for table, name in ((left, "left"), (right, "right"))
    )
    every = duplicates == "all"
    parameters = SessionParameters(multiplicities=every)
    sizes = len(left_index.keys), len(right_index.keys)
    running, reason = chosen(protocol), ""
    if protocol == AUTO:
        number, reason = cheapest(*sizes, None)
        running = OFFERED[number]
    receiving, sending = running.parties
    receiver = receiving(
        left_index.keys,
        parameters,
        counts=left_index.counts() if every else None,
        progress=progress,
        max_peer_items=sys.maxsize,  # both tables are here: nobody is to be limited
    )
    sender = sending(
        right_index.keys,
        parameters,
        counts=right_index.counts() if every else None,
        progress=progress,
        max_peer_items=sys.maxsize,  # both tables are here: nobody is to be limited
    )
    bytes_exchanged = _run(receiver, sender)
    left_rows = left_index.aligned_rows(receiver.matches, receiver.peer_counts, leads=True)
    right_rows = right_index.aligned_rows(sender.matches, sender.peer_counts, leads=False)
    order = np.lexsort((right_rows, left_rows))
    return Alignment(
        left_rows=left_rows[order],
        right_rows=right_rows[order],
        bytes_exchanged=bytes_exchanged,
        protocol=receiver.protocol,
        reason=reason,
        rows=(len(left_index.rows), len(right_index.rows)),
    )


def _run(receiver: Dialogue, sender: Dialogue) -> int:
    """Carry the messages between two state machines; return the bytes of all of them."""
    message = receiver.start()
    bytes_exchanged, to_sender = 0, True
    while message is not None:
        bytes_exchanged += len(message)
        message = (sender if to_sender else receiver).receive(message)
        to_sender = not to_sender
    return bytes_exchanged
