"""Who the other company is: one key and one self-signed certificate per side, exchanged by hand.

Each side trusts exactly the certificate that the other gave it. There is no authority that could
be tricked into issuing another one, and the name in it is not looked up anywhere. A certificate may
carry an extension, which ties something of the caller's to the key; nothing here reads it.
"""

import datetime
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from psi.defaults import CERTIFICATE_DAYS
from psi.errors import ConfigError
from psi.storage import check_lock, lock_secret, read_secret, unlock_secret, write_new

__all__ = [
    "FOLDER_PREFIX",
    "TLS_NAME",
    "Extension",
    "TLSIdentity",
    "certify",
    "check_dates",
    "check_fingerprint",
    "create_identity",
    "fingerprint",
    "identity_files",
    "load_certificate",
    "new_key",
    "one_certificate",
    "plain_fingerprint",
]

TLS_NAME = "psi.invalid"  # checked by TLS in place of a host's name: the certificate is pinned
FOLDER_PREFIX = "tls"  # of the two files in a folder that holds others, too
_MOST_DAYS = 36_500
_NO_KEY = ValueError, TypeError, UnsupportedAlgorithm  # what reading a key raises

Extension: TypeAlias = Callable[[bytes], tuple[str, bytes]]
"""Makes an extension's OID and value from the DER of the key's SubjectPublicKeyInfo."""


