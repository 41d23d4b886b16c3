"""docs/flower.md from its first line: the user's app, three lines, keys, the model, going on."""

import functools
import importlib
import random
import re
import sys
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import sklearn.datasets
import torch
from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import strategy as strategies

from privfed.errors import ConfigError, PeerError
from privfed.integrations import trained_model
from privfed.integrations.flower import EncryptedStrategy
from privfed.training import one_thread
from tests.docs.snippets import BLOCKS
from tests.integrations.flower_page import PAGE, apply, blocks, write_files
from tests.integrations.grid import RUN_ID, OneProcessGrid
from tests.places import ROOT

PARTIES = 6
CONFIG = {"num-server-rounds": 2, "fraction-evaluate": 0.5, "learning-rate": 0.1, "batch-size": 32}


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The app in the working folder, importable as it stands there."""
    folder = tmp_path / "app"
    write_files(folder, [*blocks("toml"), *blocks("python")])
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    once = functools.cache(sklearn.datasets.load_digits)  # it reads text for 0.1 s
    monkeypatch.setattr(sklearn.datasets, "load_digits", once)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # it is edited within a second
    return folder


def load(name: str) -> Any:
    """The app's component, of the files as they are now."""
    for each in [each for each in sys.modules if each.split(".")[0] == "quickstart"]:
        del sys.modules[each]
    importlib.invalidate_caches()
    return importlib.import_module(f"quickstart.{name}").app


def run(folder: Path, run_id: int = RUN_ID, **config: Any) -> OneProcessGrid:
    """Run the app at six nodes, whose keys, if they need any, are beside it."""
    common = {"num-partitions": PARTIES, "privfed-keys": str(folder.parent / "keys")}
    nodes = [{"partition-id": place} | common for place in range(PARTIES)]
    client: ClientApp = load("client_app")

    def seeded(message: Message, context: Context) -> Message:
        torch.manual_seed(context.node_config["partition-id"])
        return client(message, context)

    grid = OneProcessGrid([cast(ClientApp, seeded)] * PARTIES, nodes, run_id)
    for context in grid.contexts.values():
        context.run_config = dict(CONFIG | config)
    random.seed(0)  # Flower asks nodes in an order that is drawn
    torch.manual_seed(0)
    load("server_app")(grid, Context(run_id, 1, {}, RecordDict(), CONFIG | config))
    return grid


def program(*words: str) -> str:
    """The first program of the page, beside the app's files, in which words stand."""
    texts = [each.text for each in blocks("python") if "# quickstart" not in each.text]
    return next(text for text in texts if all(word in text for word in words))


def run_program(text: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(compile(text, "flower.md", "exec"), names)  # noqa: S102  (our own page)
    return names


def models(folder: Path) -> list[dict[str, np.ndarray[Any, Any]]]:
    found = [trained_model(folder.parent / "keys" / str(place)) for place in range(PARTIES)]
    for each in found[1:]:
        assert all(each[name].tobytes() == found[0][name].tobytes() for name in found[0])
    return found


@one_thread()
def test_three_lines_make_the_same_model_which_the_server_cannot_read_and_a_run_goes_on(
    app: Path,
) -> None:
    run(app)
    plain = torch.load("final_model.pt")
    three, further = blocks("diff")
    added, removed = apply(app, three)
    imports = [line for line in added if "import" in line]
    assert (len(imports), len(added) - len(imports), len(removed)) == (2, 2, 3)
    run_program(program("simulated_keys(", "Net()"))
    grid = run(app)
    own = run_program(program("trained_model("))["model"]
    step = 8.0 / (2**15 - 1)  # of a clip range of 8 in 16 bits
    for name, each in plain.items():
        np.testing.assert_allclose(own[name], each, atol=CONFIG["num-server-rounds"] * step)
    found = models(app)
    assert all(found[0][name].tobytes() == own[name].tobytes() for name in own)
    assert list(torch.load("final_model.pt")) == ["privfed.checkpoint/1"]
    weights = own["2.weight"].tobytes()
    assert not any(weights[:64] in data for _, data in grid.seen)

    apply(app, further)
    run(app, RUN_ID + 1)
    gone_on = models(app)[0]
    assert any(gone_on[name].tobytes() != own[name].tobytes() for name in own)


@one_thread()
def test_a_client_level_plan_needs_no_other_line_and_its_budget_ends(app: Path) -> None:
    apply(app, blocks("diff")[0])
    given = run_program(program("simulated_keys(", "plan=plan"))
    run(app, **{"num-server-rounds": given["plan"].rounds, "fraction-evaluate": 0.0})
    before = models(app)[0]
    assert np.isfinite(before["2.weight"]).all()
    with pytest.raises(PeerError, match="its privacy budget is spent"):
        run(app, RUN_ID + 1, **{"num-server-rounds": 1})


def test_the_three_lines_of_the_readme_are_those_of_the_page() -> None:
    (short,) = (each for each in BLOCKS if (each.page, each.language) == ("README.md", "diff"))
    assert set(short.text.splitlines()) < set(blocks("diff")[0].text.splitlines())


def test_what_is_said_when_something_breaks_is_said_in_the_code() -> None:
    page = (ROOT / PAGE).read_text()
    table = page.split("## When something breaks")[1].split("## ")[0]
    said = re.findall(r"^\| `(.+?)` \|", table, re.MULTILINE)
    code = "".join(path.read_text() for path in (ROOT / "privfed/integrations").rglob("*.py"))
    joined = re.sub(r'"\s*\n\s*f?"', "", code)
    assert len(said) > 12
    assert [each for each in said if each not in joined] == []


def test_strategies_that_the_page_refuses_are_refused() -> None:
    page = (ROOT / PAGE).read_text()
    named = re.findall(
        r"\b[A-Z]\w+\b", page.split("compute on the server")[1].split("A strategy of")[0]
    )
    refused = [getattr(strategies, name) for name in named if hasattr(strategies, name)]
    refused += [each for name, each in vars(strategies).items() if "Differential" in name]
    assert len(refused) > 10
    for each in refused:
        with pytest.raises(ConfigError, match="never has"):
            EncryptedStrategy(each.__new__(each))
    EncryptedStrategy(strategies.FedProx(proximal_mu=0.1))
