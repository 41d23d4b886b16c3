"""The paper's network, its loss, and its parameters as named arrays."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from privfed.errors import ConfigError
from privfed.training.rows import wide

Arrays = dict[str, NDArray[np.float32]]
"""A model's parameters, or an update of them, by name in the model's order."""

Loss = Literal["sigmoid", "softmax"]
"""How a model's scores are judged: the dress study's normalised sigmoids, or a softmax."""

AnyLoss = Literal[Loss, "squared"]
"""The same, and the squared error of a row's one score, where the label is a number."""


def paper_network(num_features: int, num_classes: int) -> nn.Sequential:
    """Return dense → 128 ReLU, dropout 0.2, → 32 ReLU, → `num_classes` scores before the sigmoid.

    With 12 features and 2 classes it has the paper's 1664 + 4128 + 66 = 5858 parameters. torch's
    global generator draws the initial weights: seed it first.
    """
    return nn.Sequential(
        nn.Linear(num_features, 128),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(128, 32),
        nn.ReLU(),
        nn.Linear(32, num_classes),
    )


def log_probabilities(scores: Tensor, loss: Loss = "sigmoid") -> Tensor:
    """Return the log class probabilities of scores (n, classes): by default sigmoids, normalised.

    Keras's categorical cross-entropy divides the outputs of a sigmoid layer by their sum; that is a
    softmax of log-sigmoids.
    """
    return functional.log_softmax(
        functional.logsigmoid(scores) if loss == "sigmoid" else scores, dim=1
    )


def cross_entropy(scores: Tensor, labels: Tensor) -> Tensor:
    """Return the mean cross-entropy: `scores` (n, classes) before the sigmoid, `labels` (n,)."""
    return functional.nll_loss(log_probabilities(scores), labels)


def get_arrays(model: nn.Module) -> Arrays:
    """Copy the parameters out; half types, which numpy has not, become float32."""
    return {
        name: cast(NDArray[np.float32], wide(parameter.detach()).numpy().copy())
        for name, parameter in model.named_parameters()
    }


def set_arrays(model: nn.Module, arrays: Mapping[str, NDArray[np.float32]]) -> None:
    """Copy the parameters in.

    Raises:
        ConfigError: Names and shapes are not the model's own.
    """
    parameters = dict(model.named_parameters())
    if {name: tuple(p.shape) for name, p in parameters.items()} != {
        name: array.shape for name, array in arrays.items()
    }:
        raise ConfigError("the arrays are those of another model: names or shapes differ")
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(torch.from_numpy(arrays[name]))


def stored_arrays(file: Path | BinaryIO, most_bytes: int) -> dict[str, NDArray[Any]]:
    """Return what `numpy.savez` wrote: no pickle, nothing compressed, and no more than is expected.

    Args:
        file: The archive.
        most_bytes: The most that all arrays together may take.

    Raises:
        ValueError: It holds more, or something is compressed. Where it is no archive, the readers
            of ZIP and NPY each raise their own.
    """
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
    if sum(member.file_size for member in members) > most_bytes:
        raise ValueError("more than is expected")
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise ValueError("compressed: it could expand")
    with np.load(file, allow_pickle=False) as found:
        return {name: found[name] for name in found.files}


def weights_sha256(arrays: Mapping[str, NDArray[np.float32]]) -> str:
    """Hash the float32 bytes of all arrays in order: equal if and only if the models are."""
    digest = hashlib.sha256()
    for array in arrays.values():
        digest.update(np.ascontiguousarray(array, dtype="<f4").tobytes())
    return digest.hexdigest()
