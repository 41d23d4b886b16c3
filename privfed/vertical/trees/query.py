"""Scores of new rows by trees: the guest gets each one's class, or its score, rounded before.

The host learns how many rows there are. Which leaf a row reaches, and which way it takes at any
node of the other side's, nobody learns: the score is one inner product over all leaves.

    hellos · the guest's key and base choices · the host's answer to these
    for each chunk of rows:  guest: encrypted values of leaves it allows · host: answers, request
                             guest: garbled circuit · host: colours
"""

import secrets
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from privfed.errors import ConfigError, ContextMismatchError
from privfed.garbled import Evaluator, Garbler, Lengths, TransferReceiver, TransferSender
from privfed.he.ring import PublicKey
from privfed.vertical.frames import FramedDialogue
from privfed.vertical.messages import CHOICES_BYTES, NONCE_BYTES, POINT_BYTES, VerticalMessage
from privfed.vertical.queries import AnsweringQuery, AskingQuery
from privfed.vertical.roles import Role
from privfed.vertical.trees.grown import GuestTree, HostTree
from privfed.vertical.trees.leaves import LeavesAnswerer, LeavesLayout, LeavesReader
from privfed.vertical.trees.opening import (
    TreeOpening,
    guest_scores,
    host_scores,
    open_tree_scores,
    tree_scores,
)
from privfed.vertical.trees.plan import TreesPlan
from privfed.vertical.trees.reached import guest_allows, host_allows
from privfed.vertical.trees.side import there
from privfed.vertical.trees.splits import Codes, Splits
from psi.network import Progress

__all__ = ["GuestTreesQuery", "HostTreesQuery", "TreesQuery"]

Floats = NDArray[np.float64]
_ROWS_AT_ONCE = 1024
_NUMBER_BYTES = 4


class TreesQuery(FramedDialogue):
    """One side of a query: takes messages in turn and answers each."""

    protocol = "privfed vertical trees query"
    role: ClassVar[Role]

    def __init__(
        self,
        plan: TreesPlan,
        model: bytes,
        trees: int,
        codes: Codes,
        *,
        classes: bool,
        progress: Progress | None,
    ) -> None:
        """Prepare one side.

        Args:
            plan: That of training.
            model: Names the model; the same at both sides.
            trees: How many are kept.
            codes: Shape (columns, rows): this side's rows, in an order that both have.
            classes: Whether classes open, and not scores.
            progress: Called with a stage, the rows done and their number.

        Raises:
            ConfigError: There are no rows.
        """
        super().__init__(progress)
        if not codes.shape[1]:
            raise ConfigError("there are no rows to score")
        self._plan, self._model, self._codes, self._classes = plan, model, codes, classes
        self._layout: LeavesLayout = plan.leaves(trees // plan.outputs)
        self._rows: int = codes.shape[1]
        self._start_row = 0

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._rows} rows)"

    @property
    def _number(self) -> int:
        return self._start_row

    @property
    def _hello(self) -> bytes:
        said = b"class" if self._classes else b"score"
        rows = self._rows.to_bytes(_NUMBER_BYTES, "big")
        return self._plan.fingerprint() + self._model + said + rows

    @property
    def _hello_lengths(self) -> list[int]:
        return [len(self._hello), NONCE_BYTES]

    def _check_hello(self, hello: memoryview) -> None:
        if hello != self._hello:
            raise ContextMismatchError(
                "the other side brings the half of another model, another number of rows, or asks "
                "for classes where this side answers scores"
            )

    @property
    def _chunk(self) -> Codes:
        return self._codes[:, self._start_row : self._start_row + _ROWS_AT_ONCE]

    @property
    def _scores_at_once(self) -> int:
        return int(self._chunk.shape[1]) * self._plan.outputs

    @property
    def _opening(self) -> TreeOpening:
        return self._plan.opening(self._chunk.shape[1], classes=self._classes)

    @property
    def _lengths(self) -> Lengths:
        return Lengths.of(open_tree_scores(self._opening))

    @property
    def _over(self) -> bool:
        return self._start_row >= self._rows

    def _chunk_done(self) -> None:
        self._start_row += self._chunk.shape[1]
        self._progress("scoring", min(self._start_row, self._rows), self._rows)

    def _forget(self) -> None:
        self._codes = self._codes[:, :0]


