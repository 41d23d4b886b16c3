"""How much each peer has asked, across runs: counted on disk before anything is answered.

One SQLite file, so that a count survives a crash and two sessions at once both count. A peer is
whoever holds a certificate; the ledger keeps its fingerprint, the time, what it could test, and
what the session costs each ID of this side (ε, δ), and a digest of all of it: SQLite itself does
not notice a bit that flips in a count or a name.

Items and sessions are limited for each peer; ε and δ for all peers in sum, as they may tell each
other what they learnt. Costs add up (basic composition: Dwork and Roth 2014, theorem 3.16), also
where sessions run at once or a question depends on answers before. A session without noise costs an
unlimited ε, and so does one that a ledger of before counted.
"""

import contextlib
import hashlib
import math
import os
import secrets
import sqlite3
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeAlias

from psi.defaults import DELTA_IN_ALL
from psi.errors import ConfigError, QueryLimitError
from psi.storage import put_new

__all__ = ["Ledger"]

_COSTS = ("epsilon REAL", "delta REAL")  # ledgers of before have none
_TABLE = f"CREATE TABLE sessions (peer TEXT, items INTEGER, began TEXT, {', '.join(_COSTS)})"
_DIGEST = "CREATE TABLE digest (sha256 TEXT)"  # of one row; ledgers of before have none
_COLUMNS_BEFORE = 3
_LOCK_SECONDS = 30

_Row: TypeAlias = tuple[Any, ...]
"""A session: peer, items, time, ε and δ."""


