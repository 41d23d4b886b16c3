"""A side's items by bucket, or by part of one: digests, numbers; on the disk where they are many.

What goes to the disk, into a temporary folder, is encrypted (AES-128-CTR) under keys that never
leave this process: if IDs can be guessed, their digests are as good as the IDs.
"""

import contextlib
import secrets
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from psi.errors import ConfigError, ProtocolError

__all__ = ["Buckets"]

_SPILL_FROM = 1 << 22  # items; fewer are kept in memory

Bytes = NDArray[np.uint8]
Rows = NDArray[np.intp]
Records = NDArray[np.int64]  # shape (n, 3): a digest in two words, the item's number and place
_PLACE = 32  # the bit from which on the place is


class Buckets:
    """Items sorted into 2^k buckets, k <= 16, by the first bits of their digests.

    Attributes:
        sizes: How many items lie in each bucket.
    """

    def __init__(
        self,
        batches: Iterable[Bytes],
        n_items: int,
        buckets: int,
        places: NDArray[np.int32] | None = None,
        part_places: int = 0,
    ) -> None:
        """Sort digests.

        Args:
            batches: The digests of all items in order, some at a time: shape (any, 16).
            n_items: How many there are.
            buckets: How many buckets there are to be.
            places: Where the items of each bucket are put, in their order: shape (buckets, room);
                None: nowhere.
            part_places: How many places a part has that is taken by itself.

        Raises:
            ConfigError: The folder for temporary files does not take them.
            ProtocolError: A bucket has fewer places than items, with probability below 2^-45.
        """
        self.sizes = np.zeros(buckets, np.int64)
        self._places, self._part_places, self._parts_each = places, part_places, 1
        if places is not None:
            self._parts_each = -(-places.shape[1] // part_places)
            buckets *= self._parts_each
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        if n_items >= _SPILL_FROM:
            with _disk_explained():
                self._folder = tempfile.TemporaryDirectory(prefix="psi-")
        self._parts: list[list[Records]] = [[] for _ in range(buckets)]
        self._lengths = [0] * buckets
        # Every bucket has its own key, so counters may start at zero.
        zero = modes.CTR(bytes(16))
        self._ciphers = [
            Cipher(algorithms.AES(secrets.token_bytes(16)), zero) for _ in range(buckets)
        ]
        self._encryptors = [cipher.encryptor() for cipher in self._ciphers]
        first = 0
        try:
            for digests in batches:
                self._add(digests, first)
                first += len(digests)
        except BaseException:
            self.close()  # deletes what was written before the disk was full
            raise
        self._places = None

    def take(self, bucket: int) -> tuple[Rows, Bytes]:
        """Return the numbers of a bucket's items and their digests, once.

        Raises:
            ConfigError: They cannot be read any more.
        """
        return self.take_part(bucket)[:2]

    def take_part(self, bucket: int, part: int = 0) -> tuple[Rows, Bytes, Rows]:
        """Return the numbers of a part's items, their digests, and their places in it, once.

        Raises:
            ConfigError: They cannot be read any more.
        """
        bucket = bucket * self._parts_each + part
        parts, self._parts[bucket] = self._parts[bucket], []
        if self._folder is not None and self._lengths[bucket]:
            with _disk_explained():
                data = self._path(bucket).read_bytes()
                self._path(bucket).unlink()
            content = self._ciphers[bucket].decryptor().update(data)
            parts = [np.frombuffer(content, np.int64).reshape(-1, 3)]
        records = np.concatenate([np.empty((0, 3), np.int64), *parts])
        digests = np.ascontiguousarray(records[:, :2]).view(np.uint8)
        places = (records[:, 2] >> _PLACE) - part * self._part_places
        return records[:, 2] & ((1 << _PLACE) - 1), digests, places

    def close(self) -> None:
        """Forget everything."""
        self._parts, self._ciphers, self._encryptors = [], [], []
        if self._folder is not None:
            self._folder.cleanup()

    def _add(self, digests: Bytes, first: int) -> None:
        records = np.empty((len(digests), 3), np.int64)
        records[:, :2] = digests.view(np.int64)
        records[:, 2] = np.arange(first, first + len(digests))
        for bucket, part in self._cut(records):
            if not len(part):
                continue
            self._lengths[bucket] += len(part)
            if self._folder is None:
                self._parts[bucket].append(part)
                continue
            content = self._encryptors[bucket].update(part.reshape(-1).view(np.uint8).data)
            with _disk_explained(), self._path(bucket).open("ab") as file:
                file.write(content)

    def _cut(self, records: Records) -> Iterator[tuple[int, Records]]:
        """Yield items by part, with the number of each among the parts of all buckets."""
        buckets = len(self.sizes)
        numbers = _bucket_numbers(records, buckets) if buckets > 1 else None
        by_bucket = [records] if numbers is None else _split(records, numbers, buckets)
        for bucket, some in enumerate(by_bucket):
            first = self.sizes[bucket]
            self.sizes[bucket] += len(some)
            if self._places is None:
                yield bucket, some
                continue
            places = self._places[bucket, first : self.sizes[bucket]].astype(np.int64)
            if len(places) < len(some):
                raise ProtocolError("the IDs fit no bucket of this session: start again")
            some[:, 2] |= places << _PLACE
            part_numbers = (places // self._part_places).astype(np.uint16)
            parts = _split(some, part_numbers, self._parts_each)
            yield from enumerate(parts, bucket * self._parts_each)

    def _path(self, bucket: int) -> Path:
        assert self._folder is not None  # noqa: S101 - called only with a folder
        return Path(self._folder.name) / str(bucket)


@contextlib.contextmanager
def _disk_explained() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigError(
            "the folder for temporary files does not take 24 bytes an ID "
            f"({error.strerror or error}): set TMPDIR to another"
        ) from error


def _bucket_numbers(records: Records, buckets: int) -> NDArray[np.uint16]:
    heads = records[:, 0].astype("<i8").view("<u4")[::2]
    return (heads >> np.uint32(33 - buckets.bit_length())).astype(np.uint16)


def _split(records: Records, numbers: NDArray[np.uint16], buckets: int) -> list[Records]:
    order = np.argsort(numbers, kind="stable")
    ends = np.cumsum(np.bincount(numbers, minlength=buckets))
    # Not parts of one array: each goes when its bucket is taken.
    return [np.take(records, part, axis=0) for part in np.split(order, ends[:-1])]
