"""Planted models and losses whose rows look at each other: harmless, or refused by name.

Harmless: a row more or fewer changes the sum by just what that row gives alone, to the bit.
Refused: before a row of somebody's is read.
"""

from __future__ import annotations

import copy
import random
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from privfed.errors import ConfigError, PrivacyWarning
from privfed.training import GradientClipper
from privfed.training.clipping import cross_entropy_by_row
from privfed.training.row_kernels import RowLosses

ROWS, CLIP = 30, 0.3


def data() -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(1)
    return torch.randn(ROWS, 6, generator=draw), torch.randint(2, (ROWS,), generator=draw)


class Mixed(nn.Module):
    def __init__(self, mix: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last, self.mix = nn.Linear(6, 5), nn.Linear(5, 2), mix

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.last(self.mix(self.first(x)))
        return scores


class Remembers(nn.Module):
    """Adds the mean of the rows that it saw before."""

    seen: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        before, self.seen = self.seen, x.detach().mean(dim=0)
        return x if before is None else x + before


class Collects(nn.Module):
    """The same in a list, which grows."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x.detach().mean(dim=0))
        return x + len(self.seen) + self.seen[0]


class Counts(nn.Module):
    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x * self.calls


class Running(nn.Module):
    """Statistics that follow the rows in place, whatever the mode, and centre those that come."""

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(5, dtype=dtype))

    def forward(self, x: Tensor) -> Tensor:
        mean = self.get_buffer("mean")
        centred = x - (mean.real if mean.is_complex() else mean)
        mean.mul_(0.9).add_(0.1 * x.detach().mean(dim=0))
        return centred


class Cyclic(torch.autograd.Function):
    """Nothing forward; backward a row has the gradient of another, too."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient + gradient.roll(1, 0)


def cyclic(x: Tensor) -> Tensor:
    result: Tensor = Cyclic.apply(x)  # type: ignore[no-untyped-call]
    return result


CALLS = [0]


def counted(x: Tensor) -> Tensor:
    """A counter outside of the model."""
    CALLS[0] += 1
    return x * CALLS[0]


def triggered(x: Tensor) -> Tensor:
    """Mixes where a row is large, without reading a number."""
    return torch.where(x.abs().amax() > 1e3, x - x.mean(dim=0), x)


def rows_as_words(x: Tensor) -> Tensor:
    return torch.softmax(x @ x.T, dim=1) @ x


# What mixes, by kind, and what is said of it where it is harmless, as vmap keeps rows apart.
APART: dict[str, tuple[Callable[[], Callable[[Tensor], Tensor]], str]] = {
    "batch centring": (lambda: lambda x: x - x.mean(dim=0), "mean in the model (Mixed)"),
    "batch maximum": (lambda: lambda x: x / (1 + x.abs().amax()), "amax in"),
    "softmax over rows": (lambda: lambda x: torch.softmax(x, dim=0), "softmax in"),
    "sorted rows": (lambda: lambda x: x.sort(dim=0).values, "sort in"),
    "rolled rows": (lambda: lambda x: x + x.roll(1, dims=0), "roll in"),
    "cumulative sum": (lambda: lambda x: x.cumsum(dim=0), "cumsum in"),
    "attention over rows": (lambda: rows_as_words, "matmul in"),
    "place in the batch": (lambda: lambda x: x * torch.arange(len(x))[:, None], "mul in"),
    "state on the model": (Remembers, ""),
    "state in a list": (Collects, "mean in layer 'mix' (Collects)"),
    "counter on the model": (Counts, ""),
    "running statistics": (Running, ""),
    "complex buffer": (lambda: Running(torch.complex64), ""),
    "backward alone": (lambda: cyclic, ""),
    "trigger": (lambda: triggered, ""),
}
REFUSED: dict[str, tuple[Callable[[], Callable[[Tensor], Tensor]], str]] = {
    "functional dropout": (
        lambda: lambda x: functional.dropout(x, 0.5, training=True),
        r"dropout in the model \(Mixed\) gives the same rows something else from call to call",
    ),
    "torch's noise": (lambda: lambda x: x + torch.randn_like(x), "randn_like in the model"),
    "python's randomness": (lambda: lambda x: x * random.random(), "mul in the model"),  # noqa: S311
    "numpy's randomness": (lambda: lambda x: x * float(np.random.rand()), "mul in the model"),
    "counter outside": (lambda: counted, "mul in the model.*from call to call"),
    "BatchNorm in training": (lambda: nn.BatchNorm1d(5), r"layer 'mix' \(BatchNorm1d\) mixes"),
    "functional BatchNorm": (
        lambda: lambda x: functional.batch_norm(x, None, None, training=True),
        "several rows and no single one.*mixes the rows",
    ),
}
LOSSES: dict[str, tuple[RowLosses, str]] = {
    "centred scores": (
        lambda scores, labels: cross_entropy_by_row(scores - scores.mean(dim=0), labels),
        "mean in row_losses",
    ),
    "weighed by the batch": (
        lambda scores, labels: cross_entropy_by_row(scores, labels) * (labels + 0.5).mean(),
        "mean in row_losses",
    ),
    "contrastive": (
        lambda scores, labels: -torch.log_softmax(scores @ scores.T, dim=1).diagonal(),
        "in row_losses",
    ),
}


def sums_of_neighbours(clipper: GradientClipper) -> None:
    whole = clipper.clipped_sum(np.ones(ROWS, bool)).flat
    for row in range(ROWS):
        only = np.arange(ROWS) == row
        alone = clipper.clipped_sum(only).flat
        assert np.array_equal(whole - clipper.clipped_sum(~only).flat, alone)
        assert np.linalg.norm(alone) <= CLIP
    assert np.array_equal(whole, clipper.clipped_sum(np.ones(ROWS, bool)).flat)


def made(model: nn.Module, says: str, **settings: Any) -> GradientClipper:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        clipper = GradientClipper(model, *data(), CLIP, **settings)
    assert [str(each.message)[: len(says)] for each in said] == ([says] if says else [])
    assert all(issubclass(each.category, PrivacyWarning) for each in said)
    assert all(each.filename == __file__ for each in said)
    if says:
        assert "here every row is as if alone in its batch" in str(said[0].message)
    return clipper


@pytest.mark.parametrize("kind", APART)
def test_a_mixing_that_is_kept_apart_is_harmless_and_said(kind: str) -> None:
    make, says = APART[kind]
    mix = make()
    model = Mixed(mix)
    buffers = [buffer.clone() for buffer in model.buffers()]
    state = [sorted(vars(module)) for module in model.modules()]
    sums_of_neighbours(made(model, says))
    assert all(map(torch.equal, buffers, model.buffers()))  # what rows leave on a model is gone
    assert [sorted(vars(module)) for module in model.modules()] == state
    if isinstance(mix, Collects):
        assert mix.seen == []


@pytest.mark.parametrize("kind", LOSSES)
def test_a_loss_that_looks_at_the_batch_sees_one_row(kind: str) -> None:
    loss, says = LOSSES[kind]
    with pytest.warns(PrivacyWarning, match=says):
        clipper = GradientClipper(Mixed(torch.tanh), *data(), CLIP, row_losses=loss)
    sums_of_neighbours(clipper)


class CountingLoss(nn.Module):
    """Weighs a row by how often it was called."""

    calls = 0

    def forward(self, scores: Tensor, labels: Tensor) -> Tensor:
        self.calls += 1
        return cross_entropy_by_row(scores, labels) / self.calls


def test_what_a_loss_keeps_is_gone_with_its_copy() -> None:
    loss = CountingLoss()
    sums_of_neighbours(GradientClipper(Mixed(torch.tanh), *data(), CLIP, row_losses=loss))
    assert loss.calls == 0


def test_a_layer_that_changes_its_weights_when_called_leaves_them() -> None:
    """`max_norm` shortens the vectors of the ids that it is asked for."""
    torch.manual_seed(0)
    table = nn.Embedding(9, 4, max_norm=0.1)
    model = nn.Sequential(table, nn.Flatten(), nn.Linear(8, 2))
    before = table.weight.detach().clone()
    ids = torch.randint(9, (ROWS, 2))
    sums_of_neighbours(GradientClipper(model, ids, data()[1], CLIP))
    assert torch.equal(table.weight, before)


class Untouchable(torch.utils.data.Dataset[Any]):
    """Rows of somebody's: to read one is the fault."""

    def __len__(self) -> int:
        return ROWS

    def __getitem__(self, place: int) -> Any:
        raise AssertionError("a private row was read")


@pytest.mark.parametrize("kind", [*REFUSED, *APART])
def test_no_row_of_anybodys_is_read_before_a_batch_has_it(kind: str) -> None:
    """Neither by a refusal, which would tell of it, nor by what is said."""
    mix, says = (REFUSED | APART)[kind]

    def build() -> None:
        GradientClipper(Mixed(mix()), Untouchable(), None, CLIP, public_rows=data())

    if kind in REFUSED:
        with pytest.raises(ConfigError, match=says):
            build()
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PrivacyWarning)
            build()


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("kind", REFUSED)
def test_a_mixing_that_nothing_keeps_apart_is_refused_by_name(kind: str, strict: bool) -> None:
    mix, says = REFUSED[kind]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*each row is computed alone", PrivacyWarning)
        with pytest.raises(ConfigError, match=says):
            GradientClipper(Mixed(mix()), *data(), CLIP, strict=strict)


