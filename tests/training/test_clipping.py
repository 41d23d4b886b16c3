"""Clipped sums against autograd on single rows and against Opacus's own optimizer."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from opacus import GradSampleModule
from opacus.optimizers import DPOptimizer
from torch import Tensor, nn
from torch.nn import functional

from privfed.errors import ConfigError
from privfed.training import GradientClipper, get_arrays, paper_network
from privfed.training.clipping import cross_entropy_by_row
from privfed.training.row_grid import RowGrid
from privfed.training.row_kernels import RowLosses
from privfed.training.row_tiles import tile_rows

SOFTMAX: RowLosses = lambda scores, labels: functional.cross_entropy(  # noqa: E731
    scores, labels, reduction="none"
)


def data(rows: int, features: int, classes: int, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Rows of many sizes, so that the clip norm binds some and not others."""
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.linspace(0.02, 4, rows)[:, None]
    x = sizes * torch.randn(rows, features, generator=generator)
    return x, torch.randint(0, classes, (rows,), generator=generator)


def by_loop(
    model: nn.Module, x: Tensor, y: Tensor, batch: np.ndarray, clip: float, losses: RowLosses
) -> np.ndarray:
    """The clipped sum by autograd on single rows."""
    model.eval()
    trained = [p for p in model.parameters() if p.requires_grad]
    total = np.zeros(sum(p.numel() for p in trained))
    for i in np.flatnonzero(batch):
        loss = losses(model(x[i : i + 1]), y[i : i + 1]).sum()
        gradients = torch.autograd.grad(loss, trained, materialize_grads=True)
        flat = torch.cat([g.flatten() for g in gradients]).double().numpy()
        total += flat * min(1.0, clip / (np.linalg.norm(flat) + 1e-6))
    return total


def by_opacus(
    model: nn.Module, x: Tensor, y: Tensor, batch: np.ndarray, clip: float, losses: RowLosses
) -> np.ndarray:
    """The clipped sum that Opacus's own optimizer makes."""
    sampled = GradSampleModule(model, loss_reduction="sum")
    sampled.train()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.eval()
    optimizer = DPOptimizer(
        torch.optim.SGD(model.parameters(), lr=0.1),
        noise_multiplier=0.0,
        max_grad_norm=clip,
        expected_batch_size=1,
    )
    chosen = torch.from_numpy(np.flatnonzero(batch))
    losses(sampled(x[chosen]), y[chosen]).sum().backward()
    optimizer.clip_and_accumulate()
    total = torch.cat([p.summed_grad.flatten() for p in optimizer.params])
    sampled.to_standard_module()
    return total.double().numpy()


@st.composite
def stacks(draw: st.DrawFn) -> nn.Sequential:
    """Stacks of linear layers as the closed form takes them, nested now and then, in float64."""
    torch.manual_seed(draw(st.integers(0, 2**16)))
    widths = draw(st.lists(st.integers(1, 9), min_size=2, max_size=5))
    layers: list[nn.Module] = []
    between = [nn.ReLU, nn.Identity, nn.Flatten, nn.Dropout]
    for before, after in pairwise(widths):
        layers.append(nn.Linear(before, after, bias=draw(st.booleans())))
        for kind in draw(st.lists(st.sampled_from(between), max_size=2)):
            layers.append(kind())
    layers.append(nn.Linear(widths[-1], draw(st.integers(2, 4))))
    if draw(st.booleans()):
        cut = draw(st.integers(0, len(layers) - 1))
        layers = [nn.Sequential(*layers[:cut]), *layers[cut:]]
    return nn.Sequential(*layers).double()


