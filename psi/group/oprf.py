"""The verifiable oblivious pseudorandom function of RFC 9497: VOPRF(ristretto255, SHA-512).

One side has a key k and its public key k·G. The other side blinds its inputs, has them evaluated,
checks a proof that they were evaluated under that key, and removes the blinding. It learns the
function of its inputs and nothing else about the key. The side with the key learns nothing about
the inputs.
Section numbers are those of the RFC.
"""

import hashlib
import hmac
from collections.abc import Iterable

import numpy as np

from psi.errors import ConfigError, KeyConfirmationError
from psi.group.elgamal import total
from psi.group.ristretto255 import (
    Points,
    Scalar,
    add,
    expand_message_xmd,
    hash_to_group,
    multiply,
    multiply_base,
)

__all__ = ["MAX_BATCH", "PROOF_BYTES", "hash_inputs", "outputs", "prove", "public_key", "verify"]

PROOF_BYTES = 64
MAX_BATCH = (1 << 16) - 1  # the proof counts elements in two bytes

_CONTEXT = b"OPRFV1-\x01-ristretto255-SHA512"


def public_key(key: Scalar) -> Points:
    """Return k·G, shape (1, 32), which checks results under the key."""
    return multiply_base([key])


def hash_inputs(inputs: Iterable[bytes]) -> Points:
    """Return the group elements of inputs (HashToGroup, section 4.1), shape (n, 32)."""
    return hash_to_group(inputs, b"HashToGroup-" + _CONTEXT)


def outputs(inputs: Iterable[bytes], elements: Points) -> list[bytes]:
    """Return the function's 64-byte results from k·H(input) (Finalize, section 3.3.1)."""
    rows = (row.tobytes() for row in elements)
    return [
        hashlib.sha512(_framed(one, element) + b"Finalize").digest()
        for one, element in zip(inputs, rows, strict=True)
    ]


def prove(key: Scalar, blinded: Points, evaluated: Points, *, nonce: Scalar | None = None) -> bytes:
    """Show that evaluated = k·blinded under the public key (GenerateProof, section 2.2.1).

    Args:
        key: The secret key.
        blinded: Shape (n, 32), n up to MAX_BATCH.
        evaluated: Shape (n, 32).
        nonce: None draws a fresh one; only tests give their own.

    Returns:
        PROOF_BYTES bytes.

    Raises:
        ConfigError: There are too many elements for one proof.
    """
    public = public_key(key)
    weights = _weights(public, blinded, evaluated)
    mixed = _mix(weights, blinded)
    nonce = nonce or Scalar.random()
    sides = [mixed, multiply(key, mixed), multiply_base([nonce]), multiply(nonce, mixed)]
    challenge = _challenge(public, *sides)
    return challenge.reveal() + (nonce - challenge * key).reveal()


def verify(public: Points, blinded: Points, evaluated: Points, proof: bytes) -> None:
    """Check what `prove` says (VerifyProof, section 2.2.2).

    Args:
        public: The public key, shape (1, 32).
        blinded: Shape (n, 32).
        evaluated: Shape (n, 32).
        proof: PROOF_BYTES bytes.

    Raises:
        KeyConfirmationError: Some element was evaluated under another key.
        DecodeError: The proof holds no scalars.
        InvalidPointError: A point is no valid encoding, or is the identity.
    """
    challenge, response = Scalar.decode(proof[:32]), Scalar.decode(proof[32:])
    weights = _weights(public, blinded, evaluated)
    mixed, product = _mix(weights, blinded), _mix(weights, evaluated)
    first = add(multiply_base([response]), multiply(challenge, public))
    second = add(multiply(response, mixed), multiply(challenge, product))
    expected = _challenge(public, mixed, product, first, second).reveal()
    if not hmac.compare_digest(expected, challenge.reveal()):
        raise KeyConfirmationError("the other side did not use the key that it is committed to")


def _weights(public: Points, blinded: Points, evaluated: Points) -> list[Scalar]:
    """Return the random factors that join a batch into one proof (ComputeComposites)."""
    if len(blinded) > MAX_BATCH:
        raise ConfigError(f"a request holds at most {MAX_BATCH} items: ask in several")
    seed = hashlib.sha512(_framed(public.tobytes(), b"Seed-" + _CONTEXT)).digest()
    weights = []
    for row, (one, other) in enumerate(zip(blinded, evaluated, strict=True)):
        content = _framed(seed) + row.to_bytes(2, "big") + _framed(one.tobytes(), other.tobytes())
        weights.append(_hash_to_scalar(content + b"Composite"))
    return weights


def _mix(weights: list[Scalar], points: Points) -> Points:
    rows = [multiply(one, points[row : row + 1]) for row, one in enumerate(weights)]
    return total(np.vstack(rows))


def _challenge(public: Points, *points: Points) -> Scalar:
    content = _framed(*(point.tobytes() for point in (public, *points)))
    return _hash_to_scalar(content + b"Challenge")


def _hash_to_scalar(content: bytes) -> Scalar:
    return Scalar.from_uniform(expand_message_xmd(content, b"HashToScalar-" + _CONTEXT, 64))


def _framed(*parts: bytes) -> bytes:
    return b"".join(len(part).to_bytes(2, "big") + part for part in parts)
