"""Secrets under a passphrase: scrypt makes its key, ChaCha20-Poly1305 hides and authenticates.

All secrets under one passphrase are locked in this way: if one could be tried faster, an attacker
would guess the passphrase there.
"""

import os
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from psi.errors import ConfigError

__all__ = ["check_lock", "is_locked", "lock_secret", "read_passphrase", "unlock_secret"]

_LOCKED = b"PFSECRET\x01\x01"
_SALT_BYTES, _NONCE_BYTES = 16, 12
_SCRYPT_N = 2**15  # 32 MiB and about 0.1 s a guess (RFC 7914)


def check_lock(
    passphrase: str | None, unlocked: bool, *, refusal: type[Exception] = ConfigError
) -> None:
    """Refuse to leave a secret in the clear unless it is asked for by name.

    Raises:
        ConfigError: There is neither a passphrase nor `unlocked`, or there are both; or they are
            of another type, or the passphrase is empty.
    """
    if not isinstance(unlocked, bool):
        raise refusal("`unlocked` is True or False")
    if passphrase is None:
        if not unlocked:
            raise refusal(
                "give a `passphrase`, or `unlocked` to leave secrets to their files' mode"
            )
        return
    if unlocked:
        raise refusal("give a `passphrase` or `unlocked`, not both")
    if isinstance(passphrase, str) and not passphrase:
        raise refusal("the passphrase is empty; give one, or `unlocked`")
    _words(passphrase, refusal)


def lock_secret(
    secret: bytes,
    passphrase: str | None,
    *,
    unlocked: bool = False,
    refusal: type[Exception] = ConfigError,
) -> bytes:
    """Return a secret under a passphrase, or as it is where that is asked for.

    Raises:
        ConfigError: As `check_lock`.
    """
    check_lock(passphrase, unlocked, refusal=refusal)
    if passphrase is None:
        return secret
    salt, nonce = os.urandom(_SALT_BYTES), os.urandom(_NONCE_BYTES)
    key = _stretch(passphrase, salt, refusal)
    sealed = ChaCha20Poly1305(key).encrypt(nonce, secret, _LOCKED)
    return _LOCKED + salt + nonce + sealed


def is_locked(data: bytes) -> bool:
    """Return whether these bytes are what `lock` made with a passphrase."""
    return data.startswith(_LOCKED)


def unlock_secret(
    data: bytes,
    passphrase: str | None,
    path: Path,
    *,
    refusal: type[Exception] = ConfigError,
    altered: type[Exception] = ConfigError,
) -> bytes:
    """Return the secret that `lock` was given.

    Args:
        data: What it returned.
        passphrase: The same.
        path: The file that holds it, for the errors.
        refusal: The exception to raise where a passphrase is missing.
        altered: The exception to raise where the passphrase is wrong or the bytes were altered.

    Raises:
        ConfigError: A passphrase is missing or wrong, or the bytes were altered.
    """
    if not is_locked(data):
        return data
    if passphrase is None:
        raise refusal(f"{path} is locked; give its `passphrase`")
    body = data[len(_LOCKED) :]
    salt, nonce = body[:_SALT_BYTES], body[_SALT_BYTES : _SALT_BYTES + _NONCE_BYTES]
    sealed = body[_SALT_BYTES + _NONCE_BYTES :]
    key = _stretch(passphrase, salt, refusal)
    try:
        return ChaCha20Poly1305(key).decrypt(nonce, sealed, _LOCKED)
    except (InvalidTag, ValueError):  # a nonce or a tag that is cut short
        raise altered(
            f"wrong passphrase, or {path} was altered: put it back from a backup"
        ) from None


def read_passphrase(path: Path | None, *, refusal: type[Exception] = ConfigError) -> str | None:
    """Return the first line of a file; None for None.

    Raises:
        ConfigError: The file cannot be read, or its first line is empty.
    """
    if path is None:
        return None
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise refusal(f"cannot read a passphrase from {path}") from None
    if not lines or not lines[0]:
        raise refusal(f"the first line of {path} is empty; write the passphrase there")
    return lines[0]


def _stretch(passphrase: str, salt: bytes, refusal: type[Exception]) -> bytes:
    words = _words(passphrase, refusal)
    return Scrypt(salt=salt, length=32, n=_SCRYPT_N, r=8, p=1).derive(words)


def _words(passphrase: str, refusal: type[Exception]) -> bytes:
    if not isinstance(passphrase, str):
        raise refusal("a passphrase is text, or None")
    try:
        return passphrase.encode()
    except UnicodeEncodeError:
        raise refusal("a passphrase is of characters that UTF-8 has") from None
