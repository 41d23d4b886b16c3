"""Where an object was made: secrets and counts must not be used in a fork as well."""

import os

__all__ = ["Process"]

_forks = 0


def _count_fork() -> None:
    global _forks
    _forks += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_count_fork)


class Process:
    """The process in which it was made; a fork of it is another one, whatever number it has."""

    __slots__ = ("_made",)

    def __init__(self) -> None:
        self._made = (os.getpid(), _forks)

    @property
    def is_this(self) -> bool:
        """Whether it was made in the process that asks."""
        return self._made == (os.getpid(), _forks)
