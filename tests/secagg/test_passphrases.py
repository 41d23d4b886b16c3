"""Passphrases as they are typed, at a terminal, and what is said where there is none."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from privfed.secagg import Keyring
from psi.network import TLSIdentity
from tests.places import ROOT
from tests.terminal import at_terminal

ENVIRONMENT = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], "TERM": "dumb"}
COMMANDS = {
    "privfed": "from privfed.cli import main; main()",
    "psi": "import psi.cli; psi.cli.main()",
}


def typed(folder: Path, answers: list[str], program: str, *words: str) -> tuple[int, str]:
    """Run one of the programs at a terminal."""
    call = [sys.executable, "-c", COMMANDS[program], *words]
    status, shown, asked = at_terminal(call, answers, folder=folder, environment=ENVIRONMENT)
    assert asked == len(answers), shown
    return status, shown


def untyped(folder: Path, program: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run one where no terminal is."""
    return subprocess.run(
        [sys.executable, "-c", COMMANDS[program], *words],
        cwd=folder,
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_keyring_is_locked_by_what_is_typed_twice(tmp_path: Path) -> None:
    answers = ["correct horse", "another horse", "correct horse", "correct horse"]
    status, shown = typed(tmp_path, answers, "privfed", "keys", "identity", "ring")
    assert status == 0, shown
    assert "horse" not in shown
    ring = Keyring(tmp_path / "ring", "correct horse")
    for name in ("identity.key", "tls.key"):
        assert (tmp_path / "ring" / name).read_bytes().startswith(b"PFSECRET\x01\x01")
    status, shown = typed(tmp_path, ["correct horse"], "privfed", "keys", "show", "ring")
    assert status == 0, shown
    assert ring.identity.public.id in shown
    status, shown = typed(tmp_path, ["wrong"], "privfed", "keys", "show", "ring")
    assert status == 2
    assert "wrong passphrase" in shown
    done = untyped(tmp_path, "privfed", "keys", "show", "ring")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "--passphrase-file" in done.stderr


def test_a_key_of_psi_is_locked_by_what_is_typed_twice(tmp_path: Path) -> None:
    status, shown = typed(tmp_path, ["p w", "p w"], "psi", "keygen", "carol")
    assert status == 0, shown
    TLSIdentity.load(tmp_path / "carol", "p w")
    (tmp_path / "t.csv").write_text("ID\n1\n")
    peer = ("--peer", "carol.key", "--identity", "carol")  # no certificate: it ends after the key
    status, shown = typed(tmp_path, ["p w"], "psi", "serve", "t.csv", "--on", "ID", *peer)
    assert "carol.key holds no certificate" in shown
    status, shown = typed(tmp_path, ["p"], "psi", "serve", "t.csv", "--on", "ID", *peer)
    assert "wrong passphrase" in shown


@pytest.mark.parametrize(
    ("program", "words"), [("privfed", ["keys", "identity"]), ("psi", ["keygen"])]
)
def test_without_a_terminal_it_is_said_what_to_give(
    tmp_path: Path, program: str, words: list[str]
) -> None:
    done = untyped(tmp_path, program, *words, "new")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "--passphrase-file FILE, or --unlocked" in done.stderr
    assert list(tmp_path.iterdir()) == []
    done = untyped(tmp_path, program, *words, "new", "--unlocked")
    assert done.returncode == 0
    key = tmp_path / "new" / "identity.key" if program == "privfed" else tmp_path / "new.key"
    assert not key.read_bytes().startswith(b"PFSECRET\x01\x01")


def test_an_unlocked_keyring_asks_for_nothing(tmp_path: Path) -> None:
    Keyring.create(tmp_path / "ring", unlocked=True)
    status, shown = typed(tmp_path, [], "privfed", "keys", "show", "ring")
    assert status == 0, shown


def test_words_of_the_library_are_the_commands(tmp_path: Path) -> None:
    """A locked key beside an open identity: the library, not the command, finds it."""
    Keyring.create(tmp_path / "ring", unlocked=True)
    Keyring.create(tmp_path / "locked", "p")
    (tmp_path / "ring" / "tls.key").write_bytes((tmp_path / "locked" / "tls.key").read_bytes())
    done = untyped(tmp_path, "privfed", "keys", "certify", "ring")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "give its --passphrase-file" in done.stderr
