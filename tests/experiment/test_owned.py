"""Parties that the table names, from settings to results."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from privfed.data import Dataset, Dealing, Owners
from privfed.errors import ConfigError
from privfed.experiment import Settings, jobs, prepare_benchmark
from privfed.experiment.model_file import in_file_name
from tests.experiment.mini import PlainAligner, Progress, run_mini, surrogate

NAMES = ("north", "south", "web/EU")
GIVEN = Settings(
    splits=("as-given",), parties=3, names=NAMES, arms=("web/EU", "federated"), rounds=1, seeds=3
)


def owned(shift: int = 0, names: tuple[str, ...] = NAMES) -> Dataset:
    owner = (np.arange(len(surrogate())) + shift) % len(names)
    return dataclasses.replace(surrogate(), owners=Owners(names, owner))


def test_ids_are_intersected_once_for_all_seeds() -> None:
    align = PlainAligner()
    prepared = prepare_benchmark(GIVEN, owned(), align=align)
    assert align.bytes_exchanged == 1  # a call: three pairs share a session
    assert [overlap.seed for overlap in prepared.overlaps] == [0, 1, 2]
    assert len({overlap.shared_ids for overlap in prepared.overlaps}) == 1
    assert prepared.overlaps[0].shared_ids > 0
    # Dealt rows are others with each seed, and each seed's parties are asked.
    align = PlainAligner()
    dealt = dataclasses.replace(GIVEN, splits=("disjoint",), names=None, arms=None, epsilons=(8.0,))
    prepare_benchmark(dealt, surrogate(), align=align)
    assert align.bytes_exchanged == 3


def test_no_test_row_was_seen_in_training() -> None:
    prepared = prepare_benchmark(GIVEN, owned(), align=PlainAligner())
    for task in prepared.tasks:
        assert task.data.exposure is not None
        seen, _ = task.data.exposure.masks(range(3))
        assert not seen.any()


def test_other_owners_are_another_run(tmp_path: Path) -> None:
    """The same table, the same names, other rows."""
    one = dataclasses.replace(GIVEN, arms=("federated",), seeds=1)
    progress = [Progress(), Progress(), Progress()]
    run_mini(tmp_path, one, owned(), progress[0])
    run_mini(tmp_path, one, owned(shift=1), progress[1])
    run_mini(tmp_path, one, owned(), progress[2])
    assert [list(each.rounds) for each in progress] == [["as-given, seed 0: federated"]] * 3


def test_results_say_who_held_what(tmp_path: Path) -> None:
    data = owned()
    results = run_mini(tmp_path, dataclasses.replace(GIVEN, seeds=2), data).results
    record = results.parties
    assert record is not None
    assert (record.names, record.sizes, record.skew) == (NAMES, None, None)
    assert record.class_names == data.class_names
    assert [(each.seed, each.party) for each in record.held] == [
        (seed, name) for seed in (0, 1) for name in NAMES
    ]
    assert data.owners is not None
    for each, rows in zip(record.held, data.owners.rows * 2, strict=True):
        assert each.train_rows + each.test_rows == len(rows) == sum(each.classes)
        assert each.classes == tuple(np.bincount(data.labels[rows]).tolist())


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"names": None}, "give as-given and the parties' `names`, or neither"),
        ({"splits": ("disjoint",)}, "give as-given and the parties' `names`, or neither"),
        ({"splits": ("as-given", "disjoint")}, "it is alone"),
        ({"parties": 2}, "`parties` is 2, and 3 are named"),
        ({"names": ("a", "b", "a")}, "name each once"),
        ({"dealing": Dealing((0.5, 0.3, 0.2))}, "are of the disjoint split"),
    ],
)
def test_settings_that_contradict_each_other(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        dataclasses.replace(GIVEN, **wrong)


def test_sizes_and_skews_are_of_the_disjoint_split_alone() -> None:
    sizes = Dealing((0.5, 0.3, 0.2))
    disjoint = Settings(splits=("disjoint",), parties=3, dealing=sizes)
    assert disjoint.party_names == ("guest", "host", "party-3")
    for wrong, says in (
        ({"parties": 2}, "`sizes` gives 3 and `parties` is 2"),
        ({"splits": ("disjoint", "overlapping")}, "take that one alone"),
    ):
        with pytest.raises(ConfigError, match=says):
            dataclasses.replace(disjoint, **wrong)


def test_settings_and_table_name_the_same_parties() -> None:
    with pytest.raises(ConfigError, match="`names` are not the parties that the table names"):
        prepare_benchmark(GIVEN, owned(names=("a", "b", "c")), align=PlainAligner())
    with pytest.raises(ConfigError, match="of a table that says whose its rows are"):
        prepare_benchmark(GIVEN, surrogate(), align=PlainAligner())


@pytest.mark.parametrize("name", ["federated", "majority", "logistic regression"])
def test_a_party_called_like_an_arm_is_refused(name: str) -> None:
    twice = dataclasses.replace(GIVEN, names=("a", "b", name), arms=None)
    with pytest.raises(ConfigError, match=f"'{name}', and so is an arm: rename the party"):
        jobs(twice)


def test_names_of_files_are_short_and_differ() -> None:
    assert [in_file_name(name) for name in ("guest", "federated-he", "party-3", "Süd")] == [
        *("guest", "federated-he", "party-3", "Süd"),
    ]
    odd = ["a/b", "a b", "a_b", "..", "../x", "x" * 41, "x" * 60, "\u6f22" * 60, "a\\b", "a:b"]
    names = [in_file_name(name) for name in odd]
    assert len(set(names)) == len(odd)
    for name in names:
        assert "/" not in name
        assert "\\" not in name
        assert len(name.encode()) <= 180
