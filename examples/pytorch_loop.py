"""Two companies, two processes, one model: ten lines around a PyTorch loop that was there before.

Run: python examples/pytorch_loop.py
"""

import multiprocessing
import os
import tempfile
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn

from privfed import secagg
from privfed.integrations import simulated_keys

ROWS = (300, 200)  # of each company


def exchange(mine: bytes) -> list[bytes]:
    """Return what every process gave; uploads of one job are of one length."""
    own = torch.frombuffer(bytearray(mine), dtype=torch.uint8)
    all_of_them = [torch.empty_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(all_of_them, own)
    return [bytes(each.numpy()) for each in all_of_them]


def averaged(party: secagg.Party, model: nn.Module, weight: int) -> dict[str, Tensor]:
    """Return the mean of all companies' weights; only the sum is ever decrypted."""
    server = secagg.Aggregator(party.params, party.round_id + 1)  # it could be anywhere
    for upload in exchange(party.encrypt(model.state_dict(), weight=weight)):
        server.add(upload)
    return party.open(server.total()).state_dict(like=model)


def train(place: int, keys: str) -> None:
    """Train on this company's rows."""
    meeting = f"file://{keys}/meeting"  # between machines tcp://HOST:PORT, inside a tunnel
    dist.init_process_group("gloo", meeting, rank=place, world_size=2)
    torch.manual_seed(0)  # all begin with one model
    model = nn.Sequential(nn.Linear(20, 16), nn.ReLU(), nn.Linear(16, 2))
    features, labels = rows_of(place)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    with secagg.Party.load(Path(keys) / str(place)) as party:
        for epoch in range(5):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(features), labels)
            loss.backward()
            optimizer.step()
            model.load_state_dict(averaged(party, model, len(labels)))
            print(
                f"company {place}, epoch {epoch + 1}: loss {loss.item():.4f}\n", end="", flush=True
            )
    torch.save(model.state_dict(), Path(keys) / f"{place}.pt")
    dist.destroy_process_group()


def rows_of(place: int) -> tuple[Tensor, Tensor]:
    """Return a company's rows: made up, by one rule for both."""
    drawn = torch.Generator().manual_seed(place + 1)
    features = torch.randn(ROWS[place], 20, generator=drawn)
    return features, (features[:, :3].sum(1) > 0).long()


if __name__ == "__main__":
    os.environ |= {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as folder:
        layout = nn.Sequential(nn.Linear(20, 16), nn.ReLU(), nn.Linear(16, 2)).state_dict()
        simulated_keys(Path(folder), layout, parties=2, max_weight=512)
        with multiprocessing.get_context("spawn").Pool(2) as processes:
            processes.starmap(train, [(place, folder) for place in range(2)])
        first, second = (torch.load(Path(folder) / f"{place}.pt") for place in range(2))
        assert all(torch.equal(first[name], second[name]) for name in first)
        print("both companies have the same weights")
