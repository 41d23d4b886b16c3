"""A trained model with the encoder it was trained on, in one file without pickle.

The file names the code that makes its network and holds none: who predicts gives that name anew.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from privfed.data import Encoder, read_new_rows
from privfed.data.labels import unscaled
from privfed.errors import ConfigError
from privfed.records import Bound
from privfed.training import Arrays, set_arrays
from privfed.training.builders import CODE_NAME, DRESS, OURS, check_scores, model_builder
from privfed.training.evaluate import class_log_probabilities, scores_of
from privfed.training.model import AnyLoss, stored_arrays
from psi.storage import json_bytes, json_read, whole_file

_FORMAT: Final = "privfed model 2"
_LONGEST_IN_FILE_NAME = 40  # letters, of up to 4 bytes: a file's name has at most 255
_WEIGHTS = "weights:"  # before an array's name: a layer may be called "header"


class _Header1(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is beside the arrays of the first format, all of the dress study's network."""

    format: Literal["privfed model 1"]
    encoder: str
    class_names: tuple[str, ...]
    trained_on: str


class _Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is beside the arrays; the encoder is JSON of its own."""

    format: Literal["privfed model 2"]
    encoder: str
    class_names: tuple[str, ...]
    trained_on: str
    model: Annotated[str, msgspec.Meta(pattern=CODE_NAME)]
    loss: AnyLoss
    label_range: tuple[Bound, Bound] | None = None  # in earlier files labels are classes

    def __post_init__(self) -> None:
        if (self.loss == "squared") != (self.label_range is not None):
            raise ValueError("a squared loss goes with a label's range")
        if self.label_range is not None and not self.label_range[0] < self.label_range[1]:
            raise ValueError("a range without length")


@dataclass(frozen=True)
class SavedModel:
    """A network's arrays, the encoder that turns raw rows into features, and the class names.

    Attributes:
        arrays: The weights.
        encoder: What makes features of raw rows.
        class_names: One name a class; none where the label is a number.
        trained_on: In words: which data, arm and privacy it was trained with.
        model: "dress", "linear", or the "module:function" that makes the network, which is imported
            as it is named here: of a file, `load_model` compares it with what the user gave.
        loss: What turns scores into probabilities; "squared": the score stands for a number.
        label_range: The public range of a label that is a number; None where it is classes.
    """

    arrays: Arrays
    encoder: Encoder
    class_names: tuple[str, ...]
    trained_on: str
    model: str = DRESS
    loss: AnyLoss = "sigmoid"
    label_range: tuple[float, float] | None = None

    @property
    def outputs(self) -> int:
        """How many scores its network gives a row."""
        return len(self.class_names) if self.label_range is None else 1

    def answers(self, features: NDArray[np.float32]) -> NDArray[np.floating]:
        """Return what it says of rows: (n, classes) log probabilities, or (n,) labels' numbers.

        Args:
            features: (n, d), as its encoder makes them.
        """
        network, rows = self.network(), torch.from_numpy(features)
        if self.loss == "squared":
            return unscaled(scores_of(network, rows)[:, 0].numpy(), self.label_range or (-1.0, 1.0))
        return class_log_probabilities(network, rows, self.loss).numpy()

    def network(self) -> nn.Module:
        """Build the network with these weights.

        Returns:
            The network, in training mode.

        Raises:
            ConfigError: There is no such code, or its network has other weights.
        """
        model = model_builder(self.model, self.encoder.num_features, self.outputs)()
        set_arrays(model, self.arrays)
        return model


@dataclass(frozen=True)
class Prediction:
    """For each new row its ID if it has one, the class, the probability of each class in [0, 1].

    `unseen` names (row, column, value) that the code table has never seen. Where the label is a
    number, `numbers` has it in the label's units, and there are no classes.
    """

    ids: tuple[str, ...] | None
    classes: tuple[str, ...]
    probabilities: np.ndarray
    unseen: tuple[tuple[int, str, str], ...]
    numbers: NDArray[np.float64] | None = None


def in_file_name(text: str) -> str:
    """Return a name such as an arm's, or another that is as good as unique, for a file's name."""
    safe = re.sub(r"[^\w.-]", "_", text)
    if safe == text and len(text) <= _LONGEST_IN_FILE_NAME:
        return text
    return f"{safe[:_LONGEST_IN_FILE_NAME]}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def save_model(path: Path, model: SavedModel) -> None:
    """Write the model; a reader sees the old file or the new one.

    Raises:
        ConfigError: The folder cannot be written.
    """
    names = tuple(map(str, model.class_names))  # numpy's texts are no JSON
    encoder = model.encoder.to_json()
    header = _Header(
        _FORMAT, encoder, names, model.trained_on, model.model, model.loss, model.label_range
    )
    arrays: dict[str, Any] = {_WEIGHTS + name: array for name, array in model.arrays.items()}
    with whole_file(path, replace=True, parents=True, refusal=ConfigError) as file:
        np.savez(file, header=np.array(json_bytes(header).decode()), **arrays)


def load_model(path: Path, code: str | None = None) -> SavedModel:
    """Return the model that `save_model` wrote.

    Args:
        path: The file.
        code: The "module:function" that makes its network, where that is the user's own. Nothing
            is imported that is not named here: a file brings no code.

    Raises:
        ConfigError: The file is missing, or not a model of this version; or its network is made by
            other code than `code`, or by code that has changed.
    """
    if not path.is_file():
        raise ConfigError(
            f"there is no model at {path}: give the .npz that a training or `run_benchmark` left "
            "in its output folder"
        )
    try:
        model = _read(stored_arrays(path, path.stat().st_size))
        if model.model in OURS:
            model.network()  # refuses arrays of other names and shapes
    except Exception:  # the readers of ZIP, NPY and JSON each raise their own
        raise ConfigError(
            f"{path} is not a model that this version of privfed wrote: give the .npz that a "
            "training or `run_benchmark` left in its output folder"
        ) from None
    if model.model not in OURS and code is None:
        raise ConfigError(
            f"the network of {path} is made by {model.model}: give that as `code`, if you trust "
            "what it does here"
        )
    if code not in (None, model.model):
        raise ConfigError(f"the network of {path} is made by {model.model}, not by {code}")
    if model.model not in OURS:
        _check_fit(path, model)
    return model


def _read(arrays: dict[str, NDArray[Any]]) -> SavedModel:
    text = str(arrays.pop("header"))
    try:
        header = json_read(text, _Header)
    except ValueError:
        first = json_read(text, _Header1)
        header = _Header(
            _FORMAT, first.encoder, first.class_names, first.trained_on, DRESS, "sigmoid"
        )
    else:
        if not all(name.startswith(_WEIGHTS) for name in arrays):
            raise ValueError
        arrays = {name.removeprefix(_WEIGHTS): array for name, array in arrays.items()}
    if not all(a.dtype == np.float32 and np.isfinite(a).all() for a in arrays.values()):
        raise ValueError
    encoder = Encoder.from_json(header.encoder)
    return SavedModel(
        arrays,
        encoder,
        header.class_names,
        header.trained_on,
        header.model,
        header.loss,
        header.label_range,
    )


def _check_fit(path: Path, model: SavedModel) -> None:
    """Build the network by its code, and see whether the weights are its."""
    network = model_builder(model.model, model.encoder.num_features, model.outputs)()
    try:
        set_arrays(network, model.arrays)
    except ConfigError:
        raise ConfigError(
            f"what {model.model} makes here has other weights than {path}: take the code as it was "
            "in the training"
        ) from None


def predict(model: SavedModel, path: Path) -> Prediction:
    """Return predictions for a CSV, XLSX or Parquet file with the columns the model was trained on.

    Raises:
        ConfigError: The file is missing, empty or has other columns, or the network gives no score
            for each class.
    """
    raw = read_new_rows(path, model.encoder)
    features, unseen = model.encoder.encode(raw)
    check_scores(model.network(), model.encoder.num_features, model.outputs)
    answers = model.answers(features)
    numbers = None if model.label_range is None else answers.astype(np.float64)
    probabilities = np.empty((len(features), 0))
    if numbers is None:
        probabilities = torch.from_numpy(answers).exp().numpy()
    classes = () if numbers is not None else probabilities.argmax(axis=1)
    id_column = model.encoder.schema.id_column
    return Prediction(
        ids=tuple(map(str, raw[id_column])) if id_column in raw.columns else None,
        classes=tuple(model.class_names[place] for place in classes),
        probabilities=probabilities,
        unseen=tuple(unseen),
        numbers=numbers,
    )
