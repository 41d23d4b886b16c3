"""Limits across runs: counted before anything is answered, by everybody's count at once."""

import contextlib
import hashlib
import math
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from psi import ConfigError, QueryLimitError
from psi.ledger import Ledger
from psi.protocols.commutative import CommutativeParty
from tests.psi.peers import PAIRS, run

# A store has its own ledger: test_unbalanced.
LIMITED = [name for name in PAIRS if name != "unbalanced"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger"


@pytest.mark.parametrize("name", LIMITED)
@pytest.mark.parametrize("role", [0, 1])
def test_every_protocol_stops_before_it_says_more_than_sizes(
    name: str, role: int, path: Path
) -> None:
    for allowed in (True, False):
        parties = PAIRS[name]()
        ledger = Ledger(path, sessions_a_peer=1)
        parties[role].charge_with(lambda peer, items, ledger=ledger: ledger.charge("bob", items))
        if allowed:
            run(*parties)
            continue
        with pytest.raises(QueryLimitError, match="held 1 sessions of the 1"):
            run(*parties)
        assert parties[role]._identity == b""  # noqa: SLF001  (not even the session was begun)


def test_items_are_those_of_all_sessions(path: Path) -> None:
    ledger = Ledger(path, items_a_peer=10)
    assert ledger.items_left("bob") == 10
    ledger.charge("bob", 4)
    ledger = Ledger(path, items_a_peer=10)  # a later run
    with pytest.raises(QueryLimitError, match="7 items asked where the other side may ask 6"):
        ledger.charge("bob", 7)
    ledger.check("bob", 6)
    ledger.charge("bob", 6)
    assert ledger.items_left("bob") == 0
    with pytest.raises(QueryLimitError):
        ledger.check("bob", 1)
    ledger.charge("carol", 10)
    assert Ledger(path, sessions_a_peer=1).items_left("bob") is None


def test_an_empty_set_can_test_nothing_and_is_a_session(path: Path) -> None:
    ledger = Ledger(path, items_a_peer=2, sessions_a_peer=2)
    for _ in range(2):
        ledger.charge("bob", 0)
    assert ledger.items_left("bob") == 2
    for refused in (ledger.check, ledger.charge):
        with pytest.raises(QueryLimitError, match="2 sessions"):
            refused("bob", 0)


def test_a_failed_session_stays_counted(path: Path) -> None:
    receiver, sender = PAIRS["cardinality"]()
    ledger = Ledger(path, sessions_a_peer=1)
    sender.charge_with(lambda peer, items: ledger.charge("bob", items))
    receiver.receive(sender.receive(receiver.start()))
    with pytest.raises(QueryLimitError):
        ledger.check("bob", 1)


def test_sessions_at_once_are_all_counted(path: Path) -> None:
    def ask(_: int) -> bool:
        try:
            Ledger(path, items_a_peer=25).charge("bob", 5)
        except QueryLimitError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(ask, range(16))) == 5


