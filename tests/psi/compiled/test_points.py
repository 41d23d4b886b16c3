"""The vectorised group against libsodium and RFC 9496, on every class of input, valid or not."""

import itertools
import json
import os
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from psi.errors import InvalidPointError
from psi.group import ristretto255 as groups
from psi.group.ristretto255 import FAST_FROM, Points, Scalar, hash_to_group
from psi.protocols.ecdh import Receiver, Sender
from tests.places import VECTORS

pytest.importorskip("numba")

import numba
from numba.core import config

from psi.compiled import ristretto_code
from psi.compiled.compiling import code_fingerprint, compiled
from psi.compiled.field import P
from psi.compiled.field_32 import Element32
from psi.compiled.field_52 import Element52

if ristretto_code.KIND is None:
    pytest.skip("the processor lacks AVX2", allow_module_level=True)

from psi.compiled import ristretto

RFC9496 = json.loads((VECTORS / "ristretto255_rfc9496.json").read_text())
ORDER = 2**252 + 27742317777372353535851937790883648493  # RFC 9496, section 4.4
MULTIPLES = [bytes.fromhex(one) for one in RFC9496["multiples_of_generator"]]
INVALID = [bytes.fromhex(one) for group in RFC9496["invalid_encodings"].values() for one in group]

# Around 0, p and 2^255, and limbs that are all ones or nearly, for limbs of 51, 26 and 25 bits.
PATTERNS = [
    sum(limb << sum(widths[:k]) for k, limb in enumerate(limbs)) % 2**256
    for widths in ((51,) * 5, (26, 25) * 5)
    for k, width in enumerate(widths)
    for limbs in (
        [(1 << w) - 1 if j == k else 0 for j, w in enumerate(widths)],
        [0 if j == k else (1 << w) - 1 for j, w in enumerate(widths)],
        [1 if j == k else (1 << w) - 2 for j, w in enumerate(widths)],
    )
]
EDGES = [
    *range(40), *range(P - 40, P + 40), *range(2**255 - 5, 2**255 + 5), *range(2**256 - 40, 2**256),
    *PATTERNS, *(2**k for k in range(0, 256, 17)), (P - 1) // 2, (P + 1) // 2,
]  # fmt: skip


def rows(strings: list[bytes]) -> Points:
    return np.frombuffer(b"".join(strings), np.uint8).reshape(len(strings), -1)


def encoded(numbers: list[int]) -> Points:
    return rows([number.to_bytes(32, "little") for number in numbers])


def libsodium_multiply(scalar: bytes, point: bytes) -> bytes | None:
    """What the group gives by libsodium: None where it refuses."""
    try:
        return groups.multiply(Scalar(scalar), rows([point])).tobytes()
    except InvalidPointError:
        return None


