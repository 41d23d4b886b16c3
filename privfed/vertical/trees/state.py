"""Trees grown so far: what a session that broke off goes on with; secret.

Of both sides one may be a tree ahead, so the last two states are kept. A mark names a tree, the
session that grew it, and all before it: sides go on from the last tree whose marks are alike. Keys,
masks and transfers are not kept: the next session draws its own.
"""

import hashlib
from abc import abstractmethod
from typing import Annotated, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from privfed.errors import ConfigError
from privfed.vertical.roles import MARK_BYTES
from privfed.vertical.trees.collected import CollectedBits
from privfed.vertical.trees.grown import GuestTree, HostTree
from privfed.vertical.trees.plan import MOST_TREE_SESSIONS, TreesPlan
from psi.errors import StateError

__all__ = ["GuestTreesState", "HostTreesState", "TreesState"]

_NUMBER_BYTES = 4
_KEPT = 2


class TreesState(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What both sides keep. Its repr shows no tree.

    Attributes:
        fingerprint: The plan's.
        sessions: How many sessions there were before the one that goes on.
        marks: Those of the last two trees, or of the last one and of what was before any; of one
            alone, if the other side had not the last.
        collected: What the guest collected of each tree.
    """

    fingerprint: bytes
    sessions: int = 1
    marks: tuple[bytes, ...]
    collected: CollectedBits = CollectedBits()

    @classmethod
    def begun(cls, plan: TreesPlan, mark: bytes = bytes(MARK_BYTES)) -> Self:
        """Return the state before any tree.

        Args:
            plan: What both sides agreed on.
            mark: What both call this order of rows: sides that begin with two do not go on.
        """
        return cls(fingerprint=plan.fingerprint(), marks=(mark,))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(trees={self.grown})"

    @property
    @abstractmethod
    def grown(self) -> int:
        """How many trees there are."""

    @abstractmethod
    def until(self, trees: int) -> Self:
        """Return the state after the first trees: all, or all but the last one."""

    def check(self, plan: TreesPlan) -> None:
        """Check that a session of this plan can go on.

        Raises:
            ConfigError: The state is of another plan, or went on too often.
        """
        if self.fingerprint != plan.fingerprint():
            raise ConfigError("the state is of another plan: train from the beginning")
        collected = self.collected
        counts = {len(each) for each in (collected.nodes, collected.rows, collected.asked)}
        if (
            not 1 <= len(self.marks) <= min(_KEPT, self.grown + 1)
            or {*map(len, self.marks)} != {MARK_BYTES}
            or counts != {self.grown}
            or not 0 <= self.grown <= plan.most_trees
            or self.sessions < 1
            or not self._whole(plan)
        ):
            raise ConfigError("the state is damaged: train from the beginning")
        if self.sessions > MOST_TREE_SESSIONS:
            raise ConfigError(
                f"this training broke off {MOST_TREE_SESSIONS} times; its answers hide no more: "
                "train from the beginning"
            )

    def _whole(self, plan: TreesPlan) -> bool:
        """Tell whether what one side alone keeps is all there."""
        return True

    def resumed(self) -> Self:
        """Return the state for another session."""
        return msgspec.structs.replace(self, sessions=self.sessions + 1)

    def offer(self) -> bytes:
        """Return what the other side must know of it: how many trees, and their marks."""
        numbers = range(self.grown, self.grown - len(self.marks), -1)
        each = map(_offer, numbers, reversed(self.marks))
        return b"".join(each).ljust(self.offer_bytes(), b"\xff")

    @staticmethod
    def offer_bytes() -> int:
        """Return the length of that."""
        return _KEPT * (_NUMBER_BYTES + MARK_BYTES)

    def common(self, theirs: bytes | memoryview) -> Self:
        """Return the last state that both sides have.

        Args:
            theirs: What `offer` returned at the other side.

        Raises:
            StateError: There is none.
        """
        size = _NUMBER_BYTES + MARK_BYTES
        offers = {bytes(theirs[start : start + size]) for start in range(0, len(theirs), size)}
        for back, mark in enumerate(reversed(self.marks)):
            if _offer(self.grown - back, mark) in offers:
                return self.until(self.grown - back)
        raise StateError(
            "the two sides stopped at different trees, or in different trainings: train from the "
            "beginning"
        )

    def next_mark(self, identity: bytes) -> bytes:
        """Return what names the next tree, if a session grows it."""
        named = b"privfed vertical tree, " + self.marks[-1] + identity
        return hashlib.sha256(named + self.grown.to_bytes(_NUMBER_BYTES, "big")).digest()[
            :MARK_BYTES
        ]

    def _marked(self, identity: bytes) -> tuple[bytes, ...]:
        return (self.marks[-1], self.next_mark(identity))

    def _marks_until(self, trees: int) -> tuple[bytes, ...]:
        return self.marks[: len(self.marks) - (self.grown - trees)]


class GuestTreesState(TreesState, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the guest keeps.

    Attributes:
        trees: Its part of each tree.
        scores: Every row's scores after the last two trees, as the bytes of doubles; none before
            the first.
        losses: Those of the rows held back, a round each.
    """

    trees: tuple[GuestTree, ...] = ()
    scores: tuple[bytes, ...] = ()
    losses: tuple[Annotated[float, msgspec.Meta(ge=-1e300, le=1e300)], ...] = ()

    @property
    def grown(self) -> int:
        """How many trees there are."""
        return len(self.trees)

    def _whole(self, plan: TreesPlan) -> bool:
        scores = {8 * plan.rows * plan.outputs} if self.grown else set()
        return {*map(len, self.scores)} == scores and len(self.scores) <= _KEPT

    def until(self, trees: int) -> "GuestTreesState":
        """Return the state after the first trees: all, or all but the last one."""
        back = self.grown - trees
        return msgspec.structs.replace(
            self,
            marks=self._marks_until(trees),
            collected=self.collected.until(trees),
            trees=self.trees[:trees],
            scores=self.scores[: len(self.scores) - back],
        )

    def followed(
        self,
        identity: bytes,
        tree: GuestTree,
        scores: NDArray[np.float64],
        losses: tuple[float, ...],
        collected: CollectedBits,
    ) -> "GuestTreesState":
        """Return the state after another tree, of a session."""
        return msgspec.structs.replace(
            self,
            marks=self._marked(identity),
            collected=collected,
            trees=(*self.trees, tree),
            scores=(*self.scores[-1:], scores.tobytes()),
            losses=losses,
        )


class HostTreesState(TreesState, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the host keeps.

    Attributes:
        trees: Its part of each tree.
    """

    trees: tuple[HostTree, ...] = ()

    @property
    def grown(self) -> int:
        """How many trees there are."""
        return len(self.trees)

    def until(self, trees: int) -> "HostTreesState":
        """Return the state after the first trees: all, or all but the last one."""
        return msgspec.structs.replace(
            self,
            marks=self._marks_until(trees),
            collected=self.collected.until(trees),
            trees=self.trees[:trees],
        )

    def followed(
        self, identity: bytes, tree: HostTree, collected: CollectedBits
    ) -> "HostTreesState":
        """Return the state after another tree, of a session."""
        return msgspec.structs.replace(
            self,
            marks=self._marked(identity),
            collected=collected,
            trees=(*self.trees, tree),
        )


def _offer(trees: int, mark: bytes) -> bytes:
    return trees.to_bytes(_NUMBER_BYTES, "big") + mark
