"""One rule for signatures, and keys that no party may have.

The cases are the twelve of "Taming the many EdDSAs" (Chalkias, Garillot, Nikolaenko, ePrint
2020/1244, table of conditions), built here anew from their conditions; the rule accepts of them
what libsodium accepts. Points of small and low order are computed, not copied: they are those of
that paper and of https://cr.yp.to/ecdh.html, which RFC 7748, section 6.1, means.
"""

import itertools
import re

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from privfed import secagg
from privfed.errors import AuthenticationError, ConfigError
from privfed.keys import generate_identity
from privfed.keys.certificate import OID
from privfed.keys.signatures import Verifier
from psi.network.certificates import certify, new_key
from tests.places import ROOT
from tests.secagg.curve import (
    BASE,
    EIGHTH,
    NEUTRAL,
    TORSION,
    L,
    P,
    add,
    challenge,
    encoded,
    encodings_of_small_order,
    times,
)

SECRET, NONCE = 3**150 % L, 5**100 % L
Case = tuple[bytes, bytes, bytes]  # key, message, signature
CASES = {
    0: "S = 0, A and R small",
    1: "A small, R mixed",
    2: "A mixed, R small",
    3: "A and R mixed, both equations hold",
    4: "A and R mixed, only the cofactored equation holds",
    5: "A mixed, R of order L, only the cofactored equation holds",
    6: "S + L",
    7: "S + 15 L",
    8: "A mixed, R small and not canonical, reduced for the hash",
    9: "A mixed, R small and not canonical, hashed as it is",
    10: "A small and not canonical, reduced for the hash",
    11: "A small and not canonical, hashed as it is",
}


HALF = TORSION[4]  # (0, -1): the sign of its x can be written wrong
SMALL_A, SMALL_R, WRONG_R, WRONG_A = {0, 1, 10, 11}, {0, 2, 8, 9}, {8, 9}, {10, 11}


def case(number: int) -> Case:
    """Build one of the twelve: of many messages the first whose hash fits."""
    secret, nonce = SECRET * (number not in SMALL_A), NONCE * (number not in SMALL_R)
    torsion = HALF if number in WRONG_A else NEUTRAL if number in (6, 7) else EIGHTH
    choices = [HALF] if number in WRONG_R else [NEUTRAL] if number in (5, 6, 7) else TORSION[1:]
    points = [(small, add(times(nonce, BASE), small)) for small in choices]
    key = add(times(secret, BASE), torsion)
    a = encoded(key, sign=1 if number in WRONG_A else None)
    for text in itertools.count():
        message = b"message %d" % text
        for small, point in points:
            r = encoded(point, sign=1 if number in WRONG_R else None)
            hashes = challenge(r, a, message), challenge(encoded(point), encoded(key), message)
            k, other = reversed(hashes) if number in (8, 10) else hashes
            holds = [add(small, times(each % 8, torsion)) == NEUTRAL for each in (k, other)]
            if holds[0] == (number not in (4, 5)) and not (number >= 8 and holds[1]):
                s = (nonce + k * secret) % L + {6: L, 7: 15 * L}.get(number, 0)
                return a, message, r + s.to_bytes(32, "little")
    raise AssertionError("unreachable")


