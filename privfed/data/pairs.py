"""Pairs of tables about the same IDs, for learning across columns: made up, packaged, or by path.

Each side has its rows in an order of its own. Repeated keys are in bank and shop alone, where all
rows of a key say the same.
"""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pandas as pd

from privfed.data.bank_and_shop import bank_and_shop
from privfed.data.cleaning import clean
from privfed.data.codebook import DRESSES
from privfed.data.files import read_text_table
from privfed.data.packaged import PACKAGED
from privfed.data.sales import parse_sales, read_sales
from privfed.data.schema import CategoricalColumn, shown
from privfed.data.surrogate import surrogate_tables
from privfed.errors import ConfigError

PairName = Literal["bank-and-shop", "breast-cancer", "dresses", "randhie"]

_SEED = 15
_GUEST_MEASUREMENTS = 10  # of breast cancer's thirty columns
_HEALTH = ("physlm", "disea", "hlthg", "hlthf", "hlthp")
_INSURANCE = ("lncoins", "idp", "lpi", "fmde")


@dataclass(frozen=True, eq=False)
class Pair:
    """Two companies' tables. Its repr shows no row.

    Attributes:
        name: What the pair is called.
        source: Where it comes from, for people.
        guest_name: Who has the labels, such as "bank".
        host_name: Who has further columns, such as "shop".
        guest: The guest's text cells.
        host: The host's text cells.
        guest_id: The guest's ID column.
        host_id: The host's.
        label: The guest's label column.
        family: What the label is: "logistic" of two classes, "poisson" of counts.
        normalise: The steps that make keys comparable, as psi writes them; "exact" for none.
    """

    name: str
    source: str
    guest_name: str
    host_name: str
    guest: pd.DataFrame = field(repr=False)
    host: pd.DataFrame = field(repr=False)
    guest_id: str
    host_id: str
    label: str
    family: Literal["logistic", "poisson"] = "logistic"
    normalise: str = "exact"


def load_pair(
    name: str = "bank-and-shop",
    *,
    worth: float = 1.0,
    customers: int = 4_000,
    seed: int = _SEED,
    days: int = 1,
    attributes: str | os.PathLike[str] | None = None,
    sales: str | os.PathLike[str] | None = None,
) -> Pair:
    """Load a pair of tables by name.

    Args:
        name: "bank-and-shop", made up; "breast-cancer", 10 and 20 columns; "dresses", the first
            days of sales and attributes; "randhie", visits to a doctor, by health and insurance.
        worth: How much the shop's columns matter, 0 to 1; for bank and shop.
        customers: How many each has; for bank and shop.
        seed: Fixes what is drawn: bank and shop, and the order of rows elsewhere.
        days: How many first dates of sales the seller has as columns; for dresses.
        attributes: The path of UCI's “Attribute DataSet”, for dresses; None: the surrogate's.
        sales: The path of UCI's “Dress Sales”, which belongs to it.

    Returns:
        The pair.

    Raises:
        ConfigError: The name is unknown, a setting is out of range, or the source cannot be read.
    """
    if name == "bank-and-shop":
        bank, shop = bank_and_shop(worth, customers=customers, seed=seed)
        return Pair(
            name, f"made up by privfed, worth {worth:g}, seed {seed}", "bank", "shop", bank, shop,
            "email", "Email", "paid_late", normalise="case,space",
        )  # fmt: skip
    if name == "breast-cancer":
        return _breast_cancer(seed)
    if name == "dresses":
        return _dresses(days, seed, attributes, sales)
    if name == "randhie":
        return _randhie(seed)
    raise ConfigError(f"unknown pair {shown(name)}: use {', '.join(get_args(PairName))}")


def _breast_cancer(seed: int) -> Pair:
    from sklearn.datasets import load_breast_cancer  # takes a second

    bunch = load_breast_cancer(as_frame=True)
    cells = bunch.data.map(repr)
    ids = [f"patient-{row:03}" for row in range(len(cells))]
    guest, host = cells.iloc[:, :_GUEST_MEASUREMENTS], cells.iloc[:, _GUEST_MEASUREMENTS:]
    labelled = guest.assign(diagnosis=[bunch.target_names[target] for target in bunch.target])
    return Pair(
        "breast-cancer", PACKAGED["breast-cancer"], "clinic", "laboratory",
        *_as_two(labelled, host, ids, "patient", seed), "patient", "patient", "diagnosis",
    )  # fmt: skip


