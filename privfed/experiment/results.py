"""What an experiment writes: one `Run` per arm and seed, and the `Results` file around them.

The JSON form is documented field by field in docs/results.md and versioned by SCHEMA_VERSION.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta

from privfed.data.dealing import SkewKind
from privfed.errors import ConfigError
from privfed.experiment.arms import Arm
from privfed.experiment.measures import MeasureName
from privfed.records import (
    Bound,
    Count,
    KnownNumber,
    KnownShare,
    Number,
    PrivacyCost,
    ResultsPart,
    Share,
)
from psi.storage import json_bytes, whole_file

SCHEMA_VERSION = 6
EXCHANGE = ("prepare", "encrypt", "aggregate", "decrypt")
"""Phases of a round from the updates to their mean, after what is made ahead."""

Interval = tuple[Bound, Bound]  # Student's t may reach past 0 and 1

HISTORY: Mapping[str, Any] = {
    **dict.fromkeys(("train_accuracy", "test_accuracy", "test_auc"), list[KnownShare | None]),
    **dict.fromkeys(("train_r2", "test_r2"), list[Bound | None]),
    "weights_sha256": list[str | None],
}
"""The columns of `Run.history` that are not lists of `KnownNumber | None`."""


class Overlap(ResultsPart, frozen=True):
    """What private set intersection said about one split before training."""

    split: str
    seed: Count
    protocol: str
    party_rows: tuple[Count, ...]
    shared_ids: Count
    unseen_test_ids: Count  # test IDs in no party's training rows
    psi_bytes: Count
    psi_seconds: Number


class NumberFigures(ResultsPart, frozen=True):
    """What a run gave whose label is a number: R² is at most 1, MAE in the label's units."""

    test_r2: Bound | None  # None where all test rows have the same label
    test_mae: Number
    mean_r2: Bound | None  # of always saying the mean of this arm's training labels, on these rows
    mean_mae: Number
    seen_mae: KnownNumber | None  # rows as of `seen_accuracy`
    unseen_mae: KnownNumber | None
    unseen_mean_mae: KnownNumber | None


class NumberSummary(ResultsPart, frozen=True):
    """The same over all seeds; of seen and unseen rows over all such rows."""

    test_r2_mean: Bound | None
    test_r2_ci95: Interval | None  # Student's t over seeds; None for one seed
    test_mae_mean: Number
    mean_r2: Bound | None
    mean_mae: Number
    seen_mae: KnownNumber | None
    unseen_mae: KnownNumber | None
    unseen_mean_mae: KnownNumber | None


class Run(ResultsPart, frozen=True):
    """One arm on one split with one seed. Losses and accuracies are means over rows in [0, 1].

    Where the label is a number, accuracies are not (null), counts of rows that are right are 0, and
    `number` has what stands in their place. A loss is then the mean squared error of labels that
    the public range scales to -1 to 1.
    """

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
    # upload_bytes, download_bytes, weights_sha256, seconds_<phase>; of numbers train_r2 and test_r2
    # in the place of accuracies and AUC
    privacy: PrivacyCost | None
    model: str | None  # file name beside results.json
    number: NumberFigures | None = None


class Summary(ResultsPart, frozen=True):
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
    number: NumberSummary | None = None


RowSet = Literal["all", "unseen", "own"]
"""All parties' test rows; those that nobody trained on, each ID once; those of the party beside."""


class Comparison(ResultsPart, frozen=True):
    """One arm beside another on the same rows by one measure, over the seeds that both have."""

    split: str
    rows: RowSet
    measure: MeasureName
    arm: str
    epsilon: KnownNumber | None
    beside: str  # an arm, or what stands beside them, such as "majority" or "mean"
    beside_epsilon: KnownNumber | None
    value: Bound  # of `arm`, mean over seeds
    beside_value: Bound
    difference: Bound  # of the two
    ci95: Interval  # of the difference, for this comparison alone
    standard_error: KnownNumber
    degrees_of_freedom: Annotated[float, Meta(ge=1.0, le=1e15)]
    seed_standard_error: KnownNumber | None  # by seeds alone; None for fewer than three
    seeds: Annotated[int, Meta(ge=1, le=10**15)]
    test_rows: Count  # over all seeds
    units: Count  # different IDs, or rows where there are none, over all seeds


class HeldRows(ResultsPart, frozen=True):
    """The rows of one party in one split with one seed."""

    split: str
    seed: Count
    party: str
    train_rows: Count
    test_rows: Count
    classes: tuple[Count, ...]  # rows of each class, in the order of `class_names`
    label_mean: Bound | None = None  # where the label is a number


class PartiesRecord(ResultsPart, frozen=True):
    """Who the parties are, what was asked of them, and what they hold."""

    names: tuple[str, ...]
    class_names: tuple[str, ...]
    sizes: tuple[KnownNumber, ...] | None  # asked: rows, or shares of all rows
    skew: SkewKind | None  # asked: what differs between the parties
    concentration: KnownNumber | None  # of the skew's Dirichlet distribution
    held: list[HeldRows]

    def __post_init__(self) -> None:
        for each in self.held:
            if each.party not in self.names or len(each.classes) != len(self.class_names):
                raise ValueError(f"rows of a party or of classes that have no name: {each.party!r}")
        if self.sizes == ():
            raise ValueError("sizes of nobody")


class Results(ResultsPart, frozen=True):
    """The whole file. `provenance`: versions, command, seeds, data source and hash, machine.

    `beside` is a benchmark of private arms on other data, which can be learnt.
    """

    provenance: dict[str, Any]
    arms: list[Arm]
    overlaps: list[Overlap]
    runs: list[Run]
    summaries: list[Summary]
    measures: list[MeasureName]  # verdicts go by the first; empty: an older file, without verdicts
    comparisons: list[Comparison]
    schema_version: int = SCHEMA_VERSION
    parties: PartiesRecord | None = None  # in older files it is not recorded
    beside: Results | None = None

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