class GuestTreesQuery(TreesQuery, AskingQuery):
    """The side that gets the answers. `scores` are linear predictors, or the numbers of classes."""

    role: ClassVar[Role] = "guest"
    speaks_first: ClassVar[bool] = True

    def __init__(
        self,
        plan: TreesPlan,
        model: bytes,
        base: Sequence[float],
        trees: Sequence[GuestTree],
        splits: Splits,
        codes: Codes,
        *,
        classes: bool = False,
        progress: Progress | None = None,
    ) -> None:
        """Prepare the asking side; other arguments and errors as of `TreesQuery`.

        Args:
            plan: That of training.
            model: Names the model.
            base: The scores before the first tree, one an output.
            trees: Its part of each.
            splits: Its own.
            codes: Its rows.
            classes: Whether classes open.
            progress: Called with a stage, the rows done and their number.

        Raises:
            ConfigError: There are no rows, or scores can be too large.
        """
        super().__init__(plan, model, len(trees), codes, classes=classes, progress=progress)
        largest = np.abs(base)  # of each output's scores
        for place, tree in enumerate(trees):
            largest[place % plan.outputs] += np.abs(tree.leaves).max()
        if largest.max() / plan.leaf_unit >= 1 << (self._layout.plain_bits - 2):
            raise ConfigError("scores are too large to open: train with a smaller rate")
        self._base, self._trees, self._splits = tuple(base), tuple(trees), splits
        self._reader: LeavesReader | None = None
        self._sender: TransferSender | None = None
        self._found: list[Floats] = []

    @property
    def scores(self) -> Floats:
        """What opened, in the order of rows.

        Raises:
            StateError: The query is not done.
        """
        self._require_done()
        return np.concatenate(self._found)

    def _begin(self) -> bytes:
        self._awaiting(VerticalMessage.MET, self._hello_lengths, self._met)
        return self._sealed(VerticalMessage.QUERY, self._hello, secrets.token_bytes(NONCE_BYTES))

    def _met(self, parts: list[memoryview]) -> bytes:
        self._check_hello(parts[0])
        self._sender = TransferSender(self._transcript.begin_session())
        self._reader = LeavesReader(self._layout)
        self._awaiting(VerticalMessage.TREES_AGREED, [POINT_BYTES], self._agreed)
        return self._sealed(VerticalMessage.TREES_KEYS, self._reader.public, self._sender.choices)

    def _agreed(self, parts: list[memoryview]) -> bytes:
        there(self._sender).agree(parts[0])
        return self._asked()

    def _asked(self) -> bytes:
        """Ask about the next rows."""
        plan, outputs = self._plan, self._plan.outputs
        values = np.stack(
            [
                guest_allows(self._trees[output::outputs], self._splits, self._chunk)
                for output in range(outputs)
            ]
        )
        whole = np.rint(values / plan.leaf_unit).astype(np.int64)
        rows = self._scores_at_once
        self._awaiting(
            VerticalMessage.LEAVES_ANSWERED,
            [self._layout.answers_bytes(rows), self._lengths.request],
            self._answered,
        )
        return self._sealed(
            VerticalMessage.LEAVES_ASKED,
            there(self._reader).encrypted(whole.reshape(rows, -1)),
        )

    def _answered(self, parts: list[memoryview]) -> bytes:
        plan, opening = self._plan, self._opening
        base = np.rint(np.array(self._base) / plan.leaf_unit).astype(np.int64).astype(np.uint64)
        shares = there(self._reader).opened(parts[0], self._scores_at_once)
        shares = shares.reshape(plan.outputs, -1) + base[:, None]
        shares &= np.uint64((1 << self._layout.plain_bits) - 1)
        garbler = Garbler(open_tree_scores(opening), guest_scores(opening, shares))
        message = self._sealed(
            VerticalMessage.GARBLED, garbler.garble(parts[1], there(self._sender))
        )

        def read(colours: list[memoryview]) -> bytes | None:
            found = tree_scores(opening, garbler.read(colours[0])).astype(np.float64)
            unit = 1.0 if self._classes else plan.score_unit
            self._found.append(found * unit)
            self._chunk_done()
            if not self._over:
                return self._asked()
            self._end()
            return None

        self._awaiting(VerticalMessage.COLOURS, [self._lengths.colours], read)
        return message

    def _forget(self) -> None:
        super()._forget()
        self._reader = self._sender = None


