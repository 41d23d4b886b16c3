"""The fixed groups of a roster, which come and go whole.

Every sum that is ever opened is over whole groups, so every combination of sums, over all rounds
of all cohorts that a server can think of, is a combination of sums of groups: with t parties that
work with the server, none is about fewer than (group size - t) others. Fewer restrictions do not
do: cohorts that differ by at least three parties, or are drawn at random, still show single
updates over several rounds (arXiv 2106.03328).
"""

from collections.abc import Collection, Sequence
from itertools import accumulate

import numpy as np

from privfed.errors import ConfigError, QuorumError

Places = tuple[int, ...]
"""Places on the roster, in rising order."""


def even_sizes(parties: int, least: int) -> tuple[int, ...]:
    """Return the sizes of as many groups of at least `least` as there can be, larger ones first.

    Raises:
        ConfigError: There are too few parties for one.
    """
    count = parties // least
    if not count:
        raise ConfigError(
            f"{parties} parties are too few for a group of {least}: a sum over fewer would show "
            "updates to those who work together; add parties, or choose another adversary"
        )
    return tuple(parties // count + (place < parties % count) for place in range(count))


def whole_sizes(sizes: object) -> tuple[int, ...]:
    """Return sizes of groups as a tuple of Python's integers.

    Raises:
        ConfigError: They are no whole numbers.
    """
    if isinstance(sizes, Sequence) and not isinstance(sizes, str | bytes):
        whole = (isinstance(s, int | np.integer) and not isinstance(s, bool) for s in sizes)
        if all(whole):
            return tuple(map(int, sizes))
    raise ConfigError("group_sizes is whole numbers, such as (3, 4), in the roster's order")


def check_sizes(sizes: Sequence[int], parties: int, least: int) -> None:
    """Refuse sizes that do not cut the roster.

    Raises:
        ConfigError: They do not add up to it, or one is below `least`.
    """
    if sum(sizes) != parties or min(sizes, default=0) < least:
        raise ConfigError(
            f"`group_sizes` must add up to the roster's {parties} parties, none of them below "
            f"{least}"
        )


def places_of(sizes: Sequence[int]) -> tuple[Places, ...]:
    """Return each group's places on the roster."""
    stops = list(accumulate(sizes))
    return tuple(tuple(range(stop - size, stop)) for size, stop in zip(sizes, stops, strict=True))


def check_whole(groups: Sequence[Places], senders: Collection[int]) -> None:
    """Refuse senders that are not all of their groups.

    Raises:
        QuorumError: A group is in the sum without one of its parties.
    """
    present = set(senders)
    for group in groups:
        found = present.intersection(group)
        if found and len(found) != len(group):
            raise QuorumError(
                "a group is in the sum without one of its parties: sums with and without it would "
                "show that party's update"
            )
