"""Who a party is: an Ed25519 key that signs and an X25519 key, to which shared keys are sealed.

Ed25519 is RFC 8032, X25519 RFC 7748. The identity key signs the other, which is called the mask
key, as masks were agreed on with it before there were epochs; otherwise a server that passes the
roster on could replace it by its own.
"""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256, Hash
from cryptography.hazmat.primitives.hpke import Suite

from privfed.errors import ConfigError, DecodeError
from privfed.keys.certificate import bound_certificate, read_binding
from privfed.keys.secret import (
    derive,
    is_bytes,
    load_secret,
    save_secret,
    with_digest,
    without_digest,
)
from privfed.keys.signatures import KEY_BYTES, SIGNATURE_BYTES, Verifier, check_mask_key
from psi.defaults import CERTIFICATE_DAYS

_MASK_KEY_DOMAIN = b"privfed/1/mask key\x00"
_DERIVE_DOMAIN = b"identity's own/"  # no purpose of the shared key begins like this
_MOST_DERIVED = 255 * 32  # of HKDF-SHA256 (RFC 5869)
_FILE, _CHECKED = b"PFIDENTITY\x01", b"PFIDENTITY\x02"  # without and with a digest


@dataclass(frozen=True)
class PublicIdentity:
    """What others know a party by; the roster is made of these.

    Attributes:
        verify_key: Ed25519 public key, 32 bytes.
        mask_key: X25519 public key, 32 bytes.
        mask_signature: The identity's signature of `mask_key`, 64 bytes.

    Raises:
        DecodeError: A length is wrong.
        AuthenticationError: A key is none that a party may have (small or low order), or the mask
            key is not signed by the identity.
    """

    verify_key: bytes
    mask_key: bytes
    mask_signature: bytes = field(repr=False)

    def __post_init__(self) -> None:
        keys = (self.verify_key, self.mask_key)
        whole = all(is_bytes(key, KEY_BYTES) for key in keys)
        if not whole or not is_bytes(self.mask_signature, SIGNATURE_BYTES):
            raise DecodeError("a public identity is two 32-byte keys and a 64-byte signature")
        check_mask_key(self.mask_key)
        self.verify(self.mask_signature, _MASK_KEY_DOMAIN + self.mask_key)

    @cached_property
    def id(self) -> str:
        """Name of the party: the first 16 bytes of SHA-256 of its verify key, in hex."""
        digest = Hash(SHA256())
        digest.update(self.verify_key)
        return digest.finalize()[:16].hex()

    @cached_property
    def mask_public(self) -> X25519PublicKey:
        """The mask key as an object."""
        return X25519PublicKey.from_public_bytes(self.mask_key)

    @cached_property
    def _verifier(self) -> Verifier:
        return Verifier(self.verify_key)

    def verify(self, signature: bytes, message: bytes) -> None:
        """Check a signature of this party, by the rule of `privfed.keys.signatures`.

        Raises:
            AuthenticationError: It is not this party's signature of `message`.
            ConfigError: An argument is no bytes.
        """
        self._verifier.verify(signature, message)

    def __reduce__(self) -> tuple[Any, ...]:
        # OpenSSL's object, kept to verify faster, cannot be pickled.
        return PublicIdentity, (self.verify_key, self.mask_key, self.mask_signature)

    def to_bytes(self) -> bytes:
        """Return 128 bytes: verify key, mask key, signature of the mask key."""
        return self.verify_key + self.mask_key + self.mask_signature

    @classmethod
    def from_bytes(cls, data: bytes) -> "PublicIdentity":
        """Read what `to_bytes` wrote, and check the mask key's signature."""
        if not is_bytes(data, 2 * KEY_BYTES + SIGNATURE_BYTES):
            raise DecodeError("a public identity has 128 bytes")
        return cls(data[:32], data[32:64], data[64:])

    @classmethod
    def from_certificate(cls, pem: bytes) -> "PublicIdentity":
        """Return the identity that a party's certificate is tied to (see `Identity.certify`).

        Raises:
            DecodeError: This is no certificate, or one without an identity.
            AuthenticationError: The certificate's key and the identity do not sign one another.
        """
        public, signature, certified = read_binding(pem)
        identity = cls.from_bytes(public)
        identity.verify(signature, certified)
        return identity