@dataclass(frozen=True)
class TLSIdentity:
    """A side's private key and certificate, PEM-encoded.

    Attributes:
        key: The private key; hidden from repr.
        certificate: The certificate that the other side holds.
    """

    key: bytes = field(repr=False)
    certificate: bytes = field(repr=False)

    @classmethod
    def load(cls, prefix: Path, passphrase: str | None = None) -> "TLSIdentity":
        """Return what PREFIX.key and PREFIX.crt hold, which `create_identity` wrote.

        Args:
            prefix: Where they are, or a folder that holds tls.key and tls.crt.
            passphrase: What locks the key; None: it is not locked.

        Raises:
            ConfigError: They cannot be read, others may read the key, the two do not belong
                together, or the passphrase is missing or wrong.
        """
        key_path, certificate_path = identity_files(prefix)
        key = unlock_secret(read_secret(key_path), passphrase, key_path)
        certificate = load_certificate(certificate_path, own=True)
        try:
            public = serialization.load_pem_private_key(key, None).public_key()
        except _NO_KEY as error:
            raise ConfigError(f"{key_path} holds no private key without a password") from error
        if public != x509.load_pem_x509_certificate(certificate).public_key():
            raise ConfigError(f"{key_path} is not the key of the certificate beside it")
        return cls(key, certificate)

    def derive(self, purpose: bytes) -> bytes:
        """Return 32 secret bytes for one purpose, the same as long as the key is.

        HKDF-SHA256 (RFC 5869) of the private key; what they are used for tells nothing of it.
        """
        private = serialization.load_pem_private_key(self.key, None)
        content = private.private_bytes(
            serialization.Encoding.DER,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return HKDF(hashes.SHA256(), 32, salt=None, info=b"psi identity 1/" + purpose).derive(
            content
        )


def identity_files(prefix: Path) -> tuple[Path, Path]:
    """Return where a prefix's key and certificate are: beside it, or in the folder of that name.

    Raises:
        ConfigError: The prefix is no name.
    """
    if prefix.is_dir() and not (prefix.name and prefix.with_name(prefix.name + ".key").exists()):
        prefix = prefix / FOLDER_PREFIX
    return _pair(prefix)


def create_identity(
    prefix: Path,
    *,
    days: int = CERTIFICATE_DAYS,
    passphrase: str | None = None,
    unlocked: bool = False,
) -> str:
    """Write PREFIX.key (keep it) and PREFIX.crt (give it to the other side).

    Args:
        prefix: Where to write them; its last part is the name in the certificate.
        days: How long the certificate is valid, from now.
        passphrase: What locks the key.
        unlocked: Whether there is no passphrase on purpose: then the file's mode alone protects it.

    Returns:
        The certificate's fingerprint, to be compared by telephone.

    Raises:
        ConfigError: A file is there already or cannot be written, or there is neither a passphrase
            nor `unlocked`.
    """
    key_path, certificate_path = _pair(prefix)
    check_lock(passphrase, unlocked)
    for path in (key_path, certificate_path):  # both first: one without the other is no identity
        if os.path.lexists(path):
            raise ConfigError(f"{path} exists: choose another name")
    key = new_key()
    certificate = certify(key, prefix.name, days=days)
    write_new(key_path, lock_secret(key, passphrase, unlocked=unlocked))
    try:
        write_new(certificate_path, certificate, mode=0o644)
    except BaseException:
        key_path.unlink()
        raise
    return fingerprint(certificate)


def new_key() -> bytes:
    """Return a fresh P-256 private key, PEM."""
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def certify(
    key: bytes,
    name: str,
    *,
    days: int = CERTIFICATE_DAYS,
    extension: Extension | None = None,
    refusal: type[Exception] = ConfigError,
) -> bytes:
    """Return a certificate that a key signs for itself, PEM.

    Args:
        key: A P-256 private key, PEM.
        name: The owner's name in it; nobody relies on it.
        days: How long it is valid, from now.
        extension: Makes an extension, which nothing here reads.
        refusal: The exception to raise.

    Raises:
        ConfigError: The days are too few or too many, or the key is no such key.
    """
    if not 1 <= days <= _MOST_DAYS:
        raise refusal(f"a certificate is valid for at least one day and at most {_MOST_DAYS}")
    try:
        private = serialization.load_pem_private_key(key, None)
    except _NO_KEY:
        raise refusal("the key to certify is no private key without a password") from None
    if not isinstance(private, ec.EllipticCurvePrivateKey) or private.curve.name != "secp256r1":
        raise refusal("the key to certify is not of the curve P-256")
    public = private.public_key()
    # X.509 has room for 64 bytes; a file's name may be longer, or not be text.
    shown = name.encode(errors="ignore")[:64].decode(errors="ignore") or TLS_NAME
    owner = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, shown)])
    now = datetime.datetime.now(datetime.UTC)
    both_ends = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    builder = (
        x509.CertificateBuilder()
        .subject_name(owner)
        .issuer_name(owner)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))  # clocks differ
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(TLS_NAME)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage(both_ends), critical=False)
    )
    if extension is not None:
        identifier, value = extension(
            public.public_bytes(
                serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )
        carried = x509.UnrecognizedExtension(x509.ObjectIdentifier(identifier), value)
        builder = builder.add_extension(carried, critical=False)
    return builder.sign(private, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def load_certificate(path: Path, *, own: bool = False) -> bytes:
    """Return the PEM certificate in a file, which must be valid now.

    Args:
        path: The file.
        own: Whether it is this side's, for the error.

    Raises:
        ConfigError: The file cannot be read, holds no certificate or several, or it is not valid
            yet or no longer.
    """
    certificate = one_certificate(_read(path), str(path))
    check_dates(certificate, str(path), own=own)
    return certificate.public_bytes(serialization.Encoding.PEM)


def check_dates(certificate: x509.Certificate, name: str, *, own: bool) -> None:
    """Refuse a certificate that is not valid now.

    Args:
        certificate: What is checked.
        name: What to call it.
        own: Whether it is this side's: who else can make a new one?

    Raises:
        ConfigError: It is not valid yet, or no longer; the message says what to do.
    """
    now = datetime.datetime.now(datetime.UTC)
    first, last = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now < first:
        raise ConfigError(
            f"{name} is not valid before {first:%Y-%m-%d %H:%M} UTC, and this machine's clock says "
            f"{now:%Y-%m-%d %H:%M}: "
            + ("set it right" if own else "set it right, or ask the other side to")
        )
    if now > last:
        remedy = "make a new one" if own else "ask the other side for a new one"
        raise ConfigError(f"{name} is out of date since {last:%Y-%m-%d %H:%M} UTC: {remedy}")


def check_fingerprint(certificate: bytes, typed: str, name: str) -> None:
    """Refuse a certificate whose fingerprint is not what was said by telephone.

    Args:
        certificate: What is checked, PEM.
        typed: All 64 hexadecimal digits of the SHA-256, with or without colons and blanks, in
            small letters or capitals.
        name: What to call the certificate.

    Raises:
        ConfigError: It is another one, or what was typed is no whole fingerprint.
    """
    if plain_fingerprint(typed) != plain_fingerprint(fingerprint(certificate)):
        raise ConfigError(
            f"{name} has another fingerprint than the one that was given, "
            f"{fingerprint(certificate)}: somebody may have changed it on the way; ask the other "
            "side for its certificate again"
        )


def plain_fingerprint(typed: str) -> str:
    """Return a fingerprint's 64 digits in small letters, without what people put between them.

    Raises:
        ConfigError: It is no whole fingerprint.
    """
    digits = re.sub(r"[\s:]", "", re.sub(r"(?i)^\s*sha-?256\b", "", typed)).lower()
    if not re.fullmatch(r"[0-9a-f]{64}", digits):
        said = (
            f"it has {len(digits)} digits of 64"
            if re.fullmatch(r"[0-9a-f]*", digits)
            else "it holds other characters than hexadecimal digits, colons and blanks"
        )
        raise ConfigError(
            f"this is no whole fingerprint, {said}: type all of it, as a part can be forged"
        )
    return digits


def one_certificate(
    pem: bytes, name: str, *, refusal: type[Exception] = ConfigError
) -> x509.Certificate:
    """Return the only certificate in a PEM text; a second one would be trusted unseen.

    Raises:
        ConfigError: There is none, or several.
    """
    try:
        certificates = x509.load_pem_x509_certificates(pem)
        for each in certificates:
            each.public_key()  # the key is parsed only now
    except (*_NO_KEY, x509.InvalidVersion):
        raise refusal(f"{name} holds no certificate") from None
    if len(certificates) != 1:
        raise refusal(
            f"{name} holds {len(certificates)} certificates, and a fingerprint is of the first "
            "alone: ask for a file with one"
        )
    return certificates[0]


def fingerprint(certificate: bytes) -> str:
    """Return the SHA-256 of a PEM certificate, in hexadecimal."""
    return x509.load_pem_x509_certificate(certificate).fingerprint(hashes.SHA256()).hex(":")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except IsADirectoryError:
        raise ConfigError(
            f"{path} is a folder: pass the certificate in it, {path / FOLDER_PREFIX}.crt"
        ) from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error


def _pair(prefix: Path) -> tuple[Path, Path]:
    if not prefix.name:
        raise ConfigError(f"{prefix} is no name for a key and a certificate: choose another")
    return prefix.with_name(prefix.name + ".key"), prefix.with_name(prefix.name + ".crt")
