"""A trained model with the encoder it was trained on, in one file without pickle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import msgspec
import numpy as np
import torch
from torch import nn

from privfed.data import Encoder, read_new_rows
from privfed.errors import ConfigError
from privfed.training import Arrays, log_probabilities, paper_network, set_arrays
from privfed.training.model import stored_arrays
from psi.storage import json_bytes, json_read, whole_file

_FORMAT: Final = "privfed model 1"
_MAX_BYTES = 64 * 2**20


class _Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is beside the arrays; the encoder is JSON of its own."""

    format: Literal["privfed model 1"]
    encoder: str
    class_names: tuple[str, ...]
    trained_on: str


@dataclass(frozen=True)
class SavedModel:
    """The network's arrays, the encoder that turns raw rows into features, and the class names.

    `trained_on` says in words which data, arm and privacy it was trained with.
    """

    arrays: Arrays
    encoder: Encoder
    class_names: tuple[str, ...]
    trained_on: str

    def network(self) -> nn.Module:
        """Build the network with these weights."""
        model = paper_network(self.encoder.num_features, len(self.class_names))
        set_arrays(model, self.arrays)
        return model


@dataclass(frozen=True)
class Prediction:
    """For each new row its ID if it has one, the class, the probability of each class in [0, 1].

    `unseen` names (row, column, value) that the code table has never seen.
    """

    ids: tuple[str, ...] | None
    classes: tuple[str, ...]
    probabilities: np.ndarray
    unseen: tuple[tuple[int, str, str], ...]


def save_model(path: Path, model: SavedModel) -> None:
    """Write the model; a reader sees the old file or the new one.

    Raises:
        ConfigError: The folder cannot be written.
    """
    names = tuple(map(str, model.class_names))  # numpy's texts are no JSON
    header = _Header(_FORMAT, model.encoder.to_json(), names, model.trained_on)
    with whole_file(path, replace=True, parents=True, refusal=ConfigError) as file:
        np.savez(file, header=np.array(json_bytes(header).decode()), **model.arrays)  # type: ignore[arg-type]


def load_model(path: Path) -> SavedModel:
    """Return the model that `save_model` wrote.

    Raises:
        ConfigError: The file is missing, or not a model of this version.
    """  # noqa: DOC501 - its ValueErrors are caught
    if not path.is_file():
        raise ConfigError(
            f"there is no model at {path}: give the .npz that `run_benchmark` left in its "
            "output folder"
        )
    try:
        arrays = stored_arrays(path, _MAX_BYTES)
        header = json_read(str(arrays.pop("header")), _Header)
        model = SavedModel(
            arrays,
            Encoder.from_json(header.encoder),
            header.class_names,
            header.trained_on,
        )
        model.network()  # refuses arrays of other names and shapes
        if not all(a.dtype == np.float32 and np.isfinite(a).all() for a in arrays.values()):
            raise ValueError
    except Exception:  # the readers of ZIP, NPY and JSON each raise their own
        raise ConfigError(
            f"{path} is not a model that this version of privfed wrote: give the .npz that "
            "`run_benchmark` left in its output folder"
        ) from None
    return model


def predict(model: SavedModel, path: Path) -> Prediction:
    """Return predictions for a CSV or XLSX file with the columns the model was trained on.

    Raises:
        ConfigError: The file is missing, empty or has other columns.
    """
    raw = read_new_rows(path, model.encoder)
    features, unseen = model.encoder.encode(raw)
    network = model.network()
    network.eval()
    with torch.inference_mode():
        probabilities = log_probabilities(network(torch.from_numpy(features))).exp().numpy()
    id_column = model.encoder.schema.id_column
    return Prediction(
        ids=tuple(map(str, raw[id_column])) if id_column in raw.columns else None,
        classes=tuple(model.class_names[i] for i in probabilities.argmax(axis=1)),
        probabilities=probabilities,
        unseen=tuple(unseen),
    )
