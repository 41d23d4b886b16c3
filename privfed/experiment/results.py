"""What an experiment leaves behind: one `Run` an arm and seed, and the `Results` file around them.

The JSON form is documented field by field in docs/results.md and versioned by SCHEMA_VERSION.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from privfed.dp import Noise
from privfed.errors import ConfigError
from privfed.experiment.arms import Arm
from psi.storage import whole_file

SCHEMA_VERSION = 4
EXCHANGE = ("prepare", "encrypt", "aggregate", "decrypt")
"""Phases of a round between the updates and their mean, with what is made ahead of them."""


@dataclass(frozen=True)
class Range:
    """What a number that is read back may be; without one, at least 0."""

    least: float
    most: float


Share = Annotated[float, Range(0.0, 1.0)]
Interval = tuple[  # Student's t knows nothing of 0 and 1
    Annotated[float, Range(-math.inf, math.inf)], Annotated[float, Range(-math.inf, math.inf)]
]

HISTORY: Mapping[str, Any] = {
    "train_accuracy": Share, "test_accuracy": Share, "test_auc": Share, "weights_sha256": str,
}  # fmt: skip
"""The columns of `Run.history` that are not plain numbers."""


@dataclass(frozen=True)
class PrivacyCost:
    """An ε that is never without what it means."""

    epsilon: float  # spent by the worst-placed unit, whoever looks
    epsilon_outsider: float  # of that for somebody who sees the models and put nothing in
    target_epsilon: float  # asked
    delta: float
    noise: (
        Noise  # "local": full noise a party; "shares": under encryption; "central": at the server
    )
    quorum: int  # parties whose noise a round needs
    colluders: int  # parties whose shares of the noise may be known or missing
    adjacency: str
    privacy_unit: str
    sampling: str
    accountant: str
    noise_multiplier: float
    l2_clip_norm: float
    sampling_rate: tuple[float, ...]  # one a party
    steps: tuple[int, ...]  # one a party
    epsilon_single_row: float  # what a unit with one row at one party spends


@dataclass(frozen=True)
class Overlap:
    """What private set intersection said about one split before training."""

    split: str
    seed: int
    protocol: str
    party_rows: tuple[int, ...]
    shared_ids: int
    unseen_test_ids: int  # test IDs in no party's training rows
    psi_bytes: int
    psi_seconds: float


@dataclass(frozen=True)
class Run:
    """One arm on one split with one seed. Losses and accuracies are means over rows in [0, 1]."""

    arm: str
    split: str
    seed: int
    epsilon: float | None  # asked; `privacy` has the spent one with all it means
    rounds: int
    train_rows: int
    test_rows: int
    test_rows_sha256: str | None  # which rows; None in files of version 2, which do not say
    train_loss_first: float
    train_loss_last: float
    train_accuracy_first: Share
    train_accuracy_last: Share
    test_loss_last: float
    test_accuracy: Share
    test_auc: Share | None  # None where the test rows hold one class only
    seen_accuracy: Share | None  # test rows whose ID this arm trained on; None where there are none
    seen_n: int
    unseen_accuracy: Share | None  # test rows whose ID no party trained on, each ID once
    unseen_n: int
    unseen_correct: int
    unseen_majority_correct: int  # rows of those on which the majority class would be right
    majority_accuracy: Share  # of the training rows' majority class, on this arm's test rows
    weights_sha256: str  # of the final model's float32 parameters in order
    upload_bytes_per_round: float  # all parties together
    download_bytes_per_round: float  # all parties together
    encryption_seconds_per_round: float  # everything plaintext averaging would not do
    wall_seconds: float
    seconds: dict[str, float]  # by phase, such as train, encrypt, evaluate
    history: dict[str, list[Any]] = field(default_factory=dict)
    # history, one entry a round: train_loss, train_accuracy, test_loss, test_accuracy, test_auc,
    # upload_bytes, download_bytes, weights_sha256, seconds_<phase>
    privacy: PrivacyCost | None = None
    model: str | None = None  # file name beside results.json


@dataclass(frozen=True)
class Summary:
    """One arm on one split over all seeds; intervals are 95 %."""

    arm: str
    split: str
    epsilon: float | None
    seeds: int
    test_accuracy_mean: Share
    test_accuracy_ci95: Interval | None  # Student's t over seeds; None for one seed
    test_auc_mean: Share | None
    train_loss_first_mean: float
    train_loss_last_mean: float
    train_accuracy_first_mean: Share
    train_accuracy_last_mean: Share
    test_loss_last_mean: float
    seen_accuracy: Share | None
    seen_n: int
    unseen_accuracy: Share | None  # pooled over seeds
    unseen_ci95: Interval | None  # Wilson's score interval on the pooled count
    unseen_n: int
    unseen_majority: Share | None  # the majority class on the same rows
    majority_accuracy: Share
    upload_bytes_per_round: float
    download_bytes_per_round: float
    encryption_seconds_per_round: float
    wall_seconds_mean: float


@dataclass(frozen=True)
class Results:
    """The whole file. `provenance` says versions, command, seeds, data source and hash, machine."""

    provenance: dict[str, Any]
    arms: list[Arm]
    overlaps: list[Overlap]
    runs: list[Run]
    summaries: list[Summary]
    schema_version: int = SCHEMA_VERSION

    def to_json(self) -> str:
        """Serialise; refuses NaN, which JSON cannot carry."""
        return json.dumps(_plain(self), indent=1, allow_nan=False)

    def write(self, path: Path) -> None:
        """Write atomically: a reader sees the old file or the new one.

        Raises:
            ConfigError: the folder cannot be written.
        """
        text = self.to_json().encode()
        with whole_file(path, replace=True, parents=True, refusal=ConfigError) as file:
            file.write(text)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
