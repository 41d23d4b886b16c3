"""The layout in a file is the layout of the arrays that were saved in it."""

import math
import sys
from pathlib import Path
from subprocess import run
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from privfed.cli.model_files import layout_in
from privfed.errors import ConfigError
from privfed.secagg import Layout
from tests.cli.model_files.files import SAVERS, model, save_numpy

FLOATS = (torch.float16, torch.float32, torch.float64, torch.bfloat16)
WHOLE = (torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8, torch.bool)
NO_NUMPY = {torch.bfloat16}
NAMES = st.text(
    st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1, max_size=12
).filter(lambda name: not set(name) & set("/\\"))
SHAPES = st.lists(st.integers(0, 4), max_size=4)


@pytest.mark.parametrize("saver", SAVERS)
def test_a_model_s_file_has_the_model_s_layout(tmp_path: Path, saver: str) -> None:
    arrays = model().state_dict()
    SAVERS[saver](arrays, tmp_path / "file")
    layout = layout_in(tmp_path / "file")
    assert layout == Layout.of(arrays)
    assert layout.skipped == ("1.num_batches_tracked",)


@given(
    st.dictionaries(NAMES, st.tuples(st.sampled_from(FLOATS + WHOLE), SHAPES), max_size=6),
    st.sampled_from(sorted(SAVERS)),
)
def test_any_arrays_have_one_layout_in_any_file(
    tmp_path_factory: pytest.TempPathFactory, kinds: dict[str, Any], saver: str
) -> None:
    path = tmp_path_factory.mktemp("any") / "file"
    arrays = {
        name: torch.zeros(shape, dtype=kind)
        for name, (kind, shape) in {"first": (torch.float32, [1]), **kinds}.items()
        if not (saver.startswith("numpy") and kind in NO_NUMPY) and name != "file"
    }
    SAVERS[saver](arrays, path)
    assert layout_in(path) == Layout.of(arrays)


def test_no_value_is_read_and_no_torch_is_imported(tmp_path: Path) -> None:
    """A file with holes where values are: what it claims would fill 4 GB."""
    header = b'{"w":{"dtype":"F32","shape":[31250,31250],"data_offsets":[0,3906250000]}}'
    with (tmp_path / "large").open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + 3906250000)
    torch.save(model().state_dict(), tmp_path / "model.pt")
    program = """
import resource, sys
from pathlib import Path
from privfed.cli.model_files import layout_in
resource.setrlimit(resource.RLIMIT_AS, (1 << 31, 1 << 31))
print(layout_in(Path("large")).size, layout_in(Path("model.pt")).size)
assert not {"torch", "pickle5", "safetensors"} & sys.modules.keys()
"""
    done = run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    size = sum(math.prod(shape) for _, shape in Layout.of(model().state_dict()).entries)
    assert (done.stdout, done.stderr) == (f"{31250**2} {size}\n", "")


def test_parameters_views_and_tied_weights_have_their_shapes(tmp_path: Path) -> None:
    weight = torch.nn.Parameter(torch.zeros(4, 6))
    marked = torch.zeros(2)
    marked.note = "kept with the tensor"  # type: ignore[attr-defined]
    arrays = {
        "weight": weight,
        "tied": weight,
        "turned": weight.detach().T,
        "part": weight.detach()[1:3, ::2],
        "same": torch.zeros(1).expand(7),
        "marked": marked,
        "buffer": torch.nn.Buffer(torch.zeros(3)),
        "scalar": torch.tensor(1.0),
        "counts": torch.zeros(2, dtype=torch.uint16),
    }
    torch.save(arrays, tmp_path / "file")
    assert layout_in(tmp_path / "file") == Layout.of(arrays)


@pytest.mark.parametrize("kind", ["float8_e4m3fn", "float8_e5m2", "float8_e8m0fnu"])
def test_rare_floats_travel_as_floats(tmp_path: Path, kind: str) -> None:
    arrays = {"w": torch.zeros(3, 2).to(getattr(torch, kind))}
    torch.save(arrays, tmp_path / "a")
    save_file(arrays, tmp_path / "b")
    for name in "ab":
        assert layout_in(tmp_path / name) == Layout((("w", (3, 2)),))


