"""A bank and a shop, made up: who of their common customers will pay late?

Nothing here was measured. The bank knows who paid late; the chance of it depends on some of the
bank's columns and, by `worth`, on some of the shop's. Half of what the shop's columns tell is in
their combinations, where a linear model does not find it. Keys are e-mail addresses as people type
them.

Draws are numpy's `RandomState`, whose sequence is frozen, so a seed gives one pair of tables.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from privfed.errors import ConfigError

COMMON_SHARE = 0.7  # of each side's customers
_REPEATED_SHARE = 0.015  # customers who are in a table twice, with their key typed otherwise
_MESSY_SHARE = 0.2  # of keys
# Standard deviations of the log odds: by the bank's columns, the shop's, combinations of these.
_SIGNAL = (0.8, 1.04, 1.06)
_BASE = -0.6  # log odds of nobody in particular
_LEAST, _MOST = 50, 1_000_000
_SEEDS = 2**32

_CITIES = ("Bremen", "Lyon", "Porto", "Gdansk", "Turin", "Ghent")
_WORK = ("employed", "self-employed", "retired", "in training", "none")
_BANDS = ("18-25", "26-35", "36-50", "51-65", "66+")
_DEPARTMENTS = ("clothing", "electronics", "food", "garden", "toys")
_PAYS_BY = ("card", "invoice", "wallet", "cash")
_DELIVERY = ("home", "shop", "locker")
_FIRST = (
    "anna",
    "ben",
    "chloe",
    "david",
    "emma",
    "felix",
    "greta",
    "hugo",
    "ines",
    "jonas",
    "klara",
)
_LAST = (
    "berger",
    "costa",
    "dumont",
    "evers",
    "fischer",
    "gallo",
    "haas",
    "ivanov",
    "jansen",
    "kowal",
)

_Numbers = NDArray[np.float64]


def bank_and_shop(
    worth: float = 1.0, *, customers: int = 4_000, seed: int = 15
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Make the tables of a bank and of a shop.

    Args:
        worth: How much the shop's columns matter for who pays late: 0 not at all, 1 most.
        customers: How many each has; 70 % of them are customers of both.
        seed: Fixes all draws.

    Returns:
        The bank's table: e-mail, eleven columns, and `paid_late`, yes or no. The shop's: e-mail and
        eleven columns. All cells are text; some are empty. Rows are in each one's own order; some
        keys have other case and blanks around them, and some customers are there twice.

    Raises:
        ConfigError: `worth` is not in [0, 1], or there are too few or too many customers.
    """
    if not 0 <= worth <= 1:
        raise ConfigError(f"worth {worth}: give a number from 0 to 1")
    if not _LEAST <= customers <= _MOST or not 0 <= seed < _SEEDS:
        raise ConfigError(
            f"{customers} customers, seed {seed}: give {_LEAST} to {_MOST} customers, and a seed "
            f"from 0 to {_SEEDS - 1}"
        )
    draw = np.random.RandomState(seed)
    common = round(COMMON_SHARE * customers)
    people = 2 * customers - common
    keys = [
        f"{_FIRST[a]}.{_LAST[b]}{number}@example.org"
        for number, (a, b) in enumerate(
            zip(
                draw.randint(len(_FIRST), size=people),
                draw.randint(len(_LAST), size=people),
                strict=True,
            )
        )
    ]
    order = draw.permutation(people)
    bank, bank_odds = _bank(draw, people)
    shop, *shop_odds = _shop(draw, people)
    parts = [_unit(part) for part in (bank_odds, *shop_odds)]
    odds = _BASE + _SIGNAL[0] * parts[0]
    odds += worth * (_SIGNAL[1] * parts[1] + _SIGNAL[2] * parts[2])
    late = draw.random_sample(people) < 1 / (1 + np.exp(-odds))
    bank["paid_late"] = np.where(late, "yes", "no").tolist()
    at_bank, at_shop = order[:customers], order[customers - common :]
    return (
        _table(draw, {"email": keys, **bank}, at_bank),
        _table(draw, {"Email": keys, **shop}, at_shop),
    )


