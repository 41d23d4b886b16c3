"""Finished runs survive; damaged, foreign and half-written ones do not count."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from privfed.errors import ConfigError
from privfed.experiment import PrivacyCost
from privfed.experiment.store import RunStore
from psi.storage import whole_file
from tests.experiment.mini import RUN

KEY: dict[str, Any] = {"split": "disjoint", "arm": "guest", "seed": 0, "epsilon": 0.1}
PRIVATE = structs.replace(
    RUN,
    epsilon=0.1,
    model="models/a.npz",
    history={"train_loss": [0.1, 1 / 3], "test_auc": [None, 0.5], "weights_sha256": ["a", "b"]},
    privacy=PrivacyCost(
        epsilon=0.0999,
        epsilon_outsider=0.06,
        target_epsilon=0.1,
        delta=1e-5,
        noise="local",
        quorum=2,
        colluders=1,
        adjacency="zero-out of one unit",
        privacy_unit="a row",
        sampling="Poisson",
        accountant="PLD",
        noise_multiplier=3.3,
        l2_clip_norm=1.0,
        sampling_rate=(0.2, 0.3),
        steps=(6, 4),
        epsilon_single_row=0.05,
    ),
)


@pytest.mark.parametrize("run", [RUN, PRIVATE])
def test_a_run_comes_back_as_it_was(tmp_path: Path, run: Any) -> None:
    RunStore(tmp_path).save(KEY, run)
    assert RunStore(tmp_path).load(KEY) == run
    assert RunStore(tmp_path).load(dict(reversed(KEY.items()))) == run


@pytest.mark.parametrize("change", [{"seed": 1}, {"epsilon": None}, {"more": 1}])
def test_another_key_finds_nothing(tmp_path: Path, change: dict[str, Any]) -> None:
    store = RunStore(tmp_path)
    store.save(KEY, RUN)
    assert store.load(KEY | change) is None


def test_a_file_under_another_keys_name_finds_nothing(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    store.save(KEY, RUN)
    [path] = (tmp_path / "runs").iterdir()
    store.save(KEY | {"seed": 1}, RUN)
    [other] = set((tmp_path / "runs").iterdir()) - {path}
    path.rename(other)
    assert store.load(KEY | {"seed": 1}) is None


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_damage_is_noticed(tmp_path: Path, data: st.DataObject) -> None:
    store = RunStore(tmp_path)
    store.save(KEY, PRIVATE)
    [path] = (tmp_path / "runs").iterdir()
    whole = path.read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    if data.draw(st.booleans()):
        path.write_bytes(whole[:place])
    else:
        flipped = bytes([whole[place] ^ data.draw(st.integers(1, 255))])
        path.write_bytes(whole[:place] + flipped + whole[place + 1 :])
    assert store.load(KEY) is None
    path.write_bytes(whole)
    assert store.load(KEY) == PRIVATE


def test_not_even_a_line_end_may_change(tmp_path: Path) -> None:
    """Which Python's text files would quietly mend."""
    store = RunStore(tmp_path)
    store.save(KEY, RUN)
    [path] = (tmp_path / "runs").iterdir()
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r"))
    assert store.load(KEY) is None


def test_a_failed_write_leaves_the_old_run_and_no_other_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = RunStore(tmp_path)
    store.save(KEY, RUN)
    files = list((tmp_path / "runs").iterdir())

    def full(descriptor: int) -> None:
        os.ftruncate(descriptor, os.fstat(descriptor).st_size // 2)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigError, match="No space left on device"):
        store.save(KEY, PRIVATE)
    assert store.load(KEY) == RUN
    assert list((tmp_path / "runs").iterdir()) == files


def test_an_interrupted_write_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = RunStore(tmp_path)

    def interrupted(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.save(KEY, RUN)
    assert not list((tmp_path / "runs").iterdir())


@pytest.mark.parametrize("place", ["file", "file/below", "runs-is-a-file"])
def test_a_folder_that_cannot_be_written(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "runs-is-a-file").mkdir()
    (tmp_path / "runs-is-a-file" / "runs").write_text("")
    with pytest.raises(ConfigError, match="`directory`"):
        RunStore(tmp_path / place)


def test_a_file_that_is_replaced_is_not_opened_to_others(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    for mode in (None, 0o640, 0o600):
        if mode is not None:
            path.chmod(mode)
        with whole_file(path, replace=True) as file:
            file.write(b"new")
        assert mode in (None, path.stat().st_mode & 0o777)