def test_a_checkpoint_says_where_its_arrays_are(tmp_path: Path) -> None:
    net = model()
    moved = torch.optim.Adam(net.parameters())
    sum(each.sum() for each in net.parameters()).backward()  # type: ignore[union-attr]
    moved.step()
    arrays = net.state_dict()
    path = tmp_path / "checkpoint"
    torch.save({"model": arrays, "epoch": 3, "optimizer": moved.state_dict()}, path)
    with pytest.raises(ConfigError, match="arrays in 'model': choose with --layout-key"):
        layout_in(path)
    assert layout_in(path, ["model"]) == Layout.of(arrays)
    for keys, words in (
        (["ema"], "no key 'ema' in it; there is 'model', 'epoch', 'optimizer'"),
        (["model", "ema"], "no key 'ema' in it; there is '0.weight', .*, 3 more"),
        (["epoch", "ema"], "no key 'ema' in it; there is none"),
        (["epoch"], "holds no dict of arrays"),
        (["optimizer"], "arrays in 'state': choose"),
    ):
        with pytest.raises(ConfigError, match=words):
            layout_in(path, keys)
    torch.save({"trainer": {"model": arrays, "step": 1}}, path)
    assert layout_in(path, ["trainer", "model"]) == Layout.of(arrays)
    save_file(arrays, path)
    with pytest.raises(ConfigError, match="a key is one of a checkpoint of torch"):
        layout_in(path, ["model"])


class Whole(torch.nn.Linear):
    """A model of the user's own."""


def _quantised() -> torch.Tensor:
    return torch.quantize_per_tensor(torch.zeros(2), 0.1, 0, torch.qint8)


@pytest.mark.filterwarnings("ignore")  # torch's, of quantised, nested and scripted things
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Whole(2, 1), "asks for 'tests.*Whole'.*save model.state_dict"),
        (lambda: {"w": torch.zeros(2), "why": Path()}, "asks for 'pathlib.PosixPath'"),
        (lambda: {"w": torch.zeros(2), "best": np.float64(1)}, "asks for 'numpy.*scalar'"),
        (lambda: [torch.zeros(2)], "holds no dict of arrays"),
        (lambda: torch.zeros(2), "holds no dict of arrays"),
        (lambda: {"w": torch.zeros(2), "epoch": 3}, "'epoch' is no array"),
        (lambda: {0: torch.zeros(2)}, "array names are text, and 0 is none"),
        (dict, "1 to 1000000000 values, not 0"),
        (lambda: {"n": torch.zeros(2, dtype=torch.int32)}, "1 to 1000000000 values, not 0"),
        (lambda: {"w": torch.eye(2).to_sparse()}, "a sparse tensor: save its to_dense"),
        (lambda: {"w": torch.eye(2).to_sparse_csr()}, "a sparse tensor: save its to_dense"),
        (lambda: {"w": torch.zeros(2, device="meta")}, "on the meta device"),
        (lambda: {"w": _quantised()}, "a quantised tensor: save its dequantize"),
        (lambda: {"w": torch.nested.nested_tensor([torch.zeros(1)])}, "a nested tensor"),
        (lambda: {"w": torch.zeros(2, dtype=torch.complex64)}, "holds complex"),
        (lambda: {"w": torch.zeros(2, dtype=torch.complex32)}, "holds complex"),
    ],
)
def test_what_is_no_state_dict_is_refused_with_what_to_save(
    tmp_path: Path, make: Any, words: str
) -> None:
    torch.save(make(), tmp_path / "file")
    with pytest.raises(ConfigError, match=words) as refused:
        layout_in(tmp_path / "file")
    assert str(refused.value).startswith(f"{tmp_path / 'file'}: ")


@pytest.mark.filterwarnings("ignore")  # torch's, of scripts
def test_other_formats_are_named(tmp_path: Path) -> None:
    path = tmp_path / "file"
    torch.save(model().state_dict(), path, _use_new_zipfile_serialization=False)
    with pytest.raises(ConfigError, match=r"a torch before 1\.6.*with a newer torch\.save"):
        layout_in(path)
    torch.jit.script(model()).save(path)
    with pytest.raises(ConfigError, match=r"a program of TorchScript: save torch\.jit\.load"):
        layout_in(path)
    np.save(tmp_path / "one.npy", np.zeros(2))
    with pytest.raises(ConfigError, match=r"no file of numpy\.savez, of safetensors or of torch"):
        layout_in(tmp_path / "one.npy")
    save_numpy(path, {"w": np.zeros(2), "o": np.array([None, "text"], object)})
    with pytest.raises(ConfigError, match=r"'o\.npy' holds object, not real numbers"):
        layout_in(path)
    path.write_bytes(b"")
    with pytest.raises(ConfigError, match="no file of numpy"):
        layout_in(path)
    for gone in (tmp_path / "none", tmp_path):
        with pytest.raises(ConfigError, match="there is no such file"):
            layout_in(gone)
