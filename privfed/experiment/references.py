"""scikit-learn's models on the training rows of all parties in one place: a yardstick for the arms.

They have no rounds, no updates and no privacy, so they are no arms; they answer for the same test
rows, and results.json holds what is between them and the arms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privfed.errors import ConfigError
from privfed.experiment.arms import NUMBER_REFERENCES, REFERENCES


def reference_scores(
    features: NDArray[np.float32],
    labels: NDArray[Any],
    test: NDArray[np.float32],
    *,
    classes: int,
    seed: int,
) -> dict[str, NDArray[np.float64]]:
    """Train scikit-learn's models, and return what they say of test rows.

    Args:
        features: (n, d) of the training rows.
        labels: (n,) their classes, two different ones at least; or floating-point numbers.
        test: (m, d) the test rows.
        classes: How many classes there are; of numbers none.
        seed: What rows boosting holds back to know when to stop.

    Returns:
        By `REFERENCES`, the probability of each class, (m, classes); or by `NUMBER_REFERENCES`
        numbers, (m,).

    Raises:
        ConfigError: scikit-learn is not installed.
    """
    numbers = np.issubdtype(labels.dtype, np.floating)
    found = {}
    for name, make in _models(numbers=numbers).items():
        model = make(seed).fit(features, labels)
        if numbers:
            found[name] = np.asarray(model.predict(test), np.float64)
            continue
        scores = np.zeros((len(test), classes))
        scores[:, model.classes_] = model.predict_proba(test)
        found[name] = scores
    return found


def _models(*, numbers: bool) -> Mapping[str, Callable[[int], Any]]:
    try:
        from sklearn.ensemble import (
            HistGradientBoostingClassifier,
            HistGradientBoostingRegressor,
        )
        from sklearn.linear_model import LogisticRegression, Ridge
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
    except ImportError:
        raise ConfigError(
            "`reference` needs scikit-learn: pip install scikit-learn, or leave it out"
        ) from None
    if numbers:
        ridge, boosting = NUMBER_REFERENCES
        return {
            ridge: lambda seed: make_pipeline(StandardScaler(), Ridge()),
            boosting: lambda seed: HistGradientBoostingRegressor(random_state=seed),
        }
    logistic, boosting = REFERENCES
    return {
        logistic: lambda seed: make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
        boosting: lambda seed: HistGradientBoostingClassifier(random_state=seed),
    }
