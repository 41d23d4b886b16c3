"""Scores of new rows: the guest gets each one's class, or its score rounded before it opens.

Where coefficients opened, each side's part of a score is its own product; where they stay shared,
parts go through the ring, as in training. In both cases two numbers modulo t go into a garbled
circuit, which tells the guest the class or a few bits, and nobody else anything. A guest that knows
its own coefficients can take its part off a rounded score; what is left is the host's part within
the grid. Asked again about the same ID with other values of its own, it halves what is open of that
part each time, by a class as well as by a score; with shared coefficients it knows no part of its
own, and learns differences. Nothing here tells an ID that comes back from a new one: the host
counts every row, before it answers (`charge_with`), and that count is all that bounds it.

    hellos · the guest's base choices, and its shares of the host's coefficients where shared
    for each chunk of rows, where coefficients are shared:  host: answers · guest: answers
    then                                                    host: request · guest: garbled circuit
    the host's next message begins with the colours of the last circuit; the last is colours alone
"""

import dataclasses
import secrets
from collections.abc import Callable
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from privfed.errors import ConfigError, ContextMismatchError
from privfed.garbled import Evaluator, Garbler, Lengths, TransferReceiver, TransferSender
from privfed.he.ring import PLAIN_MODULUS, Ciphertexts, Plaintexts, PublicKey
from privfed.vertical.frames import FramedDialogue
from privfed.vertical.linear.capacity import ProductLayout, prediction_layout
from privfed.vertical.linear.circuits import open_scores, score_values, scores
from privfed.vertical.linear.plan import VerticalPlan
from privfed.vertical.linear.products import KeyedProducts
from privfed.vertical.linear.projections import Opening
from privfed.vertical.linear.rows import integer_rows
from privfed.vertical.linear.shares import Residues, matrix_product, plus, residues
from privfed.vertical.messages import CHOICES_BYTES, NONCE_BYTES, POINT_BYTES, VerticalMessage
from privfed.vertical.queries import AnsweringQuery, AskingQuery
from privfed.vertical.roles import Opened, Role
from psi.errors import StateError
from psi.network import Progress

__all__ = ["GuestQuery", "HostQuery", "Query", "query_numbers"]

Floats = NDArray[np.float64]
_ROWS_AT_ONCE = 2048
_NUMBER_BYTES = 4


def query_numbers(
    plan: VerticalPlan, *, opened: NDArray[np.int64] | None, shares: Residues | None
) -> Residues:
    """Return what a half brings to queries.

    Args:
        plan: Its plan.
        opened: Its coefficients as they opened; None where they did not.
        shares: Its shares of all coefficients; None where they opened.

    Raises:
        ConfigError: Both are given, or neither.
    """
    if (opened is None) == (shares is None):
        raise ConfigError("a half has coefficients or shares")
    if opened is not None:
        return residues(opened << plan.rounding)
    # A projected coefficient is a multiple of 2^drop, so that dividing shares is exact.
    inverse = pow(1 << plan.drop, -1, PLAIN_MODULUS)
    held = [] if shares is None else shares.tolist()
    return np.array([share * inverse % PLAIN_MODULUS for share in held], np.uint64)


