"""Matrices as polynomials, so that a product with an encrypted vector is a product of polynomials.

A vector's coefficients ascend, a matrix row's descend: their dot product is one coefficient of the
product (Cheetah, ePrint 2022/207, section 3). A vector is cut into a few ciphertexts, so that a
polynomial holds many rows and few answers are needed:

    ciphertext c:     sum_j v[c*w + j] x^j                                     j < w, the width
    plaintext (r, c): sum_i sum_j M[r*N/w + i, c*w + j] x^(i*w + w-1-j)         i < N/w
    answer r:         sum over c; coefficient i*w + w-1 is row r*N/w + i of M times v

Other terms fall on other coefficients, also where they wrap around x^N = -1.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from privfed.he.ring import DEGREE

__all__ = ["MatrixPacking"]


@dataclass(frozen=True)
class MatrixPacking:
    """How a product of a matrix with a vector is laid out.

    Attributes:
        rows: Rows of the matrix, the numbers that come out.
        columns: Its columns, the numbers that go in.
        width: How many numbers a ciphertext holds; a power of two.
    """

    rows: int
    columns: int
    width: int

    @property
    def ciphertexts(self) -> int:
        """How many ciphertexts hold the vector."""
        return -(-self.columns // self.width)

    @property
    def rows_each(self) -> int:
        """How many rows of the matrix an answer has."""
        return DEGREE // self.width

    @property
    def answers(self) -> int:
        """How many answers hold the product."""
        return -(-self.rows // self.rows_each)

    @cached_property
    def positions(self) -> NDArray[np.int64]:
        """The coefficients of an answer that hold a result; the last answer uses the first ones."""
        most = min(self.rows, self.rows_each)
        return np.arange(most, dtype=np.int64) * self.width + self.width - 1

    def vector(self, numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """Return the messages that hold a vector, shape (ciphertexts, N)."""
        messages = np.zeros((self.ciphertexts, DEGREE), np.uint64)
        padded = np.zeros(self.ciphertexts * self.width, np.uint64)
        padded[: self.columns] = numbers
        messages[:, : self.width] = padded.reshape(self.ciphertexts, self.width)
        return messages

    def matrix(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the polynomials of a matrix, shape (answers, ciphertexts, N)."""
        whole = np.zeros((self.answers * self.rows_each, self.ciphertexts * self.width), np.int64)
        whole[: self.rows, : self.columns] = numbers
        parts = whole.reshape(self.answers, self.rows_each, self.ciphertexts, self.width)
        laid = parts[..., ::-1].transpose(0, 2, 1, 3)
        return np.ascontiguousarray(laid).reshape(self.answers, self.ciphertexts, DEGREE)

    def results(self, opened: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """Return the rows' numbers from the answers' coefficients at `positions`."""
        return opened.reshape(-1)[: self.rows]
