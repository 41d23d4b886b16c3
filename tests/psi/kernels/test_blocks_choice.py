"""Which way blocks go: by size, by what is loaded and by what the processor has."""

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

from psi.kernels import blocks, blocks_portable
from psi.kernels.blocks import FAST_FROM

pytest.importorskip("numba")
from numba.core import config

from psi.kernels import blocks_code, blocks_fast


@pytest.mark.parametrize(
    ("features", "lanes"),
    [
        ("", 0),
        ("+neon,+aes", 0),
        ("+sse4.1,+aes,-pclmul", 0),
        ("+sse4.1,+aes,+pclmul", 1),
        ("+sse4.1,+aes,+pclmul,+avx2,+avx512f,+avx512bw", 1),
        ("+sse4.1,+aes,+pclmul,+avx2,+vaes,+vpclmulqdq,-avx512f", 2),
        ("+sse4.1,+aes,+pclmul,+avx2,+vaes,+vpclmulqdq,+avx512f,+avx512bw", 4),
    ],
)
def test_instructions_are_taken_as_far_as_they_go(
    monkeypatch: pytest.MonkeyPatch, features: str, lanes: int
) -> None:
    monkeypatch.setattr(config, "CPU_FEATURES", features)
    assert blocks_code.host_lanes.__wrapped__() == lanes


@pytest.mark.parametrize(
    ("size", "loaded", "installed", "lanes", "compiled"),
    [
        (FAST_FROM - 1, False, True, 4, False),
        (FAST_FROM, False, True, 4, True),
        (1, True, True, 1, True),
        (FAST_FROM, True, False, 4, False),
        (FAST_FROM, True, True, 0, False),
    ],
)
def test_compiled_code_is_for_large_sizes_where_it_runs(
    monkeypatch: pytest.MonkeyPatch,
    size: int,
    loaded: bool,
    installed: bool,
    lanes: int,
    compiled: bool,
) -> None:
    taken: list[object] = []
    made = np.empty((size, 2), np.uint64)

    class Compiled:
        def encrypt(self, key: bytes, given: np.ndarray) -> np.ndarray:
            taken.append(lanes)
            return given

    def encrypt(key: bytes, given: np.ndarray) -> np.ndarray:
        taken.append("portable")
        return given

    monkeypatch.setattr(blocks, "fast_available", lambda: installed)
    monkeypatch.setattr(blocks_code, "host_lanes", lambda: lanes)
    monkeypatch.setattr(blocks_fast, "kernels_for", lambda lanes: Compiled())
    monkeypatch.setattr(blocks_portable, "encrypt", encrypt)
    if not loaded:
        monkeypatch.delitem(sys.modules, "psi.kernels.blocks_fast")
    blocks.encrypt(bytes(16), made)
    assert taken == [lanes if compiled else "portable"]


_ELSEWHERE = """
import hashlib
from psi.kernels import blocks, blocks_code
from psi.kernels.blocks import FAST_FROM
blocks.load()
vectors = blocks.counter_blocks(bytes(16), FAST_FROM // 2).reshape(-1, 2, 2)
made = blocks.encode(vectors, bytes(16)).tobytes() + blocks.hash_blocks(vectors[:, 0]).tobytes()
print(blocks_code.host_lanes(), hashlib.sha256(made).hexdigest())
"""


@pytest.mark.skipif(blocks_code.host_lanes() == 0, reason="no instructions to leave out")
def test_an_older_processor_computes_the_same() -> None:
    # As if this machine were one of 2010, or had no such instructions at all: LLVM would end the
    # process at one that it does not know. Code for this machine is in the same cache beside it.
    old = "+sse,+sse2,+sse3,+ssse3,+sse4.1,+sse4.2,+cx8"
    said = []
    for name, features in (("westmere", f"{old},+aes,+pclmul"), ("x86-64", old)):
        told = {"NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": features}
        run = subprocess.run(
            [sys.executable, "-c", _ELSEWHERE],
            env=os.environ | told,
            check=True,
            capture_output=True,
            text=True,
        )
        said.append(run.stdout.split())
    assert [lanes for lanes, _ in said] == ["1", "0"]
    vectors = blocks.counter_blocks(bytes(16), FAST_FROM // 2).reshape(-1, 2, 2)
    made = blocks.encode(vectors, bytes(16)).tobytes() + blocks.hash_blocks(vectors[:, 0]).tobytes()
    assert {digest for _, digest in said} == {hashlib.sha256(made).hexdigest()}