def test_a_ledger_that_another_session_begins_meanwhile(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is made and counted in between this one's look for it and its own beginning."""
    begin = Ledger._begin  # noqa: SLF001  (where the process is cut)

    def overtaken(self: Ledger) -> None:
        monkeypatch.setattr(Ledger, "_begin", begin)
        Ledger(path, items_a_peer=25).charge("bob", 5)
        begin(self)

    monkeypatch.setattr(Ledger, "_begin", overtaken)
    assert Ledger(path, items_a_peer=25).items_left("bob") == 20
    assert [found.name for found in path.parent.iterdir()] == [path.name]


# -- what sessions cost ---------------------------------------------------------------------------


def test_costs_add_up_over_all_peers(path: Path) -> None:
    ledger = Ledger(path, epsilon_in_all=0.3)
    for peer in ("alice", "bob", "carol"):  # three times 0.1 is 0.3, in decimals
        ledger.check_cost(0.1)
        ledger.charge(peer, 5, 0.1, 1e-9)
    assert ledger.spent() == (0.3, 3e-9)
    words = r"where 0\.0 of 0\.3 is left, over all peers"
    with pytest.raises(QueryLimitError, match=words):
        ledger.charge("dave", 5, 0.1)
    with pytest.raises(QueryLimitError, match=words):
        ledger.check_cost(1e-3)
    assert Ledger(path, epsilon_in_all=1).spent() == (0.3, 3e-9)  # the refused cost nothing
    Ledger(path, epsilon_in_all=1).charge("dave", 5, 0.7)


@pytest.mark.parametrize(("limit", "most"), [(None, 1e-6), (3e-5, 3e-5)])
def test_deltas_add_up_over_all_peers(path: Path, limit: float | None, most: float) -> None:
    """Else 5000 sessions of ε=0.001 and δ=1e-4 keep a limit of 5, and promise nothing."""
    ledger = Ledger(path, epsilon_in_all=5, delta_in_all=limit)
    for peer in ("alice", "bob"):
        ledger.check_cost(0.001, most / 2)
        ledger.charge(peer, 5, 0.001, most / 2)
    for refused in (ledger.check_cost, lambda *cost: ledger.charge("carol", 5, *cost)):
        with pytest.raises(QueryLimitError, match=rf"δ=1e-09 asked where 0\.0 of {most} is left"):
            refused(0.001, 1e-9)
    ledger.charge("carol", 5, 0.001)
    assert ledger.spent() == (0.003, most)


def test_a_ledger_over_its_delta_already_refuses(path: Path) -> None:
    Ledger(path, sessions_a_peer=9).charge("bob", 5, 0.1, 1e-4)
    with pytest.raises(QueryLimitError, match=r"where 0\.0 of 1e-06 is left"):
        Ledger(path, epsilon_in_all=5).charge("bob", 5, 0.1, 1e-9)
    Ledger(path, epsilon_in_all=5, delta_in_all=2e-4).charge("bob", 5, 0.1, 1e-9)


def test_a_limit_on_delta_goes_with_one_on_epsilon(path: Path) -> None:
    with pytest.raises(ConfigError, match="goes with one on ε"):
        Ledger(path, sessions_a_peer=1, delta_in_all=1e-6)
    assert not path.exists()


def test_a_peer_that_says_hello_and_goes_away_spends_epsilon(path: Path) -> None:
    receiver, sender = PAIRS["cardinality, noisy"]()
    ledger = Ledger(path, epsilon_in_all=30)
    sender.charge_with(lambda peer, items: ledger.charge("bob", items, *sender.cost))
    sender.receive(receiver.start())
    assert ledger.spent() == tuple(sender.cost)


def test_a_deleted_ledger_begins_anew(path: Path) -> None:
    Ledger(path, epsilon_in_all=1).charge("bob", 5, 1.0, 1e-9)
    path.unlink()
    assert Ledger(path, epsilon_in_all=1).spent() == (0.0, 0.0)


def test_an_exact_session_costs_without_limit(path: Path) -> None:
    limited = Ledger(path, epsilon_in_all=20)
    with pytest.raises(QueryLimitError, match="a session without noise costs an unlimited"):
        limited.charge("bob", 5)
    with pytest.raises(QueryLimitError, match="a session without noise costs an unlimited"):
        limited.check_cost(math.inf)
    limited.charge("bob", 5, 1.0, 1e-9)
    Ledger(path, sessions_a_peer=9).charge("carol", 5)  # counts without a limit
    assert limited.spent() == (math.inf, 1e-9)
    with pytest.raises(QueryLimitError, match="counts sessions without noise"):
        limited.charge("bob", 5, 0.001)
    limited.charge("bob", 5, 0.0)  # it tells nothing


def test_costs_at_once_are_all_counted(path: Path) -> None:
    def ask(number: int) -> bool:
        try:
            Ledger(path, epsilon_in_all=0.5).charge(f"peer {number}", 5, 0.1)
        except QueryLimitError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(ask, range(12))) == 5


@pytest.mark.parametrize("cost", [(-1.0, 0.0), (math.nan, 0.0), (1.0, -1e-9), (1.0, math.nan)])
def test_costs_that_are_none(path: Path, cost: tuple[float, float]) -> None:
    ledger = Ledger(path, epsilon_in_all=1)
    with pytest.raises(ConfigError, match="from 0"):
        ledger.charge("bob", 5, *cost)
    assert ledger.spent() == (0.0, 0.0)


