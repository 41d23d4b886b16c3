"""The only access to the curve: ristretto255, through the libsodium that rbcl bundles.

Batches of `FAST_FROM` points and more go through `psi.compiled.ristretto` instead, if numba is
installed and the processor has the vector instructions. Bytes and errors are the same.

Encodings and validity follow RFC 9496; hashing to the group follows RFC 9497 section 4.1
(hashToGroup of ristretto255-SHA512) on expand_message_xmd of RFC 9380 section 5.3.1. Points
travel as C-contiguous uint8 arrays of shape (n, 32), so that a batch is one buffer.
"""

import contextlib
import ctypes
import functools
import hashlib
import importlib
import os
import secrets
import stat
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Never, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from psi.errors import ConfigError, DecodeError, InvalidPointError
from psi.group.preimages import preimage
from psi.kernels import fast_available

__all__ = [
    "FAST_FROM",
    "ORDER",
    "POINT_BYTES",
    "Points",
    "Scalar",
    "add",
    "check_points",
    "expand_message_xmd",
    "hash_to_group",
    "map_to_group",
    "multiply",
    "multiply_base",
    "multiply_base_each",
    "multiply_each",
    "points_from_bytes",
    "preimages",
    "subtract",
]

POINT_BYTES = 32
FAST_FROM = 1 << 13  # points in a batch: below, loading compiled code costs more than it saves
_FAST_FROM_LOADED = 64  # where it is loaded: the lanes of a few passes are full
_PREIMAGE_COST = 8  # multiplications by libsodium that a preimage by Python's numbers is worth
_UNIFORM_BYTES = 64
ORDER = 2**252 + 27742317777372353535851937790883648493  # RFC 9496, section 4.4
_SHA512_BLOCK_BYTES = 128

Points: TypeAlias = NDArray[np.uint8]


class Scalar:
    """A secret non-zero scalar of the group; hidden from repr and refused by pickle."""

    __slots__ = ("_encoding",)

    def __init__(self, encoding: bytes) -> None:
        """Take 32 little-endian bytes below the group order; only tests bring their own."""
        if len(encoding) != 32 or not any(encoding):
            raise ConfigError("a scalar is 32 bytes and not zero")
        self._encoding = encoding

    @classmethod
    def random(cls) -> "Scalar":
        """Return a uniform non-zero scalar from the operating system's generator."""
        reduce = _function("crypto_core_ristretto255_scalar_reduce", None, 2)
        reduced = ctypes.create_string_buffer(32)
        while not any(reduced.raw):
            # 64 bytes make the bias of the reduction less than 2^-250.
            reduce(reduced, secrets.token_bytes(64))
        return cls(reduced.raw)

    @classmethod
    def from_uniform(cls, uniform: bytes) -> "Scalar":
        """Reduce 64 uniform bytes, little-endian, modulo the group order."""
        reduced = ctypes.create_string_buffer(32)
        _function("crypto_core_ristretto255_scalar_reduce", None, 2)(reduced, uniform)
        return cls(reduced.raw)

    @classmethod
    def decode(cls, data: bytes) -> "Scalar":
        """Return the scalar that `reveal` wrote.

        Raises:
            DecodeError: The bytes are not 32, not below the group order, or zero.
        """
        if len(data) != 32 or not 0 < int.from_bytes(data, "little") < ORDER:
            raise DecodeError("not the canonical encoding of a non-zero scalar")
        return cls(data)

    def reveal(self) -> bytes:
        """Return the 32 little-endian bytes, for scalars of a proof and for a locked file."""
        return self._encoding

    def inverse(self) -> "Scalar":
        """Return the scalar whose product with this one is 1."""
        return self._computed("invert")

    def __mul__(self, other: "Scalar") -> "Scalar":
        return self._computed("mul", other._encoding)

    def __add__(self, other: "Scalar | int") -> "Scalar":
        """Add a scalar, or a whole number from 0 below 2^248."""
        encoding = other.to_bytes(32, "little") if isinstance(other, int) else other._encoding
        return self._computed("add", encoding)

    def __sub__(self, other: "Scalar") -> "Scalar":
        return self._computed("sub", other._encoding)

    def _computed(self, name: str, *operand: bytes) -> "Scalar":
        function = _function(f"crypto_core_ristretto255_scalar_{name}", None, 2 + len(operand))
        result = ctypes.create_string_buffer(32)
        function(result, self._encoding, *operand)
        return Scalar(result.raw)

    def __repr__(self) -> str:
        return "Scalar(<secret>)"

    def __reduce__(self) -> Never:
        raise TypeError("a secret scalar is not pickled: draw a fresh one in each session")


