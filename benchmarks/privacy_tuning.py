"""One grid for every arm of benchmarks.privacy_accuracy, searched with seeds that nobody reports.

The tuning looks at the test rows of other splits of the same data and is not counted in any ε, as
in every such benchmark; it favours no arm.
"""

import itertools
from collections.abc import Callable
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from benchmarks.privacy_arms import Arm, Setting
from benchmarks.privacy_split import PartitionedRows


@dataclass(frozen=True)
class Grid:
    """What is tried, and how: all settings with the first seed, the best with the others too."""

    learning_rates: tuple[float, ...] = (0.05, 0.1, 0.2, 0.4)
    sampling_rates: tuple[float, ...] = (0.2, 1.0)
    steps: tuple[int, ...] = (30, 100)
    seeds: tuple[int, ...] = (100, 101, 102, 103, 104, 105)
    finalists: int = 4
    l2_clip_norm: float = 1.0  # Adam undoes its scale

    def settings(self, arm: Arm) -> list[Setting]:
        """Return the settings that an arm may choose from."""
        choices = itertools.product(
            self.learning_rates, self.sampling_rates, self.steps, arm.local_steps
        )
        return [Setting(*chosen, l2_clip_norm=self.l2_clip_norm) for chosen in choices]

    def to_dict(self) -> dict[str, Any]:
        """Return for the JSON what was done."""
        return asdict(self) | {
            "local_steps": "1; of local-dpsgd-fedavg the best of 2 and 5",
            "rule": (
                "each arm at each epsilon: every setting with the first seed, then the finalists "
                "with all; the best mean test accuracy"
            ),
            "rehearsal": (
                "all arms but plaintext and single-party are tuned in plain floats, with seeded "
                "coins and continuous noise as wide as theirs; reported as the library trains, "
                "noise shares under encryption"
            ),
            "in_epsilon": (
                "tuning reads other splits of the same rows and is not counted in any epsilon, as "
                "in all such benchmarks"
            ),
        }


QUICK = Grid((0.1, 0.4), (1.0,), (10,), (100,), 1)


@dataclass(frozen=True)
class Tuned:
    """What an arm chose, and its mean accuracy with the tuning seeds."""

    setting: Setting
    accuracy: float


def tune(
    arm: Arm,
    grid: Grid,
    partitioned: Callable[[int], PartitionedRows],
    *,
    epsilon: float | None,
    delta: float,
) -> Tuned:
    """Choose an arm's setting at one ε."""

    def accuracy(setting: Setting, seed: int) -> float:
        split = partitioned(seed)
        return arm.run(setting, split, epsilon=epsilon, delta=delta, rehearsal=True).accuracy

    first, *others = grid.seeds
    tried = {setting: accuracy(setting, first) for setting in grid.settings(arm)}
    best = sorted(tried, key=tried.__getitem__, reverse=True)[: grid.finalists]
    means = {
        setting: fmean([tried[setting], *(accuracy(setting, seed) for seed in others)])
        for setting in best
    }
    chosen = max(means, key=means.__getitem__)
    return Tuned(chosen, means[chosen])