def _dresses(
    days: int,
    seed: int,
    attributes: str | os.PathLike[str] | None,
    sales: str | os.PathLike[str] | None,
) -> Pair:
    """Split the dresses between seller and manufacturer; the label is what sells above the median.

    The files have their rows in one order, so that a repeated Dress_ID's rows belong together:
    later ones are dropped here, before the orders part. What is sold counts on a logarithmic scale.

    Returns:
        The pair.

    Raises:
        ConfigError: The files cannot be read or do not belong together, or there are not so many
            days.
    """
    if (attributes is None) != (sales is None):
        raise ConfigError("the dresses are two files: give both `attributes` and `sales`")
    if attributes is None or sales is None:
        raw, raw_sales = surrogate_tables()
        sold, source = parse_sales(raw_sales), "embedded surrogate (not real data)"
    else:
        raw, sold = read_text_table(attributes).frame, read_sales(sales)
        source = f"UCI Dresses_Attribute_Sales, {Path(attributes).name} and {Path(sales).name}"
    names = DRESSES.match_headers(list(raw.columns), label=False, where="the attributes")
    raw = raw.rename(columns=names)
    ids = DRESSES.id_column
    if ids not in raw.columns or list(raw[ids]) != sold.ids.tolist():
        raise ConfigError("attributes and sales are not of the same dresses in the same order")
    if not 1 <= days < len(sold.dates):
        raise ConfigError(f"{days} days of sales: give 1 to {len(sold.dates) - 1}")
    codes = clean(raw, DRESSES).values
    last = pd.DataFrame(sold.cumulative).ffill(axis=1).iloc[:, -1].to_numpy()
    kept = ~pd.Series(sold.ids).duplicated().to_numpy() & ~np.isnan(last)
    host = pd.DataFrame(
        {
            column.name: _cells(column, codes[kept, place])
            for place, column in enumerate(DRESSES.columns)
        }
    )
    guest = pd.DataFrame(
        {
            f"log_sold_{day.isoformat()}": [
                "" if np.isnan(pieces) else f"{np.log1p(pieces):.6f}" for pieces in counts
            ]
            for day, counts in zip(sold.dates[:days], sold.cumulative[kept].T, strict=False)
        }
    )
    above = last[kept] > np.median(last[kept])
    return Pair(
        "dresses", source, "seller", "manufacturer",
        *_as_two(
            guest.assign(sells_well=np.where(above, "yes", "no")), host,
            sold.ids[kept].tolist(), "Dress_ID", seed,
        ), "Dress_ID", "Dress_ID", "sells_well",
    )  # fmt: skip


def _cells(column: object, codes: np.ndarray[tuple[int], np.dtype[np.float64]]) -> list[str]:
    """Write cleaned values in one spelling each; "" where missing."""
    if isinstance(column, CategoricalColumn):
        return [column.meaning(int(code)) if code else "" for code in codes]
    return ["" if np.isnan(number) else f"{number:g}" for number in codes]


def _randhie(seed: int) -> Pair:
    """Read statsmodels' own copy; the package is not imported."""
    spec = importlib.util.find_spec("statsmodels")
    if spec is None or spec.origin is None:
        raise ConfigError(
            "randhie ships inside statsmodels, which is absent: pip install 'privfed[benchmark]'"
        )
    path = Path(spec.origin).parent / "datasets" / "randhie" / "randhie.csv"
    rows = read_text_table(path).frame
    guest = rows[list(_HEALTH)].assign(visits=rows["mdvis"])
    ids = [f"record-{row:05}" for row in range(len(rows))]
    return Pair(
        "randhie", "RAND Health Insurance Experiment, as in statsmodels", "clinic", "insurer",
        *_as_two(guest, rows[list(_INSURANCE)], ids, "record", seed),
        "record", "record", "visits", family="poisson",
    )  # fmt: skip


def _as_two(
    guest: pd.DataFrame, host: pd.DataFrame, ids: list[str], name: str, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return both tables with their IDs, each with its rows in an order of its own."""
    draw = np.random.RandomState(seed)
    tables = []
    for table in (guest, host):
        named = table.reset_index(drop=True).astype(str)
        named.insert(0, name, ids)
        tables.append(named.iloc[draw.permutation(len(ids))].reset_index(drop=True))
    return tables[0], tables[1]
