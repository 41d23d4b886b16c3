"""Arrays as people have them: what goes in and comes back right, and what is refused with a remedy.

With torch itself, so that what it calls a tensor today is what is tried.
"""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from privfed import secagg
from privfed.errors import ConfigError
from tests.secagg.parties import Round, parameters

FLOATS = [
    "float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2",
    "float8_e4m3fnuz", "float8_e5m2fnuz",
]  # fmt: skip


def mean_of(*sent: Any, **settings: Any) -> secagg.MeanResult:
    layout = secagg.Layout.of(sent[0])
    settings = {"clip_range": 4.0, "bits": 24, "max_weight": None, "layout": layout} | settings
    return Round.of(parameters(len(sent), **settings)).run(sent)


def net() -> Any:
    """A small CNN with BatchNorm, whose counters do not travel, and tied weights."""
    torch.manual_seed(4)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(1, 3, 3), torch.nn.BatchNorm2d(3), torch.nn.Flatten(),
        torch.nn.Linear(12, 12), torch.nn.Linear(12, 12),
    )  # fmt: skip
    model[4].weight = model[3].weight
    return model


def test_the_mean_goes_into_the_model_strictly() -> None:
    model, other = net(), net()
    with torch.no_grad():
        for each in other.parameters():
            each.mul_(0.5)
    other[1].num_batches_tracked += 7
    result = mean_of(model.state_dict(), other.state_dict())
    taken = result.state_dict(like=other)
    other.load_state_dict(taken)  # strict
    assert list(taken) == list(other.state_dict())
    assert int(other[1].num_batches_tracked) == 7
    assert torch.allclose(other[0].weight, model[0].weight * 0.75, atol=1e-6)
    assert other[4].weight is other[3].weight  # tied weights stay tied
    assert torch.equal(taken["3.weight"], taken["4.weight"])
    assert not any(each.requires_grad for each in taken.values())
    from_dict = result.state_dict(like=model.state_dict())
    assert all(torch.equal(from_dict[name], taken[name]) for name in result.mean)


def test_what_is_returned_is_a_copy() -> None:
    model = net()
    result = mean_of(model.state_dict(), model.state_dict())
    result.state_dict(model)["0.weight"].zero_()
    result.state_dict({name: np.array(each) for name, each in result.mean.items()})["0.bias"][:] = 0
    assert np.any(result.mean["0.weight"])
    assert np.any(result.mean["0.bias"])


@pytest.mark.parametrize("kind", FLOATS)
def test_floats_of_every_kind_go_in_exactly_and_come_back_rounded(kind: str) -> None:
    of = getattr(torch, kind)
    values = torch.tensor([[0.5, -1.75, 0.0], [1.0, 0.125, -0.0625]]).to(of)
    sent = {"w": values}
    (view,) = secagg.Layout.of(sent).flat(sent)
    assert view.tolist() == values.to(torch.float64).reshape(-1).tolist()
    exact = {"clip_range": (2**23 - 1) / 2**20, "bits": 24}  # steps of 2^-20
    back = mean_of(sent, sent, **exact).state_dict(like=sent)["w"]
    assert (back.dtype, back.device, back.shape) == (of, values.device, values.shape)
    assert back.to(torch.float64).tolist() == values.to(torch.float64).tolist()


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_numpy_arrays_come_back_as_they_are(kind: Any) -> None:
    sent: dict[str, Any] = {
        "w": np.array([[0.5, -1.75]], kind), "s": np.array(0.25, kind), "n": np.float64(1.5),
        "none": np.zeros((0, 3), kind), "steps": np.int64(5),
    }  # fmt: skip
    back = mean_of(sent, sent).state_dict(like=sent)
    for name, each in sent.items():
        assert type(back[name]) is type(each)
        assert (back[name].dtype, back[name].shape) == (each.dtype, each.shape)
        assert np.allclose(back[name], each, atol=1e-6)


def test_shapes_and_strides_of_every_kind() -> None:
    whole = torch.arange(24.0).reshape(2, 3, 4) / 24
    sent = {
        "transposed": whole.permute(2, 0, 1),
        "strided": whole[:, ::2, 1::2],
        "expanded": torch.tensor([0.5]).expand(4),
        "negative": torch.complex(whole, whole).conj().imag,  # a view with torch's negative bit
        "channels-last": whole[None].contiguous(memory_format=torch.channels_last),
        "grad": whole.clone().requires_grad_(),
        "parameter": torch.nn.Parameter(whole.clone()),
        "scalar": torch.tensor(0.25),
        "empty": torch.zeros(0, 3),
    }
    back = mean_of(sent, sent).state_dict(like=sent)
    for name, each in sent.items():
        assert (back[name].shape, back[name].dtype) == (each.shape, each.dtype)
        assert torch.allclose(back[name], each.detach(), atol=1e-6), name


def test_a_frozen_base_under_adapters_is_kept() -> None:
    model: Any = torch.nn.ModuleDict(
        {"base": torch.nn.Linear(4, 4), "adapter": torch.nn.Linear(4, 2)}
    )
    adapters = {name: each for name, each in model.state_dict().items() if "adapter" in name}
    result = mean_of(adapters, {name: each * 0 for name, each in adapters.items()})
    before = model["base"].weight.clone()
    model.load_state_dict(result.state_dict(like=model))
    assert torch.equal(model["base"].weight, before)
    assert torch.allclose(model["adapter"].bias, adapters["adapter.bias"])


class Wrapped(torch.nn.Module):
    """Like DistributedDataParallel, which needs a process group: it holds `module`."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.module = model


class CompiledLike(torch.nn.Module):
    """Like what torch.compile returns: it holds `_orig_mod`."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self._orig_mod = model


