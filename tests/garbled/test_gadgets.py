"""Gadgets against integers, and the ANDs that they take."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privfed.errors import ConfigError
from privfed.garbled import Circuit, CircuitBuilder, Word, gadgets
from tests.garbled.runs import numbers

LANES = 5
Gadget = Callable[[CircuitBuilder, Word, Word], Word]


def signed(value: int, bits: int) -> int:
    return value - (value >> (bits - 1) << bits)


# What a gadget does with words of so many bits, and the same with two integers.
GADGETS: dict[str, tuple[Gadget, Callable[[int, int, int], int]]] = {
    "add": (
        lambda c, a, b: gadgets.add(c, a, b, len(a) + 1),
        lambda a, b, bits: a + b,
    ),
    "add, wrapping": (
        lambda c, a, b: gadgets.add(c, a, b, len(a)),
        lambda a, b, bits: (a + b) % 2**bits,
    ),
    "subtract": (gadgets.subtract, lambda a, b, bits: (a - b) % 2**bits),
    "negate": (lambda c, a, b: gadgets.negate(c, a), lambda a, b, bits: -a % 2**bits),
    "absolute": (
        lambda c, a, b: gadgets.absolute(c, a),
        lambda a, b, bits: abs(signed(a, bits)),
    ),
    "multiply": (gadgets.multiply, lambda a, b, bits: a * b),
    "square": (lambda c, a, b: gadgets.square(c, a), lambda a, b, bits: a * a),
    "select": (
        lambda c, a, b: gadgets.select(c, b[0], a, b),
        lambda a, b, bits: a if b % 2 else b,
    ),
    "masked": (lambda c, a, b: gadgets.masked(c, b[0], a), lambda a, b, bits: a * (b % 2)),
    "exceeds": (
        lambda c, a, b: [gadgets.exceeds(c, a, b)],
        lambda a, b, bits: int(a > b),
    ),
    "clamp": (
        lambda c, a, b: gadgets.clamp(c, a, max(len(a) - 2, 1)),
        lambda a, b, bits: (
            max(
                min(signed(a, bits), 2 ** (max(bits - 2, 1) - 1) - 1),
                -(2 ** (max(bits - 2, 1) - 1)),
            )
            % 2 ** max(bits - 2, 1)
        ),
    ),
    "clamp to more": (
        lambda c, a, b: gadgets.clamp(c, a, len(a) + 2),
        lambda a, b, bits: signed(a, bits) % 2 ** (bits + 2),
    ),
}


def built(gadget: Gadget, bits: int, lanes: int = LANES) -> Circuit:
    circuit = CircuitBuilder()
    a = circuit.garbler_input("a", bits, lanes)
    b = circuit.evaluator_input("b", bits, lanes)
    circuit.evaluator_output("out", gadget(circuit, a, b))
    return circuit.build()


def computed(circuit: Circuit, a: list[int], b: list[int]) -> list[int]:
    _, out = circuit.compute(numbers({"a": a}), numbers({"b": b}))
    return [int(value) for value in out["out"]]


@pytest.mark.parametrize("name", GADGETS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_gadgets_do_what_integers_do(name: str, data: st.DataObject) -> None:
    gadget, wanted = GADGETS[name]
    bits = data.draw(st.integers(1, 20))
    value = st.one_of(
        st.integers(0, 2**bits - 1), st.sampled_from([0, 2**bits - 1, 2 ** (bits - 1)])
    )
    a, b = (data.draw(st.lists(value, min_size=LANES, max_size=LANES)) for _ in range(2))
    found = computed(built(gadget, bits), a, b)
    assert found == [wanted(x, y, bits) for x, y in zip(a, b, strict=True)]


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_each_lane_meets_its_own_constant(data: st.DataObject) -> None:
    bits = data.draw(st.integers(1, 12))
    constants = data.draw(st.lists(st.integers(1, 2 ** (bits + 2)), min_size=LANES, max_size=LANES))
    near = st.sampled_from(
        [c + d for c in constants for d in (-1, 0, 1) if 0 <= c + d < 2**bits] or [0]
    )
    a = data.draw(st.lists(near, min_size=LANES, max_size=LANES))
    circuit = built(lambda c, x, y: [gadgets.at_least(c, x, constants)], bits)
    assert computed(circuit, a, [0] * LANES) == [
        int(value >= constant) for value, constant in zip(a, constants, strict=True)
    ]


@pytest.mark.parametrize("lanes", [1, 2, 3, 7, 8, 101])
def test_lanes_add_up(lanes: int) -> None:
    a = np.random.default_rng(lanes).integers(0, 2**9, lanes).tolist()
    circuit = built(lambda c, x, y: gadgets.add_lanes(c, x), 9, lanes)
    assert computed(circuit, a, [0] * lanes) == [sum(a)]
    full = [2**9 - 1] * lanes
    assert computed(circuit, full, [0] * lanes) == [sum(full)]


def test_a_table_gives_the_last_level_reached_for_no_and() -> None:
    table = [5, 9, 9, 30, 1]
    circuit = built(lambda c, x, y: gadgets.reached_entry(c, x[0], table, 5), 1)
    assert circuit.ands == 0
    for reached in range(6):
        a = [1] * reached + [0] * (5 - reached)
        assert computed(circuit, a, [0] * LANES) == [[0, *table][reached]]


@pytest.mark.parametrize(
    ("name", "ands"),
    [
        ("add", 16),
        ("add, wrapping", 15),
        ("subtract", 15),
        ("negate", 14),
        ("select", 16),
        ("masked", 16),
        ("exceeds", 16),
        ("multiply", 496),  # 256 products, 15 rows to add of 16 bits
        ("square", 240),  # 120 products, as many adders
    ],
)
def test_no_gadget_takes_more_ands_than_it_must(name: str, ands: int) -> None:
    assert built(GADGETS[name][0], 16, 1).ands == ands


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_the_highest_is_the_first_of_the_largest(data: st.DataObject) -> None:
    bits, groups = data.draw(st.integers(1, 8)), data.draw(st.integers(1, 4))
    contestants = data.draw(st.integers(1, 40))
    value = st.integers(0, 2**bits - 1)
    group = st.lists(value, min_size=contestants, max_size=contestants)
    numbered = np.array(data.draw(st.lists(group, min_size=groups, max_size=groups)))
    circuit = CircuitBuilder()
    a = circuit.garbler_input("a", bits, groups * contestants)
    most, which = gadgets.highest(circuit, a, contestants)
    circuit.garbler_output("most", most)
    circuit.garbler_output("which", which)
    placed = numbered.T[gadgets.tournament(contestants)].ravel().astype(np.uint64)
    found = circuit.build().compute({"a": placed}, {})[0]
    assert found["most"].tolist() == numbered.max(axis=1).tolist()
    assert found["which"].tolist() == numbered.argmax(axis=1).tolist()


@pytest.mark.parametrize("contestants", [*range(1, 70), 1550, 4096])
def test_a_tournament_has_each_number_once(contestants: int) -> None:
    assert sorted(gadgets.tournament(contestants)) == list(range(contestants))


@pytest.mark.parametrize(
    ("contestants", "ands"),
    # 2 · 16 for each comparison; to carry numbers along, less than one a contestant.
    [(1, 0), (2, 32), (3, 32 * 2 + 2), (1024, 32 * 1023 + 1013), (1025, 32 * 1024 + 1013 + 11)],
)
def test_a_tournament_takes_one_comparison_less_than_contestants(
    contestants: int, ands: int
) -> None:
    circuit = CircuitBuilder()
    a = circuit.garbler_input("a", 16, contestants)
    most, which = gadgets.highest(circuit, a, contestants)
    circuit.garbler_output("both", [*most, *which])
    assert circuit.build().ands == ands


def test_gates_that_nothing_needs_are_left_out() -> None:
    whole = built(lambda c, a, b: gadgets.multiply(c, a, b), 8)
    low = built(lambda c, a, b: gadgets.multiply(c, a, b)[:1], 8)
    assert low.ands == LANES < whole.ands


def test_positions_are_used_again() -> None:
    circuit = built(lambda c, a, b: gadgets.multiply(c, a, b), 16)
    assert circuit.size < len(circuit.gates) * LANES / 4


def test_wires_of_other_lanes_do_not_join() -> None:
    circuit = CircuitBuilder()
    (a,), (b,) = circuit.garbler_input("a", 1, 3), circuit.garbler_input("b", 1, 2)
    for join in (circuit.xor, circuit.conjunction):
        with pytest.raises(ConfigError, match="as many lanes"):
            join(a, b)
    with pytest.raises(ConfigError, match="each lane"):
        circuit.flipped(a, [1])
    with pytest.raises(ConfigError, match="without bits"):
        gadgets.add_columns(circuit, [[a], [], [a]], 3)
    for bits, lanes in ((0, 1), (65, 1), (1, 0)):
        with pytest.raises(ConfigError, match="1 to 64 bits"):
            circuit.garbler_input("c", bits, lanes)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "inputs are"),
        ({"a": [1] * LANES, "c": [1] * LANES}, "inputs are"),
        ({"a": [1] * (LANES - 1)}, "takes 5 numbers"),
        ({"a": [16] * LANES}, "4 bits"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(given: dict[str, list[int]], says: str) -> None:
    circuit = built(gadgets.subtract, 4)
    with pytest.raises(ConfigError, match=says):
        circuit.compute(numbers(given), numbers({"b": [1] * LANES}))
    with pytest.raises(ConfigError, match="type uint64"):
        circuit.compute({"a": np.ones(LANES)}, numbers({"b": [1] * LANES}))  # type: ignore[dict-item]
