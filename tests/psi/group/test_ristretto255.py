"""Known answers of RFC 9496, 9497 and 9380, and everything that must not pass as a point.

All of it holds for both ways through the group: libsodium's, and the compiled one.
"""

import hashlib
import json
import pickle
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from psi.errors import ConfigError, InvalidPointError
from psi.group import ristretto255 as groups
from psi.group.ristretto255 import (
    Scalar,
    check_points,
    expand_message_xmd,
    hash_to_group,
    multiply,
    points_from_bytes,
)
from tests.places import VECTORS

RFC9496 = json.loads((VECTORS / "ristretto255_rfc9496.json").read_text())
RFC9497 = json.loads((VECTORS / "ristretto255_rfc9497.json").read_text())
RFC9380 = json.loads((VECTORS / "ristretto255_rfc9380.json").read_text())
GENERATOR = points_from_bytes(bytes.fromhex(RFC9496["multiples_of_generator"][1]))
ORDER = 2**252 + 27742317777372353535851937790883648493  # RFC 9496, section 4.4


@pytest.fixture(autouse=True, params=["libsodium", "compiled"])
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "compiled":
        if find_spec("numba") is None:
            pytest.skip("numba is not installed")
        monkeypatch.setattr(groups, "FAST_FROM", 1)
        if groups._compiled(1) is None:  # noqa: SLF001  (which way runs)
            pytest.skip("the processor lacks AVX2")


def scalar(value: int) -> Scalar:
    return Scalar(value.to_bytes(32, "little"))


@pytest.mark.parametrize("multiple", range(1, 16))
def test_multiples_of_the_generator(multiple: int) -> None:
    product = multiply(scalar(multiple), GENERATOR)
    assert product.tobytes().hex() == RFC9496["multiples_of_generator"][multiple]


@pytest.mark.parametrize(
    "encoding", [hex_ for group in RFC9496["invalid_encodings"].values() for hex_ in group]
)
def test_invalid_encodings_are_refused(encoding: str) -> None:
    points = np.vstack([GENERATOR, points_from_bytes(bytes.fromhex(encoding))])
    with pytest.raises(InvalidPointError, match="point 1"):
        multiply(scalar(5), points)
    with pytest.raises(InvalidPointError, match="point 1"):
        check_points(points)


@pytest.mark.parametrize("encoding", RFC9496["multiples_of_generator"])
def test_the_top_bit_is_refused(encoding: str) -> None:
    # libsodium 1.0.18 reads these as the points without the bit.
    point = bytearray.fromhex(encoding)
    point[31] |= 0x80
    with pytest.raises(InvalidPointError):
        multiply(scalar(5), points_from_bytes(bytes(point)))


def test_the_identity_is_refused() -> None:
    with pytest.raises(InvalidPointError):
        multiply(scalar(5), points_from_bytes(bytes(32)))


@pytest.mark.parametrize("vector", RFC9380["vectors"])
def test_expand_message_xmd(vector: dict[str, str]) -> None:
    uniform = expand_message_xmd(
        vector["message"].encode(), RFC9380["dst"].encode(), int(vector["length_bytes"])
    )
    assert uniform.hex() == vector["uniform_bytes"]


@pytest.mark.parametrize("vector", RFC9497["vectors"])
def test_oprf_of_rfc_9497(vector: dict[str, str]) -> None:
    message = bytes.fromhex(vector["input"])
    element = hash_to_group([message], bytes.fromhex(RFC9497["hash_to_group_dst"]))
    blinded = multiply(Scalar(bytes.fromhex(vector["blind"])), element)
    assert blinded.tobytes().hex() == vector["blinded_element"]
    key = Scalar(bytes.fromhex(RFC9497["secret_key"]))
    assert multiply(key, blinded).tobytes().hex() == vector["evaluation_element"]
    # Finalize, section 3.3.1, on the element evaluated without the blind.
    unblinded = multiply(key, element).tobytes()
    framed = b"".join(len(part).to_bytes(2, "big") + part for part in (message, unblinded))
    assert hashlib.sha512(framed + b"Finalize").hexdigest() == vector["output"]


def test_hashing_a_batch_is_hashing_one_by_one() -> None:
    messages = [b"", b"a", b"a" * 127, b"a" * 128, b"a" * 1000]
    batch = hash_to_group(messages, b"some tag")
    single = [hash_to_group([message], b"some tag") for message in messages]
    assert np.array_equal(batch, np.vstack(single))
    assert len(np.unique(batch, axis=0)) == len(messages)
    assert not np.array_equal(batch, hash_to_group(messages, b"another tag"))


def test_the_fast_path_of_hashing_is_expand_message_xmd() -> None:
    # The map of RFC 9496 section 4.3.4 applied to the generic expansion by libsodium.
    import rbcl

    uniform = expand_message_xmd(b"message", b"some tag", 64)
    expected = rbcl.crypto_core_ristretto255_from_hash(uniform)
    assert hash_to_group([b"message"], b"some tag").tobytes() == expected


@pytest.mark.parametrize("vector", RFC9496["element_derivation"])
def test_element_derivation(vector: dict[str, str]) -> None:
    import rbcl

    element = rbcl.crypto_core_ristretto255_from_hash(bytes.fromhex(vector["uniform_bytes"]))
    assert element.hex() == vector["element"]


def test_multiplication_commutes() -> None:
    a, b = Scalar.random(), Scalar.random()
    points = hash_to_group([b"x", b"y", b"z"], b"some tag")
    assert np.array_equal(multiply(a, multiply(b, points)), multiply(b, multiply(a, points)))


def test_empty_batches() -> None:
    assert hash_to_group([], b"some tag").shape == (0, 32)
    assert multiply(Scalar.random(), points_from_bytes(b"")).shape == (0, 32)


def test_random_scalars_differ_and_are_reduced() -> None:
    drawn = {Scalar.random()._encoding for _ in range(100)}  # noqa: SLF001  (that it differs, and is not shown)
    assert len(drawn) == 100
    assert all(0 < int.from_bytes(one, "little") < ORDER for one in drawn)


def test_a_scalar_does_not_show_itself() -> None:
    secret = Scalar.random()
    assert secret._encoding.hex() not in repr(secret) + str(secret)  # noqa: SLF001  (that it differs, and is not shown)
    with pytest.raises(TypeError):
        pickle.dumps(secret)


@pytest.mark.parametrize("dst", [b"", b"x" * 256])
def test_domain_separation_tags_out_of_range(dst: bytes) -> None:
    with pytest.raises(ConfigError):
        expand_message_xmd(b"", dst, 64)
    with pytest.raises(ConfigError):
        hash_to_group([b""], dst)


@pytest.mark.parametrize("length_bytes", [0, 16321])
def test_lengths_out_of_range(length_bytes: int) -> None:
    with pytest.raises(ConfigError):
        expand_message_xmd(b"", b"some tag", length_bytes)


def test_no_library_is_left_in_the_temporary_folder(tmp_path: Path) -> None:
    use = "import psi.group.ristretto255; psi.group.ristretto255.Scalar.random()"
    subprocess.run([sys.executable, "-c", use], check=True, env={"TMPDIR": str(tmp_path)})
    assert list(tmp_path.iterdir()) == []
