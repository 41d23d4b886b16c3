"""The process that made an object: secrets and counts must not be used in a fork, too."""

import os

__all__ = ["Process"]

_forks = 0


def _count_fork() -> None:
    global _forks
    _forks += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_count_fork)


class Process:
    """The process that made this object; a fork is another one, even with the same number."""

    __slots__ = ("_made",)

    def __init__(self) -> None:
        self._made = (os.getpid(), _forks)

    @property
    def is_this(self) -> bool:
        """Whether this object was made in the process that asks."""
        return self._made == (os.getpid(), _forks)
