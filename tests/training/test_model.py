"""The paper's network, its loss in Keras's words, and how good a model is said to be."""

from __future__ import annotations

import hashlib
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from sklearn.metrics import roc_auc_score
from torch import nn

from privfed.errors import ConfigError
from privfed.training import (
    evaluate,
    get_arrays,
    initial_model,
    log_probabilities,
    paper_network,
    set_arrays,
    weights_sha256,
)
from privfed.training.model import cross_entropy


def test_the_papers_parameters() -> None:
    model = paper_network(12, 2)
    counts = [sum(p.numel() for p in layer.parameters()) for layer in model]
    assert [count for count in counts if count] == [1664, 4128, 66]
    assert sum(counts) == 5858
    assert [type(layer) for layer in model] == [
        *(nn.Linear, nn.ReLU, nn.Dropout, nn.Linear, nn.ReLU, nn.Linear)
    ]
    assert model[2].p == 0.2


scores = arrays_of.arrays(
    np.float64,
    st.tuples(st.integers(1, 6), st.integers(2, 10)),
    elements=st.floats(-30, 30, allow_subnormal=False),
)


@given(scores, st.integers(0, 99))
def test_the_loss_is_keras_categorical_cross_entropy_after_a_sigmoid(
    z: np.ndarray, number: int
) -> None:
    """Keras divides the outputs by their sum: keras.losses.categorical_crossentropy."""
    y = np.arange(len(z)) * number % z.shape[1]
    sigmoid = 1 / (1 + np.exp(-z))
    wanted = -np.log(sigmoid[np.arange(len(z)), y] / sigmoid.sum(axis=1)).mean()
    found = cross_entropy(torch.from_numpy(z), torch.from_numpy(y))
    assert float(found) == pytest.approx(wanted, rel=1e-12, abs=1e-12)


def test_the_loss_stays_finite_where_sigmoids_vanish() -> None:
    z = torch.tensor([[-1e4, -1e4], [1e4, 1e4], [-1e4, 1e4]], requires_grad=True)
    probabilities = log_probabilities(z).exp()
    assert torch.allclose(probabilities[:2], torch.full((2, 2), 0.5))
    assert torch.equal(probabilities[2], torch.tensor([0.0, 1.0]))
    torch.autograd.backward(cross_entropy(z, torch.tensor([0, 0, 0])))
    assert z.grad is not None
    assert torch.isfinite(z.grad).all()


def test_the_seed_fixes_the_initial_weights() -> None:
    one, same, other = (
        weights_sha256(get_arrays(initial_model(lambda: paper_network(12, 2), seed)))
        for seed in (3, 3, 4)
    )
    assert one == same != other


def test_arrays_go_out_and_in() -> None:
    model, other = paper_network(5, 3), paper_network(5, 3)
    arrays = get_arrays(model)
    set_arrays(other, arrays)
    assert weights_sha256(get_arrays(other)) == weights_sha256(arrays)
    for parameter in model.parameters():
        parameter.data.zero_()
    assert all(array.any() for array in arrays.values())  # a copy, not a view


@pytest.mark.parametrize("change", ["narrower", "scalar", "missing", "further", "transposed"])
def test_arrays_of_another_model_are_refused(change: str) -> None:
    model = paper_network(5, 3)
    arrays, before = get_arrays(model), weights_sha256(get_arrays(model))
    if change == "missing":
        del arrays["5.bias"]
    elif change == "further":
        arrays["6.weight"] = arrays["5.bias"]
    elif change == "transposed":
        arrays["3.weight"] = arrays["3.weight"].T
    else:  # torch would stretch both over the whole parameter
        arrays["0.bias"] = np.ones(1 if change == "narrower" else (), np.float32)
    with pytest.raises(ConfigError, match="another model"):
        set_arrays(model, arrays)
    assert weights_sha256(get_arrays(model)) == before


def test_the_hash_is_of_the_little_endian_bytes_in_order() -> None:
    arrays = {"b": np.array([1, 2], np.float32), "a": np.array([[3], [-0.0]], np.float32)}
    digest = hashlib.sha256(np.array([1, 2, 3, -0.0], "<f4").tobytes()).hexdigest()
    assert weights_sha256(arrays) == digest
    arrays["a"][1, 0] = 0.0
    assert weights_sha256(arrays) != digest


def tiny(scores: list[list[float]]) -> tuple[nn.Module, torch.Tensor]:
    """A model that gives these scores, with a dropout that would spoil them."""
    model = nn.Sequential(nn.Dropout(0.9), nn.Identity())
    return model, torch.tensor(scores)


def test_evaluation_by_hand() -> None:
    model, rows = tiny([[2.0, -1.0], [0.0, 1.0], [1.5, 0.5], [-1.0, 3.0], [0.3, 0.2]])
    labels = torch.tensor([0, 1, 1, 1, 0])
    found = evaluate(model, rows, labels)
    sigmoid = 1 / (1 + np.exp(-rows.numpy().astype(np.float64)))
    p = sigmoid / sigmoid.sum(axis=1, keepdims=True)
    assert found.predicted.tolist() == [0, 1, 0, 1, 0]
    assert found.accuracy == 4 / 5
    assert found.loss == pytest.approx(-np.log(p[range(5), labels]).mean(), rel=1e-6)
    pairs = list(itertools.product([1, 2, 3], [0, 4]))
    assert found.auc == pytest.approx(np.mean([p[i, 1] > p[j, 1] for i, j in pairs]))


def test_auc_of_many_classes_is_one_against_rest() -> None:
    generator = torch.Generator().manual_seed(0)
    model, rows = tiny(torch.randn(60, 4, generator=generator).tolist())
    labels = torch.arange(60) % 4
    p = log_probabilities(rows).exp().numpy().astype(np.float64)
    each = []
    for c in range(4):
        inside, outside = p[labels == c, c], p[labels != c, c]
        each.append((inside[:, None] > outside).mean())
    assert evaluate(model, rows, labels).auc == pytest.approx(np.mean(each), abs=1e-9)


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_auc_is_scikit_learns_with_ties_too(classes: int) -> None:
    drawn = np.random.default_rng(classes)
    model, rows = tiny(np.round(drawn.normal(size=(400, classes)), 1).tolist())
    labels = np.arange(400) % classes
    p = log_probabilities(rows).exp().numpy().astype(np.float64)
    p /= p.sum(axis=1, keepdims=True)
    wanted = roc_auc_score(labels, p[:, 1] if classes == 2 else p, multi_class="ovr")
    assert evaluate(model, rows, torch.from_numpy(labels)).auc == pytest.approx(wanted, abs=1e-12)


def test_auc_is_worked_out_when_asked_for_and_once() -> None:
    model, rows = tiny([[2.0, -1.0], [0.0, 1.0]])
    found = evaluate(model, rows, torch.tensor([0, 1]))
    assert "auc" not in vars(found)
    assert found.auc == 1.0
    assert vars(found)["auc"] == 1.0


def test_no_auc_without_all_classes() -> None:
    model, rows = tiny([[2.0, -1.0], [0.0, 1.0]])
    assert evaluate(model, rows, torch.tensor([1, 1])).auc is None


def test_a_model_of_half_types_is_evaluated() -> None:
    torch.manual_seed(2)
    model, x = paper_network(12, 2).bfloat16(), torch.randn(40, 12)
    found = evaluate(model, x.bfloat16(), torch.arange(40) % 2)
    wanted = evaluate(model.float(), x.bfloat16().float(), torch.arange(40) % 2)
    assert found.loss == pytest.approx(wanted.loss, abs=0.02)
    assert found.auc is not None
