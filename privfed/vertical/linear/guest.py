"""The guest: the company that holds the labels. It speaks first, garbles, and draws new shares."""

from collections.abc import Callable
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from privfed.errors import ConfigError
from privfed.garbled import Garbler, TransferSender
from privfed.he.ring import Answers, from_slots
from privfed.vertical.linear.circuits import fresh_shares, opened_values, project, projection_values
from privfed.vertical.linear.plan import VerticalPlan
from privfed.vertical.linear.shares import plus, times
from privfed.vertical.linear.side import VerticalSide
from privfed.vertical.linear.state import TrainingState
from privfed.vertical.linear.waves import constants, guest_waves
from privfed.vertical.messages import POINT_BYTES, VerticalMessage
from privfed.vertical.roles import Role
from psi.errors import StateError
from psi.network import Progress

__all__ = ["Guest"]

Floats = NDArray[np.float64]


class Guest(VerticalSide):
    """The side with the labels. `coefficients` has its intercept last."""

    role: ClassVar[Role] = "guest"
    speaks_first: ClassVar[bool] = True

    def __init__(
        self,
        plan: VerticalPlan,
        block: Floats,
        whitening: Floats,
        labels: Floats,
        *,
        state: TrainingState | None = None,
        on_state: Callable[[TrainingState], None] | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Prepare the side with the labels; other arguments and errors as of `VerticalSide`.

        Args:
            plan: What both sides agreed on.
            block: Its rows.
            whitening: What its columns went through.
            labels: Shape (rows,): 0 and 1, standardised numbers, or counts over their mean.
            state: That of a session which broke off.
            on_state: Called with the state of each iteration.
            progress: Called with a stage, the iterations done and their number.

        Raises:
            ConfigError: The labels are not of the family.
        """
        super().__init__(plan, block, whitening, state=state, on_state=on_state, progress=progress)
        _check_labels(plan, labels)
        self._labels = labels
        self._sender: TransferSender | None = None
        self._garbler: Garbler | None = None
        self._agreed = False
        self._slopes = np.empty(0, np.uint64)

    # -- messages --------------------------------------------------------------------------------

    def _begin(self) -> bytes:
        self._awaiting(VerticalMessage.HOST_HELLO, self._hello_lengths, self._met)
        return self._hello(VerticalMessage.GUEST_HELLO)

    def _met(self, parts: list[memoryview]) -> bytes:
        self._meet(parts)
        self._sender = TransferSender(self._identity)
        return self._coefficients(self._sender.choices)

    def _coefficients(self, first: bytes) -> bytes:
        layouts = self._layouts
        sent = self._products.encrypted(layouts.host_forward, self._shares[self._other])
        message = self._sealed(VerticalMessage.COEFFICIENTS, first, sent)
        due = [
            layouts.host_forward.answers_bytes,
            layouts.guest_forward.ciphertexts_bytes,
        ]
        if not self._agreed:
            due.insert(0, POINT_BYTES)
        self._awaiting(VerticalMessage.SCORES, due, self._scored)
        return message

    def _scored(self, parts: list[memoryview]) -> bytes:
        if not self._agreed:
            self._transfers.agree(parts.pop(0))
            self._agreed = True
        layouts, own = self._layouts, self._matrices()
        theirs = self._products.decrypted(layouts.host_forward, parts[0])
        answer, mine = self._answered(layouts.guest_forward, own.forward, parts[1])
        scores = plus(plus(own.scores(self._shares[self._own]), mine), theirs)
        waves = layouts.waves
        blocks = [
            self._products.key.encrypt(messages, waves.primes).to_bytes()
            for messages in guest_waves(self.plan, self._iteration, scores)
        ]
        message = self._sealed(VerticalMessage.WAVES, answer, *blocks)
        self._awaiting(
            VerticalMessage.LINKED,
            [*[waves.answer_bytes] * waves.blocks, layouts.guest_backward.ciphertexts_bytes],
            self._linked,
        )
        return message

    def _linked(self, parts: list[memoryview]) -> bytes:
        layouts, own = self._layouts, self._matrices()
        waves = layouts.waves
        blocks = [
            Answers.from_bytes(part, 1, primes=waves.primes, kept_primes=waves.kept_primes)
            for part in parts[:-1]
        ]
        slots = np.concatenate(
            [from_slots(self._products.key.decrypt(block))[0] for block in blocks]
        )
        batch = self.plan.batch_rows(self._iteration)
        known = constants(self.plan, self._iteration, self._labels[batch.start : batch.stop])
        residuals = plus(slots[: len(known)], known)
        answer, mine = self._answered(layouts.guest_backward, own.backward, parts[-1])
        self._slopes = plus(own.slopes(residuals), mine)
        message = self._sealed(
            VerticalMessage.RESIDUALS,
            answer,
            self._products.encrypted(layouts.host_backward, residuals),
        )
        self._awaiting(
            VerticalMessage.GRADIENTS,
            [layouts.host_backward.answers_bytes, self._lengths.request],
            self._stepped,
        )
        return message

    def _stepped(self, parts: list[memoryview]) -> bytes:
        gradient = np.concatenate(
            [self._slopes, self._products.decrypted(self._layouts.host_backward, parts[0])]
        )
        moved = plus(self._shares, times(gradient, -self.plan.multiplier(self._iteration)))
        projection = self._projection
        fresh = fresh_shares(projection.modulus, projection.shared)
        self._garbler = Garbler(project(projection), projection_values(projection, moved, fresh))
        garbled = self._garbler.garble(parts[1], self._transfers)
        if not self._last:
            self._keep(fresh)
            return self._coefficients(garbled)
        self._final = fresh
        message = self._sealed(VerticalMessage.FINISH, garbled)
        self._awaiting(VerticalMessage.OPENED, [self._lengths.colours], self._finished)
        return message

    def _finished(self, parts: list[memoryview]) -> None:
        projection = self._projection
        if projection.to_guest and self._garbler is not None:
            self._opened = opened_values(projection, self._garbler.read(parts[0]))
        self._keep(self._final)
        self._end()

    @property
    def _transfers(self) -> TransferSender:
        if self._sender is None:
            raise StateError("this session has no other side")
        return self._sender

    def _forget(self) -> None:
        super()._forget()
        self._sender = self._garbler = None
        self._slopes = np.empty(0, np.uint64)


def _check_labels(plan: VerticalPlan, labels: Floats) -> None:
    if labels.shape != (plan.rows,) or not np.isfinite(labels).all():
        raise ConfigError(f"there is one finite label for each of the {plan.rows} rows")
    if plan.family == "logistic" and not np.isin(labels, (0, 1)).all():
        raise ConfigError("labels of a logistic model are 0 and 1")
    if np.sqrt(np.mean(labels**2)) > plan.label_norm * (1 + 1e-9):
        raise ConfigError(
            f"labels have a root mean square above {plan.label_norm:g}: divide them by it"
        )
    if labels.min() == labels.max():
        raise ConfigError("all labels are the same: there is nothing to learn")
