"""The host: the company whose columns help. It answers, and evaluates what the guest garbled."""

from collections.abc import Callable
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from privfed.errors import ConfigError
from privfed.garbled import Evaluated, Evaluator, TransferReceiver
from privfed.he.ring import (
    Ciphertexts,
    Plaintexts,
    Products,
    centred,
    from_slots,
    uniform_plain,
)
from privfed.vertical.linear.capacity import layouts_of
from privfed.vertical.linear.circuits import opened_values, project
from privfed.vertical.linear.plan import VerticalPlan
from privfed.vertical.linear.shares import negative, plus, times
from privfed.vertical.linear.side import VerticalSide
from privfed.vertical.linear.state import TrainingState
from privfed.vertical.linear.waves import host_waves
from privfed.vertical.messages import CHOICES_BYTES, VerticalMessage
from privfed.vertical.roles import Role
from psi.errors import StateError
from psi.network import Progress

__all__ = ["Host"]

Floats = NDArray[np.float64]
_SAME_DIGITS = 6  # of a column that whitening was taken off again


class Host(VerticalSide):
    """The side without labels."""

    role: ClassVar[Role] = "host"
    speaks_first: ClassVar[bool] = False

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
        """Prepare the side without labels; arguments as of `VerticalSide`.

        Raises:
            ConfigError: As of `VerticalSide`; or coefficients open, and a column differs from its
                commonest value on too few rows: its coefficient would tell these rows' labels.
        """
        super().__init__(plan, block, whitening, state=state, on_state=on_state, progress=progress)
        if plan.coefficients == "own":
            _check_support(block @ np.linalg.pinv(whitening), plan.least_rows)
        self._receiver: TransferReceiver | None = None
        self._evaluator: Evaluator | None = None
        self._scores = np.empty(0, np.uint64)
        self._residuals = np.empty(0, np.uint64)
        self._agreed = False
        self._awaiting(VerticalMessage.GUEST_HELLO, self._hello_lengths, self._met)

    # -- messages --------------------------------------------------------------------------------

    def _met(self, parts: list[memoryview]) -> bytes:
        message = self._hello(VerticalMessage.HOST_HELLO)
        self._meet(parts)
        self._receiver = TransferReceiver(self._identity)
        self._await_coefficients(CHOICES_BYTES)
        return message

    def _await_coefficients(self, first_bytes: int, ahead: int = 0) -> None:
        sent = layouts_of(self.plan, self._iteration + ahead).host_forward.ciphertexts_bytes
        self._awaiting(VerticalMessage.COEFFICIENTS, [first_bytes, sent], self._asked, ahead=ahead)

    def _asked(self, parts: list[memoryview]) -> bytes:
        first = b""
        if not self._agreed:
            first = self._transfers.public
            self._transfers.agree(parts[0])
            self._agreed = True
        else:
            self._keep(self._evaluate(parts[0]).values["share"])
        layouts, own = self._layouts, self._matrices()
        answer, mine = self._answered(layouts.host_forward, own.forward, parts[1])
        self._scores = plus(own.scores(self._shares[self._own]), mine)
        sent = self._products.encrypted(layouts.guest_forward, self._shares[self._other])
        message = self._sealed(VerticalMessage.SCORES, first, answer, sent)
        waves = layouts.waves
        self._awaiting(
            VerticalMessage.WAVES,
            [layouts.guest_forward.answers_bytes, *[waves.ciphertexts_bytes] * waves.blocks],
            self._waved,
        )
        return message

    def _waved(self, parts: list[memoryview]) -> bytes:
        layouts = self._layouts
        waves = layouts.waves
        scores = plus(self._scores, self._products.decrypted(layouts.guest_forward, parts[0]))
        masks = uniform_plain(waves.blocks)
        answers = [
            self._products.theirs.answer(
                Products(
                    Plaintexts.encode(centred(polynomials)[np.newaxis], waves.primes),
                    Ciphertexts.from_bytes(part, 2 * waves.harmonics, waves.primes),
                ),
                mask[np.newaxis],
                waves.flood_bits,
                kept_primes=waves.kept_primes,
            ).to_bytes()
            for polynomials, part, mask in zip(
                host_waves(self.plan, self._iteration, scores), parts[1:], masks, strict=True
            )
        ]
        rows = len(self._matrices().rows)
        self._residuals = negative(from_slots(masks).reshape(-1)[:rows])
        sent = self._products.encrypted(layouts.guest_backward, self._residuals)
        message = self._sealed(VerticalMessage.LINKED, *answers, sent)
        self._awaiting(
            VerticalMessage.RESIDUALS,
            [layouts.guest_backward.answers_bytes, layouts.host_backward.ciphertexts_bytes],
            self._resided,
        )
        return message

    def _resided(self, parts: list[memoryview]) -> bytes:
        layouts, own = self._layouts, self._matrices()
        theirs = self._products.decrypted(layouts.guest_backward, parts[0])
        answer, mine = self._answered(layouts.host_backward, own.backward, parts[1])
        gradient = np.concatenate([theirs, plus(own.slopes(self._residuals), mine)])
        moved = plus(self._shares, times(gradient, -self.plan.multiplier(self._iteration)))
        self._evaluator = Evaluator(project(self._projection), {"share": moved}, self._transfers)
        message = self._sealed(VerticalMessage.GRADIENTS, answer, self._evaluator.request)
        if self._last:
            self._awaiting(VerticalMessage.FINISH, [self._lengths.garbled], self._finished)
        else:
            self._await_coefficients(self._lengths.garbled, ahead=1)
        return message

    def _finished(self, parts: list[memoryview]) -> bytes:
        projection = self._projection
        done = self._evaluate(parts[0])
        if projection.to_host:
            self._opened = opened_values(projection, done.values)
        else:
            self._final = done.values["share"]
        message = self._sealed(VerticalMessage.OPENED, done.colours)
        self._keep(self._final)
        self._end()
        return message

    @property
    def _transfers(self) -> TransferReceiver:
        if self._receiver is None:
            raise StateError("this session has no other side")
        return self._receiver

    def _evaluate(self, garbled: memoryview) -> Evaluated:
        if self._evaluator is None:
            raise StateError("this session has no circuit")
        return self._evaluator.evaluate(garbled)

    def _forget(self) -> None:
        super()._forget()
        self._receiver = self._evaluator = None
        self._scores = self._residuals = np.empty(0, np.uint64)


def _check_support(columns: Floats, least: int) -> None:
    """Check that every standardised column tells apart enough rows."""
    for number, column in enumerate(columns.T):
        commonest = np.unique(column.round(_SAME_DIGITS), return_counts=True)[1].max()
        if (support := len(column) - int(commonest)) < least:
            raise ConfigError(
                f"column {number} differs from its commonest value on {support} rows, {least} are "
                'needed where coefficients open: leave it out, or use coefficients="shared"'
            )
