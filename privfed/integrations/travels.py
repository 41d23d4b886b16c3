"""What an upload holds, and how the model follows from a round's total."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from privfed.errors import ConfigError, ContextMismatchError
from privfed.integrations.kept import Arrays
from privfed.integrations.messages import PastRound, Travels
from privfed.secagg import Party

if TYPE_CHECKING:  # SciPy and torch come with them
    from privfed.dp import PrivacyPlan

Model = Mapping[str, NDArray[Any]]

PLAN, BUDGET = "plan.json", "budget.json"
"""Names of a client-level plan and of the budget that pays for it, in a keyring folder."""


class Codec(Protocol):
    """Turns an application's arrays into uploads, and totals into the model."""

    travels: Travels

    def pay(self) -> None:
        """Pay for a round before the application touches a row."""

    def pack(
        self, before: Model, after: Model, weight: int | None, of: PastRound, agreed: bytes
    ) -> bytes:
        """Return a round's upload, of the model before training and after it.

        What is `agreed` all have alike who mask together; see `privfed.secagg.Encryptor`.
        """

    def take(self, before: Model, total: bytes, of: PastRound) -> Arrays:
        """Open a total; return the model after its round."""

    def close(self) -> None:
        """Release what is in use."""


class Means:
    """Means: of whole weights, or of how far training moved them.

    Differences are more precise at the same clip range and bits.

    Args:
        party: Who encrypts and opens.
        travels: "weights", of which the mean is the model, or "updates", whose mean is added.
    """

    def __init__(self, party: Party, travels: Travels) -> None:
        self._party, self.travels = party, travels

    def pay(self) -> None:
        """Do nothing: there is no budget."""

    def close(self) -> None:
        """Do nothing."""

    def pack(
        self, before: Model, after: Model, weight: int | None, of: PastRound, agreed: bytes
    ) -> bytes:
        """Encrypt weights or differences, in float32 as everywhere in privfed."""
        if self.travels == "updates":
            after = {name: np.asarray(after[name], np.float32) - before[name] for name in before}
        return self._party.encrypt(
            after, weight=weight, round_id=of.round_id, cohort=of.cohort, agreed=agreed
        )

    def take(self, before: Model, total: bytes, of: PastRound) -> Arrays:
        """Return the mean, or add it."""
        mean = self._party.open(total, round_id=of.round_id, cohort=of.cohort).mean
        if self.travels == "weights":
            return {name: mean[name] for name in before}
        return {name: before[name] + mean[name].astype(np.float32) for name in before}


class ClientShares:
    """Client-level privacy: clipped differences, of which only a noisy sum is ever decrypted.

    DP-FedAvg (McMahan et al., arXiv 1710.06963) with a fixed clip norm, the noise in shares
    (`privfed.dp.shares`). The client's own coin decides whether its update counts; the application
    trains either way, so that nobody sees by the time it takes. All arrays together are one vector.

    Args:
        folder: The keyring folder, with the plan; the budget is kept there, too.
        party: Whose parameters must be the plan's.

    Raises:
        ConfigError: There is no such plan, or it counts rows.
        ContextMismatchError: The parameters are another plan's.
    """

    travels: Travels = "shares"

    def __init__(self, folder: Path, party: Party) -> None:
        from privfed.dp import NoiseShares, PrivacyBudget, SecretRandomness
        from privfed.training import FixedClip
        from privfed.training.contributions import check_rows
        from privfed.training.noisy_sums import share_parameters

        self._plan = read_plan(folder / PLAN)
        check_rows(self._plan, party.place, 1)
        if (
            share_parameters(self._plan, party.params.roster).fingerprint
            != party.params.fingerprint
        ):
            raise ContextMismatchError(
                f"the parameters are not those of {folder / PLAN}: `share_parameters` makes them"
            )
        self._party = party
        self._shares, self._clip = NoiseShares(self._plan), FixedClip(self._plan)
        self._randomness = SecretRandomness()
        self._budget = PrivacyBudget(
            self._plan.target_epsilon or self._plan.epsilon,
            self._plan.delta,
            privacy_unit=self._plan.privacy_unit,
            path=folder / BUDGET,
        )

    def close(self) -> None:
        """Release the budget."""
        self._budget.close()

    def pay(self) -> None:
        """Spend a round of the plan.

        Raises:
            BudgetExceededError: The budget does not allow another one.
        """
        self._budget.spend_round(self._plan)

    def pack(
        self, before: Model, after: Model, weight: int | None, of: PastRound, agreed: bytes
    ) -> bytes:
        """Encrypt the clipped difference with this party's share of the noise."""
        counts = bool(self._plan.draw_batch(self._party.place, self._randomness)[0])
        # An error would tell of this client's rows, and so would a sum that is not a number.
        with np.errstate(all="ignore"):
            moved = np.concatenate(
                [
                    np.asarray(after[name], np.float64).ravel() - before[name].ravel()
                    for name in before
                ]
            )
            counts = counts and bool(np.isfinite(moved).all())
            clipped = self._clip.pack(moved) if counts else np.zeros_like(moved)
        sensitivity = self._plan.l2_clip_norm * (1 + 1e-9)
        drawn = self._shares.draw(clipped, sensitivity, self._randomness)
        return self._party.encrypt_integers(
            {"sum": drawn}, round_id=of.round_id, cohort=of.cohort, agreed=agreed
        )

    def take(self, before: Model, total: bytes, of: PastRound) -> Arrays:
        """Add the noisy sum over the expected number of clients."""
        sums = self._party.open_sums(total, round_id=of.round_id, cohort=of.cohort).sums["sum"]
        expected = float(np.dot(self._plan.rows, self._plan.sampling_rates))
        moved = self._shares.decode(sums) / expected
        after, start = {}, 0
        for name, values in before.items():
            stop = start + values.size
            step = moved[start:stop].reshape(values.shape)
            after[name] = (values.astype(np.float64) + step).astype(np.float32)
            start = stop
        return after


def codec_of(travels: Travels, folder: Path, party: Party) -> Codec:
    """Return what carries a party's arrays.

    Raises:
        ConfigError: The parameters are for another kind, or there is no plan.
        ContextMismatchError: They are another plan's.
    """
    if party.params.noise_shares:
        if travels == "updates":
            raise ConfigError("the parameters are a plan's: leave what travels to it")
        return ClientShares(folder, party)
    return Means(party, travels)


def write_plan(path: Path, plan: PrivacyPlan) -> None:
    """Write a client-level plan for `ClientShares`."""
    path.write_text(json.dumps(plan.to_dict(), indent=1, sort_keys=True) + "\n")


def read_plan(path: Path) -> PrivacyPlan:
    """Return the plan of a file.

    Raises:
        ConfigError: There is none, or it is no plan.
    """
    from privfed.dp import PrivacyPlan

    try:
        settings = json.loads(path.read_bytes())
    except (OSError, ValueError):
        raise ConfigError(
            f"{path} is no plan: parameters with noise shares need the plan that they are of"
        ) from None
    return PrivacyPlan.from_dict(settings)
