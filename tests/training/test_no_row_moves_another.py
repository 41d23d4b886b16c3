"""The hunt for a row that moves another row's contribution: none is found, whatever the kernels.

Rows lie on a ReLU's kink, up to the last bit, so that any difference in rounding flips a whole
gradient. Sums over batches that grow by one row must differ by just what that row gives alone.
"""

import hashlib
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from privfed.errors import ConfigError, PrivacyWarning
from privfed.training import GradientClipper, exact_stack, exact_stack_compiled, row_kernels
from tests.places import ROOT
from tests.waiting import LONG_SECONDS

CLIP, LARGEST = 1.0, 257
CORES = ("", "Nehalem", "Haswell", "SkylakeX")
WIDTHS = ((12, 1, 2), (64, 10, 2), (12, 128, 32, 2), (7, 5, 3), (3, 9, 9, 4))
Sum = Callable[[np.ndarray], np.ndarray]


def stack(widths: tuple[int, ...], dtype: torch.dtype = torch.float64) -> nn.Sequential:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1]).to(dtype)


def on_the_kink(model: nn.Sequential, rows: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Rows whose first hidden unit's input is zero but for rounding."""
    first = model[0]
    assert isinstance(first, nn.Linear)
    weight = first.weight[0].detach().double().numpy()
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, len(weight))) * 10.0 ** rng.integers(-2, 3, (rows, 1))
    # No product of the library's: the rows are to be the same whatever its kernels.
    rest = (x[:, 1:] * weight[1:]).cumsum(axis=1)[:, -1] + first.bias[0].item()
    x[:, 0] = -rest / weight[0]
    labels = rng.integers(2, size=rows)
    return torch.from_numpy(x).to(first.weight.dtype), torch.from_numpy(labels)


def batches(rows: int) -> Iterator[tuple[np.ndarray, int]]:
    """Masks that grow by one row, in another order than that of the places; and that row."""
    order = np.random.default_rng(1).permutation(rows)
    for size in range(1, rows + 1):
        mask = np.zeros(rows, bool)
        mask[order[:size]] = True
        yield mask, int(order[size - 1])


def moved(total: Sum, rows: int, clip: float = CLIP) -> list[int]:
    """The sizes of batch at which one row more changed the sum by something else than itself."""
    found, before = [], total(np.zeros(rows, bool))
    for mask, row in batches(rows):
        after, alone = total(mask), total(np.arange(rows) == row)
        if not np.array_equal(after - before, alone) or norm(alone) > clip:
            found.append(int(mask.sum()))
        before = after
    return found


def norm(values: np.ndarray) -> float:
    """The norm, of values whose squares would underflow, too."""
    largest = np.abs(values).max() or 1.0
    return float(largest * np.linalg.norm(values / largest))


def summed(clipper: GradientClipper) -> Sum:
    return lambda mask: clipper.clipped_sum(mask).flat


def clipped(
    model: nn.Module, x: Tensor, y: Tensor, *, compiled: bool = True, clip: float = CLIP
) -> GradientClipper:
    clipper = GradientClipper(model, x, y, clip)
    stack_of = clipper._stack  # noqa: SLF001  (to choose between two ways of the same)
    if not compiled and stack_of is not None:
        stack_of._compiled = None  # noqa: SLF001  (as above)
    return clipper


def by_library(model: nn.Sequential, x: Tensor, y: Tensor) -> Sum:
    """The planted fault: the same sum, in float64, by the library's products."""

    def total(mask: np.ndarray) -> np.ndarray:
        chosen = torch.from_numpy(np.flatnonzero(mask))
        size = sum(each.numel() for each in model.parameters())
        if not len(chosen):
            return np.zeros(size)
        inputs, values = [], x[chosen].numpy()
        for layer in model:
            if isinstance(layer, nn.Linear):
                inputs.append(values)
                values = values @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()
            else:
                values = np.maximum(values, 0)
        delta = np.where(np.arange(values.shape[1]) == y[chosen].numpy()[:, None], -1.0, 1.0)
        parts = []
        linear = [layer for layer in model if isinstance(layer, nn.Linear)]
        for number in range(len(linear) - 1, -1, -1):
            given = inputs[number]
            parts.append(np.einsum("no,ni->noi", delta, given).reshape(len(delta), -1))
            parts.append(delta)
            delta = (delta @ linear[number].weight.detach().numpy()) * (given > 0)
        rows = np.concatenate(parts, axis=1)
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        whole = np.rint(rows * np.minimum(1, CLIP / (norms + 1e-6)) * 2.0**30)
        result: np.ndarray = whole.sum(axis=0) / 2.0**30
        return result

    return total


def test_the_hunt_finds_what_a_librarys_products_do() -> None:
    """By how many rows there are: this machine's own kernels, and what they can be told to be."""
    found = []
    for widths in WIDTHS:
        model = stack(widths)
        x, y = on_the_kink(model, 64)
        found += moved(by_library(model, x, y), 64)
    assert found


