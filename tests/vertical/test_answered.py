"""The count of what a model answered: kept across runs, and nothing is answered without it."""

from __future__ import annotations

from pathlib import Path

import pytest

from privfed.errors import BudgetExceededError, ConfigError
from privfed.vertical.answered import Answered
from psi.storage import Record
from tests.vertical.queries import Asked, talk

MODEL = "ab" * 32


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "answered.json"


def test_a_count_is_kept_across_runs(path: Path) -> None:
    Answered(path, MODEL, 100).begin(40)
    Answered(path, MODEL, 100).charge(50)
    again = Answered(path, MODEL, 100)
    with pytest.raises(BudgetExceededError, match="answered 90 rows and may answer 100 in all"):
        again.charge(11)
    assert again.rows == 90
    again.charge(10)
    with pytest.raises(BudgetExceededError):
        Answered(path, MODEL, 100).charge(1)
    assert Answered(path, MODEL, 100).rows == 100
    assert path.stat().st_mode & 0o777 == 0o600


def test_rows_of_training_count(path: Path) -> None:
    with pytest.raises(BudgetExceededError):
        Answered(path, MODEL, 10).begin(11)
    assert not path.exists()
    Answered(path, MODEL, 10).begin(10)
    with pytest.raises(BudgetExceededError):
        Answered(path, MODEL, 10).charge(1)


def test_a_count_that_is_gone_answers_nothing(path: Path) -> None:
    answered = Answered(path, MODEL, 100)
    answered.begin(40)
    path.unlink()
    with pytest.raises(ConfigError, match="is gone"):
        answered.charge(1)
    assert not path.exists()


def test_a_damaged_count_answers_nothing(path: Path) -> None:
    """Every byte of it; what is left is no smaller number."""
    answered = Answered(path, MODEL, 100)
    answered.begin(40)
    whole = path.read_bytes()
    damaged = [whole[:-1], whole + b"}", b"", b"\xff" + whole, b"null", b"[" * 100_000]
    damaged += [
        whole[:place] + bytes([byte ^ 1]) + whole[place + 1 :] for place, byte in enumerate(whole)
    ]
    for each in damaged:
        path.write_bytes(each)
        with pytest.raises(ConfigError):
            answered.charge(1)
        assert path.read_bytes() == each


def test_a_count_is_of_one_model(path: Path) -> None:
    Answered(path, MODEL, 100).begin(0)
    other = Answered(path, MODEL[::-1], 100)
    with pytest.raises(ConfigError, match="another model"):
        other.charge(1)
    with pytest.raises(ConfigError, match="another folder"):
        other.begin(0)
    assert Answered(path, MODEL, 100).rows == 0


def test_two_do_not_count_at_once(path: Path) -> None:
    answered = Answered(path, MODEL, 100)
    answered.begin(0)
    with Record(path), pytest.raises(ConfigError, match="in use"):
        answered.charge(1)
    answered.charge(1)
    assert answered.rows == 1


def test_a_host_answers_until_the_limit(path: Path) -> None:
    """A query that breaks off stays counted."""
    Answered(path, MODEL, 12).begin(2)
    for count in (7, 12):
        guest, host = Asked.made(rows=5).sides()
        host.charge_with(Answered(path, MODEL, 12).charge)
        hello = guest.start()
        assert hello is not None
        assert host.receive(hello) is not None
        assert Answered(path, MODEL, 12).rows == count
    guest, host = Asked.made(rows=5).sides()
    host.charge_with(Answered(path, MODEL, 12).charge)
    with pytest.raises(BudgetExceededError):
        talk(guest, host)
    assert Answered(path, MODEL, 12).rows == 12
