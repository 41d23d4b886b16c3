"""`privfed.garbled.half_gates` compiled by numba, with the processor's AES instructions (x86-64).

Four AES run side by side for a lane of an AND that is garbled, two for one that is evaluated, and
the processor begins the next lane while they run. No branch and no address depends on a label.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from privfed.garbled.circuit import AND, FLIP, Circuit
from privfed.garbled.half_gates import TABLE_BLOCKS
from privfed.garbled.hashing import BLOCK_BYTES, Blocks
from psi.compiled.compiling import array, compiled

__all__ = ["evaluate_gates", "garble_gates"]

_ROUNDS = 10  # of AES-128, FIPS 197
_ROUND_CONSTANTS = (0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0x1B, 0x36)
_WORD, _INDEX, _BYTE = ir.IntType(64), ir.IntType(32), ir.IntType(8)
_BLOCK = ir.VectorType(_WORD, 2)
_WORDS = ir.VectorType(_INDEX, 4)


class _Code:
    """Where instructions go: blocks are read and written at addresses."""

    def __init__(self, builder: Any) -> None:
        self.builder = builder

    def load(self, address: Any, index: int = 0) -> Any:
        return self.builder.load(self._place(address, index), align=8)

    def store(self, block: Any, address: Any, index: int = 0) -> None:
        self.builder.store(block, self._place(address, index), align=8)

    def xor(self, *blocks: Any) -> Any:
        total = blocks[0]
        for block in blocks[1:]:
            total = self.builder.xor(total, block)
        return total

    def where_odd(self, chooser: Any, block: Any) -> Any:
        """Return a block if another's lowest bit is 1, else 0."""
        low = self.builder.extract_element(chooser, _INDEX(0))
        mask = self.builder.sub(_WORD(0), self.builder.and_(low, _WORD(1)))
        return self.builder.and_(block, self.pair(mask, mask))

    def pair(self, low: Any, high: Any) -> Any:
        block = self.builder.insert_element(ir.Constant(_BLOCK, ir.Undefined), low, _INDEX(0))
        return self.builder.insert_element(block, high, _INDEX(1))

    def hashes(self, keys: Any, blocks: Sequence[Any], tweaks: Sequence[Any]) -> list[Any]:
        """Return H of each block, side by side."""
        once = self._permuted(keys, blocks)
        tweaked = [
            self.xor(block, self.pair(tweak, _WORD(0)))
            for block, tweak in zip(once, tweaks, strict=True)
        ]
        return [self.xor(*pair) for pair in zip(self._permuted(keys, tweaked), once, strict=True)]

    def expand(self, key: Any, keys: Any) -> None:
        """Write the eleven keys of the rounds."""
        block = self.load(key)
        self.store(block, keys)
        last = ir.Constant(_WORDS, [3, 3, 3, 3])
        for index, constant in enumerate(_ROUND_CONSTANTS, 1):
            made = self._call("aeskeygenassist", [block, _BYTE(constant)])
            mixed = self.builder.bitcast(made, _WORDS)
            total = self.builder.bitcast(block, _WORDS)
            zeros = ir.Constant(_WORDS, [0] * 4)
            # Word i of the next key has the words 0 to i of this one in it.
            for shift in (1, 2):
                moved = ir.Constant(_WORDS, [*([4] * shift), *range(4 - shift)])
                total = self.builder.xor(total, self.builder.shuffle_vector(total, zeros, moved))
            total = self.builder.xor(total, self.builder.shuffle_vector(mixed, mixed, last))
            block = self.builder.bitcast(total, _BLOCK)
            self.store(block, keys, index)

    def _permuted(self, keys: Any, blocks: Sequence[Any]) -> list[Any]:
        first = self.load(keys)
        state = [self.xor(block, first) for block in blocks]
        for number in range(1, _ROUNDS + 1):
            key = self.load(keys, number)
            name = "aesenc" if number < _ROUNDS else "aesenclast"
            state = [self._call(name, [block, key]) for block in state]
        return state

    def _call(self, name: str, arguments: list[Any]) -> Any:
        signature = ir.FunctionType(_BLOCK, [argument.type for argument in arguments])
        # Declared by name: llvmlite would add the types to it.
        full = f"llvm.x86.aesni.{name}"
        module = self.builder.module
        function = module.globals.get(full) or ir.Function(module, signature, full)
        return self.builder.call(function, arguments)

    def _place(self, address: Any, index: int) -> Any:
        blocks = self.builder.inttoptr(address, _BLOCK.as_pointer())
        return self.builder.gep(blocks, [_INDEX(index)])


