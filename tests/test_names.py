"""No two public things of privfed and psi share a name."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections import defaultdict
from types import ModuleType

import privfed
import psi

# What is named alike on purpose: a name, and the modules that have it beside each other.
COMMANDS = ("privfed.cli", "psi.cli")  # a command's function is called what is typed
TWINS = {  # one function, compiled and not, chosen by what is installed
    "privfed.dp.proposals", "privfed.dp.proposals_compiled",
    "privfed.garbled.half_gates", "privfed.garbled.half_gates_compiled",
    "psi.compiled.ristretto", "psi.compiled.ristretto_code", "psi.compiled.ristretto_points",
    "psi.group.ristretto255", "psi.kernels", "psi.kernels.fast", "psi.kernels.portable",
    "psi.kernels.blocks", "psi.kernels.blocks_portable",
}  # fmt: skip
ROLES = {  # what the field calls it in every protocol
    "Ciphertexts": "of ElGamal's scheme; of the ring",
    "ConfigError": "the bases of two trees of errors",
    "DecodeError": "the bases of two trees of errors",
    "PROTOCOL": "a protocol's name, one per protocol",
    "Party": "a party of an aggregation; a party of an intersection",
    "Receiver": "the side of a two-party protocol that learns",
    "Sender": "the side of a two-party protocol that does not",
}


def modules() -> list[ModuleType]:
    """Every module of both packages but those that run when imported."""
    found = []
    for package in (privfed, psi):
        names = (m.name for m in pkgutil.walk_packages(package.__path__, f"{package.__name__}."))
        found += [package, *(importlib.import_module(n) for n in names if "__main__" not in n)]
    return found


def public(module: ModuleType) -> dict[str, object]:
    """What `__all__` names, and every class that is made here and has a name for others."""
    named = {name: getattr(module, name) for name in getattr(module, "__all__", ())}
    classes = {
        name: thing
        for name, thing in vars(module).items()
        if inspect.isclass(thing) and thing.__module__ == module.__name__ and name[0] != "_"
    }
    return named | classes


def homonyms(found: list[tuple[str, dict[str, object]]]) -> list[str]:
    """The names of more than one thing, each with the modules that have it."""
    things: defaultdict[str, dict[int, list[str]]] = defaultdict(lambda: defaultdict(list))
    for module, names in found:
        for name, thing in names.items():
            command = inspect.isfunction(thing) and module.startswith(COMMANDS)
            if not (name in ROLES or module in TWINS or command):
                things[name][id(thing)].append(module)
    return [f"{name}: {list(places.values())}" for name, places in things.items()
            if len(places) > 1]  # fmt: skip


def test_no_two_public_things_share_a_name() -> None:
    assert homonyms([(module.__name__, public(module)) for module in modules()]) == []


def test_two_things_of_one_name_are_found() -> None:
    one, other = object(), object()
    assert homonyms([("a", {"Layout": one}), ("b", {"Layout": other}), ("c", {"Layout": one})]) == [
        "Layout: [['a', 'c'], ['b']]"
    ]
    assert homonyms([("a", {"Layout": one}), ("a.b", {"Layout": one})]) == []


def test_what_is_allowed_is_there() -> None:
    there = {name for module in modules() for name in public(module)}
    assert there >= ROLES.keys()
    assert {module.__name__ for module in modules()} >= TWINS
