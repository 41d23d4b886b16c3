"""How much noise calibration asks for, against what a much finer grid says is needed.

    python -m benchmarks.accounting --out benchmarks/results/accounting.json

`needed` is the noise at which dp-accounting's accountant, connecting the dots of a much finer grid,
spends the target; where its transform's noise hides the answer, ours on a grid of 1/64 of q/σ.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dp_accounting.pld import privacy_loss_distribution as pld
from scipy import optimize

from privfed.dp import calibrate_noise_multiplier, dp_sgd_epsilon
from privfed.table import Table, markdown

ROWS = (  # ε, q, T, δ, the finer grid of the second accountant
    (0.1, 0.001, 10_000, 1e-7, 2e-6),
    (1.0, 0.001, 100_000, 1e-7, 2e-5),
    (0.5, 0.001, 20_000, 1e-7, 2e-5),
    (1.0, 0.01, 10_000, 1e-7, 2e-5),
    (8.0, 64 / 324, 2500, 1e-5, 5e-4),
    (1.0, 0.2, 150, 1e-5, 1e-4),
    (0.25, 0.2, 150, 1e-5, 2e-5),
    (1.0, 1e-4, 1_000_000, 1e-7, None),
    (1.0, 0.01, 1_000_000, 1e-8, None),
    (1.0, 0.2, 150, 1e-15, None),
    (3.0, 0.2, 50, 1e-20, None),
)


def other_epsilon(sigma: float, rate: float, steps: int, delta: float, grid: float) -> float:
    """Return dp-accounting's ε."""
    one = pld.from_gaussian_mechanism(
        sigma,
        sampling_prob=rate,
        value_discretization_interval=grid,
        use_connect_dots=True,
        log_mass_truncation_bound=-60,
    )
    return float(one.self_compose(steps).get_epsilon_for_delta(delta))


def needed(
    epsilon: float, rate: float, steps: int, delta: float, grid: float | None, near: float
) -> tuple[float, str]:
    """Return the noise that the target needs, and who says so."""
    if grid is not None:
        return float(
            optimize.brentq(
                lambda sigma: other_epsilon(sigma, rate, steps, delta, grid) - epsilon,
                0.97 * near,
                1.02 * near,
                xtol=1e-5 * near,
            )
        ), "dp-accounting"

    def fine(sigma: float) -> float:
        spent = dp_sgd_epsilon(
            sigma,
            sampling_rates=[rate],
            steps=[steps],
            placement=(1,),
            delta=delta,
            discretisation=rate / sigma / 64,
        )
        return spent - epsilon

    return float(optimize.brentq(fine, 0.97 * near, 1.02 * near, xtol=1e-5 * near)), "finer grid"


def measured() -> list[dict[str, object]]:
    """Return a row for each plan."""
    found = []
    for epsilon, rate, steps, delta, grid in ROWS:
        began, cpu = time.perf_counter(), time.process_time()
        sigma = calibrate_noise_multiplier(
            epsilon, sampling_rates=[rate], steps=[steps], placements=[(1,)], delta=delta
        )
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        least, by = needed(epsilon, rate, steps, delta, grid, sigma)
        found.append(
            {
                "epsilon": epsilon,
                "rate": rate,
                "steps": steps,
                "delta": delta,
                "sigma": round(sigma, 5),
                "needed": round(least, 5),
                "needed_by": by,
                "waste_percent": math.ceil(1e4 * (sigma / least - 1)) / 100,
                "seconds": round(seconds, 3),
                "cpu_seconds": round(cpu, 3),
            }
        )
        print(found[-1], flush=True)
    return found


def table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return the rows as docs/accounting.md has them."""
    head = ("ε", "q", "steps", "δ", "σ", "needed", "by", "more than needed", "seconds")
    cells = [
        (
            f"{row['epsilon']:g}",
            f"{row['rate']:.4g}",
            f"{row['steps']:,}",
            f"{row['delta']:g}",
            f"{row['sigma']:.4f}",
            f"{row['needed']:.4f}",
            str(row["needed_by"]),
            f"{row['waste_percent']:.2f} %",
            f"{row['seconds']:.2f}",
        )
        for row in rows
    ]
    return Table(head, cells, words=len(head))


def main() -> None:
    """Measure, and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out
    rows = measured()
    out.write_text(json.dumps({"rows": rows}, indent=1) + "\n")
    print(markdown(table(rows)))


if __name__ == "__main__":
    main()
