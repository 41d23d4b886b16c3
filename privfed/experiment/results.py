"""What an experiment writes: one `Run` per arm and seed, and the `Results` file around them.

The JSON form is documented field by field in docs/results.md and versioned by SCHEMA_VERSION.
"""

from __future__ import annotations

import math
import typing
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from privfed.dp import Noise
from privfed.errors import ConfigError
from privfed.experiment.arms import Arm
from psi.storage import json_bytes, whole_file

SCHEMA_VERSION = 4
EXCHANGE = ("prepare", "encrypt", "aggregate", "decrypt")
"""Phases of a round from the updates to their mean, after what is made ahead."""


_MOST = 10**15  # no count, byte, second or loss here is larger
Count = Annotated[int, Meta(ge=0, le=_MOST)]
KnownNumber = Annotated[float, Meta(ge=0.0, le=float(_MOST))]
KnownShare = Annotated[float, Meta(ge=0.0, le=1.0)]
_Bound = Annotated[float, Meta(ge=-float(_MOST), le=float(_MOST))]
Interval = tuple[_Bound, _Bound]  # Student's t may reach past 0 and 1

# A null in their place is a number that was not finite when it was written; it is read as NaN.
if TYPE_CHECKING:
    Number = float
    Share = float
else:
    Number = Annotated[KnownNumber | None, Meta(extra={"null": "NaN"})]
    Share = Annotated[KnownShare | None, Meta(extra={"null": "NaN"})]

HISTORY: Mapping[str, Any] = {
    **dict.fromkeys(("train_accuracy", "test_accuracy", "test_auc"), list[KnownShare | None]),
    "weights_sha256": list[str | None],
}
"""The columns of `Run.history` that are not lists of `KnownNumber | None`."""


class _Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A part of the file."""

    def __post_init__(self) -> None:
        for name in _nan_for_null(type(self)):
            if getattr(self, name) is None:
                msgspec.structs.force_setattr(self, name, math.nan)


@cache
def _nan_for_null(kind: type[_Record]) -> tuple[str, ...]:
    hints = typing.get_type_hints(kind, include_extras=True)
    return tuple(name for name, hint in hints.items() if hint in (Number, Share))


class PrivacyCost(_Record, frozen=True):
    """An ε with all its terms."""

    epsilon: Number  # spent by the worst-placed unit, against anybody
    epsilon_outsider: Number  # the same against somebody who sees the models and put nothing in
    target_epsilon: Number  # asked
    delta: Number
    noise: (
        Noise  # "local": full noise per party; "shares": under encryption; "central": at the server
    )
    quorum: Count  # parties whose noise a round needs
    colluders: Count  # parties whose shares of the noise may be known or missing
    adjacency: str
    privacy_unit: str
    sampling: str
    accountant: str
    noise_multiplier: Number
    l2_clip_norm: Number
    sampling_rate: tuple[KnownNumber, ...]  # one per party
    steps: tuple[Count, ...]  # one per party
    epsilon_single_row: Number  # what a unit with one row at one party spends


class Overlap(_Record, frozen=True):
    """What private set intersection said about one split before training."""

    split: str
    seed: Count
    protocol: str
    party_rows: tuple[Count, ...]
    shared_ids: Count
    unseen_test_ids: Count  # test IDs in no party's training rows
    psi_bytes: Count
    psi_seconds: Number


class Run(_Record, frozen=True):
    """One arm on one split with one seed. Losses and accuracies are means over rows in [0, 1]."""

    arm: str
    split: str
    seed: Count
    epsilon: KnownNumber | None  # asked; `privacy` has the ε spent, with all its terms
    rounds: Count
    train_rows: Count
    test_rows: Count
    test_rows_sha256: str | None  # which rows; None in files of version 2, which do not say
    train_loss_first: Number
    train_loss_last: Number
    train_accuracy_first: Share
    train_accuracy_last: Share
    test_loss_last: Number
    test_accuracy: Share
    test_auc: KnownShare | None  # None where the test rows hold one class only
    seen_accuracy: KnownShare | None  # rows whose ID this arm trained on; None if there are none
    seen_n: Count
    unseen_accuracy: KnownShare | None  # test rows whose ID no party trained on, each ID once
    unseen_n: Count
    unseen_correct: Count
    unseen_majority_correct: Count  # on how many of those the majority class is right
    majority_accuracy: Share  # of the training rows' majority class, on this arm's test rows
    weights_sha256: str  # of the final model's float32 parameters in order
    upload_bytes_per_round: Number  # all parties together
    download_bytes_per_round: Number  # all parties together
    encryption_seconds_per_round: Number  # all that plaintext averaging would not need
    wall_seconds: Number
    seconds: dict[str, KnownNumber]  # by phase, such as train, encrypt, evaluate
    history: dict[str, list[Any]]
    # history, one entry per round: train_loss, train_accuracy, test_loss, test_accuracy, test_auc,
    # upload_bytes, download_bytes, weights_sha256, seconds_<phase>
    privacy: PrivacyCost | None
    model: str | None  # file name beside results.json


class Summary(_Record, frozen=True):
    """One arm on one split over all seeds; intervals are 95 %."""

    arm: str
    split: str
    epsilon: KnownNumber | None
    seeds: Count
    test_accuracy_mean: Share
    test_accuracy_ci95: Interval | None  # Student's t over seeds; None for one seed
    test_auc_mean: KnownShare | None
    train_loss_first_mean: Number
    train_loss_last_mean: Number
    train_accuracy_first_mean: Share
    train_accuracy_last_mean: Share
    test_loss_last_mean: Number
    seen_accuracy: KnownShare | None
    seen_n: Count
    unseen_accuracy: KnownShare | None  # pooled over seeds
    unseen_ci95: Interval | None  # Wilson's score interval on the pooled count
    unseen_n: Count
    unseen_majority: KnownShare | None  # the majority class on the same rows
    majority_accuracy: Share
    upload_bytes_per_round: Number
    download_bytes_per_round: Number
    encryption_seconds_per_round: Number
    wall_seconds_mean: Number


class Results(_Record, frozen=True):
    """The whole file. `provenance`: versions, command, seeds, data source and hash, machine."""

    provenance: dict[str, Any]
    arms: list[Arm]
    overlaps: list[Overlap]
    runs: list[Run]
    summaries: list[Summary]
    schema_version: int = SCHEMA_VERSION

    def to_json(self) -> str:
        """Return the results as JSON; a number that is not finite becomes null."""
        return json_bytes(self, indent=1).decode()

    def write(self, path: Path) -> None:
        """Write atomically: a reader sees the old file or the new one.

        Raises:
            ConfigError: The folder cannot be written.
        """
        text = self.to_json().encode()
        with whole_file(path, replace=True, parents=True, refusal=ConfigError) as file:
            file.write(text)
