"""Questions are data, of which the handshake, the parties and the command's help are made."""

import itertools
import re
import subprocess
import sys
from dataclasses import fields
from typing import Any

import pytest

from psi import ConfigError, ParameterMismatchError
from psi.protocols.choice import PROTOCOLS
from psi.sessions import (
    CountChoice,
    LargeSide,
    PairChoice,
    SumChoice,
    TableSession,
    answering_terms,
)
from psi.sessions.questions import QUESTIONS
from psi.sessions.questions.question import Side, told_of

# How each is asked where both sides would not simply take what there is.
ASKED: dict[str, dict[str, dict[str, Any]]] = {
    "sum": {"serve": {"details": SumChoice("n")}, "join": {}},
}


def asked(name: str) -> list[PairChoice]:
    """Both sides of a question."""
    sides = ASKED.get(name, {"serve": {}, "join": {}})
    given: list[tuple[Side, dict[str, Any]]] = [("serve", sides["serve"]), ("join", sides["join"])]
    return [PairChoice(side=side, learn=name, **choices) for side, choices in given]


BETWEEN = [name for name in QUESTIONS if name != "unbalanced"]  # which a store answers


@pytest.mark.parametrize("name", BETWEEN)
def test_two_sides_of_a_question_agree_and_have_a_role_each(name: str) -> None:
    serving, joining = asked(name)
    serving.terms.check(joining.terms.encode())
    joining.terms.check(serving.terms.encode())
    assert {serving.role, joining.role} == {"receiver", "sender"}
    assert QUESTIONS[name].name == name


def test_both_ask_with_noise_or_neither_and_its_amount_is_each_side_s_own() -> None:
    exact, little, much = (
        PairChoice(side="serve", learn="cardinality", details=CountChoice(epsilon=epsilon)).terms
        for epsilon in (None, 2, 0.1)
    )
    little.check(much.encode())
    for one, other in itertools.permutations((exact, little)):
        with pytest.raises(ParameterMismatchError, match="chose epsilon="):
            one.check(other.encode())


@pytest.mark.parametrize(("one", "other"), [*itertools.permutations(BETWEEN, 2)])
def test_two_questions_do_not_agree(one: str, other: str) -> None:
    words = f"chose question={other}, this side {one}"
    with pytest.raises(ParameterMismatchError, match=words):
        asked(one)[0].terms.check(asked(other)[1].terms.encode())


def test_one_that_asks_a_store_agrees_with_the_one_that_answers() -> None:
    asking = PairChoice(side="join", learn="unbalanced", result="join", details=LargeSide())
    asking.terms.check(answering_terms().encode())
    assert asking.role == "receiver"


@pytest.mark.parametrize("command", ["serve", "join"])
def test_the_command_s_help_is_made_of_questions_and_protocols(command: str) -> None:
    call = [sys.executable, "-c", "import psi.cli; psi.cli.main()", command, "--help"]
    environment = {"COLUMNS": "400", "TERM": "dumb", "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(call, capture_output=True, text=True, check=True, env=environment)
    shown = " ".join(re.sub(r"[│╭╮╰╯─]", " ", done.stdout).split())
    for question in QUESTIONS.values():
        assert f"{question.name}: {question.help}" in shown
        for name, detail in told_of(question.details).items():
            takers = [one.name for one in QUESTIONS.values() if name in told_of(one.details)]
            words = f"With --learn {' or '.join(takers)}: {detail.help}"
            assert (words in shown) == (command in detail.sides)
            option = rf"--{name.replace('_', '-')} [A-Z]+ With --learn"  # serve has a flag --keep
            assert bool(re.search(option, shown)) == (command in detail.sides)
    for protocol in PROTOCOLS.values():
        assert f"{protocol.name}: {protocol.help}" in shown


def test_details_say_what_they_are() -> None:
    for question in QUESTIONS.values():
        if question.details is not None:
            names = [field.name for field in fields(question.details)]
            assert list(told_of(question.details)) == names
    assert told_of(None) == {}
    assert told_of(LargeSide)["keep"].writes
    assert told_of(LargeSide)["keep"].sides == ("join",)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_protocol_runs_by_its_name(name: str) -> None:
    choice = PairChoice(side="serve", protocol=name)
    assert TableSession.prepare(["a"], choice).party.protocol == PROTOCOLS[name].name == name


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"learn": "everything"}, "one of intersection, cardinality, sum, ids, unbalanced"),
        ({"result": "nobody"}, "both, serve or join"),
        ({"learn": "ids", "result": "join"}, 'choose result="both"'),
        ({"learn": "ids", "duplicates": "all"}, 'choose duplicates="first"'),
        ({"learn": "ids", "protocol": "vole"}, "intersection only"),
        ({"learn": "ids", "details": SumChoice("n")}, 'SumChoice does not go with learn="ids"'),
        ({"learn": "sum", "details": LargeSide()}, 'LargeSide does not go with learn="sum"'),
        ({"learn": "sum", "details": SumChoice("n"), "result": "serve"}, 'choose result="both"'),
        ({"learn": "unbalanced", "result": "join"}, "answers from a TagStore"),
        ({"learn": "ids", "details": CountChoice(epsilon=1)}, "CountChoice does not go"),
        ({"learn": "cardinality", "details": SumChoice("n")}, "SumChoice does not go"),
        ({"learn": "cardinality", "details": CountChoice(epsilon=-1)}, "epsilon lies between"),
        ({"learn": "sum", "details": SumChoice("n", delta=1e-6)}, "goes with an epsilon"),
        ({"protocol": "rot13"}, "the protocol is auto, ecdh or vole"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_a_table_is_read(
    given: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        _ = PairChoice(side="serve", **given).terms
