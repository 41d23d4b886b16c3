"""Models, training at a party, and the rounds that bring parties together."""

from privfed.training.averaging import (
    Averaged,
    Averaging,
    Exchange,
    FloatAveraging,
    SecureAveraging,
)
from privfed.training.clipping import ClippedSum, GradientClipper
from privfed.training.contributions import (
    AdaptiveClip,
    ClientUpdates,
    Contributor,
    FixedClip,
    RecordGradients,
)
from privfed.training.dp_sgd import DPSGDTrainer
from privfed.training.evaluate import Evaluation, evaluate
from privfed.training.federated import initial_model, train_alone, train_federated
from privfed.training.local import AdamTrainer, LocalTrainer, adam_reach
from privfed.training.means import private_mean
from privfed.training.model import (
    Arrays,
    get_arrays,
    log_probabilities,
    paper_network,
    set_arrays,
    weights_sha256,
)
from privfed.training.noisy_sums import (
    CentralNoise,
    LocalNoise,
    NoisySums,
    Released,
    SharedNoise,
    share_parameters,
)
from privfed.training.private import train_private
from privfed.training.threads import one_thread
from privfed.training.tuning import Best, tune_private

__all__ = [
    "AdamTrainer",
    "AdaptiveClip",
    "Arrays",
    "Averaged",
    "Averaging",
    "Best",
    "CentralNoise",
    "ClientUpdates",
    "ClippedSum",
    "Contributor",
    "DPSGDTrainer",
    "Evaluation",
    "Exchange",
    "FixedClip",
    "FloatAveraging",
    "GradientClipper",
    "LocalNoise",
    "LocalTrainer",
    "NoisySums",
    "RecordGradients",
    "Released",
    "SecureAveraging",
    "SharedNoise",
    "adam_reach",
    "evaluate",
    "get_arrays",
    "initial_model",
    "log_probabilities",
    "one_thread",
    "paper_network",
    "private_mean",
    "set_arrays",
    "share_parameters",
    "train_alone",
    "train_federated",
    "train_private",
    "tune_private",
    "weights_sha256",
]
