"""Digits and breast cancer, which ship inside scikit-learn: data with signal, for comparison.

Both are scaled by published ranges, not by the least and greatest value of anybody's rows.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from privfed.data.cleaning import Cleaned
from privfed.data.dataset import DataKind, Dataset
from privfed.data.encoding import Encoder, Encoding
from privfed.data.files import frame_sha256
from privfed.data.schema import NumericColumn, Schema
from privfed.data.understanding import counted

PACKAGED: dict[DataKind, str] = {
    "digits": "scikit-learn load_digits (UCI Optical Recognition of Handwritten Digits, test set)",
    "breast-cancer": "scikit-learn load_breast_cancer (UCI Breast Cancer Wisconsin (Diagnostic))",
}

_DIGITS_RANGE = (0.0, 16.0)  # a pixel is the number of dark ones in a 4 × 4 block

# Least and greatest values in scikit-learn's description of the data set, rounded outwards.
_BREAST_CANCER_RANGES = {
    "mean radius": (6.9, 29.0),
    "mean texture": (9.7, 40.0),
    "mean perimeter": (43.0, 190.0),
    "mean area": (140.0, 2600.0),
    "mean smoothness": (0.05, 0.17),
    "mean compactness": (0.019, 0.35),
    "mean concavity": (0.0, 0.43),
    "mean concave points": (0.0, 0.21),
    "mean symmetry": (0.1, 0.31),
    "mean fractal dimension": (0.049, 0.098),
    "radius error": (0.11, 2.9),
    "texture error": (0.36, 4.9),
    "perimeter error": (0.75, 22.0),
    "area error": (6.8, 550.0),
    "smoothness error": (0.001, 0.032),
    "compactness error": (0.002, 0.14),
    "concavity error": (0.0, 0.4),
    "concave points error": (0.0, 0.053),
    "symmetry error": (0.007, 0.08),
    "fractal dimension error": (0.0008, 0.03),
    "worst radius": (7.9, 37.0),
    "worst texture": (12.0, 50.0),
    "worst perimeter": (50.0, 260.0),
    "worst area": (180.0, 4300.0),
    "worst smoothness": (0.071, 0.23),
    "worst compactness": (0.027, 1.1),
    "worst concavity": (0.0, 1.3),
    "worst concave points": (0.0, 0.3),
    "worst symmetry": (0.15, 0.67),
    "worst fractal dimension": (0.055, 0.21),
}


def load_packaged(kind: DataKind, *, encoding: Encoding = "codes") -> Dataset:
    """Load data that ships inside scikit-learn.

    Args:
        kind: "digits" (1797 rows, 64 pixels, 10 classes) or "breast-cancer" (569 rows, 30
            measurements, 2 classes).
        encoding: Both encodings are the same here, since every column is a number.

    Returns:
        Features in [0, 1]; IDs are the row numbers, "0" and up.
    """
    from sklearn.datasets import load_breast_cancer, load_digits  # as of openml.py: a second

    bunch = (load_digits if kind == "digits" else load_breast_cancer)(as_frame=True)
    schema = Schema(
        tuple(
            NumericColumn(
                str(feature), *_BREAST_CANCER_RANGES.get(feature, _DIGITS_RANGE), optional=False
            )
            for feature in bunch.feature_names
        ),
        id_column="row",
        label_column="target",
        folded=True,
    )
    values = bunch.data.to_numpy(dtype=np.float64)
    encoder = Encoder(schema, encoding)
    return Dataset(
        kind=kind,
        name=kind,
        source=PACKAGED[kind],
        is_surrogate=False,
        sha256=frame_sha256(pd.DataFrame(bunch.frame)),
        ids=np.arange(len(values)).astype(np.str_),
        features=encoder.features(Cleaned(values, {}, (), ())),
        labels=bunch.target.to_numpy(dtype=np.int64),
        class_names=tuple(str(target) for target in bunch.target_names),
        encoder=encoder,
        cleaning=None,
        readings=counted(schema.columns, (), {}, len(values)),
    )
