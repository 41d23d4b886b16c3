"""OT extension with a 512-bit code: one oblivious pseudorandom function for each bin.

Seeds of 512 transfers expand to columns of bits; row i of the columns is a one-time pad for bin
i (Ishai, Kilian, Nissim and Petrank 2003). The receiver sends, for code word c of bin i,

    u = t0 ^ t1 ^ c,    and keeps t0;    the sender gets    q = t_s ^ (u & s) = t0 ^ (c & s).

For any other code word c' the sender's q ^ (c' & s) differs from t0 by (c ^ c') & s: bits of s
that the receiver does not know, as many as c and c' differ in (Kolesnikov and others 2016).
"""

from collections.abc import Callable, Iterator

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from psi import kernels
from psi.protocols.kkrt.layout import ROW_BYTES, TRANSFERS
from psi.protocols.transfers import SEED_BYTES, Seeds

__all__ = ["Columns", "receive_rows", "send_rows"]

_CHUNK_ROWS = 1 << 15  # 2 MiB of columns stay in the cache
_APART_BYTES = 64  # columns a power of two apart would compete for the same cache lines

Bytes = NDArray[np.uint8]


class Columns:
    """The streams of 512 seeds (AES-CTR), read as rows of 512 bits."""

    def __init__(self, seeds: Seeds, whole: int) -> None:
        """Start the streams.

        Args:
            seeds: The 512 seeds, each of 16 bytes.
            whole: How many rows are going to be read.
        """
        # A seed is fresh and used once, so the counter may start at zero.
        zero = modes.CTR(bytes(SEED_BYTES))
        self._streams = [Cipher(algorithms.AES(seed), zero).encryptor() for seed in seeds]
        self._whole = whole

    def rows(self, n_rows: int) -> Iterator[Bytes]:
        """Yield the next rows, some thousand at a time; their number is a multiple of 64."""
        space = np.empty((TRANSFERS, _CHUNK_ROWS // 8 + _APART_BYTES), np.uint8)
        columns = [column.data for column in space]
        for start in range(0, n_rows, _CHUNK_ROWS):
            blank = bytes(min(_CHUNK_ROWS, n_rows - start) // 8)
            for stream, column in zip(self._streams, columns, strict=True):
                stream.update_into(blank, column)
            yield kernels.transpose(space[:, : len(blank)], self._whole)


def receive_rows(
    columns: tuple[Columns, Columns], n_rows: int, codes: Callable[[int, int], Bytes]
) -> tuple[Bytes, Bytes]:
    """Compute the receiver's side.

    Args:
        columns: The columns of both seeds of each transfer.
        n_rows: A multiple of 64.
        codes: Returns the code words of the rows from a first up to a last.

    Returns:
        The rows t0 to keep and u to send, each of shape (n_rows, 64).
    """
    kept, sent = (np.empty((n_rows, ROW_BYTES), np.uint8) for _ in range(2))
    start = 0
    for zero, one in zip(columns[0].rows(n_rows), columns[1].rows(n_rows), strict=True):
        end = start + len(zero)
        kept[start:end] = zero
        np.bitwise_xor(zero, one, out=one)
        np.bitwise_xor(one, codes(start, end), out=sent[start:end])
        start = end
    return kept, sent


def send_rows(columns: Columns, choices: Bytes, received: Bytes) -> Bytes:
    """Compute the sender's side.

    Args:
        columns: The columns of the chosen seed of each transfer.
        choices: Shape (64,): the choices' bits.
        received: Shape (n_rows, 64): the receiver's u.

    Returns:
        The rows q, shape (n_rows, 64).
    """
    rows = np.empty_like(received)
    start = 0
    for own in columns.rows(len(received)):
        end = start + len(own)
        np.bitwise_xor(own, received[start:end] & choices, out=rows[start:end])
        start = end
    return rows
