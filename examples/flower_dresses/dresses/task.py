"""The network, the rows and the training, as `privfed benchmark` has them; Flower is elsewhere."""

import functools

import torch
from torch import Tensor, nn

from privfed.data import load_dataset, split_parties
from privfed.training import AdamTrainer, Arrays, initial_model, one_thread, paper_network
from privfed.training import evaluate as evaluate_on
from privfed.training.federated import batch_seed

SEED = 0
Rows = tuple[Tensor, Tensor]


def network() -> nn.Module:
    """Return the paper's network with the initial weights of a seed."""
    return initial_model(lambda: paper_network(12, 2), SEED)


@functools.cache
def load_rows(place: int) -> tuple[Rows, Rows]:
    """Return a party's rows to train on and to test on; a company would read its own file."""
    dataset = load_dataset()
    party = split_parties(dataset, "overlapping", parties=2, seed=SEED)[place]
    train, test = (
        (torch.from_numpy(dataset.features[rows]), torch.from_numpy(dataset.targets[rows]))
        for rows in (party.train, party.test)
    )
    return train, test


@one_thread()
def train_epoch(model: nn.Module, rows: Rows, moments: Arrays, place: int, round_id: int) -> Arrays:
    """Train in place.

    Args:
        model: The network, with the weights of the round.
        rows: The party's.
        moments: Those of Adam, after the round before; none in the first.
        place: The party's, which with the round fixes its batches.
        round_id: The round, from 1.

    Returns:
        Adam's moments.
    """
    trainer = AdamTrainer(*rows)
    if moments:
        trainer.resume(model, moments)
    trainer.train_epoch(model, batch_seed(SEED, round_id, place))
    return trainer.moments()


@one_thread()
def score(model: nn.Module, rows: Rows) -> tuple[float, float]:
    """Return loss and accuracy."""
    found = evaluate_on(model, *rows)
    return found.loss, found.accuracy
