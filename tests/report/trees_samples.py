"""Made-up results of trainings of trees; seeded, and nothing here was measured."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from privfed.vertical.results import Gain, Measured
from privfed.vertical.trees.results import BitsOfTree, ColumnAudit, SideOfTrees, TreesResults
from tests.report.training_samples import sha256
from tests.report.vertical_samples import HALF_STAGES, vertical

_BANK = ("city", "income", "savings", "overdrafts", "loans")
_SHOP = ("visits_a_month", "returned_share", "reminders", "pays_by")
_ROUNDS = 6
_DRAW = np.random.default_rng(11)
_SHARES = tuple((_DRAW.dirichlet(np.ones(len(_BANK) + len(_SHOP)))).tolist())

BANK = SideOfTrees(
    name="bank", columns=5, table_rows=4060, names=_BANK, splits=131, bins=32,
    gain_share=sum(_SHARES[:5]), gain_shares=_SHARES[:5],
)  # fmt: skip
SHOP = SideOfTrees(
    name="shop", columns=4, table_rows=4060, names=_SHOP, splits=98, bins=16,
    gain_share=sum(_SHARES[5:]), gain_shares=_SHARES[5:], nodes_won=(11, 20, 9, 0),
)  # fmt: skip
AUDIT = (
    ColumnAudit(name="visits_a_month", nodes=12, thresholds=5, ranges=6, at_most=0.91,
                collected=0.62, by_scores=0.04),
    ColumnAudit(name="returned_share", nodes=23, thresholds=9, ranges=10, at_most=0.97,
                collected=0.884, by_scores=0.21),
    ColumnAudit(name="reminders", nodes=9, thresholds=3, ranges=4, at_most=1.0,
                collected=0.731, by_scores=0.17),
)  # fmt: skip
BITS = tuple(BitsOfTree(won=9 - place, asked=15, sides=5000 - place) for place in range(_ROUNDS))
_LOSSES = (0.66, 0.61, 0.58, 0.575, 0.577, 0.58)


def trees(**changes: Any) -> TreesResults:
    """What one run that plays a bank and a shop keeps, changed at will."""
    plain = msgspec.structs.asdict(vertical())
    own = {
        *("format", "guest", "host", "penalty", "iterations", "coefficients_opened", "terms"),
        "host_share",
    }
    settings: dict[str, Any] = {name: each for name, each in plain.items() if name not in own} | {
        "plan": sha256("trees"), "guest": BANK, "host": SHOP, "depth": 4, "most_rounds": 30,
        "rounds": _ROUNDS, "kept_rounds": 4, "trees_a_round": 1, "reveal": "sides",
        "opened_sums": 0, "learning_rate": 0.3, "l2": 1.0, "validation_rows": 392, "patience": 2,
        "weighted": False, "losses": _LOSSES, "bits": BITS, "sides_exact": True, "audit": AUDIT,
        "terms": (("splits of the host", "98"),
                  ("what all answers tell of noise", "at most 2^-40")),
    }  # fmt: skip
    return TreesResults(**settings | changes)


_WHOLE = trees()
SHAPES = {
    "both": _WHOLE,
    "guest": trees(
        role="guest", gains=_WHOLE.gains[:1], audit=None, source="", stages=HALF_STAGES,
        host=SideOfTrees(name="shop", splits=98, gain_share=SHOP.gain_share),
        measures=tuple(Measured(m.name, m.alone, m.together, None) for m in _WHOLE.measures),
        unknown="a model on both tables in the clear is not here: nobody holds both",
    ),
    "host": trees(
        role="host", label=None, classes=(), guest=SideOfTrees(name="bank"), measures=(), gains=(),
        host=SideOfTrees(name="shop", columns=4, table_rows=4060, names=_SHOP, splits=98, bins=16,
                         nodes_won=(11, 20, 9, 0)),
        learning_rate=None, l2=None, validation_rows=None, patience=None, weighted=None, losses=(),
        sides_exact=False, source="", stages=(), unknown="the label holder alone can measure",
        audit=tuple(msgspec.structs.replace(each, collected=None, by_scores=None)
                    for each in AUDIT),
    ),
    "histograms": trees(reveal="histograms", opened_sums=8820),
    "classes": trees(
        classes=("low", "middle", "high"), trees_a_round=3, bits=BITS * 3, losses=(), kept_rounds=6,
        validation_rows=None, patience=None, scores_opened="classes", weighted=True,
        measures=(Measured("accuracy", 0.61, 0.7, 0.71), Measured("mean AUC", 0.7, 0.8, 0.81)),
        gains=(Gain("together", 0.09, 0.04, 0.14, 2000),),
    ),
    "no node won": trees(
        losses=(), validation_rows=None, patience=None, kept_rounds=6, audit=(),
        bits=(BitsOfTree(won=0, asked=15, sides=0),) * _ROUNDS, measures=(), gains=(), stages=(),
        guest=msgspec.structs.replace(BANK, gain_share=None, gain_shares=None),
        host=msgspec.structs.replace(SHOP, gain_share=None, gain_shares=None,
                                     nodes_won=(0, 0, 0, 0)),
    ),
}  # fmt: skip
