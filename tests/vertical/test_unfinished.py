"""The file of a training that is not done: for its owner, whole, held by one, gone at the end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from privfed.errors import ConfigError, DecodeError
from privfed.vertical.linear.plan import VerticalPlan
from privfed.vertical.linear.state import TrainingState
from privfed.vertical.linear.terms import LinearChoice
from privfed.vertical.unfinished import Beginning, Brought, Unfinished, check_finished
from tests.vertical.damages import damaged
from tests.vertical.machines import job

PLAN = job(rows=60, guest=2, host=2, iterations=2).plan
BROUGHT = Brought(
    role="host",
    table="ab" * 32,
    id_columns=("id",),
    label=None,
    normalise=None,
    choice=LinearChoice(iterations=2).fields,
)
BEGINNING = Beginning(brought=BROUGHT, plan=PLAN, rows=tuple(range(80)), integers="cd" * 32)
BEGUN = TrainingState.begun(PLAN, b"m" * 16)


def load(path: Path) -> Unfinished[VerticalPlan, TrainingState]:
    return Unfinished.load(path, BROUGHT, VerticalPlan, TrainingState)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "out" / "unfinished.json"


def kept(path: Path) -> TrainingState:
    """Write a training after an iteration."""
    unfinished = Unfinished(path, BEGINNING, BEGUN)
    unfinished.keep(BEGUN)
    state = BEGUN.followed(1, b"s" * 16, np.arange(5, dtype=np.uint64) + np.uint64(7_000_000))
    unfinished.keep(state)
    unfinished.count(20)
    unfinished.close()
    return state


def test_a_training_comes_back_for_another_session(path: Path) -> None:
    state = kept(path)
    found = load(path)
    assert found.beginning == BEGINNING
    assert found.state == state.resumed()
    assert found.answered == 20


def test_it_is_for_its_owner_alone_and_shows_nothing(path: Path) -> None:
    kept(path)
    assert path.stat().st_mode & 0o777 == 0o600
    found = load(path)
    for shown in (repr(found), repr(found.beginning), repr(found.state), str(found)):
        assert "7000000" not in shown
        assert "cd" * 32 not in shown
    assert repr(found) == "Unfinished(unfinished.json)"
    assert repr(found.beginning) == "Beginning(host, 80 rows)"


def test_a_session_counts_only_once_it_began(path: Path) -> None:
    """Who waited in vain answered nothing; who met the other side is counted before it answers."""
    kept(path)
    for _ in range(3):
        found = load(path)
        assert found.state.sessions == 2
        found.close()
    found = load(path)
    found.keep(found.state)
    found.close()
    assert load(path).state.sessions == 3


def test_nothing_is_written_before_the_sides_met(path: Path) -> None:
    Unfinished(path, BEGINNING, BEGUN).close()
    assert not path.parent.exists()
    check_finished(path)


def test_one_process_holds_it(path: Path) -> None:
    kept(path)
    held = load(path)
    with pytest.raises(ConfigError, match="in use"):
        load(path)
    held.close()
    load(path).close()


def test_another_training_is_not_written_over(path: Path) -> None:
    kept(path)
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="another training"):
        Unfinished(path, BEGINNING, BEGUN).keep(BEGUN)
    with pytest.raises(ConfigError, match="go on with `resume`"):
        check_finished(path)
    assert path.read_bytes() == before


def test_what_is_done_leaves_no_file(path: Path) -> None:
    kept(path)
    found = load(path)
    found.remove()
    found.close()
    assert list(path.parent.iterdir()) == []
    with pytest.raises(ConfigError, match="no training broke off here"):
        load(path)
    assert list(path.parent.iterdir()) == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_damaged_files_are_refused(data: st.DataObject, tmp_path: Path) -> None:
    path = tmp_path / "unfinished.json"
    path.unlink(missing_ok=True)
    kept(path)
    whole = path.read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    flip = data.draw(st.sampled_from([1, 0x80]))
    path.write_bytes(data.draw(st.sampled_from(damaged(whole, place, flip))))
    with pytest.raises(DecodeError, match="train from the beginning, in another folder"):
        load(path)


def test_other_files_are_refused(path: Path) -> None:
    kept(path)
    whole = path.read_bytes()
    for other in (b"{}", b"null", b"[" * 100_000, whole.replace(b"training 1", b"training 2")):
        assert other != whole
        path.write_bytes(other)
        with pytest.raises(DecodeError):
            load(path)