@settings(max_examples=60)
@given(
    stacks(),
    st.lists(st.booleans(), min_size=1, max_size=12).filter(any),
    st.sampled_from([1e-3, 0.3, 1.0, 50.0]),
    st.booleans(),
)
def test_the_closed_form_is_opacus_and_the_loop(
    model: nn.Sequential, chosen: list[bool], clip: float, compiled: bool
) -> None:
    losses = cross_entropy_by_row
    linear = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    x, y = data(len(chosen), linear[0].in_features, linear[-1].out_features)
    x, batch = x.double(), np.array(chosen)
    clipper = GradientClipper(model, x, y, clip)
    assert clipper.method == "closed form"
    stack = clipper._stack  # noqa: SLF001  (to choose between two ways of the same)
    assert stack is not None
    if not compiled:
        stack._compiled = None  # noqa: SLF001  (as above)
    clipped = clipper.clipped_sum(batch)
    loop = by_loop(model, x, y, batch, clip, losses)
    assert np.allclose(clipped.flat, loop, rtol=0, atol=1e-10)
    opacus = by_opacus(model, x, y, batch, clip, losses)
    assert np.allclose(clipped.flat, opacus, rtol=0, atol=1e-6)
    names = [name for name, _ in model.named_parameters()]
    assert list(clipped.arrays) == names
    flat = np.concatenate([array.ravel() for array in clipped.arrays.values()])
    assert np.array_equal(flat, clipped.flat)


