"""Runs of several seeds → means with intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

from privfed.experiment.results import Run, Summary


def summarise(runs: Sequence[Run]) -> list[Summary]:
    """Summarise every (split, arm, ε) over its seeds, in the order of the runs."""
    groups: dict[tuple[str, str, float | None], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.split, run.arm, run.epsilon), []).append(run)
    return [_summary(group) for group in groups.values()]


def mean_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Student's t interval of the mean, 95 %; None for fewer than two values."""
    if len(values) < 2:
        return None
    half = float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))
    mean = float(np.mean(values))
    return mean - half, mean + half


def wilson_interval(correct: int, n: int) -> tuple[float, float] | None:
    """Wilson's score interval of a proportion, 95 % (JASA 22, 1927); None for n = 0."""
    if n == 0:
        return None
    z = float(stats.norm.ppf(0.975))
    p = correct / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, centre - half), min(1.0, centre + half)


def _summary(runs: list[Run]) -> Summary:
    first = runs[0]
    seen_n = sum(run.seen_n for run in runs)
    seen = sum(run.seen_accuracy * run.seen_n for run in runs if run.seen_accuracy is not None)
    unseen_n = sum(run.unseen_n for run in runs)
    unseen_correct = sum(run.unseen_correct for run in runs)
    aucs = [run.test_auc for run in runs if run.test_auc is not None]
    return Summary(
        arm=first.arm,
        split=first.split,
        epsilon=first.epsilon,
        seeds=len(runs),
        test_accuracy_mean=_mean([run.test_accuracy for run in runs]),
        test_accuracy_ci95=mean_interval([run.test_accuracy for run in runs]),
        test_auc_mean=_mean(aucs) if aucs else None,
        train_loss_first_mean=_mean([run.train_loss_first for run in runs]),
        train_loss_last_mean=_mean([run.train_loss_last for run in runs]),
        train_accuracy_first_mean=_mean([run.train_accuracy_first for run in runs]),
        train_accuracy_last_mean=_mean([run.train_accuracy_last for run in runs]),
        test_loss_last_mean=_mean([run.test_loss_last for run in runs]),
        seen_accuracy=seen / seen_n if seen_n else None,
        seen_n=seen_n,
        unseen_accuracy=unseen_correct / unseen_n if unseen_n else None,
        unseen_ci95=wilson_interval(unseen_correct, unseen_n),
        unseen_n=unseen_n,
        unseen_majority=(
            sum(run.unseen_majority_correct for run in runs) / unseen_n if unseen_n else None
        ),
        majority_accuracy=_mean([run.majority_accuracy for run in runs]),
        upload_bytes_per_round=_mean([run.upload_bytes_per_round for run in runs]),
        download_bytes_per_round=_mean([run.download_bytes_per_round for run in runs]),
        encryption_seconds_per_round=_mean([run.encryption_seconds_per_round for run in runs]),
        wall_seconds_mean=_mean([run.wall_seconds for run in runs]),
    )


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))
