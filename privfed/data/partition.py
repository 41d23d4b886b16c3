"""One table → the rows of each party, as an experiment deals them out.

The experiment deals the rows, so here the whole table is seen, with its IDs; real parties bring
their own rows. After that, IDs of different parties are compared only by the private set
intersection that the caller passes in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from privfed.data.dataset import Dataset
from privfed.data.dealing import Dealing, deal
from privfed.data.schema import shown
from privfed.defaults import PARTIES
from privfed.errors import ConfigError

Split = Literal["overlapping", "disjoint", "deduplicated", "as-given"]
Rows = NDArray[np.intp]
Marks = NDArray[Any]
Align = Callable[[NDArray[np.str_], NDArray[np.str_]], tuple[NDArray[Any], NDArray[Any]]]

# The paper: Guest 406 and Host 456 records, 862 together, of which 500 are public.
_GUEST, _HOST, _UNION = 406, 456, 500
_TRAIN_SHARE = 0.8
_FEWEST_ROWS = 8  # of a party: of fewer not two are left to test on
_DRAWS = 100  # of parties that are drawn unequal, or as given, until each can train and test


@dataclass(frozen=True, eq=False)
class PartyRows:
    """One party's rows, as row numbers of the Dataset.

    Attributes:
        name: "guest", "host", "party-3" and so on; or as the table names it.
        train: Rows to train on, ascending.
        test: Rows to test on, ascending; none of them is in `train`.
    """

    name: str
    train: Rows
    test: Rows

    @property
    def rows(self) -> Rows:
        """All rows of this party, ascending."""
        return np.sort(np.concatenate([self.train, self.test]))


def split_parties(
    dataset: Dataset,
    kind: Split,
    *,
    parties: int | None = None,
    seed: int = 0,
    align: Align | None = None,
    dealing: Dealing | None = None,
) -> tuple[PartyRows, ...]:
    """Deal a data set out to parties; 80 % of each party's rows are for training.

    `overlapping`: two parties of 81.2 % and 91.2 % of the rows, whose union is all rows (of 500:
    406, 456, 362 shared). Each party draws its training rows independently and by row, so a test
    row of one may be a training row of the other: that is what the benchmark studies.

    `disjoint`: no ID is at two parties. Two parties get IDs in the ratio 406 to 456, more parties
    get equal shares, unless `dealing` says otherwise. All rows of an ID are for training, or all
    for testing. Without IDs, rows are dealt instead; then a dress that has two rows may be at both.

    `deduplicated`: `overlapping`, after which Host gives up each row whose ID intersection says
    Guest has as well. Guest's rows are those of `overlapping` with the same seed.

    `as-given`: the parties that the table names, with their rows. The seed draws training and test
    rows only; all rows of an ID, at whichever parties, are for training, or all for testing.

    Parties that are as given, or drawn with a skew, are drawn again, up to 100 times, where a party
    would have training rows of one class only, or none to test on.

    Args:
        dataset: What to deal out.
        kind: The split.
        parties: How many, 2 without it; other than 2 for `disjoint` only. Sizes, or the table, say
            how many by themselves.
        seed: Fixes the split. It is for repeatable experiments and protects nobody.
        align: Private set intersection, for `deduplicated`: (Guest's IDs, Host's IDs) to positions
            in both, one pair for each two equal IDs, repeated ones with each copy.
        dealing: Sizes or a skew of the parties, for `disjoint`.

    Returns:
        Guest, Host and, if asked, further parties; or the table's.

    Raises:
        ConfigError: The split is unknown or does not fit the number of parties or what the table
            says of them; IDs or `align` are needed and absent; or a party has too few rows to train
            and test two classes.
    """
    if kind not in get_args(Split):
        raise ConfigError(f"unknown split {shown(kind)}: use {', '.join(get_args(Split))}")
    dealing = dealing or Dealing()
    parties = _number(dataset, kind, parties, dealing)
    if seed < 0:
        raise ConfigError(f"the seed {seed} is negative: use 0 or more")
    units = _units(dataset)
    dealt = np.random.default_rng(seed)
    draws = _DRAWS if dealing.skew or _may_train(dataset) else 1
    for draw in range(draws):
        if dataset.owners is not None:
            shares, names = dataset.owners.rows, dataset.owners.names
        else:
            shares = _shares(dataset, kind, units, parties, dealing, dealt, align)
            names = party_names(parties)
        common = _settled(units, shares, dealt) if kind == "as-given" else None
        by = None if kind in ("overlapping", "deduplicated") else units
        # Each party draws independently: Guest's draw does not depend on Host's rows.
        found = tuple(
            _train_and_test(
                name, rows, by, common, np.random.default_rng([seed, i, draw][: 3 if draw else 2])
            )
            for i, (name, rows) in enumerate(zip(names, shares, strict=True))
        )
        wrong = [fault for party in found if (fault := _fault(dataset, party))]
        if not wrong:
            return found
    raise ConfigError(f"{wrong[0]}: {_remedy(kind, dealing)}")


def _number(dataset: Dataset, kind: Split, parties: int | None, dealing: Dealing) -> int:
    """Return how many parties there are, if all that is asked goes together."""
    if (dataset.owners is not None) != (kind == "as-given"):
        raise ConfigError(
            "the split as-given is of a table that says whose its rows are: name its "
            "`party_column`, or give a file for each party"
            if dataset.owners is None
            else f"the table says whose its rows are, and the {kind} split would deal them anew: "
            "take the split as-given"
        )
    if dealing.skew == "labels" and dataset.number is not None:
        raise ConfigError(
            "a `skew` of labels deals classes unevenly, and the label is a number: take a skew of "
            "quantities, or make classes of it"
        )
    if not dealing.is_plain and kind != "disjoint":
        raise ConfigError(f"`sizes` and `skew` are of the disjoint split, not of {kind}: take that")
    if dataset.owners is not None:
        said = len(dataset.owners.names)
    elif dealing.sizes is not None:
        said = len(dealing.sizes)
    else:
        said = PARTIES if parties is None else parties
    if parties not in (None, said):
        raise ConfigError(f"`parties` is {parties}, and there are {said}: leave it out")
    if said < 2:
        raise ConfigError(f"{said} parties cannot learn together: ask for at least 2")
    if said != 2 and kind in ("overlapping", "deduplicated"):
        raise ConfigError(
            f"the {kind} split is the paper's, of 2 parties: for {said} use the disjoint split"
        )
    return said


def party_names(parties: int) -> tuple[str, ...]:
    """Name parties that a table does not name: guest, host, party-3 and so on."""
    return ("guest", "host", *(f"party-{number}" for number in range(3, parties + 1)))[:parties]


def _may_train(dataset: Dataset) -> bool:
    """Return whether the table names parties, and each has rows of two classes at all."""
    labels, owners = dataset.labels, dataset.owners
    return owners is not None and all(len(np.unique(labels[rows])) > 1 for rows in owners.rows)


def _units(dataset: Dataset) -> Rows:
    """Return a number for each row that is that of its ID; of the row itself without IDs."""
    if dataset.ids is None:
        return np.arange(len(dataset))
    return np.unique(dataset.ids, return_inverse=True)[1]


def _shares(
    dataset: Dataset,
    kind: Split,
    units: Rows,
    parties: int,
    dealing: Dealing,
    dealt: np.random.Generator,
    align: Align | None,
) -> list[Rows]:
    """Return each party's rows, ascending."""
    if not dealing.is_plain:
        return deal(units, dataset.labels, parties, dealing, dealt)
    if kind == "disjoint":
        return _disjoint(units, parties, dealt)
    shares = _overlapping(len(dataset), dealt)
    if kind == "deduplicated":
        shares = _deduplicated(dataset, shares, align)
    return [np.sort(rows) for rows in shares]


