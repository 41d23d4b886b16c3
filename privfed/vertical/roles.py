"""Words that every part of a vertical job uses."""

from typing import Literal, TypeAlias

__all__ = ["MARK_BYTES", "Family", "Opened", "Role"]

Role: TypeAlias = Literal["guest", "host"]
"""The guest holds the labels, the host further columns."""

Family: TypeAlias = Literal["logistic", "linear", "poisson"]
"""What the label is: two classes (0 and 1), a number, or a count."""

Opened: TypeAlias = Literal["score", "class"]
"""What of a scored row the guest gets."""

MARK_BYTES = 16  # of what names a training, or a session of it
