"""Seeded mutations of what psi keeps: a ledger. A named error, or no harm."""

import contextlib
import random
import shutil
import sqlite3
from pathlib import Path

import pytest

from psi import ConfigError, PSIError
from psi.ledger import Ledger
from tests.mutations import KINDS, mutations


def ledger(folder: Path) -> Path:
    path = folder / "ledger"
    made = Ledger(path, items_a_peer=100, sessions_a_peer=9)
    for peer in ("bob", "carol"):
        for items in (3, 4):
            made.charge(peer, items)
    return path


def use(path: Path) -> tuple[int | None, int | None]:
    """All that a ledger does; what it says that is left before and after."""
    opened = Ledger(path, items_a_peer=100, sessions_a_peer=9)
    before = opened.items_left("bob")
    opened.check("bob", 5)
    opened.charge("bob", 5)
    return before, opened.items_left("bob")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.deep(normal=100, stated=9_100)  # of eleven kinds
def test_a_mutated_ledger_is_a_named_error_or_counts_right(
    tmp_path: Path, kind: str, count: int
) -> None:
    rng = random.Random(kind)  # noqa: S311  (mutations are to be the same in every run)
    good, wrong = ledger(tmp_path).read_bytes(), []
    for bad in mutations(rng, good, kind, count):
        folder = tmp_path / "bad"
        shutil.rmtree(folder, ignore_errors=True)  # with what SQLite left beside the file
        folder.mkdir()
        (folder / "ledger").write_bytes(bad)
        try:
            said = use(folder / "ledger")
        except PSIError as error:
            if "\n" in str(error) or str(folder / "ledger") not in str(error):
                wrong.append(str(error))
        else:
            if said != (93, 88):
                wrong.append(f"{said} left")
    assert not wrong


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE sessions SET items = 1",
        "UPDATE sessions SET items = 9e999",
        "UPDATE sessions SET items = 'many'",
        "UPDATE sessions SET items = NULL",
        "UPDATE sessions SET peer = 'bib' WHERE peer = 'bob'",
        "DELETE FROM sessions WHERE rowid = 4",
        "UPDATE sessions SET epsilon = 0",
        "UPDATE sessions SET epsilon = NULL, delta = NULL",
        "DELETE FROM digest",
        "UPDATE digest SET sha256 = x'ff'",
    ],
)
def test_counts_that_were_changed_are_refused(tmp_path: Path, change: str) -> None:
    path = ledger(tmp_path)
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute(change)
    with pytest.raises(ConfigError, match=r"ledger cannot count \(its counts are damaged"):
        use(path)


def test_a_ledger_of_before_goes_on(tmp_path: Path) -> None:
    path = ledger(tmp_path)
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("DROP TABLE digest")
    assert use(path) == (93, 88)
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE sessions SET items = 1")
    with pytest.raises(ConfigError, match="damaged"):
        use(path)