class Identity:
    """A party's own two private keys. Never printed, never pickled."""

    __slots__ = ("_mask", "_sign", "public")

    def __init__(self, sign: Ed25519PrivateKey, mask: X25519PrivateKey) -> None:
        self._sign, self._mask = sign, mask
        mask_key = mask.public_key().public_bytes_raw()
        self.public = PublicIdentity(
            sign.public_key().public_bytes_raw(), mask_key, sign.sign(_MASK_KEY_DOMAIN + mask_key)
        )

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte Ed25519 signature of `message`."""
        return self._sign.sign(message)

    def derive(self, purpose: bytes, length: int = 32) -> bytes:
        """Return secret bytes that only this identity derives, for what its owner seals for itself.

        HKDF-SHA256 of the signing key under a domain of its own: nothing derived tells the key.

        Args:
            purpose: What they are for; other purposes give unrelated bytes.
            length: How many.

        Raises:
            ConfigError: The purpose is no bytes, or the length not 1 to 8160.
        """
        if not isinstance(purpose, bytes) or not isinstance(length, int):
            raise ConfigError("derive takes a purpose, which is bytes, and a length, a number")
        if not 1 <= length <= _MOST_DERIVED:
            raise ConfigError(f"an identity derives 1 to {_MOST_DERIVED} bytes at a time")
        return derive(self._sign.private_bytes_raw(), _DERIVE_DOMAIN + purpose, length)

    def unseal(self, suite: Suite, sealed: bytes, info: bytes) -> bytes:
        """Return what was sealed to this party's mask key by HPKE.

        Raises:
            cryptography.exceptions.InvalidTag: It was altered, or sealed to another.
        """
        return suite.decrypt(sealed, self._mask, info)

    def certify(self, key: bytes, days: int = CERTIFICATE_DAYS) -> bytes:
        """Return a PEM certificate, tied to this identity, by which psi knows this party.

        Args:
            key: This party's TLS key: P-256, PEM.
            days: How long it is valid.

        Raises:
            ConfigError: The days are too few or too many, or the key is no P-256 key.
        """
        public = self.public.to_bytes()
        return bound_certificate(key, self.public.id, public, self.sign, days)

    def save(self, path: Path, passphrase: str | None = None, *, unlocked: bool = False) -> None:
        """Write both private keys to a new file of mode 0600, under a passphrase unless `unlocked`.

        Raises:
            ConfigError: The file is there already or cannot be written, or there is neither a
                passphrase nor `unlocked`.
        """
        keys = self._sign.private_bytes_raw() + self._mask.private_bytes_raw()
        save_secret(path, with_digest(_CHECKED + keys), passphrase, unlocked=unlocked)

    @classmethod
    def load(cls, path: Path, passphrase: str | None = None) -> "Identity":
        """Return the identity in a file.

        Raises:
            ConfigError: It cannot be read, others may read it, or it needs a passphrase.
            AuthenticationError: The passphrase is wrong or the file was altered.
            DecodeError: The file is no identity, or was damaged.
        """
        data = load_secret(path, passphrase)
        if data.startswith(_CHECKED):
            data = _FILE + without_digest(data, path)[len(_CHECKED) :]
        if len(data) != len(_FILE) + 2 * KEY_BYTES or not data.startswith(_FILE):
            raise DecodeError(f"{path} is no privfed identity: put it back from a backup")
        sign, mask = data[-2 * KEY_BYTES : -KEY_BYTES], data[-KEY_BYTES:]
        return cls(
            Ed25519PrivateKey.from_private_bytes(sign), X25519PrivateKey.from_private_bytes(mask)
        )

    def __repr__(self) -> str:
        return f"Identity(id={self.public.id})"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise ConfigError("an identity is not pickled or copied; save() it to a file")


def generate_identity() -> Identity:
    """Return a fresh identity from the operating system's randomness."""
    return Identity(Ed25519PrivateKey.generate(), X25519PrivateKey.generate())
