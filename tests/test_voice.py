"""One voice in docstrings and comments, where ruff has no rule for it (see CONTRIBUTING.md)."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

from tests.places import ROOT

# What D401 takes for a verb, and what is no way to say what is returned.
_NO_VERBS = {"Each", "Every", "Give", "How", "One", "Some", "True", "What", "Where", "Whether"}
_SECTION = re.compile(r"(Args|Attributes|Raises|Returns|Yields):")
_ENTRY = re.compile(r"    (\S.*?): (?P<text>.*)")

_FOLDERS = (".ci", "benchmarks", "examples", "privfed", "psi")
_FILES = [path for folder in (*_FOLDERS, "tests") for path in sorted((ROOT / folder).rglob("*.py"))]
_WITH_DOCSTRINGS = [path for path in _FILES if path.relative_to(ROOT).parts[0] in _FOLDERS]
_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _definitions() -> Iterator[tuple[Path, _Definition, str]]:
    for path in _WITH_DOCSTRINGS:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, _Definition) and (docstring := ast.get_docstring(node)):
                yield path, node, docstring


def _prose(source: str) -> Iterator[tuple[int, str]]:
    """Yield docstrings and comments with their lines."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield node.lineno, str(node.value.value)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def _entries(docstring: str) -> Iterator[str]:
    """Yield what is said of each argument, attribute, exception and result."""
    section, entry = "", ""
    for line in [*docstring.splitlines(), ""]:
        begins = section and re.match(r" {4}\S", line) and section not in ("Returns", "Yields")
        if entry and (begins or not line.startswith("    ")):
            yield entry
            entry = ""
        if found := _SECTION.fullmatch(line):
            section = found[1]
        elif not line.startswith("    "):
            section = section if not line else ""
        elif section in ("Returns", "Yields"):
            entry = f"{entry} {line.strip()}".strip()
        elif begins and (named := _ENTRY.fullmatch(line)):
            entry = named["text"]
        elif section:
            entry = f"{entry} {line.strip()}".strip()


def test_names_stand_in_single_backticks() -> None:
    assert [
        f"{_name(path)}:{line}"
        for path in _FILES
        if "``" in (source := path.read_text(encoding="utf-8"))
        for line, text in _prose(source)
        if re.search("(?<!`)``(?!`)", text)
    ] == []


def test_a_function_says_what_it_does_or_what_it_returns() -> None:
    wrong = []
    for path, node, docstring in _definitions():
        if isinstance(node, ast.ClassDef) or any(
            "property" in ast.unparse(decorator) for decorator in node.decorator_list
        ):
            continue
        word = re.split(r"\W", docstring, maxsplit=1)[0]
        if word in _NO_VERBS or not word.isalpha() or re.search("[^s]s$", word):
            wrong.append(f"{_name(path)}:{node.lineno}: {docstring.splitlines()[0]}")
    assert wrong == []


def test_an_entry_begins_with_a_capital_and_ends_with_a_stop() -> None:
    assert [
        f"{_name(path)}:{node.lineno}: {entry}"
        for path, node, docstring in _definitions()
        for entry in _entries(docstring)
        if re.match(r"[a-z][a-z]+[ ,.;]|(If|Of) ", entry) or not entry.endswith((".", "?"))
    ] == []