def expand_message_xmd(message: bytes, dst: bytes, length_bytes: int) -> bytes:
    """Return uniform bytes: expand_message_xmd of a message by SHA-512 (RFC 9380 section 5.3.1).

    Args:
        message: Any bytes.
        dst: The domain separation tag, 1 to 255 bytes.
        length_bytes: How many bytes to return, 1 to 16320.

    Raises:
        ConfigError: The tag or the length is out of range.
    """
    blocks = -(-length_bytes // 64)
    if not 1 <= blocks <= 255:
        raise ConfigError("expand_message_xmd gives 1 to 16320 bytes")
    dst_prime = _dst_prime(dst)
    suffix = length_bytes.to_bytes(2, "big") + b"\x00" + dst_prime
    first = hashlib.sha512(bytes(_SHA512_BLOCK_BYTES) + message + suffix).digest()
    block = hashlib.sha512(first + b"\x01" + dst_prime).digest()
    uniform = [block]
    for index in range(2, blocks + 1):
        mixed = bytes(a ^ b for a, b in zip(first, block, strict=True))
        block = hashlib.sha512(mixed + bytes([index]) + dst_prime).digest()
        uniform.append(block)
    return b"".join(uniform)[:length_bytes]


def hash_to_group(messages: Iterable[bytes], dst: bytes) -> Points:
    """Hash messages to group elements of unknown discrete logarithm (RFC 9497 section 4.1).

    Args:
        messages: n byte strings.
        dst: The domain separation tag, 1 to 255 bytes.

    Returns:
        Points of shape (n, 32).

    Raises:
        ConfigError: The tag is out of range.
    """
    # 64 bytes are one SHA-512 block of expand_message_xmd: hash the constant prefix once.
    dst_prime = _dst_prime(dst)
    prefix = hashlib.sha512(bytes(_SHA512_BLOCK_BYTES))
    suffix = _UNIFORM_BYTES.to_bytes(2, "big") + b"\x00" + dst_prime
    tail = b"\x01" + dst_prime
    uniform = bytearray()
    for message in messages:
        state = prefix.copy()
        state.update(message + suffix)
        uniform += hashlib.sha512(state.digest() + tail).digest()
    return _from_uniform(np.frombuffer(uniform, np.uint8).reshape(-1, _UNIFORM_BYTES))


def map_to_group(strings: NDArray[np.uint8]) -> Points:
    """Return what MAP (RFC 9496 section 4.3.4) makes of each row, the identity among it.

    Args:
        strings: Shape (n, 32); the last bit of a row does not count.

    Returns:
        Points of shape (n, 32).
    """
    # The map of 64 bytes adds two points. That of 32 zeros is the identity.
    return _from_uniform(np.hstack([strings, np.zeros_like(strings)]))


def preimages(
    points: Points, slots: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return a string that `map_to_group` takes to each point, where its slot has one.

    Args:
        points: Valid elements, shape (n, 32), none of them the identity.
        slots: Which of eight places to look into (`psi.group.preimages`): shape (n,).

    Returns:
        Little-endian field elements that are even, shape (n, 32); and a mask, shape (n,), of the
        rows where there is one. Other rows have no meaning.
    """
    compiled = _compiled(_PREIMAGE_COST * len(points))
    if compiled is not None:
        return cast("tuple[Points, NDArray[np.bool_]]", compiled.preimages(points, slots))
    strings, found = np.zeros_like(points), np.zeros(len(points), bool)
    for row, slot in enumerate(slots.tolist()):
        number = preimage(points[row].tobytes(), slot)
        if number is not None:
            strings[row] = np.frombuffer(number.to_bytes(POINT_BYTES, "little"), np.uint8)
            found[row] = True
    return strings, found


def multiply(scalar: Scalar, points: Points) -> Points:
    """Multiply each point by one scalar; refuse every encoding that RFC 9496 refuses.

    Args:
        scalar: The secret multiplier.
        points: Shape (n, 32), trusted or not.

    Returns:
        Points of shape (n, 32), none of them the identity.

    Raises:
        InvalidPointError: A row is not canonical, is negative, is not on the curve or is the
            identity.
    """
    return multiply_each(np.frombuffer(scalar._encoding, np.uint8)[None], points)  # noqa: SLF001  (of this module)


def multiply_each(scalars: NDArray[np.uint8], points: Points) -> Points:
    """Multiply each point by a secret scalar of its own; refuse what `multiply` refuses.

    Args:
        scalars: Encodings of non-zero scalars, shape (n, 32), or (1, 32) for one that is common.
        points: Shape (n, 32), trusted or not.

    Returns:
        Points of shape (n, 32), none of them the identity.

    Raises:
        InvalidPointError: As of `multiply`.
    """
    points, scalars = np.ascontiguousarray(points), np.ascontiguousarray(scalars)
    _refuse_top_bits(points)
    compiled = _compiled(len(points))
    if compiled is not None:
        products, valid = compiled.multiply(scalars, points)
        _refuse_all_but(valid)
        return cast("Points", products)
    product = np.empty_like(points)
    scalarmult = _function("crypto_scalarmult_ristretto255", ctypes.c_int, 3)
    out, inp, secret = product.ctypes.data, points.ctypes.data, scalars.ctypes.data
    step = POINT_BYTES if len(scalars) > 1 else 0
    for row in range(len(points)):
        offset = POINT_BYTES * row
        # Fails on invalid encodings, and on the identity, as the group has prime order.
        if scalarmult(out + offset, secret + step * row, inp + offset) != 0:
            raise InvalidPointError(_invalid(row))
    return product


def multiply_base(scalars: Iterable[Scalar]) -> Points:
    """Return the generator times each scalar: shape (n, 32)."""
    encodings = b"".join(scalar._encoding for scalar in scalars)  # noqa: SLF001  (of this module)
    return multiply_base_each(np.frombuffer(encodings, np.uint8).reshape(-1, POINT_BYTES))


def multiply_base_each(scalars: NDArray[np.uint8]) -> Points:
    """Return the generator times each scalar, encoded as for `multiply_each`: shape (n, 32)."""
    scalars = np.ascontiguousarray(scalars)
    product = np.empty((len(scalars), POINT_BYTES), np.uint8)
    scalarmult = _function("crypto_scalarmult_ristretto255_base", ctypes.c_int, 2)
    compiled = _compiled(len(scalars))
    if compiled is not None:
        scalarmult(product.ctypes.data, (1).to_bytes(POINT_BYTES, "little"))
        generator = np.broadcast_to(product[0], product.shape)
        return cast("Points", compiled.multiply(scalars, generator)[0])
    out, secret = product.ctypes.data, scalars.ctypes.data
    for offset in range(0, POINT_BYTES * len(scalars), POINT_BYTES):
        scalarmult(out + offset, secret + offset)
    return product


def add(left: Points, right: Points) -> Points:
    """Return row by row the sum of valid points, shape (n, 32), the identity among them.

    Raises:
        InvalidPointError: A row is no valid encoding.
    """
    return _combined("crypto_core_ristretto255_add", left, right)


def subtract(left: Points, right: Points) -> Points:
    """Return row by row left minus right; shapes and errors as for `add`."""
    return _combined("crypto_core_ristretto255_sub", left, right)


def check_points(points: Points) -> None:
    """Refuse what `multiply` refuses, without a multiplication.

    Raises:
        InvalidPointError: A row is not canonical, is negative, is not on the curve or is the
            identity.
    """
    points = np.ascontiguousarray(points)
    _refuse_top_bits(points)
    compiled = _compiled(len(points))
    if compiled is not None:
        _refuse_all_but(compiled.are_valid(points))
        return
    valid = _function("crypto_core_ristretto255_is_valid_point", ctypes.c_int, 1)
    inp = points.ctypes.data
    for row in range(len(points)):
        if valid(inp + POINT_BYTES * row) != 1 or not points[row].any():
            raise InvalidPointError(_invalid(row))


def points_from_bytes(data: bytes | memoryview) -> Points:
    """View a whole number of 32-byte encodings as points; `multiply` checks their validity."""
    return np.frombuffer(data, np.uint8).reshape(-1, POINT_BYTES)


def _from_uniform(source: NDArray[np.uint8]) -> Points:
    """Return the element that section 4.3.4 of RFC 9496 derives from each row of 64 bytes."""
    compiled = _compiled(len(source))
    if compiled is not None:
        return cast("Points", compiled.from_uniform(source))
    points = np.empty((len(source), POINT_BYTES), np.uint8)
    from_hash = _function("crypto_core_ristretto255_from_hash", ctypes.c_int, 2)
    out, inp = points.ctypes.data, source.ctypes.data
    for index in range(len(source)):
        from_hash(out + POINT_BYTES * index, inp + _UNIFORM_BYTES * index)
    return points


def _combined(name: str, left: Points, right: Points) -> Points:
    left, right = np.ascontiguousarray(left), np.ascontiguousarray(right)
    result = np.empty_like(left)
    function = _function(name, ctypes.c_int, 3)
    out, one, other = result.ctypes.data, left.ctypes.data, right.ctypes.data
    for offset in range(0, POINT_BYTES * len(left), POINT_BYTES):
        if function(out + offset, one + offset, other + offset) != 0:
            raise InvalidPointError(_invalid(offset // POINT_BYTES))
    return result


def _refuse_top_bits(points: Points) -> None:
    # libsodium 1.0.18 ignores the top bit, so 2^255 + s would pass as a second encoding of s.
    _refuse_all_but(points[:, POINT_BYTES - 1] < 0x80)


def _refuse_all_but(valid: NDArray[np.bool_]) -> None:
    if not valid.all():
        raise InvalidPointError(_invalid(int(np.argmin(valid))))


def _compiled(count: int) -> ModuleType | None:
    """Return the compiled group, if there is one and the batch is large enough."""
    loaded = "psi.compiled.ristretto" in sys.modules
    if count < (_FAST_FROM_LOADED if loaded else FAST_FROM) or not fast_available():
        return None
    from psi.compiled.ristretto_code import KIND

    return importlib.import_module("psi.compiled.ristretto") if KIND else None


def _invalid(row: int) -> str:
    return f"point {row} is not a valid ristretto255 element: the other side is faulty or hostile"


def _dst_prime(dst: bytes) -> bytes:
    if not 1 <= len(dst) <= 255:
        raise ConfigError("a domain separation tag has 1 to 255 bytes")
    return dst + bytes([len(dst)])


@functools.cache
def _function(name: str, result: type[ctypes.c_int] | None, arity: int) -> Callable[..., int]:
    # A prototype of our own does not change the one that rbcl uses.
    prototype = ctypes.CFUNCTYPE(result, *[ctypes.c_void_p] * arity)
    return cast("Callable[..., int]", prototype((name, _libsodium())))


@functools.cache
def _libsodium() -> ctypes.CDLL:
    # Loaded at first use, so that `import psi` stays fast.
    try:
        rbcl = importlib.import_module("rbcl")
    except OSError as error:
        raise ConfigError(
            f"libsodium cannot be loaded from {tempfile.gettempdir()}: set TMPDIR to a folder "
            "that is writable and not mounted noexec"
        ) from error
    library = cast("ctypes.CDLL", rbcl._sodium)  # noqa: SLF001  (rbcl has no other door)
    _remove_temporary_copy()
    return library


def _remove_temporary_copy() -> None:
    # rbcl leaves its 2.8 MB library in the temporary folder at each import. On POSIX a mapped file
    # stays usable without its name. Delete only a plain file of our own, in rbcl's place.
    if os.name != "posix":
        return
    path = Path(str(getattr(sys.modules.get("rbcl._sodium"), "lib_path", "")))
    with contextlib.suppress(OSError):
        found = path.lstat()
        ours = stat.S_ISREG(found.st_mode) and found.st_uid == os.getuid()
        if ours and path.suffix == ".so" and path.parent == Path(tempfile.gettempdir()):
            path.unlink()
