"""SEAL, loaded late, and its objects as bytes.

``sealapi`` saves and loads by path only. A file in memory serves where the system has one; a
temporary file elsewhere.
"""

import os
import struct
import tempfile
import threading
from collections.abc import Callable
from functools import cache
from typing import Any

from privfed.errors import ConfigError

SEED_BYTES = 64  # of SEAL's generators


class LayoutError(ConfigError):
    """This SEAL is not the one that the packed scheme was written for; ``slots`` works."""


@cache
def seal() -> Any:
    """Return SEAL's module: 0.1 s the first time, and the server rarely needs it."""
    import tenseal.sealapi as sealapi

    return sealapi


_local = threading.local()


def _file() -> str:
    """Return the path of a file of this thread's own."""
    if getattr(_local, "process", None) != os.getpid():  # a fork must not share its parent's file
        if hasattr(os, "memfd_create"):
            handle = os.memfd_create("privfed", os.MFD_CLOEXEC)
            _local.path = f"/proc/{os.getpid()}/fd/{handle}"
        else:
            handle, _local.path = tempfile.mkstemp()
        _local.handle, _local.process = handle, os.getpid()
    return str(_local.path)


def read(save: Callable[[str], object]) -> bytes:
    """Return the bytes that ``save`` writes to the path it is given."""
    save(_file())
    data = os.pread(_local.handle, os.fstat(_local.handle).st_size, 0)
    os.ftruncate(_local.handle, 0)
    return data


def write(data: bytes | memoryview, load: Callable[[str], object]) -> None:
    """Call ``load`` with the path of a file that holds ``data``."""
    path = _file()
    os.pwrite(_local.handle, data, 0)
    try:
        load(path)
    finally:
        os.ftruncate(_local.handle, 0)


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
    """Return SEAL's ternary secret key drawn by SEAL's own generator from a 64-byte ``seed``."""
    factory = seal().Blake2xbPRNGFactory(list(struct.unpack("<8Q", seed)))
    seeded = seal().EncryptionParameters(parameters)
    seeded.set_random_generator(factory)
    drawn = seal().KeyGenerator(context_of(seeded)).secret_key()
    # Only the key itself moves to a context whose generator the operating system seeds.
    key = seal().SecretKey()
    write(read(drawn.save), lambda path: key.load(context_of(parameters), path))
    return key