class Hooked(nn.Module):
    """Reads a number, so that vmap does not take it; then mixes, always or when a row says so."""

    def __init__(self, above: float) -> None:
        super().__init__()
        self.above = above

    def forward(self, x: Tensor) -> Tensor:
        return x - x.mean(dim=0) if x.abs().max().item() > self.above else x


def test_hooks_refuse_what_mixes_rows_of_no_one() -> None:
    with pytest.raises(ConfigError, match=r"in layer 'mix' \(Hooked\) mixes the rows"):
        GradientClipper(Mixed(Hooked(0.0)), *data(), CLIP)


def test_a_trigger_on_private_values_escapes_hooks_and_no_strict_mode() -> None:
    """The limit of looking at rows of no one: it is stated, and `strict` does not have it."""
    x, y = data()
    x[7] *= 1e6
    clipper = GradientClipper(Mixed(Hooked(1e5)), x, y, CLIP)
    assert clipper.method == "opacus"
    assert "take each row by itself, whatever rows hold" in clipper.assumption
    only = np.arange(ROWS) == 7
    difference = clipper.clipped_sum(np.ones(ROWS, bool)).flat - clipper.clipped_sum(~only).flat
    assert np.linalg.norm(difference) > 1.5 * CLIP
    with pytest.warns(PrivacyWarning, match="each row is computed alone"):
        clipper = GradientClipper(Mixed(Hooked(1e5)), x, y, CLIP, strict=True)
    assert clipper.method == "row by row"
    sums_of_neighbours(clipper)