@pytest.mark.parametrize("size", [1, 32, 64])
def test_in_float32_the_papers_network_is_opacus_too(size: int) -> None:
    torch.manual_seed(0)
    model = paper_network(12, 2)
    x, y = data(300, 12, 2)
    batch = np.zeros(300, bool)
    batch[:: 300 // size][:size] = True
    clipper = GradientClipper(model, x, y, 1.0)
    assert clipper.method == "closed form"
    wanted = by_opacus(model, x, y, batch, 1.0, cross_entropy_by_row)
    assert np.allclose(clipper.clipped_sum(batch).flat, wanted, rtol=0, atol=1e-6)


class TwoWays(nn.Module):
    """Neither a Sequential nor with one path."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.unused = nn.Linear(6, 4), nn.Linear(6, 4), nn.Linear(2, 2)
        self.out = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.out(torch.tanh(self.a(x)) * self.b(x))
        return scores


def tied() -> nn.Module:
    model = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6), nn.Linear(6, 2))
    model[2].weight = model[0].weight
    return model


def used_twice() -> nn.Module:
    layer = nn.Linear(6, 6)
    return nn.Sequential(layer, nn.Tanh(), layer, nn.Linear(6, 2))


def frozen() -> nn.Module:
    model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 2))
    model[0].weight.requires_grad_(False)
    return model


def hooked() -> nn.Module:
    model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 2))
    model[1].register_forward_hook(lambda module, given, output: 2 * output)
    return model


def pre_hooked() -> nn.Module:
    model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 2))
    model[2].register_forward_pre_hook(lambda module, given: (given[0] + 1,))
    return model


def overridden() -> nn.Module:
    model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 2))
    model[1].forward = torch.sin
    return model


class Doubling(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


OTHERS: dict[str, Callable[[], nn.Module]] = {
    "two ways": TwoWays,
    "tied": tied,
    "used twice": used_twice,
    "frozen": frozen,
    "hooked": hooked,
    "pre-hooked": pre_hooked,
    "overridden": overridden,
    "subclass": lambda: nn.Sequential(Doubling(6, 2)),
    "layer norm": lambda: nn.Sequential(nn.Linear(6, 5), nn.LayerNorm(5), nn.Linear(5, 2)),
    "PReLU": lambda: nn.Sequential(nn.Linear(6, 5), nn.PReLU(), nn.Linear(5, 2)),
    "softmax": lambda: nn.Sequential(nn.Linear(6, 5), nn.Softmax(dim=1), nn.Linear(5, 2)),
    "dropout": lambda: nn.Sequential(nn.LayerNorm(6), nn.Dropout(), nn.Linear(6, 2)),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_every_other_model_goes_through_vmap(kind: str) -> None:
    torch.manual_seed(0)
    model = OTHERS[kind]()
    x, y = data(20, 6, 2)
    batch = np.arange(20) % 3 > 0
    clipper = GradientClipper(model, x, y, 0.3)
    assert clipper.method == "vmap"
    before = [(m.training, sorted(vars(m))) for m in model.modules()]
    clipped = clipper.clipped_sum(batch).flat
    assert [(m.training, sorted(vars(m))) for m in model.modules()] == before
    assert all(p.grad is None and not vars(p) for p in model.parameters())
    assert np.array_equal(clipper.clipped_sum(batch).flat, clipped)  # no dropout; repeatable
    wanted = by_loop(model, x, y, batch, 0.3, cross_entropy_by_row)
    assert np.allclose(clipped, wanted, rtol=0, atol=1e-6)
    assert np.array_equal(clipper.clipped_sum(np.zeros(20, bool)).flat, np.zeros(len(clipped)))


def test_images_and_sequences() -> None:
    torch.manual_seed(0)
    x, y = torch.randn(9, 1, 6, 6), torch.arange(9) % 2
    batch = np.arange(9) < 7
    models = {
        "vmap": nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 2)),
        "closed form": nn.Sequential(nn.Flatten(), nn.Linear(36, 2)),
    }
    for method, model in models.items():
        clipper = GradientClipper(model, x, y, 0.3)
        assert clipper.method == method
        wanted = by_loop(model, x, y, batch, 0.3, cross_entropy_by_row)
        assert np.allclose(clipper.clipped_sum(batch).flat, wanted, rtol=0, atol=1e-6)
    rows = nn.Sequential(nn.Linear(6, 3), nn.Flatten(), nn.Linear(18, 2))
    assert GradientClipper(rows, x[:, 0], y, 0.3).method == "vmap"


@pytest.mark.parametrize("method", ["closed form", "vmap"])
def test_no_row_adds_more_than_the_sensitivity(method: str) -> None:
    torch.manual_seed(0)
    model = paper_network(12, 2)
    if method == "vmap":
        model.append(nn.Softmax(dim=1))
    x, y = data(50, 12, 2)
    x *= 10.0 ** torch.linspace(-30, 30, 50)[:, None]
    for clip in (1e-7, 0.5, 1e4):
        clipper = GradientClipper(model, x, y, clip)
        assert clipper.method == method
        assert clipper.l2_sensitivity == clip
        for i in range(50):
            alone = clipper.clipped_sum(np.arange(50) == i)
            assert np.linalg.norm(alone.flat) <= alone.l2_sensitivity == clipper.l2_sensitivity


def test_a_large_batch_is_added_in_parts() -> None:
    """And the grid stays fine at a million rows."""
    x, y = data(2500, 3, 2)
    model = nn.Sequential(nn.Linear(3, 2)).double()
    clipper = GradientClipper(model, x.double(), y, 0.5)
    parts = [clipper.clipped_sum(np.arange(2500) % 7 == i).flat for i in range(7)]
    assert np.allclose(clipper.clipped_sum(np.ones(2500, bool)).flat, sum(parts), atol=1e-9)
    assert RowGrid(10**6, 5858, 1.0).limit > 1 - 1e-7


def test_a_tile_holds_a_batch_unless_its_gradients_would_not_fit() -> None:
    for expected in (1, 32, 500):
        size = tile_rows(expected, 5858)
        assert size % 64 == 0
        assert size >= expected + 6 * expected**0.5
    assert tile_rows(500, 10**5) == 320
    assert tile_rows(500, 10**8) == 64


BOTH = {
    "closed form": nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2)),
    "vmap": nn.Sequential(nn.Linear(6, 5), nn.LayerNorm(5), nn.Linear(5, 2)),
}


@pytest.mark.parametrize("method", BOTH)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_row_that_no_clipping_bounds_adds_exactly_nothing(method: str, bad: float) -> None:
    """Whether a round runs would tell of one row."""
    model = BOTH[method]
    x, y = data(10, 6, 2)
    x[5, 3] = bad
    clipper = GradientClipper(model, x, y, 1.0)
    assert clipper.method == method
    others = clipper.clipped_sum(np.arange(10) != 5).flat
    assert others.any()
    assert np.array_equal(clipper.clipped_sum(np.ones(10, bool)).flat, others)
    assert not clipper.clipped_sum(np.arange(10) == 5).flat.any()


def test_a_weight_that_is_no_number_is_refused() -> None:
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2))
    clipper = GradientClipper(model, *data(10, 6, 2), 1.0)
    with torch.no_grad():
        next(model.parameters())[0, 0] = np.nan
    with pytest.raises(ConfigError, match="not a finite number"):
        clipper.clipped_sum(np.ones(10, bool))


def test_a_square_that_overflows_is_not_passed() -> None:
    """1e200 is a float64, its square is not: such a row adds nothing."""
    x, y = data(4, 6, 2)
    x = x.double()
    x[1, 1] = 1e200
    clipper = GradientClipper(nn.Sequential(nn.Linear(6, 2)), x, y, 1.0)
    others = clipper.clipped_sum(np.arange(4) != 1).flat
    assert np.array_equal(clipper.clipped_sum(np.ones(4, bool)).flat, others)


def test_a_gradient_of_zero_stays_zero() -> None:
    model = nn.Sequential(nn.Linear(6, 2, bias=False))
    clipped = GradientClipper(model, torch.zeros(3, 6), torch.zeros(3).long(), 1.0)
    assert not clipped.clipped_sum(np.ones(3, bool)).flat.any()


def test_weights_are_read_at_every_call() -> None:
    model = nn.Sequential(nn.Linear(6, 2))
    x, y = data(10, 6, 2)
    clipper, batch = GradientClipper(model, x, y, 0.2), np.ones(10, bool)
    before = clipper.clipped_sum(batch).flat
    with torch.no_grad():
        next(model.parameters()).add_(1)
    after = clipper.clipped_sum(batch).flat
    assert not np.allclose(before, after)
    assert np.allclose(after, by_loop(model, x, y, batch, 0.2, cross_entropy_by_row), atol=1e-6)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (nn.BatchNorm1d(5), r"layer '1' \(BatchNorm1d\) mixes the rows.*GroupNorm"),
        (nn.BatchNorm1d(5, affine=False, track_running_stats=False), "mixes the rows"),
        (nn.InstanceNorm1d(5, affine=True, track_running_stats=True), r"'1' \(InstanceNorm1d\)"),
    ],
)
def test_a_layer_without_row_gradients_is_named(layer: nn.Module, message: str) -> None:
    model = nn.Sequential(nn.Linear(6, 5), layer, nn.Linear(5, 2))
    with pytest.raises(ConfigError, match=message):
        GradientClipper(model, *data(10, 6, 2), 1.0)


def test_bad_input_is_told() -> None:
    model = nn.Sequential(nn.Linear(6, 2))
    x, y = data(10, 6, 2)
    for clip in (0.0, -1.0, np.nan, np.inf, 1e-101, 1e101):
        with pytest.raises(ConfigError, match="clip norm must be 1e-100 to 1e100"):
            GradientClipper(model, x, y, clip)
    with pytest.raises(ConfigError, match="10 rows have 9 labels"):
        GradientClipper(model, x, y[1:], 1.0)
    with pytest.raises(ConfigError, match="takes 6 features, rows have 5"):
        GradientClipper(model, x[:, 1:], y, 1.0)
    for labels in (y - 1, y + 1):
        for each in (model, nn.Sequential(model, nn.Tanh())):
            with pytest.raises(ConfigError, match="from 0 to 1"):
                GradientClipper(each, x, labels, 1.0)
    clipper = GradientClipper(model, x, y, 1.0)
    batches: list[np.ndarray] = [np.arange(10), np.ones(9, bool), np.ones((10, 1), bool)]
    for batch in batches:
        with pytest.raises(ConfigError, match="mask of 10 booleans"):
            clipper.clipped_sum(batch)
    with pytest.raises(ConfigError, match="one loss for each row"):
        GradientClipper(model, x, y, 1.0, row_losses=functional.cross_entropy)
    with pytest.raises(ConfigError, match="nothing to train"):
        GradientClipper(model.requires_grad_(False), x, y, 1.0)


def test_a_sum_shows_no_values() -> None:
    model = nn.Sequential(nn.Linear(6, 2))
    clipped = GradientClipper(model, *data(10, 6, 2), 1.0).clipped_sum(np.ones(10, bool))
    assert repr(clipped) == f"ClippedSum(l2_sensitivity={clipped.l2_sensitivity!r})"
    assert list(clipped.arrays) == list(get_arrays(model))


def test_a_frozen_backbone_with_public_statistics_may_stay() -> None:
    backbone = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5)).requires_grad_(False).eval()
    x, y = data(30, 6, 2)
    clipper = GradientClipper(nn.Sequential(backbone, nn.Linear(5, 2)), x, y, 0.3)
    assert clipper.method == "vmap"
    assert clipper.assumption
    assert clipper.clipped_sum(np.ones(30, bool)).flat.any()
    backbone.train()
    with pytest.raises(ConfigError, match="mixes the rows"):
        GradientClipper(nn.Sequential(backbone, nn.Linear(5, 2)), x, y, 0.3)
