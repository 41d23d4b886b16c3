"""A user's arrays as numpy reads them, and a mean as the user has it; torch is never imported."""

import sys
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from privfed.errors import ConfigError

_NUMPY_FLOATS = ("torch.float16", "torch.float32", "torch.float64")
_KINDS = {
    "c": "complex numbers: give .real and .imag as two arrays",
    "O": "Python objects: give numbers, or leave it out",
    "U": "text: leave it out",
    "S": "text: leave it out",
}
# Parts of names that wrappers of a model put in: whose, and what to take in their place.
_WRAPPERS = {
    "module": "that of DistributedDataParallel or DataParallel: take model.module",
    "_orig_mod": "that of torch.compile: take model._orig_mod",
    "_fsdp_wrapped_module": "that of FSDP: take its full state_dict",
    "_checkpoint_wrapped_module": "that of activation checkpoints: take the model inside",
}


def named(arrays: Any) -> Mapping[str, Any]:
    """Return arrays by name.

    Raises:
        ConfigError: They are none.
    """
    if isinstance(arrays, Mapping):
        if wrong := [name for name in arrays if not isinstance(name, str)]:
            raise ConfigError(f"array names are text, and {wrong[0]!r:.40} is none: rename it")
        return arrays
    if hasattr(arrays, "state_dict"):
        raise ConfigError("this is a model: give its arrays, model.state_dict()")
    raise ConfigError(f"give a dict of arrays by name, not {type(arrays).__name__}")


def as_numpy(name: str, array: Any) -> npt.NDArray[Any]:
    """Return an array or a torch tensor as numpy has it, a view where there can be one.

    Floats that numpy lacks become float32, which holds each of them exactly.

    Raises:
        ConfigError: It has no values, or holds no real numbers; says what to give instead.
    """
    if hasattr(array, "detach"):
        array = _of_tensor(name, array)
    if isinstance(array, np.ma.MaskedArray):
        raise ConfigError(f"array {name!r} is masked: give all values, by .filled()")
    if not isinstance(array, np.ndarray | np.generic):
        raise ConfigError(
            f"{name!r} must be a numpy array or a torch tensor, not {type(array).__name__}: give "
            "numpy.asarray of it if it holds numbers, or leave it out"
        )
    values = np.asarray(array)
    if values.dtype.kind not in "fiub":
        what = _KINDS.get(values.dtype.kind, f"{values.dtype}: give it by .astype(numpy.float32)")
        raise ConfigError(f"array {name!r} holds {what}")
    return values


def _of_tensor(name: str, tensor: Any) -> npt.NDArray[Any]:
    _check_tensor(name, tensor)
    try:
        tensor = tensor.detach().cpu()
        if tensor.is_floating_point() and str(tensor.dtype) not in _NUMPY_FLOATS:
            tensor = tensor.float()
        values: npt.NDArray[Any] = tensor.resolve_neg().numpy()
    except (TypeError, ValueError, RuntimeError, AttributeError):
        raise ConfigError(_rare(name, tensor)) from None
    return values


def _rare(name: str, tensor: Any) -> str:
    return (
        f"tensor {name!r} is of a rare kind, {tensor.dtype}: give it by .float(), or leave it out"
    )


def _check_tensor(name: str, tensor: Any) -> None:
    """Refuse a torch tensor that is no dense one of real numbers, with the remedy for its kind."""
    if "Uninitialized" in type(tensor).__name__:  # of a lazy module; all else raises at this one
        raise ConfigError(f"tensor {name!r} has no shape yet: run the model on a batch first")
    if tensor.is_meta:
        raise ConfigError(
            f"tensor {name!r} is on the meta device and has no values: load the model's, after "
            "model.to_empty(device='cpu')"
        )
    if tensor.is_quantized:
        raise ConfigError(f"tensor {name!r} is quantised: give its floats, by .dequantize()")
    if tensor.is_complex():
        raise ConfigError(f"array {name!r} holds {_KINDS['c']}")
    if str(tensor.layout) != "torch.strided":
        raise ConfigError(f"tensor {name!r} is sparse: give it dense, by .to_dense()")


