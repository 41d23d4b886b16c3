"""Passphrases of keys: from a file, or typed at a terminal, which does not show them."""

import sys
from pathlib import Path

import typer

from psi.errors import ConfigError
from psi.storage import is_locked, read_passphrase, read_secret

__all__ = ["known_passphrase", "new_passphrase"]


def new_passphrase(
    file: Path | None, *, unlocked: bool, refusal: type[Exception] = ConfigError
) -> str | None:
    """Return what is to lock new keys, typed twice where no file is given; None for unlocked.

    Raises:
        ConfigError: There is no terminal to ask at, the file cannot be read, or both are given.
    """
    if unlocked:
        if file is not None:
            raise refusal("give --passphrase-file or --unlocked, not both")
        return None
    if file is not None:
        return read_passphrase(file, refusal=refusal)
    if not sys.stdin.isatty():
        raise refusal(
            "no terminal to ask for a passphrase: give --passphrase-file FILE, or --unlocked to "
            "leave the keys to their files' mode"
        )
    return _typed("Passphrase for the new keys", twice=True)


def known_passphrase(
    file: Path | None, key: Path, *, refusal: type[Exception] = ConfigError
) -> str | None:
    """Return what locks a key: from a file, or typed if the key is locked; else None.

    Raises:
        ConfigError: It is locked and there is no terminal, or a file cannot be read.
    """
    if file is not None:
        return read_passphrase(file, refusal=refusal)
    if not key.is_file() or not is_locked(read_secret(key, refusal=refusal)):
        return None
    if not sys.stdin.isatty():
        raise refusal(f"{key} is locked: give --passphrase-file FILE, or type it at a terminal")
    return _typed(f"Passphrase of {key}")


def _typed(prompt: str, *, twice: bool = False) -> str:
    asked = typer.prompt(prompt, hide_input=True, confirmation_prompt=twice, err=True)
    return str(asked)
