"""The sum of one side's column over the intersection, and not which items are in it.

Private intersection-sum of Ion et al. 2019 (On deploying secure computation: private
intersection-sum-with-cardinality, ePrint 2019/723): `psi.protocols.cardinality`, with an encrypted
value beside each point of the side that has the column. The other side adds up the ciphertexts of
the matches and has the sum opened. Encryption is that of `psi.group.elgamal`.

    Receiver                                Sender, with the column and a key x
    RECEIVER_HELLO                      →
                                        ←   SENDER_HELLO
    POINTS   a·C, a·H(items) shuffled   →
                                        ←   ANSWER  MAC, b·C, b·H(items) shuffled, sorted tags,
                                                x·G, the points' encrypted values
    SUM_REQUEST  MAC, R = r·G + sum of  →
       the matches' first halves
                                        ←   SUM_OPENED  MAC, x·R
    FINISH   MAC [, the sum]            →
                                        ←   CLOSE  MAC

r is fresh, so R is a uniform point and tells the sender nothing of the matches; the receiver
subtracts r·x·G again. It learns the sum first, and tells it only if the sum is within what the
agreed `max_value` allows. So values that were chosen to reveal which items are in the sum are
noticed, unless they are small. A sum reveals the cardinality, too. Below `minimum` the receiver
stops before it asks for the sum, so that neither side learns it. If the receiver alone learns, it
asks for the sum of nothing instead, which is as random a point, and goes on: whether it stops would
tell a sender whose set is made for it whether one ID is there. For the same reason it keeps a sum
out of range to itself. The sender has to believe that it asks for the sum of the matches, all of
them and nothing else: semi-honest security. A minimum refuses few
matches, but hides no value: a receiver can subtract what it knows of the others. Noise hides one:
`psi.protocols.noisy`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from psi.errors import (
    ConfigError,
    DecodeError,
    MinimumError,
    ProtocolError,
    RepeatedElementError,
    SizeLimitError,
    StateError,
)
from psi.group.elgamal import MAX_SUM, encrypt, logarithm, total
from psi.group.ristretto255 import (
    POINT_BYTES,
    Points,
    Scalar,
    add,
    check_points,
    multiply,
    multiply_base,
    points_from_bytes,
    subtract,
)
from psi.protocols.cardinality import CardinalityReceiver, CardinalitySender, Counting
from psi.protocols.conversation import Progress
from psi.protocols.elements import rows_of
from psi.protocols.messages import MessageType
from psi.protocols.noise import EXACT, SessionCost
from psi.protocols.parameters import MAX_PEER_ITEMS, SessionParameters
from psi.protocols.party import MAC_BYTES, expect_shape

__all__ = ["SumParameters", "SumReceiver", "SumSender", "Summing"]

_SUM_BYTES = 8
_VALUE_BYTES = 2 * POINT_BYTES


@dataclass(frozen=True)
class SumParameters(SessionParameters):
    """What both sides of a sum must choose alike.

    Attributes:
        minimum: The least number of matches for which the sum is opened. It does not hide a value
            if the receiver knows the others.
        max_value: The largest value; values are whole numbers from 0.
    """

    minimum: int = 10
    max_value: int = (1 << 20) - 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.minimum < 1:
            raise ConfigError("a sum needs a minimum of at least 1 match")
        if not 1 <= self.max_value <= MAX_SUM:
            raise ConfigError(f"max_value lies between 1 and {MAX_SUM}")


class Summing(Counting):
    """What both roles do: agree that there are enough matches and the sum can be found; keep it."""

    protocol = "ecdh-sum"
    _counted = "matches"
    _sum: int | None = None
    _value_key: Scalar | None = None
    _mask: Scalar | None = None
    _withheld: ProtocolError | None = None

    @property
    def cardinality(self) -> int:
        """How many items both sides have.

        Raises:
            StateError: The session is not done, or the settings give this side no result.
            ProtocolError: As of `sum`.
        """
        self._require_done()
        self._tell_withheld()
        return super().cardinality

    @property
    def sum(self) -> int:
        """The sum of the column over the intersection.

        Raises:
            StateError: The session is not done, or the settings give this side no result.
            ProtocolError: The sum is for the receiver only and not acceptable, or of too few
                matches; the other side was not told.
        """
        self._require_done()
        self._tell_withheld()
        if self._sum is None:
            raise StateError("the settings give the result to the receiver only")
        return self._sum

    @property
    def longest_message(self) -> int:
        """As of every party, with the public key and the values."""
        longest = super().longest_message
        if self._n_peer is None:
            return longest
        return longest + POINT_BYTES + _VALUE_BYTES * self._n_peer

    @property
    def cost(self) -> SessionCost:
        """An exact figure to the other side: time may tell whether there are too few matches."""
        return EXACT

    @property
    def _settings(self) -> SumParameters:
        return cast("SumParameters", self._parameters)

    def _take_hello(self, data: bytes) -> None:
        super()._take_hello(data)
        most = self._most_matches()
        self._refuse_few(most)
        if self._largest_sum(most) > MAX_SUM:
            raise SizeLimitError(
                f"{most} values of up to {self._settings.max_value} may sum to more than "
                f"{MAX_SUM}: lower max_value, or sum in thousands"
            )

    def _largest_sum(self, matches: int) -> int:
        """Return the largest sum that so many matches can have."""
        return matches * self._settings.max_value

    def _refuse_few(self, matches: int) -> None:
        if matches < self._settings.minimum:
            raise self._too_few()

    def _too_few(self) -> MinimumError:
        return MinimumError(
            f"fewer than {self._settings.minimum} {self._counted}, the agreed minimum: "
            "no sum is computed"
        )

    def _tell_withheld(self) -> None:
        if self._withheld is not None:
            raise self._withheld

    def _forget(self) -> None:
        super()._forget()
        self._value_key = self._mask = None


class SumReceiver(Summing, CardinalityReceiver):
    """The side without the column: speaks first, always learns the sum and the cardinality."""

    def __init__(
        self,
        items: Sequence[bytes],
        parameters: SumParameters | None = None,
        *,
        max_peer_items: int = MAX_PEER_ITEMS,
        progress: Progress | None = None,
    ) -> None:
        """Prepare one session; arguments and errors as for `CardinalityReceiver`."""
        super().__init__(
            items, parameters or SumParameters(), max_peer_items=max_peer_items, progress=progress
        )

    def _on_answer(self, data: bytes) -> bytes:
        answer = self._transcript.open(MessageType.ANSWER, data)
        points_end = MAC_BYTES + self._points_length()
        tags_end = points_end + self._tags_length()
        values_length = POINT_BYTES + _VALUE_BYTES * self._peer_items()
        expect_shape(answer, self._peer_items(), tags_end + values_length)
        self._blind_again(answer.body[MAC_BYTES:points_end])
        self._check(answer)
        # Check all, matching or not: a refusal would reveal what it depends on.
        ciphers = points_from_bytes(answer.body[tags_end:])
        check_points(ciphers)
        if len(set(rows_of(answer.body[tags_end:], POINT_BYTES))) != len(ciphers):
            raise RepeatedElementError("the other side sent the same encrypted value twice")
        common = self._common(answer.body[points_end:tags_end])
        self._cardinality = self._told(len(common))
        matching = np.array([tag in common for tag in self._peer_tags[1:]], bool)
        if self._estimate(self._cardinality) < self._settings.minimum:
            self._withhold(self._too_few())
            matching[:] = False  # a request for nothing is as random a point
        hiding, hidden = ciphers[1::2], ciphers[2::2]
        for points in (hiding, hidden):  # in vain, so that the time does not tell how many match
            total(points[~matching])
        self._expect = self._on_opened
        return self._request(ciphers[:1], hiding[matching], hidden[matching])

    def _withhold(self, error: ProtocolError) -> None:
        """Keep back an error that depends on the matches, if the other side learns nothing."""
        if self._both:
            raise error
        self._withheld = self._withheld or error

    def _told_sum(self, found: int) -> int:
        """Return what the other side is told of the sum."""
        return found

    def _request(self, public_key: Points, hiding: Points, hidden: Points) -> bytes:
        self._mask = Scalar.random()
        request = add(total(hiding), multiply_base([self._mask]))
        self._masked_sum = add(total(hidden), multiply(self._mask, public_key))
        return self._confirmed(MessageType.SUM_REQUEST, self._announced, request.tobytes())

    def _on_opened(self, data: bytes) -> bytes:
        opened = self._transcript.open(MessageType.SUM_OPENED, data)
        expect_shape(opened, self._announced, MAC_BYTES + POINT_BYTES)
        self._check(opened)
        mask = points_from_bytes(opened.body[MAC_BYTES:])
        check_points(mask)
        self._progress("finding the sum", 0, 1)
        matches = min(self._cardinality or 0, self._most_matches())
        if self._withheld is not None:
            matches = self._settings.minimum
        found = logarithm(subtract(self._masked_sum, mask), self._largest_sum(matches))
        if found is None:
            error = DecodeError(
                f"the sum is more than {self._settings.max_value} a match: the other side's "
                "values or key are not as agreed"
            )
            self._withhold(error)
        self._sum = self._told_sum(found or 0)
        self._expect = self._on_close
        content = self._sum.to_bytes(_SUM_BYTES, "big") if self._both else b""
        return self._confirmed(MessageType.FINISH, self._announced, content)


class SumSender(Summing, CardinalitySender):
    """The side with the column; learns the sum and the cardinality if the output is "both"."""

    def __init__(
        self,
        items: Sequence[bytes],
        values: Sequence[int],
        parameters: SumParameters | None = None,
        *,
        max_peer_items: int = MAX_PEER_ITEMS,
        progress: Progress | None = None,
    ) -> None:
        """Prepare one session.

        Args:
            items: This side's set: distinct byte strings.
            values: One whole number from 0 to `max_value` per item.
            parameters: What both sides must choose alike.
            max_peer_items: The most items that the other side may be able to test.
            progress: Called with a stage, the items done and their number while it works.

        Raises:
            ConfigError: Items repeat, or values are of another number or out of range.
        """
        parameters = parameters or SumParameters()
        super().__init__(items, parameters, max_peer_items=max_peer_items, progress=progress)
        if len(values) != len(items):
            raise ConfigError("there is one value an item")
        if not all(
            isinstance(value, int) and 0 <= value <= parameters.max_value for value in values
        ):
            raise ConfigError(f"values are whole numbers from 0 to {parameters.max_value}")
        self._values = values

    def _on_points(self, data: bytes) -> bytes:
        message = self._transcript.open(MessageType.POINTS, data)
        expect_shape(message, self._peer_items(), self._points_length())
        own = self._blind()
        self._blind_again(message.body)
        self._progress("encrypting values", 0, len(self._items))
        self._value_key = Scalar.random()
        ciphers = encrypt(self._value_key, [self._values[index] for index in self._order])
        public_key = multiply_base([self._value_key])
        self._hiding = set(rows_of(ciphers[:, :POINT_BYTES].copy().data, POINT_BYTES))
        self._expect = self._on_request
        content = b"".join(
            [own.tobytes(), self._tags_for_peer(), public_key.tobytes(), ciphers.tobytes()]
        )
        return self._confirmed(MessageType.ANSWER, self._own_size(), content)

    def _on_request(self, data: bytes) -> bytes:
        request = self._transcript.open(MessageType.SUM_REQUEST, data)
        if self._both:
            self._cardinality = min(request.count, self._most_told())
        expect_shape(request, self._announced, MAC_BYTES + POINT_BYTES)
        self._check(request)
        if self._both:
            self._refuse_few(self._estimate(self._announced))
        if bytes(request.body[MAC_BYTES:]) in self._hiding:
            raise RepeatedElementError("the other side asks for a single value, not for a sum")
        assert self._value_key is not None  # noqa: S101 - _on_points was called before
        mask = multiply(self._value_key, points_from_bytes(request.body[MAC_BYTES:]))
        opened = self._shifted(mask)
        self._value_key = None
        self._expect = self._on_finish
        return self._confirmed(MessageType.SUM_OPENED, self._announced, opened.tobytes())

    def _shifted(self, mask: Points) -> Points:
        """Return the mask that opens the sum, and with it whatever is to be added to the sum."""
        return mask

    def _on_finish(self, data: bytes) -> bytes:
        finish = self._transcript.open(MessageType.FINISH, data)
        length = _SUM_BYTES if self._both else 0
        expect_shape(finish, self._announced, MAC_BYTES + length)
        self._check(finish)
        if self._both:
            self._sum = int.from_bytes(finish.body[MAC_BYTES:], "big")
            if self._sum > self._largest_sum(self._announced):
                raise DecodeError("the other side tells a sum that the matches cannot have")
        close = self._confirmed(MessageType.CLOSE, self._announced, b"")
        self._end()
        return close
