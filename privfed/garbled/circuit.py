"""Circuits of XOR, AND and NOT on wires that have lanes, and how they are built.

A wire carries one bit in each of its lanes, and a gate acts lane by lane. So the description of a
circuit does not grow with the lanes, and a gate of many lanes is one loop. Some lanes of a wire are
a wire, too (`Wire.part`), and so is one lane repeated (`Wire.repeated`): neither costs a gate.

A gate is a row of `Circuit.gates`: kind, where its output begins, where its inputs begin, their
steps (0 repeats one lane), and its lanes. The second input of a FLIP are constant bits. Positions
are used again once no later gate reads them; gates that no output depends on are left out.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from privfed.errors import ConfigError

__all__ = ["AND", "FLIP", "XOR", "Circuit", "CircuitBuilder", "Numbers", "Port", "Wire", "Word"]

XOR, AND, FLIP = range(3)

_Entry = TypeVar("_Entry", bound=np.generic)
Bits: TypeAlias = NDArray[np.uint8]
Numbers: TypeAlias = Mapping[str, NDArray[np.uint64]]
"""A number in each lane, by the name of an input or output."""

_WORD_BITS = 64


@dataclass(frozen=True, slots=True)
class Wire:
    """One bit in each lane.

    Attributes:
        cell: What holds the bits: the output of one gate, or an input.
        lanes: How many there are.
        first: The first lane of the cell.
        step: From lane to lane; 0 repeats one lane.
    """

    cell: int
    lanes: int
    first: int = 0
    step: int = 1

    def part(self, start: int, stop: int) -> "Wire":
        """Return the lanes from a first up to a last."""
        return Wire(self.cell, stop - start, self.first + start * self.step, self.step)

    def repeated(self, lanes: int) -> "Wire":
        """Return the first lane, in each of so many lanes."""
        return Wire(self.cell, lanes, self.first, 0)


Word: TypeAlias = Sequence[Wire]
"""The bits of a number in each lane, the lowest first."""


class Port(NamedTuple):
    """A number in each lane that enters or leaves.

    Attributes:
        name: Its name.
        lanes: How many numbers.
        bits: How many bits each has, at most 64.
        places: Where the bits are, shape (bits · lanes,): all lanes of the lowest bit first.
    """

    name: str
    lanes: int
    bits: int
    places: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Circuit:
    """What two parties compute; it says nothing of their numbers.

    Attributes:
        gates: Shape (gates, 7), as the module describes.
        constants: The bits of the FLIPs.
        size: How many positions there are.
        ands: How many ANDs, each lane counted.
        garbler_inputs: The numbers of the party that garbles.
        evaluator_inputs: The numbers of the party that evaluates.
        garbler_outputs: What the party that garbles learns.
        evaluator_outputs: What the party that evaluates learns.
    """

    gates: NDArray[np.int64]
    constants: Bits
    size: int
    ands: int
    garbler_inputs: tuple[Port, ...]
    evaluator_inputs: tuple[Port, ...]
    garbler_outputs: tuple[Port, ...]
    evaluator_outputs: tuple[Port, ...]

    def __repr__(self) -> str:
        return f"Circuit({len(self.gates)} gates, {self.ands} ANDs)"

    def compute(self, garbler: Numbers, evaluator: Numbers) -> tuple[Numbers, Numbers]:
        """Return what each party learns, computed in the open: for tests and simulations.

        Raises:
            ConfigError: Numbers are missing, too many or too large.
        """
        bits = np.zeros(self.size, np.uint8)
        for ports, values in ((self.garbler_inputs, garbler), (self.evaluator_inputs, evaluator)):
            bits[places(ports)] = to_bits(ports, values)
        for kind, out, a, b, a_step, b_step, lanes in self.gates.tolist():
            first = lanes_at(bits, a, a_step, lanes)
            second = lanes_at(self.constants if kind == FLIP else bits, b, b_step, lanes)
            bits[out : out + lanes] = first & second if kind == AND else first ^ second
        outputs = self.garbler_outputs, self.evaluator_outputs
        garbled, evaluated = (from_bits(ports, bits[places(ports)]) for ports in outputs)
        return garbled, evaluated


def lanes_at(array: NDArray[_Entry], start: int, step: int, lanes: int) -> NDArray[_Entry]:
    """Return the entries of an input of a gate: as many as lanes, or one that is repeated."""
    return array[start : start + (lanes if step else 1)]


def places(ports: Iterable[Port]) -> NDArray[np.int64]:
    """Return where the bits of all ports are, in their order."""
    return np.concatenate([np.empty(0, np.int64), *(port.places for port in ports)])


def count_bits(ports: Iterable[Port]) -> int:
    """Return how many bits the ports have together, each lane counted."""
    return sum(port.bits * port.lanes for port in ports)


def to_bits(ports: Sequence[Port], values: Numbers) -> Bits:
    """Return the bits of numbers in the order of `places`.

    Raises:
        ConfigError: Numbers are missing, too many or too large.
    """
    if values.keys() != {port.name for port in ports}:
        raise ConfigError(f"this party's inputs are {sorted(port.name for port in ports)}")
    found = [np.empty(0, np.uint8)]
    for port in ports:
        numbers = np.asarray(values[port.name])
        if numbers.shape != (port.lanes,) or numbers.dtype != np.uint64:
            raise ConfigError(f"input {port.name} takes {port.lanes} numbers of type uint64")
        if port.bits < _WORD_BITS and np.any(numbers >> np.uint64(port.bits)):
            raise ConfigError(f"input {port.name} takes numbers of {port.bits} bits")
        shifts = np.arange(port.bits, dtype=np.uint64)[:, None]
        found.append(((numbers >> shifts) & np.uint64(1)).astype(np.uint8).ravel())
    return np.concatenate(found)


def from_bits(ports: Iterable[Port], bits: Bits) -> Numbers:
    """Return the numbers whose bits these are, in the order of `places`."""
    values, start = {}, 0
    for port in ports:
        end = start + port.bits * port.lanes
        rows = bits[start:end].reshape(port.bits, port.lanes).astype(np.uint64)
        shifts = np.arange(port.bits, dtype=np.uint64)[:, None]
        values[port.name] = np.bitwise_or.reduce(rows << shifts, axis=0)
        start = end
    return values


class _Gate(NamedTuple):
    kind: int
    out: int  # a cell
    a: Wire
    b: Wire | None
    constants: tuple[int, int]  # where a FLIP's bits begin, and their step


class CircuitBuilder:
    """Collects gates; `privfed.garbled.gadgets` makes arithmetic of them."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._lanes: list[int] = []  # of each cell
        self._gates: list[_Gate] = []
        self._constants = [1]  # the first is every inversion's
        self._ports: dict[str, list[tuple[str, tuple[Wire, ...]]]] = {
            "garbler_inputs": [],
            "evaluator_inputs": [],
            "garbler_outputs": [],
            "evaluator_outputs": [],
        }

    def garbler_input(self, name: str, bits: int, lanes: int) -> Word:
        """Return a new number in each lane that the garbling party brings."""
        return self._input("garbler_inputs", name, bits, lanes)

    def evaluator_input(self, name: str, bits: int, lanes: int) -> Word:
        """Return a new number in each lane that the evaluating party brings."""
        return self._input("evaluator_inputs", name, bits, lanes)

    def garbler_output(self, name: str, word: Word) -> None:
        """Let the garbling party learn a number in each lane."""
        self._ports["garbler_outputs"].append((name, tuple(word)))

    def evaluator_output(self, name: str, word: Word) -> None:
        """Let the evaluating party learn a number in each lane."""
        self._ports["evaluator_outputs"].append((name, tuple(word)))

    def xor(self, a: Wire, b: Wire) -> Wire:
        """Return the exclusive or of two wires."""
        return self._gate(XOR, a, b)

    def conjunction(self, a: Wire, b: Wire) -> Wire:
        """Return the AND of two wires: the only gate that costs time and bytes."""
        return self._gate(AND, a, b)

    def inverted(self, a: Wire) -> Wire:
        """Return the complement of a wire."""
        return self._gate(FLIP, a, None, (0, 0))

    def flipped(self, a: Wire, bits: Sequence[int]) -> Wire:
        """Return a wire, complemented in the lanes whose constant bit is 1."""
        if len(bits) != a.lanes:
            raise ConfigError("there is a constant bit for each lane")
        start = len(self._constants)
        self._constants += bits
        return self._gate(FLIP, a, None, (start, 1))

    def build(self) -> Circuit:
        """Return the circuit: without gates that no output needs, and with positions reused."""
        needed = {
            wire.cell
            for side in ("garbler_outputs", "evaluator_outputs")
            for _, word in self._ports[side]
            for wire in word
        }
        outputs = frozenset(needed)
        kept = []
        for gate in reversed(self._gates):
            if gate.out in needed:
                kept.append(gate)
                needed.update(wire.cell for wire in (gate.a, gate.b) if wire)
        kept.reverse()
        space = _Space(self._lanes)
        for side in ("garbler_inputs", "evaluator_inputs"):
            for _, word in self._ports[side]:
                for wire in word:
                    space.take(wire.cell)
        ports = {side: self._located(side, space) for side in self._ports if "inputs" in side}
        readers = Counter(
            wire.cell for gate in kept for wire in (gate.a, gate.b) if wire is not None
        )
        rows = np.zeros((len(kept), 7), np.int64)
        for row, gate in zip(rows, kept, strict=True):
            out = space.take(gate.out)
            a, b = gate.a, gate.b
            second, step = (space.at(b), b.step) if b else gate.constants
            row[:] = gate.kind, out, space.at(a), second, a.step, step, a.lanes
            for cell in [wire.cell for wire in (a, b) if wire]:
                readers[cell] -= 1
                if not readers[cell] and cell not in outputs:
                    space.free(cell)
        ports |= {side: self._located(side, space) for side in self._ports if "outputs" in side}
        ands = int(rows[rows[:, 0] == AND, 6].sum())
        return Circuit(rows, np.array(self._constants, np.uint8), space.size, ands, **ports)

    def _input(self, side: str, name: str, bits: int, lanes: int) -> Word:
        if not (1 <= bits <= _WORD_BITS and lanes >= 1):
            raise ConfigError("a number has 1 to 64 bits, in at least one lane")
        word = tuple(self._new(lanes) for _ in range(bits))
        self._ports[side].append((name, word))
        return word

    def _gate(
        self, kind: int, a: Wire, b: Wire | None, constants: tuple[int, int] = (0, 0)
    ) -> Wire:
        if b and a.lanes != b.lanes:
            raise ConfigError(f"a gate joins wires of as many lanes, not {a.lanes} and {b.lanes}")
        out = self._new(a.lanes)
        self._gates.append(_Gate(kind, out.cell, a, b, constants))
        return out

    def _new(self, lanes: int) -> Wire:
        self._lanes.append(lanes)
        return Wire(len(self._lanes) - 1, lanes)

    def _located(self, side: str, space: "_Space") -> tuple[Port, ...]:
        ports = []
        for name, word in self._ports[side]:
            lanes = word[0].lanes
            rows = [space.at(wire) + wire.step * np.arange(lanes) for wire in word]
            ports.append(Port(name, lanes, len(word), np.concatenate(rows)))
        return tuple(ports)


class _Space:
    """Which positions the cells take."""

    def __init__(self, lanes: Sequence[int]) -> None:
        self.size = 0
        self._lanes = lanes
        self._start: dict[int, int] = {}
        self._unused: dict[int, list[int]] = {}

    def take(self, cell: int) -> int:
        lanes = self._lanes[cell]
        unused = self._unused.get(lanes)
        if unused:
            self._start[cell] = unused.pop()
        else:
            self._start[cell] = self.size
            self.size += lanes
        return self._start[cell]

    def free(self, cell: int) -> None:
        self._unused.setdefault(self._lanes[cell], []).append(self._start[cell])

    def at(self, wire: Wire) -> int:
        return self._start[wire.cell] + wire.first
