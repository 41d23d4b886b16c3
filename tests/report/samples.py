"""Made-up results of the shapes a benchmark leaves; seeded, and nothing here was measured."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from privfed.experiment.arms import MAJORITY as COMMONEST
from privfed.experiment.arms import choose_arms
from privfed.experiment.comparing import Entrant, RowAnswers, compare
from privfed.experiment.measures import MeasureName
from privfed.experiment.results import Comparison, Overlap, Results, Run
from privfed.experiment.summary import summarise
from privfed.records import PrivacyCost

ARMS = {
    arm.name: arm
    for arm in (
        *choose_arms(("guest", "host", "party-3"), ("guest", "host", "party-3")),
        *choose_arms(None, ()),
    )
}

# Last test accuracy, accuracy on seen rows, on unseen rows.
Levels = Mapping[str, tuple[float, float | None, float]]
LEVELS: dict[str, Levels] = {
    "overlapping": {"alone": (0.54, 0.95, 0.53), "all": (0.826, 0.955, 0.525)},
    "disjoint": {"alone": (0.55, None, 0.55), "all": (0.525, None, 0.525)},
    "deduplicated": {"alone": (0.545, 0.95, 0.54), "all": (0.535, 0.95, 0.535)},
}
MAJORITY = 0.58


def sample(
    *,
    arms: Sequence[str] = (
        "guest", "host", "overall", "federated-float", "federated", "federated-he",
        "federated-he-dp",
    ),
    splits: Sequence[str] = ("overlapping", "disjoint", "deduplicated"),
    seeds: int = 5,
    rounds: int = 500,
    epsilons: Sequence[float] = (1.0, 3.0, 8.0),
    dataset: str = "dresses",
    is_surrogate: bool = False,
    levels: Mapping[str, Levels] | None = None,
    unequal: bool = False,
    paired: bool = True,
) -> Results:  # fmt: skip
    """Results of a benchmark of this shape.

    `unequal` breaks the encrypted arm's last round. Without `paired` arms are not compared, as in
    files of version 4; with it they are by accuracy.
    """
    runs, summaries = [], []
    for split in splits:
        for arm in arms:
            for epsilon in epsilons if ARMS[arm].private else (None,):
                level = (levels or LEVELS).get(split, LEVELS["disjoint"])
                group = [
                    _run(arm, split, seed, rounds, epsilon, level, unequal) for seed in range(seeds)
                ]
                runs += group
                summaries += summarise(group)
    return Results(
        provenance=_provenance(dataset, is_surrogate, list(range(seeds)), rounds, list(splits)),
        arms=[ARMS[arm] for arm in arms],
        overlaps=[_overlap(split, seed) for split in splits for seed in range(seeds)],
        runs=runs,
        summaries=summaries,
        measures=["accuracy", "balanced accuracy", "AUC"] if paired else [],
        comparisons=compared(runs) if paired else [],
    )


def compared(
    runs: Sequence[Run], measures: Sequence[MeasureName] = ("accuracy",)
) -> list[Comparison]:
    """What such runs give on the same rows: an arm is right as often as its run says."""
    found = []
    for split in dict.fromkeys(run.split for run in runs):
        mine = [run for run in runs if run.split == split]
        seeds = [[run for run in mine if run.seed == s] for s in sorted({r.seed for r in mine})]
        found += compare(split, list(ARMS.values()), measures, [_answers(each) for each in seeds])
    return found


def _answers(runs: Sequence[Run], rows: int = 174) -> RowAnswers:
    generator = np.random.default_rng([runs[0].seed, *runs[0].split.encode()])
    unseen = np.arange(rows) < runs[0].unseen_n
    majority_right = generator.permutation(rows - runs[0].unseen_n) < 79
    truth = np.r_[np.arange(runs[0].unseen_n) >= 22, ~majority_right].astype(np.int64)
    outputs = {Entrant(COMMONEST): np.tile([1.0, 0.0], (rows, 1))}
    for run in runs:
        right = np.r_[
            generator.permutation(run.unseen_n) < run.unseen_correct,
            generator.permutation(rows - run.unseen_n)
            < round(run.test_accuracy * rows) - run.unseen_correct,
        ]
        outputs[Entrant(run.arm, run.epsilon)] = np.eye(2)[np.where(right, truth, 1 - truth)]
    parties = 3 if any(run.arm == "party-3" for run in runs) else 2
    units = generator.choice(500, rows, replace=False)
    return RowAnswers(truth, units, np.arange(rows) % parties, unseen, outputs)


def _run(
    arm: str,
    split: str,
    seed: int,
    rounds: int,
    epsilon: float | None,
    levels: Levels,
    unequal: bool,
) -> Run:
    # The encrypted arm draws what the reference draws, so their weights are equal.
    same = "federated" if arm == "federated-he" else arm
    generator = np.random.default_rng([seed, *f"{same} {split} {epsilon}".encode()])
    alone = ARMS[arm].trains == "party"
    test, seen, unseen = levels["alone" if alone else "all"]
    if epsilon is not None:
        rounds = max(1, rounds // 20)
        test = 0.5 + 0.02 * math.log2(1 + epsilon)
        seen, unseen = (test + 0.01 if seen is not None else None), test - 0.01
    whose = ARMS[arm].party
    test_rows = {None: 174, 0: 82, 1: 92, 2: 60}[whose]
    train_rows = {None: 688, 0: 324, 1: 364, 2: 240}[whose]
    test = float(np.clip(test + generator.normal(0, 0.02), 0, 1))
    time = np.arange(1, rounds + 1) / rounds
    train_loss = 0.71 * np.exp(-3.2 * time) + 0.06 + generator.normal(0, 0.012, rounds)
    train_accuracy = np.clip(
        0.55 + 0.43 * (1 - np.exp(-4 * time)) + generator.normal(0, 0.008, rounds), 0, 1
    )
    if epsilon is not None:
        train_loss = 0.70 - 0.02 * time + generator.normal(0, 0.004, rounds)
        train_accuracy = 0.5 + (test - 0.5) * time + generator.normal(0, 0.01, rounds)
    test_loss = 0.69 + (1.1 if alone else 0.3) * time**1.5 + generator.normal(0, 0.03, rounds)
    test_accuracy = np.clip(
        0.5 + (test - 0.5) * (1 - np.exp(-5 * time)) + generator.normal(0, 0.012, rounds), 0, 1
    )
    test_accuracy[-1] = test
    hashes = [
        hashlib.sha256(f"{same} {split} {seed} {epsilon} {r}".encode()).hexdigest()
        for r in range(rounds)
    ]
    if unequal and arm == "federated-he":
        hashes[-1] = "0" * 64
    encrypted = ARMS[arm].encrypted
    upload = 0.0 if alone or arm == "overall" else 64_800.0 if encrypted else 46_864.0
    seconds = {"train": 0.018 * rounds, "aggregate": 0.0004 * rounds, "evaluate": 0.002 * rounds}
    if encrypted:
        seconds |= {
            "prepare": 0.0011 * rounds,
            "encrypt": 0.0031 * rounds,
            "decrypt": 0.0021 * rounds,
        }
    unseen_n = 38
    correct = int(generator.binomial(unseen_n, unseen))
    return Run(
        arm=arm,
        split=split,
        seed=seed,
        epsilon=epsilon,
        rounds=rounds,
        train_rows=train_rows,
        test_rows=test_rows,
        test_rows_sha256=hashlib.sha256(f"{split} {seed} {test_rows}".encode()).hexdigest(),
        train_loss_first=float(train_loss[0]),
        train_loss_last=float(train_loss[-1]),
        train_accuracy_first=float(train_accuracy[0]),
        train_accuracy_last=float(train_accuracy[-1]),
        test_loss_last=float(test_loss[-1]),
        test_accuracy=test,
        test_auc=float(np.clip(test + 0.02, 0, 1)),
        seen_accuracy=seen,
        seen_n=0 if seen is None else 11 if alone else 122,
        unseen_accuracy=correct / unseen_n,
        unseen_n=unseen_n,
        unseen_correct=correct,
        unseen_majority_correct=22,
        majority_accuracy=MAJORITY,
        weights_sha256=hashes[-1],
        upload_bytes_per_round=upload,
        download_bytes_per_round=upload * 0.5 if encrypted else upload,
        encryption_seconds_per_round=0.0067 if encrypted else 0.0,
        wall_seconds=sum(seconds.values()) * 1.05,
        seconds=seconds,
        history={
            "train_loss": [round(float(v), 6) for v in train_loss],
            "train_accuracy": [round(float(v), 6) for v in train_accuracy],
            "test_loss": [round(float(v), 6) for v in test_loss],
            "test_accuracy": [round(float(v), 6) for v in test_accuracy],
            "test_auc": [round(float(v), 6) for v in test_accuracy],
            "upload_bytes": [upload] * rounds,
            "download_bytes": [upload] * rounds,
            "weights_sha256": hashes,
            "seconds_train": [0.018] * rounds,
        },
        privacy=privacy(epsilon, rounds, split) if epsilon is not None else None,
        model=None,
    )


def privacy(epsilon: float, rounds: int, split: str) -> PrivacyCost:
    return PrivacyCost(
        epsilon=epsilon * 0.998,
        epsilon_outsider=epsilon * 0.998,
        target_epsilon=epsilon,
        delta=1e-5,
        noise="local",
        quorum=2,
        colluders=1,
        adjacency="zero-out of one unit",
        privacy_unit="all rows of one ID at all parties",
        sampling="Poisson, secret coins at each party",
        accountant="PLD",
        noise_multiplier=6.4 / epsilon,
        l2_clip_norm=1.0,
        sampling_rate=(32 / 324, 32 / 364),
        steps=(11 * rounds, 12 * rounds),
        epsilon_single_row=epsilon * (0.46 if split == "overlapping" else 0.97),
    )


def _overlap(split: str, seed: int) -> Overlap:
    rows, shared, unseen = {
        "overlapping": ((406, 456), 348 + seed % 3, 36 + seed),
        "disjoint": ((236 - seed, 264 + seed), 0, 92),
    }.get(split, ((406, 106 - seed), 0, 88))
    return Overlap(split, seed, "ECDH, ristretto255", rows, shared, unseen, 81_344, 0.052)


def _provenance(
    dataset: str, is_surrogate: bool, seeds: list[int], rounds: int, splits: list[str]
) -> dict[str, Any]:
    real = "UCI Dresses_Attribute_Sales" if dataset == "dresses" else "scikit-learn"
    source = "embedded surrogate" if is_surrogate else real
    return {
        "created_utc": "2025-01-01T00:00:00+00:00",
        "command": "privfed benchmark --split overlapping,disjoint,deduplicated --seeds 5",
        "privfed_version": "0.1.0",
        "versions": {"python": "3.11.9", "torch": "2.13.0"},
        "machine": {"system": "Linux", "architecture": "x86_64", "cores": 2},
        "seeds": seeds,
        "data": {
            "kind": dataset,
            "dataset": dataset,
            "source": source,
            "is_surrogate": is_surrogate,
            "sha256": hashlib.sha256(source.encode()).hexdigest(),
            "rows": 500,
            "distinct_ids": 475,
            "encoding": "codes",
            "columns": [
                {"name": "Price", "role": "feature", "kind": "categories", "values": 498,
                 "missing": 2, "odd": 0, "coding": "0 missing, 1 to 6 in order of size",
                 "done": "45 cells respelled"},
                {"name": "Rating", "role": "feature", "kind": "number", "values": 499,
                 "missing": 0, "odd": 1, "coding": "0 to 5 as it is; missing 0", "done": ""},
            ],
            "cleaning": {
                "dropped_rows": 0,
                "missing": {"Season": 2, "Material": 128},
                "changes": [
                    {"column": "Price", "spelling": "Low", "meaning": "low", "rows": 45},
                    {"column": "SleeveLength", "spelling": "sleevless", "meaning": "sleeveless",
                     "rows": 3},
                ],
            },
        },
        "settings": {"splits": splits, "rounds": rounds, "arms": None},
    }  # fmt: skip
