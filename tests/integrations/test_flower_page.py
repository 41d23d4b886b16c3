"""docs/flower.md from its first line: the user's app, three lines, keys, the model, going on."""

import functools
import importlib
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn.datasets
import torch
from flwr.app import Context, Message, RecordDict

from privfed.integrations import trained_model
from privfed.training import one_thread
from tests.integrations.flower_page import apply, blocks, write_files
from tests.integrations.grid import RUN_ID, OneProcessGrid

PARTIES = 6
CONFIG = {"num-server-rounds": 2, "fraction-evaluate": 0.5, "learning-rate": 0.1, "batch-size": 32}
BLOCKS_OF = ("```python", "```toml", "```diff")  # of flower.md, that are run here


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The app in the working folder, importable as it stands there."""
    write_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    once = functools.cache(sklearn.datasets.load_digits)  # it reads text for 0.1 s
    monkeypatch.setattr(sklearn.datasets, "load_digits", once)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # it is edited within a second
    return tmp_path


def load(name: str) -> Any:
    """The app's component, of the files as they are now."""
    for each in [each for each in sys.modules if each.split(".")[0] == "quickstart"]:
        del sys.modules[each]
    importlib.invalidate_caches()
    return importlib.import_module(f"quickstart.{name}").app


def run(folder: Path, run_id: int = RUN_ID, **config: Any) -> OneProcessGrid:
    """Run the app at ten nodes, whose keys, if they need any, are in a folder."""
    nodes = [
        {"partition-id": place, "num-partitions": PARTIES, "privfed-keys": str(folder / "keys")}
        for place in range(PARTIES)
    ]
    client, server = load("client_app"), load("server_app")

    def seeded(message: Message, context: Context) -> Message:
        torch.manual_seed(context.node_config["partition-id"])
        return client(message, context)

    grid = OneProcessGrid([seeded] * PARTIES, nodes, run_id)
    for context in grid.contexts.values():
        context.run_config = dict(CONFIG | config)
    random.seed(0)  # Flower asks nodes in an order that is drawn
    torch.manual_seed(0)
    server(grid, Context(run_id, 1, {}, RecordDict(), CONFIG | config))
    return grid


def program(word: str) -> str:
    """The page's only program of its own in which a word stands."""
    (found,) = (each for each in blocks("python") if word in each and "# quickstart" not in each)
    return found


def run_program(text: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(compile(text, "flower.md", "exec"), names)
    return names


@one_thread()
def test_three_lines_make_the_same_model_which_the_server_cannot_read(app: Path) -> None:
    run(app)
    plain = torch.load("final_model.pt")
    three, *_ = blocks("diff")
    added, removed = apply(app, three)
    imports = [line for line in added if "import" in line]
    assert (len(imports), len(added) - len(imports), len(removed)) == (2, 2, 3)
    run_program(program("simulated_keys("))
    grid = run(app)
    checkpoint = torch.load("final_model.pt")
    own = run_program(program("trained_model("))["model"]
    step = 8.0 / (2**15 - 1)  # of a clip range of 8 in 16 bits
    for name, each in plain.items():
        np.testing.assert_allclose(own[name], each, atol=CONFIG["num-server-rounds"] * step)
    for place in range(PARTIES):
        other = trained_model(app / "keys" / str(place))
        assert all(other[name].tobytes() == own[name].tobytes() for name in own)
    assert not checkpoint.keys() & plain.keys()
    weights = own["2.weight"].tobytes()
    assert not any(weights[:64] in data for _, data in grid.seen)
