"""Encryptions of zero of the next rounds, made in another process while this one trains.

They need no update, and are most of what encryption costs. TenSEAL holds Python's lock while it
makes them, so a thread would only take turns with the training; a process of low priority takes a
core that is idle. It is started where a process may use two cores and an update has enough blocks
to make it worth while, and it ends with its parent.

The other process is given, by a pipe, the seed of SEAL's key and nothing else: it can make and
decrypt ciphertexts as its parent can, but no tags, hashes, masks or signatures. Whatever becomes of
it is no error here: what it did not make is made when it is needed.
"""

import hmac
import os
import struct
import subprocess
import sys
import threading
import weakref
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple, NoReturn, cast

import numpy as np

from privfed.errors import ReplayError
from privfed.he import MODULUS, RING_DEGREE, Words, seal
from psi.storage import Process

AHEAD_BYTES = 64 << 20
"""Most memory, by default, for what a party has made ahead."""

_LEAST_BLOCKS = 8  # below, making them takes 5 ms a round: a process of 55 MB is not worth it
_NICE = 10
_SEED_BYTES = 64
_ASK = struct.Struct("<I")
_POLY_BYTES = 8 * RING_DEGREE


class ZeroBlock(NamedTuple):
    """An encryption of zero: c0, the seed of c1, and c1 itself where it was asked for."""

    c0: Words
    seed: bytes
    c1: Words | None


