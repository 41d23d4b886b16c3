"""A small benchmark on the surrogate, run once for all tests; OpenML's recorded answers."""

from __future__ import annotations

import gzip
import socket
from pathlib import Path

import pytest
import torch

from tests.experiment.mini import Mini, run_mini
from tests.places import VECTORS

torch.set_num_threads(1)

OPENML = VECTORS / "openml_dresses_sales"


@pytest.fixture(scope="session")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Mini:
    """All arms, two seeds of the paper's split, real encryption, Opacus and intersection."""
    return run_mini(tmp_path_factory.mktemp("mini"))


@pytest.fixture
def recorded_openml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lay the recorded answers where scikit-learn caches them, and cut the network."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError("the test allows no network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    places = {
        "api/v1/json/data/23381": "description.json",
        "api/v1/json/data/features/23381": "features.json",
        "api/v1/json/data/qualities/23381": "qualities.json",
        "data/v1/download/1798816": "data.arff",
        "data/v1/download/1798816/dresses-sales.arff": "data.arff",
    }
    for place, name in places.items():
        path = tmp_path / "openml" / "openml.org" / f"{place}.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress((OPENML / name).read_bytes()))
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path))
