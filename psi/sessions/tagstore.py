"""A large set, ready for requests: tags computed once, the key protected, requests counted.

A store is a folder:

    terms.json   its description: size, key format, public key, the tags' digest, limits, end
    tags         the tags, TAG_BYTES each, in ascending order
    key          the secret key, 32 bytes, readable by its owner only
    used         how many items each peer has asked (`psi.ledger`)

There is no update: a new version is a new store, with its own key
(`psi.protocols.unbalanced.TagSet`). `read_kept` and `write_kept` are for the small side's file of
tags.
"""

import contextlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Never

import msgspec

from psi.defaults import STORE_DAYS, STORE_ITEMS_A_PEER
from psi.errors import ConfigError, DecodeError
from psi.group.ristretto255 import Scalar
from psi.ledger import Ledger
from psi.protocols.conversation import Progress
from psi.protocols.elements import TAG_BYTES
from psi.protocols.parameters import SessionParameters
from psi.protocols.unbalanced import TagSet, UnbalancedSender
from psi.storage import check_folder, json_bytes, json_read, read_secret, whole_file, write_new

__all__ = ["StoreTerms", "TagStore", "read_kept", "write_kept"]

_KEPT = b"psi tags, version 1\n"  # begins a file of kept tags, and no other
_FILES = ("terms.json", "tags", "key")
_OWN = {*_FILES, *("used" + what for what in ("", "-journal", "-wal", "-shm"))}  # SQLite's


