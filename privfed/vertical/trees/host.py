"""The host as trees grow: it adds up what it cannot read, and learns where its splits won."""

import secrets
from collections.abc import Callable
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from privfed.errors import ConfigError, DecodeError
from privfed.garbled import Evaluator
from privfed.vertical.frames import Then
from privfed.vertical.messages import VerticalMessage
from privfed.vertical.roles import Role
from privfed.vertical.trees.collected import CollectedBits
from privfed.vertical.trees.contest import contest, host_values, splits_won
from privfed.vertical.trees.grown import HostTree
from privfed.vertical.trees.plan import TreesPlan
from privfed.vertical.trees.side import NO_SPLIT, TreesSide, there
from privfed.vertical.trees.sides import SidesSender
from privfed.vertical.trees.splits import Codes, Splits
from privfed.vertical.trees.state import HostTreesState
from privfed.vertical.trees.sums import SumsAnswerer
from psi.network import Progress

__all__ = ["TreesHost"]

Integers = NDArray[np.int64]
_CACHE_BYTES = 1 << 30


class TreesHost(TreesSide):
    """The side without labels."""

    role: ClassVar[Role] = "host"
    speaks_first: ClassVar[bool] = False

    def __init__(
        self,
        plan: TreesPlan,
        splits: Splits,
        codes: Codes,
        *,
        cache_bytes: int = _CACHE_BYTES,
        state: HostTreesState | None = None,
        on_state: Callable[[HostTreesState], None] | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Prepare the side without labels.

        Args:
            plan: What both sides agreed on.
            splits: What its columns allow.
            codes: Shape (columns, rows): its rows; row i is of the same ID at both sides.
            cache_bytes: How much of what its splits become is kept in memory; the rest is made
                anew for each node.
            state: That of a session which broke off, to go on with.
            on_state: Called with the state as the sides meet and after each tree, before anything
                that follows from it is sent.
            progress: Called with a stage, the trees grown and their number.

        Raises:
            ConfigError: The rows or splits do not fit the plan, or the state is of another one.
        """
        self._state = HostTreesState.begun(plan) if state is None else state
        super().__init__(plan, self._state, progress)
        if len(splits) != plan.host_splits or codes.shape[1] != plan.rows:
            raise ConfigError(f"the plan has {plan.host_splits} splits of {plan.rows} rows")
        self._splits, self._codes, self._cache_bytes = splits, codes, cache_bytes
        self._on_state = on_state or (lambda state: None)
        self._order = np.arange(len(splits))
        self._kept = len(self._state.trees)
        self._answerer: SumsAnswerer | None = None
        self._sides: SidesSender | None = None
        self._evaluator: Evaluator | None = None
        self._asked = b""
        self._won: list[int] = []
        self._awaiting(VerticalMessage.TREES_GUEST_HELLO, self._hello_lengths, self._met)

    @property
    def state(self) -> HostTreesState:
        """How far it is."""
        return self._state

    @property
    def trees(self) -> tuple[HostTree, ...]:
        """Its part of the trees that are kept.

        Raises:
            StateError: The session is not done.
        """
        self._require_done()
        return self._state.trees[: self._kept]

    # -- messages --------------------------------------------------------------------------------

    def _met(self, parts: list[memoryview]) -> bytes:
        self._check_plan(parts[0])
        message = self._sealed(VerticalMessage.TREES_HOST_HELLO, self._hello)
        self._state = self._state.common(parts[1])
        self._draw()
        self._on_state(self._state)
        self._awaiting(VerticalMessage.TREES_KEYS, self._keys_lengths, self._agreed)
        return message

    def _agreed(self, parts: list[memoryview]) -> bytes:
        message = self._sealed(
            VerticalMessage.TREES_AGREED, self._receiver.public, self._sender.choices
        )
        public, choices, point = parts
        self._agree(point, choices)
        if not self._hides:  # the guest reads sums: not by their places which split is whose
            words = np.frombuffer(secrets.token_bytes(8 * len(self._order)), np.uint64)
            self._order = np.argsort(words, kind="stable")
        self._answerer = SumsAnswerer(
            self.plan.sums,
            public,
            self._splits.part(self._order).subsets(self._codes),
            cache_bytes=self._cache_bytes,
        )
        self._sides = SidesSender(self._sender, self.plan.rows)
        self._await_tree()
        return message

    def _await_tree(self) -> None:
        self._won = []
        due: dict[VerticalMessage, tuple[list[int], Then]] = {
            VerticalMessage.NODES: (self._nodes_lengths, self._summed),
            VerticalMessage.TREES_END: (self._end_lengths, self._ended),
        }
        if self._state.grown == self.plan.most_trees:  # more are not planned, nor flooded for
            del due[VerticalMessage.NODES]
        self._awaiting_one(due)

    def _summed(self, parts: list[memoryview]) -> bytes:
        ciphertexts, self._asked = parts[0], bytes(parts[1])
        answers, shares = there(self._answerer).answered(
            ciphertexts, self._nodes, masked=self._hides
        )
        if not self._hides:
            self._awaiting(VerticalMessage.CHOSEN, self._won_lengths, self._told)
            return self._sealed(VerticalMessage.OPENED_SUMS, answers)
        plan = self.plan.contest(self._nodes)
        self._evaluator = Evaluator(contest(plan), host_values(plan, shares), self._receiver)
        self._awaiting(VerticalMessage.CONTEST, self._won_lengths, self._evaluated)
        return self._sealed(VerticalMessage.SHARED_SUMS, answers, self._evaluator.request)

    def _evaluated(self, parts: list[memoryview]) -> bytes:
        done = there(self._evaluator).evaluate(parts[0])
        split = splits_won(done.values)
        if (split >= self.plan.host_splits).any():
            raise DecodeError("the contest was garbled for other splits")
        return self._sent_sides(split, done.colours)

    def _told(self, parts: list[memoryview]) -> bytes:
        places = np.frombuffer(parts[0], ">u4").astype(np.int64)
        won = places != NO_SPLIT
        if (places[won] >= self.plan.host_splits).any():
            raise DecodeError("the other side chose a split that is none")
        return self._sent_sides(np.where(won, self._order[np.where(won, places, 0)], -1))

    def _sent_sides(self, split: Integers, *first: bytes) -> bytes:
        """Send which side each row takes, by the splits that won."""
        sides = np.zeros((self._nodes, self.plan.rows), np.bool_)
        for node in np.flatnonzero(split >= 0).tolist():
            sides[node] = self._splits.left(self._codes, int(split[node]))
        masked = there(self._sides).masked(self._asked, sides)
        message = self._sealed(VerticalMessage.SIDES, *first, masked)
        self._won += split.tolist()
        self._level += 1
        if self._level < self.plan.depth:
            self._awaiting(VerticalMessage.NODES, self._nodes_lengths, self._summed)
            return message
        self._level = 0
        self._state = self._state.followed(
            self._identity, HostTree(tuple(self._won)), self._counted()
        )
        self._on_state(self._state)
        self._tell()
        self._await_tree()
        return message

    def _counted(self) -> CollectedBits:
        """Count what the guest may have collected of this tree: all rows of a level that is won."""
        rows = 0
        for level in range(self.plan.depth):
            first = 2**level - 1
            rows += self.plan.rows * any(split >= 0 for split in self._won[first : 2 * first + 1])
        nodes = sum(split >= 0 for split in self._won)
        return self._state.collected.followed(nodes, rows, len(self._won))

    def _ended(self, parts: list[memoryview]) -> None:
        kept = int.from_bytes(parts[0], "big")
        if not 1 <= kept <= self._state.grown or kept % self.plan.outputs:
            raise DecodeError("the other side keeps no trees, or some that were not grown")
        self._kept = kept
        self._end()

    def _forget(self) -> None:
        super()._forget()
        self._answerer = self._sides = self._evaluator = None
        self._asked = b""
