"""Many oblivious transfers from 128 base transfers (Ishai, Kilian, Nissim, Petrank 2003).

In each transfer the sender gets two random pads of 16 bytes, and the receiver the one of its
choice. In the base transfers the roles are exchanged. Their seeds are keys of streams, read as 128
columns of bits. For choices r, a bit for each row, the receiver sends

    u = t0 ^ t1 ^ r,   keeps t0,   and the sender gets   q = t_s ^ (u & s) = t0 ^ (r & s).

So the sender's pads of row i are H(q, i) and H(q ^ s, i), and the receiver's is H(t0, i), which is
the one of its choice: for the other it lacks s, the sender's 128 secret bits. Rows are numbered
through the session; streams go on from batch to batch, and no part is read twice. The key of H is
made of the session's identity: both sides have it, and no two sessions hash under one key.

This is for sides that follow the protocol: a receiver that lies can learn bits of s.
"""

import hashlib
import struct
from typing import Never

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes
from numpy.typing import NDArray

from privfed.errors import ConfigError, DecodeError, ReplayError
from privfed.garbled.circuit import Bits
from privfed.garbled.hashing import BLOCK_BYTES, Blocks, TweakableHash
from psi.errors import ProtocolError
from psi.protocols.transfers import BaseOTReceiver, BaseOTSender, Seeds, TransferLabels

__all__ = ["TransferReceiver", "TransferSender", "request_bytes"]

_COLUMNS = 8 * BLOCK_BYTES
_HEAD = struct.Struct("<Q")  # the number of the batch's first transfer
_LABELS = TransferLabels(
    random_point=b"privfed garbled transfers: random point",
    transfer=b"privfed garbled transfers: transfer",
    seed=b"privfed garbled transfers: seed",
)
_HASH_LABEL = b"privfed garbled transfers: hash"


def request_bytes(transfers: int) -> int:
    """Return the length of a request for so many transfers."""
    return _HEAD.size + _COLUMNS * _column_bytes(transfers)


class _Extension:
    """What both sides have: the hash, and how many transfers were made."""

    def __init__(self, identity: bytes) -> None:
        key = hashlib.sha256(_HASH_LABEL + identity).digest()[:BLOCK_BYTES]
        self._hash = TweakableHash(key)
        self._done = 0

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._done} transfers)"

    def __reduce__(self) -> Never:
        raise TypeError("transfers hold secrets and are not pickled")

    def _pads(self, rows: Blocks) -> Blocks:
        return self._hash(rows, np.arange(self._done, self._done + len(rows), dtype=np.uint64))


class TransferReceiver(_Extension):
    """The side that gets one pad of each transfer, by its choices."""

    def __init__(self, identity: bytes) -> None:
        """Draw the key of the base transfers.

        Args:
            identity: The identity of the session, the same at both sides and in no other session.
        """
        super().__init__(identity)
        self._base: BaseOTSender | None = BaseOTSender(identity, _COLUMNS, _LABELS)
        self.public = self._base.public.tobytes()
        self._streams: tuple[_Streams, _Streams] | None = None

    def agree(self, choices: bytes | memoryview) -> None:
        """Finish the base transfers.

        Args:
            choices: The other side's `TransferSender.choices`.

        Raises:
            DecodeError: They are malformed.
            ReplayError: They came before.
        """
        if self._base is None:
            raise ReplayError("the base transfers are done: start a new session")
        base, self._base = self._base, None
        try:
            zeros, ones = base.seeds(choices)
        except ProtocolError as error:
            raise DecodeError(f"base transfers: {error}") from error
        self._streams = _Streams(zeros), _Streams(ones)

    def request(self, choices: Bits) -> tuple[bytes, Blocks]:
        """Begin as many transfers as there are choices.

        Args:
            choices: Shape (n,): 0 or 1.

        Returns:
            What the other side gets, and this side's pads: shape (n, 2).

        Raises:
            ConfigError: The base transfers are not done.
        """
        if self._streams is None:
            raise ConfigError("finish the base transfers first: call agree")
        n = len(choices)
        zeros, ones = (streams.columns(n) for streams in self._streams)
        row = np.packbits(choices, bitorder="little")
        request = _HEAD.pack(self._done) + (zeros ^ ones ^ row).tobytes()
        pads = self._pads(_rows(zeros, n))
        self._done += n
        return request, pads


class TransferSender(_Extension):
    """The side that gets both pads of each transfer."""

    def __init__(self, identity: bytes) -> None:
        """Draw the choices of the base transfers; the identity is that of `TransferReceiver`."""
        super().__init__(identity)
        self._base: BaseOTReceiver | None = BaseOTReceiver(identity, _COLUMNS, _LABELS)
        self.choices = self._base.choices
        self._secret = np.packbits(self._base.bits, bitorder="little").view(np.uint64)
        self._mask = -self._base.bits[:, None]  # 0 or 255 for each column
        self._streams: _Streams | None = None

    def agree(self, public: bytes | memoryview) -> None:
        """Finish the base transfers.

        Args:
            public: The other side's `TransferReceiver.public`.

        Raises:
            DecodeError: They are malformed.
            ReplayError: They came before.
        """
        if self._base is None:
            raise ReplayError("the base transfers are done: start a new session")
        base, self._base = self._base, None
        try:
            self._streams = _Streams(base.seeds(public))
        except ProtocolError as error:
            raise DecodeError(f"base transfers: {error}") from error

    def pads(self, request: bytes | memoryview, transfers: int) -> tuple[Blocks, Blocks]:
        """Return the pads of choice 0 and of choice 1, each of shape (transfers, 2).

        Args:
            request: What `TransferReceiver.request` returned at the other side.
            transfers: How many transfers it is for.

        Raises:
            ConfigError: The base transfers are not done.
            DecodeError: It is for another number of transfers.
            ReplayError: It is not the next one: a request repeats, or one is missing.
        """
        if self._streams is None:
            raise ConfigError("finish the base transfers first: call agree")
        if len(request) != request_bytes(transfers):
            raise DecodeError(f"a request for {transfers} transfers has another length")
        (number,) = _HEAD.unpack_from(request)
        if number != self._done:
            raise ReplayError(f"a request begins at transfer {number}, not at {self._done}")
        received = np.frombuffer(request, np.uint8, offset=_HEAD.size).reshape(
            _COLUMNS, _column_bytes(transfers)
        )
        columns = self._streams.columns(transfers) ^ (received & self._mask)
        rows = _rows(columns, transfers)
        pads = self._pads(rows), self._pads(rows ^ self._secret)
        self._done += transfers
        return pads


class _Streams:
    """The streams of 128 seeds, each read once from its beginning."""

    def __init__(self, seeds: Seeds) -> None:
        # A seed is fresh and has one stream, so the counter may start at zero.
        zero = modes.CTR(bytes(BLOCK_BYTES))
        self._streams: list[CipherContext] = [
            Cipher(algorithms.AES(seed), zero).encryptor() for seed in seeds
        ]

    def columns(self, transfers: int) -> NDArray[np.uint8]:
        blank = bytes(_column_bytes(transfers))
        data = b"".join([stream.update(blank) for stream in self._streams])
        return np.frombuffer(data, np.uint8).reshape(_COLUMNS, len(blank))


def _column_bytes(transfers: int) -> int:
    return -(-transfers // 8)


def _rows(columns: NDArray[np.uint8], n: int) -> Blocks:
    """Return the first n rows of 128 columns of bits."""
    bits = np.unpackbits(columns, axis=1, count=n, bitorder="little")
    rows = np.packbits(np.ascontiguousarray(bits.T), axis=1, bitorder="little")
    return rows.view(np.uint64)
