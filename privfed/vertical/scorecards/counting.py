"""The conversation about one scorecard: noisy counts of events in the host's bins, for one side.

An event is a row whose label is 1. The guest encrypts its labels, and the host answers with their
sums over its bins, masked (`privfed.vertical.trees.sums`): each count is then shared modulo t. The
side that is not to know counts adds noise to its shares and sends them; the other adds its own. Who
gets counts sees nothing else of them, and the other one only uniform numbers.

    host   SCORECARD_SHAPE   rows, columns, length of the names
    guest  LABELS            what was agreed on, key, encrypted labels
    host   COUNTS            answers; for the guest its noisy shares of events and of other rows,
                             and names, if these were agreed on
    guest  NOISY_COUNTS      for the host: the guest's noisy shares of events

Both sides follow the protocol (semi-honest). A host that counts something else than bins, such as
one row many times, sees through the noise on labels. A guest that encrypts other numbers sees
through the noise on rows. Who is to add noise is trusted to do so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from privfed.dp import PrivacyPlan, SecretRandomness
from privfed.errors import ConfigError, ContextMismatchError, DecodeError
from privfed.he.ring import PublicKey
from privfed.vertical.frames import FramedDialogue
from privfed.vertical.messages import VerticalMessage
from privfed.vertical.scorecards.plan import MOST_COLUMNS, ScorecardPlan
from privfed.vertical.scorecards.terms import ScorecardChoice
from privfed.vertical.scorecards.texts import (
    MOST_TEXT_BYTES,
    ColumnTexts,
    texts_from,
    texts_to_bytes,
    unnamed,
)
from privfed.vertical.trees.subsets import MISSING, Subsets
from privfed.vertical.trees.sums import SumsAnswerer, SumsReader
from psi.errors import StateError

__all__ = ["CountingGuest", "CountingHost"]

Counts = NDArray[np.int64]
Residues = NDArray[np.uint64]
Charge = Callable[[PrivacyPlan], object]

_NUMBER_BYTES, _COUNT_BYTES = 4, 8
_FINGERPRINT_BYTES = 32


class _Counting(FramedDialogue):
    """One side. `events` and `others` are there once it is done, and it is the receiver."""

    protocol = "privfed vertical scorecard"
    _plan: ScorecardPlan | None = None
    _events: Counts | None = None
    _others: Counts | None = None

    def __init__(self, choice: ScorecardChoice, rows: int, charge: Charge | None) -> None:
        super().__init__()
        self._choice, self._rows = choice, rows
        self._charge = charge or (lambda privacy: None)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._rows} rows)"

    @property
    def plan(self) -> ScorecardPlan:
        """What is counted.

        Raises:
            StateError: The other side has not told how much that is.
        """
        if self._plan is None:
            raise StateError("the other side has not told how many columns there are")
        return self._plan

    @property
    def events(self) -> Counts:
        """Noisy counts of rows whose label is 1: (columns, bins), that of missing values last.

        Raises:
            StateError: It is not done, or this side gets no counts.
        """
        return self._of_receiver(self._events)

    @property
    def others(self) -> Counts:
        """The same of rows whose label is 0: for the host its own rows less the events.

        Raises:
            StateError: It is not done, or this side gets no counts.
        """
        return self._of_receiver(self._others)

    def _of_receiver(self, counts: Counts | None) -> Counts:
        self._require_done()
        if counts is None:
            raise StateError("the counts are for the other side")
        return counts.reshape(self.plan.columns, self.plan.each)

    def _noise(self) -> Counts:
        return self.plan.noise(SecretRandomness())

    def _noisy(self, shares: Residues) -> bytes:
        """Return shares with noise, for the other side."""
        noisy = (shares + self._noise().astype(np.uint64)) & self._mask
        return noisy.astype(f"<u{_COUNT_BYTES}").tobytes()

    def _counted(self, own: Residues, theirs: memoryview) -> Counts:
        """Return the numbers of which both sides have a share."""
        taken = np.frombuffer(theirs, f"<u{_COUNT_BYTES}").astype(np.uint64)
        if (taken > self._mask).any():
            raise DecodeError("the other side sent a share that is none")
        total = ((own + taken) & self._mask).astype(np.int64)
        half = self.plan.layout.half
        return np.where(total >= half, total - 2 * half, total)

    @property
    def _mask(self) -> np.uint64:
        return np.uint64(2 * self.plan.layout.half - 1)

    @property
    def _shares_bytes(self) -> int:
        return self.plan.counts * _COUNT_BYTES

    @property
    def _for_host(self) -> bool:
        return self._choice.receiver == "host"


class CountingHost(_Counting):
    """The side with bins. It speaks first."""

    speaks_first: ClassVar[bool] = True

    def __init__(
        self,
        choice: ScorecardChoice,
        codes: NDArray[np.uint8],
        texts: tuple[ColumnTexts, ...] = (),
        *,
        charge: Charge | None = None,
    ) -> None:
        """Prepare the side with bins.

        Args:
            choice: What both sides chose.
            codes: Shape (columns, rows): each row's bin, `MISSING` where it lacks the value.
            texts: What columns and bins are called, for a guest that may know.
            charge: Called before noisy counts are sent, with what they cost; an exception of it
                ends the session.

        Raises:
            ConfigError: The rows have other bins than were chosen, or there are too many columns.
            CapacityError: So many rows do not fit.
        """
        super().__init__(choice, codes.shape[1], charge)
        self._plan = ScorecardPlan(choice, codes.shape[1], len(codes))
        if ((codes >= choice.bins) & (codes != MISSING)).any():
            raise ConfigError(f"a row is in a bin above the {choice.bins} that were agreed on")
        self._subsets = Subsets.histogram(codes, choice.bins, missing=True)
        self._bin_rows = self._subsets.sums(np.ones((1, self._rows), np.int64))[0]
        self._texts = texts_to_bytes(texts) if choice.names else b""
        if choice.names and (len(texts) != len(codes) or len(self._texts) > MOST_TEXT_BYTES):
            raise ConfigError("names are of all columns, and not too long")

    def _begin(self) -> bytes:
        layout = self.plan.layout
        self._awaiting(
            VerticalMessage.LABELS,
            [_FINGERPRINT_BYTES, PublicKey.size_bytes(ring=layout.ring),
             layout.ciphertexts_bytes(1)],
            self._answer,
        )  # fmt: skip
        numbers = (self._rows, self.plan.columns, len(self._texts))
        told = b"".join(number.to_bytes(_NUMBER_BYTES, "big") for number in numbers)
        return self._sealed(VerticalMessage.SCORECARD_SHAPE, told)

    def _answer(self, parts: list[memoryview]) -> bytes:
        fingerprint, public, labels = parts
        if fingerprint != self.plan.fingerprint():
            raise ContextMismatchError(
                "the other side counts something else: agree on receiver, epsilon, delta, bins, "
                "rows in a bin and names, and start again"
            )
        answerer = SumsAnswerer(self.plan.layout, public, self._subsets, cache_bytes=0)
        answers, shares = answerer.answered(labels, 1)
        own = shares[0]
        if self._for_host:
            self._awaiting(
                VerticalMessage.NOISY_COUNTS,
                [self._shares_bytes],
                lambda parts: self._take(own, parts[0]),
            )
            return self._sealed(VerticalMessage.COUNTS, answers)
        self._charge(self.plan.privacy)
        rest = (self._bin_rows.astype(np.uint64) - own) & self._mask
        message = self._sealed(
            VerticalMessage.COUNTS, answers, self._noisy(own), self._noisy(rest), self._texts
        )
        self._end()
        return message

    def _take(self, own: Residues, noisy: memoryview) -> None:
        self._events = self._counted(own, noisy)
        self._others = self._bin_rows - self._events
        self._end()


class CountingGuest(_Counting):
    """The side with labels. `texts` say what the columns and bins are called."""

    speaks_first: ClassVar[bool] = False

    def __init__(
        self,
        choice: ScorecardChoice,
        labels: NDArray[np.int64],
        *,
        charge: Charge | None = None,
    ) -> None:
        """Prepare the side with labels.

        Args:
            choice: What both sides chose.
            labels: Shape (rows,): 0 and 1.
            charge: As of `CountingHost`.

        Raises:
            ConfigError: The labels are none.
        """
        super().__init__(choice, len(labels), charge)
        if not np.isin(labels, (0, 1)).all():
            raise ConfigError("labels of a scorecard are 0 and 1")
        self._labels = labels.astype(np.int64)
        self.texts: tuple[ColumnTexts, ...] = ()
        self._reader: SumsReader | None = None
        self._awaiting(VerticalMessage.SCORECARD_SHAPE, [3 * _NUMBER_BYTES], self._planned)

    def _planned(self, parts: list[memoryview]) -> bytes:
        rows, columns, text_bytes = (
            int.from_bytes(parts[0][start : start + _NUMBER_BYTES], "big")
            for start in range(0, len(parts[0]), _NUMBER_BYTES)
        )
        if rows != self._rows:
            raise ContextMismatchError(
                f"the other side has {rows} common rows, this side {self._rows}"
            )
        named = self._choice.names
        if not 1 <= columns <= MOST_COLUMNS or text_bytes > (MOST_TEXT_BYTES if named else 0):
            raise DecodeError("the other side tells of columns that cannot be")
        self._plan = plan = ScorecardPlan(self._choice, rows, columns)
        self._reader = reader = SumsReader(plan.layout.plain_bits)
        shares = 0 if self._for_host else self._shares_bytes
        self._awaiting(
            VerticalMessage.COUNTS,
            [plan.layout.answers_bytes(1), shares, shares, text_bytes],
            lambda parts: self._opened(reader, parts),
        )
        return self._sealed(
            VerticalMessage.LABELS,
            plan.fingerprint(),
            reader.public,
            reader.encrypted(plan.layout, self._labels[None]),
        )

    def _opened(self, reader: SumsReader, parts: list[memoryview]) -> bytes | None:
        answers, events, others, texts = parts
        plan = self.plan
        own = reader.opened(plan.layout, answers, 1)[0]
        if self._for_host:
            self._charge(plan.privacy)
            message = self._sealed(VerticalMessage.NOISY_COUNTS, self._noisy(own))
            self._end()
            return message
        self._events = self._counted(own, events)
        self._others = self._counted(-own & self._mask, others)
        bins = self._choice.bins
        self.texts = (
            texts_from(texts, plan.columns, bins)
            if self._choice.names
            else unnamed(plan.columns, bins)
        )
        self._end()
        return None

    def _forget(self) -> None:
        self._reader = None
