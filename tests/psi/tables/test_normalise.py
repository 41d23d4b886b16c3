"""Steps of normalisation: what they change and what they leave."""

import itertools
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from psi import ConfigError
from psi.tables.normalise import Normaliser, key_format, normalisers

PLAIN = ["nfkc", "width", "case", "space", "email"]
CHOICES = [
    ",".join(steps)
    for size in range(len(PLAIN) + 1)
    for steps in itertools.combinations(PLAIN, size)
]
INVISIBLE = "\u00ad\u061c\u180e\u200b\u200c\u200d\u200e\u200f\u202a\u202e\u2060\u2066\u2069\ufeff"


@pytest.mark.parametrize(
    ("steps", "text", "expected"),
    [
        ("exact", " Aé ", " Aé "),
        ("case", "STRASSE straße", "strasse strasse"),
        ("space", "\t a\u00a0\u3000b\u200b c\ufeff\n", "a b c"),
        ("space", "".join(f"a{mark}" for mark in INVISIBLE) + "a", "a" * (len(INVISIBLE) + 1)),
        ("space", "a\u2028b\u202fc\u2029", "a b c"),  # white space, and not without width
        ("width", "ＡＢ１２　ｶﾞ①", "AB12 ガ①"),
        ("nfkc", "ＡＢ１２①ﬁe\u0301", "AB121fié"),
        ("nfkc,case", "Å", "å"),
        ("email", " Mailto:Anna.B+x@Bücher.Example. ", "anna.b+x@xn--bcher-kva.example"),
        ("email", "not an address", "not an address"),
        ("email", "a@b..c", "a@b..c"),
        ("phone:DE", "030 / 90-18 20", "+4930901820"),
        ("phone:DE", "0049 (30) 901820", "+4930901820"),
        ("phone:DE", "+39 06 698 12345", "+390669812345"),  # Italy keeps its zero
        ("phone:us", "(202) 456-1414 ext. 5", "+12024561414;ext=5"),
        ("phone", "+49 30 901820", "+4930901820"),
        ("phone", "030 901820", "030 901820"),
        ("phone:DE", "none", "none"),
        ("nfkc,phone:DE", "０３０９０１８２０", "+4930901820"),
    ],
)  # fmt: skip
def test_steps(steps: str, text: str, expected: str) -> None:
    assert Normaliser.parse(steps)(text) == expected


@pytest.mark.parametrize("steps", CHOICES)
@given(st.text(max_size=6) | st.from_regex(r"[ aA@.ＡßİK\u0345]{1,6}", fullmatch=True))
def test_twice_is_once(steps: str, text: str) -> None:
    normalise = Normaliser.parse(steps)
    assert normalise(normalise(text)) == normalise(text)


@given(st.text(max_size=6))
def test_composed_and_decomposed_text_agree_under_nfkc_and_case(text: str) -> None:
    normalise = Normaliser.parse("nfkc,case")
    assert normalise(unicodedata.normalize("NFD", text)) == normalise(text)


def test_the_order_of_writing_does_not_matter() -> None:
    one, other = Normaliser.parse("space, case,nfkc"), Normaliser.parse("nfkc,case,space,case")
    assert one == other
    assert str(one) == "nfkc,case,space"
    assert str(Normaliser.parse("phone:de")) == "phone:DE"
    assert str(Normaliser.parse("")) == "exact"


@pytest.mark.parametrize("steps", ["upper", "case:x", "case;space", "phone:XX", "phone:49"])
def test_unknown_steps(steps: str) -> None:
    with pytest.raises(ConfigError):
        Normaliser.parse(steps)


def test_formats_tell_choices_apart_and_not_names() -> None:
    formats = {
        key_format(normalisers(choice, on))
        for on in (["a"], ["b"])
        for choice in (None, "case", "case,space", "phone:DE", "phone:FR")
    }
    assert len(formats) == 5
    assert key_format(normalisers({"b": "case"}, ["a", "b"])) == "keys 2, 2 columns: exact; case"


def test_a_function_has_no_name_to_compare() -> None:
    with pytest.raises(ConfigError, match="by name"):
        key_format(normalisers(str.lower, ["a"]))
