"""Circuits run in the open and garbled, side by side."""

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
import pytest
from hypothesis import strategies as st
from numpy.typing import NDArray

from privfed.garbled import (
    Circuit,
    CircuitBuilder,
    Evaluator,
    Garbler,
    Numbers,
    TransferReceiver,
    TransferSender,
    Wire,
    half_gates,
)

IDENTITY = b"a session of the tests"
Given: TypeAlias = Mapping[str, list[int]]


def transfers(identity: bytes = IDENTITY) -> tuple[TransferSender, TransferReceiver]:
    """Both sides of a session's transfers, their base laid."""
    sender, receiver = TransferSender(identity), TransferReceiver(identity)
    sender.agree(receiver.public)
    receiver.agree(sender.choices)
    return sender, receiver


def numbers(given: Given) -> Numbers:
    return {name: np.array(values, np.uint64) for name, values in given.items()}


def garbled(
    circuit: Circuit,
    garbler: Numbers,
    evaluator: Numbers,
    sides: tuple[TransferSender, TransferReceiver],
) -> tuple[Numbers, Numbers]:
    """What each party learns, through bytes."""
    sender, receiver = sides
    own, theirs = Garbler(circuit, garbler), Evaluator(circuit, evaluator, receiver)
    done = theirs.evaluate(own.garble(theirs.request, sender))
    return own.read(done.colours), done.values


def same(found: tuple[Numbers, Numbers], wanted: tuple[Numbers, Numbers]) -> bool:
    """Whether both parties learn the same in both."""
    return all(
        each.keys() == other.keys()
        and all(np.array_equal(each[name], other[name]) for name in each)
        for each, other in zip(found, wanted, strict=True)
    )


def implementations() -> list[object]:
    """The portable half gates, and the compiled ones where they run."""
    return [half_gates, half_gates.fastest()]


def needs_compiled() -> None:
    """Skip where nothing is compiled."""
    pytest.importorskip("numba")
    if half_gates.fastest() is half_gates:
        pytest.skip("this processor has no instructions for AES")


@st.composite
def circuits(draw: st.DrawFn) -> tuple[Circuit, Numbers, Numbers]:
    """A circuit at random, every wire of which is an output, and inputs for it."""
    builder = CircuitBuilder()
    lanes, bits = draw(st.integers(1, 5)), draw(st.integers(1, 3))
    wires: list[Wire] = [
        *builder.garbler_input("own", bits, lanes),
        *builder.evaluator_input("theirs", bits, lanes),
    ]
    for _ in range(draw(st.integers(0, 12))):
        a, b = (draw(st.sampled_from(wires)) for _ in range(2))
        kind = draw(st.sampled_from(["xor", "and", "not", "flip", "part", "repeat"]))
        if kind == "part":
            start = draw(st.integers(0, a.lanes - 1))
            wires.append(a.part(start, draw(st.integers(start + 1, a.lanes))))
        elif kind == "repeat":
            wires.append(a.repeated(draw(st.integers(1, 5))))
        elif kind == "not":
            wires.append(builder.inverted(a))
        elif kind == "flip":
            each = st.lists(st.integers(0, 1), min_size=a.lanes, max_size=a.lanes)
            wires.append(builder.flipped(a, draw(each)))
        else:
            both = min(a.lanes, b.lanes)
            join = builder.xor if kind == "xor" else builder.conjunction
            wires.append(join(a.part(0, both), b.part(0, both)))
    for index, wire in enumerate(wires):
        give = draw(st.sampled_from([builder.garbler_output, builder.evaluator_output]))
        give(f"wire {index}", [wire])
    value = st.lists(st.integers(0, 2**bits - 1), min_size=lanes, max_size=lanes)
    own, theirs = numbers({"own": draw(value)}), numbers({"theirs": draw(value)})
    return builder.build(), own, theirs


def random_blocks(count: int, seed: int) -> NDArray[np.uint64]:
    """Blocks for tests, shape (count, 2)."""
    return np.random.default_rng(seed).integers(0, 2**64, (count, 2), np.uint64)
