"""What one company keeps of a training: results.json, in its own folder and for nobody else.

The JSON form is documented field by field in docs/results.md and versioned by FORMAT.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, get_args

import msgspec

from privfed.dp import PrivacyPlan
from privfed.records import (
    Count,
    KnownNumber,
    KnownShare,
    OwnResults,
    PrivacyCost,
    ResultsPart,
)
from privfed.training.model import Loss

FORMAT: Literal["privfed training results 1"] = "privfed training results 1"

_SHA256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]

HowTrained = Literal[
    "encrypted averages", "noise shares", "central noise", "local noise, encrypted averages"
]
"""What went to the server: updates or sums, encrypted or not, and whose noise they held."""


class RoundRecord(ResultsPart, frozen=True, kw_only=True):
    """One round at this company; None: not measured, or lost when a process was killed."""

    number: Count  # from 1
    train_seconds: KnownNumber | None = None
    exchange_seconds: KnownNumber | None = None  # from the update to the model, with all waiting
    upload_bytes: Count | None = None
    train_loss: KnownNumber | None = None  # of the model after it, on own training rows
    train_accuracy: KnownShare | None = None
    test_loss: KnownNumber | None = None  # the same on own test rows
    test_accuracy: KnownShare | None = None


class OwnFile(ResultsPart, frozen=True):
    """A file of this company; its folder is not said."""

    what: str  # such as "training rows"
    name: str
    sha256: _SHA256


class OverlapCounts(ResultsPart, frozen=True):
    """What private set intersection said before training."""

    shared_ids: tuple[Count, ...]  # own training IDs that each party trains on, itself included
    rows_taken_out: Count | None  # own rows that an earlier party trains on; None: only counted


class TrainingResults(OwnResults, frozen=True, kw_only=True):
    """The whole file. `provenance`: versions, and when it was made."""

    WHAT: ClassVar[str] = "a training"

    format: Literal["privfed training results 1"] = FORMAT
    job: str
    plan: _SHA256  # its fingerprint
    party: Count  # own place in `parties`
    parties: tuple[str, ...]
    server: str
    server_party: Count | None  # the party that runs it; None: one without rows
    model: str
    loss: Loss
    rounds: Count
    adversary: str
    weighted: bool
    method: HowTrained
    statement: tuple[str, ...]  # as it was printed before the first row was touched
    privacy: PrivacyCost | None
    rounds_paid: Count | None  # those that got lost were paid, too
    files: tuple[OwnFile, ...]
    train_rows: Count
    test_rows: Count | None
    majority_share: KnownShare  # of own test rows, or training rows: who names it always, is right
    overlap: OverlapCounts | None
    history: tuple[RoundRecord, ...]
    seen_accuracy: KnownShare | None  # on own test rows whose ID some party trained on
    seen_n: Count
    unseen_accuracy: KnownShare | None  # on those whose ID nobody trained on
    unseen_n: Count
    weights_sha256: _SHA256
    provenance: dict[str, Any]

    def __post_init__(self) -> None:
        places = [self.party, *([] if self.server_party is None else [self.server_party])]
        if len(self.parties) < 2 or max(places) >= len(self.parties):
            raise ValueError("a place that no party has")
        if self.overlap is not None and len(self.overlap.shared_ids) != len(self.parties):
            raise ValueError("an overlap has one count a party")

    @property
    def name(self) -> str:
        """What this company is called."""
        return self.parties[self.party]

    @property
    def others(self) -> tuple[str, ...]:
        """What the others are called."""
        return self.parties[: self.party] + self.parties[self.party + 1 :]


def how_trained(private: PrivacyPlan | None) -> HowTrained:
    """Return how a training with this plan of privacy works."""
    averages, shares, central, local = get_args(HowTrained)
    by_noise: dict[str, HowTrained] = {"shares": shares, "central": central, "local": local}
    return averages if private is None else by_noise[private.noise]
