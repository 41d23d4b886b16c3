"""A model, and the files that hold its arrays."""

import io
import pickle
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

__all__ = ["SAVERS", "model", "pickle_in", "save_numpy", "torch_zip"]


def model() -> torch.nn.Module:
    """A network whose state_dict has an integer buffer, which does not travel."""
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2), torch.nn.Linear(8, 3, bias=False)
    )


def _npz(arrays: Mapping[str, torch.Tensor], path: Path) -> None:
    save_numpy(path, {name: each.numpy() for name, each in arrays.items()})


def _packed_npz(arrays: Mapping[str, torch.Tensor], path: Path) -> None:
    values: dict[str, Any] = {name: each.numpy() for name, each in arrays.items()}
    with path.open("wb") as file:
        np.savez_compressed(file, **values)


def _newer_pickle(arrays: Mapping[str, torch.Tensor], path: Path) -> None:
    torch.save(arrays, path, pickle_protocol=pickle.HIGHEST_PROTOCOL)


SAVERS: dict[str, Callable[[dict[str, torch.Tensor], Path], None]] = {
    "numpy.savez": _npz,
    "numpy.savez_compressed": _packed_npz,
    "safetensors": save_file,
    "torch.save": torch.save,
    "torch.save, protocol 5": _newer_pickle,
}


def save_numpy(path: Path, arrays: Mapping[str, Any]) -> None:
    """Save arrays under the very path: of one without `.npz` numpy makes another one."""
    with path.open("wb") as file:
        np.savez(file, **arrays)


def torch_zip(pickled: bytes, path: Path, method: int = zipfile.ZIP_STORED) -> Path:
    """Write what torch.save writes, with another pickle."""
    with zipfile.ZipFile(path, "w", method, compresslevel=1) as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/data/0", bytes(8))
        archive.writestr("archive/version", b"3\n")
    return path


def pickle_in(path: Path) -> bytes:
    """The pickle in a file of torch.save."""
    with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as archive:
        name = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
        return archive.read(name)
