"""What numba does not offer: BLAKE2s on sixteen messages at once, copying, prefetching.

BLAKE2s is written on LLVM vectors of sixteen 32-bit words, which LLVM translates to what the
processor has: AVX-512, AVX2, SSE2, NEON.
"""

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

__all__ = ["INITIAL", "compress", "copy_bytes", "prefetch"]

_LANES = 16
INITIAL = (
    *(0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A),
    *(0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19),
)
# The message schedule of RFC 7693 section 2.7.
_SIGMA = (
    (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
    (14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3),
    (11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4),
    (7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8),
    (9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13),
    (2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9),
    (12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11),
    (13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10),
    (6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5),
    (10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0),
)
_MIXED = (
    *((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15)),
    *((0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)),
)


def _compress(typing_context: Any, state: Any, words: Any, lengths: Any, last: Any) -> Any:
    """Compress as BLAKE2s on 16 lanes: addresses of (8, 16), (16, 16) and (16,) u32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word = ir.IntType(32)
        vector = ir.VectorType(word, _LANES)

        def constant(value: int) -> Any:
            return ir.Constant(vector, [value] * _LANES)

        def rotated(value: Any, bits: int) -> Any:  # LLVM recognises a rotation
            low = builder.lshr(value, constant(bits))
            return builder.or_(low, builder.shl(value, constant(32 - bits)))

        def cell(base: Any, index: int) -> Any:
            return builder.gep(builder.inttoptr(base, vector.as_pointer()), [word(index)])

        def load(base: Any, index: int) -> Any:
            return builder.load(cell(base, index), align=4)

        state_at, words_at, lengths_at, last_word = arguments
        before = [load(state_at, index) for index in range(8)]
        message = [load(words_at, index) for index in range(16)]
        v = [*before, *map(constant, INITIAL)]
        v[12] = builder.xor(v[12], load(lengths_at, 0))  # messages are shorter than 2^32 bytes
        flag = builder.insert_element(ir.Constant(vector, ir.Undefined), last_word, word(0))
        zeros = ir.Constant(ir.VectorType(word, _LANES), [0] * _LANES)
        flags = builder.shuffle_vector(flag, flag, zeros)
        v[14] = builder.xor(v[14], flags)

        def mix(a: int, b: int, c: int, d: int, x: Any, y: Any) -> None:
            for added, first, second in ((x, 16, 12), (y, 8, 7)):
                v[a] = builder.add(builder.add(v[a], v[b]), added)
                v[d] = rotated(builder.xor(v[d], v[a]), first)
                v[c] = builder.add(v[c], v[d])
                v[b] = rotated(builder.xor(v[b], v[c]), second)

        for schedule in _SIGMA:
            for step, places in enumerate(_MIXED):
                mix(*places, message[schedule[2 * step]], message[schedule[2 * step + 1]])
        for index in range(8):
            mixed = builder.xor(before[index], builder.xor(v[index], v[index + 8]))
            builder.store(mixed, cell(state_at, index), align=4)
        return context.get_dummy_value()

    return types.void(types.uintp, types.uintp, types.uintp, types.uint32), generate


def _copy_bytes(typing_context: Any, to: Any, source: Any, count: Any) -> Any:
    """Copy bytes from one address to another."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        byte = ir.IntType(8).as_pointer()
        to, source = (builder.inttoptr(address, byte) for address in arguments[:2])
        copy: Any = cgutils.raw_memcpy
        copy(builder, to, source, arguments[2], 1)
        return context.get_dummy_value()

    return types.void(types.uintp, types.uintp, types.intp), generate


def _prefetch(typing_context: Any, address: Any) -> Any:
    """Announce that the 64 bytes at an address will be read soon; any address is harmless."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word = ir.IntType(32)
        byte = ir.IntType(8).as_pointer()
        function = builder.module.declare_intrinsic(
            "llvm.prefetch", [byte], ir.FunctionType(ir.VoidType(), [byte, word, word, word])
        )
        place = builder.inttoptr(arguments[0], byte)
        builder.call(function, [place, word(0), word(3), word(1)])  # to read, to keep, data
        return context.get_dummy_value()

    return types.void(types.uintp), generate


compress: Any = intrinsic(_compress)
copy_bytes: Any = intrinsic(_copy_bytes)
prefetch: Any = intrinsic(_prefetch)
