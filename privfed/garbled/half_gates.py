"""Garbled gates: an AND is two blocks, XOR and NOT are free (Zahur, Rosulek, Evans 2014/756).

The garbler has two labels of each wire, for 0 and for 1, which differ by an offset that is the
circuit's own; the evaluator has one of them. An offset is odd, so that a label's lowest bit, its
colour, says which of two rows to use and nothing of the value. An AND of a and b is the sum of

    a AND r,  r a random bit that the garbler knows, and  a AND (r ^ b),  where r ^ b is a colour,

each of one block. Every lane of every AND has two tweaks of its own.

Where numba and AES instructions are at hand, `half_gates_compiled` does the same, with equal bits.
"""

import functools
import importlib
import importlib.util
import sys
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from privfed.garbled.circuit import AND, FLIP, Circuit, lanes_at
from privfed.garbled.hashing import Blocks, TweakableHash

__all__ = ["TABLE_BLOCKS", "colours", "evaluate_gates", "fastest", "garble_gates"]

TABLE_BLOCKS = 2  # of an AND

_ONE = np.uint64(1)


def colours(labels: Blocks) -> NDArray[np.uint8]:
    """Return the lowest bit of each label."""
    return (labels[:, 0] & _ONE).astype(np.uint8)


@functools.cache
def fastest() -> ModuleType:
    """Return the module to call: the compiled one where numba and AES instructions are, or this."""
    if importlib.util.find_spec("numba") is not None:
        features = importlib.import_module("llvmlite.binding").get_host_cpu_features()
        if features.get("aes"):
            return importlib.import_module("privfed.garbled.half_gates_compiled")
    return sys.modules[__name__]


def garble_gates(circuit: Circuit, labels: Blocks, offset: Blocks, key: bytes) -> Blocks:
    """Compute the labels of 0 of all wires, and the tables of the ANDs.

    Args:
        circuit: The gates.
        labels: Shape (size, 2): those of the inputs are given, the others are written.
        offset: Shape (1, 2): the difference of the labels of 0 and 1.
        key: The hash's.

    Returns:
        The tables, shape (2 · ANDs, 2).
    """
    tables = np.empty((TABLE_BLOCKS * circuit.ands, 2), np.uint64)
    hashed = TweakableHash(key)
    done = 0
    for kind, out, a, b, a_step, b_step, lanes in circuit.gates.tolist():
        first = lanes_at(labels, a, a_step, lanes)
        if kind == FLIP:
            bits = lanes_at(circuit.constants, b, b_step, lanes)
            labels[out : out + lanes] = first ^ _times(bits, offset)
            continue
        second = lanes_at(labels, b, b_step, lanes)
        if kind != AND:
            labels[out : out + lanes] = first ^ second
            continue
        first, second = (np.broadcast_to(each, (lanes, 2)) for each in (first, second))
        left, right = _tweaks(done, lanes)
        hashes = hashed(
            np.concatenate([first, first ^ offset, second, second ^ offset]),
            np.concatenate([left, left, right, right]),
        ).reshape(4, lanes, 2)
        a_colours, b_colours = colours(first), colours(second)
        generator = hashes[0] ^ hashes[1] ^ _times(b_colours, offset)
        evaluator = hashes[2] ^ hashes[3] ^ first
        tables[2 * done : 2 * (done + lanes) : 2] = generator
        tables[2 * done + 1 : 2 * (done + lanes) : 2] = evaluator
        labels[out : out + lanes] = (
            hashes[0]
            ^ hashes[2]
            ^ _times(a_colours, generator)
            ^ _times(b_colours, evaluator ^ first)
        )
        done += lanes
    return tables


def evaluate_gates(circuit: Circuit, labels: Blocks, tables: Blocks, key: bytes) -> None:
    """Compute the one label of each wire.

    Args:
        circuit: The gates.
        labels: Shape (size, 2): those of the inputs are given, the others are written.
        tables: What `garble_gates` returned.
        key: The hash's.
    """
    hashed = TweakableHash(key)
    done = 0
    for kind, out, a, b, a_step, b_step, lanes in circuit.gates.tolist():
        first = lanes_at(labels, a, a_step, lanes)
        if kind == FLIP:
            labels[out : out + lanes] = first
            continue
        second = lanes_at(labels, b, b_step, lanes)
        if kind != AND:
            labels[out : out + lanes] = first ^ second
            continue
        first, second = (np.broadcast_to(each, (lanes, 2)) for each in (first, second))
        hashes = hashed(np.concatenate([first, second]), np.concatenate(_tweaks(done, lanes)))
        generator, evaluator = (tables[2 * done + i : 2 * (done + lanes) : 2] for i in (0, 1))
        labels[out : out + lanes] = (
            hashes[:lanes]
            ^ hashes[lanes:]
            ^ _times(colours(first), generator)
            ^ _times(colours(second), evaluator ^ first)
        )
        done += lanes


def _tweaks(done: int, lanes: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    left = np.arange(2 * done, 2 * (done + lanes), 2, dtype=np.uint64)
    return left, left + _ONE


def _times(bits: NDArray[np.uint8], blocks: Blocks) -> Blocks:
    """Return the blocks where the bit is 1, else 0, without a branch."""
    return blocks & -bits.astype(np.uint64)[:, None]