@pytest.mark.parametrize("widths", WIDTHS, ids=str)
@pytest.mark.parametrize("compiled", [True, False])
def test_no_row_moves_another(widths: tuple[int, ...], compiled: bool) -> None:
    rows = LARGEST if compiled else 40
    for dtype in (torch.float64, torch.float32):
        model = stack(widths, dtype)
        clipper = clipped(model, *on_the_kink(model, rows), compiled=compiled)
        assert clipper.method == "closed form"
        assert moved(summed(clipper), rows) == []


EXTREMES = (1e-100, 1e-8, 1e-6, 1e-3, 1e3, 1e100)


@pytest.mark.parametrize("clip", EXTREMES)
@pytest.mark.parametrize("compiled", [True, False])
def test_no_row_moves_another_at_any_clip_norm(clip: float, compiled: bool) -> None:
    for widths in ((64, 10, 2), (7, 5, 3)):
        model = stack(widths)
        x, y = on_the_kink(model, 30)
        x *= 10.0 ** torch.linspace(-150, 150, 30, dtype=torch.float64)[:, None]
        clipper = clipped(model, x, y, compiled=compiled, clip=clip)
        assert clipper.method == "closed form"
        assert moved(summed(clipper), 30, clip) == []


@pytest.mark.parametrize("clip", EXTREMES)
@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_squares_that_underflow_count_beside_a_huge_feature(
    clip: float, compiled: bool, bias: bool
) -> None:
    """20,000 classes that are all but impossible, each with a gradient whose square is 0."""
    model, feature = nn.Linear(1, 20_000, bias=bias).double(), 1.3e154
    with torch.no_grad():
        model.weight[:] = -372.6 / feature
        model.weight[0] = 500 / feature
        if bias:
            model.bias.zero_()
    x, y = torch.tensor([[feature]], dtype=torch.float64), torch.zeros(1, dtype=torch.int64)
    clipper = clipped(nn.Sequential(model), x, y, compiled=compiled, clip=clip)
    assert clipper.method == "closed form"
    alone = clipper.clipped_sum(np.ones(1, bool)).flat
    assert norm(alone) <= clip
    assert clip > 1 or norm(alone) > 0  # a grid of the largest norm is coarser than the gradient


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("between", [nn.Tanh, nn.SiLU, nn.GELU, nn.Softplus, nn.PReLU])
@pytest.mark.parametrize("widths", [(6, 5, 9, 2), (12, 32, 16, 8)], ids=str)
def test_no_row_moves_another_in_tiles(
    widths: tuple[int, ...], between: type[nn.Module], dtype: torch.dtype
) -> None:
    """Rows of odd length are rounded by their place, which the start finds, others are not."""
    model = stack(widths, dtype)
    model[3] = between().to(dtype)
    x, y = on_the_kink(model, 80)
    clipper = clipped(model, x, y)
    assert clipper.method == "vmap"
    assert moved(summed(clipper), 80) == []


class ReadsANumber(nn.Module):
    """Which vmap does not take."""

    def __init__(self, inner: nn.Sequential) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.inner(x) + 0 * float(x.isnan().any().item())
        return scores


@pytest.mark.parametrize("widths", [(6, 5, 9, 2), (12, 32, 16, 8)], ids=str)
@pytest.mark.parametrize("method", ["opacus", "row by row"])
def test_no_row_moves_another_by_hooks_or_alone(widths: tuple[int, ...], method: str) -> None:
    inner = stack(widths, torch.float32)
    x, y = on_the_kink(inner, 40)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*each row is computed alone", PrivacyWarning)
        clipper = GradientClipper(ReadsANumber(inner), x, y, CLIP, strict=method != "opacus")
    assert clipper.method == method
    assert moved(summed(clipper), 40) == []


def test_places_and_threads_change_nothing() -> None:
    model = stack((12, 128, 32, 2))
    x, y = on_the_kink(model, 100)
    turn = torch.from_numpy(np.random.default_rng(0).permutation(100))
    before, sums = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            for rows in (slice(None), turn):
                mask = np.ones(100, bool)
                sums.append(clipped(model, x[rows], y[rows]).clipped_sum(mask).flat)
    finally:
        torch.set_num_threads(before)
    assert all(each.tobytes() == sums[0].tobytes() for each in sums)


def digest() -> str:
    """What the closed form gives, and whether the hunt in tiles finds something."""
    hashed = hashlib.sha256()
    for widths in WIDTHS:
        model = stack(widths)
        x, y = on_the_kink(model, 64)
        hashed.update(clipped(model, x, y).clipped_sum(np.ones(64, bool)).flat.data)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2), nn.Tanh())
    tiles = clipped(model, *on_the_kink(model, 40))
    found = moved(summed(tiles), 40)
    return f"{hashed.hexdigest()} {found}"