def compiled(model: Any) -> Any:
    return torch.compile(model, backend="eager")


@pytest.mark.parametrize(
    ("wrap", "said"),
    [
        (torch.nn.DataParallel, r"'module'.*model\.module"),
        (Wrapped, r"'module'.*DistributedDataParallel.*model\.module"),
        (CompiledLike, r"'_orig_mod'.*torch\.compile.*model\._orig_mod"),
        (lambda model: Wrapped(CompiledLike(model)), "'module'"),
        pytest.param(compiled, "'_orig_mod'", marks=pytest.mark.slow),  # loads its compiler
    ],
)
def test_names_that_a_wrapper_changed(wrap: Callable[[Any], Any], said: str) -> None:
    model = net()
    result = mean_of(model.state_dict(), model.state_dict())
    wrapped = wrap(model)
    plain = secagg.Layout.of(model.state_dict())
    with pytest.raises(
        ConfigError, match=f"outside the agreed layout: .*: names have a part {said}"
    ):
        plain.flat(wrapped.state_dict())
    with pytest.raises(ConfigError, match=f"the layout's names have a part {said.split('.')[0]}"):
        secagg.Layout.of(wrapped.state_dict()).flat(model.state_dict())
    with pytest.raises(ConfigError, match=rf"`like` lacks array '0\.bias' .* a part {said}"):
        result.state_dict(like=wrapped)


def test_arrays_that_lack_some_or_have_more() -> None:
    arrays = {"a": np.zeros(2), "b": np.zeros(2)}
    layout = secagg.Layout.of(arrays)
    with pytest.raises(ConfigError, match=r"'b' of the agreed layout is missing: .*adapters, make"):
        layout.flat({"a": arrays["a"]})
    with pytest.raises(ConfigError, match=r"outside the agreed layout: \['c'\]: give those of the"):
        layout.flat(arrays | {"c": np.zeros(2)})
    with pytest.raises(ConfigError, match=r"\['c'\]: and 'b' is missing: give the arrays that"):
        layout.flat({"a": np.zeros(2), "c": np.zeros(2)})
    result = mean_of(arrays, arrays)
    with pytest.raises(
        ConfigError, match="`like` lacks array 'b' of the mean: give the model that"
    ):
        result.state_dict({"a": np.zeros(2)})
    with pytest.raises(ConfigError, match=r"'b' of `like` has shape \[3\], the mean \[2\]"):
        result.state_dict({"a": np.zeros(2), "b": torch.zeros(3)})
    for whole in (np.zeros(2, int), torch.zeros(2, dtype=torch.int64)):
        with pytest.raises(ConfigError, match="'b' of `like` holds integers"):
            result.state_dict({"a": np.zeros(2), "b": whole})


def _quantised() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, that its own quantisation moves to torchao
        return torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)


def _csr() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, that these are in beta
        return torch.ones(2, 2).to_sparse_csr()


REFUSED: list[tuple[Callable[[], Any], str]] = [
    (lambda: torch.ones(2).to_sparse(), r"'w' is sparse: .*\.to_dense\(\)"),
    (_csr, r"'w' is sparse: .*\.to_dense\(\)"),
    (_quantised, r"'w' is quantised: .*\.dequantize\(\)"),
    (lambda: torch.ones(2, dtype=torch.complex64), r"'w' holds complex numbers: .*\.real"),
    (lambda: torch.ones(2, device="meta"), r"'w' is on the meta device .*to_empty"),
    (lambda: torch.nn.LazyLinear(3).weight, "'w' has no shape yet: run the model on a batch"),
    (
        lambda: torch.zeros(2, dtype=torch.float4_e2m1fn_x2),
        "'w' is of a rare kind, .*float4.*: give it by",
    ),
    (lambda: np.ones(2, complex), r"'w' holds complex numbers: .*\.real"),
    (lambda: np.array([None, 1]), "'w' holds Python objects: give numbers, or leave it out"),
    (lambda: np.array(["a"]), "'w' holds text: leave it out"),
    (lambda: np.array([b"a"]), "'w' holds text: leave it out"),
    (lambda: np.zeros(2, "datetime64[s]"), r"'w' holds datetime64\[s\]: .*astype"),
    (lambda: np.ma.masked_less(np.ones(2), 0), r"'w' is masked: .*\.filled\(\)"),
    (lambda: [1.0, 2.0], r"'w' must be .*, not list: give numpy\.asarray"),
    (lambda: 1.5, r"'w' must be .*, not float: give numpy\.asarray"),
    (lambda: {"extra": 1}, "'w' must be .*, not dict: .*leave it out"),
    (lambda: None, "'w' must be .*, not NoneType: .*leave it out"),
]


@pytest.mark.parametrize(("make", "said"), REFUSED)
def test_arrays_of_other_kinds_are_refused_with_the_remedy(
    make: Callable[[], Any], said: str
) -> None:
    array = make()
    with pytest.raises(ConfigError, match=said):
        secagg.Layout.of({"a": np.zeros(2), "w": array})
    layout = secagg.Layout((("a", (2,)), ("w", (2,))))
    with pytest.raises(ConfigError, match=said):
        layout.flat({"a": np.zeros(2), "w": array})


@pytest.mark.parametrize(("make", "said"), REFUSED)
def test_a_mean_goes_into_no_such_array(make: Callable[[], Any], said: str) -> None:
    sent = {"w": np.ones(2)}
    with pytest.raises(ConfigError, match="'w'"):
        mean_of(sent, sent).state_dict({"w": make()})