def as_like(name: str, values: npt.NDArray[np.float32], like: Any) -> Any:
    """Return a mean as an array of the kind, type and device of `like`, a copy.

    Raises:
        ConfigError: `like` has another shape, or can hold no floats.
    """
    if hasattr(like, "detach"):
        _check_tensor(name, like)
        floats, shape = like.is_floating_point(), tuple(like.shape)
    else:
        like_values = as_numpy(name, like)
        floats, shape = like_values.dtype.kind == "f", like_values.shape
    if shape != values.shape:
        raise ConfigError(
            f"array {name!r} of `like` has shape {list(shape)}, the mean {list(values.shape)}: "
            "give the model that the layout was made of"
        )
    if not floats:
        raise ConfigError(f"array {name!r} of `like` holds integers, which no mean is: make floats")
    if isinstance(like, np.ndarray | np.generic):
        copied = values.astype(like.dtype)
        return copied if isinstance(like, np.ndarray) else copied[()]
    torch = sys.modules["torch"]  # whoever has a tensor has loaded it
    try:
        return torch.from_numpy(values.copy()).to(device=like.device, dtype=like.dtype)
    except (TypeError, RuntimeError):
        raise ConfigError(_rare(name, like)) from None


def state_dict_like(mean: Mapping[str, npt.NDArray[np.float32]], like: Any) -> dict[str, Any]:
    """Return `like` with the mean in the place of the arrays that travelled.

    Args:
        mean: By name.
        like: A model, or arrays by name.

    Raises:
        ConfigError: It lacks an array of the mean, or has one of another shape.
    """
    if not isinstance(like, Mapping) and callable(getattr(like, "state_dict", None)):
        like = like.state_dict()
    arrays = named(like)
    if missing := sorted(set(mean) - set(arrays)):
        why = renamed(mean, arrays) or "give the model that the layout was made of"
        raise ConfigError(f"`like` lacks array {missing[0]!r} of the mean: {why}")
    return {
        name: as_like(name, mean[name], each) if name in mean else each
        for name, each in arrays.items()
    }


def check_names(agreed: Collection[str], skipped: Collection[str], given: Collection[str]) -> None:
    """Refuse arrays whose names are not those of a layout.

    Raises:
        ConfigError: One is missing, or in it that does not belong there; says why it may be.
    """
    extra = sorted(set(given) - set(agreed) - set(skipped))
    missing = next((name for name in agreed if name not in given), None)
    why = renamed(agreed, given)
    if extra:
        why = why or (
            "give those of the layout alone, or agree on a layout of all"
            if missing is None
            else f"and {missing!r} is missing: give the arrays that the layout was made of"
        )
        raise ConfigError(f"arrays outside the agreed layout: {extra[:3]}: {why}")
    if missing is not None:
        why = why or "to average a part of a model, such as adapters, make the layout of it alone"
        raise ConfigError(f"array {missing!r} of the agreed layout is missing: {why}")


def renamed(agreed: Collection[str], given: Collection[str]) -> str:
    """Return which wrapper of a model gave its arrays other names, and the remedy; or nothing."""
    bare = {_bare(name) for name in given}
    if set(agreed) <= set(given) or not all(_bare(name) in bare for name in agreed):
        return ""
    for part, whose in _WRAPPERS.items():
        if _has(given, part) and not _has(agreed, part):
            return f"names have a part {part!r}, {whose}"
        if _has(agreed, part) and not _has(given, part):
            return f"the layout's names have a part {part!r}, {whose}, and make the layout of it"
    return ""


def _bare(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in _WRAPPERS)


def _has(names: Collection[str], part: str) -> bool:
    return any(part in name.split(".") for name in names)
