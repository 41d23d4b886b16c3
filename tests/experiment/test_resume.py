"""What had finished is kept, what had not is run again, and nothing else is reused."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from privfed.data import load_dataset
from privfed.errors import ConfigError
from privfed.experiment import Settings, load_model, partitioned
from privfed.training import SecureAveraging
from tests.experiment.mini import Progress, outcome, run_mini, surrogate

SMALL = Settings(
    splits=("disjoint",), arms=("guest", "federated", "federated-he"), rounds=3, seeds=2
)
TITLE = "disjoint, seed {}: {}"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, object]]:
    return outcome(run_mini(tmp_path_factory.mktemp("whole"), SMALL).results)


def test_an_interrupted_benchmark_goes_on(tmp_path: Path, whole: list[dict[str, object]]) -> None:
    stop = Progress(stop_in="seed 0: federated-he", after=2)
    with pytest.raises(KeyboardInterrupt):
        run_mini(tmp_path, SMALL, progress=stop)
    assert not (tmp_path / "results.json").exists()
    assert not list(tmp_path.rglob("*.partial"))
    kept = {path.name: path.read_bytes() for path in (tmp_path / "runs").iterdir()}
    assert [name.split("-seed")[0] for name in sorted(kept)] == [
        *("disjoint-federated", "disjoint-guest")
    ]

    again = run_mini(tmp_path, SMALL)
    assert again.progress.rounds == {
        "disjoint, seed 0: guest (kept)": 3,
        "disjoint, seed 0: federated (kept)": 3,
        **{TITLE.format(0, "federated-he"): 3},
        **{TITLE.format(1, arm): 3 for arm in ("guest", "federated", "federated-he")},
    }
    assert outcome(again.results) == whole
    for name, content in kept.items():
        assert (tmp_path / "runs" / name).read_bytes() == content

    third = run_mini(tmp_path, SMALL)
    assert all("(kept)" in title for title in third.progress.rounds)
    assert sum(third.progress.rounds.values()) == 18
    assert third.results.runs == again.results.runs


def ran(progress: Progress) -> list[str]:
    return [title.split(": ")[1] for title in progress.rounds if "(kept)" not in title]


ONE = Settings(splits=("disjoint",), arms=("guest",), rounds=2, seeds=1)


def test_more_rounds_are_another_run(tmp_path: Path) -> None:
    """And the models of both have one name, so going back runs again."""
    short = run_mini(tmp_path, ONE)
    longer = run_mini(tmp_path, dataclasses.replace(ONE, rounds=3))
    back = run_mini(tmp_path, ONE)
    assert [ran(mini.progress) for mini in (short, longer, back)] == [["guest"]] * 3
    assert outcome(short.results) == outcome(back.results) != outcome(longer.results)
    assert ran(run_mini(tmp_path, ONE).progress) == []


def test_a_run_without_its_model_is_run_again(tmp_path: Path) -> None:
    first = run_mini(tmp_path, ONE)
    [model] = (tmp_path / "models").iterdir()
    whole = model.read_bytes()
    model.unlink()
    assert ran(run_mini(tmp_path, ONE).progress) == ["guest"]
    model.write_bytes(whole[: len(whole) // 2])
    again = run_mini(tmp_path, ONE)
    assert ran(again.progress) == ["guest"]
    assert model.stat().st_size == len(whole)
    assert outcome(again.results) == outcome(first.results)


def test_a_damaged_run_is_run_again(tmp_path: Path) -> None:
    first = run_mini(tmp_path, ONE)
    [path] = (tmp_path / "runs").iterdir()
    accuracy = f'"test_accuracy":{first.results.runs[0].test_accuracy}'
    text = path.read_text()
    assert accuracy in text
    path.write_text(text.replace(accuracy, '"test_accuracy":1.0'))
    again = run_mini(tmp_path, ONE)
    assert ran(again.progress) == ["guest"]
    assert outcome(again.results) == outcome(first.results)


def test_another_label_column_of_the_same_file_is_another_run(tmp_path: Path) -> None:
    """The same bytes, classes and columns in number: only the encoder knows."""
    drawn = np.random.default_rng(0)
    frame = pd.DataFrame(drawn.integers(0, 2, (60, 4)), columns=list("abcd"))
    frame.to_csv(tmp_path / "own.csv", index=False)
    one, other = (
        load_dataset("table", str(tmp_path / "own.csv"), label=label) for label in ("a", "b")
    )
    assert one.sha256 == other.sha256
    assert one.class_names == other.class_names
    first, second = (run_mini(tmp_path / "out", ONE, data) for data in (one, other))
    assert ran(first.progress) == ran(second.progress) == ["guest"]
    assert outcome(first.results) != outcome(second.results)


def test_other_privacy_settings_concern_private_arms_alone(tmp_path: Path) -> None:
    both = dataclasses.replace(
        ONE, arms=("guest", "federated-he-dp"), private_rounds=1, epsilons=(8.0,)
    )
    data = load_dataset("breast-cancer")  # no ID twice, so calibration is quick
    assert ran(run_mini(tmp_path, both, data).progress) == ["guest", "federated-he-dp ε=8"]
    faster = dataclasses.replace(both, private_learning_rate=4e-3)
    assert ran(run_mini(tmp_path, faster, data).progress) == ["federated-he-dp ε=8"]
    uncentred = dataclasses.replace(both, centred=False)
    assert ran(run_mini(tmp_path, uncentred, data).progress) == ["federated-he-dp ε=8"]
    kept = load_model(next((tmp_path / "models").glob("*-federated-he-dp-*")))
    assert kept.encoder == data.encoder


def test_private_arms_send_no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exact row counts, added up, would have no finite ε."""
    made: list[SecureAveraging] = []

    class Watched(SecureAveraging):
        def __init__(self, *arguments: Any, **settings: Any) -> None:
            super().__init__(*arguments, **settings)
            made.append(self)

    monkeypatch.setattr(partitioned, "SecureAveraging", Watched)
    settings = dataclasses.replace(
        ONE, arms=("federated-he", "federated-he-dp"), private_rounds=1, epsilons=(8.0,)
    )
    run_mini(tmp_path, settings, load_dataset("breast-cancer"))
    weighted, private = (averaging.parameters for averaging in made)
    assert weighted.max_weight == 256
    assert private.max_weight is None
    assert private.values == private.layout.size


