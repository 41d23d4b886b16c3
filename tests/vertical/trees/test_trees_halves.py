"""Halves of trees on disk: equal when they come back, refused when anything in them changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from privfed.errors import ConfigError, DecodeError
from privfed.vertical.linear.halves import LinearHalf
from privfed.vertical.saved import load_half
from privfed.vertical.trees.bins import Binning
from privfed.vertical.trees.grown import GuestTree, HostTree
from privfed.vertical.trees.halves import TreesHalf
from privfed.vertical.trees.plan import TreesPlan
from privfed.vertical.trees.query import GuestTreesQuery, HostTreesQuery
from tests.vertical.damages import damaged
from tests.vertical.test_halves import made

ROWS = 80


def table(seed: int, **columns: str) -> pd.DataFrame:
    drawn = np.random.default_rng(seed).standard_normal((ROWS, 2))
    cells = {f"column{i}": [f"{each:.4f}" for each in drawn[:, i]] for i in range(2)}
    return pd.DataFrame({"id": [str(i) for i in range(ROWS)], **cells, **columns})


GUEST, HOST = table(1, label="yes"), table(2)


def halves() -> tuple[TreesHalf, TreesHalf]:
    """Both halves of two trees of depth 2 that nobody trained."""
    guest, host = (
        Binning.fit(each.drop(columns=["id", "label"], errors="ignore"), bins=4, least_rows=5)
        for each in (GUEST, HOST)
    )
    plan = TreesPlan(rows=ROWS, host_splits=len(host.splits), trees=3, depth=2)
    common: dict[str, Any] = {
        "plan": plan, "model": "0123456789abcdef" * 4, "answers": "score", "id_columns": ("id",),
        "normalise": None, "middle": 0.0, "unit": 1.0,
    }  # fmt: skip
    trees = (
        GuestTree(("guest", "host", "none"), (1, -1, -1), (0.5, -0.25, 1.0, 0.0), (3.0, 2.0, 0.0)),
        GuestTree(("host", "guest", "guest"), (-1, 0, 2), (0.1, 0.2, -0.3, 0.4), (1.0, 1.0, 1.0)),
    )
    return (
        TreesHalf(
            role="guest", bins=guest.to_fields(), base=(-0.5,), guest_trees=trees,
            host_trees=None, label="label", classes=("no", "yes"), **common,
        ),
        TreesHalf(
            role="host", bins=host.to_fields(), base=(), guest_trees=None,
            host_trees=(HostTree((-1, 1, -1)), HostTree((2, -1, -1))), label=None, classes=(),
            **common,
        ),
    )  # fmt: skip


def test_halves_come_back_whatever_the_model(tmp_path: Path) -> None:
    for half in (*halves(), *made()[0]):
        path = tmp_path / "half.json"
        half.save(path)
        assert path.stat().st_mode & 0o777 == 0o600
        assert load_half(path) == half
        assert type(half).load(path) == half
        other = LinearHalf if isinstance(half, TreesHalf) else TreesHalf
        with pytest.raises(DecodeError, match="no half"):
            other.load(path)
        path.unlink()


def test_a_half_shows_nothing() -> None:
    for half in halves():
        assert repr(half) == f"TreesHalf({half.role}, 01234567)"
        for shown in ("0.25", "column", "yes"):
            assert shown not in repr(half)
    assert repr((halves()[0].guest_trees or ())[0]) == "GuestTree(depth=2)"


def test_halves_score_rows_together() -> None:
    guest, host = (half.query(frame) for half, frame in zip(halves(), (GUEST, HOST), strict=True))
    assert isinstance(guest, GuestTreesQuery)
    assert isinstance(host, HostTreesQuery)
    assert host.start() is None
    message = guest.start()
    while message is not None and (answer := host.receive(message)) is not None:
        message = guest.receive(answer)
    assert guest.done
    assert host.done
    assert set(guest.scores) <= {-1.0, -0.75, -0.5, -0.25, 0.0, 0.25, 0.5, 0.75, 1.0}
    assert len(set(guest.scores)) > 2


@pytest.mark.parametrize(
    "change",
    [
        {"base": ()},
        {"base": (0.0, 0.0)},
        {"guest_trees": None},
        {"guest_trees": ()},
        {"host_trees": ()},
        {"classes": ("no",)},
        {"label": None},
        {"unit": 0.0},
        {"id_columns": ()},
        {"guest_trees": (GuestTree(("none",) * 3, (-1,) * 3, (0.0,) * 3, (0.0,) * 3),)},
        {"guest_trees": (GuestTree(("none",) * 3, (-1, -1, 0), (0.0,) * 4, (0.0,) * 3),)},
        {"guest_trees": (GuestTree(("guest",) * 3, (0, 0, 999), (0.0,) * 4, (0.0,) * 3),)},
        {"guest_trees": (GuestTree(("none",), (-1,), (0.0,) * 2, (0.0,)),)},
    ],
)
def test_a_half_that_contradicts_itself_is_refused(change: dict[str, Any]) -> None:
    half = halves()[0]
    with pytest.raises(ValueError, match=r"a half|tree|logistic"):
        msgspec.structs.replace(half, **change)


@pytest.mark.parametrize(
    "change",
    [
        {"base": (0.0,)},
        {"host_trees": (HostTree((0,)),)},
        {"host_trees": (HostTree((0, 0, 999)),)},
        {"host_trees": (HostTree((0, 0, 0)),) * 4},
        {"plan": TreesPlan(rows=ROWS, host_splits=3, trees=3, depth=2)},
    ],
)
def test_a_hosts_half_that_contradicts_itself_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"half|tree"):
        msgspec.structs.replace(halves()[1], **change)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_damaged_halves_are_refused(data: st.DataObject, tmp_path: Path) -> None:
    path = tmp_path / "half.json"
    path.unlink(missing_ok=True)
    data.draw(st.sampled_from(halves())).save(path)
    whole = path.read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    flip = data.draw(st.sampled_from([1, 0x80]))
    path.write_bytes(data.draw(st.sampled_from(damaged(whole, place, flip))))
    with pytest.raises(DecodeError, match="take the file that training wrote"):
        load_half(path)


def test_a_half_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"half\.json"):
        load_half(tmp_path / "half.json")