def _generated(arguments: int, write: Any) -> Any:
    """Return an intrinsic's signature and code; all its arguments are addresses or numbers."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        write(_Code(builder), *values)
        return context.get_dummy_value()

    return types.void(*[types.uint64] * arguments), generate


def _expand(typing_context: Any, key: Any, keys: Any) -> Any:
    """Expand a key: addresses of 16 bytes, and of 176 to write."""
    return _generated(2, _Code.expand)


def _xor(typing_context: Any, a: Any, b: Any, out: Any) -> Any:
    """Write the exclusive or of two blocks: addresses of both, and of the result."""

    def write(code: _Code, a: Any, b: Any, out: Any) -> None:
        code.store(code.xor(code.load(a), code.load(b)), out)

    return _generated(3, write)


def _garble(
    typing_context: Any, keys: Any, offset: Any, tweak: Any, a: Any, b: Any, table: Any, out: Any
) -> Any:
    """Garble a lane of an AND: addresses, and the first of its two tweaks."""

    def write(
        code: _Code, keys: Any, offset: Any, tweak: Any, a: Any, b: Any, table: Any, out: Any
    ) -> None:
        difference, first, second = code.load(offset), code.load(a), code.load(b)
        next_tweak = code.builder.add(tweak, _WORD(1))
        left, left_one, right, right_one = code.hashes(
            keys,
            [first, code.xor(first, difference), second, code.xor(second, difference)],
            [tweak, tweak, next_tweak, next_tweak],
        )
        generator = code.xor(left, left_one, code.where_odd(second, difference))
        both = code.xor(right, right_one)
        code.store(generator, table)
        code.store(code.xor(both, first), table, 1)
        chosen = code.where_odd(first, generator), code.where_odd(second, both)
        code.store(code.xor(left, right, *chosen), out)

    return _generated(7, write)


def _evaluate(
    typing_context: Any, keys: Any, tweak: Any, a: Any, b: Any, table: Any, out: Any
) -> Any:
    """Evaluate a lane of an AND: addresses, and the first of its two tweaks."""

    def write(code: _Code, keys: Any, tweak: Any, a: Any, b: Any, table: Any, out: Any) -> None:
        first, second = code.load(a), code.load(b)
        tweaks = tweak, code.builder.add(tweak, _WORD(1))
        left, right = code.hashes(keys, [first, second], tweaks)
        chosen = (
            code.where_odd(first, code.load(table)),
            code.where_odd(second, code.xor(code.load(table, 1), first)),
        )
        code.store(code.xor(left, right, *chosen), out)

    return _generated(6, write)


_expand_key: Any = intrinsic(_expand)
_xor_blocks: Any = intrinsic(_xor)
_garble_lane: Any = intrinsic(_garble)
_evaluate_lane: Any = intrinsic(_evaluate)

_GATES, _CONSTANTS, _BLOCKS = array("int64", 2), array("uint8", 1), array("uint64", 2)
_OUT = array("uint64", 2, write=True)
_TABLE_BYTES = TABLE_BLOCKS * BLOCK_BYTES


@compiled(_GATES, _CONSTANTS, _OUT, _BLOCKS, _BLOCKS, _OUT)
def _garble_gates(
    gates: Any, constants: Any, labels: Any, offset: Any, key: Any, tables: Any
) -> None:
    keys = np.empty((_ROUNDS + 1, 2), np.uint64)
    keys_at, offset_at = keys.ctypes.data, offset.ctypes.data
    _expand_key(key.ctypes.data, keys_at)
    zero = np.zeros((1, 2), np.uint64)
    base, table, tweak = labels.ctypes.data, tables.ctypes.data, np.uint64(0)
    for gate in range(len(gates)):
        kind, lanes = gates[gate, 0], gates[gate, 6]
        out, a = base + BLOCK_BYTES * gates[gate, 1], base + BLOCK_BYTES * gates[gate, 2]
        b = base + BLOCK_BYTES * gates[gate, 3]
        a_step, b_step = BLOCK_BYTES * gates[gate, 4], BLOCK_BYTES * gates[gate, 5]
        if kind == AND:
            for lane in range(lanes):
                _garble_lane(
                    keys_at, offset_at, tweak, a + lane * a_step, b + lane * b_step, table,
                    out + lane * BLOCK_BYTES,
                )  # fmt: skip
                tweak += np.uint64(2)
                table += _TABLE_BYTES
        elif kind == FLIP:
            for lane in range(lanes):
                flip = constants[gates[gate, 3] + lane * gates[gate, 5]]  # public
                _xor_blocks(
                    a + lane * a_step,
                    offset_at if flip else zero.ctypes.data,
                    out + lane * BLOCK_BYTES,
                )
        else:
            for lane in range(lanes):
                _xor_blocks(a + lane * a_step, b + lane * b_step, out + lane * BLOCK_BYTES)


@compiled(_GATES, _OUT, _BLOCKS, _BLOCKS)
def _evaluate_gates(gates: Any, labels: Any, key: Any, tables: Any) -> None:
    keys = np.empty((_ROUNDS + 1, 2), np.uint64)
    keys_at = keys.ctypes.data
    _expand_key(key.ctypes.data, keys_at)
    base, table, tweak = labels.ctypes.data, tables.ctypes.data, np.uint64(0)
    for gate in range(len(gates)):
        kind, lanes = gates[gate, 0], gates[gate, 6]
        out, a = gates[gate, 1], gates[gate, 2]
        b, a_step, b_step = gates[gate, 3], gates[gate, 4], gates[gate, 5]
        if kind == AND:
            for lane in range(lanes):
                _evaluate_lane(
                    keys_at, tweak,
                    base + BLOCK_BYTES * (a + lane * a_step),
                    base + BLOCK_BYTES * (b + lane * b_step),
                    table,
                    base + BLOCK_BYTES * (out + lane),
                )  # fmt: skip
                tweak += np.uint64(2)
                table += _TABLE_BYTES
        elif kind == FLIP:
            for lane in range(lanes):
                labels[out + lane, 0] = labels[a + lane * a_step, 0]
                labels[out + lane, 1] = labels[a + lane * a_step, 1]
        else:
            for lane in range(lanes):
                _xor_blocks(
                    base + BLOCK_BYTES * (a + lane * a_step),
                    base + BLOCK_BYTES * (b + lane * b_step),
                    base + BLOCK_BYTES * (out + lane),
                )


def garble_gates(circuit: Circuit, labels: Blocks, offset: Blocks, key: bytes) -> Blocks:
    """Return what `half_gates.garble_gates` returns, and write the same labels."""
    tables = np.empty((TABLE_BLOCKS * circuit.ands, 2), np.uint64)
    _garble_gates(circuit.gates, circuit.constants, labels, offset, _block(key), tables)
    return tables


def evaluate_gates(circuit: Circuit, labels: Blocks, tables: Blocks, key: bytes) -> None:
    """Write the labels that `half_gates.evaluate_gates` writes."""
    _evaluate_gates(circuit.gates, labels, _block(key), tables)


def _block(key: bytes) -> NDArray[np.uint64]:
    return np.frombuffer(key, np.uint64).reshape(1, 2)
