"""The guest as trees grow: it knows labels and which rows are where, and asks.

Of the host's columns it reads, at each node, one bit: whether the host's best split beats its own;
and where it does, one bit a row of that node.
"""

from collections.abc import Callable
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from privfed.errors import ConfigError
from privfed.garbled import Garbler
from privfed.vertical.messages import VerticalMessage
from privfed.vertical.roles import Role
from privfed.vertical.trees.boosting import Boosting
from privfed.vertical.trees.contest import contest, guest_values, won_by_host
from privfed.vertical.trees.growing import GrowingTree, LevelQuestion
from privfed.vertical.trees.plan import TreesPlan
from privfed.vertical.trees.side import NO_SPLIT, TreesSide, there
from privfed.vertical.trees.sides import SidesReceiver
from privfed.vertical.trees.state import GuestTreesState
from privfed.vertical.trees.sums import SumsReader
from psi.network import Progress

__all__ = ["TreesGuest"]

Integers = NDArray[np.int64]


class TreesGuest(TreesSide):
    """The side with the labels."""

    role: ClassVar[Role] = "guest"
    speaks_first: ClassVar[bool] = True

    def __init__(
        self,
        plan: TreesPlan,
        boosting: Boosting,
        *,
        state: GuestTreesState | None = None,
        on_state: Callable[[GuestTreesState], None] | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Prepare the side with the labels.

        Args:
            plan: What both sides agreed on.
            boosting: Its rounds of trees, none grown; row i is of the same ID at both sides.
            state: That of a session which broke off, to go on with.
            on_state: Called with the state as the sides meet and after each tree, before anything
                that follows from it is sent.
            progress: Called with a stage, the trees grown and their number.

        Raises:
            ConfigError: The rows do not fit the plan, or the state is of another one.
        """
        self._state = GuestTreesState.begun(plan) if state is None else state
        super().__init__(plan, self._state, progress)
        if boosting.scores.shape != (plan.rows, plan.outputs):
            raise ConfigError(f"the plan has {plan.rows} rows, and {plan.outputs} scores a row")
        self._boosting = boosting
        self._on_state = on_state or (lambda state: None)
        self._reader: SumsReader | None = None
        self._sides: SidesReceiver | None = None
        self._tree: GrowingTree | None = None
        self._question: LevelQuestion | None = None
        self._garbler: Garbler | None = None
        self._counted = [0, 0, 0]  # nodes won, rows in them, nodes asked about

    @property
    def state(self) -> GuestTreesState:
        """How far it is."""
        return self._state

    # -- messages --------------------------------------------------------------------------------

    def _begin(self) -> bytes:
        self._awaiting(VerticalMessage.TREES_HOST_HELLO, self._hello_lengths, self._met)
        return self._sealed(VerticalMessage.TREES_GUEST_HELLO, self._hello)

    def _met(self, parts: list[memoryview]) -> bytes:
        self._check_plan(parts[0])
        self._state = self._state.common(parts[1])
        self._restore()
        self._draw()
        self._on_state(self._state)
        self._reader = SumsReader(self.plan.sums.plain_bits)
        self._awaiting(VerticalMessage.TREES_AGREED, self._agreed_lengths, self._agreed)
        return self._sealed(
            VerticalMessage.TREES_KEYS,
            self._reader.public,
            self._sender.choices,
            self._receiver.public,
        )

    def _restore(self) -> None:
        """Take up what both sides have."""
        state, boosting = self._state, self._boosting
        scores = np.tile(boosting.base, (self.plan.rows, 1))
        if state.scores:
            scores = np.frombuffer(state.scores[-1]).reshape(scores.shape)
        boosting.go_on(state.trees, scores, state.losses)

    def _agreed(self, parts: list[memoryview]) -> bytes:
        self._agree(*parts)
        self._sides = SidesReceiver(self._receiver, self.plan.rows)
        return self._next_tree()

    def _next_tree(self) -> bytes:
        if self._boosting.done:
            kept = len(self._boosting.best_trees)
            message = self._sealed(VerticalMessage.TREES_END, kept.to_bytes(4, "big"))
            self._end()
            return message
        self._tree, self._counted = self._boosting.tree(), [0, 0, 0]
        return self._next_level()

    def _next_level(self) -> bytes:
        tree, question = self._growing, self._growing.question()
        self._question = question
        message = self._sealed(
            VerticalMessage.NODES,
            self._reading.encrypted(self.plan.sums, question.vectors),
            self._reads_sides.request(tree.node_of_row, self._nodes),
        )
        if self._hides:
            self._awaiting(VerticalMessage.SHARED_SUMS, self._sums_lengths, self._contested)
        else:
            self._awaiting(VerticalMessage.OPENED_SUMS, self._sums_lengths, self._chosen)
        return message

    def _contested(self, parts: list[memoryview]) -> bytes:
        plan = self.plan.contest(self._nodes)
        shares = self._reading.opened(self.plan.sums, parts[0], self._nodes)
        values = guest_values(plan, shares, self._asked.best)
        self._garbler = Garbler(contest(plan), values)
        message = self._sealed(
            VerticalMessage.CONTEST, self._garbler.garble(parts[1], self._sender)
        )
        self._awaiting(VerticalMessage.SIDES, self._answered_lengths, self._read)
        return message

    def _read(self, parts: list[memoryview]) -> bytes:
        return self._answered(won_by_host(there(self._garbler).read(parts[0])), parts[1])

    def _chosen(self, parts: list[memoryview]) -> bytes:
        """Choose among sums that opened: which place the split has that wins each node."""
        opened = self._reading.opened(self.plan.sums, parts[0], self._nodes)
        scores = np.abs(signed(opened, self.plan.sums.plain_bits))
        places = scores.argmax(axis=1)
        won = scores[np.arange(len(places)), places] > self._asked.best
        told = np.where(won, places, NO_SPLIT).astype(">u4").tobytes()
        self._awaiting(
            VerticalMessage.SIDES,
            self._answered_lengths,
            lambda answered: self._answered(won, answered[0]),
        )
        return self._sealed(VerticalMessage.CHOSEN, told)

    def _answered(self, won: NDArray[np.bool_], masked: memoryview) -> bytes:
        tree = self._growing
        nodes = tree.node_of_row
        tree.answered(won, self._reads_sides.read(masked))
        for place, more in enumerate((int(won.sum()), int(won[nodes].sum()), len(won))):
            self._counted[place] += more
        self._level += 1
        if not tree.done:
            return self._next_level()
        self._boosting.grown(tree)
        collected = self._state.collected.followed(*self._counted)
        self._state = self._state.followed(
            self._identity,
            self._boosting.trees[-1],
            self._boosting.scores,
            tuple(self._boosting.losses),
            collected,
        )
        self._level = 0
        self._on_state(self._state)
        self._tell()
        return self._next_tree()

    # -- what a session has ----------------------------------------------------------------------

    @property
    def _reading(self) -> SumsReader:
        return there(self._reader)

    @property
    def _reads_sides(self) -> SidesReceiver:
        return there(self._sides)

    @property
    def _growing(self) -> GrowingTree:
        return there(self._tree)

    @property
    def _asked(self) -> LevelQuestion:
        return there(self._question)

    def _forget(self) -> None:
        super()._forget()
        self._reader = self._sides = self._garbler = None
        self._tree = self._question = None


def signed(residues: NDArray[np.uint64], bits: int) -> Integers:
    """Return the integers nearest to 0 that are these modulo 2^bits."""
    unused = 64 - bits
    moved: Integers = (residues << np.uint64(unused)).astype(np.int64) >> unused
    return moved