class HostTreesQuery(TreesQuery, AnsweringQuery):
    """The side that answers."""

    role: ClassVar[Role] = "host"
    speaks_first: ClassVar[bool] = False

    def __init__(
        self,
        plan: TreesPlan,
        model: bytes,
        trees: Sequence[HostTree],
        splits: Splits,
        codes: Codes,
        *,
        classes: bool = False,
        progress: Progress | None = None,
    ) -> None:
        """Prepare the answering side; arguments and errors as of `GuestTreesQuery`."""
        super().__init__(plan, model, len(trees), codes, classes=classes, progress=progress)
        self._trees, self._splits = tuple(trees), splits
        self._answerer: LeavesAnswerer | None = None
        self._receiver: TransferReceiver | None = None
        self._awaiting(VerticalMessage.QUERY, self._hello_lengths, self._met)

    def _met(self, parts: list[memoryview]) -> bytes:
        self._check_hello(parts[0])
        self._count(self._rows)
        message = self._sealed(VerticalMessage.MET, self._hello, secrets.token_bytes(NONCE_BYTES))
        self._receiver = TransferReceiver(self._transcript.begin_session())
        key = PublicKey.size_bytes(ring=self._layout.ring)
        self._awaiting(VerticalMessage.TREES_KEYS, [key, CHOICES_BYTES], self._agreed)
        return message

    def _agreed(self, parts: list[memoryview]) -> bytes:
        self._answerer = LeavesAnswerer(self._layout, parts[0])
        there(self._receiver).agree(parts[1])
        self._await_chunk()
        return self._sealed(VerticalMessage.TREES_AGREED, there(self._receiver).public)

    def _await_chunk(self) -> None:
        asked = self._layout.ciphertexts_bytes(self._scores_at_once)
        self._awaiting(VerticalMessage.LEAVES_ASKED, [asked], self._asked)

    def _asked(self, parts: list[memoryview]) -> bytes:
        outputs, opening = self._plan.outputs, self._opening
        allowed = np.stack(
            [
                host_allows(self._trees[output::outputs], self._splits, self._chunk)
                for output in range(outputs)
            ]
        )
        answers, shares = there(self._answerer).answered(
            parts[0], allowed.reshape(self._scores_at_once, -1)
        )
        values = host_scores(opening, shares.reshape(outputs, -1))
        evaluator = Evaluator(open_tree_scores(opening), values, there(self._receiver))

        def evaluated(garbled: list[memoryview]) -> bytes:
            colours = evaluator.evaluate(garbled[0]).colours
            message = self._sealed(VerticalMessage.COLOURS, colours)
            self._chunk_done()
            if self._over:
                self._end()
            else:
                self._await_chunk()
            return message

        self._awaiting(VerticalMessage.GARBLED, [self._lengths.garbled], evaluated)
        return self._sealed(VerticalMessage.LEAVES_ANSWERED, answers, evaluator.request)

    def _forget(self) -> None:
        super()._forget()
        self._answerer = self._receiver = None
