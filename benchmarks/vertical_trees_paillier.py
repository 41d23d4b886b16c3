"""One histogram of a slice of rows as SecureBoost does it, in the environment of phe or of sf-heu.

Counted is the least that SecureBoost+ (arXiv 2110.10927) does with n rows, d columns of the host
and keys of 2,048 bits, where the guest has the labels and the key:
- n encryptions: gradient and hessian packed in one number, as there;
- n d sums of two ciphertexts, each row into its bin of each column;
- d bins decryptions.
Rows scale the first two; the decryptions are measured whole. What opens is held to plain integers.
Joining several bins in one ciphertext before they are decrypted, as there too, is left out: it
trades decryptions, which are a third of ZPaillier's work here, for products that cost less.
"""

import json
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.vertical_paillier import Heu, Numbers, Phe
from benchmarks.worker import Work, measured

LANE = 64  # bits of the hessian's lane, which is never negative


class PheBins(Phe):
    """python-paillier."""

    def sums(self, ciphertexts: Any, codes: Sequence[Numbers], bins: int) -> Any:
        """Return the sums of ciphertexts in each bin of each column."""
        found = []
        for column in codes:
            into = [self._public.encrypt(0, r_value=1) for _ in range(bins)]
            for code, one in zip(column, ciphertexts, strict=True):
                into[code] = into[code] + one
            found += into
        return found


class HeuBins(Heu):
    """SecretFlow's heu, by what its own SGB calls."""

    def sums(self, ciphertexts: Any, codes: Sequence[Numbers], bins: int) -> Any:
        """Return the sums of ciphertexts in each bin of each column."""
        numpy = self._numpy
        order = numpy.ascontiguousarray(numpy.array(codes, numpy.int8).T)
        everyone = numpy.ones(len(order), numpy.int8)
        return self._evaluator.feature_wise_bucket_sum(ciphertexts, everyone, order, bins, False)


def load(task: dict[str, Any]) -> Work:
    """Import the tool and make its keys."""
    scheme = PheBins() if task["scheme"] == "phe" else HeuBins(task["scheme"])
    draw = random.Random(0)  # noqa: S311 - test data
    rows, bins = range(task["slice"]), task["bins"]
    lanes = [(draw.randrange(-(2**15), 2**15), draw.randrange(2**14)) for _ in rows]
    codes = [[draw.randrange(bins) for _ in rows] for _ in range(task["columns"])]

    def work() -> None:
        start = time.process_time()
        ciphertexts = scheme.encrypted([(one << LANE) + two for one, two in lanes])
        encrypted = time.process_time()
        sums = scheme.sums(ciphertexts, codes, bins)
        summed = time.process_time()
        found = scheme.decrypted(sums)
        done = time.process_time()
        plain = [[[0, 0] for _ in range(bins)] for _ in codes]
        for column, into in zip(codes, plain, strict=True):
            for code, lane in zip(column, lanes, strict=True):
                into[code] = [into[code][0] + lane[0], into[code][1] + lane[1]]
        opened = [[number >> LANE, number % 2**LANE] for number in found]
        cost = {
            "encryption_seconds": (encrypted - start) / len(rows),
            "sum_seconds": (summed - encrypted) / len(rows),
            "decryption_seconds": done - summed,
            "ciphertext_bytes": scheme.size_bytes(ciphertexts),
            "exact": opened == [each for into in plain for each in into],
        }
        Path(task["out"]).write_text(json.dumps(cost), encoding="utf-8")

    return work


if __name__ == "__main__":
    measured(load)