def test_no_kernel_of_the_machine_changes_the_closed_form() -> None:
    """Rows are made by products of the library's, and so here for all; sums are not."""
    said = set()
    command = "from tests.training.test_no_row_moves_another import digest; print(digest())"
    for core in CORES:
        environment = dict(os.environ)
        environment.pop("OPENBLAS_CORETYPE", None)  # an environment that sets it hides the worst
        if core:
            environment["OPENBLAS_CORETYPE"] = core
        done = subprocess.run(
            [sys.executable, "-c", command], cwd=ROOT, env=environment, capture_output=True,
            text=True, timeout=LONG_SECONDS, check=False,
        )  # fmt: skip
        if done.returncode < 0:
            continue  # this machine has no such instructions
        assert done.returncode == 0, done.stderr
        said.add(done.stdout)
    assert len(said) == 1
    assert said.pop().endswith(" []\n")


def test_compiled_code_that_rounds_otherwise_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted last bit in the kernel: the definition is taken, and said."""
    add = exact_stack_compiled.add_rows

    def fused(*arguments: Any) -> None:
        add(*arguments)
        arguments[-1][0] += 1.0

    model = stack((4, 3, 2))
    x, y = on_the_kink(model, 9)
    wanted = clipped(model, x, y).clipped_sum(np.ones(9, bool)).flat
    exact_stack._checked.cache_clear()  # noqa: SLF001  (another kernel, planted)
    try:
        monkeypatch.setattr(exact_stack_compiled, "add_rows", fused)
        with pytest.warns(PrivacyWarning, match="compiled code rounds differently"):
            clipper = clipped(model, x, y)
    finally:
        exact_stack._checked.cache_clear()  # noqa: SLF001  (as above)
    assert np.array_equal(clipper.clipped_sum(np.ones(9, bool)).flat, wanted)


def planted(monkeypatch: pytest.MonkeyPatch, *kernels: str, by: str) -> None:
    """Last bits that the first feature of the row before, or the place, chooses."""
    for name in kernels:
        kind = getattr(row_kernels, name)
        honest = kind.__call__

        def rounds(
            self: Any, features: Tensor, labels: Tensor, honest: Any = honest
        ) -> list[Tensor]:
            found: list[Tensor] = honest(self, features, labels)
            chosen = features[:, 0] > 0
            if by == "place":
                chosen = torch.arange(len(features)) % 3 == 0
            up = chosen.roll(1)[:, None, None]  # a gradient of zero stays so
            found[0] = torch.where(up, found[0] * (1 + 2.0**-20), found[0])
            return found

        monkeypatch.setattr(kind, "__call__", rounds)


def by_tanh() -> tuple[nn.Module, Tensor, Tensor]:
    model = stack((6, 8, 2))
    model[1] = nn.Tanh()
    return model, *on_the_kink(model, 9)


def test_a_kernel_that_rounds_by_what_is_beside_is_left_for_rows_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, x, y = by_tanh()
    wanted = GradientClipper(model, x, y, CLIP, strict=True).clipped_sum(np.ones(9, bool)).flat
    planted(monkeypatch, "VmapRows", by="others")
    with pytest.warns(PrivacyWarning, match="by what other rows hold: each row is computed alone"):
        clipper = clipped(model, x, y)
    assert clipper.method == "row by row"
    assert moved(summed(clipper), 9) == []
    assert np.allclose(clipper.clipped_sum(np.ones(9, bool)).flat, wanted, rtol=0, atol=1e-9)


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("zeros", [False, True])
def test_a_kernel_that_rounds_by_the_place_gives_each_row_its_own(
    monkeypatch: pytest.MonkeyPatch, strict: bool, zeros: bool
) -> None:
    """Found also where the model's own weights hide it: behind a last layer of zeros."""
    model, x, y = by_tanh()
    assert "or by its place" in GradientClipper(model, x, y, CLIP).assumption
    planted(monkeypatch, "VmapRows", by="place")
    weights = [each.detach().clone() for each in model.parameters()]
    with torch.no_grad():
        for each in list(model.parameters())[2:]:
            each.mul_(not zeros)
    clipper = GradientClipper(model, x, y, CLIP, strict=strict)
    with torch.no_grad():
        for each, before in zip(model.parameters(), weights, strict=True):
            each.copy_(before)
    assert clipper.method == "vmap"
    assert "by its place" not in clipper.assumption
    assert moved(summed(clipper), 9) == []


def test_rounding_by_what_was_computed_before_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even of rows alone: nothing slower is left."""
    model, x, y = by_tanh()
    planted(monkeypatch, "VmapRows", by="others")
    honest, calls = row_kernels.AloneRows.__call__, [0]

    def in_turn(self: Any, features: Tensor, labels: Tensor) -> list[Tensor]:
        calls[0] += 1
        found = honest(self, features, labels)
        return [values.nextafter(values + 1) if calls[0] % 5 == 0 else values for values in found]

    monkeypatch.setattr(row_kernels.AloneRows, "__call__", in_turn)
    with (
        pytest.warns(PrivacyWarning, match="computed alone"),
        pytest.raises(ConfigError, match="rounds a row by what was computed before"),
    ):
        GradientClipper(model, x, y, CLIP)
