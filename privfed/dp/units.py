"""From IDs to what a plan accounts for: which rows a party keeps, so that no unit has too many.

A unit's rows are dropped by their order alone, the last ones first: what is kept of a unit depends
on no other unit, so that zeroing one out changes nothing of the others. The cap is public, and so
are the placements that follow from it; nothing is read from the IDs unless the caller says so.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from privfed.dp.accounting import Placement, worst_placements
from privfed.errors import ConfigError

CapOver = Literal["each party", "all parties"]
_MOST_PLACEMENTS = 1000  # a plan compares each with each
_KINDS = {"i": "number", "u": "number", "U": "text", "S": "bytes"}  # by numpy's letter


@dataclass(frozen=True, eq=False)
class UnitPlacements:
    """What a cap keeps, and what a plan has to account for.

    Attributes:
        kept: For each party a mask of its rows.
        placements: Where the rows of a unit may lie: what `PrivacyPlan` takes.
    """

    kept: tuple[NDArray[np.bool_], ...]
    placements: tuple[Placement, ...]

    @property
    def rows(self) -> tuple[int, ...]:
        """How many rows each party keeps: a plan's `rows`."""
        return tuple(int(mask.sum()) for mask in self.kept)


def placements_from_ids(
    ids_by_party: Sequence[ArrayLike],
    *,
    cap: int | Sequence[int],
    over: CapOver = "each party",
    placements_are_public: bool = False,
) -> UnitPlacements:
    """Drop rows until no unit has more than the cap, and say what a plan has to account for.

    Over each party a party keeps a unit's first rows up to its cap, and needs to know nothing of
    others: it may give its own IDs alone (`ids_by_party` of one list) for the same mask. Over all
    parties the first party keeps its rows first, then the second, as far as the unit's cap is not
    used up: for that a party must know how many rows the earlier ones hold of a unit that it holds
    as well, as a private set intersection may tell it.

    Args:
        ids_by_party: The unit, such as a person, of each row: text or whole numbers, of one kind.
        cap: The most rows of one unit, ≥ 1, or one cap a party, ≥ 0; public.
        over: Whether the cap is on a unit's rows at each party, or at all together.
        placements_are_public: Account for the placements that the units really have. Whether one
            unit is there may show in them; otherwise they are the worst that the cap allows.

    Returns:
        The rows that are kept, and the placements for `PrivacyPlan` or `calibrate`.

    Raises:
        ConfigError: IDs or caps are none, or the cap over all parties allows too many placements.
    """
    if over not in get_args(CapOver):
        raise ConfigError(f"a cap is over 'each party' or 'all parties', not {over!r}")
    read = [_read(ids) for ids in ids_by_party]
    if not read or len({_KINDS[ids.dtype.kind] for ids in read if ids.size}) > 1:
        raise ConfigError("give the IDs of at least one party, all of one kind")
    if over == "each party":
        caps = _caps(cap, len(read))
        kept = [_first(ids, most) for ids, most in zip(read, caps, strict=True)]
        worst = [tuple(caps)]
    else:
        if not isinstance(cap, int):
            raise ConfigError("a cap over all parties is one number")
        (most,) = _caps(cap, 1)
        kept = _first_over_all(read, most)
        if math.comb(most + len(read) - 1, most) > _MOST_PLACEMENTS:
            raise ConfigError(
                f"a cap of {most} rows over {len(read)} parties allows more placements than a "
                f"plan compares, {_MOST_PLACEMENTS}: use a smaller cap, or one over each party"
            )
        worst = list(_splits(most, len(read)))
    if placements_are_public:
        worst = _read_off(read, kept)
    return UnitPlacements(tuple(kept), tuple(worst_placements(worst)))


def check_units(ids: ArrayLike, rows: int, most: int) -> None:
    """Refuse rows of which one unit has more than a plan counts at this party.

    Raises:
        ConfigError: It has more, or there is not one ID a row. Says so to this party alone, and
            not of which unit.
    """
    read = _read(ids)
    if len(read) != rows:
        raise ConfigError(f"{rows} rows have {len(read)} IDs: give each row one")
    if not _first(read, most).all():
        raise ConfigError(
            f"a unit has more rows here than the {most} that the privacy plan counts: keep those "
            "that placements_from_ids keeps, or make the plan with a larger cap"
        )


def _read(ids: ArrayLike) -> NDArray[Any]:
    read = ids if isinstance(ids, np.ndarray) else np.asarray(ids, dtype=object)
    if read.ndim == 1 and not read.size:
        return np.zeros(0, np.int64)
    if read.ndim == 1 and read.dtype.kind == "O":
        # numpy would make texts of all: 1 and "1.0" two units, and NaN one of many people.
        for kind in (str, bytes, int, np.integer):
            if all(isinstance(each, kind) and not isinstance(each, bool) for each in read):
                read = np.asarray(read.tolist())
                break
    if read.ndim != 1 or read.dtype.kind not in _KINDS or isinstance(read, np.ma.MaskedArray):
        raise ConfigError(
            "the IDs of a party are one list of texts or of whole numbers, one a row and all of "
            "one kind: give a row without one an ID of its own"
        )
    return read


def _caps(cap: int | Sequence[int], parties: int) -> list[int]:
    given = list(cap) if isinstance(cap, Sequence) else [cap] * parties
    try:
        caps = [operator.index(each) for each in given]
    except TypeError:
        raise ConfigError("a cap is a whole number, or one a party") from None
    if len(caps) != parties or min(caps) < 0 or not any(caps):
        raise ConfigError(f"give one cap of at least 1, or one for each of {parties} parties")
    return caps


def _turns(ids: NDArray[Any]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return each row's unit, numbered, and how many of the unit's rows are before it."""
    _, units = np.unique(ids, return_inverse=True)
    order = np.argsort(units, kind="stable")
    turns = np.empty(len(ids), np.intp)
    starts = np.searchsorted(units[order], units[order])
    turns[order] = np.arange(len(ids)) - starts
    return units, turns


def _first(ids: NDArray[Any], most: int) -> NDArray[np.bool_]:
    """Return a mask of the first rows of each unit."""
    kept: NDArray[np.bool_] = _turns(ids)[1] < most
    return kept


def _first_over_all(read: Sequence[NDArray[Any]], most: int) -> list[NDArray[np.bool_]]:
    numbers: dict[Any, int] = {}
    together = itertools.chain.from_iterable(ids.tolist() for ids in read)
    units = [numbers.setdefault(unit, len(numbers)) for unit in together]
    kept = _first(np.asarray(units, np.int64), most)
    return np.split(kept, np.cumsum([len(ids) for ids in read])[:-1])


def _splits(rows: int, parties: int) -> Iterator[Placement]:
    """Yield every way to lay so many rows at the parties."""
    if parties == 1:
        yield (rows,)
        return
    for here in range(rows + 1):
        for others in _splits(rows - here, parties - 1):
            yield (here, *others)


def _read_off(read: Sequence[NDArray[Any]], kept: Sequence[NDArray[np.bool_]]) -> list[Placement]:
    counts = [Counter(ids[mask].tolist()) for ids, mask in zip(read, kept, strict=True)]
    return [tuple(count[unit] for count in counts) for unit in set().union(*counts)]
