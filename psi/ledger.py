"""How much each peer has asked, across runs: counted on disk before anything is answered.

One SQLite file, so that a count survives a crash and two sessions at once both count. A peer is
whoever holds a certificate; the ledger keeps its fingerprint, the time and what it could test, and
a digest of all of it: SQLite itself does not notice a bit that flips in a count or a name.
"""

import contextlib
import hashlib
import os
import secrets
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from psi.errors import ConfigError, QueryLimitError
from psi.storage import put_new

__all__ = ["Ledger"]

_TABLE = "CREATE TABLE sessions (peer TEXT, items INTEGER, began TEXT)"
_DIGEST = "CREATE TABLE digest (sha256 TEXT)"  # of one row; ledgers of before have none
_LOCK_SECONDS = 30


class Ledger:
    """The sessions of every peer, and how many of them and of their items are allowed."""

    def __init__(
        self, path: Path, *, items_a_peer: int | None = None, sessions_a_peer: int | None = None
    ) -> None:
        """Open a ledger, or begin one where there is no file.

        Args:
            path: The file that counts; one for all sessions that are to be limited together.
            items_a_peer: How many items a peer may be able to test in all of its sessions.
            sessions_a_peer: How many sessions a peer may hold.

        Raises:
            ConfigError: No limit is given, or one is not positive, or the file is no ledger.
        """
        limits = [limit for limit in (items_a_peer, sessions_a_peer) if limit is not None]
        if not limits or min(limits) < 1:
            raise ConfigError(
                "a ledger limits the items or the sessions of a peer, or both: give it at least "
                "one positive number"
            )
        self._path = path = path.absolute()  # the program may go to another folder
        self._items_a_peer = items_a_peer
        self._sessions_a_peer = sessions_a_peer
        if not path.exists():
            self._begin()
        with self._locked() as database:
            self._used(database, "")

    def charge(self, peer: str, items: int) -> None:
        """Count a session to a peer. It stays counted whatever becomes of the session.

        Args:
            peer: The fingerprint of the certificate by which the peer was authenticated.
            items: How many it can test with its set (`most_asked` of the session's party).

        Raises:
            QueryLimitError: It is more than the peer may still ask; nothing is counted.
            ConfigError: The file is no ledger any more.
        """
        with self._locked() as database:
            self._check(*self._used(database, peer), items)
            database.execute("INSERT INTO sessions VALUES (?, ?, datetime('now'))", (peer, items))
            database.execute("UPDATE digest SET sha256 = ?", (_digest(_rows(database)),))

    def check(self, peer: str, items: int) -> None:
        """Refuse what `charge` would refuse, without counting it.

        Raises:
            QueryLimitError: It is more than the peer may still ask.
        """
        with self._locked() as database:
            self._check(*self._used(database, peer), items)

    def items_left(self, peer: str) -> int | None:
        """Return how many items a peer may still test; None without such a limit."""
        if self._items_a_peer is None:
            return None
        with self._locked() as database:
            return max(self._items_a_peer - self._used(database, peer)[1], 0)

    def __repr__(self) -> str:
        return f"Ledger({self._items_a_peer} items, {self._sessions_a_peer} sessions a peer)"

    def _check(self, sessions: int, used: int, items: int) -> None:
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
    def _used(database: sqlite3.Connection, peer: str) -> tuple[int, int]:
        rows = _rows(database)
        if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'digest'").fetchone():
            database.execute(_DIGEST)
            database.execute("INSERT INTO digest VALUES (?)", (_digest(rows),))
        if database.execute("SELECT sha256 FROM digest").fetchall() != [(_digest(rows),)]:
            raise sqlite3.DatabaseError("its counts are damaged")
        of_peer = [items for each, items, _ in rows if each == peer]
        return len(of_peer), sum(of_peer)

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


def _rows(database: sqlite3.Connection) -> list[tuple[str, int, str]]:
    """Return the sessions in their order: peer, items, time."""
    return database.execute("SELECT peer, items, began FROM sessions ORDER BY rowid").fetchall()


def _digest(rows: list[tuple[str, int, str]]) -> str:
    return hashlib.sha256(repr(rows).encode(errors="backslashreplace")).hexdigest()
