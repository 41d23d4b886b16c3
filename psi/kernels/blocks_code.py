"""Generated code on vectors of four blocks: AES-128 and products in GF(2^128).

Only rounds of AES and products without carry need instructions that x86-64 has: how many blocks
they take at once, one, two or four, is what `host_lanes` says. LLVM translates the rest to whatever
the processor has. Nothing here branches on a block or takes it for an address.
"""

import contextlib
import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from llvmlite import ir
from numba.core import cgutils, codegen, config

__all__ = ["BLOCK", "BYTE", "GROUP", "HALF", "VECTOR", "WORD", "ZERO", "BlockCode", "host_lanes"]

GROUP = 4  # vectors go through AES side by side

_BLOCKS = 4  # in a vector
_WORDS = 2 * _BLOCKS
WORD, HALF, BYTE = ir.IntType(64), ir.IntType(32), ir.IntType(8)
VECTOR, BLOCK = ir.VectorType(WORD, _WORDS), ir.VectorType(WORD, 2)
ZERO = ir.Constant(VECTOR, None)

_ROUNDS = 10  # of AES-128, FIPS 197
_ROUND_CONSTANTS = (0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0x1B, 0x36)
_MODULUS = ir.Constant(VECTOR, [0x87] * _WORDS)  # x^128 = x^7 + x^2 + x + 1
# Which words of a vector and of zeros: the low words with 0 below, the high words with 0 above.
_RAISED = [word for low in range(0, _WORDS, 2) for word in (_WORDS, low)]
_LOWERED = [word for low in range(0, _WORDS, 2) for word in (low + 1, _WORDS)]


@functools.cache
def host_lanes() -> int:
    """Return how many blocks AES and products take at once: 4, 2 or 1; 0 without instructions."""
    settings: Any = config
    generator: Any = codegen
    # Those that numba is told to compile for, or else those that the processor has.
    told = settings.CPU_FEATURES
    features = set((generator.get_host_cpu_features() if told is None else told).split(","))
    if not features >= {"+sse4.1", "+aes", "+pclmul"}:
        return 0
    if not features >= {"+avx2", "+vaes", "+vpclmulqdq"}:
        return 1
    return 4 if features >= {"+avx512f", "+avx512bw"} else 2


