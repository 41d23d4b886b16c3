"""Bank and shop joined in the clear, as references need them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from privfed.data.bank_and_shop import bank_and_shop
from privfed.vertical.encoding import BlockEncoder
from privfed.vertical.labels import read_labels
from privfed.vertical.references import fit_exactly


def common(worth: float, customers: int, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of common customers, in one order."""
    tables = []
    for frame in bank_and_shop(worth, customers=customers, seed=seed):
        keys = frame.iloc[:, 0].str.strip().str.casefold()
        first = ~keys.duplicated()
        tables.append(frame[first].set_index(keys[first]))
    bank, shop = tables
    both = bank.index[bank.index.isin(shop.index)]
    return bank.loc[both].reset_index(drop=True), shop.loc[both].reset_index(drop=True)


@dataclass
class HeldOut:
    """Labels and scores of the rows that nobody trained on."""

    labels: NDArray[np.float64]
    alone: NDArray[np.float64]
    pooled: NDArray[np.float64]


def held_out(worth: float, customers: int = 4000, seed: int = 15) -> HeldOut:
    """Train on seven tenths of the common rows, alone and pooled."""
    bank, shop = common(worth, customers, seed)
    train = round(0.7 * len(bank))
    guest = BlockEncoder.fit(bank[:train], id_column="email", label_column="paid_late")
    host = BlockEncoder.fit(shop[:train], id_column="Email")
    labels, _ = read_labels(list(bank.paid_late), "logistic", "paid_late")
    own = guest.matrix(bank)
    both = np.hstack([own, host.matrix(shop)])
    scores = [
        fit_exactly(matrix[:train], labels[:train], "logistic", 1e-3).scores(matrix[train:])
        for matrix in (own, both)
    ]
    return HeldOut(labels[train:], *scores)
