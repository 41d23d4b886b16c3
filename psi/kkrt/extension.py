"""OT extension with a 512-bit code: one oblivious pseudorandom function a bin.

Seeds of 512 transfers stretch to columns of bits; row i of the columns is a one-time pad for bin
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
from psi.kkrt.hashing import ROW_BYTES
from psi.kkrt.transfers import SEED_BYTES, TRANSFERS, Seeds

__all__ = ["receive_rows", "send_rows"]

_CHUNK_ROWS = 1 << 15  # 2 MiB of columns stay in the cache

Bytes = NDArray[np.uint8]


def receive_rows(
    seeds: tuple[Seeds, Seeds], n_rows: int, codes: Callable[[int, int], Bytes]
) -> tuple[Bytes, Bytes]:
    """The receiver's side.

    Args:
        seeds: Both seeds of each transfer.
        n_rows: A multiple of 64.
        codes: Gives the code words of the rows from a first up to a last.

    Returns:
        The rows t0 to keep and u to send, each of shape (n_rows, 64).
    """
    kept, sent = (np.empty((n_rows, ROW_BYTES), np.uint8) for _ in range(2))
    chunks = zip(_rows(seeds[0], n_rows), _rows(seeds[1], n_rows), strict=True)
    for number, (zero, one) in enumerate(chunks):
        start = number * _CHUNK_ROWS
        end = start + len(zero)
        kept[start:end] = zero
        np.bitwise_xor(zero, one, out=one)
        np.bitwise_xor(one, codes(start, end), out=sent[start:end])
    return kept, sent


def send_rows(seeds: Seeds, choices: Bytes, received: Bytes) -> Bytes:
    """The sender's side.

    Args:
        seeds: The seed of the choice made in each transfer.
        choices: Shape (64,): the choices' bits.
        received: Shape (n_rows, 64): the receiver's u.

    Returns:
        The rows q, shape (n_rows, 64).
    """
    rows = np.empty_like(received)
    for number, own in enumerate(_rows(seeds, len(received))):
        start = number * _CHUNK_ROWS
        end = start + len(own)
        np.bitwise_xor(own, received[start:end] & choices, out=rows[start:end])
    return rows


def _rows(seeds: Seeds, n_rows: int) -> Iterator[Bytes]:
    """The seeds' streams (AES-CTR), as rows of 512 bits, some thousand rows at a time."""
    # A seed is fresh and used once, so that the counter may start at zero.
    zero = modes.CTR(bytes(SEED_BYTES))
    streams = [Cipher(algorithms.AES(seed), zero).encryptor() for seed in seeds]
    for start in range(0, n_rows, _CHUNK_ROWS):
        width = min(_CHUNK_ROWS, n_rows - start) // 8
        columns, blank = np.empty((TRANSFERS, width), np.uint8), bytes(width)
        for number, stream in enumerate(streams):
            columns[number] = np.frombuffer(stream.update(blank), np.uint8)
        yield kernels.transpose(columns, n_rows)
