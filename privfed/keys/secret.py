"""The parties' shared secret key: 32 random bytes from which everything else is derived.

Under every scheme it is the group's secret, for hashes, tags and transcripts. A decryption key is
what a scheme derives from it (HKDF-SHA256, RFC 5869), or none: SEAL's ternary key is drawn by
SEAL's own generator from a derived seed, so a key is short, moves easily and is the same on every
machine with the pinned TenSEAL. Whoever holds it decrypts: the server never gets it.
"""

import hashlib
import os
from pathlib import Path
from typing import NoReturn

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from privfed.errors import AuthenticationError, ConfigError, DecodeError
from psi.storage import lock_secret, read_secret, unlock_secret, write_new

ROOT_BYTES = 32
ID_BYTES = 16
CONTEXT_BYTES = 32

_PLAIN = b"PFSECRET\x01\x00"  # 0x01 0x01 is locked (psi.storage)
_CHECKED = b"PFSECRET\x01\x02"  # in a file: a digest follows
_DIGEST_BYTES = 32


def derive(secret: bytes, purpose: bytes, length: int) -> bytes:
    """Return `length` bytes that HKDF-SHA256 derives from `secret` for one `purpose`."""
    return HKDF(SHA256(), length, salt=None, info=b"privfed/1/" + purpose).derive(secret)


class SecretKey:
    """A secret shared by the parties of one parameter set. Never printed, never pickled.

    Args:
        root: 32 bytes from the operating system.
        context: The 32-byte fingerprint of the parameters that the key belongs to.

    Raises:
        DecodeError: A length is wrong.
    """

    __slots__ = ("__weakref__", "_root", "context", "id")

    def __init__(self, root: bytes, context: bytes) -> None:
        if not is_bytes(root, ROOT_BYTES) or not is_bytes(context, CONTEXT_BYTES):
            raise DecodeError("a secret key is 32 bytes and the 32-byte fingerprint of its use")
        self._root = bytes(root)
        self.context = bytes(context)
        self.id = self.derive(b"key id", ID_BYTES)

    @classmethod
    def generate(cls, context: bytes) -> "SecretKey":
        """Return a fresh key for the parameters with this fingerprint."""
        return cls(os.urandom(ROOT_BYTES), context)

    def derive(self, purpose: bytes, length: int) -> bytes:
        """Return `length` secret bytes for one `purpose` (bound to the parameters)."""
        return derive(self._root, purpose + b"/" + self.context, length)

    def successor(self, context: bytes) -> "SecretKey":
        """Return the key of the same parties for other parameters, which they need not exchange.

        It is derived by HKDF, from the parameters of both: it says nothing of this key, and all
        who hold this one find the same.

        Args:
            context: The fingerprint of the other parameters.

        Raises:
            ConfigError: That is no fingerprint, or this key's own.
        """
        if not is_bytes(context, CONTEXT_BYTES) or context == self.context:
            raise ConfigError("a successor is for the 32-byte fingerprint of other parameters")
        return SecretKey(self.derive(b"successor/" + context, ROOT_BYTES), context)

    def to_bytes(self) -> bytes:
        """Return the secret itself, for a channel that hides it (see `secagg.seal_key`)."""
        return _PLAIN + self.context + self._root

    @classmethod
    def from_bytes(cls, data: bytes) -> "SecretKey":
        """Return the key that `to_bytes` wrote.

        Raises:
            DecodeError: The bytes are not a secret key.
        """
        length = len(_PLAIN) + CONTEXT_BYTES + ROOT_BYTES
        if not is_bytes(data, length) or not data.startswith(_PLAIN):
            raise DecodeError("these bytes are not a privfed secret key")
        return cls(data[-ROOT_BYTES:], data[len(_PLAIN) : -ROOT_BYTES])

    def save(self, path: Path, passphrase: str | None = None, *, unlocked: bool = False) -> None:
        """Write the key to a new file of mode 0600, under a passphrase unless `unlocked`.

        Raises:
            ConfigError: The file is there already or cannot be written, or there is neither a
                passphrase nor `unlocked`.
        """
        checked = with_digest(_CHECKED + self.context + self._root)
        save_secret(path, checked, passphrase, unlocked=unlocked)

    @classmethod
    def load(cls, path: Path, passphrase: str | None = None) -> "SecretKey":
        """Return the key in a file.

        Raises:
            ConfigError: The file cannot be read, others may read it, or it needs a passphrase.
            AuthenticationError: The passphrase is wrong or the file was altered.
            DecodeError: The file is no key, or was damaged.
        """
        data = load_secret(path, passphrase)
        if data.startswith(_CHECKED):
            data = _PLAIN + without_digest(data, path)[len(_CHECKED) :]
        try:
            return cls.from_bytes(data)
        except DecodeError:
            raise DecodeError(
                f"{path} is no privfed secret key: put it back from a backup"
            ) from None

    def __repr__(self) -> str:
        return f"SecretKey(id={self.id.hex()})"

    def __eq__(self, other: object) -> bool:
        # The id is a digest of the root and the context: comparing it leaks nothing.
        return isinstance(other, SecretKey) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise ConfigError("a secret key is not pickled or copied; save() it to a file")


def is_bytes(value: object, length: int) -> bool:
    """Return whether `value` is bytes of that length."""
    return isinstance(value, bytes) and len(value) == length


def with_digest(data: bytes) -> bytes:
    """Return what a file holds, so that damage is noticed where no passphrase locks it, too."""
    return data + hashlib.sha256(data).digest()


def without_digest(data: bytes, path: Path) -> bytes:
    """Return what `with_digest` was given.

    Raises:
        DecodeError: It was damaged.
    """
    body, digest = data[:-_DIGEST_BYTES], data[-_DIGEST_BYTES:]
    if hashlib.sha256(body).digest() != digest:
        raise DecodeError(f"{path} is damaged: put it back from a backup")
    return body


def is_secret(data: bytes) -> bool:
    """Return whether `data` starts like a saved secret (locked or not)."""
    return data.startswith(_PLAIN[:8])


def save_secret(path: Path, secret: bytes, passphrase: str | None, *, unlocked: bool) -> None:
    """Write a new file of mode 0600, under a passphrase unless `unlocked`.

    Raises:
        ConfigError: The file is there already or cannot be written, or there is neither a
            passphrase nor `unlocked`.
    """
    data = lock_secret(secret, passphrase, unlocked=unlocked, refusal=ConfigError)
    write_new(path, data, refusal=ConfigError)


def load_secret(path: Path, passphrase: str | None) -> bytes:
    """Return the secret that `save_secret` wrote.

    Raises:
        ConfigError: It cannot be read, others may read it, or it needs a passphrase.
        AuthenticationError: The passphrase is wrong or the file was altered.
    """
    stored = read_secret(path, refusal=ConfigError)
    return unlock_secret(stored, passphrase, path, refusal=ConfigError, altered=AuthenticationError)
