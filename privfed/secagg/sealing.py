"""How the shared key reaches the parties: sealed to one party's key, signed by who made it.

HPKE (RFC 9180, base mode, X25519, HKDF-SHA256, ChaCha20-Poly1305) hides the key; an Ed25519
signature of a party on the roster says who sent it, for whom, and which key it replaces.
"""

import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from privfed.errors import AuthenticationError, ConfigError, ContextMismatchError, DecodeError
from privfed.keys import ID_BYTES, SIGNATURE_BYTES, Identity, PublicIdentity, SecretKey
from privfed.secagg.checks import check_identity, check_key, check_params
from privfed.secagg.parameters import Parameters

_HEAD = struct.Struct("<9sBHH32s16s")
_MAGIC, _VERSION = b"PFSEALED\x00", 1
_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
_DOMAIN = b"privfed/1/sealed key\x00"


def seal_key(
    key: SecretKey,
    params: Parameters,
    maker: Identity,
    recipient: PublicIdentity,
    replaces: bytes = b"",
) -> bytes:
    """Return a key that only `recipient` reads and that `maker` signed.

    Args:
        key: Made for `params`.
        params: Whose roster names both parties.
        maker: This party.
        recipient: The other one.
        replaces: Id of the key that is retired by this one, 16 bytes, or nothing.

    Raises:
        ConfigError: A party is not on the roster.
        ContextMismatchError: The key was made for other parameters.
    """
    check_key(params, key)
    if not isinstance(replaces, bytes) or len(replaces) not in (0, ID_BYTES):
        raise ConfigError(f"replaces is the {ID_BYTES} bytes of a key's id, or b''")
    check_identity(maker)
    places = params.index_of(maker.public), params.index_of(recipient)
    head = _HEAD.pack(_MAGIC, _VERSION, *places, params.fingerprint, replaces or bytes(ID_BYTES))
    sealed = _SUITE.encrypt(key.to_bytes(), recipient.mask_public, _DOMAIN + head)
    return head + sealed + maker.sign(_DOMAIN + head + sealed)


def open_key(
    data: bytes, params: Parameters, identity: Identity, maker: PublicIdentity | None = None
) -> tuple[SecretKey, PublicIdentity, bytes]:
    """Return (the key, who made it, the id of the key that it retires or nothing).

    Args:
        data: What `seal_key` returned.
        params: The same parameters.
        identity: The recipient.
        maker: Who alone may have made it; None: anybody on the roster.

    Raises:
        DecodeError: These bytes are no sealed key.
        ContextMismatchError: It belongs to other parameters or to another party.
        AuthenticationError: It was altered, or another party made it.
        ConfigError: This party is not on the roster.
    """
    check_params(params)
    check_identity(identity)
    if not isinstance(data, bytes):
        raise ConfigError(f"a sealed key is bytes, not {type(data).__name__}")
    if not isinstance(maker, PublicIdentity | None):
        raise ConfigError("maker is the PublicIdentity of who made the key, or None")
    if len(data) < _HEAD.size + SIGNATURE_BYTES or not data.startswith(_MAGIC):
        raise DecodeError("these bytes are no sealed key")
    head, sealed = data[: _HEAD.size], data[_HEAD.size : -SIGNATURE_BYTES]
    _, version, sender, recipient, fingerprint, replaces = _HEAD.unpack(head)
    if version != _VERSION:
        raise DecodeError(f"sealed key of version {version}; this privfed reads {_VERSION}")
    if fingerprint != params.fingerprint:
        raise ContextMismatchError("the sealed key belongs to other parameters")
    if recipient != params.index_of(identity.public):
        raise ContextMismatchError("the sealed key is for another party")
    if sender >= len(params.roster) or (maker is not None and params.roster[sender] != maker):
        raise AuthenticationError("another party than expected made the sealed key")
    params.roster[sender].verify(data[-SIGNATURE_BYTES:], _DOMAIN + head + sealed)
    try:
        secret = identity.unseal(_SUITE, sealed, _DOMAIN + head)
    except InvalidTag:
        raise AuthenticationError("the sealed key does not open") from None
    key = SecretKey.from_bytes(secret)
    if key.context != params.fingerprint:
        raise ContextMismatchError("the key in it was made for other parameters")
    return key, params.roster[sender], replaces if any(replaces) else b""


def seal_to_roster(
    key: SecretKey, params: Parameters, maker: Identity, replaces: bytes = b""
) -> dict[str, bytes]:
    """Return the key sealed to every other party on the roster, by the party's id.

    Raises:
        ConfigError: The maker is not on the roster.
    """
    if maker.public not in params.roster:
        raise ConfigError(f"party {maker.public.id} is not on the roster")
    return {
        party.id: seal_key(key, params, maker, party, replaces)
        for party in params.roster
        if party != maker.public
    }
