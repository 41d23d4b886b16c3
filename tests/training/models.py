"""Ten honest architectures, each with rows of its kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from privfed.training.rows import Features, PublicRows

ROWS = 24


@dataclass
class Case:
    """A model, its rows, and how their gradients are computed.

    Attributes:
        classes: The labels, also where a Dataset has them.
    """

    model: nn.Module
    features: Features
    labels: Tensor | None
    classes: Tensor
    method: str = "vmap"
    public_rows: PublicRows | None = None


def draw(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(ROWS, *shape, generator=torch.Generator().manual_seed(seed))


def ids(*shape: int, below: int, seed: int = 2) -> Tensor:
    return torch.randint(below, (ROWS, *shape), generator=torch.Generator().manual_seed(seed))


def head(model: nn.Module, features: Features) -> Case:
    labels = ids(below=2, seed=3)
    return Case(model, features, labels, labels)


def cnn() -> Case:
    return head(
        nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(),
            nn.Linear(36, 2),
        ),
        draw(1, 8, 8),
    )  # fmt: skip


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.inner = nn.Linear(6, 8), nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 8))
        self.last = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.first(x)
        for _ in range(2):
            hidden = hidden + functional.gelu(self.inner(hidden))
        scores: Tensor = self.last(hidden)
        return scores


class Words(nn.Module):
    """Ids of words: a mean of their vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.last = nn.Embedding(20, 8, padding_idx=0), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.last(self.table(x).mean(dim=1))
        return scores


class Recurrent(nn.Module):
    def __init__(self, kind: Callable[..., nn.Module] = nn.LSTM) -> None:
        super().__init__()
        self.cell, self.last = kind(3, 8, batch_first=True), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.last(self.cell(x)[0][:, -1])
        return scores


class Attentive(nn.Module):
    """A transformer's encoder, whose eval() has a fast path without gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(3, 8), nn.Linear(8, 2)
        layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1)
        self.place = nn.Parameter(torch.zeros(5, 8))
        self.register_buffer("scale", torch.tensor(0.5))

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.encoder(self.scale * self.first(x) + self.place)
        scores: Tensor = self.last(hidden.mean(dim=1))
        return scores


def backbone() -> Case:
    frozen = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())
    frozen(torch.randn(50, 1, 8, 8))  # fills the statistics, from public rows
    frozen.eval().requires_grad_(False)
    return head(nn.Sequential(frozen, nn.Linear(144, 2)), draw(1, 8, 8))


class Tied(nn.Module):
    """The table of words is the last layer's weights, too: scores for each word."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.inner, self.last = nn.Embedding(20, 8), nn.Linear(8, 8), nn.Linear(8, 20)
        self.last.weight = self.table.weight

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.last(torch.tanh(self.inner(self.table(x).mean(dim=1))))
        return scores


def tied() -> Case:
    labels = ids(below=20, seed=4)
    return Case(Tied(), ids(6, below=20), labels, labels)


class Mixture(nn.Module):
    """Numbers and ids, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.first, self.last = nn.Embedding(9, 4), nn.Linear(6, 4), nn.Linear(8, 2)

    def forward(self, x: dict[str, Tensor]) -> Tensor:
        hidden = torch.cat([torch.tanh(self.first(x["numbers"])), self.table(x["shop"])], dim=1)
        scores: Tensor = self.last(hidden)
        return scores


class Fetched(torch.utils.data.Dataset[tuple[Tensor, int]]):
    """Rows that are made when they are asked for, and never all there."""

    def __init__(self, rows: int = ROWS) -> None:
        self.rows, self.asked = rows, list[int]()

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        if not 0 <= place < self.rows:
            raise IndexError(place)
        self.asked.append(place)
        return torch.randn(6, generator=torch.Generator().manual_seed(place)), place % 2


def fetched() -> Case:
    public = torch.randn(8, 6), torch.arange(8) % 2
    return Case(Residual(), Fetched(), None, torch.arange(ROWS) % 2, public_rows=public)


def half() -> Case:
    made = cnn()
    made.model.to(torch.bfloat16)
    assert isinstance(made.features, Tensor)
    made.features = made.features.to(torch.bfloat16)
    return made


HONEST: dict[str, Callable[[], Case]] = {
    "CNN with GroupNorm": cnn,
    "residual": lambda: head(Residual(), draw(6)),
    "embeddings": lambda: head(Words(), ids(7, below=20)),
    "LSTM": lambda: head(Recurrent(), draw(5, 3)),
    "transformer encoder": lambda: head(Attentive(), draw(5, 3)),
    "frozen BatchNorm backbone": backbone,
    "tied weights": tied,
    "bfloat16": half,
    "features by name": lambda: head(
        Mixture(), {"numbers": draw(6), "shop": ids(below=9)}
    ),
    "Dataset": fetched,
}  # fmt: skip


def honest(kind: str) -> Case:
    torch.manual_seed(0)
    return HONEST[kind]()


def row_of(case: Case, place: int) -> Any:
    """One row's features as the model takes them: a batch of one."""
    if isinstance(case.features, Tensor):
        return case.features[place : place + 1]
    if isinstance(case.features, dict):
        return {name: column[place : place + 1] for name, column in case.features.items()}
    return case.features[place][0][None]  # type: ignore[index]
