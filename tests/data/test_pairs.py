"""Pairs of tables about the same IDs: messy as they come, in two orders, always the same."""

from __future__ import annotations

import sys
import types
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from privfed.data import Pair, load_pair, surrogate_tables
from privfed.data.bank_and_shop import COMMON_SHARE, bank_and_shop
from privfed.data.files import frame_sha256
from privfed.errors import ConfigError

ATTRIBUTES, SALES = "Attribute DataSet.csv", "Dress Sales.csv"


def keys(cells: pd.Series[str]) -> pd.Series[str]:
    return cells.str.strip().str.casefold()


def test_bank_and_shop_are_the_same_for_a_seed_and_others_for_another() -> None:
    bank, shop = bank_and_shop(customers=500)
    # Pinned: another numpy or pandas must not change what examples and figures run on.
    assert [frame_sha256(bank)[:16], frame_sha256(shop)[:16]] == [
        "26afed73e99645fd",
        "d7999a7567e7902b",
    ]
    assert not bank_and_shop(customers=500, seed=1)[0].equals(bank)


def test_seven_in_ten_customers_are_common_behind_messy_keys() -> None:
    bank, shop = bank_and_shop()
    at_bank, at_shop = set(keys(bank.email)), set(keys(shop.Email))
    assert len(at_bank) == len(at_shop) == 4000
    assert len(at_bank & at_shop) == round(COMMON_SHARE * 4000)
    as_typed = len(set(bank.email) & set(shop.Email))
    assert 0.5 * 2800 < as_typed < 0.9 * 2800
    assert any(cell != cell.strip() for cell in bank.email)
    assert any(cell != cell.casefold() for cell in shop.Email)
    assert list(keys(bank.email)) != sorted(keys(bank.email))


def test_who_is_there_twice_says_the_same_twice() -> None:
    for frame in bank_and_shop():
        folded = frame.assign(**{frame.columns[0]: keys(frame.iloc[:, 0])})
        assert len(frame) == 4060
        assert len(folded.drop_duplicates()) == 4000


def test_both_have_numbers_words_and_gaps() -> None:
    bank, shop = bank_and_shop()
    assert len(bank.columns) == 13
    assert len(shop.columns) == 12
    assert set(bank.paid_late) == {"yes", "no"}
    for frame, gaps, words in ((bank, "income", "city"), (shop, "member_years", "pays_by")):
        assert 0.01 < (frame[gaps] == "").mean() < 0.15
        assert frame[words].str.fullmatch("[A-Za-z]+").all()
        assert frame.map(lambda cell: isinstance(cell, str)).all(axis=None)


@pytest.mark.parametrize(
    "settings", [{"worth": -0.1}, {"worth": 1.1}, {"worth": float("nan")}, {"customers": 10},
                 {"customers": 10**7}, {"seed": -1}],
)  # fmt: skip
def test_settings_out_of_range_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="give"):
        bank_and_shop(**settings)  # type: ignore[arg-type]


def test_breast_cancer_is_ten_columns_and_twenty() -> None:
    pair = load_pair("breast-cancer")
    assert pair.guest.shape == (569, 12)
    assert pair.host.shape == (569, 21)
    check_orders(pair)
    malignant = pair.guest[pair.guest.diagnosis == "malignant"]
    assert len(malignant) == 212
    # The same patient at both: her worst radius is not below her mean radius.
    both = pair.guest.merge(pair.host, on="patient")
    assert (both["worst radius"].astype(float) >= both["mean radius"].astype(float)).all()


def check_orders(pair: Pair) -> None:
    guest, host = list(pair.guest[pair.guest_id]), list(pair.host[pair.host_id])
    assert sorted(guest) == sorted(host)
    assert len(set(guest)) == len(guest)
    assert guest != host
    assert pair.label in pair.guest
    assert pair.label not in pair.host


