"""Words that stand for a missing value: they are IDs like any other, with a warning."""

import warnings
from collections import Counter

import numpy as np
from numpy.typing import NDArray

from psi.errors import MissingValueWarning
from psi.kernels.texts import Chunk

__all__ = ["MISSING_WORDS", "MissingWords"]

# What pandas reads as missing (without its broken numbers, such as "1.#IND"), what it writes for a
# missing time, and what PostgreSQL and Oracle write.
_SPELT = [
    *("#N/A", "#N/A N/A", "#NA", "-NaN", "<NA>", "N/A", "NA", "NaN", "None", "Null"),
    *("NaT", "\\N", "(null)"),
]
MISSING_WORDS = frozenset(form for word in _SPELT for form in (word, word.lower(), word.upper()))

_BLOCK = 1 << 16  # texts looked at together, in little memory
_CONTENTS = {word.encode(): word for word in MISSING_WORDS}
_LONGEST = max(map(len, _CONTENTS))
_HEADS = np.zeros(1 << 16, bool)  # by two bytes: whether a word begins with them
for _content in _CONTENTS:
    _HEADS[_content[0] << 8 | _content[1]] = True


class MissingWords:
    """Counts the IDs of a table that are such words."""

    def __init__(self) -> None:
        self._ids = 0
        self._words: Counter[str] = Counter()

    def see(self, *words: str) -> None:
        """Count an ID with those of its parts that are such words."""
        self._ids += 1
        self._words.update(words)

    def see_chunk(self, chunk: Chunk) -> None:
        """Count such words in a chunk of texts, each of them an ID."""
        data, every = chunk
        for start in range(0, len(every) - 1, _BLOCK):
            offsets = every[start : start + _BLOCK + 1]
            for row in _candidates(data, offsets).tolist():
                word = _CONTENTS.get(data[offsets[row] : offsets[row + 1]].tobytes())
                if word is not None:
                    self.see(word)

    def warn(self, name: str) -> None:
        """Warn if there were any.

        Args:
            name: What to call the table.
        """
        if not self._ids:
            return
        found = ", ".join(f"{word!r} {times}" for word, times in self._words.most_common())
        warnings.warn(
            f"{name}: {self._ids} IDs read like a missing value ({found}) and are taken as IDs, "
            "which match the same at the other side: leave them empty if they are none",
            MissingValueWarning,
            stacklevel=3,
        )


def _candidates(data: NDArray[np.uint8], offsets: NDArray[np.integer]) -> NDArray[np.intp]:
    """Return which texts have the length and the first two bytes of a word."""
    lengths = np.diff(offsets)
    rows = np.flatnonzero((lengths >= 2) & (lengths <= _LONGEST))
    first = offsets[rows]
    found: NDArray[np.intp] = rows[_HEADS[data[first].astype(np.uint16) << 8 | data[first + 1]]]
    return found
