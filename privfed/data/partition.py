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
from privfed.data.schema import shown
from privfed.errors import ConfigError

Split = Literal["overlapping", "disjoint", "deduplicated"]
Rows = NDArray[np.intp]
Align = Callable[[NDArray[np.str_], NDArray[np.str_]], tuple[NDArray[Any], NDArray[Any]]]

# The paper: Guest 406 and Host 456 records, 862 together, of which 500 are public.
_GUEST, _HOST, _UNION = 406, 456, 500
_TRAIN_SHARE = 0.8


@dataclass(frozen=True, eq=False)
class PartyRows:
    """One party's rows, as row numbers of the Dataset.

    Attributes:
        name: "guest", "host", "party-3" and so on.
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
    parties: int = 2,
    seed: int = 0,
    align: Align | None = None,
) -> tuple[PartyRows, ...]:
    """Deal a data set out to parties; 80 % of each party's rows are for training.

    `overlapping`: two parties of 81.2 % and 91.2 % of the rows, whose union is all rows (of 500:
    406, 456, 362 shared). Each party draws its training rows independently, so a test row of one
    may be a training row of the other: that is what the benchmark studies.

    `disjoint`: no ID is at two parties. Two parties get IDs in the ratio 406 to 456, more parties
    get equal shares. Without IDs, rows are dealt instead; then a dress that has two rows may be
    at both.

    `deduplicated`: `overlapping`, after which Host gives up each row whose ID intersection says
    Guest has as well. Guest's rows are those of `overlapping` with the same seed.

    Args:
        dataset: What to deal out.
        kind: The split.
        parties: How many; other than 2 for `disjoint` only.
        seed: Fixes the split. It is for repeatable experiments and protects nobody.
        align: Private set intersection, for `deduplicated`: (Guest's IDs, Host's IDs) to positions
            in both, one pair for each two equal IDs, repeated ones with each copy.

    Returns:
        Guest, Host and, if asked, further parties.

    Raises:
        ConfigError: The split is unknown or does not fit the number of parties; IDs or `align` are
            needed and absent; or a party has too few rows to train and test two classes.
    """
    if kind not in get_args(Split):
        raise ConfigError(f"unknown split {shown(kind)}: use overlapping, disjoint or deduplicated")
    if parties < 2:
        raise ConfigError(f"{parties} parties cannot learn together: ask for at least 2")
    if parties != 2 and kind != "disjoint":
        raise ConfigError(
            f"the {kind} split is the paper's, of 2 parties: for {parties} use the disjoint split"
        )
    if seed < 0:
        raise ConfigError(f"the seed {seed} is negative: use 0 or more")
    dealt = np.random.default_rng(seed)
    if kind == "disjoint":
        shares = _disjoint(dataset, parties, dealt)
    else:
        shares = _overlapping(len(dataset), dealt)
    if kind == "deduplicated":
        shares = _deduplicated(dataset, shares, align)
    # Each party draws independently: Guest's draw does not depend on Host's rows.
    return tuple(
        _train_and_test(dataset, _party_name(i), np.sort(rows), np.random.default_rng([seed, i]))
        for i, rows in enumerate(shares)
    )


def _party_name(number: int) -> str:
    return ("guest", "host")[number] if number < 2 else f"party-{number + 1}"


def _overlapping(n: int, dealt: np.random.Generator) -> list[Rows]:
    order = dealt.permutation(n)
    return [order[: round(n * _GUEST / _UNION)], order[n - round(n * _HOST / _UNION) :]]


def _disjoint(dataset: Dataset, parties: int, dealt: np.random.Generator) -> list[Rows]:
    if dataset.ids is None:
        owners = np.arange(len(dataset))
    else:
        owners = np.unique(dataset.ids, return_inverse=True)[1]
    order = dealt.permutation(owners.max() + 1)
    if parties == 2:
        shares = np.split(order, [round(len(order) * _GUEST / (_GUEST + _HOST))])
    else:
        shares = np.array_split(order, parties)
    return [np.flatnonzero(np.isin(owners, share)) for share in shares]


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


def _train_and_test(
    dataset: Dataset, name: str, rows: Rows, drawn: np.random.Generator
) -> PartyRows:
    size = round(_TRAIN_SHARE * len(rows))
    order = drawn.permutation(rows)
    party = PartyRows(name, train=np.sort(order[:size]), test=np.sort(order[size:]))
    remedy = "bring more data, ask for fewer parties or choose another split or seed"
    if not len(party.train) or not len(party.test):
        raise ConfigError(f"{name} has {len(rows)} rows, too few to train and test on: {remedy}")
    if len(np.unique(dataset.labels[party.train])) < 2:
        raise ConfigError(f"{name} has training rows of one class only: {remedy}")
    return party