class StoreTerms(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The description of a store.

    Attributes:
        count: The number of its items.
        key_format: How rows became items, as in `SessionParameters`.
        public_key: The key's public half, which commits to it, in hexadecimal.
        tags_digest: SHA-256 of the file of tags, in hexadecimal.
        items_a_peer: How many items one peer may ask, in all requests together.
        ends: When the key is to be replaced, in seconds since 1970.
    """

    count: int
    key_format: str
    public_key: str
    tags_digest: str
    items_a_peer: int
    ends: float


class TagStore:
    """The large side's set as tags; holds the secret key while it is open."""

    def __init__(self, folder: Path) -> None:
        """Open a store.

        Raises:
            ConfigError: It is no store, was damaged, or others may read its key.
        """
        self._folder = folder.absolute()  # the program may change to another folder
        try:
            content = (folder / "terms.json").read_bytes()
            self.terms = json_read(content, StoreTerms)
            tags = (folder / "tags").read_bytes()
        except (OSError, ValueError) as error:
            raise ConfigError(f"{folder} is no store of tags: make one first") from error
        try:
            key = Scalar.decode(read_secret(folder / "key"))
        except DecodeError:
            raise ConfigError(f"{folder} has a damaged key: make a new store") from None
        self.tag_set = TagSet(key, tags, self.terms.key_format)
        found = (self.public_key, self.tag_set.digest.hex(), len(tags))
        if found != (self.terms.public_key, self.terms.tags_digest, TAG_BYTES * self.terms.count):
            raise ConfigError(f"{folder} is damaged: its tags are not those of its key")

    @classmethod
    def create(
        cls,
        folder: Path,
        items: Sequence[bytes],
        *,
        key_format: str = "",
        items_a_peer: int = STORE_ITEMS_A_PEER,
        days: float = STORE_DAYS,
        replace: bool = False,
        progress: Progress | None = None,
    ) -> "TagStore":
        """Return a new store: draw a key, compute the tags, and write them.

        Args:
            folder: Where to write it; it appears whole or not at all.
            items: The set: distinct byte strings.
            key_format: How rows became items, as in `SessionParameters`.
            items_a_peer: How many items one peer may ask under this key.
            days: How long the key may be used.
            replace: Whether the new store may replace an old one.
            progress: Called with a stage, the items done and their number.

        Raises:
            ConfigError: Items repeat, a limit is not positive, or the folder is there already
                or cannot be written.
        """
        if items_a_peer < 1 or not days > 0:
            raise ConfigError("the items a peer may ask and the days of use are positive")
        cls.check_place(folder, replace=replace)
        made = TagSet.of(items, key_format=key_format, progress=progress)
        terms = StoreTerms(
            count=len(items),
            key_format=key_format,
            public_key=made.public_key.tobytes().hex(),
            tags_digest=made.digest.hex(),
            items_a_peer=items_a_peer,
            ends=time.time() + 86400 * days,
        )
        contents = (json_bytes(terms), made.tags, made.key.reveal())
        with _whole_folder(folder) as new:
            for name, content in zip(_FILES, contents, strict=True):
                write_new(new / name, content, mode=0o600 if name == "key" else 0o644)
            Ledger(new / "used", items_a_peer=items_a_peer)
        return cls(folder)

    @staticmethod
    def check_place(folder: Path, *, replace: bool = False) -> None:
        """Refuse before any work a folder that `create` would refuse.

        Raises:
            ConfigError: It exists and is no store that may be replaced, holds other files, too, or
                cannot be made.
        """
        if os.path.lexists(folder):
            if not (replace and (folder / "terms.json").is_file()):
                raise ConfigError(
                    f"{folder} exists: choose another, or replace a store with a new one"
                )
            strange = [path.name for path in folder.iterdir() if path.name not in _OWN]
            if strange:  # the old folder would be deleted with all that is in it
                raise ConfigError(f"{folder} holds {min(strange)} beside a store: move that out")
        check_folder(Path(os.path.realpath(folder)).parent)

    def check_usable(self) -> None:
        """Refuse to answer with a key whose time is over, or from a store that is there no more.

        Raises:
            ConfigError: The key has reached its end, or another store took this one's place.
        """
        if time.time() > self.terms.ends:
            raise ConfigError(f"the key of {self._folder} has reached its end: make a new store")
        try:
            there = json_read((self._folder / "terms.json").read_bytes(), StoreTerms)
        except (OSError, ValueError):
            there = None
        if there != self.terms:
            raise ConfigError(f"{self._folder} was replaced or removed: open the new store")

    @property
    def ledger(self) -> Ledger:
        """How many items each peer has asked of this store.

        Raises:
            ConfigError: The file that counts is missing.
        """
        if not (self._folder / "used").exists():
            raise ConfigError(f"{self._folder} has lost count: make a new store")
        return Ledger(self._folder / "used", items_a_peer=self.terms.items_a_peer)

    def answering(
        self,
        peer: str,
        *,
        parameters: SessionParameters | None = None,
        progress: Progress | None = None,
    ) -> UnbalancedSender:
        """Return a party that answers one request, which is counted in this store.

        Args:
            peer: The authenticated peer that asks, for which the request is counted.
            parameters: As of `psi.UnbalancedSender`.
            progress: Called with a stage, the items done and their number while it works.

        Raises:
            ConfigError: The key has reached its end, another store took this one's place, or the
                settings are not the store's.
        """
        self.check_usable()
        # The ledger is opened when there is something to count: a store without it answers nobody.
        return UnbalancedSender(
            self.tag_set,
            count=lambda items: self._count(peer, items),
            check=lambda items: self._check(peer, items),
            parameters=parameters,
            progress=progress,
        )

    def _check(self, peer: str, items: int) -> None:
        self.check_usable()  # again: its peer may have come late
        self.ledger.check(peer, items)

    def _count(self, peer: str, items: int) -> None:
        self.ledger.charge(peer, items)
        # Now: what took this store's place would count from zero what is asked under the old key.
        self.check_usable()

    @property
    def public_key(self) -> str:
        """The key's public half in hexadecimal, for those who will ask."""
        return self.tag_set.public_key.tobytes().hex()

    def __len__(self) -> int:
        return self.terms.count

    def __repr__(self) -> str:
        return f"TagStore({len(self)} items)"

    def __reduce__(self) -> Never:
        raise TypeError("a store holds a secret key and is not pickled")


def read_kept(path: Path | None) -> bytes:
    """Return the tags of an earlier request; their digest will show whether they are still valid.

    Args:
        path: What `write_kept` wrote, or a file that is yet to be made.

    Raises:
        ConfigError: It cannot be read, or holds something else.
    """
    try:
        if path is None or not os.path.lexists(path):
            return b""
        content = path.read_bytes() if path.is_file() else b""
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}") from error
    if not content.startswith(_KEPT):
        raise ConfigError(f"{path} holds no tags of an earlier request: name another file")
    return content.removeprefix(_KEPT)


def write_kept(path: Path, tags: bytes) -> None:
    """Keep tags for the next request; older ones are replaced.

    Raises:
        ConfigError: The file cannot be written.
    """
    with whole_file(path, replace=True) as file:
        file.write(_KEPT)
        file.write(tags)


@contextlib.contextmanager
def _whole_folder(folder: Path) -> Iterator[Path]:
    """Yield a folder to fill that takes its place at the end, unless an error ends it."""
    folder = Path(os.path.realpath(folder))  # a link to a store stays a link
    new, old = (folder.with_name(f".{folder.name}.{secrets.token_hex(4)}") for _ in range(2))
    try:
        new.mkdir(mode=0o700)
        yield new
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
    except BaseException as error:  # an interrupt, too, must not delete the old store
        if old.exists() and not folder.exists():
            old.rename(folder)
        if not isinstance(error, OSError):
            raise
        raise ConfigError(f"{folder} cannot be written: {error.strerror or error}") from error
    finally:
        for left_over in (new, old):
            shutil.rmtree(left_over, ignore_errors=True)
