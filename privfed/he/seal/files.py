"""SEAL, loaded late, and its objects as bytes.

`sealapi` saves and loads by path only. A file in memory serves where the system has one; a
temporary file elsewhere.
"""

import os
import struct
import tempfile
import threading
import zlib
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any

from privfed.errors import ConfigError, LayoutError
from psi.storage import Process

SEED_BYTES = 64  # of SEAL's generators

_HEADER = struct.Struct("<HBBBBHQ")  # magic, header size, version (2), compression, 0, total size
_MAGIC = 0xA15E
HEADER_BYTES = _HEADER.size


@cache
def seal() -> Any:
    """Return SEAL's module: 0.1 s the first time, and the server rarely needs it.

    Raises:
        ConfigError: It is not installed.
    """
    return _installed("tenseal.sealapi", "TenSEAL")


def _installed(module: str, name: str) -> Any:
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0]:
            raise
        raise ConfigError(f"{name} is not installed: pip install 'privfed[aggregate]'") from None


class _Scratch:
    """A file of one thread's own, closed when the thread ends."""

    def __init__(self) -> None:
        self.process = Process()
        self._in_memory = hasattr(os, "memfd_create")
        if self._in_memory:
            self.handle = os.memfd_create("privfed", os.MFD_CLOEXEC)
            self.path = f"/proc/{os.getpid()}/fd/{self.handle}"
        else:
            self.handle, self.path = tempfile.mkstemp()

    def __del__(self) -> None:
        os.close(self.handle)
        if not self._in_memory and self.process.is_this:
            os.unlink(self.path)  # noqa: PTH108 - pathlib may be gone when the interpreter ends


_local = threading.local()


def _scratch() -> _Scratch:
    held: _Scratch | None = getattr(_local, "scratch", None)
    if held is None or not held.process.is_this:  # a fork must not share its parent's file
        held = _local.scratch = _Scratch()
    return held


def read(save: Callable[[str], object]) -> bytes:
    """Return the bytes that `save` writes to the path it is given."""
    scratch = _scratch()
    save(scratch.path)
    data = os.pread(scratch.handle, os.fstat(scratch.handle).st_size, 0)
    os.ftruncate(scratch.handle, 0)
    return data


def saved(thing: Any) -> bytes:
    """Return the bytes of a SEAL object after SEAL's header, decompressed.

    Raises:
        LayoutError: The header is not the one that SEAL writes since its version 3.6.
    """
    data = read(thing.save)
    magic, size, _, _, compression, _, total = _HEADER.unpack_from(data)
    if (magic, size, total) != (_MAGIC, HEADER_BYTES, len(data)) or compression not in (0, 1, 2):
        raise LayoutError("SEAL's header is not the one we know")
    body = data[HEADER_BYTES:]
    if compression == 2:
        return bytes(_decompressor().decompress(body, max_output_size=1 << 21))
    return zlib.decompress(body) if compression else body


def framed(body: bytes | memoryview) -> bytes:
    """Return `body` behind SEAL's header, uncompressed."""
    major, minor = _version()
    size = HEADER_BYTES + len(body)
    return _HEADER.pack(_MAGIC, HEADER_BYTES, major, minor, 0, 0, size) + body


def _decompressor() -> Any:
    """Return this thread's own: two threads in one corrupt each other's output, without a word."""
    held = getattr(_local, "decompressor", None)
    if held is None:
        held = _local.decompressor = _installed("zstandard", "zstandard").ZstdDecompressor()
    return held


@cache
def _version() -> tuple[int, int]:
    header = _HEADER.unpack_from(read(seal().Plaintext("1").save))
    return header[2], header[3]


def write(data: bytes | memoryview, load: Callable[[str], object]) -> None:
    """Call `load` with the path of a file that holds `data`."""
    scratch = _scratch()
    os.pwrite(scratch.handle, data, 0)
    try:
        load(scratch.path)
    finally:
        os.ftruncate(scratch.handle, 0)


def write_ending(like: bytes, ending: bytes, load: Callable[[str], object]) -> None:
    """Call `load` with the path of a file that holds `like` with other last bytes.

    One file for many objects that differ by these alone: the rest is written when `like` changes.
    """
    held: tuple[bytes, _Scratch] | None = getattr(_local, "ending", None)
    if held is None or held[0] is not like or not held[1].process.is_this:
        held = _local.ending = (like, _Scratch())
        os.pwrite(held[1].handle, like, 0)
    os.pwrite(held[1].handle, ending, len(like) - len(ending))
    load(held[1].path)


def context_of(parameters: Any) -> Any:
    """Return SEAL's context at 128-bit security.

    Raises:
        LayoutError: SEAL refuses the parameters.
    """
    context = seal().SEALContext(parameters, True, seal().SEC_LEVEL_TYPE.TC128)
    if not context.parameters_set():
        raise LayoutError(f"SEAL refuses our parameters: {context.parameters_error_message()}")
    return context


def seeded_key(parameters: Any, seed: bytes) -> Any:
    """Return SEAL's ternary secret key drawn by SEAL's own generator from a 64-byte `seed`."""
    factory = seal().Blake2xbPRNGFactory(list(struct.unpack("<8Q", seed)))
    seeded = seal().EncryptionParameters(parameters)
    seeded.set_random_generator(factory)
    drawn = seal().KeyGenerator(context_of(seeded)).secret_key()
    # Only the key itself moves to a context whose generator the operating system seeds.
    key = seal().SecretKey()
    write(read(drawn.save), lambda path: key.load(context_of(parameters), path))
    return key
