"""Counts and sums of which neither side sees the exact figure: each adds noise of its own.

The messages are those of `psi.protocols.cardinality` and `psi.protocols.sums`, but:

- Both hellos end with the side's ε and δ, from which the noise of each figure follows
  (`psi.protocols.noise`): a whole number from -m to m. It is added as one from 0 to 2m.
- The sender has 2m matching dummies: points d·(b·C) among its own, with secret random d. Among the
  tags that it returns, which are sorted, are 2m more: for m + noise of the dummies their own, for
  the others those of random points. So the receiver finds m + noise matches too many. One that
  follows the protocol can't tell which: to it a dummy is a random point.
- The receiver returns no tags. It tells how many it found, with its own noise added. The sender
  knows how many of its dummies are among them.
- The sender opens a sum with its noise added. The receiver adds its own before it tells the sum.

So each side learns the figure with the other side's noise. What else it is told follows from that
and from its own noise: the number that both know, with both noises, is compared with the minimum.
What a side learns does not depend on the noise it adds, so who adds none harms only itself.
What is told of a side is (ε, δ)-differentially private. Its size is public; neighbours differ in
one ID, with its value, that is replaced by another. It moves the number of matches by at most 1,
the sum by at most `max_value`. A side that tells both gives half of ε and δ to each. If only the
receiver is to learn, it tells nothing of a count, and of a sum only to one who measures its time
whether there were too few matches.

Privacy is computational (Mironov, Pandey, Reingold and Vadhan 2009), under the assumptions of those
protocols, against a side that follows the protocol, whatever set it brings. A receiver that blinds
its items, and not C, by a second scalar tells matching dummies from matching items, and has the
exact count; one that blinds each of its items by a scalar of its own still learns which of them
match. Noise is drawn before the session, and the steps do not depend on it.
"""

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from psi.errors import ConfigError, DecodeError
from psi.group.ristretto255 import (
    POINT_BYTES,
    Points,
    Scalar,
    multiply,
    multiply_base_each,
    points_from_bytes,
    subtract,
)
from psi.protocols.cardinality import CardinalityReceiver, CardinalitySender, Counting
from psi.protocols.messages import MessageType
from psi.protocols.noise import NOTHING, OwnNoise, SessionCost, TruncatedLaplace
from psi.protocols.party import MAC_BYTES, expect_shape, random_order, tag_bytes
from psi.protocols.sums import Summing, SumReceiver, SumSender

__all__ = [
    "NoisyCardinalityReceiver",
    "NoisyCardinalitySender",
    "NoisySumReceiver",
    "NoisySumSender",
]

_ANNOUNCEMENT = struct.Struct(">dd")
_COUNT, _SUM = 0, 1  # the figures


class _Noisy(Counting):
    """What both roles do: announce their noise, add it, and take the other side's mean off."""

    protocol = "ecdh-noisy-cardinality"
    _announcement_bytes = _peer_announcement_bytes = _ANNOUNCEMENT.size
    _noise: OwnNoise
    _own: list[TruncatedLaplace]
    _peer: list[TruncatedLaplace]
    _peer_dummies = 0

    def __init__(
        self, items: Sequence[bytes], *arguments: Any, noise: OwnNoise, **options: Any
    ) -> None:
        """Prepare one session.

        Args:
            items: This side's set: distinct byte strings.
            arguments: As for the party without noise.
            noise: What this side demands for its own items.
            options: As for the party without noise; the other side's dummies count as items.

        Raises:
            ConfigError: As there.
        """
        super().__init__(items, *arguments, **options)
        self._noise = noise
        self._own = noise.over(self._told_by(receiver=self.speaks_first))
        self._added = [one.bound + one.draw() for one in self._own] + [0, 0]

    @property
    def cost(self) -> SessionCost:
        """The own noise's ε and δ; nothing if the other side is told nothing."""
        return self._noise.cost if self._own else NOTHING

    @property
    def cardinality(self) -> int:
        """How many items both sides have, and the other side's noise; it may be below 0.

        Raises:
            StateError: The session is not done, or the settings give this side no result.
        """
        return super().cardinality - self._added[_COUNT] - _bound(self._peer, _COUNT)

    @property
    def cardinality_within(self) -> int:
        """How far `cardinality` lies from the true number at most, in 95 of 100 sessions.

        Raises:
            StateError: The session is not done.
        """
        self._require_done()
        return self._peer[_COUNT].within

    def _told_by(self, *, receiver: bool) -> list[int]:
        """Return the sensitivity of each figure that the other side learns of this one."""
        return [1] if self._both or not receiver else []

    def _announcement(self) -> bytes:
        return _ANNOUNCEMENT.pack(self._noise.epsilon, self._noise.delta)

    def _take_announcement(self, content: bytes) -> None:
        try:
            noise = OwnNoise(*_ANNOUNCEMENT.unpack(content))
        except ConfigError as error:
            raise DecodeError(f"the other side announces noise that is none: {error}") from None
        self._peer = noise.over(self._told_by(receiver=not self.speaks_first))
        dummies = 2 * _bound(self._peer if self.speaks_first else self._own, _COUNT)
        if self.speaks_first:
            self._peer_dummies = dummies
        if self._peer_items() < self._peer_dummies:
            raise DecodeError("the other side announces fewer points than its noise takes")
        own = len(self._items) + dummies
        peer = self._peer_items() + dummies - self._peer_dummies
        self._tag_bytes = tag_bytes(own, peer)

    def _told(self, matches: int) -> int:
        return matches + self._added[_COUNT]

    def _estimate(self, told: int) -> int:
        return told - _bound(self._own, _COUNT) - _bound(self._peer, _COUNT)

    def _most_matches(self) -> int:
        return min(len(self._items), self._peer_items() - self._peer_dummies)

    def _most_told(self) -> int:
        return self._most_matches() + 2 * (_bound(self._own, _COUNT) + _bound(self._peer, _COUNT))


