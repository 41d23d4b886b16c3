"""Made-up results of trainings with others; seeded, and nothing here was measured."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from privfed.partner.results import OverlapCounts, OwnFile, RoundRecord, TrainingResults
from tests.report.samples import privacy

PRIVACY = privacy(1.0, 63, "disjoint")


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def history(rounds: int, *, test: bool = True, every: int = 3) -> tuple[RoundRecord, ...]:
    """Rounds of which one in so many was evaluated, and one was lost with its process."""
    generator, found = np.random.default_rng(rounds), []
    for number in range(1, rounds + 1):
        if number == 7:
            continue
        done, noise = number / rounds, generator.normal(0, 0.01, 4)
        evaluated: dict[str, float] = {}
        if number in (1, rounds) or number % every == 0:
            evaluated = {
                "train_loss": 0.1 + 0.6 * (1 - done) ** 2 + abs(noise[0]),
                "train_accuracy": min(1.0, 0.55 + 0.43 * done + noise[1] / 2),
            }
            if test:
                evaluated |= {
                    "test_loss": 0.5 + 0.2 * (1 - done) + 0.5 * done**2 + abs(noise[2]),
                    "test_accuracy": 0.54 + 0.15 * done + noise[3],
                }
        found.append(
            RoundRecord(
                number=number,
                train_seconds=float(generator.uniform(0.02, 0.03)),
                exchange_seconds=float(generator.uniform(0.08, 0.16)),
                upload_bytes=41_000,
                **evaluated,
            )
        )
    return tuple(found)


def training(**changes: Any) -> TrainingResults:
    """Two companies without privacy."""
    settings: dict[str, Any] = {
        "job": "dresses-2026", "plan": sha256("plan"), "party": 0, "parties": ("guest", "host"),
        "server": "guest", "server_party": 0, "model": "dress", "loss": "sigmoid", "rounds": 500,
        "adversary": "lying-server", "weighted": True, "method": "encrypted averages",
        "statement": (), "privacy": None, "rounds_paid": None,
        "files": (
            OwnFile("training rows", "guest.csv", sha256("rows")),
            OwnFile("test rows", "guest-test.csv", sha256("test")),
            OwnFile("model", "model.npz", sha256("model")),
        ),
        "train_rows": 324, "test_rows": 82, "majority_share": 0.598,
        "overlap": OverlapCounts((312, 168), 0),
        "history": history(500), "seen_accuracy": 0.875, "seen_n": 40, "unseen_accuracy": 0.619,
        "unseen_n": 42, "weights_sha256": sha256("weights"),
        "provenance": {"created_utc": "2026-11-28T10:00:00+00:00", "privfed_version": "0.1.0",
                       "versions": {"python": "3.11.7", "torch": "2.6.0", "numpy": "2.2.0"}},
    }  # fmt: skip
    return TrainingResults(**settings | changes)


PRIVATE = training(
    parties=("clinic-north", "clinic-south", "clinic-west", "clinic-east", "clinic-centre"),
    party=2, server="server", server_party=None, model="our_models:convolved", loss="softmax",
    rounds=60, adversary="lying-server+1", weighted=False, method="noise shares",
    privacy=PRIVACY, rounds_paid=63,
    statement=("ε = 0.94 for who sees the models while no shares are left out, 1 for 1 of the "
               "parties together, δ = 1e-05 (add or remove one unit: one row; sampling: Poisson, "
               "secret coins at each party; accounted as a Gaussian)",),
    files=(OwnFile("training rows", "digits.csv", sha256("digits")),),
    overlap=None, test_rows=None, history=history(60, test=False), seen_accuracy=None, seen_n=0,
    unseen_accuracy=None, unseen_n=0, job="digits",
)  # fmt: skip

SHAPES = {
    "two companies": training(),
    "five, noise shares": PRIVATE,
    "three, central noise": training(
        parties=("a", "b", "c"), adversary="honest-server", method="central noise",
        privacy=PRIVACY, statement=("ε = 1",), rounds_paid=500, overlap=None, server_party=None,
        server="server",
    ),
    "three, local noise": training(
        parties=("a", "b", "c"), adversary="lying-server+1", privacy=PRIVACY,
        method="local noise, encrypted averages", weighted=False, overlap=None,
    ),
    "nothing known of the rounds": training(history=(), rounds=1),
    "one round": training(history=history(1), rounds=1),
}  # fmt: skip