def assert_same(scalar: bytes, points: Points) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Multiply and check by both; returns what is valid."""
    product, valid = ristretto.multiply(rows([scalar]), points)
    expected = [libsodium_multiply(scalar, point.tobytes()) for point in points]
    found = [row.tobytes() if ok else None for row, ok in zip(product, valid, strict=True)]
    assert found == expected
    return valid


def libsodium_accepts(point: Points) -> bool:
    try:
        groups.check_points(point.reshape(1, 32))
    except InvalidPointError:
        return False
    return True


def assert_same_validity(points: Points) -> None:
    assert ristretto.are_valid(points).tolist() == [libsodium_accepts(point) for point in points]


def assert_same_map(uniform: Points) -> None:
    import rbcl

    expected = [rbcl.crypto_core_ristretto255_from_hash(row.tobytes()) for row in uniform]
    assert ristretto.from_uniform(uniform).tobytes() == b"".join(expected)


# -- known answers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("multiple", range(1, 16))
def test_multiples_of_the_generator(multiple: int) -> None:
    product, valid = ristretto.multiply(encoded([multiple]), rows(MULTIPLES[1:]))
    assert valid.all()
    assert product[0].tobytes() == MULTIPLES[multiple]


def test_invalid_encodings() -> None:
    product, valid = ristretto.multiply(encoded([1]), rows(INVALID))
    assert not valid.any()
    assert not ristretto.are_valid(rows(INVALID)).any()
    # Each of them in each lane beside valid ones, which it must not disturb.
    for lane, encoding in itertools.product(range(8), INVALID):
        points = MULTIPLES[1:9]
        points[lane] = encoding
        product, valid = ristretto.multiply(encoded([1]), rows(points))
        assert np.flatnonzero(~valid).tolist() == [lane]
        assert np.array_equal(product[valid], rows(points)[valid])


@pytest.mark.parametrize("vector", RFC9496["element_derivation"])
def test_element_derivation(vector: dict[str, str]) -> None:
    element = ristretto.from_uniform(rows([bytes.fromhex(vector["uniform_bytes"])]))
    assert element.tobytes().hex() == vector["element"]


# -- against libsodium -----------------------------------------------------------------------------


def test_edges_as_points() -> None:
    valid = assert_same(bytes([5] * 32), encoded(EDGES))
    assert_same_validity(encoded(EDGES))
    assert 0 < valid.sum() < len(EDGES)  # both kinds are there
    assert not valid[[number >= P or bool(number & 1) for number in EDGES]].any()


def test_edges_to_be_mapped() -> None:
    halves = [number.to_bytes(32, "little") for number in EDGES]
    assert_same_map(rows([one + other for one, other in zip(halves, halves[::-1], strict=True)]))
    assert_same_map(rows([one + one for one in halves]))  # the two points are the same


@given(st.lists(st.binary(min_size=32, max_size=32) | st.sampled_from(
    [number.to_bytes(32, "little") for number in EDGES] + MULTIPLES + INVALID
), min_size=1, max_size=20), st.binary(min_size=32, max_size=32).filter(any))  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_any_strings_as_points(strings: list[bytes], scalar: bytes) -> None:
    assert_same(scalar, rows(strings))
    assert_same_validity(rows(strings))


@given(st.lists(st.binary(min_size=64, max_size=64), min_size=1, max_size=20))
@settings(max_examples=60, deadline=None)
def test_any_strings_to_be_mapped(strings: list[bytes]) -> None:
    assert_same_map(rows(strings))


SCALARS = [
    *range(1, 40), *range(ORDER - 20, ORDER + 20), *range(8 * ORDER - 2, 8 * ORDER + 3),
    *(2**k for k in range(256)), *(2**k - 1 for k in range(1, 257)),
    *(int.from_bytes(bytes([byte] * 32), "little") for byte in (0x77, 0x78, 0x87, 0x88, 0x80, 8)),
]  # fmt: skip


@pytest.mark.parametrize("part", range(4))
def test_scalars_at_their_edges(part: int) -> None:
    # Some of these are multiples of the order (the product is the identity, which is refused),
    # some above it, some have the top bit, which does not count.
    points = hash_to_group([b"x", b"y", b"z"], b"some tag")
    for scalar in SCALARS[part::4]:
        valid = assert_same(scalar.to_bytes(32, "little"), points)
        assert valid.all() == (scalar % 2**255 % ORDER != 0)


def test_the_zero_scalar_gives_nothing() -> None:
    _, valid = ristretto.multiply(encoded([0]), hash_to_group([b"x"], b"some tag"))
    assert not valid.any()


@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 1030])
def test_a_scalar_for_each_point(count: int) -> None:
    points = ristretto.from_uniform(np.frombuffer(os.urandom(64 * count), np.uint8).reshape(-1, 64))
    edges = SCALARS[:: max(1, len(SCALARS) // count)][: count // 2]
    scalars = rows([os.urandom(32) for _ in range(count)]).copy()
    scalars[: len(edges)] = encoded(edges) if edges else 0
    product, valid = ristretto.multiply(scalars, points)
    for row in range(count):
        expected = libsodium_multiply(scalars[row].tobytes(), points[row].tobytes())
        assert (product[row].tobytes() if valid[row] else None) == expected


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 500, 1025])
def test_every_number_of_points(count: int) -> None:
    uniform = np.frombuffer(os.urandom(64 * count), np.uint8).reshape(count, 64)
    assert_same_map(uniform)
    points = ristretto.from_uniform(uniform)
    assert assert_same(os.urandom(32), points).shape == (count,)


def test_many_random_points() -> None:
    uniform = np.frombuffer(os.urandom(64 * 20_000), np.uint8).reshape(-1, 64)
    points = ristretto.from_uniform(uniform)
    assert_same_map(uniform[:5_000])
    assert assert_same(os.urandom(32), points).all()
    assert_same(os.urandom(32), uniform[:, :32])
    assert_same_validity(uniform[:, 32:])


# -- through the group's door ----------------------------------------------------------------------


@pytest.mark.parametrize("row", [0, 7, 8, 100, 127])
@pytest.mark.parametrize("wrong", [bytes(32), INVALID[3], b"\xff" * 32])
def test_the_wrong_row_is_named(monkeypatch: pytest.MonkeyPatch, row: int, wrong: bytes) -> None:
    points = hash_to_group([bytes([k]) for k in range(128)], b"some tag")
    points[row] = np.frombuffer(wrong, np.uint8)
    for fast_from in (1, 129):
        monkeypatch.setattr(groups, "FAST_FROM", fast_from)
        with pytest.raises(InvalidPointError, match=rf"point {row} "):
            groups.multiply(Scalar.random(), points)
        with pytest.raises(InvalidPointError, match=rf"point {row} "):
            groups.check_points(points)


def test_it_is_taken_for_large_batches_only(monkeypatch: pytest.MonkeyPatch) -> None:
    assert groups._compiled(63) is None
    assert groups._compiled(64) is groups._compiled(FAST_FROM) is ristretto  # as it is loaded
    with monkeypatch.context() as patch:
        patch.delitem(sys.modules, ristretto.__name__)
        assert groups._compiled(FAST_FROM - 1) is None
        assert ristretto.__name__ not in sys.modules
    monkeypatch.setattr(ristretto_code, "KIND", None)
    assert groups._compiled(FAST_FROM) is None


def test_without_numba_large_batches_go_through_libsodium(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "FAST_FROM", 4)
    messages, scalar = [bytes([k]) for k in range(20)], Scalar.random()
    compiled = groups.multiply(scalar, hash_to_group(messages, b"some tag"))
    monkeypatch.setattr(groups, "fast_available", lambda: False)
    assert np.array_equal(compiled, groups.multiply(scalar, hash_to_group(messages, b"some tag")))


def test_small_sets_do_not_load_numba() -> None:
    code = """
