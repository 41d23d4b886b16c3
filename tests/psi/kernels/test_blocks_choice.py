"""Which way blocks go: by size, by what is loaded and by what the processor has."""

import sys

import numpy as np
import pytest

from psi.kernels import FAST_FROM, blocks, blocks_portable

pytest.importorskip("numba")
from llvmlite import binding as llvm
from numba.core import config
from numba.core.codegen import get_host_cpu_features

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


def test_machine_code_is_kept_for_each_processor_and_width() -> None:
    # numba's cache on disk: code for another width or processor has another key.
    keys = set()
    for lanes in range(1, blocks_code.host_lanes() + 1):
        if lanes != 3:
            encrypt = blocks_fast.kernels_for(lanes)._encrypt
            key = encrypt._cache._index_key(encrypt.signatures[0], encrypt.targetctx.codegen())
            assert {llvm.get_host_cpu_name(), get_host_cpu_features()} <= set(key[1])
            keys.add(key)
    assert len(keys) == {0: 0, 1: 1, 2: 2, 4: 3}[blocks_code.host_lanes()]
