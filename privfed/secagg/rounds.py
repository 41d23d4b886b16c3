"""One round as all of its parties agree on it: its number, and whose uploads make it."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from privfed.errors import ConfigError, ContextMismatchError, QuorumError
from privfed.secagg.groups import Places, check_whole
from privfed.secagg.parameters import Parameters

HASH_BYTES = 32
UNCHAINED = bytes(HASH_BYTES)
_MAX_ROUND = 2**64 - 1


@dataclass(frozen=True)
class RoundID:
    """A round's number and cohort.

    Attributes:
        number: 0 to 2^64 - 1.
        cohort: Where rounds name their parties, the sorted roster places that must all be in;
            else None: whole groups, or anybody.
        cohort_hash: 32 bytes for that cohort; zeros for None.
    """

    number: int
    cohort: tuple[int, ...] | None
    cohort_hash: bytes

    @classmethod
    def of(cls, params: Parameters, number: int, cohort: Sequence[int] | None) -> "RoundID":
        """Return the round, after checking that it can be one.

        Args:
            params: What all parties agreed on.
            number: The round's number.
            cohort: Where rounds name their parties (`Parameters.names_cohorts`), their roster
                places (None: all); else None.

        Raises:
            ConfigError: The number or the cohort is not valid.
        """
        number = check_number(number)
        if not params.names_cohorts:
            if cohort is not None:
                raise ConfigError(
                    "who may be in a round follows from the parameters: leave the cohort out"
                )
            return cls(number, None, bytes(HASH_BYTES))
        places = _places(params, cohort)
        digest = hashlib.sha256(b"privfed/1/cohort\x00" + np.array(places, "<u2").tobytes())
        return cls(number, places, digest.digest())


def check_number(number: int) -> int:
    """Return a valid round number.

    Raises:
        ConfigError: It is no whole number from 0 to 2^64 - 1.
    """
    if not is_whole(number):
        raise ConfigError("round_id must be a whole number")
    if not 0 <= number <= _MAX_ROUND:
        raise ConfigError("round_id must be 0 to 2^64 - 1")
    return int(number)


def check_history(previous: bytes, name: str = "previous") -> bytes:
    """Return 32 bytes for the transcript of the round before; zeros for no transcript.

    Raises:
        ConfigError: They are no transcript.
    """
    if not isinstance(previous, bytes) or len(previous) not in (0, HASH_BYTES):
        raise ConfigError(
            f"{name} is the {HASH_BYTES} bytes of the previous round's transcript, or b'' "
            "(bytes.fromhex turns hex digits into bytes)"
        )
    return previous or UNCHAINED


def _places(params: Parameters, cohort: Sequence[int] | None) -> tuple[int, ...]:
    if cohort is None:
        chosen = tuple(range(len(params.roster)))
    else:
        if isinstance(cohort, str | bytes) or not _all_whole(cohort):
            raise ConfigError(
                "a cohort is places on the roster, whole numbers such as (0, 2): "
                "Parameters.index_of tells a party's"
            )
        chosen = tuple(sorted({int(place) for place in cohort}))
    if not all(0 <= place < len(params.roster) for place in chosen):
        raise ConfigError("the cohort names a place that is not on the roster")
    if not params.quorum <= len(chosen) <= params.max_clients:
        raise ConfigError(
            f"a cohort of {len(chosen)} parties: with masks, name the min_clients="
            f"{params.quorum} to max_clients={params.max_clients} parties of the round"
        )
    return chosen


def check_senders(params: Parameters, of: RoundID, senders: Collection[int]) -> None:
    """Refuse a total over these roster places, if it is not one that may be seen.

    Raises:
        QuorumError: They are too few, not the round's cohort, or not whole groups.
    """
    if len(senders) < params.quorum:
        raise QuorumError(
            f"{len(senders)} parties are in the total, below min_clients={params.quorum}"
        )
    if of.cohort is not None and set(senders) != set(of.cohort):
        raise QuorumError("with masks every party of the cohort must be in the total")
    check_whole(params.groups, senders)


def check_epochs(
    params: Parameters, named: Mapping[int, bytes], known: dict[Places, bytes] | None = None
) -> None:
    """Refuse parties whose masks do not cancel, or who name an epoch where there are no masks.

    Args:
        params: What all parties agreed on.
        named: By roster place, the epoch that each is in.
        known: By group, the epochs named before; those named now are added.

    Raises:
        ContextMismatchError: Two that mask together are in different ones.
    """
    known = {} if known is None else known
    for place, epoch in named.items():
        wanted = known.setdefault(params.group_of(place), epoch) if params.masks else UNCHAINED
        if epoch != wanted:
            raise ContextMismatchError(
                "parties that mask together are in different epochs, or were given different "
                "settings for the round: let them start an epoch anew, and give all the same"
            )


def _all_whole(values: object) -> bool:
    try:
        return all(map(is_whole, values))  # type: ignore[call-overload]
    except TypeError:
        return False


def is_whole(value: object) -> bool:
    """Return whether this is a whole number, of Python's or numpy's."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)