class Query(FramedDialogue):
    """One side of a query: an error ends it, and it forgets its key and its numbers."""

    protocol = "privfed vertical query"
    role: ClassVar[Role]
    _other_role: ClassVar[Role]
    _sends: ClassVar[VerticalMessage]
    _awaits: ClassVar[VerticalMessage]

    def __init__(
        self,
        plan: VerticalPlan,
        model: bytes,
        numbers: Residues,
        block: Floats,
        opened: Opened = "score",
        *,
        progress: Progress | None = None,
    ) -> None:
        """Prepare one side.

        Args:
            plan: The plan that was trained.
            model: 32 bytes that name the model, the same at both halves.
            numbers: Modulo t, in units of the plan's 2^drop: this side's coefficients where they
                opened, its shares of all coefficients where they did not (`query_numbers`).
            block: Shape (rows, columns of the plan): whitened, the guest's with its intercept;
                row i is of the same ID at both sides.
            opened: What of a row the guest gets.
            progress: Called with a stage, the rows done and their number.

        Raises:
            ConfigError: The rows or the numbers do not fit the plan, or a class is asked of a
                model that has none.
        """
        super().__init__(progress)
        shared = plan.coefficients == "shared"
        own = plan.guest_columns if self.role == "guest" else plan.host_columns
        if len(numbers) != (plan.lanes if shared else own) or not len(block):
            raise ConfigError("a query takes a half of this plan, and one row or more")
        if opened == "class" and plan.family != "logistic":
            raise ConfigError("only a logistic model has classes: ask for scores")
        self._plan, self._model, self._shared, self._opened = plan, model, shared, opened
        self._rows = integer_rows(plan, self.role, block)
        self._numbers = numbers
        self._keys = KeyedProducts() if shared else None
        self._start_row = 0
        if not self.speaks_first:
            self._await_hello()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self._rows)} rows)"

    # -- frames ----------------------------------------------------------------------------------

    @property
    def _hello(self) -> bytes:
        said = b"class" if self._opened == "class" else b"score"
        rows = len(self._rows).to_bytes(_NUMBER_BYTES, "big")
        key = self._products.key.public.to_bytes() if self._shared else b""
        return self._plan.fingerprint() + self._model + said + rows + key

    def _meet(self, hello: memoryview) -> None:
        agreed = len(self._hello) - (PublicKey.size_bytes() if self._shared else 0)
        if hello[:agreed] != self._hello[:agreed]:
            raise ContextMismatchError(
                "the other side brings the half of another model, another number of rows, or asks "
                "for classes where this side answers scores"
            )
        if self._shared:
            self._products.meet(hello[agreed:])

    def _said_hello(self) -> bytes:
        return self._sealed(self._sends, self._hello, secrets.token_bytes(NONCE_BYTES))

    def _await_hello(self) -> None:
        self._awaiting(self._awaits, [len(self._hello), NONCE_BYTES], self._met)

    def _met(self, parts: list[memoryview]) -> bytes:
        raise NotImplementedError

    @property
    def _number(self) -> int:
        return self._start_row

    # -- a chunk ---------------------------------------------------------------------------------

    @property
    def _chunk(self) -> Floats:
        return self._rows[self._start_row : self._start_row + _ROWS_AT_ONCE]

    @property
    def _over(self) -> bool:
        return self._start_row >= len(self._rows)

    @property
    def _opening(self) -> Opening:
        plan, rows = self._plan, len(self._chunk)
        bits = PLAIN_MODULUS.bit_length() - plan.drop
        if self._opened == "class":
            return Opening(PLAIN_MODULUS, rows, bits, threshold=0)
        return Opening(PLAIN_MODULUS, rows, bits, drop=plan.score_drop, bits=plan.score_bits)

    @property
    def _lengths(self) -> Lengths:
        return Lengths.of(open_scores(self._opening))

    def _layout(self, role: Role) -> ProductLayout:
        """Return the chunk's layout, in the first one's width: ciphertexts serve all chunks."""
        first = prediction_layout(self._plan, role, min(len(self._rows), _ROWS_AT_ONCE))
        packing = dataclasses.replace(first.packing, rows=len(self._chunk))
        return dataclasses.replace(first, packing=packing)

    def _numbers_of(self, role: Role) -> Residues:
        guests = self._plan.guest_columns
        return self._numbers[:guests] if role == "guest" else self._numbers[guests:]

    @property
    def _products(self) -> KeyedProducts:
        if self._keys is None:
            raise StateError("this query is over, or has no keys")
        return self._keys

    def _encrypted(self) -> bytes:
        """Return this side's shares of the other's coefficients, under its own key."""
        numbers = self._numbers_of(self._other_role)
        return self._products.encrypted(self._layout(self._other_role), numbers)

    def _answered(self, ciphertexts: Ciphertexts) -> tuple[bytes, Residues]:
        """Return the answers to the other side, and what this side's shares begin with."""
        layout = self._layout(self.role)
        matrix = layout.packing.matrix(self._chunk.astype(np.int64))
        plaintexts = Plaintexts.encode(matrix, layout.primes)
        answers, mine = self._products.answered(layout, plaintexts, ciphertexts)
        own = matrix_product(self._chunk, self._numbers_of(self.role))
        return answers, plus(own, mine)

    def _decrypted(self, answers: memoryview) -> Residues:
        return self._products.decrypted(self._layout(self._other_role), answers)

    def _chunk_done(self) -> None:
        self._progress("scoring", min(self._start_row, len(self._rows)), len(self._rows))

    def _forget(self) -> None:
        self._keys = None
        self._numbers = np.empty(0, np.uint64)
        self._rows = np.empty((0, self._rows.shape[1]))