def _overlapping(n: int, dealt: np.random.Generator) -> list[Rows]:
    order = dealt.permutation(n)
    return [order[: round(n * _GUEST / _UNION)], order[n - round(n * _HOST / _UNION) :]]


def _disjoint(units: Rows, parties: int, dealt: np.random.Generator) -> list[Rows]:
    order = dealt.permutation(units.max() + 1)
    if parties == 2:
        shares = np.split(order, [round(len(order) * _GUEST / (_GUEST + _HOST))])
    else:
        shares = np.array_split(order, parties)
    return [np.flatnonzero(np.isin(units, share)) for share in shares]


def _deduplicated(dataset: Dataset, shares: list[Rows], align: Align | None) -> list[Rows]:
    ids = dataset.require_ids("the deduplicated split")
    if align is None:
        raise ConfigError(
            "the deduplicated split needs a private set intersection: hand one in as `align`"
        )
    guest, host = shares
    _, shared = align(ids[guest], ids[host])
    kept = np.ones(len(host), dtype=np.bool_)
    kept[np.asarray(shared, dtype=np.intp)] = False
    return [guest, host[kept]]


def _settled(units: Rows, shares: list[Rows], dealt: np.random.Generator) -> Marks:
    """Return a mark for each unit that several parties have, drawn: 1 to train on, 0 to test on.

    Units of one party are marked -1. The experiment sees all IDs here, as where it deals them.
    """
    distinct = units.max() + 1
    holders = np.zeros(distinct, np.int64)
    for rows in shares:
        holders[np.unique(units[rows])] += 1
    common = dealt.permutation(np.flatnonzero(holders > 1))
    settled = np.full(distinct, -1, np.int8)
    settled[common] = np.arange(len(common)) < round(_TRAIN_SHARE * len(common))
    return settled