@pytest.mark.parametrize(
    "wrong",
    [
        {"splits": ("disjoint", "overlapping"), "parties": 3},
        {"arms": ("federated-he-dp",), "delta": 0.01},
        {"arms": ("guest", "nobody")},
    ],
)
def test_what_does_not_fit_is_refused_before_a_folder_is_made(
    tmp_path: Path, wrong: dict[str, object]
) -> None:
    settings = dataclasses.replace(ONE, **wrong)  # type: ignore[arg-type]
    progress = Progress()
    with pytest.raises(ConfigError):
        run_mini(tmp_path / "out", settings, progress=progress)
    assert not (tmp_path / "out").exists()
    assert not progress.rounds


def test_a_party_with_no_rows_is_refused_before_any_training(tmp_path: Path) -> None:
    """The first seed would do; the second leaves a party rows of one class."""
    labels = np.zeros(500, np.int64)
    labels[:3] = 1
    data = dataclasses.replace(surrogate(), labels=labels)
    progress = Progress()
    with pytest.raises(ConfigError, match="one class only"):
        run_mini(
            tmp_path / "out", dataclasses.replace(ONE, seeds=20), dataset=data, progress=progress
        )
    assert not (tmp_path / "out").exists()
    assert not progress.rounds


@pytest.mark.parametrize("place", ["models", "results.json"])
def test_a_folder_with_something_in_the_way(tmp_path: Path, place: str) -> None:
    if place == "models":
        (tmp_path / place).write_text("")
    else:
        (tmp_path / place).mkdir()
    with pytest.raises(ConfigError, match=f"{place}.* cannot be written"):
        run_mini(tmp_path, ONE)
    assert not list(tmp_path.rglob("*.partial"))
