"""Three encrypted rounds of one seed, as a program: prints each round's hash of the weights."""

import sys

import torch

from privfed.data import load_dataset, split_parties
from privfed.training import (
    AdamTrainer,
    SecureAveraging,
    adam_reach,
    get_arrays,
    initial_model,
    paper_network,
    train_federated,
    weights_sha256,
)


def digests(seed: int) -> list[str]:
    data = load_dataset()
    parties = split_parties(data, "overlapping", seed=seed)
    model = initial_model(lambda: paper_network(12, 2), seed)
    trainers = [
        AdamTrainer(
            torch.from_numpy(data.features[party.train]), torch.from_numpy(data.labels[party.train])
        )
        for party in parties
    ]
    averaging = SecureAveraging(
        get_arrays(model),
        len(parties),
        weights=[len(party.train) for party in parties],
        max_weight=512,
        clip_range=adam_reach(12),
        scheme="packed",
    )
    found: list[str] = []
    train_federated(
        model,
        trainers,
        averaging,
        rounds=3,
        seed=seed,
        on_round=lambda number, net, seconds, cost: found.append(weights_sha256(get_arrays(net))),
    )
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(*digests(int(sys.argv[1])))
