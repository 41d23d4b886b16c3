"""What queries of every model have: one side asks for scores of rows, the other counts and answers.

Asked again about the same ID with other values of its own, a guest learns more of the host's part
each time, and nothing here tells an ID that comes back from a new one. So the host counts every
row before it answers, and that count is all that bounds it.
"""

from abc import abstractmethod
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from privfed.vertical.frames import FramedDialogue

__all__ = ["AnsweringQuery", "AskingQuery"]


class AskingQuery(FramedDialogue):
    """The guest's side, which gets what opens."""

    @property
    @abstractmethod
    def scores(self) -> NDArray[np.float64]:
        """Linear predictors or classes, in the order of rows.

        Raises:
            StateError: The query is not done.
        """


class AnsweringQuery(FramedDialogue):
    """The host's side."""

    _charge: Callable[[int], None] | None = None

    def charge_with(self, charge: Callable[[int], None]) -> None:
        """Let rows be counted before any is answered; an exception of it ends the session."""
        self._charge = charge

    def _count(self, rows: int) -> None:
        if self._charge is not None:
            self._charge(rows)
