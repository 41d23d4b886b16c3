"""Ways to make messy IDs comparable; both sides choose the same, and the fingerprint names it.

A choice is a set of steps, written "nfkc,case,space". In whatever order they are written, they are
applied in a fixed order, and again until nothing changes: so normalising twice changes nothing.

    nfkc          Unicode NFKC: ligatures, superscripts, full and half width, composed accents
    width         only full and half width forms to the ordinary ones
    case          case folding
    space         trim, runs of white space to one blank, zero-width and direction characters out
    email         trim, case, no "mailto:", the domain in ASCII (IDNA); keeps dots and +tags
    phone:DE      E.164, numbers without a country code read as German ("phone": only with one)

The last two steps leave text unchanged that is no e-mail address or phone number.
"""

import functools
import importlib
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from psi.errors import ConfigError

__all__ = ["Normalise", "Normaliser", "key_format", "normalisers"]

Normalise: TypeAlias = str | Mapping[str, str] | Callable[[str], str] | None

_STEPS = ("nfkc", "width", "case", "space", "email", "phone")
_MOST_ROUNDS = 4
# Characters without width, or for direction only: soft hyphen, joiners, marks, isolates.
_ZERO_WIDTH = dict.fromkeys(
    [
        *(0x00AD, 0x061C, 0x180E, 0xFEFF),
        *(*range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2070)),
    ]
)
_KEYS_VERSION = 2  # of how keys are made; sides with different versions refuse each other


@dataclass(frozen=True)
class Normaliser:
    """The steps for one column; calling it applies them.

    Attributes:
        steps: Names of steps, in the order of application.
        region: The ISO 3166 code of "phone" for numbers without a country code, or None.
    """

    steps: tuple[str, ...] = ()
    region: str | None = None

    @classmethod
    def parse(cls, text: str) -> "Normaliser":
        """Return the steps in a text such as "nfkc,case" or "phone:DE"; "exact" and "" are none.

        Raises:
            ConfigError: A step is unknown, or the library that reads phone numbers is missing.
        """
        chosen: dict[str, str | None] = {}
        for word in filter(None, (part.strip() for part in text.split(","))):
            step, colon, region = word.partition(":")
            if step == "exact" and not colon:
                continue
            if step not in _STEPS or (colon and step != "phone"):
                raise ConfigError(
                    f"unknown normalisation {word!r}: choose from {', '.join(_STEPS)}, with the "
                    "country as in phone:DE"
                )
            chosen[step] = region.upper() or None
        if "phone" in chosen:
            region_of_phone = chosen["phone"]
            if region_of_phone not in {None, *_phonenumbers().SUPPORTED_REGIONS}:
                raise ConfigError(f"{region_of_phone} is no country code: write phone:DE")
        return cls(tuple(step for step in _STEPS if step in chosen), chosen.get("phone"))

    def __call__(self, text: str) -> str:
        """Return the text with the steps applied until nothing changes."""
        for _ in range(_MOST_ROUNDS):
            before = text
            for step in self.steps:
                text = _phone(text, self.region) if step == "phone" else _APPLY[step](text)
            if text == before:
                break
        return text

    def __str__(self) -> str:
        words = (f"phone:{self.region}" if step == "phone" else step for step in self.steps)
        return ",".join(words) or "exact"


def normalisers(normalise: Normalise, on: Sequence[str]) -> list[Callable[[str], str]]:
    """Return one function per key column.

    Args:
        normalise: Steps for every column, steps by column name, the caller's own function for
            every column, or None for exact comparison.
        on: The names of the key columns; one name of any kind for a nameless column.

    Raises:
        ConfigError: A step is unknown, or a named column is not in `on`.
    """
    if callable(normalise):
        return [normalise] * len(on)
    if normalise is None or isinstance(normalise, str):
        return [Normaliser.parse(normalise or "")] * len(on)
    stray = set(normalise) - set(on)
    if stray:
        raise ConfigError(f"normalise names {min(stray)!r}, which is no column of the ID")
    return [Normaliser.parse(normalise.get(column, "")) for column in on]


def key_format(functions: Sequence[Callable[[str], str]]) -> str:
    """Return a text that describes how rows become items; sides that do the same have the same.

    Column names are left out: each side has its own.

    Raises:
        ConfigError: A function is not one of ours, so that two sides cannot compare it.
    """
    if not all(isinstance(function, Normaliser) for function in functions):
        raise ConfigError("between two parties, choose normalisation by name, not by a function")
    return f"keys {_KEYS_VERSION}, {len(functions)} columns: " + "; ".join(map(str, functions))


def _width(text: str) -> str:
    # Half-width kana have their voicing marks as extra characters: compose them again.
    return text if text.isascii() else unicodedata.normalize("NFC", text.translate(_narrow()))


def _space(text: str) -> str:
    return " ".join(text.translate(_ZERO_WIDTH).split())


def _email(text: str) -> str:
    address = re.sub(r"^mailto:", "", text.strip(), flags=re.IGNORECASE)
    local, at, domain = address.rpartition("@")
    if not local or not at or not domain:
        return text
    domain = domain.casefold().removesuffix(".")
    try:
        domain = domain.encode("idna").decode()
    except UnicodeError:
        return text
    return f"{local.casefold()}@{domain}"


def _phone(text: str, region: str | None) -> str:
    library = _phonenumbers()
    try:
        number = library.parse(text, region)
    except library.NumberParseException:
        return text
    written = str(library.format_number(number, library.PhoneNumberFormat.E164))
    return f"{written};ext={number.extension}" if number.extension else written


_APPLY: dict[str, Callable[[str], str]] = {
    "nfkc": functools.partial(unicodedata.normalize, "NFKC"),
    "width": _width,
    "case": str.casefold,
    "space": _space,
    "email": _email,
}


@functools.cache
def _narrow() -> dict[int, str]:
    table = {}
    for code in (0x3000, *range(0xFF00, 0xFFF0)):
        kind, _, rest = unicodedata.decomposition(chr(code)).partition(" ")
        if kind in ("<wide>", "<narrow>"):
            table[code] = "".join(chr(int(part, 16)) for part in rest.split())
    return table


@functools.cache
def _phonenumbers() -> Any:
    try:
        return importlib.import_module("phonenumbers")
    except ImportError as error:
        raise ConfigError(
            "phone numbers need the package phonenumbers: pip install 'privfed[psi-tables]'"
        ) from error
