"""Which changes of a model are noticed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn

from privfed.training import AdamTrainer, evaluate, get_arrays, set_arrays
from privfed.training.structure import same_structure, structure
from privfed.training.vector import one_vector
from tests.training import models


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 2)
        self.settings: dict[str, Any] = {"scale": [1.0, {2}]}
        self.rate, self.steps = 0.5, [self.first]
        self.settings["itself"] = [self.settings]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.last(self.norm(self.first(x)))
        return scores


def own_forward(net: Net) -> None:
    net.forward = lambda x: x.mean()  # type: ignore[method-assign]


def of_another_class(net: Net) -> None:
    net.last.__class__ = nn.modules.linear.NonDynamicallyQuantizableLinear


def new_values(net: Net) -> None:
    net.first.weight.data = torch.zeros(6, 5)


CHANGES: dict[str, Callable[[Net], object]] = {
    "a frozen layer": lambda net: net.first.requires_grad_(False),
    "another layer": lambda net: setattr(net, "last", nn.Linear(6, 2)),
    "one layer more": lambda net: net.add_module("more", nn.Linear(2, 2)),
    "a layer of another class": of_another_class,
    "another parameter": lambda net: setattr(net.last, "bias", nn.Parameter(torch.zeros(2))),
    "no bias": lambda net: setattr(net.last, "bias", None),
    "another shape": new_values,
    "another number type": lambda net: net.double(),
    "a hook of a layer": lambda net: net.norm.register_forward_hook(lambda *_: None),
    "a hook of a weight": lambda net: net.last.weight.register_hook(lambda gradient: gradient),
    "a forward of its own": own_forward,
    "another mode": lambda net: net.norm.eval(),
    "statistics": lambda net: setattr(net.norm, "track_running_stats", False),
    "a buffer": lambda net: net.register_buffer("more", torch.zeros(2)),
    "a number": lambda net: setattr(net, "rate", 0.6),
    "a number of another type": lambda net: setattr(net, "rate", True),
    "an entry": lambda net: net.settings.update(more=1),
    "an entry of an entry": lambda net: net.settings["scale"].append(2.0),
    "an entry far inside": lambda net: net.settings["scale"][1].add(3),
    "a layer in a list": lambda net: net.steps.append(net.last),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_is_noticed(what: str) -> None:
    net = Net()
    before = structure(net)
    assert same_structure(before, structure(net))
    CHANGES[what](net)
    assert not same_structure(before, structure(net))


@pytest.fixture
def hook_of_all_modules() -> Iterator[Callable[[], None]]:
    handles = []

    def add() -> None:
        handles.append(nn.modules.module.register_module_forward_hook(lambda *_: None))

    yield add
    for handle in handles:
        handle.remove()


def test_a_hook_of_all_modules_is_noticed(hook_of_all_modules: Callable[[], None]) -> None:
    net = Net()
    before = structure(net)
    hook_of_all_modules()
    assert not same_structure(before, structure(net))


def test_another_model_of_the_same_kind_is_noticed() -> None:
    assert not same_structure(structure(Net()), structure(Net()))


@pytest.mark.parametrize("kind", models.HONEST)
def test_training_and_new_weights_are_no_change(kind: str) -> None:
    case = models.honest(kind)
    trainer = AdamTrainer(case.features, case.labels, public_rows=case.public_rows)
    trained = [each for each in case.model.parameters() if each.requires_grad]
    case.model.train()
    one_vector(trained)
    before = structure(case.model)
    trainer.train_epoch(case.model, 0)
    set_arrays(case.model, {n: 2 * each for n, each in get_arrays(case.model).items()})
    one_vector(trained)
    assert same_structure(before, structure(case.model))
    if isinstance(case.features, torch.Tensor):
        evaluate(case.model, case.features, case.classes)
        case.model.train()
        assert same_structure(before, structure(case.model))


def test_a_parameter_without_a_shape_is_no_obstacle() -> None:
    net = nn.LazyLinear(2)
    before = structure(net)
    net(torch.zeros(1, 3))
    assert not same_structure(before, structure(net))
