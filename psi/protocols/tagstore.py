"""A large set, ready to be asked: its tags computed once, its key under lock, its use counted.

A store is a folder:

    terms.json   what it is: size, key format, public key, the tags' digest, limits, its end
    tags         the tags, TAG_BYTES each, in ascending order
    key          the secret key, 32 bytes, readable by its owner only
    used         how many items each peer has asked (`psi.ledger`)

Every set of tags has a key of its own: two versions of a set under one key would show by their
difference which items came and went. So there is no update: a new version is a new store.
"""

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Never, TypeAlias

import numpy as np
from numpy.typing import NDArray

from psi.errors import ConfigError, DecodeError
from psi.group.oprf import hash_inputs, outputs, public_key
from psi.group.ristretto255 import FAST_FROM, Points, Scalar, multiply
from psi.ledger import Ledger
from psi.protocols.party import Progress
from psi.storage import check_folder, read_secret, write_new

__all__ = ["TAG_BYTES", "TagStore", "Tags", "Terms", "check_tags"]

TAG_BYTES = 16  # 2^-40 for 2^88 pairs of a stored and an asked item
Tags: TypeAlias = NDArray[np.bytes_]  # shape (n,), each TAG_BYTES long

_BATCH = FAST_FROM  # enough for the group's compiled code
_FILES = ("terms.json", "tags", "key")
_OWN = {*_FILES, *("used" + what for what in ("", "-journal", "-wal", "-shm"))}  # SQLite's


@dataclass(frozen=True)
class Terms:
    """What a store says of itself.

    Attributes:
        count: How many items it has.
        key_format: How rows became items, as in `Parameters`.
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
            ConfigError: It is none, was damaged, or its key may be read by others.
        """
        self._folder = folder.absolute()  # the program may go to another one
        try:
            self.terms = Terms(**json.loads((folder / "terms.json").read_text()))
            self.tags = (folder / "tags").read_bytes()
        except (OSError, TypeError, ValueError) as error:
            raise ConfigError(f"{folder} is no store of tags: make one first") from error
        try:
            self.key = Scalar.decode(read_secret(folder / "key"))
        except DecodeError:
            raise ConfigError(f"{folder} has a damaged key: make a new store") from None
        self.public_key = public_key(self.key)
        digest = hashlib.sha256(self.tags).hexdigest()
        found = (self.public_key.tobytes().hex(), digest, TAG_BYTES * self.terms.count)
        if found != (self.terms.public_key, self.terms.tags_digest, len(self.tags)):
            raise ConfigError(f"{folder} is damaged: its tags are not those of its key")

    @classmethod
    def create(
        cls,
        folder: Path,
        items: Sequence[bytes],
        *,
        key_format: str = "",
        items_a_peer: int = 10_000,
        days: float = 30,
        replace: bool = False,
        progress: Progress | None = None,
    ) -> "TagStore":
        """Draw a key, compute the tags, and write a store.

        Args:
            folder: Where; it appears whole or not at all.
            items: The set: distinct byte strings.
            key_format: How rows became items, as in `Parameters`.
            items_a_peer: How many items one peer may ask under this key.
            days: How long the key may be used.
            replace: Whether to put the new store in the place of an old one.
            progress: Called with a stage, the items done and their number.

        Raises:
            ConfigError: Items repeat, a limit is not positive, or the folder is there already
                or cannot be written.
        """
        if len(set(items)) != len(items):
            raise ConfigError("items repeat: pass each one once")
        if items_a_peer < 1 or not days > 0:
            raise ConfigError("the items a peer may ask and the days of use are positive")
        cls.check_place(folder, replace=replace)
        key = Scalar.random()
        tags = _tags(key, items, progress or (lambda stage, done, total: None))
        terms = Terms(
            count=len(items),
            key_format=key_format,
            public_key=public_key(key).tobytes().hex(),
            tags_digest=hashlib.sha256(tags).hexdigest(),
            items_a_peer=items_a_peer,
            ends=time.time() + 86400 * days,
        )
        contents = (json.dumps(asdict(terms)).encode(), tags, key.reveal())
        with _whole_folder(folder) as new:
            for name, content in zip(_FILES, contents, strict=True):
                write_new(new / name, content, mode=0o600 if name == "key" else 0o644)
            Ledger(new / "used", items_a_peer=items_a_peer)
        return cls(folder)

    @staticmethod
    def check_place(folder: Path, *, replace: bool = False) -> None:
        """Complain before any work about a folder that `create` would refuse.

        Raises:
            ConfigError: It is there and no store to be replaced, holds anything else besides, or
                cannot be made.
        """
        if os.path.lexists(folder):
            if not (replace and (folder / "terms.json").is_file()):
                raise ConfigError(
                    f"{folder} exists: choose another, or replace a store with a new one"
                )
            strange = [path.name for path in folder.iterdir() if path.name not in _OWN]
            if strange:  # the old folder goes with all that is in it
                raise ConfigError(f"{folder} holds {min(strange)} beside a store: move that out")
        check_folder(Path(os.path.realpath(folder)).parent)

    def check_usable(self) -> None:
        """Refuse to answer with a key whose time is over.

        Raises:
            ConfigError: It is.
        """
        if time.time() > self.terms.ends:
            raise ConfigError(f"the key of {self._folder} has reached its end: make a new store")

    @property
    def ledger(self) -> Ledger:
        """How many items each peer has asked of this store.

        Raises:
            ConfigError: The store has lost count.
        """
        if not (self._folder / "used").exists():
            raise ConfigError(f"{self._folder} has lost count: make a new store")
        return Ledger(self._folder / "used", items_a_peer=self.terms.items_a_peer)

    def evaluate(self, points: Points) -> Points:
        """The key times each point.

        Raises:
            InvalidPointError: A point is no valid encoding of an element but the identity.
        """
        return multiply(self.key, points)

    def __len__(self) -> int:
        return self.terms.count

    def __repr__(self) -> str:
        return f"TagStore({len(self)} items)"

    def __reduce__(self) -> Never:
        raise TypeError("a store holds a secret key and is not pickled")


