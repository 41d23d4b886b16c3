"""Models, training at a party, and the rounds that bring parties together."""

from privfed.training.averaging import Averaged, Averaging, FloatAveraging, SecureAveraging
from privfed.training.dp_sgd import DPSGDTrainer
from privfed.training.evaluate import Evaluation, evaluate
from privfed.training.federated import initial_model, train_alone, train_federated
from privfed.training.local import AdamTrainer, LocalTrainer, adam_reach
from privfed.training.model import (
    Arrays,
    get_arrays,
    log_probabilities,
    paper_network,
    set_arrays,
    weights_sha256,
)

__all__ = [
    "AdamTrainer",
    "Arrays",
    "Averaged",
    "Averaging",
    "DPSGDTrainer",
    "Evaluation",
    "FloatAveraging",
    "LocalTrainer",
    "SecureAveraging",
    "adam_reach",
    "evaluate",
    "get_arrays",
    "initial_model",
    "log_probabilities",
    "paper_network",
    "set_arrays",
    "train_alone",
    "train_federated",
    "weights_sha256",
]