@pytest.mark.parametrize("name", ["cardinality, noisy", "sum, noisy", "cardinality", "ids"])
@pytest.mark.parametrize("role", [0, 1])
def test_a_party_is_charged_before_it_says_more_than_sizes(
    name: str, role: int, path: Path
) -> None:
    for allowed in (True, False):
        parties = PAIRS[name]()
        cost = parties[role].cost
        most = min(1.5 * cost.epsilon, 1e9) if "noisy" in name else 1e9
        ledger = Ledger(path, epsilon_in_all=most)
        parties[role].charge_with(
            lambda peer, items, ledger=ledger, cost=cost: ledger.charge("bob", items, *cost)
        )
        if allowed and "noisy" in name:
            run(*parties)
            assert ledger.spent() == (cost.epsilon, cost.delta)
            continue
        with pytest.raises(QueryLimitError):
            run(*parties)
        assert parties[role]._identity == b""  # noqa: SLF001  (not even the session was begun)


def test_a_ledger_without_costs_goes_on_and_counts_as_exact(path: Path) -> None:
    """As versions of before wrote it, with their digest."""
    rows = [("bob", 5, "2026-01-01 00:00:00"), ("carol", 7, "2026-01-02 00:00:00")]
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE sessions (peer TEXT, items INTEGER, began TEXT)")
        database.executemany("INSERT INTO sessions VALUES (?, ?, ?)", rows)
        database.execute("CREATE TABLE digest (sha256 TEXT)")
        digest = hashlib.sha256(repr(rows).encode()).hexdigest()
        database.execute("INSERT INTO digest VALUES (?)", (digest,))
    ledger = Ledger(path, items_a_peer=20, epsilon_in_all=5)
    assert (ledger.items_left("bob"), ledger.items_left("carol")) == (15, 13)
    assert ledger.spent() == (math.inf, 0.0)
    with pytest.raises(QueryLimitError, match="counts sessions without noise"):
        ledger.charge("bob", 1, 0.1)
    Ledger(path, items_a_peer=20).charge("bob", 1, 0.1, 1e-9)
    assert Ledger(path, items_a_peer=20).items_left("bob") == 14


@pytest.mark.parametrize(
    "limits",
    [
        {},
        {"items_a_peer": 0},
        {"sessions_a_peer": -1},
        {"epsilon_in_all": 0},
        {"epsilon_in_all": math.nan},
        {"epsilon_in_all": math.inf},
        {"epsilon_in_all": 1, "items_a_peer": 0},
        {"epsilon_in_all": 1, "delta_in_all": 0},
        {"epsilon_in_all": 1, "delta_in_all": math.nan},
    ],
)
def test_limits_that_are_none(path: Path, limits: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="at least one positive"):
        Ledger(path, **limits)
    assert not path.exists()


@pytest.mark.parametrize("content", [b"", b"no database" * 100])
def test_a_ledger_that_lost_count_counts_nothing_as_zero(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="cannot count"):
        Ledger(path, sessions_a_peer=1)


def test_a_ledger_that_loses_count_while_it_is_open(path: Path) -> None:
    ledger = Ledger(path, sessions_a_peer=5)
    ledger.charge("bob", 1)
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("DROP TABLE sessions")
    with pytest.raises(ConfigError, match="cannot count"):
        ledger.charge("bob", 1)


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="folder that can be written"):
        Ledger(tmp_path / "absent" / "ledger", sessions_a_peer=1)


def test_what_a_count_holds_is_said_as_it_is() -> None:
    """Points of counts, sums and private IDs may each ask about several IDs: none is a bound."""
    words = {name: type(PAIRS[name]()[0]).counted_as for name in LIMITED}
    several = {name for name, said in words.items() if "several" in said}
    assert several == {
        name for name in LIMITED if issubclass(type(PAIRS[name]()[0]), CommutativeParty)
    }
    assert words["ecdh"] == "as many as it can test if it cheats"
    assert len(several) >= 3
