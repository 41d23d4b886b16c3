"""What guest and host have in common: their rows as polynomials, their shares, their frames."""

import dataclasses
import hashlib
from collections.abc import Callable
from functools import lru_cache
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from privfed.errors import ConfigError, ContextMismatchError
from privfed.garbled import Lengths
from privfed.he.ring import Plaintexts, PublicKey
from privfed.vertical.frames import FramedDialogue
from privfed.vertical.linear.capacity import IterationLayouts, ProductLayout, layouts_of
from privfed.vertical.linear.circuits import project
from privfed.vertical.linear.plan import VerticalPlan
from privfed.vertical.linear.products import KeyedProducts
from privfed.vertical.linear.projections import Projection
from privfed.vertical.linear.rows import batch_matrix, integer_rows
from privfed.vertical.linear.shares import Residues, matrix_product
from privfed.vertical.linear.state import TrainingState
from privfed.vertical.messages import VerticalMessage
from privfed.vertical.roles import MARK_BYTES, Role
from psi.errors import StateError
from psi.network import Progress

__all__ = ["VerticalSide"]

Floats = NDArray[np.float64]
_FINGERPRINT_BYTES = 32


class VerticalSide(FramedDialogue):
    """One company in the training: takes messages in turn and answers each.

    An error ends it, and it forgets its key and its shares; `state` then still holds those of the
    last iteration that ended, from which another session goes on with new keys and masks.
    """

    protocol = "privfed vertical"
    role: ClassVar[Role]

    def __init__(
        self,
        plan: VerticalPlan,
        block: Floats,
        whitening: Floats,
        *,
        state: TrainingState | None = None,
        on_state: Callable[[TrainingState], None] | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Prepare one side.

        Args:
            plan: What both sides agreed on.
            block: Shape (rows, columns of the plan): whitened columns, the guest's with its
                intercept; row i is of the same ID at both sides.
            whitening: Shape (names, whitened columns): what makes coefficients of standardised
                columns of whitened ones.
            state: That of a session which broke off, to go on with.
            on_state: Called with the state as the sides meet and after each iteration, before
                anything that follows from it is sent.
            progress: Called with a stage, the iterations done and their number.

        Raises:
            ConfigError: The rows do not fit the plan, or the state is of another one.
        """
        super().__init__(progress)
        names = plan.guest_names if self.role == "guest" else plan.host_names
        own = plan.guest_columns - 1 if self.role == "guest" else plan.host_columns
        if len(block) != plan.rows or whitening.shape != (names, own):
            raise ConfigError(
                f"the plan has {plan.rows} rows, {names} names and {own} whitened columns"
            )
        if plan.penalty and np.linalg.norm(whitening, 2) * plan.whitening_floor > 1 + 1e-9:
            raise ConfigError(
                "the whitening does not count the plan's penalty: make it with whitening_ridge"
            )
        if state is not None:
            state.check(plan)
        self.plan = plan
        self.state = TrainingState.begun(plan) if state is None else state
        self._on_state = on_state or (lambda state: None)
        self._rows = integer_rows(plan, self.role, block)
        self._whitening = whitening
        self._prepared: tuple[int, _Prepared] | None = None
        self._keys: KeyedProducts | None = KeyedProducts()
        self._identity = b""
        self._shares: Residues = np.empty(0, np.uint64)
        self._iteration = 0
        self._final: Residues = np.empty(0, np.uint64)
        self._opened: NDArray[np.int64] | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.plan.rows} rows)"

    @property
    def coefficients(self) -> Floats:
        """This side's coefficients of whitened columns, rounded as they opened.

        Raises:
            StateError: The session is not done, or coefficients stay shared.
        """
        coefficients: Floats = self.opened.astype(np.float64) * self._opened_unit
        return coefficients

    @property
    def opened(self) -> NDArray[np.int64]:
        """The same as integers, in the unit of the plan's rounding.

        Raises:
            StateError: The session is not done, or coefficients stay shared.
        """
        self._require_done()
        if self._opened is None:
            raise StateError("coefficients stay shared: predict with both halves")
        return self._opened

    @property
    def shares(self) -> Residues:
        """This side's shares of all coefficients, where these stay shared.

        Raises:
            StateError: The session is not done, or coefficients opened.
        """
        self._require_done()
        if self._opened is not None:
            raise StateError("coefficients opened: there are no shares to keep")
        return self._final

    @property
    def model(self) -> bytes:
        """32 bytes that name the model, the same at both sides.

        Raises:
            StateError: The session is not done.
        """
        self._require_done()
        return hashlib.sha256(b"privfed vertical model, " + self._transcript.digest).digest()

    # -- frames ----------------------------------------------------------------------------------

    @property
    def _number(self) -> int:
        return self._iteration

    def _hello(self, kind: VerticalMessage) -> bytes:
        return self._sealed(
            kind,
            self.plan.fingerprint(),
            self.state.to_bytes(),
            self._products.key.public.to_bytes(),
        )

    @property
    def _hello_lengths(self) -> list[int]:
        return [_FINGERPRINT_BYTES, TrainingState.size_bytes(), PublicKey.size_bytes()]

    def _meet(self, parts: list[memoryview]) -> None:
        """Take the other side's hello; both are in, and the session begins."""
        fingerprint, have, public = parts
        if fingerprint != self.plan.fingerprint():
            raise ContextMismatchError(
                "the other side has another plan: agree on family, penalty, iterations, rows, "
                "columns and what opens, and start again"
            )
        self._iteration, self._shares = self.state.common(have, self.plan.iterations)
        self._products.meet(public)
        self._identity = self._transcript.begin_session()
        self._on_state(self.state)

    @property
    def _products(self) -> KeyedProducts:
        if self._keys is None:
            raise StateError("this session is over: start a new one")
        return self._keys

    # -- products --------------------------------------------------------------------------------

    @property
    def _layouts(self) -> IterationLayouts:
        return layouts_of(self.plan, self._iteration)

    @property
    def _own(self) -> slice:
        """Which coefficients are of this side's columns."""
        guests = self.plan.guest_columns
        return slice(0, guests) if self.role == "guest" else slice(guests, self.plan.lanes)

    @property
    def _other(self) -> slice:
        guests = self.plan.guest_columns
        return slice(guests, self.plan.lanes) if self.role == "guest" else slice(0, guests)

    def _matrices(self) -> "_Prepared":
        """Return the iteration's rows and their polynomials; those of the last batch are kept."""
        batch = self._iteration % self.plan.batches
        if self._prepared is None or self._prepared[0] != batch:
            rows = batch_matrix(self.plan, self.role, self._rows, self._whitening, self._iteration)
            layouts = self._layouts
            forward, backward = (
                (layouts.guest_forward, layouts.guest_backward)
                if self.role == "guest"
                else (layouts.host_forward, layouts.host_backward)
            )
            self._prepared = batch, _Prepared(rows, forward, backward)
        return self._prepared[1]

    def _answered(
        self, layout: ProductLayout, plaintexts: Plaintexts, sent: memoryview
    ) -> tuple[bytes, Residues]:
        products = self._products
        return products.answered(layout, plaintexts, products.taken(layout, sent))

    # -- the end of an iteration -----------------------------------------------------------------

    @property
    def _last(self) -> bool:
        return self._iteration + 1 == self.plan.iterations

    @property
    def _projection(self) -> Projection:
        return projection_of(self.plan, last=self._last)

    @property
    def _lengths(self) -> Lengths:
        return Lengths.of(project(self._projection))

    @property
    def _opened_unit(self) -> float:
        plan = self.plan
        return float(2.0 ** (plan.drop + plan.rounding) / plan.coefficient_scale)

    def _keep(self, shares: Residues) -> None:
        """Take the shares of the next iteration; they are what a later session can go on with."""
        self._iteration += 1
        self._shares = shares
        if len(shares):  # none where coefficients open: until both have them, the last state holds
            mark = self._identity[:MARK_BYTES]
            self.state = self.state.followed(self._iteration, mark, shares)
            self._on_state(self.state)
        self._progress("training", self._iteration, self.plan.iterations)

    def _forget(self) -> None:
        self._keys = None
        self._shares = np.empty(0, np.uint64)
        self._prepared = None


class _Prepared:
    """A batch's integers and both of their polynomials."""

    def __init__(self, rows: Floats, forward: ProductLayout, backward: ProductLayout) -> None:
        self.rows, self.turned = rows, np.ascontiguousarray(rows.T)
        self.forward = Plaintexts.encode(
            forward.packing.matrix(rows.astype(np.int64)), forward.primes
        )
        self.backward = Plaintexts.encode(
            backward.packing.matrix(self.turned.astype(np.int64)), backward.primes
        )

    def scores(self, coefficients: Residues) -> Residues:
        return matrix_product(self.rows, coefficients)

    def slopes(self, residuals: Residues) -> Residues:
        return matrix_product(self.turned, residuals)


@lru_cache(maxsize=16)
def projection_of(plan: VerticalPlan, *, last: bool) -> Projection:
    """Return the circuit's plan after an iteration: after the last one coefficients may open."""
    if not last or plan.coefficients == "shared":
        return plan.projection
    return dataclasses.replace(
        plan.projection,
        to_guest=plan.guest_columns,
        to_host=plan.host_columns,
        rounding=plan.rounding,
    )
