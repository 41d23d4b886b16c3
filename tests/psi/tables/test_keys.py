"""The fast way to index a column of texts gives what the thorough one gives, row by row."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import psi.tables.keys
from psi import kernels
from psi.errors import ConfigError, DuplicateIDError
from psi.kernels.texts import TextKeys, Texts
from psi.tables.keys import Duplicates, KeyIndex, index_keys
from psi.tables.normalise import Normaliser

texts = st.lists(st.text(max_size=2), max_size=12)
functions = st.sampled_from([Normaliser(), Normaliser.parse("space"), str.strip, str.casefold])
policies = st.sampled_from(["error", "first", "all"])


def indexed(
    values: Sequence[object], function: Callable[[str], str], duplicates: Duplicates
) -> KeyIndex | str:
    try:
        return index_keys([values], duplicates=duplicates, normalise=[function])
    except (ConfigError, DuplicateIDError) as error:
        return str(error)


def check_alike(
    values: list[str], function: Callable[[str], str], duplicates: Duplicates
) -> KeyIndex | str:
    thorough = indexed(tuple(values), function, duplicates)  # a tuple takes the thorough way
    for column in (values, Texts.of_list(values)):
        fast = indexed(column, function, duplicates)
        if isinstance(thorough, str) or isinstance(fast, str):
            assert fast == thorough
            continue
        assert isinstance(fast.keys, TextKeys) == bool(values or isinstance(column, Texts))
        assert list(fast.keys) == [fast.keys[n] for n in range(len(fast.keys))] == thorough.keys
        assert np.array_equal(fast.rows, thorough.rows)
        assert np.array_equal(fast.starts, thorough.starts)
        assert fast.rows.dtype == fast.starts.dtype == np.intp
    return thorough


@pytest.mark.filterwarnings("ignore::psi.MissingValueWarning")  # any text is drawn, "NA" as well
@given(texts, functions, policies)
@settings(deadline=None)
def test_both_ways_give_the_same(
    values: list[str], function: Callable[[str], str], duplicates: Duplicates
) -> None:
    check_alike(values, function, duplicates)


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("duplicates", ["error", "first", "all"])
def test_both_ways_on_a_messy_table(
    compiled: bool, duplicates: Duplicates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "FAST_FROM", 0)
    monkeypatch.setattr(kernels, "fast_available", lambda: compiled)
    numbers = np.random.default_rng(2).integers(0, 3000, 5000)
    values = ["" if number % 7 == 0 else f"ID {number}" for number in numbers.tolist()]
    found = check_alike(values, Normaliser(), duplicates)
    assert isinstance(found, str) == (duplicates == "error")
    # Keys of some rows are digested as they are read.
    keys = index_keys([Texts.of_list(values)], duplicates="first", normalise=[Normaliser()]).keys
    assert np.array_equal(kernels.digest_items(keys, bytes(32)),
                          kernels.digest_items(list(keys), bytes(32)))  # fmt: skip


def test_equal_heads_are_not_equal_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    def close(items: Sequence[bytes], key: bytes) -> list[np.ndarray]:
        digests = np.zeros((len(items), 16), np.uint8)
        digests[:, -1] = [item[-1] for item in items]
        return [digests]

    monkeypatch.setattr(psi.kernels, "digest_batches", close)
    found = index_keys([["b", "a", "b", "c"]], duplicates="all", normalise=[str])
    assert [key[-1:] for key in found.keys] == [b"b", b"a", b"c"]
    assert (found.rows.tolist(), found.starts.tolist()) == ([0, 2, 1, 3], [0, 2, 3, 4])


@pytest.mark.parametrize("values", [["a", 1], ["a", None], ["a", b"b"], ("a", "b"), []])
def test_anything_else_takes_the_thorough_way(values: Sequence[object]) -> None:
    assert isinstance(index_keys([values], duplicates="first", normalise=[str]).keys, list)
    two = index_keys([["a"], ["b"]], duplicates="first", normalise=[str, str])
    assert isinstance(two.keys, list)


def test_text_that_is_no_unicode_is_still_refused() -> None:
    with pytest.raises(ConfigError, match="row 1"):
        index_keys([["a", "\ud800"]], duplicates="error", normalise=[str])
