"""A slice of rows of logistic regression by Paillier, in the environment of phe or of sf-heu.

Counted is the least that FATE's coordinated hetero-LR does in an iteration with n rows and d
columns on both sides together, with keys of 2,048 bits; it needs a third party, who decrypts:
- n encryptions: the host's scores z_B;
- n sums of a ciphertext with a number, after a scaling that costs nothing here: the guest makes the
  residuals z_B + z_A - 4 (y - 1/2), a linear sigmoid, without making them look fresh again;
- n d products of a residual with an integer of about seven bits, and their sums over rows: the
  gradients of both sides. Positive and negative integers go apart, because products with negative
  ones cost up to nine times as much;
- d decryptions, by the third party;
- 2 n + d ciphertexts sent.
Rows scale the first three; the decryptions are measured whole. Products are held to plain integers.
"""

import json
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from benchmarks.worker import Work, measured

SCALE, BITS = 64, 2048
Numbers = Sequence[int]


class Scheme(Protocol):
    """What is counted, by one package; the types of a ciphertext and a vector are its own."""

    def encrypted(self, numbers: Numbers) -> Any:
        """Return the ciphertexts."""

    def moved(self, ciphertexts: Any, numbers: Numbers) -> Any:
        """Return the sums of ciphertexts and numbers."""

    def products(self, rows: Sequence[Numbers], ciphertexts: Any) -> Any:
        """Return the product of a matrix of signed integers with the ciphertexts."""

    def decrypted(self, ciphertexts: Any) -> list[int]:
        """Return the numbers."""

    def size_bytes(self, ciphertexts: Any) -> float:
        """Return what one of the ciphertexts measures."""


class Phe:
    """python-paillier, with gmpy2."""

    def __init__(self) -> None:
        import phe

        assert phe.util.HAVE_GMP
        self._public, self._secret = phe.generate_paillier_keypair(n_length=BITS)

    def encrypted(self, numbers: Numbers) -> Any:
        """Return the ciphertexts."""
        return [self._public.encrypt(number) for number in numbers]

    def moved(self, ciphertexts: Any, numbers: Numbers) -> Any:
        """Return the sums of ciphertexts and numbers."""
        return [one + number for one, number in zip(ciphertexts, numbers, strict=True)]

    def products(self, rows: Sequence[Numbers], ciphertexts: Any) -> Any:
        """Return the product of a matrix of signed integers with the ciphertexts."""
        return [self._product(row, ciphertexts) for row in rows]

    def _product(self, row: Numbers, ciphertexts: Any) -> Any:
        signed = [
            sum(
                one * abs(number)
                for one, number in zip(ciphertexts, row, strict=True)
                if keep(number)
            )
            for keep in ((0).__lt__, (0).__gt__)
        ]
        return signed[0] - signed[1]

    def decrypted(self, ciphertexts: Any) -> list[int]:
        """Return the numbers."""
        return [self._secret.decrypt(one) for one in ciphertexts]

    def size_bytes(self, ciphertexts: Any) -> float:
        """Return what one of the ciphertexts measures."""
        return float(BITS // 4)


class Heu:
    """SecretFlow's heu, with one of its schemes."""

    def __init__(self, name: str) -> None:
        import numpy as np
        from heu import numpy as heu_numpy

        self._numpy, self._kit = np, heu_numpy.setup(name, BITS)
        self._evaluator, self._encoder = self._kit.evaluator(), self._kit.bigint_encoder()

    def _encoded(self, numbers: Any) -> Any:
        return self._kit.array(self._numpy.array(numbers, object), self._encoder)

    def encrypted(self, numbers: Numbers) -> Any:
        """Return the ciphertexts."""
        return self._kit.encryptor().encrypt(self._encoded([[number] for number in numbers]))

    def moved(self, ciphertexts: Any, numbers: Numbers) -> Any:
        """Return the sums of ciphertexts and numbers."""
        return self._evaluator.add(ciphertexts, self._encoded([[number] for number in numbers]))

    def products(self, rows: Sequence[Numbers], ciphertexts: Any) -> Any:
        """Return the product of a matrix of signed integers with the ciphertexts."""
        matrix = self._numpy.array(rows)
        parts = (self._numpy.maximum(matrix, 0), self._numpy.maximum(-matrix, 0))
        signed = [self._evaluator.matmul(self._encoded(part), ciphertexts) for part in parts]
        return self._evaluator.sub(*signed)

    def decrypted(self, ciphertexts: Any) -> list[int]:
        """Return the numbers."""
        plain = self._kit.decryptor().decrypt(ciphertexts).to_numpy(self._encoder)
        return [int(number) for number in plain.ravel()]

    def size_bytes(self, ciphertexts: Any) -> float:
        """Return what one of the ciphertexts measures."""
        return float(len(ciphertexts.serialize()) / ciphertexts.rows)


def load(task: dict[str, Any]) -> Work:
    """Import the tool and make its keys."""
    scheme: Scheme = Phe() if task["scheme"] == "phe" else Heu(task["scheme"])
    draw = random.Random(0)  # noqa: S311 - test data
    scores, moves = ([draw.randrange(-(2**20), 2**20) for _ in range(task["slice"])] for _ in "AB")
    matrix = [[round(draw.gauss(0, SCALE)) for _ in scores] for _ in range(task["columns"])]

    def work() -> None:
        start = time.process_time()
        ciphertexts = scheme.encrypted(scores)
        residuals = scheme.moved(ciphertexts, moves)
        gradients = scheme.products(matrix, residuals)
        rows_done = time.process_time()
        found = scheme.decrypted(gradients)
        done = time.process_time()
        plain = [one + move for one, move in zip(scores, moves, strict=True)]
        assert found == [
            sum(number * one for number, one in zip(row, plain, strict=True)) for row in matrix
        ]
        cost = {
            "row_seconds": (rows_done - start) / task["slice"],
            "decryption_seconds": done - rows_done,
            "ciphertext_bytes": scheme.size_bytes(ciphertexts),
        }
        Path(task["out"]).write_text(json.dumps(cost))

    return work


if __name__ == "__main__":
    measured(load)
