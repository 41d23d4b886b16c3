"""Files of torch.save: a zip file with a pickle, which tells of tensors, and their values apart."""

from __future__ import annotations

import zipfile
from collections.abc import Collection, Sequence
from itertools import islice
from typing import Any

import numpy.typing as npt

from privfed.cli.model_files.bounded import first_bytes, stand_in
from privfed.cli.model_files.inert_pickle import MOST_BYTES, Tensor, held
from privfed.errors import ConfigError

Arrays = dict[str, npt.NDArray[Any]]

_PICKLE, _SCRIPT = "data.pkl", "constants.pkl"
_SHOWN = 5


def is_one(archive: zipfile.ZipFile) -> bool:
    """Return whether torch.save, or TorchScript, made a zip file."""
    return any(name.rpartition("/")[2] == _PICKLE for name in archive.namelist())


def read(archive: zipfile.ZipFile, keys: Sequence[str]) -> Arrays:
    """Return arrays of the names, types and shapes of a state_dict's tensors.

    Args:
        archive: The file.
        keys: Where in it the state_dict lies, from the outside in.

    Raises:
        ConfigError: It is of something else than a state_dict, or the key is another one.
    """
    names = archive.namelist()
    if any(name.rpartition("/")[2] == _SCRIPT for name in names):
        raise ConfigError(
            "this is a program of TorchScript: save torch.jit.load(…).state_dict() by torch.save"
        )
    found = [name for name in names if name.count("/") == 1 and name.endswith(f"/{_PICKLE}")]
    if len(found) != 1:
        raise ConfigError("the file does not have one pickle in its place: save it again")
    pickle = first_bytes(archive, found[0], MOST_BYTES + 1)
    if len(pickle) > MOST_BYTES:
        raise ConfigError(f"the file's pickle has more than {MOST_BYTES} bytes: save fewer arrays")
    value = held(pickle)
    for key in keys:
        if not isinstance(value, dict) or key not in value:
            there = _listed(value if isinstance(value, dict) else ())  # a list's may be anything
            raise ConfigError(f"there is no key {key!r:.80} in it; there is {there}")
        value = value[key]
    return {name: _array(name, tensor) for name, tensor in _state_dict(value).items()}


def _state_dict(value: object) -> dict[str, Tensor]:
    """Return a dict of tensors alone, or refuse with where one may be."""
    if not isinstance(value, dict):
        raise ConfigError("it holds no dict of arrays: save model.state_dict() by torch.save")
    others = [key for key, each in value.items() if not isinstance(each, Tensor)]
    if wrong := [key for key in value if not isinstance(key, str)]:
        raise ConfigError(f"array names are text, and {wrong[0]!r:.40} is none: rename it")
    dicts = [key for key in others if isinstance(value[key], dict)]
    # By their first thing alone: many dicts may be one, and looked through as often.
    within = [k for k in dicts if isinstance(next(iter(value[k].values()), None), Tensor)] or dicts
    if within:
        raise ConfigError(
            f"this is a checkpoint, with arrays in {_listed(within)}: choose with --layout-key"
        )
    if others:
        raise ConfigError(f"{others[0]!r:.80} is no array: save model.state_dict() alone")
    return value


def _listed(keys: Collection[object]) -> str:
    names = [f"{key!r:.40}" for key in islice(keys, _SHOWN)]
    more = [f"{len(keys) - _SHOWN} more"] if len(keys) > _SHOWN else []
    return ", ".join([*names, *more]) or "none"


def _array(name: str, tensor: Tensor) -> npt.NDArray[Any]:
    kind = tensor.kind
    if kind.startswith(("bfloat", "float8")):  # numpy has none
        kind = "float32"
    if kind == "complex32":
        kind = "complex64"
    return stand_in(name, kind, tensor.shape)
