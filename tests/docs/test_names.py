"""Names of privfed and psi that the pages give exist."""

import importlib
import re

import pytest

from tests.docs.snippets import PAGES
from tests.places import ROOT

_DOTTED = re.compile(r"(?<![\w./@])(?:psi|privfed|secagg)(?:\.[A-Za-z_]\w*)+(?!\w*[/@])")
_FILES = re.compile(r"\.(?:crt|csv|invalid|key|md|svg|png|toml)$")  # and a name of TLS
_SHORT = {"secagg": "privfed.secagg"}  # as pages import it


def named() -> list[tuple[str, str]]:
    """Where a page gives a dotted name, in its text and in its blocks, and the name."""
    return sorted(
        {
            (page.name, name)
            for page in PAGES
            if page.name != "CHANGELOG.md"  # it speaks of what was
            for name in _DOTTED.findall(page.read_text("utf-8"))
            if not _FILES.search(name)
        }
    )


def resolved(name: str) -> object:
    """Return what a dotted name stands for, with modules imported on the way.

    Raises:
        AttributeError: There is nothing of this name.
    """
    first, *parts = name.split(".")
    path = _SHORT.get(first, first)
    found: object = importlib.import_module(path)
    for part in parts:
        path = f"{path}.{part}"
        if not hasattr(found, part):
            try:
                found = importlib.import_module(path)
                continue
            except ModuleNotFoundError:
                pass
        found = getattr(found, part)
    return found


@pytest.mark.parametrize(("where", "name"), named())
def test_a_dotted_name_exists(where: str, name: str) -> None:
    assert resolved(name) is not None


def test_files_of_tests_that_are_named_exist() -> None:
    known = {path.name for path in (ROOT / "tests").rglob("*.py")}
    named = set[str]()
    for page in PAGES:
        text = page.read_text("utf-8") if page.name != "CHANGELOG.md" else ""
        for path in re.findall(r"(?<![\w/])tests/[\w/]+\.py", text):
            assert (ROOT / path).is_file(), (page.name, path)
        names = set(re.findall(r"(?<![\w/])test_\w+\.py", text))
        assert names <= known, (page.name, names - known)
        named |= names
    assert len(named) > 10


def test_a_name_that_is_gone_is_found() -> None:
    assert resolved("secagg.Party.load")
    assert resolved("psi.network.certificates")
    for gone in ("psi.Parameters", "secagg.Result", "privfed.secagg.nothing.here"):
        with pytest.raises(AttributeError):
            resolved(gone)
