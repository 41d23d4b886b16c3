"""Words of a command line stand in cli/ and integrations/, and nowhere else.

A library speaks of parameters: whoever calls it from Python, or through another command, has none
of its flags. What a command needs said in its own words it says itself (`psi.cli.words`).
"""

import ast
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.places import ROOT

ROOMS_OF_COMMANDS = {"cli", "integrations"}
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")
COMMAND = re.compile(
    r"\b(?:psi (?:align|answer|health|join|keygen|publish|serve|together)"
    r"|privfed (?:audit|benchmark|keys|predict|report))\b"
)
JOBS = {"privfed audit", "privfed benchmark"}  # of parameters, which a fingerprint binds


def texts_of(source: Path) -> Iterator[tuple[int, str]]:
    """The strings, docstrings and comments of a module, each with its line."""
    for node in ast.walk(ast.parse(source.read_bytes())):
        if isinstance(node, ast.JoinedStr):
            parts = (part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
            yield node.lineno, "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value
    with source.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.string


def words_of(source: Path) -> list[str]:
    """The words of a command line in a module, each once a line."""
    found = {
        f"{source.name}:{line}: {word[0]}"
        for line, text in texts_of(source)
        if text not in JOBS
        for words in (FLAG, COMMAND)
        for word in words.finditer(" ".join(text.split()))
    }
    return sorted(found)


@pytest.mark.parametrize("package", ["privfed", "psi"])
def test_no_library_speaks_the_words_of_a_command(package: str) -> None:
    sources = [
        source
        for source in (ROOT / package).rglob("*.py")
        if not ROOMS_OF_COMMANDS & set(source.relative_to(ROOT).parts)
    ]
    assert len(sources) > 50
    assert [words for source in sources for words in words_of(source)] == []


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("x = 'choose --result both'", ["--result"]),
        ('raise ValueError(f"give {x} with --out")', ["--out"]),
        ("y = 1  # as with --learn sum", ["--learn"]),
        ('"""A side that ran psi\n    serve."""', ["psi serve"]),
        ("job = 'privfed audit'", []),
        ("z = ('privfed '\n     f'keys {y}')", ["privfed keys"]),
        ("x = '--- a rule ---' + 'a--b' + 'https://a--b' + '-- a dash' + 'psi.cli'", []),
        ("x = y --x", []),
    ],
)
def test_what_such_words_are(tmp_path: Path, line: str, found: list[str]) -> None:
    (tmp_path / "source.py").write_text(line + "\n")
    words = words_of(tmp_path / "source.py")
    assert [one.partition(": ")[2] for one in words] == found