class Ledger:
    """The sessions of every peer, and how many of them and of their items are allowed."""

    def __init__(
        self,
        path: Path,
        *,
        items_a_peer: int | None = None,
        sessions_a_peer: int | None = None,
        epsilon_in_all: float | None = None,
        delta_in_all: float | None = None,
    ) -> None:
        """Open a ledger, or begin one where there is no file.

        Args:
            path: The file that counts; one for all sessions that are to be limited together.
            items_a_peer: How many items a peer may be able to test in all of its sessions.
            sessions_a_peer: How many sessions a peer may hold.
            epsilon_in_all: The ε that all sessions with all peers may cost an ID of this side.
            delta_in_all: The δ of all of them, 1e-6 where only ε is limited.

        Raises:
            ConfigError: No limit is given, or one is not positive, or the file is no ledger, or δ
                is limited without ε.
        """
        counts = [limit for limit in (items_a_peer, sessions_a_peer) if limit is not None]
        costs = [limit for limit in (epsilon_in_all, delta_in_all) if limit is not None]
        if (
            not counts + costs
            or any(count < 1 for count in counts)
            or not all(0 < cost < math.inf for cost in costs)
        ):
            raise ConfigError(
                "a ledger limits the items or the sessions of a peer, or ε over all peers: give "
                "it at least one positive number"
            )
        if epsilon_in_all is None and delta_in_all is not None:
            raise ConfigError("a limit on δ goes with one on ε: give both, or that on ε alone")
        self._path = path = path.absolute()  # the program may go to another folder
        self._items_a_peer = items_a_peer
        self._sessions_a_peer = sessions_a_peer
        self._epsilon_in_all = epsilon_in_all
        self._delta_in_all = DELTA_IN_ALL if delta_in_all is None else delta_in_all
        if not path.exists():
            self._begin()
        with self._locked() as database:
            self._sessions(database)

    def charge(self, peer: str, items: int, epsilon: float = math.inf, delta: float = 0.0) -> None:
        """Count a session to a peer. It stays counted whatever becomes of the session.

        Args:
            peer: The fingerprint of the certificate by which the peer was authenticated.
            items: How many it can test with its set (`most_asked` of the session's party).
            epsilon: What the session costs each ID of this side; infinite without noise.
            delta: The chance for which `epsilon` promises nothing.

        Raises:
            QueryLimitError: It is more than the peer may still ask, or than may still be spent;
                nothing is counted.
            ConfigError: A cost is below 0 or no number, or the file is no ledger any more.
        """
        if not (epsilon >= 0 and delta >= 0):
            raise ConfigError("a session costs an epsilon and a delta from 0")
        with self._locked() as database:
            rows = self._sessions(database)
            self._check_peer(rows, peer, items)
            self._check_cost(rows, epsilon, delta)
            database.execute(
                "INSERT INTO sessions VALUES (?, ?, datetime('now'), ?, ?)",
                (peer, items, float(epsilon), float(delta)),
            )
            _seal(database)

    def check(self, peer: str, items: int) -> None:
        """Refuse, without counting it, a session over the limits of one peer.

        Raises:
            QueryLimitError: It is more than the peer may still ask.
        """
        with self._locked() as database:
            self._check_peer(self._sessions(database), peer, items)

    def check_cost(self, epsilon: float, delta: float = 0.0) -> None:
        """Refuse an ε or a δ that may not be spent any more, whoever the peer is.

        Raises:
            QueryLimitError: It is more than is left.
        """
        with self._locked() as database:
            self._check_cost(self._sessions(database), epsilon, delta)

    def spent(self) -> tuple[float, float]:
        """Return the ε and the δ of all sessions with all peers; infinite after an exact one."""
        with self._locked() as database:
            epsilon, delta = _total(self._sessions(database))
        return math.inf if epsilon is None else float(epsilon), float(delta)

    def items_left(self, peer: str) -> int | None:
        """Return how many items a peer may still test; None without such a limit."""
        if self._items_a_peer is None:
            return None
        with self._locked() as database:
            return max(self._items_a_peer - _of_peer(self._sessions(database), peer)[1], 0)

    def __repr__(self) -> str:
        return (
            f"Ledger({self._items_a_peer} items, {self._sessions_a_peer} sessions a peer, "
            f"ε {self._epsilon_in_all} and δ {self._delta_in_all} in all)"
        )

    def _check_peer(self, rows: list[_Row], peer: str, items: int) -> None:
        sessions, used = _of_peer(rows, peer)
        if self._sessions_a_peer is not None and sessions >= self._sessions_a_peer:
            raise QueryLimitError(
                f"the other side has held {sessions} sessions of the {self._sessions_a_peer} that "
                "this side allows it: raise the limit if that is agreed"
            )
        if self._items_a_peer is not None and used + items > self._items_a_peer:
            left = max(self._items_a_peer - used, 0)
            raise QueryLimitError(
                f"{items} items asked where the other side may ask {left} more of "
                f"{self._items_a_peer}: raise the limit if that is agreed, or wait for a new key "
                "or ledger"
            )

    def _check_cost(self, rows: list[_Row], epsilon: float, delta: float) -> None:
        most = self._epsilon_in_all
        if most is None or not (epsilon or delta):
            return
        if math.isinf(epsilon):
            raise QueryLimitError(
                f"a session without noise costs an unlimited ε where {most} is allowed in all: "
                "choose an epsilon, or no limit on it"
            )
        spent, spent_delta = _total(rows)
        if spent is None:
            raise QueryLimitError(
                "this ledger counts sessions without noise, whose ε is unlimited: choose no limit "
                "on it, or a new ledger for what those sessions did not touch"
            )
        if spent + _exact(epsilon) > _exact(most):
            raise QueryLimitError(
                f"ε={epsilon} asked where {float(_exact(most) - spent)} of {most} is left, over "
                "all peers: choose a smaller epsilon, or raise the limit if that is agreed"
            )
        if spent_delta + _exact(delta) > _exact(self._delta_in_all):
            left = max(float(_exact(self._delta_in_all) - spent_delta), 0.0)
            raise QueryLimitError(
                f"δ={delta} asked where {left} of {self._delta_in_all} is left, over all peers: "
                "choose a smaller delta, or raise the limit if that is agreed"
            )

    def _begin(self) -> None:
        """Make the file in one step: another session may open it at any moment."""
        target = Path(os.path.realpath(self._path))
        part = target.with_name(f".{secrets.token_hex(8)}.part")
        try:
            with contextlib.closing(sqlite3.connect(part)) as database:
                database.execute(_TABLE)
            with contextlib.suppress(FileExistsError):  # another one began it
                put_new(part, target)
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(
                f"{self._path} cannot count ({error}): choose a folder that can be written"
            ) from error
        finally:
            part.unlink(missing_ok=True)

    @staticmethod
    def _sessions(database: sqlite3.Connection) -> list[_Row]:
        """Return all sessions, after checking their digest; add what ledgers of before lack."""
        rows = _rows(database)
        if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'digest'").fetchone():
            database.execute(_DIGEST)
            database.execute("INSERT INTO digest VALUES (?)", (_digest(rows),))
        if database.execute("SELECT sha256 FROM digest").fetchall() != [(_digest(rows),)]:
            raise sqlite3.DatabaseError("its counts are damaged")
        if len(database.execute("PRAGMA table_info(sessions)").fetchall()) == _COLUMNS_BEFORE:
            for column in _COSTS:
                database.execute(f"ALTER TABLE sessions ADD COLUMN {column}")
            rows = _seal(database)
        return rows

    @contextlib.contextmanager
    def _locked(self) -> Iterator[sqlite3.Connection]:
        """Yield the database in a transaction that no other overlaps; an error undoes it."""
        try:
            connection = sqlite3.connect(self._path, timeout=_LOCK_SECONDS, isolation_level=None)
            with contextlib.closing(connection) as database:
                database.execute("BEGIN IMMEDIATE")
                yield database
                database.execute("COMMIT")
        except (sqlite3.Error, UnicodeDecodeError) as error:  # a damaged name, in SQLite's words
            # Without the count there would be no limit.
            reason = " ".join(str(error).split())
            raise ConfigError(
                f"{self._path} cannot count ({reason}): choose a folder that can be written, or "
                "begin a new ledger or store"
            ) from error


def _rows(database: sqlite3.Connection) -> list[_Row]:
    """Return the sessions in their order."""
    return database.execute("SELECT * FROM sessions ORDER BY rowid").fetchall()


def _seal(database: sqlite3.Connection) -> list[_Row]:
    """Write the digest of the sessions, and return them."""
    rows = _rows(database)
    database.execute("UPDATE digest SET sha256 = ?", (_digest(rows),))
    return rows


def _digest(rows: list[_Row]) -> str:
    return hashlib.sha256(repr(rows).encode(errors="backslashreplace")).hexdigest()


def _of_peer(rows: list[_Row], peer: str) -> tuple[int, int]:
    """Return how many sessions a peer has held, and the items of all."""
    items = [row[1] for row in rows if row[0] == peer]
    return len(items), sum(items)


def _total(rows: list[_Row]) -> tuple[Fraction | None, Fraction]:
    """Return the ε, None if it is unlimited, and the δ of all sessions."""
    epsilons = [row[3] for row in rows]
    delta = sum((_exact(row[4] or 0.0) for row in rows), Fraction())
    if any(one is None or math.isinf(one) for one in epsilons):
        return None, delta
    return sum(map(_exact, epsilons), Fraction()), delta


def _exact(number: float) -> Fraction:
    """Return a number as it is written, so that three times 0.1 is 0.3."""
    return Fraction(repr(float(number)))
