"""One company in a training: from its rows to its part of each round."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from privfed.data import Dataset
from privfed.dp import PrivacyBudget, PrivacyPlan, SecretRandomness
from privfed.errors import BudgetExceededError, ConfigError
from privfed.partner.channel import connected
from privfed.partner.overlap import FoundOverlap, find_overlap
from privfed.partner.overlap_file import OverlapFile, settled_overlap
from privfed.partner.plan import Plan
from privfed.partner.progress import Folder
from privfed.partner.rows import leave_out
from privfed.partner.standings import ToAll
from privfed.partner.trainer import FinishedRound, OnFinished, Trainer
from privfed.partner.work import LocalEpochs, NoisySteps, Work
from privfed.secagg import Parameters
from privfed.training import AdamTrainer, Arrays, DPSGDTrainer, RecordGradients, one_thread
from privfed.training.contributions import check_rows
from privfed.training.losses import LOSSES
from psi.network import TLSIdentity
from psi.storage import Record


class Company:
    """What a company brings, and what it keeps on its disk.

    Args:
        plan: What all agreed on.
        params: Its parameters.
        keys: This company's keyring folder; its progress and, unless there is another file, its
            budget are kept there.
        passphrase: What locks it, or None.
        budget: The file of a budget over several trainings on the same rows; None: one for this
            plan alone.
        granted: What that budget grants in all; None: the plan's ε.
    """

    def __init__(
        self,
        plan: Plan,
        params: Parameters,
        keys: Path,
        passphrase: str | None,
        *,
        budget: Path | None = None,
        granted: float | None = None,
    ) -> None:
        self.plan, self.params = plan, params
        self._keys, self._passphrase = keys, passphrase
        self.home = keys / "training" / plan.fingerprint.hex()[:32]
        self.folder = Folder(self.home, plan.fingerprint)
        self._budget, self._granted = budget or self.home / "budget.json", granted
        self.rounds_paid: int | None = None  # once it has trained

    def open_budget(self) -> AbstractContextManager[PrivacyBudget | None]:
        """Open what this company may spend.

        Returns:
            The budget, which the block closes; None without privacy.

        Raises:
            BudgetExceededError: It does not pay for the rounds that are left.
            ConfigError: The file is no such budget, or in use.
        """
        private = self.plan.private
        if private is None:
            return nullcontext()
        done = self.folder.finished()
        left = self.plan.rounds - (0 if done is None else done.rounds)
        pending = self.folder.pending()
        if pending is not None and pending.rounds == self.plan.rounds - left:  # that one is paid
            left -= 1
        budget = PrivacyBudget(
            self._granted or private.target_epsilon or private.epsilon,
            private.delta,
            privacy_unit=private.privacy_unit,
            path=self._budget,
        )
        try:
            if (payable := budget.rounds_left(private)) < left:
                raise BudgetExceededError(
                    f"{left} rounds are left and the budget pays for {payable}: "
                    f"{budget.statement()}"
                )
        except BaseException:
            budget.close()
            raise
        return budget

    def _alone(self) -> Record:
        """Hold the folder while a block runs: two processes would throw each other out."""
        try:
            return Record(self.home / "process", refusal=ConfigError)
        except ConfigError as error:
            raise ConfigError(
                f"another process trains by this plan? End it first: {error}"
            ) from None

    def overlap_file(self, rows: Dataset, test: Dataset | None) -> OverlapFile:
        """Return what keeps the overlap of this company's rows; there may be none in it."""
        tests = None if test is None else test.ids
        return OverlapFile(self.home / "overlap.json", self.plan, rows.ids, tests)

    def train(
        self,
        rows: Dataset,
        model: nn.Module,
        identity: TLSIdentity,
        *,
        test: Dataset | None = None,
        address: str | None = None,
        overlap_address: str | None = None,
        wait_seconds: float,
        tell: Callable[[str], None] = lambda line: None,
        on_start: Callable[[Dataset, FoundOverlap | None], OnFinished] = lambda rows, found: (
            _ignore
        ),
    ) -> Arrays:
        """Train until all rounds are finished.

        Args:
            rows: This company's own, encoded as the plan says.
            model: The plan's, with its initial weights.
            identity: This company's key and certificate.
            test: Rows of its own that are not trained on, whose IDs are looked for, too.
            address: HOST:PORT of the server; None: the plan's.
            overlap_address: HOST:PORT to listen on for the overlap; None: the plan's.
            wait_seconds: For how long others may be missed.
            tell: Called with a line for the operator.
            on_start: Called before the first round of this process, with the rows that are trained
                on and the overlap; returns what is called after each round.

        Returns:
            The weights; the model has them, too.

        Raises:
            PeerError: Somebody is missing, too slow, or stopped.
            AuthenticationError: Another party or the server sent what does not verify.
            BudgetExceededError: The budget does not pay for all rounds.
            ConfigError: Files, rows or parties do not fit together, or another process trains by
                this plan; says what to do.
        """
        plan = self.plan
        place = plan.place_of(identity.certificate)
        if plan.private is not None:  # before others hear of it
            check_rows(plan.private, place, len(rows), _ids(plan.private, rows))
        tests = None if test is None else test.ids
        file = self.overlap_file(rows, test)

        def find() -> FoundOverlap:
            return find_overlap(
                plan, identity, rows.ids, tests,
                listen=overlap_address, wait_seconds=wait_seconds, tell=tell,
            )  # fmt: skip

        with self._alone(), self.open_budget() as budget, one_thread():
            part: list[tuple[Work, int | None]] = []  # made once

            def settle(exchange: ToAll, begun: bool) -> tuple[Work, int | None]:
                found = None
                if plan.overlap != "none":
                    found = settled_overlap(file, find, exchange, begun=begun)
                if not part:
                    taken_out = None if found is None else found.taken_out
                    left = leave_out(rows, taken_out, private=plan.private is not None)
                    work = round_work(plan, place, left, model, budget)
                    part.append((work, len(left) if plan.weighted else None))
                    trainer.on_round = on_start(left, found)
                return part[0]

            trainer = Trainer(
                plan, self.params, self._keys, self._passphrase, self.folder, model, settle
            )
            with connected(
                plan, self.params, identity, address=address, wait_seconds=wait_seconds, tell=tell
            ) as channel:
                try:
                    return trainer.run(channel)
                finally:  # all rounds may be finished, and only the others' last word be missed
                    if budget is not None and plan.private is not None:
                        self.rounds_paid = budget.rounds_spent(plan.private)


