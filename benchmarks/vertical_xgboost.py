"""XGBoost in the clear, in an environment of its own: what it scores held-out rows by.

For each table of the task two models: of the pooled columns, and of the guest's, which come first.
"""

import json
from pathlib import Path
from typing import Any

from benchmarks.worker import Work, measured


def load(task: dict[str, Any]) -> Work:
    """Import the tool."""
    import numpy as np
    import xgboost

    told = {
        **{"objective": "binary:logistic", "tree_method": "hist", "nthread": 1},
        **{"max_depth": task["depth"], "max_bin": task["bins"], "eta": task["learning_rate"]},
    }

    def scores(columns: Any, labels: Any, tests: int) -> list[float]:
        train = xgboost.DMatrix(columns[tests:], labels[tests:])
        model = xgboost.train(told, train, task["trees"])
        found = model.predict(xgboost.DMatrix(columns[:tests]), output_margin=True)
        return [float(score) for score in found]

    def work() -> None:
        found = []
        for path in task["tables"]:
            with np.load(path) as table:
                pooled, labels, tests = table["pooled"], table["labels"], int(table["tests"])
                guest = pooled[:, : int(table["guest_columns"])]
            found.append([scores(columns, labels, tests) for columns in (pooled, guest)])
        Path(task["out"]).write_text(json.dumps(found), encoding="utf-8")

    return work


if __name__ == "__main__":
    measured(load)
