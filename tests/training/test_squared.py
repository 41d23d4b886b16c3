"""The clipped sum under the squared error of one score: its closed form, and what it needs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from privfed.errors import ConfigError
from privfed.training import GradientClipper, exact_stack, paper_network
from privfed.training.clipping import squared_by_row
from privfed.training.losses import LOSSES
from tests.training.test_clipping import by_loop


def rows(count: int = 40, features: int = 5) -> tuple[Tensor, Tensor]:
    """Rows of many sizes, so that the clip norm binds some and not others."""
    generator = torch.Generator().manual_seed(3)
    sizes = torch.linspace(0.02, 3, count)[:, None]
    x = sizes * torch.randn(count, features, generator=generator)
    return x, torch.rand(count, generator=generator) * 2 - 1


def network(kind: str, features: int = 5) -> nn.Module:
    torch.manual_seed(1)
    return paper_network(features, 1) if kind == "dress" else nn.Linear(features, 1)


@pytest.mark.parametrize("kind", ["dress", "linear"])
@pytest.mark.parametrize("clip", [0.1, 1.0, 50.0])
def test_the_closed_form_is_that_of_a_loop_over_rows(kind: str, clip: float) -> None:
    (x, y), model = rows(), network(kind)
    clipper = GradientClipper(model, x, y, clip, row_losses=squared_by_row)
    assert clipper.method == "closed form"
    assert not clipper.assumption
    batch = np.arange(len(x)) % 3 > 0
    found = clipper.clipped_sum(batch)
    wanted = by_loop(model, x, y, batch, clip, squared_by_row)
    assert np.abs(found.flat - wanted).max() <= 2e-6 * max(1.0, np.abs(wanted).max())
    assert found.l2_sensitivity == clip


def test_compiled_code_and_its_definition_agree_bit_for_bit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the definition alone, which takes over where numba is not there."""
    (x, y), model = rows(), network("dress")
    every = np.ones(len(x), bool)
    found = GradientClipper(model, x, y, 1.0, row_losses=squared_by_row).clipped_sum(every).flat
    monkeypatch.setattr(exact_stack, "_checked", lambda shape: None)
    again = GradientClipper(model, x, y, 1.0, row_losses=squared_by_row).clipped_sum(every).flat
    assert np.array_equal(found, again)


def test_one_row_more_moves_the_sum_by_its_own_vector_and_at_most_the_clip_norm() -> None:
    x, y = rows()
    x[7], y[7] = 1e6, -1e6  # a label that no range bounds
    x[9, 0] = torch.nan
    clipper = GradientClipper(network("dress"), x, y, 1.0, row_losses=squared_by_row)
    every = np.ones(len(x), bool)
    whole = clipper.clipped_sum(every).flat
    for place in range(len(x)):
        alone = np.arange(len(x)) == place
        own = clipper.clipped_sum(alone).flat
        assert np.array_equal(whole - clipper.clipped_sum(every & ~alone).flat, own)
        assert np.linalg.norm(own) <= 1.0
    assert not clipper.clipped_sum(np.arange(len(x)) == 9).flat.any()  # not finite: it adds nothing


def test_labels_and_scores_of_another_kind_are_refused() -> None:
    x, y = rows()
    with pytest.raises(ConfigError, match="one score a row: the model has 2"):
        GradientClipper(paper_network(5, 2), x, y, 1.0, row_losses=squared_by_row)
    with pytest.raises(ConfigError, match="floating-point numbers"):
        GradientClipper(network("dress"), x, (y > 0).long(), 1.0, row_losses=squared_by_row)


def test_the_mean_is_that_of_the_rows() -> None:
    scores, labels = torch.randn(9, 1), torch.randn(9)
    judged = LOSSES["squared"]
    wanted = ((scores[:, 0] - labels) ** 2).mean()
    assert torch.allclose(judged.mean(scores, labels), wanted)
    assert torch.allclose(judged.by_row(scores, labels).mean(), wanted)