class Ahead:
    """Blocks that another process makes, each handed out once. Safe under threads.

    Args:
        seed: `seal.key_seed` of the parties' key.
        blocks: Blocks of one update.
        expands: Whether c1 is made, too.
        most_bytes: Most memory for blocks of two updates: those of one wait here, and those of
            another at who took them for the next round. 0: no process is started.
    """

    def __init__(
        self, seed: bytes, blocks: int, *, expands: bool, most_bytes: int = AHEAD_BYTES
    ) -> None:
        self._seed, self._expands, self.blocks = seed, expands, blocks
        fitting = most_bytes // ((1 + expands) * _POLY_BYTES + _SEED_BYTES)
        self.fits_two = fitting >= 2 * blocks
        self._most = blocks if self.fits_two else fitting
        self._inbox = _Inbox()
        self._asked = 0  # in all, arrived or not
        self._taken = 0
        self._one = threading.Lock()
        self._process = Process()
        self._pipes: tuple[BinaryIO, ...] = ()
        self._end = weakref.finalize(self, _Inbox.close, self._inbox)
        if blocks < _LEAST_BLOCKS or not self._most or _cores() < 2:
            self.close()

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise ReplayError("encryptions of zero are not pickled or copied; prepare() others")

    @property
    def pid(self) -> int | None:
        """The other process, if there is one."""
        process = self._inbox.process
        return None if process is None or self._inbox.closed else process.pid

    @property
    def ready(self) -> int:
        """Blocks that wait here."""
        return len(self._inbox.blocks) if self._process.is_this else 0

    def start(self) -> None:
        """Let blocks be made from here on; does nothing where that is not worth while."""
        with self._one:
            if self._inbox.closed or self._pipes or not self._process.is_this:
                return
            try:
                self._started()
            except OSError:
                self.close()
            self._ask()

    def take(self, blocks: int) -> Sequence[ZeroBlock]:
        """Return at most so many blocks, those that are there; others will be made instead."""
        if not self._pipes or not self._process.is_this:
            return ()
        with self._one:
            found = self._inbox.taken(blocks)
            self._taken += len(found)
            self._ask()
            return found

    def settle(self) -> None:
        """Wait until all that may be made ahead is there, or will never be."""
        with self._inbox.arrived:
            self._inbox.arrived.wait_for(
                lambda: self._inbox.closed or self._taken + len(self._inbox.blocks) >= self._asked
            )

    def close(self) -> None:
        """End the other process and forget what it made."""
        self._end()
        self._seed = b""

    def _started(self) -> None:
        python = _python()
        if python is None:
            raise OSError("this program is no Python that could be started")
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        process = subprocess.Popen(  # noqa: S603 - this very Python, with nothing from without
            [
                python,
                "-I" if sys.flags.isolated else "-P",
                "-c",
                f"import {__name__} as it; it.make_blocks()",
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env=os.environ | threads,
            start_new_session=True,  # Ctrl-C is for the parent
        )
        asks, says = cast(BinaryIO, process.stdin), cast(BinaryIO, process.stdout)
        self._pipes, self._inbox.process = (asks, says), process
        _live.add(self)
        # It must not hold this object, or nothing would ever collect it.
        reading = self._inbox, says, _hello(self._seed), self._expands
        threading.Thread(target=_Inbox.read, args=reading, daemon=True).start()
        asks.write(self._seed + bytes([self._expands]))
        self._seed = b""

    def _ask(self) -> None:
        """Ask for as many blocks as there is room for."""
        wanted = self._most - (self._asked - self._taken)
        if wanted > 0 and self.pid is not None:
            try:
                self._pipes[0].write(_ASK.pack(wanted))
            except (OSError, ValueError):  # it ended, and the pipe may be closed by who noticed
                self.close()
            self._asked += wanted

    def leave(self) -> None:
        """Let go of the other process in a fork: it must see its parent end, and be read by one."""
        for pipe in self._pipes:
            pipe.close()
        self._inbox.blocks.clear()


class _Inbox:
    """What has arrived: all that the thread which reads knows of."""

    def __init__(self) -> None:
        self.arrived = threading.Condition()
        self.blocks = deque[ZeroBlock]()
        self.closed = False
        self.process: subprocess.Popen[bytes] | None = None
        self._made_in = Process()

    def taken(self, most: int) -> list[ZeroBlock]:
        with self.arrived:
            return [self.blocks.popleft() for _ in range(min(most, len(self.blocks)))]

    def close(self) -> None:
        """End the process, and forget what it made."""
        if self._made_in.is_this:
            self._closed()
            self.blocks.clear()

    def _closed(self) -> None:
        with self.arrived:
            self.closed = True
            self.arrived.notify_all()
        if self.process is not None:
            self.process.kill()  # at once: it has nothing to finish
            self.process.wait()
            cast(BinaryIO, self.process.stdin).close()

    def read(self, pipe: BinaryIO, hello: bytes, expands: bool) -> None:
        """Take in blocks until the process ends; what it says first must be what it was told."""
        with suppress(OSError, ValueError), pipe:
            first = _filled(pipe, bytearray(len(hello)))
            while first is not None and hmac.compare_digest(first, hello):
                block = _block(pipe, expands)
                if block is None:
                    break
                with self.arrived:
                    if self.closed:
                        break
                    self.blocks.append(block)
                    self.arrived.notify_all()
        self._closed()  # what has arrived is as good as before


def _block(pipe: BinaryIO, expands: bool) -> ZeroBlock | None:
    """Return the next block, or None where there is no other, or this is none."""
    data = _filled(pipe, bytearray(_POLY_BYTES * (1 + expands) + _SEED_BYTES))
    if data is None:
        return None
    words = np.frombuffer(data, "<u8", RING_DEGREE * (1 + expands)).astype(np.uint64, copy=False)
    if words.max() >= MODULUS:
        return None
    c1 = words[RING_DEGREE:] if expands else None
    return ZeroBlock(words[:RING_DEGREE], bytes(data[-_SEED_BYTES:]), c1)


def _filled(pipe: BinaryIO, buffer: bytearray) -> bytearray | None:
    """Return the buffer, filled; None where the pipe ends before."""
    rest = memoryview(buffer)
    while rest:
        count = pipe.readinto(rest)  # type: ignore[attr-defined]  # raw, as bufsize=0 makes them
        if not count:
            return None
        rest = rest[count:]
    return buffer


def _hello(seed: bytes) -> bytes:
    """Return what the process says first; what else may be printed is not taken for it."""
    return hmac.digest(seed, b"privfed/1/ahead", "sha256")


def make_blocks() -> None:
    """Be the other process: a key's seed comes in, and blocks go out, until the parent ends."""
    told, says = os.fdopen(0, "rb", 0), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what anything prints is no block
    if hasattr(os, "nice"):
        os.nice(_NICE)
    first = _filled(told, bytearray(_SEED_BYTES + 1))
    if first is None:
        return
    seed, expands = bytes(first[:_SEED_BYTES]), bool(first[_SEED_BYTES])
    key = seal.drawn_key(seed)
    with suppress(BrokenPipeError), says:
        says.write(_hello(seed))
        says.flush()
        while (asked := _filled(told, bytearray(_ASK.size))) is not None:
            for _ in range(*_ASK.unpack(asked)):
                words, seeds = seal.encrypt_zeros(key, 1)
                says.write(words.astype("<u8", copy=False).data)
                if expands:
                    c1 = seal.second_half(seal.expand_sum([seeds]))
                    says.write(c1.astype("<u8", copy=False).data)
                says.write(seeds)
                says.flush()


def _python() -> str | None:
    """Return the Python that runs this, which a program that embeds one may not be."""
    name = sys.executable
    frozen = getattr(sys, "frozen", False)
    return name if name and not frozen and "python" in Path(name).name.lower() else None


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


_live = weakref.WeakSet[Ahead]()


def _leave_all() -> None:
    for each in list(_live):
        each.leave()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_all)