class BlockCode:
    """Where instructions go, and how many blocks AES and products take at once."""

    def __init__(self, builder: Any, lanes: int) -> None:
        """Take an llvmlite IRBuilder."""
        self.builder, self._lanes = builder, lanes

    def load(self, address: Any, index: Any, kind: Any = VECTOR) -> Any:
        """Return the value at an index from an address."""
        return self.builder.load(self._place(address, index, kind), align=4)

    def store(self, value: Any, address: Any, index: Any) -> None:
        """Write a value to an index from an address."""
        self.builder.store(value, self._place(address, index, value.type), align=4)

    def offset(self, index: Any, step: Any, more: int = 0) -> Any:
        """Return index · step + more."""
        factor = WORD(step) if isinstance(step, int) else step
        return self.builder.add(self.builder.mul(index, factor), WORD(more))

    @contextlib.contextmanager
    def loop(self, count: Any) -> Iterator[Any]:
        """Repeat what is generated inside; gives the index."""
        with cgutils.for_range(self.builder, count, intp=WORD) as loop:
            yield loop.index

    def xor(self, *values: Any) -> Any:
        """Return the sum of vectors."""
        total = values[0]
        for value in values[1:]:
            total = self.builder.xor(total, value)
        return total

    def words(self, value: Any, other: Any, order: Iterable[int]) -> Any:
        """Return some words of two vectors, counted through both."""
        places = list(order)
        chosen = ir.Constant(ir.VectorType(HALF, len(places)), places)
        return self.builder.shuffle_vector(value, other, chosen)

    def blocks(self, value: Any, other: Any, order: Iterable[int]) -> Any:
        """Return some blocks of two vectors, counted through both."""
        return self.words(value, other, [2 * block + half for block in order for half in (0, 1)])

    def spread(self, word: Any) -> Any:
        """Return a vector of one word eight times."""
        value = self.builder.insert_element(ir.Constant(VECTOR, ir.Undefined), word, HALF(0))
        return self.words(value, value, [0] * _WORDS)

    def swapped(self, value: Any) -> Any:
        """Return words with their bytes in reverse order."""
        return self._call(f"llvm.bswap.v{_WORDS}i64", [value])

    def product(self, a: Any, b: Any) -> tuple[Any, Any, Any]:
        """Return products before reduction: low + middle · x^64 + high · x^128."""
        crossed = (self._multiplied(a, b, half) for half in (0x01, 0x10))
        return self._multiplied(a, b, 0x00), self.xor(*crossed), self._multiplied(a, b, 0x11)

    def reduced(self, low: Any, middle: Any, high: Any) -> Any:
        """Return field elements: what `product` returns, modulo x^128 + x^7 + x^2 + x + 1."""
        # x^192 is 0x87 · x^64: the high words go to the middle; then what is at x^128 to the low.
        middle = self.xor(middle, self._multiplied(high, _MODULUS, 0x01))
        high = self.xor(high, self.words(middle, ZERO, _LOWERED))
        low = self.xor(low, self.words(middle, ZERO, _RAISED))
        return self.xor(low, self._multiplied(high, _MODULUS, 0x00))

    def encrypted(self, keys: Any, vectors: Sequence[Any]) -> list[Any]:
        """Return AES of vectors, side by side; an address of the keys of all rounds."""
        state = list(vectors)
        for number in range(_ROUNDS + 1):
            block = self.load(keys, number, BLOCK)
            key = self.blocks(block, block, [0] * _BLOCKS)
            if number == 0:
                state = [self.xor(vector, key) for vector in state]
            else:
                name = "llvm.x86.aesni.aesenc" + ("last" if number == _ROUNDS else "")
                state = [self._wide(name, vector, key) for vector in state]
        return state

    def expand(self, key: Any, keys: Any) -> None:
        """Write the eleven keys of the rounds: addresses of 16 bytes and of 176."""
        words = ir.VectorType(HALF, 4)
        zeros = ir.Constant(words, None)
        block = self.load(key, 0, BLOCK)
        self.store(block, keys, 0)
        for index, constant in enumerate(_ROUND_CONSTANTS, 1):
            made = self._call("llvm.x86.aesni.aeskeygenassist", [block, BYTE(constant)])
            mixed = self.builder.bitcast(made, words)
            total = self.builder.bitcast(block, words)
            # Word i of the next key has the words 0 to i of this one in it.
            for shift in (1, 2):
                total = self.xor(total, self.words(total, zeros, [*[4] * shift, *range(4 - shift)]))
            total = self.xor(total, self.words(mixed, mixed, [3] * 4))
            block = self.builder.bitcast(total, BLOCK)
            self.store(block, keys, index)

    def _multiplied(self, a: Any, b: Any, halves: int) -> Any:
        """Return 128-bit products: of the high word of a if bit 0 is set, of b if bit 4 is."""
        return self._wide("llvm.x86.pclmulqdq", a, b, BYTE(halves))

    def _wide(self, name: str, a: Any, b: Any, *more: Any) -> Any:
        """Call an instruction on as many blocks at once as it takes."""
        lanes = self._lanes
        full = f"{name}.{128 * lanes}" if lanes > 1 else name
        parts = [
            self._call(
                full, [*(self.blocks(one, one, range(at, at + lanes)) for one in (a, b)), *more]
            )
            for at in range(0, _BLOCKS, lanes)
        ]
        while len(parts) > 1:
            whole = range(2 * parts[0].type.count)
            halves = zip(parts[::2], parts[1::2], strict=True)
            parts = [self.words(low, high, whole) for low, high in halves]
        return parts[0]

    def _call(self, name: str, arguments: list[Any]) -> Any:
        # Declared by name: llvmlite would add the types to it.
        module = self.builder.module
        signature = ir.FunctionType(arguments[0].type, [one.type for one in arguments])
        function = module.globals.get(name) or ir.Function(module, signature, name)
        return self.builder.call(function, arguments)

    def _place(self, address: Any, index: Any, kind: Any) -> Any:
        at = WORD(index) if isinstance(index, int) else index
        return self.builder.gep(self.builder.inttoptr(address, kind.as_pointer()), [at])
