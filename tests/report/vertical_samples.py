"""Made-up results of vertical trainings; seeded, and nothing here was measured."""

from __future__ import annotations

from typing import Any

import numpy as np

from privfed.vertical.linear.results import LinearResults, SideOfLinear
from privfed.vertical.results import Gain, Measured, Stage, UsedTable, compare
from tests.report.training_samples import sha256

_BANK = (
    "age_band=18-25", "age_band=26-35", "city=Lyon", "work=none", "income", "income=missing",
    "savings", "account_years", "overdrafts", "loans", "card_spending", "mortgage=yes",
)  # fmt: skip
_SHOP = (
    "visits_a_month", "basket_size", "returned_share", "discount_share", "reminders",
    "pays_by=invoice", "pays_by=wallet", "department=electronics", "member_years",
)  # fmt: skip


def side(name: str, names: tuple[str, ...], seed: int) -> SideOfLinear:
    """A side of which all is known."""
    drawn = np.random.default_rng(seed).normal(0, 0.3, len(names))
    return SideOfLinear(
        name=name, columns=len(names), table_rows=4060, names=names,
        coefficients=tuple(drawn.tolist()), clipped_share=0.004,
    )  # fmt: skip


def vertical(**changes: Any) -> LinearResults:
    """What one run that plays a bank and a shop keeps, changed at will."""
    draw = np.random.default_rng(3)
    own, theirs = draw.normal(0, 0.7, 840), draw.normal(0, 0.9, 840)
    labels = (draw.random(840) < 1 / (1 + np.exp(-own - theirs))).astype(float)
    both = own + theirs
    measures, gains = compare("logistic", labels, own, both + 1e-3 * draw.normal(size=840), both)
    settings: dict[str, Any] = {
        "role": "both", "plan": sha256("plan"), "family": "logistic", "penalty": 0.001,
        "iterations": 20, "label": "paid_late", "classes": ("no", "yes"),
        "source": "made up by privfed, worth 1, seed 15",
        "guest": side("bank", _BANK, 1), "host": side("shop", _SHOP, 2),
        "common_rows": 2800, "train_rows": 1960, "test_rows": 840,
        "terms": (("period of the sigmoid", "64"), ("rows shortened to", "12"),
                  ("security of the ring", "128 bits"), ("all leaks together", "at most 2^-40")),
        "scores_opened": "rounded scores", "coefficients_opened": "each to its owner",
        "measures": measures, "gains": gains, "host_share": 0.58,
        "stages": (
            Stage(name="intersection", wall_seconds=2.1, guest_cpu_seconds=1.3,
                  host_cpu_seconds=1.2, guest_bytes=310_000, host_bytes=340_000),
            Stage(name="training", wall_seconds=9.7, guest_cpu_seconds=5.4, host_cpu_seconds=4.1,
                  guest_bytes=61_000_000, host_bytes=48_000_000),
            Stage(name="test scores", wall_seconds=1.2, guest_cpu_seconds=0.7,
                  host_cpu_seconds=0.6, guest_bytes=22_000_000, host_bytes=900_000),
        ),
        "files": (UsedTable("bank.csv", sha256("bank")), UsedTable("shop.csv", sha256("shop"))),
        "provenance": {"created_utc": "2026-11-28T10:00:00+00:00", "privfed_version": "0.1.0",
                       "versions": {"python": "3.11.7", "numpy": "2.2.0"}},
    }  # fmt: skip
    return LinearResults(**settings | changes)


def gain(value: float, low: float, high: float) -> LinearResults:
    """Results with a given gain."""
    return vertical(
        measures=(Measured("AUC", 0.7, 0.7 + value, None),),
        gains=(Gain("together", value, low, high, 2000),),
    )


def unknown(known: SideOfLinear) -> SideOfLinear:
    """What the other company knows of a side."""
    return SideOfLinear(name=known.name, columns=known.columns)


_WHOLE = vertical()
HALF_STAGES = (
    Stage(name="intersection", wall_seconds=2.1, guest_cpu_seconds=1.3, guest_bytes=310_000,
          host_bytes=340_000),
    Stage(name="training", wall_seconds=9.7, guest_cpu_seconds=5.4, guest_bytes=61_000_000,
          host_bytes=48_000_000),
    Stage(name="test scores", wall_seconds=1.2, guest_cpu_seconds=0.7, guest_bytes=22_000_000,
          host_bytes=900_000),
)  # fmt: skip
SHAPES = {
    "both": _WHOLE,
    "guest": vertical(
        role="guest", host=unknown(_WHOLE.host), gains=_WHOLE.gains[:1],
        measures=tuple(Measured(m.name, m.alone, m.together, None) for m in _WHOLE.measures),
        unknown="The pooled model needs both tables in the clear, which nobody has.",
        stages=HALF_STAGES, host_share=None, source="",
    ),
    "host": vertical(
        role="host", label=None, classes=(), guest=unknown(_WHOLE.guest), measures=(), gains=(),
        unknown="How well it predicts bank knows, which has the labels.",
        stages=(Stage(name="training", wall_seconds=9.7, host_cpu_seconds=4.1,
                      guest_bytes=61_000_000, host_bytes=48_000_000),), host_share=None, source="",
    ),
    "shared coefficients, classes": vertical(
        coefficients_opened="to nobody", scores_opened="classes",
        guest=unknown(_WHOLE.guest), host=unknown(_WHOLE.host), host_share=None, role="guest",
        measures=(Measured("accuracy", 0.66, 0.72, None),),
        gains=(Gain("together", 0.06, 0.02, 0.1, 2000),),
    ),
    "counts": vertical(
        family="poisson", classes=(), label="visits",
        measures=(Measured("D²", 0.077, 0.103, 0.103), Measured("MAE", 2.6, 2.57, 2.57)),
        gains=(Gain("together", 0.026, 0.018, 0.035, 2000),
               Gain("pooled", 0.026, 0.018, 0.035, 2000)),
    ),
    "bare": vertical(
        measures=(), gains=(), stages=(), files=(), terms=(), host_share=None, role="guest",
        guest=unknown(_WHOLE.guest), host=unknown(_WHOLE.host),
    ),
}  # fmt: skip