class Watching(nn.Module):
    """Keeps the largest number that it saw, through a function that holds the model itself."""

    top: Tensor

    def __init__(self, way: str) -> None:
        super().__init__()
        self.inner = nn.Linear(6, 2)
        self.register_buffer("top", torch.zeros(()))
        self.seen: list[float] = []
        seen, top = self.seen, self.top

        def remember(layer: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> None:
            largest = given[0].detach().abs().max()
            if way == "a buffer":
                top.copy_(torch.maximum(top, largest))
            elif way == "a list":
                seen.append(float(largest))
            else:
                self.seen.append(float(largest))

        def by_default(
            layer: nn.Module, given: tuple[Tensor, ...], out: Tensor, at: Watching = self
        ) -> None:
            at.top.copy_(given[0].detach().abs().max())

        self.inner.register_forward_hook(by_default if way == "a default" else remember)

    def forward(self, rows: Tensor) -> Tensor:
        scores: Tensor = self.inner(rows)
        return scores


class Uncopied(nn.Linear):
    """Is its own copy."""

    def __deepcopy__(self, memo: object) -> Uncopied:
        return self


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("way", ["a buffer", "a list", "the model", "a default", "no copy"])
def test_what_rows_would_leave_on_the_model_itself_is_refused(way: str, strict: bool) -> None:
    """deepcopy leaves functions as they are: without the check 777 is in the state_dict then."""
    model = nn.Sequential(Uncopied(6, 2)) if way == "no copy" else Watching(way)
    before = copy.deepcopy(model.state_dict())
    rows, labels = torch.full((4, 6), 777.0), torch.zeros(4, dtype=torch.int64)
    with pytest.raises(ConfigError, match=r"layer '.*' .*(holds a part of|has no copy)"):
        GradientClipper(model, rows, labels, 1.0, row_losses=by_row, strict=strict)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


def by_row(scores: Tensor, labels: Tensor) -> Tensor:
    return nn.functional.cross_entropy(scores, labels, reduction="none")


class Rounded(torch.autograd.Function):
    """What a kernel does to gradients whose rounding depends on a row's place in a tile."""

    generate_vmap_rule = False

    @staticmethod
    def forward(gradient: Tensor) -> Tensor:
        return gradient.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        """Keep nothing."""

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int, ...], gradient: Tensor) -> tuple[Tensor, int]:
        places = torch.arange(len(gradient)).reshape(-1, *[1] * (gradient.dim() - 1))
        return gradient + 3e-6 * (places % 2), 0


class ByPlace(torch.autograd.Function):
    """Such a kernel, whose forward is exact."""

    generate_vmap_rule = True

    @staticmethod
    def forward(scores: Tensor) -> Tensor:
        return scores.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        """Keep nothing."""

    @staticmethod
    def backward(ctx: Any, *gradient: Tensor) -> Tensor:
        rounded: Tensor = Rounded.apply(gradient[0])  # type: ignore[no-untyped-call]
        return rounded


def test_rounding_of_saturated_rows_is_no_mixing() -> None:
    """Such rows' gradients are rounding alone, as large as they are: an honest model trains."""
    torch.manual_seed(0)
    model = nn.Linear(6, 2)
    with torch.no_grad():
        model.weight.mul_(30)  # most rows are certain

    def loss(scores: Tensor, labels: Tensor) -> Tensor:
        scores = ByPlace.apply(scores)  # type: ignore[no-untyped-call]
        return functional.cross_entropy(scores, labels, reduction="none")

    rows, labels = torch.randn(20, 6), torch.zeros(20, dtype=torch.int64)
    made = GradientClipper(model, rows, labels, 1.0, row_losses=loss)
    assert made.method == "vmap"
    assert "place" not in made.assumption  # each row has a place of its own
