"""From the runs of several seeds to means with intervals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from privfed.experiment.intervals import mean_interval, wilson_interval
from privfed.experiment.results import NumberFigures, NumberSummary, Run, Summary


def summarise(runs: Sequence[Run]) -> list[Summary]:
    """Summarise every (split, arm, ε) over its seeds, in the order of the runs."""
    groups: dict[tuple[str, str, float | None], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.split, run.arm, run.epsilon), []).append(run)
    return [_summary(group) for group in groups.values()]


def _summary(runs: list[Run]) -> Summary:
    first = runs[0]
    seen_n = sum(run.seen_n for run in runs)
    seen = sum(run.seen_accuracy * run.seen_n for run in runs if run.seen_accuracy is not None)
    unseen_n = sum(run.unseen_n for run in runs)
    unseen_correct = sum(run.unseen_correct for run in runs)
    shares = unseen_n if first.number is None else 0  # of numbers no row is right or wrong
    aucs = [run.test_auc for run in runs if run.test_auc is not None]
    return Summary(
        arm=first.arm,
        split=first.split,
        epsilon=first.epsilon,
        seeds=len(runs),
        test_accuracy_mean=_mean([run.test_accuracy for run in runs]),
        test_accuracy_ci95=mean_interval([run.test_accuracy for run in runs])
        if first.number is None
        else None,
        test_auc_mean=_mean(aucs) if aucs else None,
        train_loss_first_mean=_mean([run.train_loss_first for run in runs]),
        train_loss_last_mean=_mean([run.train_loss_last for run in runs]),
        train_accuracy_first_mean=_mean([run.train_accuracy_first for run in runs]),
        train_accuracy_last_mean=_mean([run.train_accuracy_last for run in runs]),
        test_loss_last_mean=_mean([run.test_loss_last for run in runs]),
        seen_accuracy=seen / seen_n if seen_n else None,
        seen_n=seen_n,
        unseen_accuracy=unseen_correct / shares if shares else None,
        unseen_ci95=wilson_interval(unseen_correct, shares),
        unseen_n=unseen_n,
        unseen_majority=(
            sum(run.unseen_majority_correct for run in runs) / shares if shares else None
        ),
        majority_accuracy=_mean([run.majority_accuracy for run in runs]),
        upload_bytes_per_round=_mean([run.upload_bytes_per_round for run in runs]),
        download_bytes_per_round=_mean([run.download_bytes_per_round for run in runs]),
        encryption_seconds_per_round=_mean([run.encryption_seconds_per_round for run in runs]),
        wall_seconds_mean=_mean([run.wall_seconds for run in runs]),
        number=_number([(run, run.number) for run in runs if run.number is not None]),
    )


def _number(runs: Sequence[tuple[Run, NumberFigures]]) -> NumberSummary | None:
    if not runs:
        return None
    found = [each for _, each in runs]
    r2 = [each.test_r2 for each in found if each.test_r2 is not None]
    mean_r2 = [each.mean_r2 for each in found if each.mean_r2 is not None]
    return NumberSummary(
        test_r2_mean=_mean(r2) if r2 else None,
        test_r2_ci95=mean_interval(r2),
        test_mae_mean=_mean([each.test_mae for each in found]),
        mean_r2=_mean(mean_r2) if mean_r2 else None,
        mean_mae=_mean([each.mean_mae for each in found]),
        seen_mae=_pooled([(each.seen_mae, run.seen_n) for run, each in runs]),
        unseen_mae=_pooled([(each.unseen_mae, run.unseen_n) for run, each in runs]),
        unseen_mean_mae=_pooled([(each.unseen_mean_mae, run.unseen_n) for run, each in runs]),
    )


def _pooled(means: Sequence[tuple[float | None, int]]) -> float | None:
    """Return the mean over all rows of means over each seed's."""
    known = [(mean, rows) for mean, rows in means if mean is not None and rows]
    total = sum(rows for _, rows in known)
    return sum(mean * rows for mean, rows in known) / total if total else None


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))