def test_dresses_are_clean_unrepeated_and_in_two_orders() -> None:
    pair = load_pair("dresses", days=2)
    check_orders(pair)
    assert list(pair.guest) == [
        "Dress_ID", "log_sold_2013-08-29", "log_sold_2013-08-31", "sells_well",
    ]  # fmt: skip
    assert "Recommendation" not in pair.host
    assert set(pair.host.Season) == {"spring", "summer", "autumn", "winter", ""}
    assert pair.source == "embedded surrogate (not real data)"
    assert abs((pair.guest.sells_well == "yes").mean() - 0.5) < 0.02


def test_a_dress_keeps_its_own_attributes_and_sales() -> None:
    raw, sales = surrogate_tables()
    pair = load_pair("dresses")
    first = raw.drop_duplicates("Dress_ID").set_index("Dress_ID")
    sold = sales.drop_duplicates("Dress_ID").set_index("Dress_ID")["29/8/2013"]
    for dress in pair.guest.Dress_ID[:40]:
        size = pair.host.set_index("Dress_ID").Size[dress]
        assert first.Size[dress].casefold()[:1] == size.casefold()[:1]
        cell = pair.guest.set_index("Dress_ID")["log_sold_2013-08-29"][dress]
        if cell:
            assert float(cell) == pytest.approx(np.log1p(float(sold[dress])), abs=1e-6)


def test_the_real_dresses_by_path(real_dresses: Path) -> None:
    pair = load_pair("dresses", attributes=real_dresses / ATTRIBUTES, sales=real_dresses / SALES)
    check_orders(pair)
    assert len(pair.guest) == 475
    assert ATTRIBUTES in pair.source
    assert str(real_dresses) not in pair.source


def test_files_of_other_dresses_or_one_alone_are_refused(tmp_path: Path) -> None:
    raw, sales = surrogate_tables()
    raw.to_csv(tmp_path / "a.csv", index=False)
    sales.iloc[::-1].to_csv(tmp_path / "s.csv", index=False)
    with pytest.raises(ConfigError, match="same order"):
        load_pair("dresses", attributes=tmp_path / "a.csv", sales=tmp_path / "s.csv")
    with pytest.raises(ConfigError, match="give both"):
        load_pair("dresses", attributes=tmp_path / "a.csv")
    for days in (0, 23):
        with pytest.raises(ConfigError, match="1 to 22"):
            load_pair("dresses", days=days)


def test_randhie_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"pip install 'privfed\[benchmark\]'"):
        load_pair("randhie")


def test_randhie_is_read_where_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "datasets" / "randhie"
    folder.mkdir(parents=True)
    (folder / "randhie.csv").write_text(
        "mdvis,lncoins,idp,lpi,fmde,physlm,disea,hlthg,hlthf,hlthp\n"
        "0,4.61512,1,6.907755,0,0,13.73189,1,0,0\n2,0,0,0,1.5,1,9.5,0,1,0\n7,1,0,1,0,0,2,0,0,1\n"
    )
    spec = ModuleSpec("statsmodels", None, origin=str(tmp_path / "__init__.py"))
    module = types.ModuleType("statsmodels")
    module.__spec__ = spec
    monkeypatch.setitem(sys.modules, "statsmodels", module)
    pair = load_pair("randhie")
    assert pair.family == "poisson"
    assert sorted(pair.guest.visits) == ["0", "2", "7"]
    both = pair.guest.merge(pair.host, on="record").set_index("visits")
    assert both.lncoins["0"] == "4.61512"
    assert both.disea["7"] == "2"


def test_statsmodels_own_copy_of_randhie_is_20190_rows() -> None:
    pair = load_pair("randhie")
    check_orders(pair)
    assert pair.guest.shape == (20_190, 7)
    assert pair.host.shape == (20_190, 5)
    assert pair.guest.visits.astype(int).mean() == pytest.approx(2.86, abs=0.01)


def test_an_unknown_pair_is_refused_by_the_names_there_are() -> None:
    with pytest.raises(ConfigError, match="bank-and-shop, breast-cancer, dresses, randhie"):
        load_pair("titanic")


def test_a_pairs_repr_shows_no_row() -> None:
    assert "@example.org" not in repr(load_pair())