class GuestQuery(Query, AskingQuery):
    """The side that gets the answers. `scores` are linear predictors, or classes 0 and 1."""

    role: ClassVar[Role] = "guest"
    _other_role: ClassVar[Role] = "host"
    speaks_first: ClassVar[bool] = True
    _sends = VerticalMessage.QUERY
    _awaits = VerticalMessage.MET

    _sender: TransferSender | None = None
    _taken: Ciphertexts | None = None

    @property
    def scores(self) -> Floats:
        """What opened, in the order of rows.

        Raises:
            StateError: The query is not done.
        """
        self._require_done()
        return np.concatenate(self._found)

    def _begin(self) -> bytes:
        self._found: list[Floats] = []
        self._await_hello()
        return self._said_hello()

    def _met(self, parts: list[memoryview]) -> bytes:
        self._meet(parts[0])
        self._sender = TransferSender(self._transcript.begin_session())
        sent = self._encrypted() if self._shared else b""
        message = self._sealed(VerticalMessage.CHOICES, self._sender.choices, sent)
        due = [POINT_BYTES]
        if self._shared:
            due.append(self._layout("guest").ciphertexts_bytes)
        self._await_chunk(due, self._first)
        return message

    def _await_chunk(
        self, due: list[int], then: Callable[[list[memoryview]], bytes | None]
    ) -> None:
        rest = self._layout("host").answers_bytes if self._shared else self._lengths.request
        kind = VerticalMessage.SHARES if self._shared else VerticalMessage.REQUEST
        self._awaiting(kind, [*due, rest], then)

    def _first(self, parts: list[memoryview]) -> bytes:
        self._transfers.agree(parts[0])
        if self._shared:
            self._taken = self._products.taken(self._layout("guest"), parts[1])
        return self._chunked(parts[-1])

    def _chunked(self, sent: memoryview) -> bytes:
        if not self._shared:
            return self._garbled(matrix_product(self._chunk, self._numbers), sent)
        if self._taken is None:
            raise StateError("this query has no other side")
        answers, mine = self._answered(self._taken)
        shares = plus(mine, self._decrypted(sent))
        message = self._sealed(VerticalMessage.SHARES, answers)
        self._awaiting(
            VerticalMessage.REQUEST,
            [self._lengths.request],
            lambda parts: self._garbled(shares, parts[0]),
        )
        return message

    def _garbled(self, shares: Residues, request: memoryview) -> bytes:
        opening = self._opening
        garbler = Garbler(open_scores(opening), score_values(opening, shares))
        message = self._sealed(VerticalMessage.GARBLED, garbler.garble(request, self._transfers))
        colours = self._lengths.colours

        def read(parts: list[memoryview]) -> None:
            unit = 1.0 if self._opened == "class" else self._plan.score_unit
            self._found.append(scores(opening, garbler.read(parts[0])).astype(np.float64) * unit)
            self._chunk_done()

        def go_on(parts: list[memoryview]) -> bytes:
            read(parts)
            return self._chunked(parts[1])

        def end(parts: list[memoryview]) -> None:
            read(parts)
            self._end()

        self._start_row += len(self._chunk)
        if self._over:
            self._awaiting(VerticalMessage.COLOURS, [colours], end)
        else:
            self._await_chunk([colours], go_on)
        return message

    @property
    def _transfers(self) -> TransferSender:
        if self._sender is None:
            raise StateError("this query has no other side")
        return self._sender

    def _forget(self) -> None:
        super()._forget()
        self._sender = self._taken = None


class HostQuery(Query, AnsweringQuery):
    """The side that answers."""

    role: ClassVar[Role] = "host"
    _other_role: ClassVar[Role] = "guest"
    speaks_first: ClassVar[bool] = False
    _sends = VerticalMessage.MET
    _awaits = VerticalMessage.QUERY

    _receiver: TransferReceiver | None = None
    _taken: Ciphertexts | None = None

    def _met(self, parts: list[memoryview]) -> bytes:
        self._meet(parts[0])
        self._count(len(self._rows))
        message = self._said_hello()
        self._receiver = TransferReceiver(self._transcript.begin_session())
        due = [CHOICES_BYTES]
        if self._shared:
            due.append(self._layout("host").ciphertexts_bytes)
        self._awaiting(VerticalMessage.CHOICES, due, self._first)
        return message

    def _first(self, parts: list[memoryview]) -> bytes:
        self._transfers.agree(parts[0])
        first = [self._transfers.public]
        if self._shared:
            self._taken = self._products.taken(self._layout("host"), parts[1])
            first.append(self._encrypted())
        return self._chunked(first)

    def _chunked(self, first: list[bytes]) -> bytes:
        if not self._shared:
            return self._asked(first, matrix_product(self._chunk, self._numbers))
        if self._taken is None:
            raise StateError("this query has no other side")
        answers, mine = self._answered(self._taken)
        message = self._sealed(VerticalMessage.SHARES, *first, answers)
        self._awaiting(
            VerticalMessage.SHARES,
            [self._layout("guest").answers_bytes],
            lambda parts: self._asked([], plus(mine, self._decrypted(parts[0]))),
        )
        return message

    def _asked(self, first: list[bytes], shares: Residues) -> bytes:
        circuit = open_scores(self._opening)
        evaluator = Evaluator(circuit, {"share": shares}, self._transfers)
        message = self._sealed(VerticalMessage.REQUEST, *first, evaluator.request)

        def evaluated(parts: list[memoryview]) -> bytes:
            colours = evaluator.evaluate(parts[0]).colours
            self._start_row += len(self._chunk)
            self._chunk_done()
            if not self._over:
                return self._chunked([colours])
            last = self._sealed(VerticalMessage.COLOURS, colours)
            self._end()
            return last

        self._awaiting(VerticalMessage.GARBLED, [self._lengths.garbled], evaluated)
        return message

    @property
    def _transfers(self) -> TransferReceiver:
        if self._receiver is None:
            raise StateError("this query has no other side")
        return self._receiver

    def _forget(self) -> None:
        super()._forget()
        self._receiver = self._taken = None
