"""What a party brings: its model, its table, and its folder; each fault is named in a line."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from torch import nn

from privfed.cli.train_party import _reached
from privfed.errors import ConfigError, DecodeError
from privfed.partner.models import started
from privfed.partner.progress import Finished, Folder, Pending
from privfed.partner.rows import load_rows, remarks
from privfed.training import Arrays, get_arrays
from privfed.training.builders import check_scores, model_builder
from tests.partner.trainings import build, plan_of, private_training


@pytest.fixture
def own() -> Iterator[types.ModuleType]:
    """A module beside the user."""
    module = types.ModuleType("own_models")
    sys.modules["own_models"] = module
    yield module
    del sys.modules["own_models"]


def test_a_function_is_told_what_it_takes(own: Any) -> None:
    own.wide = lambda features, classes: nn.Linear(features, classes)
    own.some = lambda classes: nn.Linear(7, classes)
    own.every = lambda **given: nn.Linear(given["features"], given["classes"])
    own.fixed = lambda: nn.Linear(5, 5)
    shapes = {
        name: tuple(started(model_builder(f"own_models:{name}", 3, 2), 0).weight.shape)  # type: ignore[arg-type]
        for name in ("wide", "some", "every", "fixed")
    }
    assert shapes == {"wide": (2, 3), "some": (2, 7), "every": (2, 3), "fixed": (5, 5)}


def test_the_seed_decides_the_weights(own: Any) -> None:
    one, same, other = (started(model_builder("dress", 12, 2), seed) for seed in (1, 1, 2))
    assert torch.equal(next(one.parameters()), next(same.parameters()))
    assert not torch.equal(next(one.parameters()), next(other.parameters()))


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("nowhere:model", "there is no nowhere:model"),
        ("own_models:nothing", "there is no own_models:nothing"),
        ("own_models", "there is no own_models"),
        ("own_models:number", "is no function"),
        ("own_models:opaque", "does not say what it takes"),
        ("own_models:text", "returned str"),
        ("own_models:empty", "needs parameters"),
        ("own_models:double", "all of them float32"),
        ("own_models:normal", "has buffers"),
    ],
)
def test_what_is_no_model_is_named(own: Any, model: str, said: str) -> None:
    own.opaque = type  # Python knows no signature of it
    own.number, own.text, own.empty = 5, (lambda: "model"), nn.ReLU
    own.double = lambda: nn.Linear(1, 1).double()
    own.normal = lambda: nn.BatchNorm1d(2)
    with pytest.raises(ConfigError, match=said):
        started(model_builder(model, 3, 2), 0)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (nn.Linear(3, 1), r"makes \[2, 1\]: it must give one score a row and class, \[2, 2\]"),
        (nn.Sequential(nn.Linear(3, 4), nn.Flatten(0)), r"makes \[8\]"),
        (nn.Linear(7, 2), "does not take rows of 3 features: RuntimeError"),
    ],
)
def test_a_model_gives_one_score_a_row_and_class(model: nn.Module, said: str) -> None:
    check_scores(nn.Linear(3, 2), 3, 2)
    with pytest.raises(ConfigError, match=said):
        check_scores(model, 3, 2)
    assert model.training


def test_a_private_plan_is_for_its_own_rows(tmp_path: Path) -> None:
    job = private_training(tmp_path, "shares")
    table = tmp_path / "rows.csv"
    table.write_text("x,z,y\n0,1,1\n0.5,0.25,0\n")
    with pytest.raises(ConfigError, match="has 2 rows and the plan's noise is made for 4"):
        load_rows(table, job.plan, 0)
    assert len(load_rows(table, job.plan, 0, test=True)) == 2


def test_a_table_is_read_as_the_plan_says(tmp_path: Path) -> None:
    plan, table = plan_of(tmp_path, 2), tmp_path / "rows.csv"
    table.write_text("x,z,bought\n0,1,1\n0.5,0.25,0\n")
    rows = load_rows(table, plan, 0, label="bought")
    assert rows.features.tolist() == [[0, 1], [0.5, 0.25]]
    assert rows.labels.tolist() == [1, 0]
    assert table.read_text() == "x,z,bought\n0,1,1\n0.5,0.25,0\n"


@pytest.mark.parametrize(
    ("text", "named", "said"),
    [
        ("x,z,y\n0,1,1\n", {"label": "label"}, "no column 'label'"),
        ("x,z,y\n0,1,1\n", {"ids": "x"}, "the plan has no ID column: remove 'x'"),
        ("x,z,y\n0,1,1\n", {"label": "z"}, "`label` z: there is a column y, too"),
        ("x,y\n0,1\n", {}, "rows.csv: the table has no column z"),
        ("x,z,y\n0,1,2\n", {}, "rows.csv: column y has '2' in data row 1"),
        ("x,z,y\n" + "0,1,1\n0,1,0\n" * 3, {}, "6 rows and the plan allows 4"),
    ],
)
def test_a_table_that_does_not_fit_is_named(
    tmp_path: Path, text: str, named: dict[str, Any], said: str
) -> None:
    table = tmp_path / "rows.csv"
    table.write_text(text)
    with pytest.raises(ConfigError, match=said):
        load_rows(table, plan_of(tmp_path, 2), 0, **named)


def test_cells_that_the_plan_does_not_know_are_counted(tmp_path: Path) -> None:
    """A number beyond the plan's range is clipped: somebody's table may be in other units."""
    table = tmp_path / "rows.csv"
    table.write_text("x,z,y\n0,1,1\n0.5,,0\n-3,nothing,0\n7,0.5,1\n")
    rows = load_rows(table, plan_of(tmp_path, 2), 0)
    assert remarks(rows) == [
        "x: 2 cells outside 0 to 1: taken as the nearest of these",
        "z: 1 cell without a number: taken as missing",
    ]
    table.write_text("x,z,y\n0,1,1\n1,0,0\n")
    assert remarks(load_rows(table, plan_of(tmp_path, 2), 0)) == []
    names = ("a", "b", "c")
    plan = msgspec.structs.replace(plan_of(tmp_path, 2), labels=("0", "1", "2"), classes=names)
    assert "rows of 2 of 3 classes" in remarks(load_rows(table, plan, 0))


def equal(one: Arrays, other: Arrays) -> bool:
    return one.keys() == other.keys() and all((one[name] == other[name]).all() for name in one)


def test_progress_is_kept_for_its_owner(tmp_path: Path) -> None:
    folder, plan = tmp_path / "training", bytes(32)
    kept, weights = Folder(folder, plan), get_arrays(build())
    assert (kept.finished(), kept.pending(), kept.total()) == (None, None, b"")
    kept.finish(Finished(3, weights, {"0/step": weights["bias"]}))
    kept.send(Pending(7, b"upload", weights, 3))
    kept.keep_total(b"total")
    again = Folder(folder, plan)
    found, waiting = again.finished(), again.pending()
    assert found is not None
    assert waiting is not None
    assert found.rounds == 3
    assert equal(found.weights, weights)
    assert equal(found.moments, {"0/step": weights["bias"]})
    assert (waiting.round_id, waiting.upload, again.total()) == (7, b"upload", b"total")
    assert folder.stat().st_mode & 0o777 == 0o700
    assert all(each.stat().st_mode & 0o777 == 0o600 for each in folder.iterdir())
    again.finish(found)
    assert again.pending() is None  # it is in what is finished


@pytest.mark.parametrize("name", ["finished", "pending"])
def test_damaged_progress_is_named(tmp_path: Path, name: str) -> None:
    kept, weights = Folder(tmp_path, bytes(32)), get_arrays(build())
    kept.finish(Finished(3, weights, {}))
    kept.send(Pending(7, b"upload", weights, 3))
    path = tmp_path / name
    good = path.read_bytes()
    changed = [
        good[:at] + bytes([good[at] ^ 4]) + good[at + 1 :] for at in range(len(good))
    ]  # the archive's own checks do not cover its names
    for wrong in (b"", b"no archive", good[:-1], good[: len(good) // 2], good[40:], *changed):
        path.write_bytes(wrong)
        with pytest.raises(DecodeError, match=f"{name} is damaged"):
            getattr(kept, name)()
    path.write_bytes(good)
    with pytest.raises(DecodeError, match="of another plan"):
        getattr(Folder(tmp_path, b"x" * 32), name)()


def test_a_folder_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot use"):
        Folder(tmp_path / "file" / "training", bytes(32))


def test_a_server_is_reached_where_it_listens() -> None:
    assert _reached(None, 5) == "localhost:5"
    assert _reached("0.0.0.0:7", 5) == "localhost:5"
    assert _reached("192.0.2.1:7", 7) == "192.0.2.1:7"