def check_tags(tags: bytes | memoryview) -> Tags:
    """View a file of tags.

    Raises:
        DecodeError: They are not in strictly ascending order, so that some repeat or their
            order may say something.
    """
    rows = np.frombuffer(tags, f"S{TAG_BYTES}")
    if not np.all(rows[1:] > rows[:-1]):
        raise DecodeError("the tags do not ascend: some repeat, or they are in another order")
    return rows


def _tags(key: Scalar, items: Sequence[bytes], progress: Progress) -> bytes:
    found: list[bytes] = []
    for start in range(0, len(items), _BATCH):
        progress("computing tags", start, len(items))
        batch = items[start : start + _BATCH]
        elements = multiply(key, hash_inputs(batch))
        found += (one[:TAG_BYTES] for one in outputs(batch, elements))
    return b"".join(sorted(found))


@contextlib.contextmanager
def _whole_folder(folder: Path) -> Iterator[Path]:
    """A folder to fill that takes its place at the end, unless an error ends it."""
    folder = Path(os.path.realpath(folder))  # a link to a store stays one
    new, old = (folder.with_name(f".{folder.name}.{secrets.token_hex(4)}") for _ in range(2))
    try:
        new.mkdir(mode=0o700)
        yield new
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
    except BaseException as error:  # an interrupt as well must not take the old store along
        if old.exists() and not folder.exists():
            old.rename(folder)
        if not isinstance(error, OSError):
            raise
        raise ConfigError(f"{folder} cannot be written: {error.strerror or error}") from error
    finally:
        for left_over in (new, old):
            shutil.rmtree(left_over, ignore_errors=True)