def _bank(draw: np.random.RandomState, n: int) -> tuple[dict[str, list[str]], _Numbers]:
    """Return the bank's columns, and what they say of who pays late."""
    band = draw.choice(len(_BANDS), n, p=(0.14, 0.26, 0.28, 0.2, 0.12))
    work = draw.choice(len(_WORK), n, p=(0.58, 0.14, 0.13, 0.09, 0.06))
    wealth = draw.standard_normal(n)
    income = np.exp(10.3 + 0.25 * (band - 2) * (band < 4) + 0.35 * wealth)
    savings = np.exp(8.0 + 0.9 * wealth + 0.7 * draw.standard_normal(n))
    years = np.minimum(draw.exponential(7, n), 4 + 9 * band)
    overdrafts = draw.poisson(np.exp(0.1 - 0.5 * wealth))
    loans = draw.binomial(4, 0.3, n)
    spending = income / 12 * (0.4 + 0.3 * draw.random_sample(n))
    columns = {
        "age_band": _words(_BANDS, band),
        "city": _words(_CITIES, draw.choice(len(_CITIES), n, p=(0.3, 0.2, 0.18, 0.14, 0.1, 0.08))),
        "work": _words(_WORK, work),
        "income": _gaps(draw, [f"{value:.0f}" for value in income], 0.04),
        "savings": [f"{value:.0f}" for value in savings],
        "account_years": [f"{value:.1f}" for value in years],
        "overdrafts": [str(value) for value in overdrafts],
        "loans": [str(value) for value in loans],
        "card_spending": _gaps(draw, [f"{value:.2f}" for value in spending], 0.06),
        "mortgage": _words(("no", "yes"), (draw.random_sample(n) < 0.3).astype(int)),
        "branch_visits": [str(value) for value in draw.poisson(1.5, n)],
    }
    odds = (
        0.55 * _unit(overdrafts)
        - 0.4 * _unit(np.log(savings))
        - 0.3 * _unit(np.log(income))
        + 0.35 * _unit(loans)
        - 0.3 * _unit(years)
        + 0.5 * (work == _WORK.index("none"))
    )
    return columns, odds


def _shop(draw: np.random.RandomState, n: int) -> tuple[dict[str, list[str]], _Numbers, _Numbers]:
    """Return the shop's columns, what they say of who pays late, and what combinations say."""
    pays_by = draw.choice(len(_PAYS_BY), n, p=(0.42, 0.28, 0.2, 0.1))
    visits = 1 + draw.poisson(np.exp(1.0 + 0.5 * draw.standard_normal(n)))
    basket = np.exp(3.5 + 0.5 * draw.standard_normal(n))
    returns = draw.beta(1.4, 6, n)
    reminders = draw.poisson(np.where(pays_by == 1, 0.9, 0.25))
    discounts = draw.beta(2, 4, n)
    years = draw.exponential(3, n)
    nights = draw.poisson(0.8, n)
    department = draw.choice(len(_DEPARTMENTS), n, p=(0.36, 0.22, 0.2, 0.12, 0.1))
    columns = {
        "visits_a_month": [str(value) for value in visits],
        "basket_size": [f"{value:.2f}" for value in basket],
        "returned_share": [f"{value:.3f}" for value in returns],
        "discount_share": _gaps(draw, [f"{value:.3f}" for value in discounts], 0.05),
        "reminders": [str(value) for value in reminders],
        "pays_by": _words(_PAYS_BY, pays_by),
        "department": _words(_DEPARTMENTS, department),
        "delivery": _words(_DELIVERY, draw.choice(3, n, p=(0.6, 0.25, 0.15))),
        "member_years": _gaps(draw, [f"{value:.1f}" for value in years], 0.08),
        "night_orders": [str(value) for value in nights],
        "newsletter": _words(("no", "yes"), (draw.random_sample(n) < 0.45).astype(int)),
    }
    odds = (
        0.6 * _unit(reminders)
        + 0.45 * _unit(returns)
        - 0.35 * _unit(visits)
        - 0.3 * _unit(years)
        + 0.25 * _unit(discounts)
        + 0.4 * (pays_by == 1)
    )
    small_by_night = np.sign(np.median(basket) - basket) * np.where(nights > 0, 1, -1)
    return columns, odds, _unit(small_by_night) + _unit(np.abs(_unit(discounts)))


def _table(
    draw: np.random.RandomState, columns: dict[str, list[str]], rows: NDArray[np.intp]
) -> pd.DataFrame:
    """Return some people's rows in an order of their own, a few twice, with keys as typed."""
    twice = draw.choice(rows, round(_REPEATED_SHARE * len(rows)), replace=False)
    chosen = draw.permutation(np.concatenate([rows, twice]))
    frame = pd.DataFrame({name: np.asarray(cells)[chosen] for name, cells in columns.items()})
    key = frame.columns[0]
    # Both rows of a customer say the same, so which of them is kept does not matter.
    messy: list[Callable[[str], str]] = [str.upper, str.title, " {}".format, "{}  ".format]
    frame[key] = [
        messy[way](cell) if chance < _MESSY_SHARE else cell
        for cell, chance, way in zip(
            frame[key],
            draw.random_sample(len(frame)),
            draw.randint(len(messy), size=len(frame)),
            strict=True,
        )
    ]
    return frame.astype(str)


def _words(words: Sequence[str], places: NDArray[np.int_]) -> list[str]:
    return [words[place] for place in places]


def _gaps(draw: np.random.RandomState, cells: Sequence[str], share: float) -> list[str]:
    """Empty a share of cells at random."""
    empty = draw.random_sample(len(cells)) < share
    return ["" if gone else cell for cell, gone in zip(cells, empty, strict=True)]


def _unit(values: NDArray[np.generic]) -> _Numbers:
    """Scale to mean 0 and standard deviation 1."""
    numbers = values.astype(np.float64)
    scaled: _Numbers = (numbers - numbers.mean()) / numbers.std()
    return scaled