def _ignore(finished: FinishedRound) -> None:
    """Do nothing."""


def round_work(
    plan: Plan, place: int, rows: Dataset, model: nn.Module, budget: PrivacyBudget | None
) -> Work:
    """Return what a party does in each round.

    Args:
        plan: Says what that is.
        place: The party's.
        rows: Its own.
        model: On which it is done.
        budget: What pays for it; None without privacy.

    Raises:
        ConfigError: Rows or model are not those of the plan's privacy, or there is no budget.
    """
    features, labels = torch.from_numpy(rows.features), torch.from_numpy(rows.labels)
    private, loss = plan.private, LOSSES[plan.loss]
    if private is None:
        adam = AdamTrainer(features, labels, learning_rate=plan.learning_rate, loss=loss.mean)
        return LocalEpochs(adam, plan.seed, place)
    ids = _ids(private, rows)
    if budget is None:
        raise ConfigError("private training is paid from a budget")
    if private.noise == "local":
        trainer = DPSGDTrainer(
            features,
            labels,
            private,
            place,
            SecretRandomness(),
            plan.learning_rate,
            row_losses=loss.by_row,
            budget=budget,
            ids=ids,
        )
        return LocalEpochs(trainer, plan.seed, place)
    gradients = RecordGradients(
        model,
        features,
        labels,
        private,
        place,
        SecretRandomness(),
        row_losses=loss.by_row,
        ids=ids,
    )
    return NoisySteps(gradients, budget, plan.learning_rate)


def _ids(private: PrivacyPlan, rows: Dataset) -> NDArray[np.str_] | None:
    """Return the IDs where a unit may have several rows, so that its cap is checked."""
    if all(sum(unit) == 1 for unit in private.placements):
        return None
    return rows.require_ids("a plan that protects all rows of one ID")