def by_libcrypto_alone(key: bytes, message: bytes, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def by_the_rule(key: bytes, message: bytes, signature: bytes) -> bool:
    try:
        Verifier(key).verify(signature, message)
    except AuthenticationError:
        return False
    return True


@pytest.mark.parametrize("number", CASES, ids=CASES.get)
def test_a_signature_holds_by_one_rule(number: int) -> None:
    """Libcrypto's own rule accepts 0 to 3 and 11, as the paper's table says of PyCA."""
    built = case(number)
    assert by_libcrypto_alone(*built) == (number in (0, 1, 2, 3, 11))
    assert by_the_rule(*built) == (number == 3)


def test_honest_signatures_hold_and_altered_ones_do_not() -> None:
    party = generate_identity()
    signature = party.sign(b"m")
    party.public.verify(signature, b"m")
    for place in range(64):
        bad = signature[:place] + bytes([signature[place] ^ 1]) + signature[place + 1 :]
        with pytest.raises(AuthenticationError, match="does not verify"):
            party.public.verify(bad, b"m")
    s = int.from_bytes(signature[32:], "little") + L
    with pytest.raises(AuthenticationError):
        party.public.verify(signature[:32] + s.to_bytes(32, "little"), b"m")


def test_no_other_place_checks_a_signature_of_ed25519() -> None:
    holders = [
        path.relative_to(ROOT).as_posix()
        for room in ("privfed", "psi")
        for path in (ROOT / room).rglob("*.py")
        if re.search(r"Ed25519PublicKey|ed25519\.verify|crypto_sign", path.read_text())
    ]
    assert holders == ["privfed/keys/signatures.py"]


# Keys.


def forged(key: bytes, message: bytes) -> bytes:
    """A signature by nobody: S·B is R, where the key's part falls out of the equation."""
    for s in itertools.count(1):
        signature = encoded(times(s, BASE)) + s.to_bytes(32, "little")
        if by_libcrypto_alone(key, message, signature):
            return signature
    raise AssertionError("unreachable")


def test_there_are_fourteen_encodings_of_small_order() -> None:
    assert len(set(TORSION)) == 8
    assert all(times(8, point) == NEUTRAL for point in TORSION)
    assert len(encodings_of_small_order()) == 14


@pytest.mark.parametrize("key", encodings_of_small_order(), ids=bytes.hex)
def test_a_verify_key_for_which_anybody_signs_is_no_identity(key: bytes) -> None:
    mask_key = generate_identity().public.mask_key
    signature = forged(key, b"privfed/1/mask key\x00" + mask_key)  # libcrypto takes it
    with pytest.raises(AuthenticationError, match=r"small order.*ask"):
        secagg.PublicIdentity(key, mask_key, signature)
    public = key + mask_key + signature
    with pytest.raises(AuthenticationError, match="small order"):
        secagg.PublicIdentity.from_bytes(public)
    tls = new_key()
    planted = certify(
        tls,
        "mallory",
        extension=lambda spki: (
            OID,
            b"\x04\x81\xc0" + public + forged(key, b"privfed/1/certificate key\x00" + spki),
        ),
    )
    with pytest.raises(AuthenticationError, match="small order"):
        secagg.PublicIdentity.from_certificate(planted)


def test_a_verify_key_that_is_not_canonical_is_refused() -> None:
    """No such point of large order is known to have an owner: here only its bytes are seen."""
    honest = generate_identity().public
    for y in range(P, 2**255):
        for sign in (0, 1 << 255):
            with pytest.raises(AuthenticationError, match="canonical"):
                secagg.PublicIdentity(
                    (y | sign).to_bytes(32, "little"), honest.mask_key, honest.mask_signature
                )


def low_order() -> list[bytes]:
    """All encodings of X25519's points of low order: plus P, and with the bit that is ignored."""
    images = {(1 + y) * pow(1 - y, -1, P) % P for _, y in TORSION if y != 1} | {0, P - 1}
    numbers = [u + more for u in images for more in (0, P) if u + more < 2**255]
    return [(u | bit).to_bytes(32, "little") for u in numbers for bit in (0, 1 << 255)]


@pytest.mark.parametrize("key", low_order(), ids=bytes.hex)
def test_a_mask_key_of_low_order_is_no_identity(key: bytes) -> None:
    signer = Ed25519PrivateKey.generate()
    signature = signer.sign(b"privfed/1/mask key\x00" + key)
    verify_key = signer.public_key().public_bytes_raw()
    assert by_libcrypto_alone(verify_key, b"privfed/1/mask key\x00" + key, signature)
    with pytest.raises(ValueError):  # noqa: PT011  (seen in an exchange alone)
        X25519PrivateKey.generate().exchange(X25519PublicKey.from_public_bytes(key))
    with pytest.raises(AuthenticationError, match=r"low order.*ask"):
        secagg.PublicIdentity(verify_key, key, signature)
    with pytest.raises(AuthenticationError, match="low order"):
        secagg.PublicIdentity.from_bytes(verify_key + key + signature)


def test_the_low_order_list_is_complete() -> None:
    """Seven numbers below 2^255, as in libsodium's list, each with and without the ignored bit."""
    assert len(set(low_order())) == 14
    for number in range(64):  # and neighbours are none
        X25519PrivateKey.generate().exchange(
            X25519PublicKey.from_public_bytes((number + 2).to_bytes(32, "little"))
        )


# What an identity derives for itself.


def test_what_an_identity_derives_is_its_own_and_not_its_key() -> None:
    party, other = generate_identity(), generate_identity()
    derived = party.derive(b"state")
    assert len(derived) == 32
    assert derived == party.derive(b"state")
    assert len({derived, party.derive(b"state2"), other.derive(b"state")}) == 3
    assert party.derive(b"state", 64)[:32] == derived  # HKDF's prefix: one purpose, one length
    assert derived != party._sign.private_bytes_raw()  # noqa: SLF001
    for purpose, length in (("state", 32), (b"state", 0), (b"state", 9000), (b"state", "32")):
        with pytest.raises(ConfigError):
            party.derive(purpose, length)  # type: ignore[arg-type]
