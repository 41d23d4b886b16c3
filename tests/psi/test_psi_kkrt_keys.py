"""The fast way to encode a plain column gives what the thorough one gives, row by row."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from psi.errors import ConfigError
from psi.keys import _encode, _plain_keys, index_keys

texts = st.lists(st.text(max_size=5), max_size=8)


@given(texts)
def test_plain_keys_are_those_of_single_rows(values: list[str]) -> None:
    for function in (str, str.strip, str.casefold):
        keys = [_encode((value,), [function], "table", row) for row, value in enumerate(values)]
        plain = _plain_keys([values], [function])
        usual = bool(keys) and None not in keys and len(set(keys)) == len(keys)
        assert (plain if plain is None else list(plain)) == (keys if usual else None)
        index = index_keys([values], duplicates="first", normalise=[function])
        assert list(index.keys) == list(dict.fromkeys(key for key in keys if key is not None))
        assert [keys[row] for row in index.rows] == list(index.keys)


@pytest.mark.parametrize("values", [["a", 1], ["a", None], ["a", b"b"], ("a", "b"), ["a", "a"]])
def test_anything_else_takes_the_thorough_way(values: list[object]) -> None:
    assert _plain_keys([values], [str]) is None
    assert _plain_keys([["a"], ["b"]], [str, str]) is None


def test_text_that_is_no_unicode_is_still_refused() -> None:
    with pytest.raises(ConfigError, match="row 1"):
        index_keys([["a", "\ud800"]], duplicates="error", normalise=[str])