def _train_and_test(
    name: str, rows: Rows, units: Rows | None, settled: Marks | None, drawn: np.random.Generator
) -> PartyRows:
    """Draw training and test rows: by row without `units`, else by unit, as near as they allow."""
    size = round(_TRAIN_SHARE * len(rows))
    order = drawn.permutation(rows)
    if units is None:
        return PartyRows(name, np.sort(order[:size]), np.sort(order[size:]))
    train = np.zeros(len(rows), np.bool_)
    if settled is not None:
        train = settled[units[order]] == 1
        own = settled[units[order]] == -1
        size -= int(train.sum())
    else:
        own = ~train
    train[own] = _first(units[order[own]], size)
    return PartyRows(name, np.sort(order[train]), np.sort(order[~train]))


def _first(units: Rows, size: int) -> Marks:
    """Mark all rows of the units that come first, so many that they have about `size` rows."""
    _, begins, of, counts = np.unique(
        units, return_index=True, return_inverse=True, return_counts=True
    )
    order = np.argsort(begins)
    reached = np.concatenate([[0], np.cumsum(counts[order])])
    rank = np.argsort(order)
    return rank[of] < np.argmin(np.abs(reached - size))


def _fault(dataset: Dataset, party: PartyRows) -> str | None:
    """Return why a party cannot train and test, if it cannot."""
    name = party.name if dataset.owners is None else shown(party.name)
    if len(party.rows) < _FEWEST_ROWS or not len(party.train) or not len(party.test):
        return f"{name} has {len(party.rows)} rows, too few to train and test on"
    there = np.unique(dataset.labels[party.train])
    if dataset.number is not None:
        only = dataset.number.notation.written(there[0])
        return f"{name} has training rows of one label only, {only}" if len(there) < 2 else None
    if len(there) < 2:
        only = shown(dataset.class_names[there[0]])
        return f"{name} has training rows of one class only, {only}"
    return None


def _remedy(kind: Split, dealing: Dealing) -> str:
    if kind == "as-given":
        return "bring more of its rows, merge it with another party, or leave its rows out"
    if dealing.skew is not None:
        return "ask for a larger concentration or fewer parties, or bring more data"
    if dealing.sizes is not None:
        return "give it more rows, or bring more data"
    return "bring more data, ask for fewer parties or choose another split or seed"