import sys
import psi
from psi.group.ristretto255 import FAST_FROM, check_points, hash_to_group

psi.align(list(range(500)), list(range(500)))
hash_to_group([b""] * (FAST_FROM - 1), b"some tag")
print("numba" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_one_side_with_it_and_one_without(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = [bytes([k, 1]) for k in range(30)]
    receiver = Receiver([*shared, b"one"])
    sender = Sender([b"another", *shared[::-1]])
    message = receiver.start()
    for party, fast_from in itertools.cycle([(sender, 1), (receiver, FAST_FROM)]):
        if message is None:
            break
        monkeypatch.setattr(groups, "FAST_FROM", fast_from)
        message = party.receive(message)
    assert sorted(receiver.matches.tolist()) == list(range(30))
    assert sorted(sender.matches.tolist()) == list(range(1, 31))


def test_no_folder_to_keep_compiled_code_in(monkeypatch: pytest.MonkeyPatch) -> None:
    compile_ = numba.njit

    def without_folders(*arguments: Any, cache: bool = False, **options: Any) -> Any:
        if cache:  # as numba does where neither the package's nor the user's folder is writable
            raise RuntimeError("cannot cache function: no locator available")
        return compile_(*arguments, **options)

    monkeypatch.setattr(numba, "njit", without_folders)
    double: Any = compiled(numba.int64, result=numba.int64)(lambda number: 2 * number)
    assert double(21) == 42


# -- what is generated -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("features", "kind"),
    [
        ("+avx2,+avx512f,+avx512ifma", Element52),
        ("+avx2,+avx512f,-avx512ifma", Element32),
        ("+avx2", Element32),
        ("+sse2,-avx2", None),
        ("+neon,+fp-armv8", None),
        ("", None),
    ],
)
def test_the_way_follows_the_processor(
    monkeypatch: pytest.MonkeyPatch, features: str, kind: type | None
) -> None:
    monkeypatch.setattr(config, "CPU_FEATURES", features)
    assert ristretto_code._kind() is kind


def test_other_sources_are_compiled_afresh(tmp_path: Path) -> None:
    def module(name: str, text: str) -> ModuleType:
        (tmp_path / f"{name}.py").write_text(text)
        spec = spec_from_file_location(name, tmp_path / f"{name}.py")
        assert spec is not None
        return module_from_spec(spec)

    one, same, other = module("one", "1"), module("same", "1"), module("other", "2")
    assert code_fingerprint(one) == code_fingerprint(same) != code_fingerprint(other)

    def loaded(source: int) -> int:
        """From the cache, rather than compiled."""

        @compiled(numba.int64, result=numba.int64)
        def shifted(number: Any) -> Any:
            _ = source
            return number + 1

        return sum(shifted.stats.cache_hits.values())  # type: ignore[attr-defined]

    fresh = int.from_bytes(os.urandom(7))
    assert [loaded(fresh), loaded(fresh), loaded(fresh + 1)] == [0, 1, 0]


# Compiled afresh: what is in the cache passed these tests before.
FRESH = """
import os, re, sys
import numpy as np
from psi.group import ristretto255 as groups
from psi.group.ristretto255 import Scalar, hash_to_group
from psi.compiled import ristretto

print(ristretto.KIND.__name__)
messages, scalar = [os.urandom(8) for _ in range(600)], Scalar.random()
points = hash_to_group(messages, b"tag")
product = groups.multiply(scalar, points)
strings = np.frombuffer(os.urandom(32 * 600), np.uint8).reshape(-1, 32).copy()
strings[:, 31] &= 127
expected = []
for row in range(len(strings)):
    try:
        groups.check_points(strings[row : row + 1])
        expected.append(True)
    except groups.InvalidPointError:
        expected.append(False)
groups.FAST_FROM = 1
assert np.array_equal(points, hash_to_group(messages, b"tag"))
assert np.array_equal(product, groups.multiply(scalar, points))
assert ristretto.are_valid(strings).tolist() == expected
assert 0 < sum(expected) < 600
for function in (ristretto._multiply, ristretto._map, ristretto._check, ristretto._invert):
    (text,) = function.inspect_asm().values()
    for name in ("ristretto[a-z_]+", "sqrt_ratio_m1", "multiply", "square"):
        for body in re.findall(rf"\\n({name}):\\n(.*?)\\n\\.Lfunc_end", text, re.S):
            jumps = re.findall(r"^\\tj(?!mp)[a-z]+\\t", body[1], re.M)
            print(body[0], len(jumps))
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["Element52", "Element32"])
def test_fresh_code_and_its_branches(tmp_path: Path, kind: str) -> None:
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path), "TMPDIR": str(tmp_path)}
    if kind != ristretto_code.KIND.__name__:
        if kind == "Element52":
            pytest.skip("the processor lacks AVX-512 IFMA")
        environment |= {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx2,+bmi,+bmi2"}
    done = subprocess.run(
        [sys.executable, "-c", FRESH], env=environment, capture_output=True, text=True, check=True
    )
    first, *functions = done.stdout.splitlines()
    assert first == kind
    # Loops of fixed length: over the table, the digits and four doublings; and nine of squarings,
    # some of which LLVM unrolls.
    loops = {"ristrettomultiply": 3, "sqrt_ratio_m1": 9}
    jumps = [line.split() for line in functions]
    assert {name for name, _ in jumps} >= set(loops)
    assert all(int(count) <= loops.get(name, 0) for name, count in jumps)
