"""The oblivious function: known answers of RFC 9497, and proofs that hold for one key only."""

import json
from typing import Any

import numpy as np
import pytest

from psi import ConfigError, DecodeError, InvalidPointError, KeyConfirmationError
from psi.group.oprf import MAX_BATCH, hash_inputs, outputs, prove, public_key, verify
from psi.group.ristretto255 import Points, Scalar, hash_to_group, multiply, points_from_bytes
from tests.places import VECTORS

RFC9497 = json.loads((VECTORS / "ristretto255_rfc9497_voprf.json").read_text())
KEY = Scalar(bytes.fromhex(RFC9497["secret_key"]))


def points(encodings: list[str]) -> Points:
    return points_from_bytes(bytes.fromhex("".join(encodings)))


def test_the_public_key_of_rfc_9497() -> None:
    assert public_key(KEY).tobytes().hex() == RFC9497["public_key"]


@pytest.mark.parametrize("vector", RFC9497["vectors"])
def test_voprf_of_rfc_9497(vector: dict[str, Any]) -> None:
    inputs = [bytes.fromhex(one) for one in vector["inputs"]]
    blinds = [Scalar(bytes.fromhex(one)) for one in vector["blinds"]]
    elements = hash_inputs(inputs)
    blinded = np.vstack([multiply(b, elements[i : i + 1]) for i, b in enumerate(blinds)])
    assert np.array_equal(blinded, points(vector["blinded_elements"]))
    evaluated = multiply(KEY, blinded)
    assert np.array_equal(evaluated, points(vector["evaluation_elements"]))
    nonce = Scalar(bytes.fromhex(vector["proof_nonce"]))
    proof = prove(KEY, blinded, evaluated, nonce=nonce)
    assert proof.hex() == vector["proof"]
    verify(public_key(KEY), blinded, evaluated, proof)
    unblinded = np.vstack(
        [multiply(b.inverse(), evaluated[i : i + 1]) for i, b in enumerate(blinds)]
    )
    assert [one.hex() for one in outputs(inputs, unblinded)] == vector["outputs"]


def test_another_key_for_a_single_element_is_found_out() -> None:
    key, other = Scalar.random(), Scalar.random()
    blinded = hash_to_group([b"a", b"b", b"c"], b"tag")
    evaluated = multiply(key, blinded)
    verify(public_key(key), blinded, evaluated, prove(key, blinded, evaluated))
    evaluated[1] = multiply(other, blinded[1:2])
    for prover in (key, other):
        proof = prove(prover, blinded, evaluated)
        with pytest.raises(KeyConfirmationError, match="committed"):
            verify(public_key(key), blinded, evaluated, proof)


@pytest.mark.parametrize("part", range(4))
def test_proofs_of_something_else(part: int) -> None:
    key = Scalar.random()
    blinded = hash_to_group([b"a", b"b"], b"tag")
    evaluated = multiply(key, blinded)
    proof = prove(key, blinded, evaluated)
    statement: list[Any] = [public_key(key), blinded, evaluated]
    if part < 3:
        statement[part] = hash_to_group([b"x", b"y"][: len(statement[part])], b"tag")
    else:
        proof = proof[32:] + proof[:32]
    key_said, items_said, values_said = statement
    with pytest.raises(KeyConfirmationError):
        verify(key_said, items_said, values_said, proof)


@pytest.mark.parametrize("scalar", [bytes(32), b"\xff" * 32])
@pytest.mark.parametrize("place", [0, 32])
def test_proofs_without_scalars(scalar: bytes, place: int) -> None:
    key = Scalar.random()
    blinded = hash_to_group([b"a"], b"tag")
    evaluated = multiply(key, blinded)
    proof = bytearray(prove(key, blinded, evaluated))
    proof[place : place + 32] = scalar
    with pytest.raises(DecodeError, match="scalar"):
        verify(public_key(key), blinded, evaluated, bytes(proof))


def test_a_public_key_that_is_none() -> None:
    blinded = hash_to_group([b"a"], b"tag")
    proof = prove(KEY, blinded, blinded)
    with pytest.raises(InvalidPointError):
        verify(np.zeros((1, 32), np.uint8), blinded, blinded, proof)


def test_too_many_for_one_proof() -> None:
    many = np.zeros((MAX_BATCH + 1, 32), np.uint8)
    with pytest.raises(ConfigError, match="in several"):
        prove(KEY, many, many)
