"""Errors in the command's words: the library names parameters and functions, in backticks."""

import re

__all__ = ["COMMANDS", "OPTIONS", "in_command_words"]

OPTIONS = {
    "arms": "--arms",
    "code": "--code",
    "data": "--data",
    "delta": "--delta",
    "directory": "--out",
    "epsilon_in_all": "--epsilon-in-all",
    "epsilons": "--epsilon",
    "group_sizes": "--groups",
    "id_column": "--id",
    "label": "--label",
    "parties": "--parties",
    "party_column": "--party",
    "passphrase": "--passphrase-file",
    "private_rounds": "--private-rounds",
    "private_steps": "--private-rounds",
    "resume": "--resume",
    "rounds": "--rounds",
    "schema": "--schema",
    "schema_text": "--write",
    "seeds": "--seeds",
    "sizes": "--sizes",
    "skew": "--skew",
    "splits": "--split",
    "unlocked": "--unlocked",
    "workers": "--jobs",
}
COMMANDS = {
    "Keyring.certify": "privfed keys certify",
    "Keyring.create": "privfed keys identity",
    "inspect_table": "privfed inspect",
    "predict": "privfed predict",
    "run_benchmark": "privfed benchmark",
}
_NAMED = re.compile(r"`([A-Za-z_.]+)`")


def in_command_words(message: str) -> str:
    """Return an error's message with options and commands where it names what they stand for."""
    return _NAMED.sub(_word, message)


def _word(found: re.Match[str]) -> str:
    name = found[1]
    return f"`{COMMANDS[name]}`" if name in COMMANDS else OPTIONS.get(name, found[0])
