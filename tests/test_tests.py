"""Every test can fail: it asserts, expects an exception or a warning, or calls what does."""

import ast
from typing import NamedTuple

import pytest

from tests.places import ROOT

HELPERS = """
def checked():
    assert run()

def outer():
    checked()

class Job:
    def check(self):
        outer()
"""
EXPECTING = {"fail", "raises", "warns"}  # of pytest


class Function(NamedTuple):
    """A function of the tests; a method's name begins with a dot, as its calls do."""

    module: str
    name: str
    body: ast.AST


class Module:
    """A file of the tests: its functions, and where the names come from that it imports."""

    def __init__(self, name: str, text: str) -> None:
        tree = ast.parse(text)
        nodes = list(ast.walk(tree))
        methods = {each for node in nodes if isinstance(node, ast.ClassDef) for each in node.body}
        self.functions = [
            Function(name, f".{node.name}" if node in methods else node.name, node)
            for node in nodes
            if isinstance(node, ast.FunctionDef)
        ]
        self.origins = {each.name: (name, each.name) for each in self.functions}
        for node in nodes:
            if isinstance(node, ast.ImportFrom) and node.module:
                for each in node.names:
                    self.origins[each.asname or each.name] = (node.module, each.name)


def asserts(body: ast.AST, helpers: set[str]) -> bool:
    """Whether something here fails a test, as it stands or through one of these functions."""
    for node in ast.walk(body):
        if isinstance(node, ast.Assert):
            return True
        if isinstance(node, ast.Raise) and "AssertionError" in ast.unparse(node):
            return True
        if isinstance(node, ast.Call):
            owner, dot, name = ast.unparse(node.func).rpartition(".")
            if (owner == "pytest" and name in EXPECTING) or dot + name in helpers:
                return True
            if owner == "np.testing" and name.startswith("assert_"):
                return True
    return False


def silent(texts: dict[str, str]) -> list[str]:
    """The tests, of modules by their names, that nothing in them can fail."""
    modules = {name: Module(name, text) for name, text in texts.items()}
    found = [each for module in modules.values() for each in module.functions]
    quiet = found
    while True:
        # Of functions that share a name in one module, and of methods anywhere, all must assert.
        left = {(each.module, each.name) for each in quiet}
        methods = {each.name for each in found if each.name[0] == "."}
        methods -= {name for _, name in left}
        helpers = {
            place: methods
            | {
                name
                for name, origin in module.origins.items()
                if name[0] != "." and origin[0] in modules and origin not in left
            }
            for place, module in modules.items()
        }
        still = [each for each in found if not asserts(each.body, helpers[each.module])]
        if still == quiet:
            return sorted(f"{each.module}: {each.name}" for each in still if is_test(each))
        quiet = still


def is_test(function: Function) -> bool:
    return function.name.removeprefix(".").startswith("test_")


def test_every_test_asserts_something() -> None:
    paths = sorted((ROOT / "tests").rglob("*.py"))
    assert len(paths) > 100
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in paths}
    assert silent({name: path.read_text("utf-8") for name, path in names.items()}) == []


@pytest.mark.parametrize(
    "body",
    [
        "run()",
        "print('assert')",
        "nothing()",
        "result = 1 == 1",
        "with warnings.catch_warnings(): run()",
        "product.checked()",
        "checked()",  # of another module
    ],
)
def test_a_test_without_an_assertion_is_found(body: str) -> None:
    planted = f"def nothing():\n    run()\n\ndef test_planted():\n    {body}\n"
    assert silent({"planted": planted, "helpers": HELPERS}) == ["planted: test_planted"]


@pytest.mark.parametrize(
    "body",
    [
        "assert run()",
        "with pytest.raises(ValueError): run()",
        "with pytest.warns(UserWarning): run()",
        "np.testing.assert_allclose(1, run())",
        "checked()",
        "outer()",
        "job.check()",
    ],
)
def test_what_asserts_is_not_found(body: str) -> None:
    planted = f"from helpers import checked, outer\n\ndef test_planted():\n    {body}\n"
    assert silent({"planted": planted, "helpers": HELPERS}) == []
