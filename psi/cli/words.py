"""Errors in the command's words: the library names parameters, but people type options."""

import re

from psi.sessions.questions import QUESTIONS
from psi.sessions.questions.question import told_of

__all__ = ["in_words"]

_OPTIONS = {
    **{
        name: f"--{name.replace('_', '-')}"
        for one in QUESTIONS.values()
        for name in told_of(one.details)
    },
    "duplicates": "--duplicates",
    "learn": "--learn",
    "protocol": "--protocol",
    "question": "--learn",
    "result": "--result",
}
_SETTING = re.compile(rf"\b({'|'.join(_OPTIONS)})=(?:\"(\w+)\"|(\w+))")
_PHRASES = {
    " UTC: make a new one": " UTC: make a new one with psi keygen or privfed keys certify",
    "holds no certificate": "holds no certificate: psi keygen and privfed keys identity make one",
    "replace it by replace=True": "replace it with --force",
    "the large side answers from a TagStore": "for the large side psi publish makes a store, then "
    "psi answer",
    "check the identity": "check --identity",
    "epsilon=given, this side none": "figures with noise (--epsilon), this side exact ones",
    "epsilon=none, this side given": "exact figures, this side those with noise (--epsilon)",
    "choose an epsilon, or no limit on it": "add --epsilon, or leave out --epsilon-in-all",
    "choose no limit on it, or": "leave out --epsilon-in-all, or take",
    "a smaller epsilon": "a smaller --epsilon",
    "a smaller delta, or raise the limit": "a smaller --delta, or raise --delta-in-all",
    "a limit on δ goes with one on ε: give both, or that on ε alone": "--delta-in-all goes with "
    "--epsilon-in-all",
    "a delta goes with an epsilon": "--delta goes with --epsilon",
    "epsilon lies between": "--epsilon lies between",
    "delta lies between": "--delta lies between",
    "choose another folder for unfinished results": "choose another folder with --unfinished",
    "`passphrase`": "--passphrase-file",
    "`unlocked`": "--unlocked",
}
_COLUMN = re.compile(r"\bcolumn=(serve|join), this side (serve|join)\b")


def in_words(message: str) -> str:
    """Return an error's message in one line, with options where it names parameters."""
    message = " ".join(message.split())
    for phrase, words in _PHRASES.items():
        message = message.replace(phrase, words)
    message = _COLUMN.sub(r"--column at the side that \1s, this side at the one that \2s", message)
    return _SETTING.sub(_option, message)


def _option(found: re.Match[str]) -> str:
    return f"{_OPTIONS[found[1]]} {found[2] or found[3]}"