class _NoisyReceiver(_Noisy):
    """The side that gets the matching dummies, and returns a number instead of tags."""

    @property
    def longest_message(self) -> int:
        """As of the party without noise, with the dummies' tags."""
        longest = super().longest_message
        return longest if self._n_peer is None else longest + self._tag_bytes * self._peer_dummies

    def _tags_length(self) -> int:
        return super()._tags_length() + self._tag_bytes * self._peer_dummies

    def _tags_for_peer(self) -> bytes:
        return b""


class _NoisySender(_Noisy):
    """The side that makes the matching dummies."""

    _multipliers: Sequence[Scalar] = ()

    def _forget(self) -> None:
        super()._forget()
        self._multipliers = ()

    @property
    def _dummies(self) -> int:
        return 2 * self._own[_COUNT].bound

    def _own_size(self) -> int:
        return len(self._items) + self._dummies

    def _blind(self) -> Points:
        content = super()._blind()
        confirmation, own, beyond = content[:1], self._sent[1:], content[len(self._sent) :]
        self._multipliers = [Scalar.random() for _ in range(self._dummies)]
        every = np.vstack([own, *(multiply(one, confirmation) for one in self._multipliers)])
        places = np.append(self._order, len(own) + np.arange(self._dummies))
        order = random_order(len(places))
        self._order = places[order]
        self._sent = np.vstack([confirmation, every[order]])
        return np.vstack([self._sent, beyond])

    def _doubly_blinded(self, data: memoryview) -> tuple[list[bytes], bytes]:
        doubly, key = super()._doubly_blinded(data)
        confirmation = points_from_bytes(doubly[0])
        # Which of the dummies match says nothing: their places among the points are random.
        matching = self._multipliers[: self._added[_COUNT]]
        drawn = [Scalar.random() for _ in self._multipliers]  # all, so that the work is the same
        others = drawn[self._added[_COUNT] :]
        made = [multiply(one, confirmation).tobytes() for one in (*matching, *others)]
        return doubly + made, key


class NoisyCardinalityReceiver(_NoisyReceiver, CardinalityReceiver):
    """The side that speaks first and always learns about how many items match."""


class NoisyCardinalitySender(_NoisySender, CardinalitySender):
    """The side that answers; it learns about how many if the output is "both"."""

    def _on_finish(self, data: bytes) -> bytes:
        finish = self._transcript.open(MessageType.FINISH, data)
        if self._both:
            # A bound that both sides know: an error under another one would tell of the noise.
            self._cardinality = min(finish.count, self._most_told())
        expect_shape(finish, self._announced, MAC_BYTES)
        self._check(finish)
        close = self._confirmed(MessageType.CLOSE, self._announced, b"")
        self._end()
        return close


class _NoisySumming(_Noisy, Summing):
    """What both roles of a sum do besides."""

    protocol = "ecdh-noisy-sum"
    _counted = "matches by the noisy count"

    @property
    def sum(self) -> int:
        """The sum over the intersection, and the other side's noise; it may be below 0.

        Raises:
            StateError: The session is not done, or the settings give this side no result.
        """
        return super().sum - self._added[_SUM] - _bound(self._peer, _SUM)

    @property
    def sum_within(self) -> int:
        """How far `sum` lies from the true sum at most, in 95 of 100 sessions.

        Raises:
            StateError: The session is not done.
        """
        self._require_done()
        return self._peer[_SUM].within

    def _told_by(self, *, receiver: bool) -> list[int]:
        # By the time that it takes the receiver may tell something of the count.
        return [1] if receiver and not self._both else [1, self._settings.max_value]

    def _largest_sum(self, matches: int) -> int:
        of_receiver = 0 if self.speaks_first else _bound(self._peer, _SUM)
        of_sender = _bound(self._peer if self.speaks_first else self._own, _SUM)
        return super()._largest_sum(matches) + 2 * (of_sender + of_receiver)


class NoisySumReceiver(_NoisySumming, _NoisyReceiver, SumReceiver):
    """The side without the column: speaks first, always learns about the sum and the number."""

    def _told_sum(self, found: int) -> int:
        return found + self._added[_SUM]


class NoisySumSender(_NoisySumming, _NoisySender, SumSender):
    """The side with the column; learns about the sum and the number if the output is "both"."""

    def _blind(self) -> Points:
        self._values = [*self._values, *[0] * self._dummies]
        return super()._blind()

    def _shifted(self, mask: Points) -> Points:
        shift = np.frombuffer(self._added[_SUM].to_bytes(POINT_BYTES, "little"), np.uint8)
        return subtract(mask, multiply_base_each(shift[np.newaxis]))


def _bound(noise: Sequence[TruncatedLaplace], figure: int) -> int:
    """Return the largest noise in a figure; 0 if it is not told."""
    return noise[figure].bound if figure < len(noise) else 0
