"""Half gates: one label for each wire, equal bits portable and compiled."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from privfed.garbled import Circuit, CircuitBuilder, Numbers, gadgets, half_gates
from privfed.garbled.circuit import Bits, places, to_bits
from privfed.garbled.half_gates import colours
from privfed.garbled.hashing import Blocks
from tests.garbled.runs import circuits, needs_compiled, random_blocks
from tests.garbled.test_hashing import KEY, exclusive_or, hashed

OFFSET = random_blocks(1, 2) | np.array([[1, 0]], np.uint64)


def inputs(circuit: Circuit, own: Numbers, theirs: Numbers) -> Bits:
    """The bits of both parties' inputs, in the order of their places."""
    return np.concatenate(
        [to_bits(circuit.garbler_inputs, own), to_bits(circuit.evaluator_inputs, theirs)]
    )


def both_sides(circuit: Circuit, own: Numbers, theirs: Numbers) -> tuple[Blocks, Blocks]:
    """The labels of 0 and those the evaluator holds, of all outputs."""
    at = places([*circuit.garbler_inputs, *circuit.evaluator_inputs])
    out = places([*circuit.garbler_outputs, *circuit.evaluator_outputs])
    zeros = random_blocks(circuit.size, 3)
    held = np.zeros_like(zeros)
    bits = inputs(circuit, own, theirs).astype(np.uint64)[:, None]
    held[at] = zeros[at] ^ (OFFSET * bits)
    tables = half_gates.garble_gates(circuit, zeros, OFFSET, KEY)
    half_gates.evaluate_gates(circuit, held, tables, KEY)
    return zeros[out], held[out]


@settings(max_examples=200, deadline=None)
@given(case=circuits())
def test_the_evaluator_holds_the_label_of_each_wires_bit(
    case: tuple[Circuit, Numbers, Numbers],
) -> None:
    circuit, own, theirs = case
    zeros, held = both_sides(circuit, own, theirs)
    wanted = circuit.compute(own, theirs)
    bits = np.concatenate(
        [
            to_bits(ports, values)
            for ports, values in zip(
                (circuit.garbler_outputs, circuit.evaluator_outputs), wanted, strict=True
            )
        ]
    )
    assert np.array_equal(held, zeros ^ (OFFSET * bits.astype(np.uint64)[:, None]))
    assert np.array_equal(colours(held) ^ colours(zeros), bits)  # as the offset is odd


@settings(max_examples=100, deadline=None)
@given(case=circuits())
def test_compiled_and_portable_give_the_same_bits(case: tuple[Circuit, Numbers, Numbers]) -> None:
    needs_compiled()
    circuit, _, _ = case
    garbled, evaluated = [], []
    for code in (half_gates, half_gates.fastest()):
        labels = random_blocks(circuit.size, 4)
        garbled.append((code.garble_gates(circuit, labels, OFFSET, KEY), labels))
        held = random_blocks(circuit.size, 5)
        code.evaluate_gates(circuit, held, random_blocks(2 * circuit.ands, 6), KEY)
        evaluated.append(held)
    for one, other in zip(*garbled, strict=True):
        assert np.array_equal(one, other)
    assert np.array_equal(evaluated[0], evaluated[1])


def conjunction(lanes: int = 1) -> Circuit:
    circuit = CircuitBuilder()
    a = circuit.garbler_input("a", 1, lanes)
    b = circuit.evaluator_input("b", 1, lanes)
    circuit.evaluator_output("out", gadgets.masked(circuit, a[0], b))
    return circuit.build()


def times(colour: int, block: bytes) -> bytes:
    return block if colour else bytes(len(block))


@pytest.mark.parametrize("seed", range(8))
def test_a_gate_is_the_one_of_the_paper(seed: int) -> None:
    """Figure 2 of ePrint 2014/756, written once more in bytes, in the second lane."""
    circuit = conjunction(2)
    labels = random_blocks(circuit.size, seed)
    before = [labels[port.places[1]].tobytes() for port in (
        circuit.garbler_inputs[0], circuit.evaluator_inputs[0],
    )]  # fmt: skip
    (a, b), offset = before, OFFSET.tobytes()
    tables = half_gates.garble_gates(circuit, labels, OFFSET, KEY)
    a_colour, b_colour = a[0] & 1, b[0] & 1
    left = [hashed(KEY, each, 2) for each in (a, exclusive_or(a, offset))]
    right = [hashed(KEY, each, 3) for each in (b, exclusive_or(b, offset))]
    generator = exclusive_or(exclusive_or(*left), times(b_colour, offset))
    evaluator = exclusive_or(exclusive_or(*right), a)
    first = exclusive_or(left[0], times(a_colour, generator))
    second = exclusive_or(right[0], times(b_colour, exclusive_or(evaluator, a)))
    assert [row.tobytes() for row in tables[2:]] == [generator, evaluator]
    out = labels[circuit.evaluator_outputs[0].places[1]].tobytes()
    assert out == exclusive_or(first, second)


def test_equal_gates_have_other_tables() -> None:
    """Each lane of each gate has its own tweaks: what is equal within does not show outside."""
    circuit = CircuitBuilder()
    a, b = circuit.garbler_input("a", 1, 1)[0], circuit.evaluator_input("b", 1, 1)[0]
    many = [circuit.conjunction(a.repeated(3), b.repeated(3)) for _ in range(2)]
    circuit.evaluator_output("out", many)
    built = circuit.build()
    tables = half_gates.garble_gates(built, random_blocks(built.size, 7), OFFSET, KEY)
    assert len(np.unique(tables, axis=0)) == len(tables) == 12


def test_without_numba_the_portable_gates_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    half_gates.fastest.cache_clear()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    try:
        assert half_gates.fastest() is half_gates
    finally:
        half_gates.fastest.cache_clear()


def test_without_aes_instructions_the_portable_gates_serve(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    binding = pytest.importorskip("llvmlite.binding")
    half_gates.fastest.cache_clear()
    monkeypatch.setattr(binding, "get_host_cpu_features", dict)
    try:
        assert half_gates.fastest() is half_gates
    finally:
        half_gates.fastest.cache_clear()
