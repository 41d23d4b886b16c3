"""Garbler and evaluator: what they learn, and what bytes of other lengths do."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from privfed.errors import ConfigError, DecodeError, ReplayError
from privfed.garbled import (
    Circuit,
    CircuitBuilder,
    Evaluator,
    Garbler,
    Lengths,
    Numbers,
    TransferReceiver,
    TransferSender,
    gadgets,
    half_gates,
)
from tests.garbled.runs import circuits, garbled, needs_compiled, numbers, same, transfers

Sides = tuple[TransferSender, TransferReceiver]
LANES = 3


@pytest.fixture(scope="module")
def sides() -> Sides:
    return transfers()


def millionaires() -> Circuit:
    """Sum and difference: one for each party."""
    circuit = CircuitBuilder()
    a = circuit.garbler_input("a", 16, LANES)
    b = circuit.evaluator_input("b", 16, LANES)
    circuit.garbler_output("sum", gadgets.add(circuit, a, b, 17))
    circuit.evaluator_output("difference", gadgets.subtract(circuit, a, b))
    return circuit.build()


CIRCUIT = millionaires()
OWN, THEIRS = numbers({"a": [5, 65535, 0]}), numbers({"b": [7, 65535, 1]})


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(case=circuits())
def test_garbled_is_what_is_computed_in_the_open(
    sides: Sides, case: tuple[Circuit, Numbers, Numbers]
) -> None:
    circuit, own, theirs = case
    assert same(garbled(circuit, own, theirs, sides), circuit.compute(own, theirs))


def test_each_party_learns_its_outputs(sides: Sides) -> None:
    own, theirs = garbled(CIRCUIT, OWN, THEIRS, sides)
    assert {name: values.tolist() for name, values in own.items()} == {"sum": [12, 131070, 1]}
    assert theirs["difference"].tolist() == [65534, 0, 65535]
    assert theirs.keys() == {"difference"}


def test_a_portable_party_meets_a_compiled_one(
    sides: Sides, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs_compiled()
    sender, receiver = sides
    fast = half_gates.fastest()
    for first, second in ((half_gates, fast), (fast, half_gates)):
        monkeypatch.setattr("privfed.garbled.parties.fastest", lambda code=first: code)
        own, theirs = Garbler(CIRCUIT, OWN), Evaluator(CIRCUIT, THEIRS, receiver)
        message = own.garble(theirs.request, sender)
        monkeypatch.setattr("privfed.garbled.parties.fastest", lambda code=second: code)
        done = theirs.evaluate(message)
        assert same((own.read(done.colours), done.values), CIRCUIT.compute(OWN, THEIRS))


def test_one_party_alone_may_bring_or_learn_something(sides: Sides) -> None:
    circuit = CircuitBuilder()
    (a,) = circuit.garbler_input("a", 1, 2)
    circuit.garbler_output("out", [circuit.inverted(a)])
    built = circuit.build()
    assert Lengths.of(built) == (8, 32, 1)
    own, theirs = garbled(built, numbers({"a": [0, 1]}), {}, sides)
    assert own["out"].tolist() == [1, 0]
    assert theirs == {}


def test_two_garblings_have_no_block_in_common(sides: Sides) -> None:
    """Offset, key, seed and labels are fresh, though circuit and numbers are the same."""
    sender, receiver = sides
    blocks: set[bytes] = set()
    total = 0
    for _ in range(2):
        request = Evaluator(CIRCUIT, THEIRS, receiver).request
        message = Garbler(CIRCUIT, OWN).garble(request, sender)
        tables = message[-32 * CIRCUIT.ands :]
        head = message[: 32 + 16 * 16 * LANES]
        for part in (head, tables):
            blocks |= {part[start : start + 16] for start in range(0, len(part), 16)}
            total += len(part) // 16
    assert len(blocks) == total


# -- bytes of others ------------------------------------------------------------------------------


def lengths(data: bytes) -> list[bytes]:
    """The same with other lengths."""
    return [b"", data[:-1], data + b"\0", data[: len(data) // 2], data + data]


def test_lengths_follow_from_the_circuit(sides: Sides) -> None:
    sender, receiver = sides
    own, theirs = Garbler(CIRCUIT, OWN), Evaluator(CIRCUIT, THEIRS, receiver)
    message = own.garble(theirs.request, sender)
    done = theirs.evaluate(message)
    found = len(theirs.request), len(message), len(done.colours)
    assert found == Lengths.of(CIRCUIT)


@pytest.mark.parametrize("which", range(5))
def test_other_lengths_are_refused(sides: Sides, which: int) -> None:
    sender, receiver = transfers()
    own, theirs = Garbler(CIRCUIT, OWN), Evaluator(CIRCUIT, THEIRS, receiver)
    with pytest.raises(DecodeError, match="another length"):
        Garbler(CIRCUIT, OWN).garble(lengths(theirs.request)[which], sender)
    message = own.garble(theirs.request, sender)
    with pytest.raises(DecodeError, match="another length"):
        theirs.evaluate(lengths(message)[which])
    with pytest.raises(DecodeError, match="another number of outputs"):
        own.read(lengths(bytes(Lengths.of(CIRCUIT).colours))[which])


@pytest.mark.deep(normal=200, stated=20_000)
def test_changed_bytes_give_numbers_or_a_named_error(sides: Sides, count: int) -> None:
    """Nothing here notices what was changed: the channel does. But nothing breaks, either."""
    sender, receiver = sides
    random = np.random.default_rng(9)
    wrong = 0
    for _ in range(count):
        own, theirs = Garbler(CIRCUIT, OWN), Evaluator(CIRCUIT, THEIRS, receiver)
        message = bytearray(own.garble(theirs.request, sender))
        for place in random.integers(0, len(message), 3):
            message[place] ^= int(random.integers(1, 256))
        if random.integers(4) == 0:
            with pytest.raises(DecodeError):
                theirs.evaluate(bytes(message[: int(random.integers(0, len(message)))]))
            continue
        done = theirs.evaluate(bytes(message))
        found = own.read(done.colours), done.values
        wrong += not same(found, CIRCUIT.compute(OWN, THEIRS))
    assert wrong > 0


def test_each_side_acts_once(sides: Sides) -> None:
    sender, receiver = sides
    own, theirs = Garbler(CIRCUIT, OWN), Evaluator(CIRCUIT, THEIRS, receiver)
    with pytest.raises(ReplayError, match="after the circuit was garbled"):
        own.read(b"")
    message = own.garble(theirs.request, sender)
    with pytest.raises(ReplayError, match="labels serve once"):
        own.garble(theirs.request, sender)
    done = theirs.evaluate(message)
    with pytest.raises(ReplayError, match="evaluated before"):
        theirs.evaluate(message)
    own.read(done.colours)
    with pytest.raises(ReplayError, match="read once"):
        own.read(done.colours)


def test_a_request_of_another_circuit_is_refused(sides: Sides) -> None:
    sender, receiver = transfers()
    stale = Evaluator(CIRCUIT, THEIRS, receiver)
    fresh = Evaluator(CIRCUIT, THEIRS, receiver)
    with pytest.raises(ReplayError):
        Garbler(CIRCUIT, OWN).garble(fresh.request, sender)
    message = Garbler(CIRCUIT, OWN).garble(stale.request, sender)
    assert same(({}, stale.evaluate(message).values), ({}, CIRCUIT.compute(OWN, THEIRS)[1]))


def test_numbers_that_do_not_fit_are_refused(sides: Sides) -> None:
    with pytest.raises(ConfigError, match="16 bits"):
        Garbler(CIRCUIT, numbers({"a": [0, 0, 65536]}))
    with pytest.raises(ConfigError, match="takes 3 numbers"):
        Evaluator(CIRCUIT, numbers({"b": [0]}), sides[1])


def test_secrets_stay(sides: Sides) -> None:
    own, theirs = Garbler(CIRCUIT, OWN), Evaluator(CIRCUIT, THEIRS, sides[1])
    for side in (own, theirs):
        assert repr(side) == f"{type(side).__name__}({CIRCUIT!r})"
        with pytest.raises(TypeError, match="not pickled"):
            pickle.dumps(side)
    assert repr(CIRCUIT) == f"Circuit({len(CIRCUIT.gates)} gates, {CIRCUIT.ands} ANDs)"
