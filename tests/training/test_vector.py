"""Parameters as one vector: what is shared, and what is left as it was."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from privfed.errors import ConfigError
from privfed.training import GradientClipper, get_arrays, paper_network
from privfed.training.vector import one_vector


def test_the_vector_and_the_parameters_are_one_memory() -> None:
    model = paper_network(12, 2)
    before = get_arrays(model)
    vector = one_vector(list(model.parameters()))
    after = get_arrays(model)
    assert list(after) == list(before)
    assert all(np.array_equal(before[name], after[name]) for name in before)
    flat = np.concatenate([array.ravel() for array in before.values()])
    assert np.array_equal(vector.detach().numpy(), flat)
    with torch.no_grad():
        vector.add_(1)
    assert all(np.array_equal(before[name] + 1, each) for name, each in get_arrays(model).items())
    model.load_state_dict({name: torch.from_numpy(array) for name, array in before.items()})
    assert np.array_equal(vector.detach().numpy(), flat)


def test_asking_twice_gives_the_same_memory() -> None:
    parameters = list(nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)).parameters())
    first, second = one_vector(parameters), one_vector(parameters)
    assert first.data_ptr() == second.data_ptr() == parameters[0].data_ptr()
    part = one_vector(parameters[2:])  # a part of the vector is one already
    assert part.data_ptr() == parameters[2].data_ptr()


def test_a_copy_of_the_model_has_a_vector_of_its_own() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    vector = one_vector(list(model.parameters()))
    other = one_vector(list(copy.deepcopy(model).parameters()))
    with torch.no_grad():
        other.add_(1)
    assert torch.equal(other, vector + 1)


def test_a_parameter_that_moved_away_is_read_where_it_is() -> None:
    """Somebody gives the layer new memory after the clipper was made."""
    model = nn.Sequential(nn.Linear(6, 2))
    x, y, batch = torch.randn(10, 6), torch.arange(10) % 2, np.ones(10, bool)
    clipper = GradientClipper(model, x, y, 0.2)
    model[0].weight.data = torch.ones(2, 6)
    found = clipper.clipped_sum(batch).flat
    assert np.array_equal(found, GradientClipper(model, x, y, 0.2).clipped_sum(batch).flat)


def test_parameters_of_two_kinds_are_refused() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2).double())
    with pytest.raises(ConfigError, match=r"several number types.*model\.to"):
        one_vector(list(model.parameters()))
